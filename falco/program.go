package falco

import (
	"slices"
	"sync"
)

// program is a set of compiled conditions. Each is a chain of questions with a
// next one for yes and one for no, so that only those are asked that decide,
// in the order of the text. Values that several questions are about are asked
// of the event once, and so is a costly question that several rules ask.
type program struct {
	code    []instr
	entries []entry
	slots   int // values that are kept; the first is for those asked once
	room    sync.Pool
}

// entry is where the condition of a rule begins.
type entry struct {
	pc   int32
	rule *Rule
}

// The first two places of the code are the answers.
const (
	answerNo  = 0
	answerYes = 1
)

// instr asks one question.
type instr struct {
	ask     question
	yes, no int32
	slot    int
	bit     uint64 // of the slot; 0 for values that are asked once
	memo    uint64 // of the question; 0 where nobody else asks it
	ref     *FieldRef
	want    string
	extract extractor // where ref is nil
	test    func(Value) bool
	pair    func(left, right Value) bool
	with    extractor
}

// frame is what is known of one event.
type frame struct {
	known  uint64 // slots that are filled
	asked  uint64 // questions that were asked
	truth  uint64 // their answers
	values []Value
}

const (
	// maxKept is how many values and how many answers are kept: one in each
	// bit of a word.
	maxKept = 64
	// onStack is how many values are kept without memory from the heap.
	onStack = 8
)

// ruleTree is a condition to make a program of; rule is nil outside rulesets.
type ruleTree struct {
	tree *node
	rule *Rule
}

// newProgram makes a program that answers the conditions in order.
func newProgram(trees []ruleTree) *program {
	b := &builder{
		program: &program{code: make([]instr, 2), slots: 1}, uses: map[string]int{}, asks: map[string]int{},
		slot: map[string]int{}, memo: map[string]uint64{},
	}
	for _, t := range trees {
		b.count(t.tree)
	}
	for _, t := range trees {
		b.entries = append(b.entries, entry{b.emit(t.tree, answerYes, answerNo), t.rule})
	}
	b.room.New = func() any { return new([maxKept]Value) }
	return b.program
}

type builder struct {
	*program
	uses map[string]int // how many questions are about a value
	asks map[string]int // how often a question is asked
	slot map[string]int
	memo map[string]uint64
}

func (b *builder) count(n *node) {
	if l := n.leaf; l != nil {
		b.uses[l.left.text]++
		b.asks[l.text]++
	}
	for _, kid := range n.kids {
		b.count(kid)
	}
}

// emit writes the code of n and returns where it begins. What follows is
// written before, so that it is known where to go on.
func (b *builder) emit(n *node, yes, no int32) int32 {
	switch n.op {
	case isConstant:
		if n.truth {
			return yes
		}
		return no
	case isNot:
		return b.emit(n.kids[0], no, yes)
	case isAnd:
		for _, v := range slices.Backward(n.kids) {
			yes = b.emit(v, yes, no)
		}
		return yes
	case isOr:
		for _, v := range slices.Backward(n.kids) {
			no = b.emit(v, yes, no)
		}
		return no
	}
	return b.emitLeaf(n.leaf, yes, no)
}

func (b *builder) emitLeaf(l *leaf, yes, no int32) int32 {
	in := instr{ask: l.ask, yes: yes, no: no, want: l.want, extract: l.left.extract, test: l.test, pair: l.pair, with: l.with.extract}
	if f, ok := l.left.extract.(fieldExtractor); ok {
		in.ref = f.ref
	}
	if in.slot = b.keep(l.left.text); in.slot > 0 {
		in.bit = 1 << in.slot
	}
	if l.ask >= askTest && b.asks[l.text] > 1 {
		bit, ok := b.memo[l.text]
		if !ok && len(b.memo) < maxKept {
			bit = 1 << len(b.memo)
			b.memo[l.text] = bit
		}
		in.memo = bit
	}
	b.code = append(b.code, in)
	return int32(len(b.code) - 1)
}

// keep returns the slot of a value that several questions are about, or 0.
func (b *builder) keep(text string) int {
	if slot, ok := b.slot[text]; ok || b.uses[text] < 2 || b.slots == maxKept {
		return slot
	}
	b.slot[text] = b.slots
	b.slots++
	return b.slots - 1
}

// match answers the only condition of p.
func (p *program) match(ev Event) bool {
	if p.slots > onStack {
		values := p.room.Get().(*[maxKept]Value) //nolint:forcetypeassert // the pool has nothing else
		f := frame{values: values[:p.slots]}
		ok := p.run(p.entries[0].pc, ev, &f)
		p.release(values)
		return ok
	}
	var values [onStack]Value
	f := frame{values: values[:]}
	return p.run(p.entries[0].pc, ev, &f)
}

// release forgets the values of an event.
func (p *program) release(values *[maxKept]Value) {
	clear(values[:p.slots])
	p.room.Put(values)
}

// evaluate appends the rules among entries that match, or the first of them.
func (p *program) evaluate(dst []*Rule, ev Event, entries []entry, first bool) []*Rule {
	if p.slots > onStack {
		values := p.room.Get().(*[maxKept]Value) //nolint:forcetypeassert // the pool has nothing else
		f := frame{values: values[:p.slots]}
		dst = p.each(dst, ev, entries, first, &f)
		p.release(values)
		return dst
	}
	var values [onStack]Value
	f := frame{values: values[:]}
	return p.each(dst, ev, entries, first, &f)
}

func (p *program) each(dst []*Rule, ev Event, entries []entry, first bool, f *frame) []*Rule {
	for _, e := range entries {
		if p.run(e.pc, ev, f) {
			dst = append(dst, e.rule)
			if first {
				break
			}
		}
	}
	return dst
}

// run asks from pc on until there is an answer.
func (p *program) run(pc int32, ev Event, f *frame) bool {
	for pc > answerYes {
		in := &p.code[pc]
		v := &f.values[in.slot]
		if f.known&in.bit == 0 {
			var got Value
			if in.ref != nil {
				got = ev.Field(in.ref)
			} else {
				got = in.extract.value(ev)
			}
			*v = got
			f.known |= in.bit
		}
		ok := v.of != nil
		if ok {
			switch in.ask {
			case askExists:
			case askEqual:
				ok = v.str == in.want
			case askUnequal:
				ok = v.str != in.want
			case askPrefix:
				ok = len(v.str) >= len(in.want) && v.str[:len(in.want)] == in.want
			default:
				ok = in.slow(*v, ev, f)
			}
		}
		if ok {
			pc = in.yes
		} else {
			pc = in.no
		}
	}
	return pc == answerYes
}

// slow answers a question by a function, unless it was asked before.
func (in *instr) slow(v Value, ev Event, f *frame) bool {
	if f.asked&in.memo != 0 {
		return f.truth&in.memo != 0
	}
	var ok bool
	if in.ask == askPair {
		right := in.with.value(ev)
		ok = right.of != nil && in.pair(v, right)
	} else {
		ok = in.test(v)
	}
	if f.asked |= in.memo; ok {
		f.truth |= in.memo
	}
	return ok
}
