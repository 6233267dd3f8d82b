package falco

import (
	_ "embed"
	"strings"
	"sync"
)

// startType is the event type of a container start: the event that Falco's
// container plugin sends when it learns of a container.
const startType = "container"

// typeSet is a set of event types: those named, or all but those.
type typeSet struct {
	names map[string]bool
	not   bool
}

var allTypes = typeSet{not: true}

// wide reports whether the set has so many types that Falco warns.
func (s typeSet) wide() bool { return s.not }

func (s typeSet) has(name string) bool { return s.names[name] != s.not }

func (s typeSet) complement() typeSet { return typeSet{s.names, !s.not} }

func (s typeSet) intersect(o typeSet) typeSet {
	out := typeSet{names: map[string]bool{}, not: s.not && o.not}
	for _, side := range []typeSet{s, o} {
		for name := range side.names {
			if (s.has(name) && o.has(name)) != out.not {
				out.names[name] = true
			}
		}
	}
	return out
}

func (s typeSet) union(o typeSet) typeSet {
	return s.complement().intersect(o.complement()).complement()
}

// eventTypes is the set of event types that e can be true for. A check of
// anything else says nothing of the type, also when it is negated.
func eventTypes(e Expr) typeSet {
	s, _ := typesOf(e)
	return s
}

// typesOf returns the types for which e can be true, and those for which it
// can be false.
func typesOf(e Expr) (can, cannot typeSet) {
	switch e := e.(type) {
	case *And:
		can, cannot = allTypes, typeSet{}
		for _, t := range e.Terms {
			c, n := typesOf(t)
			can, cannot = can.intersect(c), cannot.union(n)
		}
		return can, cannot
	case *Or:
		can, cannot = typeSet{}, allTypes
		for _, t := range e.Terms {
			c, n := typesOf(t)
			can, cannot = can.union(c), cannot.intersect(n)
		}
		return can, cannot
	case *Not:
		can, cannot = typesOf(e.Term)
		return cannot, can
	case *Check:
		if isNeverTrue(e) {
			return typeSet{}, allTypes
		}
		if names, op := typeCheck(e); op != "" {
			s := typeSet{names: map[string]bool{}}
			for _, n := range names {
				s.names[n] = true
			}
			if op == "!=" {
				s = s.complement()
			}
			return s, s.complement()
		}
	}
	return allTypes, allTypes
}

// isNeverTrue finds evt.num = 0, which rules use as a condition that never
// holds: events are counted from 1.
func isNeverTrue(c *Check) bool {
	f, ok := c.Left.(*FieldName)
	t, isText := c.Right.(*Text)
	return ok && isText && f.Name == "evt.num" && c.Op == "=" && t.Value == "0"
}

// typeCheck returns the constants of a check on the event type.
func typeCheck(c *Check) (names []string, op string) {
	f, ok := c.Left.(*FieldName)
	if !ok || f.Name != "evt.type" || c.Modifier != "" {
		return nil, ""
	}
	switch right := c.Right.(type) {
	case *Text:
		if c.Op == "=" || c.Op == "!=" || c.Op == "in" || c.Op == "intersects" {
			return []string{right.Value}, c.Op
		}
	case *List:
		if c.Op != "in" && c.Op != "intersects" {
			return nil, ""
		}
		for _, item := range right.Items {
			if t, ok := item.(*Text); ok {
				names = append(names, t.Value)
			}
		}
		return names, c.Op
	}
	return nil, ""
}

//go:embed eventtypes.txt
var eventTypesText string

// knownTypes are the event types of Falco: the system calls of Linux, and
// what else its drivers and the container plugin send.
var knownTypes = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{}
	for name := range strings.FieldsSeq(eventTypesText) {
		known[name] = true
	}
	return known
})

// unknownEventType returns a constant that is compared with the event type and
// is none.
func unknownEventType(e Expr) string {
	bad := ""
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok && bad == "" {
			names, _ := typeCheck(c)
			for _, n := range names {
				if !knownTypes()[n] {
					bad = n
				}
			}
		}
		return bad == ""
	})
	return bad
}

// constant is a matcher that does not look at the event.
type constant bool

func (c constant) match(Event) bool { return bool(c) }

// never and always are the conditions whose answer is known beforehand.
const (
	never  = constant(false)
	always = constant(true)
)

// compileStart compiles e for container starts: the event type is known, and
// fields that a start cannot carry are null, so that most checks of a syscall
// rule have a known answer.
func compileStart(e Expr, cat *Catalog) (matcher, error) {
	switch e := e.(type) {
	case *And:
		return fold(e.Terms, cat, always, func(all []matcher) matcher { return andMatcher(all) })
	case *Or:
		return fold(e.Terms, cat, never, func(all []matcher) matcher { return orMatcher(all) })
	case *Not:
		m, err := compileStart(e.Term, cat)
		if c, ok := m.(constant); ok {
			return !c, err
		}
		return notMatcher{m}, err
	}
	c := &compiler{cat: cat, cond: &Condition{}}
	m, err := c.expr(e)
	if err != nil {
		return nil, err
	}
	for _, f := range c.cond.fields {
		if f.Avail != OnStart {
			return never, nil
		}
	}
	if check, ok := e.(*Check); ok {
		if f, ok := check.Left.(*FieldName); ok && f.Name == "evt.type" && len(c.cond.fields) == 1 {
			return constant(m.match(startEvent{})), nil
		}
	}
	return m, nil
}

// startEvent is an event of which only the type is known.
type startEvent struct{}

func (startEvent) Type() string { return startType }

func (startEvent) Field(f *FieldRef) Value {
	if f.Name == "evt.type" {
		return StringValue(startType)
	}
	return Value{}
}

// fold compiles terms and leaves out those that are the given constant, which
// is the neutral one; the other constant decides.
func fold(terms []Expr, cat *Catalog, neutral constant, build func([]matcher) matcher) (matcher, error) {
	var kept []matcher
	for _, t := range terms {
		m, err := compileStart(t, cat)
		if err != nil {
			return nil, err
		}
		if c, ok := m.(constant); ok {
			if c != neutral {
				return c, nil
			}
			continue
		}
		kept = append(kept, m)
	}
	switch len(kept) {
	case 0:
		return neutral, nil
	case 1:
		return kept[0], nil
	}
	return build(kept), nil
}
