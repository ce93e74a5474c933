package rules

// LogSource says which logs a rule is for.
type LogSource struct {
	Category, Product, Service string
	Definition                 string
}

// Custom is a top-level attribute that the specification does not know, kept as it came.
type Custom struct {
	Name string
	// Value is the text of a scalar, or the YAML of anything else.
	Value string
}

// Rule is one Sigma rule. It is read-only after [Parse].
type Rule struct {
	ID, Name, Title string
	// Status is stable, test, experimental, deprecated, unsupported or empty; Level informational, low, medium, high,
	// critical or empty.
	Status, Level       string
	Description, Author string
	Date, Modified      string
	License             string
	Tags                []string
	References          []string
	FalsePositives      []string
	// Fields are worth showing to whoever investigates.
	Fields    []string
	LogSource LogSource
	Detection Detection
	// Custom holds every other attribute, in the order of the file.
	Custom []Custom
	// File, Line and Col say where the document begins.
	File      string
	Line, Col int
	// Tests are the cases written inline, under the attribute "tests".
	Tests []Test
	// Warnings were found while parsing: things that are allowed and rarely meant.
	Warnings []*Fault
}

// Key names the rule: its id, else its name, else its title.
func (r *Rule) Key() string {
	switch {
	case r.ID != "":
		return r.ID
	case r.Name != "":
		return r.Name
	}
	return r.Title
}

// Filter is a Sigma filter document: it narrows rules without touching them. A rule it applies to matches only where the
// filter's condition holds as well.
type Filter struct {
	ID, Title string
	// Rules are ids or names of the rules it applies to; Any means all rules of its log source.
	Rules     []string
	Any       bool
	LogSource LogSource
	Detection Detection
	File      string
	Line, Col int
}

// Documents is what a file, or several, held.
type Documents struct {
	Rules   []*Rule
	Filters []*Filter
}

// Append adds the documents of other.
func (d *Documents) Append(other Documents) {
	d.Rules = append(d.Rules, other.Rules...)
	d.Filters = append(d.Filters, other.Filters...)
}

// Detection is what a rule looks for.
type Detection struct {
	selections []*selection
	// conditions are alternatives.
	conditions []*condition
	warnings   []*Fault
}

// FieldUse is a field name at a place.
type FieldUse struct {
	Field     string
	Line, Col int
	// Values are the plain texts it is compared with, without wildcards.
	Values []string
}

// Fields lists the fields that the detection names, in the order of the file; keywords name none.
func (d *Detection) Fields() []FieldUse {
	var uses []FieldUse
	for _, s := range d.selections {
		s.visit(func(it *item) {
			if it.field == "" {
				return
			}
			use := FieldUse{Field: it.field, Line: it.line, Col: it.col}
			for _, g := range it.groups {
				for i := range g {
					if t := &g[i]; t.op == opEqual || t.op == opNumber {
						use.Values = append(use.Values, t.shown)
					}
				}
			}
			uses = append(uses, use)
			for _, g := range it.groups {
				for i := range g {
					if g[i].op.isReference() {
						uses = append(uses, FieldUse{Field: g[i].text, Line: it.line, Col: it.col})
					}
				}
			}
		})
	}
	return uses
}

// selection is one named search: alternatives of conjunctions (a list of maps), one of which is the usual map.
type selection struct {
	name      string
	line, col int
	maps      [][]*item
}

func (s *selection) visit(f func(*item)) {
	for _, m := range s.maps {
		for _, it := range m {
			f(it)
		}
	}
}

// item is one line of a selection: a field, its modifiers and values; field is empty for keywords.
type item struct {
	field     string
	line, col int
	modifiers []modifier
	values    []value
	// groups holds the tests: for each value (after |expand) the alternatives that mean it.
	groups [][]test
	// all asks for every group instead of any, neq for none.
	all, neq bool
	// pending holds |expand: groups are built when the placeholders are known.
	pending bool
}
