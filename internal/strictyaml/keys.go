package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Key returns the configuration key of a struct field: its yaml tag. inline reports a field whose own keys stand in
// the place of the field; an empty key, a field that is not configurable.
func Key(f reflect.StructField) (key string, inline bool) {
	if !f.IsExported() {
		return "", false
	}
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return "", false
	}
	if slices.Contains(strings.Split(options, ","), "inline") {
		return "", true
	}
	return name, false
}

// keys lists the keys of a struct in the order of its fields.
func keys(t reflect.Type) []string {
	var all []string
	for f := range t.Fields() {
		key, inline := Key(f)
		switch {
		case inline:
			all = append(all, keys(f.Type)...)
		case key != "":
			all = append(all, key)
		}
	}
	return all
}

func fieldByKey(v reflect.Value, want string) (reflect.Value, bool) {
	t := v.Type()
	for i := range t.NumField() {
		key, inline := Key(t.Field(i))
		if inline {
			if field, ok := fieldByKey(v.Field(i), want); ok {
				return field, true
			}
		} else if key == want && key != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// nearest suggests the key that was probably meant, or lists all.
func nearest(got string, known []string) string {
	best, least := "", len(got)/2+2
	for _, k := range known {
		if n := distance(strings.ToLower(got), k); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known keys: " + strings.Join(known, ", ")
}

// distance is the edit distance of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
