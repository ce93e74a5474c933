package rules

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Vocabulary is what the caller knows about the events.
type Vocabulary struct {
	// Fields are the names that occur. One that ends in ".*" stands for everything below it.
	Fields []string
	// Values are, for fields whose values are known, all that occur.
	Values map[string][]string
}

// Lint gives warnings, in the order of the rules: what parsing found, fields that never occur, values that can never
// match. Placeholders and wildcards are not judged.
func Lint(docs Documents, v Vocabulary) []*Fault {
	var out []*Fault
	for _, r := range docs.Rules {
		out = append(out, r.Warnings...)
		out = append(out, v.check(&r.Detection, r.File, r.Key())...)
	}
	for _, f := range docs.Filters {
		name := f.ID
		if name == "" {
			name = f.Title
		}
		out = append(out, v.check(&f.Detection, f.File, name)...)
	}
	return out
}

func (v *Vocabulary) check(d *Detection, file, rule string) []*Fault {
	var out []*Fault
	for _, use := range d.Fields() {
		at := Fault{File: file, Line: use.Line, Col: use.Col, Rule: rule}
		if !v.knows(use.Field) {
			f := at
			f.Msg = fmt.Sprintf("the field %q never occurs", use.Field)
			if n := nearest(use.Field, v.Fields); n != "" {
				f.Hint = fmt.Sprintf("did you mean %q?", n)
			}
			out = append(out, &f)
			continue
		}
		known, ok := v.Values[use.Field]
		if !ok {
			continue
		}
		for _, value := range use.Values {
			if slices.ContainsFunc(known, func(k string) bool { return fold(k) == fold(value) }) {
				continue
			}
			f := at
			f.Msg = fmt.Sprintf("%s is never %q", use.Field, value)
			sorted := append([]string(nil), known...)
			sort.Strings(sorted)
			const most = 12
			if n := nearest(value, sorted); n != "" {
				f.Hint = fmt.Sprintf("did you mean %q?", n)
			} else if len(sorted) <= most {
				f.Hint = "it is one of " + strings.Join(sorted, ", ")
			}
			out = append(out, &f)
		}
	}
	return out
}

func (v *Vocabulary) knows(field string) bool {
	if len(v.Fields) == 0 {
		return true
	}
	for _, k := range v.Fields {
		if prefix, ok := strings.CutSuffix(k, ".*"); ok {
			if field == prefix || strings.HasPrefix(field, prefix+".") {
				return true
			}
		} else if field == k {
			return true
		}
	}
	return false
}
