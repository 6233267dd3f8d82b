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
	// Offset is the byte in Input that is wrong, 0 where all of it is, and
	// len(Input) where something is missing at the end.
	Offset int
	// Reason is one clause without a full stop, with what to write instead
	// where there is one answer.
	Reason string
}

// Error is one line of ASCII, but for the dots of what was left out: a long
// input is shortened, and what does not print or may look like something else
// is escaped.
func (e *ParseError) Error() string {
	if e.Offset > 0 && e.Offset < len(e.Input) {
		return fmt.Sprintf("invalid image reference %s: at %s: %s", quoted(e.Input), quotedStart(e.Input[e.Offset:]), e.Reason)
	}
	return fmt.Sprintf("invalid image reference %s: %s", quoted(e.Input), e.Reason)
}

// quoted is s for a message.
func quoted(s string) string { return shortened(s, 120) }

// quotedStart is enough of s to find the place in what [quoted] gave.
func quotedStart(s string) string { return shortened(s, 20) }

func shortened(s string, limit int) string {
	if len(s) <= limit {
		return strconv.QuoteToASCII(s)
	}
	text := strconv.QuoteToASCII(s[:limit])
	return text[:len(text)-1] + `…"`
}

// templates are the marks of text that some other tool should have filled in.
// The first that is found says which.
var templates = [...]struct{ mark, tool string }{
	{"{{", "a template such as Helm's"},
	{"${", "a variable of a shell or of Compose"},
	{"$(", "a variable of Kubernetes, make or Tekton"},
	{"$", "a variable of a shell"},
	{"<", "a placeholder"},
	{"#{", "a variable of a release pipeline"},
	{"((", "a variable of a pipeline"},
	{"[[", "a template"},
	{"{", "a template"},
	{"%(", "a template"},
}

// explain finds what is wrong with a text as a whole, where an answer about
// one of its parts would not help. There is no reason where it finds nothing.
func explain(s string) (bad int, reason string) {
	if s == "" {
		return 0, "it is empty"
	}
	if strings.TrimSpace(s) == "" {
		return 0, "it is blank"
	}
	for _, t := range templates {
		if i := strings.Index(s, t.mark); i >= 0 {
			return i, "it is not filled in: " + t.tool
		}
	}
	if i := strings.Index(s, "://"); i >= 0 {
		return i, "a reference has no scheme; write " + quotedStart(s[i+3:])
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			return i, "a reference has no spaces or line ends"
		case c < ' ' || c == 0x7f:
			return i, "it has a control character in it"
		case c > 0x7f:
			return i, "it has a character in it that is not ASCII"
		case c == '"' || c == '\'' || c == '`':
			return i, "it has a quotation mark in it"
		}
	}
	if s[0] == '/' {
		return 0, "it begins with a slash; the registry is missing, or the slash is one too many"
	}
	return 0, ""
}
