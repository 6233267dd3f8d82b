package falco

import "strings"

// fnmatch is fnmatch(3) without flags, or with FNM_CASEFOLD: * crosses
// slashes, \ takes the next character as it is. It works on bytes, in time
// linear in len(pattern)*len(s).
func fnmatch(pattern, s string, fold bool) bool {
	p, i := 0, 0
	starP, starI := -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			starP, starI = p, i
			p++
			continue
		}
		if p < len(pattern) {
			if ok, next := matchOne(pattern, p, s[i], fold); ok {
				p, i = next, i+1
				continue
			}
		}
		if starP < 0 {
			return false
		}
		starI++
		p, i = starP+1, starI
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte, fold bool) byte {
	if fold && 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// matchOne matches one byte against the element of the pattern at p, and says
// where the next element begins.
func matchOne(pattern string, p int, c byte, fold bool) (ok bool, next int) {
	switch pattern[p] {
	case '?':
		return true, p + 1
	case '\\':
		if p+1 == len(pattern) {
			return false, p + 1
		}
		return lower(pattern[p+1], fold) == lower(c, fold), p + 2
	case '[':
		if ok, next, closed := matchBracket(pattern, p, c, fold); closed {
			return ok, next
		}
	}
	return lower(pattern[p], fold) == lower(c, fold), p + 1
}

// matchBracket matches [a-z], [!a-z] and [[:alpha:]]. A bracket that is not
// closed is an ordinary character.
func matchBracket(pattern string, p int, c byte, fold bool) (ok bool, next int, closed bool) {
	i := p + 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return ok != negated, i + 1, true
		}
		if class, after, found := bracketClass(pattern, i); found {
			ok = ok || class(c) || fold && (class(lower(c, true)) || class(upper(c)))
			i = after
			continue
		}
		lo, after, whole := bracketByte(pattern, i)
		if !whole {
			return false, 0, false
		}
		hi := lo
		i = after
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			if hi, i, whole = bracketByte(pattern, i+1); !whole {
				return false, 0, false
			}
		}
		in := func(c byte) bool { return lo <= c && c <= hi }
		ok = ok || in(c) || fold && (in(lower(c, true)) || in(upper(c)))
	}
	return false, 0, false
}

func bracketByte(pattern string, i int) (c byte, next int, ok bool) {
	if pattern[i] == '\\' {
		i++
	}
	if i >= len(pattern) {
		return 0, i, false
	}
	return pattern[i], i + 1, true
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func bracketClass(pattern string, i int) (class func(byte) bool, next int, found bool) {
	if !strings.HasPrefix(pattern[i:], "[:") {
		return nil, 0, false
	}
	name, _, found := strings.Cut(pattern[i+2:], ":]")
	if !found {
		return nil, 0, false
	}
	next = i + len(name) + 4
	switch name {
	case "alpha":
		return isLetter, next, true
	case "digit":
		return isDigit, next, true
	case "alnum":
		return func(c byte) bool { return isLetter(c) || isDigit(c) }, next, true
	case "upper":
		return func(c byte) bool { return 'A' <= c && c <= 'Z' }, next, true
	case "lower":
		return func(c byte) bool { return 'a' <= c && c <= 'z' }, next, true
	case "space":
		return func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }, next, true
	case "blank":
		return func(c byte) bool { return c == ' ' || c == '\t' }, next, true
	case "punct":
		return func(c byte) bool { return '!' <= c && c <= '~' && !isLetter(c) && !isDigit(c) }, next, true
	case "xdigit":
		return func(c byte) bool { return hexValue(c) >= 0 }, next, true
	case "cntrl":
		return func(c byte) bool { return c < ' ' || c == 0x7f }, next, true
	case "print":
		return func(c byte) bool { return ' ' <= c && c <= '~' }, next, true
	case "graph":
		return func(c byte) bool { return '!' <= c && c <= '~' }, next, true
	}
	return nil, 0, false
}

// prefixes is the pmatch operator: paths of which one must be the value or a
// folder above it. Components may be globs.
type prefixes [][]string

func newPrefixes(paths []string) prefixes {
	all := make(prefixes, len(paths))
	for i, p := range paths {
		all[i] = components(p)
	}
	return all
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// match reports whether one of the paths leads to path or to a folder above.
func (ps prefixes) match(path string) bool {
	for _, p := range ps {
		if isPrefix(p, path) {
			return true
		}
	}
	return false
}

func isPrefix(prefix []string, path string) bool {
	for _, want := range prefix {
		path = strings.TrimLeft(path, "/")
		if path == "" {
			return false
		}
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if !matchComponent(want, path[:end]) {
			return false
		}
		path = path[end:]
	}
	return true
}

// matchComponent takes a component as it is where it has nothing of a glob;
// then a backslash is an ordinary character.
func matchComponent(want, name string) bool {
	if strings.ContainsAny(want, "?*[") {
		return fnmatch(want, name, false)
	}
	return want == name
}

// containsFold is strings.Contains without regard to the case of ASCII
// letters, and without allocation.
func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if equalFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

func equalFold(a, b string) bool {
	for i := range len(a) {
		if lower(a[i], true) != lower(b[i], true) {
			return false
		}
	}
	return true
}
