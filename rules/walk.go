package rules

// walk goes over the top-level keys of the event once, fills the slots and applies their gates. It ends early, with
// sc.stopped, as soon as no rule is possible any more.
//
// Of several equal keys the first counts, spelled with escapes or without. Of several top-level keys that can begin a
// path ("a.b" and "a", for the path a.b.c) the first decides. Inside, the first that leads to a value does. An array on
// the way leads to every member that has the rest of the path.
func (sc *scratch) walk() {
	s := sc.event
	i := skipSpace(s, 0)
	if i >= len(s) || s[i] != '{' {
		sc.fail(i, "an object")
		return
	}
	if sc.object(sc.set.root, i, true) >= 0 && !sc.stopped {
		sc.absences()
	}
}

func (sc *scratch) fail(at int, expected string) int {
	if sc.broken == nil {
		sc.broken = &SyntaxError{Offset: min(at, len(sc.event)), Expected: expected}
	}
	return -1
}

// object reads the object that begins at i and gives the index behind it, or -1: stopped or broken. It recurses as deep
// as the paths of the rules, not as the event.
func (sc *scratch) object(n *node, i int, top bool) int {
	s := sc.event
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s) || s[i] != '"' {
			return sc.fail(i, "a key")
		}
		end := skipString(s, i+1)
		if end < 0 {
			return sc.fail(len(s), "the end of a key")
		}
		key := s[i+1 : end-1]
		if i = skipSpace(s, end); i >= len(s) || s[i] != ':' {
			return sc.fail(i, "a colon")
		}
		i = skipSpace(s, i+1)
		e := n.find(key)
		if e == nil || n.escaped {
			e = sc.findEscaped(n, key, e)
		}
		if e == nil {
			if end = skipValue(s, i); end < 0 {
				return sc.fail(max(i, 0), "a value")
			}
		} else if end = sc.take(e, i, top); end < 0 {
			return -1
		}
		i = skipSpace(s, end)
		if i >= len(s) {
			return sc.fail(i, "a comma or }")
		}
		switch s[i] {
		case ',':
			i = skipSpace(s, i+1)
		case '}':
			return i + 1
		default:
			return sc.fail(i, "a comma or }")
		}
	}
}

// findEscaped looks up a key that holds escapes.
func (sc *scratch) findEscaped(n *node, key string, e *entry) *entry {
	for i := range len(key) {
		if key[i] == '\\' {
			return n.find(sc.mapped(key, appendUnescaped))
		}
	}
	return e
}

// take reads the value at i, which belongs to e, and gives the index behind it, or -1.
func (sc *scratch) take(e *entry, i int, top bool) int {
	s := sc.event
	if e.targets != nil {
		return sc.join(e, i, top)
	}
	n := e.child
	if sc.seen[n.id] == sc.stamp || i >= len(s) {
		return sc.pass(i) // only the first of equal keys counts
	}
	sc.seen[n.id] = sc.stamp
	var end int
	if s[i] == '{' && !n.empty {
		if end = sc.object(n, i, false); end < 0 {
			return -1
		}
	} else {
		if end = sc.value(n, i); end < 0 {
			return -1
		}
		if s[i] == '[' && !n.empty {
			for _, b := range n.below {
				if b.rest != "" && sc.fill(b.slot, i, end, len(b.rest)) < 0 {
					return -1
				}
			}
		}
	}
	if n.slot >= 0 && sc.fill(n.slot, i, end, 0) < 0 {
		return -1
	}
	if top {
		// What this key has not brought no other can bring.
		for _, slot := range n.gated {
			if st := &sc.slots[slot]; st.stamp != sc.stamp && sc.absent(slot) < 0 {
				return -1
			}
		}
		// Only now automata run: a cheaper field beside theirs may have excluded the rules that wait for them.
		for _, slot := range n.searched {
			if !sc.complete && sc.searched(sc.set.slots[slot].searches) < 0 {
				return -1
			}
		}
	}
	return end
}

// value passes the value of a key. Where the caller has asked for it, it is checked on the way; what fails the check is
// passed all the same, and left for the caller to find.
func (sc *scratch) value(n *node, i int) int {
	if n.checked {
		if end := sc.set.check(sc.event, i); end > i {
			sc.checked = append(sc.checked, Span{i, end})
			return end
		}
	}
	return sc.pass(i)
}

func (sc *scratch) pass(i int) int {
	end := skipValue(sc.event, i)
	if end < 0 {
		return sc.fail(i, "a value")
	}
	return end
}

// join reads the value of a key that holds dots.
func (sc *scratch) join(e *entry, i int, top bool) int {
	end := sc.pass(i)
	if end < 0 || sc.seen[e.id] == sc.stamp {
		return end
	}
	sc.seen[e.id] = sc.stamp
	for _, t := range e.targets {
		st := &sc.slots[t.slot]
		if st.stamp == sc.stamp {
			continue
		}
		if top && sc.begun(t.slot, e) {
			continue
		}
		start, stop, rest, ok := sc.locate(i, end, t.rest)
		switch {
		case ok:
			if sc.fill(t.slot, start, stop, rest) < 0 {
				return -1
			}
		case top:
			if sc.absent(t.slot) < 0 {
				return -1
			}
		}
	}
	return end
}

// begun tells whether another top-level key that can begin the slot's path came before e.
func (sc *scratch) begun(slot int32, e *entry) bool {
	path := sc.set.slots[slot].path
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '.' {
			continue
		}
		other := sc.set.root.find(path[:i])
		if other == nil || other.name == e.name {
			continue
		}
		id := other.id
		if other.child != nil {
			id = other.child.id
		}
		if sc.seen[id] == sc.stamp {
			return true
		}
	}
	return false
}

// locate follows path in the value between i and end, keys with dots included. rest is what remains behind an array.
func (sc *scratch) locate(i, end int, path string) (start, stop, rest int, ok bool) {
	if path == "" {
		return i, end, 0, true
	}
	s := sc.event
	if s[i] == '[' {
		return i, end, len(path), true
	}
	if s[i] != '{' {
		return 0, 0, 0, false
	}
	var tried uint64
	m := members{s[:end], i + 1}
	for {
		key, ok := m.key()
		if !ok {
			return 0, 0, 0, false
		}
		at := m.at
		if _, ok := m.value(); !ok {
			return 0, 0, 0, false
		}
		remains, bit, fits := sc.step(key, path)
		if !fits || tried&bit != 0 {
			continue
		}
		tried |= bit
		if start, stop, rest, ok := sc.locate(at, m.at, remains); ok {
			return start, stop, rest, true
		}
	}
}

// step takes key off the front of path, if it stands there as a whole. bit tells keys of different lengths apart.
func (sc *scratch) step(key, path string) (remains string, bit uint64, ok bool) {
	for i := range len(key) {
		if key[i] == '\\' {
			key = sc.mapped(key, appendUnescaped)
			break
		}
	}
	if !hasPrefix(path, key) || len(path) > len(key) && path[len(key)] != '.' {
		return "", 0, false
	}
	dots := 0
	for i := range len(key) {
		if key[i] == '.' {
			dots++
		}
	}
	if len(path) > len(key) {
		remains = path[len(key)+1:]
	}
	return remains, 1 << (dots % 64), true
}

// fill settles a slot with a value and applies its gate; -1 means stopped.
func (sc *scratch) fill(slot int32, start, end, rest int) int {
	st := &sc.slots[slot]
	if st.stamp == sc.stamp {
		return 0
	}
	*st = slotState{stamp: sc.stamp, start: uint32(start), end: uint32(end), rest: uint32(rest)}
	if sc.complete {
		return 0
	}
	info := &sc.set.slots[slot]
	if info.text && sc.event[start] != '"' {
		return 0
	}
	if info.gate >= 0 && rest == 0 && sc.apply(sc.set.gates[info.gate].mask(sc.event[start:end], sc)) < 0 {
		return -1
	}
	return sc.settled(info)
}

// absent settles a slot without a value.
func (sc *scratch) absent(slot int32) int {
	sc.slots[slot] = slotState{stamp: sc.stamp, absent: true}
	if sc.complete {
		return 0
	}
	info := &sc.set.slots[slot]
	if info.gate >= 0 && sc.apply(sc.set.gates[info.gate].absent) < 0 {
		return -1
	}
	return sc.settled(info)
}

// settled asks the probes of a slot whose value is known.
func (sc *scratch) settled(info *slotInfo) int {
	for i := range info.probes {
		p := &info.probes[i]
		if !overlap(sc.alive, p.mask) || sc.answer(p.predicate) == p.want {
			continue
		}
		if sc.exclude(p.mask) < 0 {
			return -1
		}
	}
	return 0
}

func (sc *scratch) exclude(mask []uint64) int {
	var left uint64
	for i, m := range mask {
		sc.alive[i] &^= m
		left |= sc.alive[i]
	}
	if left == 0 {
		sc.stopped = true
		return -1
	}
	return 0
}

// absences applies the gates of all slots that never came.
func (sc *scratch) absences() {
	for _, slot := range sc.set.gated {
		if sc.slots[slot].stamp != sc.stamp {
			sc.absent(slot)
		}
	}
	sc.stopped = false // the event was read to its end
}

// apply takes rules out of those that are possible. A nil mask leaves all.
func (sc *scratch) apply(mask []uint64) int {
	if mask == nil {
		return 0
	}
	var left uint64
	for i, m := range mask {
		sc.alive[i] &= m
		left |= sc.alive[i]
	}
	if left == 0 {
		sc.stopped = true
		return -1
	}
	return 0
}
