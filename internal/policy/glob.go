package policy

import (
	"fmt"
	"strings"
)

// A glob is a pattern over names with components parted by slashes: `*` stands
// for any characters within a component, `?` for exactly one, and a component
// `**` for any number of components (none is enough, but not at the end).
type glob struct {
	pattern string
	parts   []string // of pattern; nil when it is a plain name
}

// globs matches what one of them matches.
type globs []glob

func newGlob(pattern string) glob {
	if !strings.ContainsAny(pattern, "*?") {
		return glob{pattern: pattern}
	}
	return glob{pattern: pattern, parts: strings.Split(pattern, "/")}
}

func (gs globs) match(name string) bool {
	for i := range gs {
		if gs[i].match(name) {
			return true
		}
	}
	return false
}

func (gs globs) patterns() []string {
	patterns := make([]string, len(gs))
	for i, g := range gs {
		patterns[i] = g.pattern
	}
	return patterns
}

// match takes time in the order of len(pattern)*len(name) and allocates
// nothing: of all `**` met so far only the last is ever tried again.
func (g *glob) match(name string) bool {
	if g.parts == nil {
		return g.pattern == name
	}
	next, rest, end := 0, name, false // the part to match, and what it must match
	again, againRest := -1, ""        // the last `**`, and what it left
	for !end {
		if next < len(g.parts) {
			if g.parts[next] == "**" {
				if next+1 == len(g.parts) {
					return true
				}
				again, againRest = next, rest
				next++
				continue
			}
			if component, more, ok := strings.Cut(rest, "/"); matchComponent(g.parts[next], component) {
				next, rest, end = next+1, more, !ok
				continue
			}
		}
		if again < 0 {
			return false
		}
		_, more, ok := strings.Cut(againRest, "/")
		if !ok {
			return false
		}
		next, rest, againRest = again+1, more, more
	}
	return next == len(g.parts)
}

// matchComponent works like glob.match, with characters for components.
func matchComponent(pattern, s string) bool {
	p, i := 0, 0
	again, againI := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			again, againI = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case again >= 0:
			againI++
			p, i = again+1, againI
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// everything reports whether pattern is made of wildcards alone, so that it
// limits nothing worth the name.
func everything(pattern string) bool {
	return strings.Trim(pattern, "*?/") == ""
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// namespaceGlob returns the glob over the names of namespaces that s spells.
func namespaceGlob(s string) (glob, error) {
	if err := checkName(s, "a namespace", lower+digits+"-", 63); err != nil {
		return glob{}, err
	}
	return newGlob(s), nil
}

// workloadGlob returns the glob over Kind/name that s spells.
func workloadGlob(s string) (glob, error) {
	kind, name, ok := strings.Cut(s, "/")
	switch {
	case !ok || strings.Contains(name, "/"):
		return glob{}, fmt.Errorf("%s is not a kind and a name, write e.g. Deployment/api or */api", quote(s))
	case kind != "" && strings.Contains(lower, kind[:1]):
		return glob{}, fmt.Errorf("kinds start with a capital letter, write %s%s/%s", strings.ToUpper(kind[:1]), kind[1:], name)
	}
	if err := checkName(kind, "a kind", upper+lower+digits, 63); err != nil {
		return glob{}, err
	}
	if err := checkName(name, "a workload", lower+digits+"-.", 253); err != nil {
		return glob{}, err
	}
	return newGlob(s), nil
}

// checkName reports why s cannot be the name of what, or a glob over such
// names, which are made of the characters in charset.
func checkName(s, what, charset string, maxLen int) error {
	if s == "" {
		return fmt.Errorf("the name of %s is missing", what)
	}
	if len(s) > maxLen {
		return fmt.Errorf("the name of %s has at most %d characters, this one has %d", what, maxLen, len(s))
	}
	if strings.Contains(s, "**") {
		return fmt.Errorf("%s: ** is for images alone, write * here", quote(s))
	}
	for _, c := range s {
		if !strings.ContainsRune(charset+"*?", c) {
			return fmt.Errorf("%s: %q cannot be in the name of %s (the wildcards are * and ?)", quote(s), c, what)
		}
	}
	return nil
}
