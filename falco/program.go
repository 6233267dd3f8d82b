package falco

import (
	"math/bits"
	"sync"
)

// program is a set of compiled conditions. Each is a chain of questions with a
// next one for yes and one for no, so that only those are asked that decide.
// Values that several questions are about are asked of the event once, and so
// is what several rules ask.
type program struct {
	code    []instr
	entries []entry
	slots   int // values that are kept; the first is for those asked once
	index   *index
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

// askShared asks what several rules ask, as a whole.
const askShared = askPair + 1

// instr asks one question.
type instr struct {
	ask     question
	yes, no int32
	slot    slot
	memo    bit // of the answer; none where nobody else asks
	ref     *FieldRef
	want    string
	begin   int32     // of a shared part
	extract extractor // where ref is nil
	test    func(Value) bool
	pair    func(left, right Value) bool
	with    extractor
}

const (
	// maxKept is how many values and how many answers are kept.
	maxKept = 64 * words
	words   = 4
	// onStack is how many values are kept without memory from the heap.
	onStack = 8
)

type (
	// set256 is a set of numbers below maxKept.
	set256 [words]uint64
	// bit is a place in a set256; the zero value is none.
	bit struct {
		word uint8
		mask uint64
	}
	// slot is where a value is kept; the zero value is for those asked once.
	slot struct {
		at  int32
		bit bit
	}
)

func bitAt(n int) bit { return bit{word: uint8(n / 64), mask: 1 << (n % 64)} }

func (s *set256) has(b bit) bool { return s[b.word%words]&b.mask != 0 }

func (s *set256) meets(o *set256) bool {
	var both uint64
	for w := range s {
		both |= s[w] & o[w]
	}
	return both != 0
}

func (s *set256) without(o *set256) (rest set256) {
	for w := range s {
		rest[w] = s[w] &^ o[w]
	}
	return rest
}

func (s *set256) add(b bit) { s[b.word%words] |= b.mask }

// frame is what is known of one event.
type frame struct {
	known  set256 // slots that are filled
	asked  set256 // parts that were asked
	truth  set256 // their answers
	values []Value
}

// largeFrame is a frame with room for all values. What it holds is forgotten
// when it is used again.
type largeFrame struct {
	frame
	room [maxKept]Value
}

// ruleTree is a condition to make a program of; rule is nil outside rulesets.
type ruleTree struct {
	tree *node
	rule *Rule
}

// newProgram makes a program that answers the conditions in order.
func newProgram(trees []ruleTree) *program {
	p := &program{code: make([]instr, 2), slots: 1}
	b := &builder{
		program: p, numbers: map[string]int{}, of: map[*node]int{}, uses: map[int]int{}, asked: map[string]int{},
		slot: map[string]int{}, memo: map[int]int{}, written: map[[3]int32]int32{}, begins: map[int]int32{},
	}
	folded := make([]*node, len(trees))
	for i, t := range trees {
		folded[i] = fold(t.tree)
	}
	p.index, folded = newIndex(b, folded)
	for _, n := range folded {
		b.count(n)
	}
	if p.index != nil {
		b.addIndex(p.index)
	}
	for i, t := range trees {
		p.entries = append(p.entries, entry{b.emit(folded[i], answerYes, answerNo), t.rule})
	}
	p.room.New = func() any { return new(largeFrame) }
	return p
}

// match answers the only condition of p.
func (p *program) match(ev Event) bool {
	pc := p.entries[0].pc
	if p.slots > onStack {
		f := p.borrow()
		ok := p.run(pc, ev, &f.frame)
		p.room.Put(f)
		return ok
	}
	var values [onStack]Value
	f := frame{values: values[:]}
	return p.run(pc, ev, &f)
}

func (p *program) borrow() *largeFrame {
	f := p.room.Get().(*largeFrame) //nolint:forcetypeassert // the pool has nothing else
	f.known, f.asked, f.values = set256{}, set256{}, f.room[:]
	f.truth = set256{}
	return f
}

// evaluate appends the rules that match, or the first of them.
func (p *program) evaluate(dst []*Rule, ev Event, first bool) []*Rule {
	if p.slots > onStack || p.index != nil {
		f := p.borrow()
		if p.index != nil {
			dst = p.indexed(dst, ev, first, &f.frame)
		} else {
			dst = p.each(dst, ev, first, &f.frame)
		}
		p.room.Put(f)
		return dst
	}
	var values [onStack]Value
	f := frame{values: values[:]}
	return p.each(dst, ev, first, &f)
}

func (p *program) each(dst []*Rule, ev Event, first bool, f *frame) []*Rule {
	for _, e := range p.entries {
		if p.run(e.pc, ev, f) {
			dst = append(dst, e.rule)
			if first {
				break
			}
		}
	}
	return dst
}

// indexed asks the rules that the index leaves.
func (p *program) indexed(dst []*Rule, ev Event, first bool, f *frame) []*Rule {
	open := p.index.candidates(p, ev, f)
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			e := &p.entries[w*64+bits.TrailingZeros64(word)]
			if p.run(e.pc, ev, f) {
				dst = append(dst, e.rule)
				if first {
					return dst
				}
			}
		}
	}
	return dst
}

// run asks from pc on until there is an answer.
func (p *program) run(pc int32, ev Event, f *frame) bool {
	for pc > answerYes {
		in := &p.code[pc]
		if in.ask == askShared {
			if p.shared(in, ev, f) {
				pc = in.yes
			} else {
				pc = in.no
			}
			continue
		}
		v := &f.values[in.slot.at]
		if !f.known.has(in.slot.bit) {
			if in.ref != nil {
				*v = ev.Field(in.ref)
			} else {
				*v = in.extract.value(ev)
			}
			f.known.add(in.slot.bit)
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
	if f.asked.has(in.memo) {
		return f.truth.has(in.memo)
	}
	var ok bool
	if in.ask == askPair {
		right := in.with.value(ev)
		ok = right.of != nil && in.pair(v, right)
	} else {
		ok = in.test(v)
	}
	if f.asked.add(in.memo); ok {
		f.truth.add(in.memo)
	}
	return ok
}

// shared answers a part, unless it was asked before.
func (p *program) shared(in *instr, ev Event, f *frame) bool {
	if f.asked.has(in.memo) {
		return f.truth.has(in.memo)
	}
	ok := p.run(in.begin, ev, f)
	if f.asked.add(in.memo); ok {
		f.truth.add(in.memo)
	}
	return ok
}
