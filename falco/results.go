package falco

import (
	"fmt"
	"slices"
	"strings"
)

// Result is what loading one file gave.
type Result struct {
	Name     string
	Errors   []*Problem // at most one: the first stops the file
	Warnings []*Problem

	content string
}

// Successful reports whether the file could be used.
func (r *Result) Successful() bool { return len(r.Errors) == 0 }

func (r *Result) warn(code Code, where []Location, format string, args ...any) {
	r.add(fail(code, where, format, args...))
}

// maxWarnings is how many warnings of a file are kept.
const maxWarnings = 10_000

func (r *Result) add(p *Problem) {
	if len(r.Warnings) == maxWarnings {
		return
	}
	p.show(r.content)
	r.Warnings = append(r.Warnings, p)
}

func fail(code Code, where []Location, format string, args ...any) *Problem {
	return &Problem{Code: code, Message: fmt.Sprintf(format, args...), Where: slices.Clone(where)}
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

type jsonPosition struct {
	Name   string `json:"name"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Offset int    `json:"offset"`
}

type jsonLocation struct {
	Type     string       `json:"item_type"`
	Name     string       `json:"item_name"`
	Position jsonPosition `json:"position"`
}

// MarshalJSON writes the problem as Falco does, which counts lines and columns
// of a file from 0 and begins every way with the file itself.
func (p *Problem) MarshalJSON() ([]byte, error) {
	locations := []jsonLocation{}
	if len(p.Where) > 0 && p.Where[0].Type != rootType {
		locations = append(locations, jsonLocation{Type: rootType, Position: jsonPosition{Name: p.Where[0].File}})
	}
	var last jsonPosition
	for _, l := range p.Where {
		at := jsonPosition{l.File, l.At.Line - 1, l.At.Column - 1, l.At.Offset}
		if l.expr != nil {
			at = jsonPosition{shorten(p.condition), last.Line + l.expr.Line, last.Column + l.expr.Column, last.Offset + l.expr.Offset}
		}
		locations = append(locations, jsonLocation{l.Type, l.Name, at})
		last = at
	}
	return marshal(map[string]any{
		"code":     string(p.Code),
		"codedesc": codeTexts[p.Code],
		"message":  p.Message,
		"context":  map[string]any{"locations": locations, "snippet": p.Snippet},
	})
}

// shorten is the name that Falco gives a condition: its beginning in quotes.
func shorten(condition string) string {
	const longest = 20
	if len(condition) > longest {
		condition = condition[:cutRune(condition, longest-3)] + "..."
	}
	return `"` + strings.NewReplacer("\n", " ", "\r", " ").Replace(condition) + `"`
}
