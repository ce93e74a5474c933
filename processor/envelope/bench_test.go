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
