package falco

import (
	"slices"
	"strings"
	"sync"
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

// EventTypes are the types of events that the rule can match, sorted. A rule
// that does not say so matches all types, or all but some: then only is nil, and
// except has those. A rule that matches no event has an empty list.
func (r *Rule) EventTypes() (only, except []string) {
	only = []string{}
	for name, bit := range knownTypes() {
		if r.types.hasBit(bit) {
			only = append(only, name)
		} else {
			except = append(except, name)
		}
	}
	slices.Sort(only)
	slices.Sort(except)
	if r.types.all() {
		return nil, except
	}
	return only, nil
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
	// byType has the answers for other events. Types that no rule tells apart
	// have one bucket; types that are not known have others.
	byType map[string]*bucket
	others *bucket
}

// bucket answers for events of some types. Its program is made when the first
// of them comes.
type bucket struct {
	once  sync.Once
	trees []ruleTree
	typ   string // "" for types that are not known
	made  *program
}

func newRuleset(rules []*Rule, col *collector, opt *Options) *Ruleset {
	rs := &Ruleset{rules: rules, col: col, first: opt.Matching == MatchFirst, byType: map[string]*bucket{}}
	var starts, all []ruleTree
	for _, r := range rules {
		if !r.Enabled {
			continue
		}
		all = append(all, ruleTree{r.cond.tree, r})
		tree, missing := specialise(r.cond.tree, startType, true)
		if tree = fold(tree); tree.op == isConstant && !tree.truth {
			rs.unavailable = append(rs.unavailable, Unavailable{Rule: r, Reason: needsSyscall, Needs: r.needs(missing)})
			continue
		}
		starts = append(starts, ruleTree{tree, r})
	}
	rs.starts = newProgram(starts)
	rs.others = &bucket{trees: all}
	same := map[string]*bucket{}
	asked := typeLeaves(all)
	for typ := range knownTypes() {
		key := make([]byte, len(asked))
		for i, l := range asked {
			if l.answer(StringValue(typ)) {
				key[i] = 1
			}
		}
		b := same[string(key)]
		if b == nil {
			b = &bucket{trees: all, typ: typ}
			same[string(key)] = b
		}
		rs.byType[typ] = b
	}
	return rs
}

// typeLeaves are the questions about the event type, each once.
func typeLeaves(trees []ruleTree) []*leaf {
	var all []*leaf
	seen := map[string]bool{}
	var find func(n *node)
	find = func(n *node) {
		if l := n.leaf; l != nil && l.isAboutType() && !seen[l.text] {
			seen[l.text] = true
			all = append(all, l)
		}
		for _, kid := range n.kids {
			find(kid)
		}
	}
	for _, t := range trees {
		find(t.tree)
	}
	return all
}

func (l *leaf) isAboutType() bool { return l.left.text == "evt.type" && l.ask != askPair }

// program makes the program, if that was not done yet.
func (b *bucket) program() *program {
	b.once.Do(func() {
		var trees []ruleTree
		for _, t := range b.trees {
			tree := t.tree
			if b.typ != "" {
				tree, _ = specialise(tree, b.typ, false)
			}
			if tree = fold(tree); tree.op != isConstant || tree.truth {
				trees = append(trees, ruleTree{tree, t.rule})
			}
		}
		b.made = newProgram(trees)
	})
	return b.made
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
	only, _ := r.EventTypes()
	for _, name := range only {
		if name != startType {
			all = append(all, "evt.type "+name)
		}
	}
	slices.Sort(missing)
	return append(all, slices.Compact(missing)...)
}

// Evaluate appends to dst the enabled rules that match ev, in the order of
// their definition; with [MatchFirst] the first of them. It does not allocate
// memory where dst has room and the rules have no transformers. For an event
// of type container, fields that a container start cannot carry are null, and
// those that are the same on every start have that value, without being asked
// for.
func (rs *Ruleset) Evaluate(dst []*Rule, ev Event) []*Rule {
	if rs.starts == nil {
		return dst
	}
	typ := ev.Type()
	if typ == startType {
		return rs.starts.evaluate(dst, ev, rs.first)
	}
	b, known := rs.byType[typ]
	if !known {
		b = rs.others
	}
	return b.program().evaluate(dst, ev, rs.first)
}

// specialise answers what is known of all events of a type. Of a container
// start that is more than the type: fields that it cannot carry are null, and
// some are the same on every start. It also returns the fields that a start
// lacks.
func specialise(n *node, typ string, start bool) (*node, []string) {
	if n.op == isConstant {
		return n, nil
	}
	if l := n.leaf; l != nil {
		if start {
			if answer, missing := l.onStart(); answer != nil {
				return answer, missing
			}
		}
		if l.isAboutType() {
			return &node{truth: l.answer(StringValue(typ))}, nil
		}
		return n, nil
	}
	out := &node{op: n.op}
	var missing []string
	for _, kid := range n.kids {
		kid, fields := specialise(kid, typ, start)
		missing = append(missing, fields...)
		if kid.op == isConstant && n.op != isNot && kid.truth == (n.op == isOr) {
			return kid, missing // This one decides.
		}
		out.kids = append(out.kids, kid)
	}
	return out, missing
}

// onStart answers a question that has the same answer for all container
// starts, and names the fields that stand in the way of a yes.
func (l *leaf) onStart() (answer *node, missing []string) {
	constant := true
	for _, f := range slices.Concat(l.left.fields, l.with.fields) {
		switch f.Avail {
		case OnStart:
			constant = false
		case OnSyscall, Never:
			return &node{}, []string{f.String()}
		case Constant:
			missing = append(missing, f.String())
		}
	}
	if !constant || len(missing) == 0 {
		return nil, nil
	}
	p := newProgram([]ruleTree{{tree: &node{op: isLeaf, leaf: l}}})
	if p.match(startConstants{}) {
		missing = nil
	}
	return &node{truth: missing == nil}, missing
}

// startConstants is what all container starts have in common.
type startConstants struct{}

func (startConstants) Type() string { return startType }

func (startConstants) Field(f *FieldRef) Value { return f.Start }

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
