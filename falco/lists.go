package falco

import (
	"slices"
	"strings"
)

// set is a set of strings that is asked more often than changed.
type set struct {
	// lengths has a bit for each length that a member has, the last one for
	// all lengths from 63.
	lengths uint64
	few     []string            // the members, if they are few
	many    map[string]struct{} // otherwise
}

// few is up to how many members a comparison of each is faster than hashing.
const few = 8

func newSet(texts []string) *set {
	s := &set{}
	for _, t := range texts {
		s.lengths |= lengthBit(t)
	}
	if len(texts) <= few {
		s.few = texts
		return s
	}
	s.many = make(map[string]struct{}, len(texts))
	for _, t := range texts {
		s.many[t] = struct{}{}
	}
	return s
}

func lengthBit(t string) uint64 { return 1 << min(len(t), 63) }

// has reports whether text, without NULs at its end, is a member.
func (s *set) has(text string) bool {
	if n := len(text); n > 0 && text[n-1] == 0 {
		text = strings.TrimRight(text, "\x00")
	}
	return s.holds(text)
}

func (s *set) holds(text string) bool {
	if s.lengths&lengthBit(text) == 0 {
		return false
	}
	if s.many != nil {
		_, ok := s.many[text]
		return ok
	}
	return slices.Contains(s.few, text)
}

// listTest makes the question of in, intersects and pmatch; tests has that of
// each member.
func listTest(left typed, op string, texts []*Text, tests []func(Value) bool) func(Value) bool {
	if op == "pmatch" {
		ps := newPrefixes(values(texts))
		return func(v Value) bool { return ps.match(v.str) }
	}
	var member func(Value) bool
	switch {
	case left.list && left.typ == String || left.typ == Bytes:
		// A NUL at the end counts in bytes. So does the one that an element of
		// a list has from a transformer.
		s := newSet(values(texts))
		member = func(v Value) bool { return s.holds(v.str) }
	case left.typ.isString():
		s := newSet(values(texts))
		member = func(v Value) bool { return s.has(v.str) }
	case left.typ == IPAddr:
		s := setOf(values(texts), parseAddr)
		member = func(v Value) bool { return s[v.addr()] }
	case left.typ.isSigned() || left.typ.isUnsigned():
		s := setOf(values(texts), func(text string) (uint64, error) {
			n, err := parseNumber(left.typ, text)
			return n.num, err
		})
		member = func(v Value) bool { return s[v.num] }
	default:
		member = func(v Value) bool {
			for _, t := range tests {
				if t(v) {
					return true
				}
			}
			return false
		}
	}
	if !left.list {
		return member
	}
	all := op == "in" // else one element is enough
	return func(v Value) bool {
		for _, item := range v.items() {
			if member(item) != all {
				return !all
			}
		}
		return all // Also of an empty list.
	}
}

// setOf has what texts stand for; each of them was read before.
func setOf[T comparable](texts []string, read func(string) (T, error)) map[T]bool {
	s := make(map[T]bool, len(texts))
	for _, text := range texts {
		if v, err := read(text); err == nil {
			s[v] = true
		}
	}
	return s
}

// modifierTest makes the question of oneof, anyof or allof of tests.
func modifierTest(modifier string, tests []func(Value) bool) func(Value) bool {
	least, most := 1, len(tests)
	switch modifier {
	case "oneof":
		most = 1
	case "allof":
		least = max(1, len(tests))
	}
	return func(v Value) bool {
		n := 0
		for _, test := range tests {
			if test(v) {
				n++
			}
		}
		return least <= n && n <= most
	}
}

// pairTest makes the question that op asks of two values of type t.
func pairTest(t Type, op string) func(l, r Value) bool {
	switch op {
	case "in", "intersects":
		all := op == "in"
		return func(l, r Value) bool {
			members, values := []Value{r}, []Value{l}
			if r.kind() == list {
				members = r.items()
			}
			if l.kind() == list {
				values = l.items()
			}
			for _, v := range values {
				if containsValue(t, members, v) != all {
					return !all
				}
			}
			return all
		}
	}
	return func(l, r Value) bool {
		return l.kind() != list && r.kind() != list && compareValues(t, op, l, r)
	}
}

func containsValue(t Type, all []Value, v Value) bool {
	for _, m := range all {
		if compareValues(t, "=", m, v) {
			return true
		}
	}
	return false
}

// compareValues compares two values of type t.
func compareValues(t Type, op string, a, b Value) bool {
	switch {
	case t == IPAddr || t == IPNet:
		return (a.addr() == b.addr()) == (op != "!=")
	case !t.isString() && t != Bytes:
		return holds(op, compareAs(t)(a, b))
	}
	switch op {
	case "contains", "bcontains":
		return strings.Contains(a.str, b.str)
	case "icontains":
		return containsFold(a.str, b.str)
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
