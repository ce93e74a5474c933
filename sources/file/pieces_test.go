package file

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// oddPieces returns reads of random lengths, some of them empty.
type oddPieces struct {
	r   io.Reader
	rng *rand.Rand
}

func (o *oddPieces) Read(p []byte) (int, error) {
	if o.rng.IntN(10) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:min(len(p), 1+o.rng.IntN(5000))])
}

// TestInputInOddPieces compares what comes of random text, however a reader cuts it up, with a plain split: values,
// lines, offsets and the sizes of what is too long.
func TestInputInOddPieces(t *testing.T) {
	const limit = blockSize + 1000
	readers := map[string]func(io.Reader, *rand.Rand) io.Reader{
		"odd pieces":      func(r io.Reader, rng *rand.Rand) io.Reader { return &oddPieces{r, rng} },
		"halves":          func(r io.Reader, _ *rand.Rand) io.Reader { return iotest.HalfReader(r) },
		"data with error": func(r io.Reader, _ *rand.Rand) io.Reader { return iotest.DataErrReader(r) },
	}
	for name, cut := range readers {
		for seed := range uint64(12) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var text strings.Builder
			for range 1 + rng.IntN(40) {
				n := rng.IntN(300)
				if rng.IntN(6) == 0 {
					n = rng.IntN(3 * limit)
				}
				text.WriteString(strings.Repeat(string(rune('a'+rng.IntN(26))), n))
				text.WriteString([]string{"\n", "\r\n", "\n\n"}[rng.IntN(3)])
			}
			content := text.String()
			if rng.IntN(2) == 0 {
				content = strings.TrimRight(content, "\r\n")
			}
			all, err := collect(t, Settings{Lanes: 3, MaxRecord: limit, Stdin: cut(strings.NewReader(content), rng)}, stdin)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(plainSplit(content, limit), digest(all)); d != "" {
				t.Fatalf("%s, seed %d: (-want +got)\n%s", name, seed, d)
			}
		}
	}
}

// plainSplit is what the source should make of content, as digest writes it.
func plainSplit(content string, limit int) (want []string) {
	offset := 0
	for i, line := range strings.SplitAfter(content, "\n") {
		value := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		kept, size := value, 0
		if len(value) > limit {
			kept, size = value[:64<<10], len(value)
		}
		if value != "" {
			want = append(want, fmt.Sprintf("line %d at %d: %d × %.1s, size %d", i+1, offset, len(kept), kept, size))
		}
		offset += len(line)
	}
	return want
}

func digest(all []got) (lines []string) {
	for _, g := range all {
		text := fmt.Sprintf("line %d at %d: %d × %.1s, size %d", g.Line, g.Offset, len(g.Value), g.Value, g.Size)
		if strings.Trim(g.Value, g.Value[:1]) != "" {
			text += ", mixed with another line"
		}
		lines = append(lines, text)
	}
	return lines
}
