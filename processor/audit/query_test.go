package audit

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// dryRunByTheBook reads a URI as an API server does.
func dryRunByTheBook(uri string) bool {
	_, query, _ := strings.Cut(uri, "?")
	values, _ := url.ParseQuery(query)
	return values.Has("dryRun")
}

func TestDryRuns(t *testing.T) {
	for uri, want := range map[string]bool{
		`/pods?dryRun=All`:                                    true,
		`/pods?dryRun=Some`:                                   true, // answered 422
		`/pods?dryRun=`:                                       true,
		`/pods?dryRun`:                                        true,
		`/pods?a=b\u0026dryRun=All`:                           true,
		`/pods?a=b\u0026dryRun=All\u0026c`:                    true,
		`/pods?dry%52un=All`:                                  true,
		`/pods?dry\u002552un=All`:                             true,
		`/pods?%64%72%79%52%75%6e=All`:                        true,
		`/pods?x=%zz&dryRun=All`:                              true, // one bad parameter doesn't hide the next
		`/pods?x=%&dryRun=All`:                                true,
		`/pods?x;y&dryRun=All`:                                true,
		`/pods?&&dryRun=All&&`:                                true,
		`/pods??dryRun=All`:                                   false,
		`/pods?note=dryRun%3DAll`:                             false,
		`/pods?note=x%26dryRun=All`:                           false,
		`/pods?dryrun=All`:                                    false,
		`/pods?dryRun%20=All`:                                 false,
		`/pods?dryRun+=All`:                                   false,
		`/pods?dryRunx=All`:                                   false,
		`/pods?dryRu=All`:                                     false,
		`/pods?a=\u0064ryRun`:                                 false,
		`/pods?\u0064ryRun`:                                   true,
		`/pods?a=b\u0026\u0064ryRun`:                          true,
		`/pods?dryRun=%zz`:                                    false, // dropped by the server: a real creation
		`/pods?dryRun=All;x`:                                  false, // the same
		`/pods?a=b;dryRun=All`:                                false,
		`/pods?%dryRun=All`:                                   false,
		`/pods/dryRun=All`:                                    false,
		`/pods&dryRun=All`:                                    false,
		`/pods?fieldManager=dryRun`:                           false,
		`/pods?=dryRun`:                                       false,
		`/pods?dryRun=All` + strings.Repeat(`\u0026`, 9_999):  true,
		`/pods?dryRun=All` + strings.Repeat(`\u0026`, 10_000): false, // more than a server reads
		``: false,
	} {
		raw := `"` + uri + `"`
		if got := isDryRun(raw); got != want {
			t.Errorf("%.60s: dry run %v, want %v", uri, got, want)
		}
		var plain string
		if err := json.Unmarshal([]byte(raw), &plain); err != nil {
			t.Fatal(err)
		}
		if got := dryRunByTheBook(plain); got != want {
			t.Errorf("%.60s: net/url says %v, want %v", uri, got, want)
		}
	}
	for _, raw := range []string{"", "null", "7", `["?dryRun=All"]`} {
		if isDryRun(raw) {
			t.Errorf("%s is no URI", raw)
		}
	}
}

func FuzzDryRun(f *testing.F) {
	for _, seed := range []string{"/p?dryRun=All", "/p?a=%&dry%52un", "/p?x;dryRun&+=%2", "/é?dryRun=\xff", "?dryRun=%41%4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		raw, err := json.Marshal(uri)
		if err != nil {
			t.Skip()
		}
		var plain string // as a log can hold it: valid UTF-8
		if err := json.Unmarshal(raw, &plain); err != nil {
			t.Fatal(err)
		}
		if got, want := isDryRun(string(raw)), dryRunByTheBook(plain); got != want {
			t.Errorf("%q: dry run %v, net/url says %v", plain, got, want)
		}
	})
}
