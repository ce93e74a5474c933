package strictyaml

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// Schema is a JSON Schema (2020-12) or a part of it, ready for encoding/json.
type Schema struct {
	Dialect              string             `json:"$schema,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Type                 any                `json:"type,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Items                *Schema            `json:"items,omitempty"`
	Properties           map[string]*Schema `json:"properties,omitempty"`
	AdditionalProperties any                `json:"additionalProperties,omitempty"`
	Default              any                `json:"default,omitempty"`
}

// variable matches a scalar that is a variable as a whole, which stands for a value of any type.
const variable = `^\$\{.+\}$`

// SchemaOf describes what [Decode] takes for the type of defaults, a struct. doc gives the description of a field,
// defaults the default values.
func SchemaOf(title string, defaults any, doc func(t reflect.Type, field string) string) *Schema {
	s := structSchema(reflect.ValueOf(defaults), doc)
	s.Dialect, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	return s
}

func schemaOf(v reflect.Value, doc func(reflect.Type, string) string) *Schema {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(t.Elem())
		}
		return schemaOf(v.Elem(), doc)
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return &Schema{Type: []string{"string", "number"}}
	}
	if t == reflect.TypeFor[time.Duration]() {
		s := &Schema{Type: "string", Pattern: `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|` + variable}
		if d := time.Duration(v.Int()); d != 0 {
			s.Default = strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
			if d < time.Minute {
				s.Default = d.String()
			}
		}
		return s
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(v, doc)
	case reflect.Slice:
		return &Schema{Type: "array", Items: schemaOf(reflect.New(t.Elem()).Elem(), doc)}
	case reflect.Map:
		return &Schema{Type: "object", AdditionalProperties: schemaOf(reflect.New(t.Elem()).Elem(), doc)}
	case reflect.Bool:
		return &Schema{Type: []string{"boolean", "string"}, Default: v.Bool()}
	case reflect.Int, reflect.Int32, reflect.Int64:
		s := &Schema{Type: []string{"integer", "string"}}
		if v.Int() != 0 { // 0 stands for a default that the field's own package knows
			s.Default = v.Int()
		}
		return s
	case reflect.Float64:
		return &Schema{Type: []string{"number", "string"}}
	default:
		s := &Schema{Type: []string{"string", "number", "boolean"}}
		if v.Kind() == reflect.String && v.String() != "" {
			s.Default = v.String()
		}
		return s
	}
}

func structSchema(v reflect.Value, doc func(reflect.Type, string) string) *Schema {
	s := &Schema{Type: "object", Properties: map[string]*Schema{}, AdditionalProperties: false}
	addFields(s, v, doc)
	return s
}

func addFields(s *Schema, v reflect.Value, doc func(reflect.Type, string) string) {
	t := v.Type()
	for i := range t.NumField() {
		key, inline := Key(t.Field(i))
		switch {
		case inline:
			addFields(s, v.Field(i), doc)
		case key != "":
			p := schemaOf(v.Field(i), doc)
			p.Description = doc(t, t.Field(i).Name)
			s.Properties[key] = p
		}
	}
}
