package image

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseError is why a text is not an image reference.
type ParseError struct {
	// Input is the text as it was given.
	Input string
	// Offset is the byte in Input that is wrong, 0 where all of it is.
	Offset int
	// Reason is one sentence without a full stop, and what to write instead
	// where there is one answer.
	Reason string
}

// Error is one line; a long input is shortened and control characters in it
// are quoted.
func (e *ParseError) Error() string {
	if e.Offset > 0 && e.Offset < len(e.Input) {
		return fmt.Sprintf("invalid image reference %s: at %q: %s", quoted(e.Input), rest(e.Input[e.Offset:]), e.Reason)
	}
	return fmt.Sprintf("invalid image reference %s: %s", quoted(e.Input), e.Reason)
}

// quoted is s for a message: no control characters, and not endless.
func quoted(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strconv.Quote(s)
}

func rest(s string) string {
	const limit = 20
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

// templates are the marks of text that some other tool should have filled in.
var templates = [...]struct{ mark, tool string }{
	{"{{", "a template such as Helm's"},
	{"${", "a variable of a shell or of Compose"},
	{"$(", "a variable of Kubernetes, make or Tekton"},
	{"<", "a placeholder"},
	{"%(", "a template"},
	{"$", "a variable of a shell"},
}

// checkText finds what is wrong with the text as a whole, where an answer
// about one character would not help.
func checkText(s string) error {
	if s == "" {
		return &ParseError{s, 0, "it is empty"}
	}
	clean := true
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) {
			switch c {
			case '.', '_', '-', '/', ':', '@', '[', ']', '+':
			default:
				clean = false
			}
		}
	}
	if clean && s[0] != '/' && !strings.Contains(s, "://") {
		return nil
	}
	for _, t := range templates {
		if i := strings.Index(s, t.mark); i >= 0 {
			return &ParseError{s, i, "it is not filled in: " + t.tool}
		}
	}
	if strings.TrimSpace(s) == "" {
		return &ParseError{s, 0, "it is blank"}
	}
	if i := strings.Index(s, "://"); i >= 0 {
		return &ParseError{s, i, "a reference has no scheme; write " + strconv.Quote(rest(s[i+3:]))}
	}
	if s[0] == '/' {
		return &ParseError{s, 0, "it begins with a slash; the registry is missing, or the slash is one too many"}
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			return &ParseError{s, i, "it has a space or a line end in it"}
		case c < ' ' || c == 0x7f:
			return &ParseError{s, i, "it has a control character in it"}
		case c > 0x7f:
			return &ParseError{s, i, "it has a character in it that is not ASCII"}
		}
	}
	// Any other character is told by the part that it stands in.
	return nil
}
