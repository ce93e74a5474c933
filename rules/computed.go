package rules

// Computed is a group of fields that the caller derives from raw ones. It is evaluated at most once per event, and only
// after the gates of the raw fields left a rule that asks for it.
type Computed struct {
	// Names are the fields.
	Names []string
	// Needs are paths whose raw JSON Eval gets, in this order; "" where the path is absent or leads through an array.
	Needs []string
	// Eval adds the values of the fields to out. raw is lent until Match returns. It must be safe for concurrent use.
	Eval func(raw []string, out *Values)
	// Implies says which raw fields must hold for the field name to equal value, so that events can be rejected by them
	// before anything is computed. All pins must hold. nil, or no pins: nothing is known. A pin may be looser than the
	// truth, never stricter.
	Implies func(name, value string) []Pin
}

// Pin says what a raw field must hold: one of Values (compared without case), or a number from Min to Max if Max is not
// below Min and either is not 0, or nothing (absent or null) if Absent.
type Pin struct {
	Path     string
	Values   []string
	Min, Max float64
	Absent   bool
}

// Values receives computed values.
type Values struct{ list []computedValue }

type computedValue struct {
	name int32
	text string
}

// Add adds a value to field Names[i]. A field with several values is true of a condition if any of them is; one with
// none is absent. value is lent until Match returns.
func (v *Values) Add(i int, value string) {
	v.list = append(v.list, computedValue{int32(i), value})
}

// computedGroup is a Computed with its needs as slots.
type computedGroup struct {
	Computed
	needs []int32
}

// groupState is what a group gave for the event.
type groupState struct {
	stamp  uint32
	raw    []string
	values Values
}

// group evaluates a group, once per event.
func (sc *scratch) group(id int32) *groupState {
	g := &sc.groups[id]
	if g.stamp == sc.stamp {
		return g
	}
	g.stamp = sc.stamp
	c := &sc.set.computed[id]
	for i, slot := range c.needs {
		g.raw[i] = ""
		if st := &sc.slots[slot]; st.stamp == sc.stamp && !st.absent && st.rest == 0 {
			g.raw[i] = sc.event[st.start:st.end]
		}
	}
	g.values.list = g.values.list[:0]
	c.Eval(g.raw, &g.values)
	return g
}
