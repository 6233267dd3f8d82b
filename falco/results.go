package falco

import (
	"encoding/json"
	"slices"
)

// FieldNames are the fields that the rule's condition asks for, sorted.
func (r *Rule) FieldNames() []string {
	var names []string
	for _, f := range r.cond.Fields() {
		name := f.Name
		if f.Argument != "" {
			name += "[" + f.Argument + "]"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// MarshalJSON writes the result as an element of Falco's falco_load_results.
func (r *Result) MarshalJSON() ([]byte, error) {
	return marshal(map[string]any{
		"name":       r.Name,
		"successful": r.Successful(),
		// Falco's schema is advice on top of its own checks; there is none
		// here.
		"schema_valid":    true,
		"schema_warnings": []string{},
		"errors":          append([]*Problem{}, r.Errors...),
		"warnings":        append([]*Problem{}, r.Warnings...),
	})
}

// MarshalJSON writes the problem as Falco does.
func (p *Problem) MarshalJSON() ([]byte, error) {
	locations := []any{}
	for _, l := range p.Where {
		locations = append(locations, map[string]any{
			"item_type": l.Type,
			"item_name": l.Name,
			"position":  map[string]any{"name": l.File, "line": l.At.Line, "column": l.At.Column, "offset": l.At.Offset},
		})
	}
	return marshal(map[string]any{
		"code":     string(p.Code),
		"codedesc": codeTexts[p.Code],
		"message":  p.Message,
		"context":  map[string]any{"locations": locations, "snippet": p.Snippet},
	})
}

var (
	_ json.Marshaler = (*Result)(nil)
	_ json.Marshaler = (*Problem)(nil)
)
