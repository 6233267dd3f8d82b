package policy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// An Error is one thing that is wrong with a policy file.
type Error struct {
	File         string
	Line, Column int    // from 1; the column counts characters
	Path         string // "exceptions[2].expires"; empty if it is about the whole file
	Message      string // what is wrong, and what to write instead
}

// Error returns "file:line:column: path: message".
func (e *Error) Error() string {
	position := e.File + ":" + strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column) + ": "
	if e.Path == "" {
		return position + e.Message
	}
	return position + e.Path + ": " + e.Message
}

// Errors is what is wrong with one policy file, in the order of the file.
// It is never empty when it is returned as an error.
type Errors []*Error

// Error returns the errors, a line each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors, so that [errors.As] finds the first [*Error].
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// sort puts the errors into the order of the file; those of one position stay
// in the order in which they were found.
func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// quote returns s in quotes, shortened so that it fits on a line.
func quote(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return strconv.Quote(s)
}

// nearest returns the word of words that s was most likely meant to be, and
// false if none is near.
func nearest(s string, words []string) (string, bool) {
	if len(s) > 40 {
		return "", false
	}
	s = strings.ToLower(s)
	best, bestDistance := "", len(s)/3+1
	for _, w := range words {
		d := distance(s, strings.ToLower(w))
		if len(s) > 2 && strings.HasPrefix(strings.ToLower(w), s) {
			d = 1 // cut short
		}
		if d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best, best != ""
}

// instead returns ", write WORD" for the nearest word, and the whole choice if
// none is near.
func instead(s string, words []string) string {
	if w, ok := nearest(s, words); ok {
		return ", write " + w
	}
	return ", use one of " + strings.Join(words, ", ")
}

// distance returns how many characters must be put in, taken out or replaced
// to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
