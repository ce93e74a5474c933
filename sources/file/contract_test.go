package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spawnwatch/spawnwatch/sources"
	"github.com/spawnwatch/spawnwatch/sources/sourcetest"
)

func TestContract(t *testing.T) {
	const lanes = 3
	sourcetest.Run(t, sourcetest.Harness{
		Name: "audit", Drain: 300 * time.Millisecond, Partitions: 2, Ends: true, OffsetsGrow: true,
		InFlight: lanes * blockSize,
		Open: func(t testing.TB) sourcetest.Transport {
			dir := t.TempDir()
			return sourcetest.Transport{
				Source: func(t testing.TB) sources.Source {
					s, err := New(Config{Paths: []string{filepath.Join(dir, "*.log")}}, Settings{Name: "audit", Lanes: lanes, Drain: 300 * time.Millisecond})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Produce: func(t testing.TB, partition int, values [][]byte) {
					f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d.log", partition)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
					if err != nil {
						t.Fatal(err)
					}
					defer closed(t, f)
					for _, v := range values {
						if _, err := f.Write(append(v, '\n')); err != nil {
							t.Fatal(err)
						}
					}
				},
			}
		},
	})
}
