package alert

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	for _, name := range append(Formats(), "") {
		if encode, err := Format(name); err != nil || encode == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := Format("xml")
	if err == nil || !strings.Contains(err.Error(), `"xml"`) || !strings.Contains(err.Error(), strings.Join(Formats(), ", ")) {
		t.Errorf("got %v, expected an error that names what came and what is possible", err)
	}
}

func eachFormat(t *testing.T, test func(t *testing.T, name string, encode Encoder)) {
	for _, name := range Formats() {
		t.Run(name, func(t *testing.T) {
			encode, err := Format(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, name, encode)
		})
	}
}

// TestEveryFormatIsOneSafeLine: whatever is in an alert, one JSON object comes out, behind what was there, the same
// each time, and nothing raw in it.
func TestEveryFormatIsOneSafeLine(t *testing.T) {
	eachFormat(t, func(t *testing.T, _ string, encode Encoder) {
		for seed := range uint64(100) {
			f := &filler{rnd: rand.New(rand.NewPCG(seed, 2)), most: 3, hostile: true}
			a := f.alert()
			got := encode([]byte("before"), a)
			text, ok := strings.CutPrefix(string(got), "before")
			if !ok {
				t.Fatal("what was in the buffer is gone")
			}
			checkLine(t, []byte(text))
			if _, isObject := decode(t, []byte(text)).(map[string]any); !isObject {
				t.Fatalf("no object: %s", text)
			}
			checkUniqueKeys(t, text)
			if again := string(encode(nil, a)); again != text {
				t.Fatalf("twice the same alert, two texts:\n%s\n%s", text, again)
			}
		}
	})
}

// checkUniqueKeys finds a key that comes twice in one object: decoders do not agree on what that means.
func checkUniqueKeys(t *testing.T, text string) {
	t.Helper()
	var stack []map[string]bool
	key := true
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			stack, key = append(stack, map[string]bool{}), true
		case '[':
			stack, key = append(stack, nil), false
		case '}', ']':
			stack, key = stack[:len(stack)-1], false
		case ',':
			key = stack[len(stack)-1] != nil
		case ':':
			key = false
		case '"':
			start := i
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if top := stack[len(stack)-1]; key && top != nil {
				if k := text[start : i+1]; top[k] {
					t.Fatalf("the key %s comes twice in one object: %s", k, text)
				} else {
					top[k] = true
				}
			}
		}
	}
}

// TestEveryFormatOfTheZeroAlert: nothing is required of who fills an alert.
func TestEveryFormatOfTheZeroAlert(t *testing.T) {
	eachFormat(t, func(t *testing.T, _ string, encode Encoder) {
		decode(t, encode(nil, &Alert{}))
		decode(t, encode(nil, &Alert{Workload: &Workload{Containers: []Container{{}}}}))
	})
}

func TestEveryFormatAllocatesNothing(t *testing.T) {
	eachFormat(t, func(t *testing.T, _ string, encode Encoder) {
		a, dst := typical(), make([]byte, 0, 64<<10)
		if n := testing.AllocsPerRun(100, func() { dst = encode(dst[:0], a) }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}

// marked is an alert in which every text says where it stands.
func marked() (a *Alert, marks map[string]string) {
	a, marks = full(), map[string]string{}
	eachLeaf(reflect.ValueOf(a).Elem(), "", func(path string, v reflect.Value) {
		if v.Kind() == reflect.String {
			mark := fmt.Sprintf("mark%03d.", len(marks))
			marks[path] = mark
			v.SetString(mark)
		}
	})
	a.Actor.Grant.Known = true
	return a, marks
}

// TestFullFormatsLoseNothing: every text of an alert has a place in the formats that are not meant to be an extract.
func TestFullFormatsLoseNothing(t *testing.T) {
	for format, but := range map[string][]string{
		FormatNative: {},
		// the severity is a number there; namespace and name are those of the workload, and in the path of the URL
		FormatOCSF: {".Severity", ".Request.Object.Namespace", ".Request.Object.Name"},
		FormatECS:  {},
	} {
		encode, err := Format(format)
		if err != nil {
			t.Fatal(err)
		}
		a, marks := marked()
		text := string(encode(nil, a))
		for path, mark := range marks {
			if !strings.Contains(text, mark) && !slices.Contains(but, path) {
				t.Errorf("%s: %s has no place", format, path)
			}
		}
	}
}

// TestWriteSamples writes every sample in every format to the folder SPAWNWATCH_SAMPLES, for validators in other
// languages: see .ci/ocsf-check.
func TestWriteSamples(t *testing.T) {
	dir := os.Getenv("SPAWNWATCH_SAMPLES")
	if dir == "" {
		t.Skip("SPAWNWATCH_SAMPLES names no folder: .ci/ocsf-check sets it")
	}
	eachFormat(t, func(t *testing.T, format string, encode Encoder) {
		all := samples()
		for seed := range uint64(40) { // texts only: enumerations of random words are no alerts
			a := typical()
			f := &filler{rnd: rand.New(rand.NewPCG(seed, 3)), most: 2, hostile: true}
			f.fill(reflect.ValueOf(&a.Workload.Containers).Elem())
			f.fill(reflect.ValueOf(&a.Actor).Elem())
			f.fill(reflect.ValueOf(&a.Network).Elem())
			f.fill(reflect.ValueOf(&a.Attack).Elem())
			f.fill(reflect.ValueOf(&a.Request).Elem())
			f.fill(reflect.ValueOf(&a.Event).Elem())
			all[fmt.Sprintf("random%02d", seed)] = a
		}
		for name, a := range all {
			if err := os.WriteFile(filepath.Join(dir, format+"-"+name+".json"), encode(nil, a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
}
