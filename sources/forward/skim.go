package forward

import (
	"bytes"
	"slices"
)

// headBytes bounds the JSON text of a member of a head. What is longer decides nothing: the record is written whole.
const headBytes = 4 << 10

// skim asks whether the record at the start of b is of no interest, so that most records of a parsed log are never
// written as JSON text: passing over one costs a fifth of that. It returns the record's length, and false for every
// record that has to be written: also one that is not complete or not sound, about which that will say more.
func (g *group) skim(b []byte) (n int, ok bool) {
	s := &g.src.settings.Skim
	h, ok := readHead(b)
	if s.Rejects == nil || !ok || h.kind != kindMap || h.n < uint64(s.Lead) {
		return 0, false
	}
	head := append(g.head[:0], '{')
	pos, left, found := h.size, h.n, 0
	for ; left > 0 && found < len(s.Members); left-- {
		key, n, ok := readBytes(b[pos:])
		if !ok {
			return 0, false
		}
		pos += n
		if found < s.Lead && s.Members[found] != string(key) || bytes.IndexByte(key, '.') >= 0 {
			return 0, false // a rule may take a key with a dot for a path
		}
		if !slices.Contains(s.Members, string(key)) {
			size, err := skip(b[pos:])
			if err != nil {
				return 0, false
			}
			pos += size
			continue
		}
		head = append(append(append(head, '"'), key...), '"', ':')
		var err error
		head, n, err = appendJSON(head, b[pos:], headBytes)
		if err != nil {
			return 0, false
		}
		pos += n
		head = append(head, ',')
		found++
	}
	if found == 0 {
		return 0, false
	}
	head[len(head)-1] = '}'
	g.head = head
	if !s.Rejects(head) {
		return 0, false
	}
	rest := scanner{pending: 2 * left}
	if done, err := rest.advance(b[pos:], uint64(len(b)-pos)); !done || err != nil {
		return 0, false
	}
	n = pos + int(rest.pos)
	return n, n <= g.src.settings.MaxRecord
}
