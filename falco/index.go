package falco

import (
	"maps"
	"slices"
)

// index finds the rules that an event can match by the values of a few fields:
// a rule that must have proc.name = sh need not be asked where it is nginx.
type index struct {
	always set256 // rules without such a condition
	fields []indexField
}

type indexField struct {
	ref   *FieldRef
	slot  slot
	rules map[string]*set256
}

const (
	// maxIndexed is how many fields are looked at.
	maxIndexed = 3
	// leastIndexed is how many rules a field must leave out: below that, asking
	// them is as fast.
	leastIndexed = 4
)

// newIndex makes an index of conditions, or nil where there is little to win.
func newIndex(trees []*node) *index {
	if len(trees) < leastIndexed || len(trees) > maxKept {
		return nil
	}
	choices := make([]map[string]choice, len(trees))
	for i, t := range trees {
		choices[i] = requires(t)
	}
	x := &index{}
	var done set256
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
		f := indexField{rules: map[string]*set256{}}
		for i, c := range choices {
			choice, ok := c[best]
			if !ok || done.has(bitAt(i)) {
				continue
			}
			done.add(bitAt(i))
			f.ref = choice.ref
			for _, text := range choice.texts {
				if f.rules[text] == nil {
					f.rules[text] = &set256{}
				}
				f.rules[text].add(bitAt(i))
			}
		}
		x.fields = append(x.fields, f)
	}
	if len(x.fields) == 0 {
		return nil
	}
	for i := range trees {
		if !done.has(bitAt(i)) {
			x.always.add(bitAt(i))
		}
	}
	return x
}

// gains says for each field how many rules it leaves out at least, whatever its
// value is, of those that are not done.
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
		rules[field] -= most[field]
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

// candidates finds the rules that the event can match. It gives up on a value
// that ends with a NUL, which counts for some operators and not for others.
func (x *index) candidates(ev Event, f *frame, open *set256) bool {
	*open = x.always
	for i := range x.fields {
		field := &x.fields[i]
		v := &f.values[field.slot.at]
		*v = ev.Field(field.ref)
		f.known.add(field.slot.bit)
		if n := len(v.str); n > 0 && v.str[n-1] == 0 {
			return false
		}
		if v.of == nil {
			continue
		}
		if rules := field.rules[v.str]; rules != nil {
			for w, word := range rules {
				open[w] |= word
			}
		}
	}
	return true
}
