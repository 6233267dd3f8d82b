package export

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// nothing is a regular expression (RE2) that matches no text.
const nothing = `.^`

// anyOf returns the regular expression (RE2) that matches what one of the
// patterns of a policy does: * and ? do not cross a slash, ** does.
func anyOf(patterns []string) string {
	if len(patterns) == 0 {
		return nothing
	}
	all := make([]string, len(patterns))
	for i, p := range patterns {
		all[i] = expression(p)
	}
	if len(all) == 1 {
		return "^" + all[0] + "$"
	}
	return "^(?:" + strings.Join(all, "|") + ")$"
}

func expression(pattern string) string {
	var b strings.Builder
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last:
			b.WriteString(".+")
		case part == "**":
			b.WriteString("(?:.*/)?")
		default:
			for _, c := range part {
				switch c {
				case '*':
					b.WriteString("[^/]*")
				case '?':
					b.WriteString("[^/]")
				default:
					b.WriteString(regexp.QuoteMeta(string(c)))
				}
			}
			if !last {
				b.WriteByte('/')
			}
		}
	}
	return b.String()
}

// A selector is one over the labels of a namespace.
type selector []labels.Requirement

func selectors(texts []string) ([]selector, error) {
	var all []selector
	for _, text := range texts {
		s, err := labels.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("label selector %q: %w", text, err)
		}
		requirements, _ := s.Requirements()
		all = append(all, selector(requirements))
	}
	return all, nil
}

// A requirement is one of a selector in the words that every engine has: the
// value is one of some, is there, or is a number above or below another.
type requirement struct {
	key    string
	values []string
	than   string // ">" or "<", with one value
	not    bool
}

func (s selector) requirements() []requirement {
	var all []requirement
	for _, r := range s {
		one := requirement{key: r.Key()}
		if len(r.Values()) > 0 {
			one.values = r.Values().List()
		}
		switch r.Operator() {
		case selection.NotIn, selection.NotEquals:
			one.not = true
		case selection.DoesNotExist:
			one.not, one.values = true, nil
		case selection.Exists:
			one.values = nil
		case selection.GreaterThan:
			one.than = ">"
		case selection.LessThan:
			one.than = "<"
		}
		all = append(all, one)
	}
	return all
}
