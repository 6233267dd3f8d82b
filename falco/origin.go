package falco

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// valuePlace is where a text of a rules file stands.
type valuePlace struct {
	where   []Location // leads to the value
	content string     // of the file
	start   int        // where the text begins in it, in bytes
}

// textAt leads to the value of key and says where its text begins.
func (o *object) textAt(typ, key string) *valuePlace {
	v := &valuePlace{where: o.at(typ, key), content: o.r.res.content}
	v.start = v.where[len(v.where)-1].At.Offset
	n := o.get(key)
	switch {
	case n == nil:
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		// The text begins in the line behind the | or >.
		if i := strings.IndexByte(v.content[min(v.start, len(v.content)):], '\n'); i >= 0 {
			v.start += i + 1
		}
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		v.start++
	}
	return v
}

// origin is a condition as it was parsed, and where it came from. The places
// in what was parsed of it know it.
type origin struct {
	text string
	from *valuePlace
}

// find returns where in the file a place of the text is. Lists and exceptions
// that were written out before it hide it; then the answer is the beginning of
// the value.
func (o *origin) find(at Position) Position {
	begin := o.from.where[len(o.from.where)-1].At
	text, offset := o.text, at.Offset
	p, ok := align(text, offset, o.from.content, o.from.start)
	if !ok && strings.HasPrefix(text, "(") && offset > 0 {
		// The parenthesis around a condition with exceptions.
		p, ok = align(text[1:], offset-1, o.from.content, o.from.start)
	}
	if !ok {
		return begin
	}
	before := o.from.content[begin.Offset:p]
	n := strings.Count(before, "\n")
	if n == 0 {
		return Position{Offset: p, Line: begin.Line, Column: begin.Column + len([]rune(before))}
	}
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return Position{Offset: p, Line: begin.Line + n, Column: len([]rune(line)) + 1}
}

// align finds the place in content that corresponds to offset in text, which
// has the same characters but for blanks.
func align(text string, offset int, content string, p int) (int, bool) {
	for i := 0; i < offset && i < len(text); i++ {
		if isBlank(text[i]) {
			continue
		}
		for p < len(content) && isBlank(content[p]) {
			p++
		}
		if p >= len(content) || content[p] != text[i] {
			return 0, false
		}
		p++
	}
	if offset < len(text) {
		for p < len(content) && isBlank(content[p]) {
			p++
		}
	}
	return p, p <= len(content)
}

// conditionProblem is a problem at a place in a condition. Where that is in a
// macro, the way leads on to the macro.
func conditionProblem(code Code, where []Location, at Position, message string) *Problem {
	p := fail(code, where, "%s", message)
	last := where[len(where)-1]
	step := Location{Type: "condition expression", File: last.File, At: last.At, expr: &at}
	if at.in != nil {
		if from := at.in.from.where; from[len(from)-1].At != last.At || from[0].File != last.File {
			p.Where = append(p.Where, from...)
			step.File = from[0].File
		}
		p.condition, step.At = at.in.text, at.in.find(at)
	}
	p.Where = append(p.Where, step)
	return p
}
