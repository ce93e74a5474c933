package alert

import (
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// attributes takes the percent encoding of the transport off.
func attributes(t testing.TB, a *Alert) map[string]string {
	t.Helper()
	name := regexp.MustCompile(`^[a-z0-9]{1,20}$`) // section "Naming Conventions" of CloudEvents 1.0.2
	got := map[string]string{}
	list := CloudEvent(nil, a)
	if len(list) > MaxCloudEvent {
		t.Errorf("%d attributes, MaxCloudEvent is %d", len(list), MaxCloudEvent)
	}
	for _, h := range list {
		checkHeader(t, h)
		if !name.MatchString(h.Key) || h.Key == "data" {
			t.Errorf("%q is no name of an attribute", h.Key)
		}
		if _, twice := got[h.Key]; twice {
			t.Errorf("%s comes twice", h.Key)
		}
		back, err := url.PathUnescape(h.Value)
		if err != nil || back == "" {
			t.Errorf("%s: %q is empty or badly encoded (%v)", h.Key, h.Value, err)
		}
		got[h.Key] = back
	}
	return got
}

func TestCloudEvent(t *testing.T) {
	want := map[string]string{
		"specversion": "1.0", "id": "sw-7d1e8f0a4b5c6d7e8f9a0b1c2d3e4f50", "source": "//prod-eu-1",
		"type": "io.spawnwatch.workload.created.v1", "subject": "shop/Deployment/web", "partitionkey": "shop/Deployment",
		"time": "2026-11-23T20:15:30.123456Z", "recordedtime": "2026-11-23T20:15:31Z", "datacontenttype": "application/json",
		"severitytext": "medium", "severitynumber": "13",
	}
	if diff := cmp.Diff(want, attributes(t, small())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCloudEventOfEverySample(t *testing.T) {
	// RFC 3986: "//" authority path-abempty, with the authority a registered name
	reference := regexp.MustCompile(`^//([A-Za-z0-9._~-]|%[0-9A-F]{2})*(/([A-Za-z0-9._~-]|%[0-9A-F]{2})*)*$`)
	for name, a := range samples() {
		t.Run(name, func(t *testing.T) {
			got := attributes(t, a)
			for _, required := range []string{"specversion", "id", "source", "type"} {
				if got[required] == "" {
					t.Errorf("%s is missing", required)
				}
			}
			if !reference.MatchString(got["source"]) {
				t.Errorf("source %q is no URI reference", got["source"])
			}
			if at, there := got["time"]; there {
				if _, err := time.Parse(time.RFC3339, at); err != nil {
					t.Error(err)
				}
			}
		})
	}
	s := samples()
	for _, c := range []struct{ sample, attribute, want string }{
		{"observed", "type", "io.spawnwatch.event.observed.v1"},
		{"observed", "subject", "shop/pods/web-1"},
		{"refused", "type", "io.spawnwatch.workload.refused.v1"},
		{"unknown", "type", "io.spawnwatch.workload.unknown.v1"},
		{"changed", "type", "io.spawnwatch.workload.changed.v1"},
		{"nameless", "subject", "shop/Pod/"},
		{"bare", "source", "//unknown"},
		{"bare", "time", ""},
		{"enriched", "severitytext", "critical"},
		{"hostile", "subject", "ns/\xf0\x9f/Pod/\x1b]0;owned\x07\u202e\xff"},
		{"hostile", "source", "//prod%20eu/1%3A%3F%23%25"},
	} {
		if got := attributes(t, s[c.sample])[c.attribute]; got != c.want {
			t.Errorf("%s of %s: got %q, want %q", c.attribute, c.sample, got, c.want)
		}
	}
}

func TestCloudEventOfTheZeroAlert(t *testing.T) {
	var names []string
	for _, h := range CloudEvent(nil, &Alert{}) {
		checkHeader(t, h)
		names = append(names, h.Key)
	}
	if diff := cmp.Diff([]string{"specversion", "id", "source", "type", "datacontenttype"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeverityNumbersRise(t *testing.T) {
	last := 0
	for _, s := range Severities() {
		n := severityNumber(Severity(s))
		if n <= last || n > 24 {
			t.Errorf("%s has the number %d, after %d", s, n, last)
		}
		last = n
	}
}
