package falco

import "strings"

// matcher is a compiled expression.
type matcher interface{ match(ev Event) bool }

// extractor gives the value of an operand.
type extractor interface{ value(ev Event) Value }

type (
	andMatcher []matcher
	orMatcher  []matcher
	notMatcher struct{ term matcher }

	existsMatcher struct{ extract extractor }

	// testMatcher asks one question about one value.
	testMatcher struct {
		extract extractor
		test    func(Value) bool
	}
	// listMatcher asks the question of every element of a list.
	listMatcher struct {
		extract extractor
		member  func(Value) bool
		all     bool // of the elements must be members; else one
	}
	// modifierMatcher counts how many constants hold.
	modifierMatcher struct {
		extract     extractor
		tests       []func(Value) bool
		least, most int
	}
	// fieldMatcher compares two fields.
	fieldMatcher struct {
		left, right typed
		op          string
	}
)

func (m andMatcher) match(ev Event) bool {
	for _, t := range m {
		if !t.match(ev) {
			return false
		}
	}
	return true
}

func (m orMatcher) match(ev Event) bool {
	for _, t := range m {
		if t.match(ev) {
			return true
		}
	}
	return false
}

func (m notMatcher) match(ev Event) bool { return !m.term.match(ev) }

func (m existsMatcher) match(ev Event) bool { return !m.extract.value(ev).IsNull() }

// Every check on null is false, also != and not-like ones.

func (m testMatcher) match(ev Event) bool {
	v := m.extract.value(ev)
	return v.kind != null && m.test(v)
}

func (m *listMatcher) match(ev Event) bool {
	v := m.extract.value(ev)
	if v.kind == null {
		return false
	}
	for _, item := range v.items() {
		if m.member(item) != m.all {
			return !m.all
		}
	}
	return m.all && len(v.items()) > 0
}

func (m *modifierMatcher) match(ev Event) bool {
	v := m.extract.value(ev)
	if v.kind == null {
		return false
	}
	n := 0
	for _, test := range m.tests {
		if test(v) {
			n++
		}
	}
	return m.least <= n && n <= m.most
}

func (m *fieldMatcher) match(ev Event) bool {
	l, r := m.left.extract.value(ev), m.right.extract.value(ev)
	if l.kind == null || r.kind == null {
		return false
	}
	equal := func(a, b Value) bool { return compareValues(m.left.typ, "=", a, b) }
	switch m.op {
	case "in", "intersects":
		members := r.items()
		if r.kind != list {
			members = []Value{r}
		}
		values := l.items()
		if l.kind != list {
			values = []Value{l}
		}
		all := m.op == "in"
		for _, v := range values {
			if containsValue(members, v, equal) != all {
				return !all
			}
		}
		return all && len(values) > 0
	}
	if l.kind == list {
		return false
	}
	return compareValues(m.left.typ, m.op, l, r)
}

func containsValue(all []Value, v Value, equal func(a, b Value) bool) bool {
	for _, m := range all {
		if equal(m, v) {
			return true
		}
	}
	return false
}

// compareValues compares two values of type t.
func compareValues(t Type, op string, a, b Value) bool {
	switch {
	case t == IPAddr || t == IPNet:
		return (a.ext.ip == b.ext.ip) == (op != "!=")
	case !t.isString() && t != Bytes:
		return holds(op, compareAs(t)(a.num, b.num))
	}
	switch op {
	case "contains":
		return strings.Contains(a.str, b.str)
	case "icontains":
		return containsFold(a.str, b.str)
	case "bcontains":
		return strings.Contains(a.str, b.str)
	case "startswith", "bstartswith":
		return strings.HasPrefix(a.str, b.str)
	case "endswith":
		return strings.HasSuffix(a.str, b.str)
	case "glob":
		return fnmatch(b.str, a.str, false)
	case "iglob":
		return fnmatch(b.str, a.str, true)
	}
	return holds(op, strings.Compare(a.str, b.str))
}

func holds(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return false
}
