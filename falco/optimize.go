package falco

import (
	"encoding/binary"
	"slices"
)

// fold simplifies a condition without changing its answer: what is constant
// goes, an and in an and becomes one, and so do equal terms. What is costly to
// ask comes last; the order does not matter to the answer, since values do not
// change while an event is looked at. New nodes are made where something
// changes, the given ones stay.
func fold(n *node) *node {
	switch n.op {
	case isConstant, isLeaf:
		return n
	case isNot:
		kid := fold(n.kids[0])
		switch kid.op {
		case isConstant:
			return &node{truth: !kid.truth}
		case isNot:
			return kid.kids[0]
		}
		return &node{op: isNot, kids: []*node{kid}}
	}
	out := &node{op: n.op}
	asked := map[string]bool{}
	var add func(kids []*node) (decided *node)
	add = func(kids []*node) *node {
		for _, kid := range kids {
			kid = fold(kid)
			switch {
			case kid.op == isConstant && kid.truth == (n.op == isOr):
				return kid
			case kid.op == isConstant:
			case kid.op == n.op:
				if decided := add(kid.kids); decided != nil {
					return decided
				}
			case kid.op == isLeaf && asked[kid.leaf.text]:
			default:
				if kid.op == isLeaf {
					asked[kid.leaf.text] = true
				}
				out.kids = append(out.kids, kid)
			}
		}
		return nil
	}
	if decided := add(n.kids); decided != nil {
		return decided
	}
	switch len(out.kids) {
	case 0:
		return &node{truth: n.op == isAnd}
	case 1:
		return out.kids[0]
	}
	slices.SortStableFunc(out.kids, func(a, b *node) int { return a.cost() - b.cost() })
	return out
}

// cost tells a few classes of costs apart, so that what a person put in order
// mostly stays as it is.
func (n *node) cost() int {
	switch n.op {
	case isConstant:
		return 0
	case isLeaf:
		return n.leaf.cost()
	case isNot:
		return n.kids[0].cost()
	}
	most := min(len(n.kids)/many, 1)
	for _, kid := range n.kids {
		most = max(most, kid.cost())
	}
	return most
}

// many is how many questions together count as costly.
const many = 8

func (l *leaf) cost() int {
	cost := 0
	if _, ok := l.left.extract.(fieldExtractor); !ok || l.ask == askPair {
		cost = 1
	}
	switch l.op {
	case "glob", "iglob", "icontains", "pmatch":
		cost++
	case "regex":
		cost += 3
	}
	return cost
}

// builder makes programs. Equal parts of conditions have equal numbers, however
// often they were written.
type builder struct {
	*program
	numbers map[string]int
	of      map[*node]int
	uses    map[int]int        // how many places ask a part
	asked   map[string]int     // how many questions are about a value
	slot    map[string]int     // where a value is kept
	memo    map[int]int        // where the answer of a part is kept
	written map[[3]int32]int32 // instructions that there are
	begins  map[int]int32      // where a part that is asked by several begins
}

// number gives a part its number.
func (b *builder) number(n *node) int {
	if id, ok := b.of[n]; ok {
		return id
	}
	key := []byte{byte(n.op)}
	if n.op == isLeaf {
		key = append(key, n.leaf.text...)
	} else if n.truth {
		key = append(key, 1)
	}
	for _, kid := range n.kids {
		key = binary.AppendUvarint(key, uint64(b.number(kid)))
	}
	id, ok := b.numbers[string(key)]
	if !ok {
		id = len(b.numbers)
		b.numbers[string(key)] = id
	}
	b.of[n] = id
	return id
}

// count counts the places that ask a part; what it is made of is counted for
// the first of them.
func (b *builder) count(n *node) {
	id := b.number(n)
	if b.uses[id]++; b.uses[id] > 1 && (n.op != isLeaf && n.op != isNot) {
		return
	}
	if n.leaf != nil {
		b.asked[n.leaf.left.text]++
	}
	for _, kid := range n.kids {
		b.count(kid)
	}
}

// addIndex gives the fields of an index a place, and writes its guards.
func (b *builder) addIndex(x *index) {
	for i := range x.guards {
		b.count(x.guards[i].tree)
	}
	for i := range x.fields {
		f := &x.fields[i]
		b.asked[f.ref.text] += 2
		f.slot = b.keep(f.ref.text)
	}
	for i := range x.guards {
		x.guards[i].begin = b.emit(x.guards[i].tree, answerYes, answerNo)
	}
}

// isShared reports whether several places ask a part that takes more than a
// question or two.
func (b *builder) isShared(n *node) bool {
	return b.uses[b.number(n)] > 1 && (n.op == isAnd || n.op == isOr)
}

// emit writes the code of n and returns where it begins. What follows is
// written before, so that it is known where to go on.
func (b *builder) emit(n *node, yes, no int32) int32 {
	if b.isShared(n) {
		if begin, ok := b.shared(n); ok {
			in := instr{ask: askShared, yes: yes, no: no, begin: begin}
			in.memo = b.remember(b.number(n))
			return b.write(b.number(n), in)
		}
	}
	return b.body(n, yes, no)
}

func (b *builder) body(n *node, yes, no int32) int32 {
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
	return b.leaf(n, yes, no)
}

// shared writes a part that answers for itself, once. It fails when no more
// answers can be kept.
func (b *builder) shared(n *node) (int32, bool) {
	id := b.number(n)
	begin, ok := b.begins[id]
	if !ok {
		if len(b.memo) == maxKept {
			return 0, false
		}
		b.remember(id)
		begin = b.body(n, answerYes, answerNo)
		b.begins[id] = begin
	}
	return begin, true
}

func (b *builder) leaf(n *node, yes, no int32) int32 {
	l, id := n.leaf, b.number(n)
	in := instr{ask: l.ask, yes: yes, no: no, want: l.want, extract: l.left.extract, test: l.test, pair: l.pair, with: l.with.extract}
	if f, ok := l.left.extract.(fieldExtractor); ok {
		in.ref = f.ref
	}
	in.slot = b.keep(l.left.text)
	if l.ask >= askTest && b.uses[id] > 1 && len(b.memo) < maxKept {
		in.memo = b.remember(id)
	}
	return b.write(id, in)
}

// write appends an instruction, unless it is there already.
func (b *builder) write(id int, in instr) int32 {
	key := [3]int32{int32(id), in.yes, in.no}
	if pc, ok := b.written[key]; ok {
		return pc
	}
	b.code = append(b.code, in)
	pc := int32(len(b.code) - 1)
	b.written[key] = pc
	return pc
}

// remember returns the place where the answer of a part is kept.
func (b *builder) remember(id int) bit {
	at, ok := b.memo[id]
	if !ok {
		at = len(b.memo)
		b.memo[id] = at
	}
	return bitAt(at)
}

// keep returns the slot of a value that several questions are about, or 0.
func (b *builder) keep(text string) slot {
	at, ok := b.slot[text]
	if !ok && b.asked[text] > 1 && b.slots < maxKept {
		at = b.slots
		b.slot[text] = at
		b.slots++
	}
	if at == 0 {
		return slot{}
	}
	return slot{at: int32(at), bit: bitAt(at)}
}
