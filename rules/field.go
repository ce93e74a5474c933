package rules

// field is a name that rules use: a path, several by an alias, or a computed field.
type field struct {
	name    string
	sources []source
}

// source is where values come from: a slot, or name i of a computed group.
type source struct {
	slot     int32 // -1 for computed fields
	group, i int32
}

// single is the slot of a field that is one plain path, else -1.
func (f *field) single() int32 {
	if len(f.sources) == 1 {
		return f.sources[0].slot
	}
	return -1
}

// fieldState is what is known of a field in the event.
type fieldState struct {
	stamp uint32
	// present: something stands there, null too. null: it is null and nothing else.
	present, null bool
	// spilled: more than maxValues values, which each test walks anew.
	spilled bool
	// first and last bound the field's values in scratch.values.
	first, last int32
}

// state reads a field's values, once per event.
func (sc *scratch) state(id int32) *fieldState {
	st := &sc.fields[id]
	if st.stamp == sc.stamp {
		return st
	}
	f := &sc.set.fields[id]
	*st = fieldState{stamp: sc.stamp, first: int32(len(sc.values))}
	sc.collect = collector{sc: sc, st: st, first: len(sc.values), null: true}
	for _, src := range f.sources {
		sc.visit(src, &sc.collect)
	}
	st.null = st.present && sc.collect.null
	st.last = int32(len(sc.values))
	if st.spilled {
		clear(sc.values[st.first:])
		sc.values = sc.values[:st.first]
		st.last = st.first
	}
	return st
}

// visitor receives the values of a field.
type visitor interface {
	// value gets a raw JSON value that is no array; inside tells that it came out of one.
	value(raw string, inside bool)
	// text gets the value of a computed field.
	text(s string)
	// mark says that something stands there, many that it is an array.
	mark()
	many()
}

// visit gives v every value of a source.
func (sc *scratch) visit(src source, v visitor) {
	if src.slot < 0 {
		g := sc.group(src.group)
		for _, c := range g.values.list {
			if c.name == src.i {
				v.mark()
				v.text(c.text)
			}
		}
		return
	}
	st := &sc.slots[src.slot]
	if st.stamp != sc.stamp || st.absent {
		return
	}
	raw := sc.event[st.start:st.end]
	path := sc.set.slots[src.slot].path
	sc.spread(raw, path[len(path)-int(st.rest):], st.rest > 0, v)
}

// spread gives v what path leads to within raw, arrays flattened. It recurses as deep as the path has segments.
func (sc *scratch) spread(raw, path string, inside bool, v visitor) {
	if raw == "" {
		return
	}
	if raw[0] == '[' {
		if path == "" {
			v.mark()
			v.many()
		}
		m := openMembers(raw[:max(len(raw)-1, 1)])
		for {
			e, ok := m.element()
			if !ok {
				return
			}
			switch {
			case path == "":
				v.value(e, true)
			case e[0] == '{':
				sc.spread(e, path, true, v)
			}
		}
	}
	if path == "" {
		v.mark()
		v.value(raw, inside)
		return
	}
	start, stop, rest, ok := sc.locateIn(raw, path)
	if !ok {
		return
	}
	sc.spread(raw[start:stop], path[len(path)-rest:], inside, v)
}

// locateIn is locate within raw instead of the event.
func (sc *scratch) locateIn(raw, path string) (start, stop, rest int, ok bool) {
	event := sc.event
	sc.event = raw
	start, stop, rest, ok = sc.locate(0, len(raw), path)
	sc.event = event
	return start, stop, rest, ok
}

// collector remembers values.
type collector struct {
	sc    *scratch
	st    *fieldState
	first int
	null  bool
}

func (c *collector) mark() { c.st.present = true }

func (c *collector) many() { c.null = false }

func (c *collector) value(raw string, inside bool) {
	if inside || raw[0] != 'n' {
		c.null = false
	}
	if len(c.sc.values)-c.first >= maxValues {
		c.st.spilled = true
		return
	}
	c.sc.values = append(c.sc.values, c.sc.scalarOf(raw))
}

func (c *collector) text(s string) {
	c.null = false
	if len(c.sc.values)-c.first >= maxValues {
		c.st.spilled = true
		return
	}
	c.sc.values = append(c.sc.values, scalar{kind: kindString, text: s})
}

// streamer runs a predicate over values that were too many to remember.
type streamer struct {
	sc *scratch
	p  *predicate
	// met holds a bit for each group of tests that some value met.
	met []uint64
}

func (s *streamer) mark() {}

func (s *streamer) many() {}

func (s *streamer) value(raw string, _ bool) {
	mark := len(s.sc.arena)
	v := s.sc.scalarOf(raw)
	s.one(&v)
	s.sc.arena = s.sc.arena[:mark]
}

func (s *streamer) text(t string) {
	mark := len(s.sc.arena)
	v := scalar{kind: kindString, text: t}
	s.one(&v)
	s.sc.arena = s.sc.arena[:mark]
}

func (s *streamer) one(v *scalar) {
	for i, g := range s.p.item.groups {
		if s.met[i/64]&(1<<(i%64)) != 0 {
			continue
		}
		for j := range g {
			if g[j].matches(v, s.sc) {
				s.met[i/64] |= 1 << (i % 64)
				break
			}
		}
	}
}

// whole is a field as |fieldref compares it: one value, or the raw text of an array.
type whole struct {
	value scalar
	// raw is the text as it stands in the event, where it stands in one place.
	raw   string
	array bool
}

func (sc *scratch) whole(id int32) whole {
	st := sc.state(id)
	var w whole
	if slot := sc.set.fields[id].single(); slot >= 0 {
		if p := &sc.slots[slot]; p.stamp == sc.stamp && !p.absent && p.rest == 0 {
			w.raw = sc.event[p.start:p.end]
		}
	}
	if st.last-st.first == 1 && (w.raw == "" || w.raw[0] != '[') {
		w.value = sc.values[st.first]
		return w
	}
	w.array = true
	return w
}

// sameArray compares two raw arrays member by member, as text without case. Without raw text they are not compared.
func (sc *scratch) sameArray(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, y := openMembers(a[:max(len(a)-1, 1)]), openMembers(b[:max(len(b)-1, 1)])
	for {
		p, more := x.element()
		q, ok := y.element()
		if more != ok || !more {
			return more == ok
		}
		mark := len(sc.arena)
		v, w := sc.scalarOf(p), sc.scalarOf(q)
		same := v.textual() == w.textual() && v.foldedText(sc) == w.foldedText(sc)
		sc.arena = sc.arena[:mark]
		if !same {
			return false
		}
	}
}
