package falco

import (
	"hash/fnv"
	"net/netip"
	"testing"
)

// plain answers a condition by its tree, as it was compiled: nothing is folded,
// kept, put in order or left out.
func plain(n *node, ev Event) bool {
	switch n.op {
	case isAnd:
		for _, kid := range n.kids {
			if !plain(kid, ev) {
				return false
			}
		}
		return true
	case isOr:
		for _, kid := range n.kids {
			if plain(kid, ev) {
				return true
			}
		}
		return false
	case isNot:
		return !plain(n.kids[0], ev)
	case isConstant:
		return n.truth
	}
	l := n.leaf
	v := l.left.extract.value(ev)
	if v.IsNull() || l.ask != askPair {
		return !v.IsNull() && l.answer(v)
	}
	right := l.with.extract.value(ev)
	return !right.IsNull() && l.pair(v, right)
}

// hashedEvent has a value for every field, or none, that follows from its name
// and a number.
type hashedEvent struct {
	typ  string
	seed byte
}

func (e hashedEvent) Type() string { return e.typ }

func (e hashedEvent) Field(f *FieldRef) Value {
	if e.typ == startType {
		switch f.Avail {
		case Constant:
			return f.Start
		case OnSyscall, Never:
			return Value{}
		}
	}
	if f.Name == "evt.type" {
		return StringValue(e.typ)
	}
	h := fnv.New64a()
	_, _ = h.Write(append([]byte(f.String()), e.seed))
	n := h.Sum64()
	if n%5 == 0 {
		return Value{}
	}
	if f.List {
		return ListValue([]Value{someValue(f.Type, n>>8), someValue(f.Type, n>>16)}[:n%3]...)
	}
	return someValue(f.Type, n>>8)
}

func someValue(t Type, n uint64) Value {
	texts := []string{"", "host", "latest", "nginx", "sh", "a", "/etc/passwd", "production", "x\x00", "\xff"}
	switch {
	case t.isString() || t == Bytes:
		return StringValue(texts[n%uint64(len(texts))])
	case t == Bool:
		return BoolValue(n%2 == 0)
	case t == Double:
		return FloatValue(float64(n % 3))
	case t.isSigned():
		return IntValue(int64(n%4) - 1)
	case t == IPAddr || t == IPNet:
		return IPValue(netip.AddrFrom4([4]byte{10, 0, 0, byte(n % 3)}))
	}
	return UintValue(n % 4)
}

// checkPlain compares a ruleset with the plain answers.
func checkPlain(t *testing.T, set *Ruleset) {
	t.Helper()
	for seed := range byte(4) {
		for _, typ := range []string{"container", "execve", "openat", "connect", "of no kind"} {
			ev := hashedEvent{typ, seed}
			matched := map[*Rule]bool{}
			for _, r := range set.Evaluate(nil, ev) {
				matched[r] = true
			}
			for _, r := range set.Rules() {
				want := plain(r.cond.tree, ev)
				if got := r.Match(ev); got != want {
					t.Errorf("%s\n on %v: got %v, want %v", r.Expr, ev, got, want)
				}
				if r.Enabled && matched[r] != want {
					t.Errorf("in a ruleset: %s\n on %v: got %v, want %v", r.Expr, ev, matched[r], want)
				}
			}
		}
	}
}
