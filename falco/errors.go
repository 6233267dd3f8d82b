package falco

import (
	"fmt"
	"strings"
)

// ParseError is a condition that does not follow the grammar.
type ParseError struct {
	At      Position
	Message string
	// Text is the word that stands at the place, or "" at the end.
	Text   string
	Source string // the condition
}

// Error is one line with the position.
func (e *ParseError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.At.Line, e.At.Column, e.Message)
}

// Caret is the line of the condition that is wrong, and a line with a caret
// below the place.
func (e *ParseError) Caret() string { return caret(e.Source, e.At) }

// CompileError is a condition that follows the grammar and has no meaning: an
// unknown field, an operator that its type does not have, a constant of
// another type.
type CompileError struct {
	At      Position
	Message string
	// Text is the check, the field or the constant that is wrong.
	Text   string
	Source string // the condition
}

// Error is one line with the position.
func (e *CompileError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.At.Line, e.At.Column, e.Message)
}

// Caret is the line of the condition that is wrong, and a line with a caret
// below the place.
func (e *CompileError) Caret() string { return caret(e.Source, e.At) }

// word is what stands at an offset, up to a blank or what ends a text without
// quotes.
func word(source string, offset int) string {
	rest := source[min(offset, len(source)):]
	switch end := strings.IndexAny(rest, " \t\r\n,()"); end {
	case -1:
		return rest
	case 0:
		return rest[:1]
	default:
		return rest[:end]
	}
}

// caret shows a place in a text; a long line is cut around it.
func caret(source string, at Position) string {
	const width = 72
	start := strings.LastIndexByte(source[:min(at.Offset, len(source))], '\n') + 1
	line, _, _ := strings.Cut(source[start:], "\n")
	col := at.Offset - start
	if cut := col - width; cut > 0 {
		line, col = "…"+line[cut:], width+len("…")
	}
	if len(line) > 2*width {
		line = line[:2*width] + "…"
	}
	line = strings.ToValidUTF8(strings.ReplaceAll(line, "\t", " "), "?")
	return line + "\n" + strings.Repeat(" ", min(col, len(line))) + "^"
}
