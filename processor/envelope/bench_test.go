package envelope

import (
	"bytes"
	"encoding/json"
	"testing"
	"unsafe"

	"github.com/tidwall/gjson"
)

// BenchmarkCheck validates the real events that a candidate looks like: creations with both bodies.
func BenchmarkCheck(b *testing.B) {
	all := corpusLines(b, "rr.jsonl.gz")
	for _, set := range []struct {
		name string
		keep func([]byte) bool
	}{
		{"creations", func(l []byte) bool {
			return len(l) > 3000 && len(l) < 64<<10 && bytes.Contains(l, []byte(`"verb":"create"`)) && bytes.Contains(l, []byte(`"code":201`))
		}},
		{"mix", func([]byte) bool { return true }},
	} {
		var lines [][]byte
		size := 0
		for _, l := range all {
			if set.keep(l) {
				lines, size = append(lines, l), size+len(l)
			}
		}
		for _, v := range []struct {
			name  string
			valid func([]byte) bool
		}{
			{"Check", func(l []byte) bool { return Check(l) == nil }},
			{"gjson.Valid", func(l []byte) bool { return gjson.Valid(unsafe.String(&l[0], len(l))) }},
			{"json.Valid", json.Valid},
		} {
			b.Run(set.name+"/"+v.name, func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					for _, l := range lines {
						if !v.valid(l) {
							b.Fatal("a real event was refused")
						}
					}
				}
			})
		}
	}
}

// BenchmarkRead unwraps the whole real log in the forms that shippers send it.
func BenchmarkRead(b *testing.B) {
	lines := corpusLines(b, "rr.jsonl.gz")
	list := append([]byte(`{"kind":"EventList","items":[`), bytes.Join(lines[:400], []byte(","))...)
	list = append(list, "]}"...)
	forms := []struct {
		name    string
		records [][]byte
	}{{"bare", lines}, {"log", nil}, {"azure", nil}, {"eks", nil}, {"eventlist", [][]byte{list}}, {"gzip", nil}, {"base64", nil}}
	for _, l := range lines {
		forms[1].records = append(forms[1].records, []byte(`{"date":1.5,"kubernetes":{"pod_name":"p"},"log":`+quote(string(l)+"\n")+`}`))
		forms[2].records = append(forms[2].records, []byte(`{"category":"kube-audit","properties":{"log":`+quote(string(l)+"\n")+`}}`))
	}
	for i := 0; i+100 < len(lines); i += 100 {
		var messages []string
		for _, l := range lines[i : i+100] {
			messages = append(messages, string(l))
		}
		forms[3].records = append(forms[3].records, []byte(subscription(eksGroup, eksStream, messages...)))
		forms[5].records = append(forms[5].records, []byte(zip(subscription(eksGroup, eksStream, messages...))))
		forms[6].records = append(forms[6].records, []byte(`{"records":[{"data":"`+b64(messages[0])+`"}]}`))
	}
	for _, f := range forms {
		b.Run(f.name, func(b *testing.B) {
			var (
				rd   Reader
				c    counter
				size int
			)
			for _, r := range f.records {
				size += len(r)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range f.records {
					rd.Read(r, &c)
				}
			}
		})
	}
}
