package falco

import (
	"cmp"
	"maps"
	"slices"
)

// index finds the rules that an event can match without asking each of them. A
// rule that must have proc.name = sh cannot match where it is nginx, and what many
// rules must have, such as a container, is asked once for all of them.
type index struct {
	all    set256 // rules
	fields []indexField
	guards []guard
}

// indexField is a field of which rules must have one of a few texts.
type indexField struct {
	ref   *FieldRef
	slot  slot
	rules set256             // that the field decides
	other map[string]*set256 // of these, the ones that a text leaves out
}

// guard is a condition that several rules must have.
type guard struct {
	tree  *node
	begin int32
	rules set256
	cheap bool
}

const (
	// maxIndexed is how many fields are looked at, maxGuards how many guards.
	maxIndexed = 4
	maxGuards  = 16
	// leastIndexed is how many rules a field or a guard must decide: below that,
	// asking them is as fast.
	leastIndexed = 4
)

// newIndex makes an index of conditions, or nil where there is little to win. It
// returns the conditions without their guards.
func newIndex(b *builder, trees []*node) (*index, []*node) {
	if len(trees) < leastIndexed || len(trees) > maxKept {
		return nil, trees
	}
	x := &index{}
	for i := range trees {
		x.all.add(bitAt(i))
	}
	x.chooseFields(trees)
	trees = x.chooseGuards(b, trees)
	if len(x.fields)+len(x.guards) == 0 {
		return nil, trees
	}
	return x, trees
}

// chooseFields chooses the fields whose texts leave most rules out.
func (x *index) chooseFields(trees []*node) {
	var done set256
	choices := make([]map[string]choice, len(trees))
	for i, t := range trees {
		choices[i] = requires(t)
	}
	for len(x.fields) < maxIndexed {
		best, most := "", 0
		for text, n := range gains(choices, &done) {
			if n > most || n == most && text < best {
				best, most = text, n
			}
		}
		if most < leastIndexed {
			break
		}
		f := indexField{other: map[string]*set256{}}
		for i, c := range choices {
			choice, ok := c[best]
			if !ok || done.has(bitAt(i)) {
				continue
			}
			done.add(bitAt(i))
			f.rules.add(bitAt(i))
			f.ref = choice.ref
			for _, text := range choice.texts {
				if f.other[text] == nil {
					f.other[text] = &set256{}
				}
				f.other[text].add(bitAt(i))
			}
		}
		for _, rules := range f.other {
			*rules = f.rules.without(rules)
		}
		x.fields = append(x.fields, f)
	}
}

// chooseGuards takes out of the conditions what most of them have in common.
func (x *index) chooseGuards(b *builder, trees []*node) []*node {
	guards := map[int]*guard{}
	uses := map[int]int{}
	for i, t := range trees {
		for _, term := range terms(t) {
			id := b.number(term)
			if guards[id] == nil {
				guards[id] = &guard{tree: term, cheap: term.cost() == 0}
			}
			if !guards[id].rules.has(bitAt(i)) {
				guards[id].rules.add(bitAt(i))
				uses[id]++
			}
		}
	}
	ids := slices.SortedFunc(maps.Keys(guards), func(a, b int) int { return cmp.Or(uses[b]-uses[a], a-b) })
	for _, id := range ids[:min(len(ids), maxGuards)] {
		if uses[id] >= leastIndexed {
			x.guards = append(x.guards, *guards[id])
		} else {
			delete(guards, id)
		}
	}
	for _, id := range ids[min(len(ids), maxGuards):] {
		delete(guards, id)
	}
	rest := make([]*node, len(trees))
	for i, t := range trees {
		left := slices.DeleteFunc(slices.Clone(terms(t)), func(term *node) bool { return guards[b.number(term)] != nil })
		rest[i] = fold(&node{op: isAnd, kids: left})
	}
	// What costs more is asked later, when fewer rules are left.
	slices.SortStableFunc(x.guards, func(a, b guard) int { return a.tree.cost() - b.tree.cost() })
	return rest
}

// terms are the conditions that must all hold for n.
func terms(n *node) []*node {
	if n.op == isAnd {
		return n.kids
	}
	return []*node{n}
}

// gains says for each field how many rules it leaves out, of those that are not
// done: all but half of those that the most common text leaves.
func gains(choices []map[string]choice, done *set256) map[string]int {
	rules, most := map[string]int{}, map[string]int{}
	with := map[[2]string]int{}
	for i, c := range choices {
		if done.has(bitAt(i)) {
			continue
		}
		for field, choice := range c {
			rules[field]++
			for _, text := range choice.texts {
				key := [2]string{field, text}
				with[key]++
				most[field] = max(most[field], with[key])
			}
		}
	}
	for field := range rules {
		rules[field] -= most[field] / 2
	}
	return rules
}

// choice is a field that must have one of a few texts.
type choice struct {
	ref   *FieldRef
	texts []string
}

// requires finds the choices that hold wherever n does, by field.
func requires(n *node) map[string]choice {
	switch n.op {
	case isLeaf:
		f, ok := n.leaf.left.extract.(fieldExtractor)
		if ok && n.leaf.members != nil {
			return map[string]choice{f.ref.text: {f.ref, n.leaf.members}}
		}
	case isAnd:
		all := map[string]choice{}
		for _, kid := range n.kids {
			for text, c := range requires(kid) {
				if old, ok := all[text]; !ok || len(c.texts) < len(old.texts) {
					all[text] = c
				}
			}
		}
		return all
	case isOr:
		all := maps.Clone(requires(n.kids[0]))
		for _, kid := range n.kids[1:] {
			also := requires(kid)
			for text, c := range all {
				more, ok := also[text]
				if !ok {
					delete(all, text)
					continue
				}
				c.texts = slices.Concat(c.texts, more.texts)
				all[text] = c
			}
		}
		return all
	}
	return nil
}

// candidates finds the rules that the event can match: first by the guards that
// are asked fast, then by the texts, then by the other guards.
func (x *index) candidates(p *program, ev Event, f *frame) set256 {
	open := x.all
	next := 0
	for ; next < len(x.guards) && x.guards[next].cheap; next++ {
		x.guards[next].ask(p, ev, f, &open)
	}
	for i := range x.fields {
		if field := &x.fields[i]; open.meets(&field.rules) {
			if other := field.leavesOut(ev, f); other != nil {
				open = open.without(other)
			}
		}
	}
	for ; next < len(x.guards); next++ {
		x.guards[next].ask(p, ev, f, &open)
	}
	return open
}

func (g *guard) ask(p *program, ev Event, f *frame, open *set256) {
	if open.meets(&g.rules) && !p.run(g.begin, ev, f) {
		*open = open.without(&g.rules)
	}
}

// leavesOut returns the rules that the text of the field leaves out. A text that
// ends with a NUL, which counts for some operators and not for others, leaves out
// none.
func (x *indexField) leavesOut(ev Event, f *frame) *set256 {
	v := &f.values[x.slot.at]
	if !f.known.has(x.slot.bit) {
		*v = ev.Field(x.ref)
		f.known.add(x.slot.bit)
	}
	if n := len(v.str); n > 0 && v.str[n-1] == 0 {
		return nil
	}
	if other := x.other[v.str]; other != nil && v.of != nil {
		return other
	}
	return &x.rules
}
