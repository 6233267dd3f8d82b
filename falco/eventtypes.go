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
		if texts, op := typeCheck(e); op != "" {
			s := typeSet{names: map[string]bool{}}
			for _, t := range texts {
				s.names[t.Value] = true
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
func typeCheck(c *Check) (texts []*Text, op string) {
	f, ok := c.Left.(*FieldName)
	if !ok || f.Name != "evt.type" {
		return nil, ""
	}
	op = c.Op
	switch {
	case c.Modifier == "anyof" && op == "=":
		op = "in"
	case c.Modifier != "":
		return nil, ""
	}
	switch right := c.Right.(type) {
	case *Text:
		texts = []*Text{right}
	case *List:
		for _, item := range right.Items {
			if t, ok := item.(*Text); ok {
				texts = append(texts, t)
			}
		}
	}
	if op != "=" && op != "!=" && op != "in" && op != "intersects" || c.Right == nil {
		return nil, ""
	}
	if _, ok := c.Right.(*Transform); ok {
		return nil, ""
	}
	return texts, op
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
// is none, or nil.
func unknownEventType(e Expr) *Text {
	var bad *Text
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok && bad == nil {
			texts, _ := typeCheck(c)
			for _, t := range texts {
				if bad == nil && !knownTypes()[t.Value] {
					bad = t
				}
			}
		}
		return bad == nil
	})
	return bad
}
