package processor

import (
	"bytes"
	"testing"
)

// TestOutboxHoldsWhatIsInIt and not much more: while a sink is away hundreds of them wait.
func TestOutboxHoldsWhatIsInIt(t *testing.T) {
	var o outbox
	var kept [][]byte
	blocks := map[*byte]int{}
	size := 0
	for i := range 200 {
		text := bytes.Repeat([]byte{byte(i)}, 1000+i*400)
		if i == 100 {
			text = make([]byte, 2*arenaBlock)
		}
		kept = append(kept, o.keep(text))
		size += len(text)
		if c := cap(o.arena); c > 0 {
			blocks[&o.arena[:c][c-1]] = c
		}
	}
	held := 2 * arenaBlock // the one that is too long for a block
	for _, c := range blocks {
		held += c
	}
	if held > size*3/2 {
		t.Errorf("%d bytes are held for %d", held, size)
	}
	for i, b := range kept {
		if want := byte(i); i != 100 && (len(b) != 1000+i*400 || b[0] != want || b[len(b)-1] != want) {
			t.Fatalf("text %d was overwritten", i)
		}
	}
}
