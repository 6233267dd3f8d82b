package falco

import (
	_ "embed"
	"math/bits"
	"strings"
	"sync"
)

// startType is the event type of a container start: the event that Falco's
// container plugin sends when it learns of a container.
const startType = "container"

// typeSet is a set of event types: a bit for each that is known, and the last
// one for all others.
type typeSet [typeWords]uint64

const (
	typeWords = 9
	otherType = typeWords*64 - 1
)

// typeBit is the bit of an event type.
func typeBit(name string) int {
	if bit, ok := knownTypes()[name]; ok {
		return bit
	}
	return otherType
}

func typesNamed(texts []*Text) (s typeSet) {
	for _, t := range texts {
		bit := typeBit(t.Value)
		s[bit/64] |= 1 << (bit % 64)
	}
	return s
}

func (s typeSet) hasBit(bit int) bool { return s[bit/64]&(1<<(bit%64)) != 0 }

// all reports whether the set has types that no rule can name.
func (s typeSet) all() bool { return s.hasBit(otherType) }

// maxTypes is how many types a rule can be about before Falco warns: it counts
// 100 codes, and a system call has two of them.
const maxTypes = 50

// wide reports whether the set has so many types that Falco warns.
func (s typeSet) wide() bool {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n > maxTypes
}

func (s typeSet) complement() typeSet {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

func (s typeSet) intersect(o typeSet) typeSet {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

func (s typeSet) union(o typeSet) typeSet {
	for i := range s {
		s[i] |= o[i]
	}
	return s
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
	allTypes := typeSet{}.complement()
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
			s := typesNamed(texts)
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

// knownTypes are the event types of Falco, each with its bit: the system calls
// of Linux, and what else its drivers and the container plugin send.
var knownTypes = sync.OnceValue(func() map[string]int {
	known := map[string]int{}
	for name := range strings.FieldsSeq(eventTypesText) {
		known[name] = len(known)
	}
	return known
})

// unknownEventType returns a constant that is compared with the event type and
// is none, or nil. Falco takes nothing else, whatever the operator is.
func unknownEventType(e Expr) *Text {
	var bad *Text
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok && bad == nil && isTypeOperand(c.Left) {
			for _, t := range constants(c) {
				if bad == nil && typeBit(t.Value) == otherType {
					bad = t
				}
			}
		}
		return bad == nil
	})
	return bad
}

// isTypeOperand reports whether o is the event type, changed or not.
func isTypeOperand(o Operand) bool {
	switch o := o.(type) {
	case *FieldName:
		return o.Name == "evt.type"
	case *Transform:
		return len(o.Args) == 1 && isTypeOperand(o.Args[0])
	}
	return false
}
