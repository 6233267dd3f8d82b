package falco

import (
	"slices"
	"strings"
)

// Rule is a rule that was loaded and compiled.
type Rule struct {
	Name     string
	Desc     string
	Priority Priority
	Source   string
	Tags     []string
	Enabled  bool
	// Condition is the text of the file, Output that of the output with what
	// was appended to it.
	Condition, Output string
	// Expr is the condition with lists, macros and exceptions written out.
	Expr Expr
	// Where is the place of the rule, with its file.
	Where Location

	item   *ruleItem
	cond   *Condition
	types  typeSet
	output *Output
	extra  []extraField
}

// Match reports whether the rule's condition holds for ev, whether the rule is
// enabled or not.
func (r *Rule) Match(ev Event) bool { return r.cond.Match(ev) }

// Fields are the fields that the rule's condition asks for, in its order.
func (r *Rule) Fields() []*FieldRef { return r.cond.fields }

// FieldNames are the fields that the rule's condition asks for, sorted.
func (r *Rule) FieldNames() []string {
	var names []string
	for _, f := range r.cond.fields {
		names = append(names, f.String())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Exceptions are the names of the rule's exceptions.
func (r *Rule) Exceptions() []string {
	var names []string
	for _, ex := range r.item.exceptions {
		names = append(names, ex.name)
	}
	return names
}

// Ruleset is a set of compiled rules. It may be used by several goroutines. The
// zero value has no rules.
type Ruleset struct {
	rules       []*Rule
	unavailable []Unavailable
	first       bool
	col         *collector

	// starts answers for container starts: checks whose answer is the same
	// for all of them are left out.
	starts *program
	// all answers for other events, byType says which rules each type can
	// match, and others which ones a type can that is not there.
	all    *program
	byType map[string][]entry
	others []entry
}

func newRuleset(rules []*Rule, col *collector, opt *Options) *Ruleset {
	rs := &Ruleset{rules: rules, col: col, first: opt.Matching == MatchFirst, byType: map[string][]entry{}}
	var starts, all []ruleTree
	for _, r := range rules {
		if !r.Enabled {
			continue
		}
		all = append(all, ruleTree{r.cond.tree, r})
		tree, missing := onStart(r.cond.tree)
		if tree.op == isConstant && !tree.truth {
			rs.unavailable = append(rs.unavailable, Unavailable{Rule: r, Reason: needsSyscall, Needs: r.needs(missing)})
			continue
		}
		starts = append(starts, ruleTree{tree, r})
	}
	rs.starts, rs.all = newProgram(starts), newProgram(all)
	for name, bit := range knownTypes() {
		var entries []entry
		for _, e := range rs.all.entries {
			if e.rule.types.hasBit(bit) {
				entries = append(entries, e)
			}
		}
		if len(entries) > 0 {
			rs.byType[name] = entries
		}
	}
	for _, e := range rs.all.entries {
		if e.rule.types.all() {
			rs.others = append(rs.others, e)
		}
	}
	return rs
}

// Rules returns all rules in the order of their definition, also those that
// are not enabled.
func (rs *Ruleset) Rules() []*Rule { return rs.rules }

// Unavailable is a rule that no container start can match.
type Unavailable struct {
	Rule   *Rule
	Reason string
	// Needs are the event types and the fields that the rule needs and a
	// container start does not have.
	Needs []string
}

const needsSyscall = "needs syscall events, not evaluated here"

// Unavailable returns the enabled rules that no container start can match:
// they ask for system calls or for fields of them.
func (rs *Ruleset) Unavailable() []Unavailable { return rs.unavailable }

// needs names the event types of the rule, if a start is none of them, and
// fields that a start does not have.
func (r *Rule) needs(missing []string) []string {
	var all []string
	for name, bit := range knownTypes() {
		if r.types.hasBit(bit) && !r.types.all() && name != startType {
			all = append(all, "evt.type "+name)
		}
	}
	slices.Sort(all)
	slices.Sort(missing)
	return append(all, slices.Compact(missing)...)
}

// Evaluate appends to dst the enabled rules that match ev, in the order of
// their definition; with [MatchFirst] the first of them. It does not allocate
// memory where dst has room and the rules have no transformers. For an event
// of type container, fields that a container start cannot carry are null
// without being asked for.
func (rs *Ruleset) Evaluate(dst []*Rule, ev Event) []*Rule {
	if rs.starts == nil {
		return dst
	}
	typ := ev.Type()
	if typ == startType {
		return rs.starts.evaluate(dst, ev, rs.starts.entries, rs.first)
	}
	entries, known := rs.byType[typ]
	if !known {
		entries = rs.others
	}
	return rs.all.evaluate(dst, ev, entries, rs.first)
}

// onStart simplifies a condition for container starts: the event type is
// known, and fields that a start cannot carry are null, so that most checks of
// a syscall rule have a known answer. It also returns those fields.
func onStart(n *node) (*node, []string) {
	switch n.op {
	case isLeaf:
		for _, f := range slices.Concat(n.leaf.left.fields, n.leaf.with.fields) {
			if f.Avail != OnStart {
				return &node{}, []string{f.String()}
			}
		}
		if n.leaf.left.text == "evt.type" && n.leaf.ask != askPair {
			return &node{truth: n.leaf.answer(StringValue(startType))}, nil
		}
		return n, nil
	case isConstant:
		return n, nil
	}
	out := &node{op: n.op}
	var missing []string
	for _, kid := range n.kids {
		kid, fields := onStart(kid)
		missing = append(missing, fields...)
		switch {
		case kid.op != isConstant:
			out.kids = append(out.kids, kid)
		case n.op == isNot:
			return &node{truth: !kid.truth}, missing
		case kid.truth == (n.op == isOr):
			return kid, missing // This one decides.
		}
	}
	if len(out.kids) == 0 {
		return &node{truth: n.op == isAnd}, missing
	}
	return out, missing
}

// answer answers the question about a value that is not null.
func (l *leaf) answer(v Value) bool {
	switch l.ask {
	case askExists:
		return true
	case askEqual:
		return v.str == l.want
	case askUnequal:
		return v.str != l.want
	case askPrefix:
		return strings.HasPrefix(v.str, l.want)
	}
	return l.test(v)
}
