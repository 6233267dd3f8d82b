package falco

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Location is one step on the way to a problem: a file, an item, a key.
type Location struct {
	// Type is what the step is: rules content, rule, macro, list, exception,
	// condition expression, …
	Type string
	Name string
	At   Position
	File string

	// expr is set for a place in a condition: the place within its text.
	expr *Position
}

// Problem is an error or a warning of a rules file.
type Problem struct {
	Code    Code
	Message string
	// Where leads from the item to the place in it; it has one or more steps.
	Where []Location
	// Snippet is the line that the problem is about, with a caret below the
	// place.
	Snippet string

	condition string // the text that a place in a condition is in
}

// Error is one line: file, position, code, message, and the item it is in.
func (p *Problem) Error() string {
	if len(p.Where) == 0 {
		return string(p.Code) + ": " + p.Message
	}
	at, item := p.Where[len(p.Where)-1], p.Where[0]
	s := fmt.Sprintf("%s:%d:%d: %s: %s", at.File, at.At.Line, at.At.Column, p.Code, p.Message)
	if item.Name != "" {
		s += fmt.Sprintf(" (%s %q)", item.Type, item.Name)
	}
	return s
}

// snippetWidth is how much of a long line a snippet shows, in bytes.
const snippetWidth = 160

// show fills in the snippet.
func (p *Problem) show(content string) {
	if len(p.Where) == 0 {
		return
	}
	last := p.Where[len(p.Where)-1]
	at := last.At.Offset
	if last.expr != nil {
		content, at = p.condition, last.expr.Offset
	}
	p.Snippet = snippet(content, at)
}

// snippet is the line of text that a place is in and a line with a caret. A
// long line is cut around the place.
func snippet(text string, at int) string {
	if text == "" {
		return "<No context available>\n"
	}
	at = max(0, min(at, len(text)-1))
	for at > 0 && text[at] == '\n' {
		at--
	}
	start, end := max(0, at-snippetWidth), min(len(text), at+snippetWidth)
	if i := strings.LastIndexByte(text[start:at], '\n'); i >= 0 {
		start += i + 1
	}
	if i := strings.IndexByte(text[at:end], '\n'); i >= 0 {
		end = at + i
	}
	before, after := "", ""
	if at-start >= snippetWidth/2 {
		start, before = cutRune(text, at-snippetWidth/2+3), "..."
	}
	if end-at >= snippetWidth/2 {
		end, after = cutRune(text, at+snippetWidth/2-3), "..."
	}
	line := strings.ToValidUTF8(before+text[start:end]+after, "?")
	return line + "\n" + strings.Repeat(" ", utf8.RuneCountInString(before+text[start:max(at, start)])) + "^\n"
}

// cutRune moves a place to the beginning of a character.
func cutRune(text string, at int) int {
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}
