package imagediff

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable is a text of an image as one line that can do nothing to a
// terminal: what does not print is escaped as in Go, and a backslash doubled,
// so that no two texts become one.
func printable(s string) string {
	clean := func(r rune) bool { return r == '\\' || r == utf8.RuneError || !strconv.IsPrint(r) }
	if !strings.ContainsFunc(s, clean) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// clip is at most n bytes of a text that is not printable yet.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
