package falco

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Event gives the values of one event's fields. A program keeps no reference
// to it.
type Event interface {
	// Type is Falco's name of the event type, such as container or execve;
	// the field evt.type must have the same value.
	Type() string
	// Field returns the value of f, of the type that the catalogue says, or
	// the zero [Value] where the event has none. It must give the same answer
	// for the same event. For a container start that is f.Start where f.Avail
	// is [Constant].
	Field(f *FieldRef) Value
}

// Condition is a compiled condition. It may be used by several goroutines.
type Condition struct {
	// Warnings are what Falco warns of: constants that look like something
	// else.
	Warnings []ConditionWarning
	expr     Expr
	fields   []*FieldRef
	tree     *node
	once     sync.Once
	made     *program
}

// ConditionWarning is what Falco says of a condition that compiles.
type ConditionWarning struct {
	At      Position
	Message string
}

func (w ConditionWarning) String() string { return w.Message }

// Match reports whether the condition holds for ev. It does not allocate
// memory, unless the condition has transformers.
func (c *Condition) Match(ev Event) bool { return c.program().match(ev) }

// program makes the program, if that was not done yet.
func (c *Condition) program() *program {
	c.once.Do(func() { c.made = newProgram([]ruleTree{{tree: c.tree}}) })
	return c.made
}

// Expr is the condition that was compiled.
func (c *Condition) Expr() Expr { return c.expr }

// Fields are the fields that the condition asks for, in its order.
func (c *Condition) Fields() []*FieldRef { return c.fields }

// Compile reads a condition without macros and checks it against the fields
// of cat. The error is a [*ParseError] or a [*CompileError].
func Compile(condition string, cat *Catalog) (*Condition, error) {
	e, err := Parse(condition)
	if err != nil {
		return nil, err
	}
	return CompileExpr(e, condition, cat)
}

// CompileExpr is [Compile] for a condition that is parsed already; source is
// its text. The error is a [*CompileError].
func CompileExpr(e Expr, source string, cat *Catalog) (*Condition, error) {
	cond, err := compile(e, source, cat)
	if err == nil {
		cond.program()
	}
	return cond, err
}

// compile checks a condition and makes its tree, without a program.
func compile(e Expr, source string, cat *Catalog) (*Condition, error) {
	c := &compiler{cat: cat, cond: &Condition{expr: e}}
	tree, err := c.expr(e)
	if err != nil {
		return nil, &CompileError{At: c.at, Message: err.Error(), Text: c.about, Source: source}
	}
	c.cond.tree = tree
	return c.cond, nil
}

// compiler turns an expression into a tree of checked questions.
type compiler struct {
	cat  *Catalog
	cond *Condition
	// at is the place of what is compiled, and about its text.
	at    Position
	about string
}

func (c *compiler) on(at Position, what fmt.Stringer) { c.at, c.about = at, what.String() }

// node is a compiled expression. A node without kids and leaf is a constant.
type node struct {
	op    nodeOp
	kids  []*node
	leaf  *leaf
	truth bool
}

type nodeOp uint8

const (
	isConstant nodeOp = iota
	isLeaf
	isAnd
	isOr
	isNot
)

// leaf is one question about the value of one operand. The answer for null is
// false whatever the question.
type leaf struct {
	text string // two leaves of the same text are the same question
	op   string
	left typed
	// members are the texts of which the value must be one, where that is
	// what is asked of a text.
	members []string
	ask     question
	want    string
	test    func(Value) bool
	pair    func(left, right Value) bool
	with    typed // the right side of pair
}

// question says how a leaf is answered. The first ones are answered in place,
// askTest by a function, askPair by one of two values.
type question uint8

const (
	askExists question = iota
	askEqual
	askUnequal
	askPrefix
	askTest
	askPair
)

// typed is where a value comes from and what it is.
type typed struct {
	text    string // two operands of the same text are the same value
	extract extractor
	typ     Type
	list    bool
	fields  []*FieldRef // that it is made of
}

func (c *compiler) expr(e Expr) (*node, error) {
	if len(e.terms()) > 0 {
		n := &node{op: isAnd}
		switch e.(type) {
		case *Or:
			n.op = isOr
		case *Not:
			n.op = isNot
		}
		for _, t := range e.terms() {
			kid, err := c.expr(t)
			if err != nil {
				return nil, err
			}
			n.kids = append(n.kids, kid)
		}
		return n, nil
	}
	c.on(e.Pos(), e)
	switch e := e.(type) {
	case *Check:
		l, err := c.check(e)
		if err != nil {
			return nil, err
		}
		if c.never(e, l) {
			return &node{}, nil
		}
		l.text, l.op = e.String(), e.Op
		return &node{op: isLeaf, leaf: l}, nil
	case *Macro:
		return nil, fmt.Errorf("filter error: the macro '%s' stands for no condition here", e.Name)
	}
	return nil, fmt.Errorf("cannot compile %T", e)
}

// never reports whether a check has an empty list of constants, of which no
// value is one. An empty list of values is, for "in".
func (c *compiler) never(e *Check, l *leaf) bool {
	list, ok := e.Right.(*List)
	return ok && len(list.Items) == 0 && (!l.left.list || e.Op == "intersects")
}

// check compiles one check.
func (c *compiler) check(e *Check) (*leaf, error) {
	left, err := c.left(e.Left)
	if err != nil {
		return nil, err
	}
	c.cond.fields = append(c.cond.fields, left.fields...)
	l := &leaf{left: left}
	if e.Op == "exists" {
		return l, nil
	}
	c.on(e.At, e)
	if !left.allows(e.Op) {
		return nil, fmt.Errorf("filter error: the operator '%s' does not work on %s", e.Op, left)
	}
	if right, ok := e.Right.(*Transform); ok {
		return l, c.pairCheck(l, e.Op, right)
	}
	if e.Modifier != "" && left.list {
		return nil, fmt.Errorf("filter error: the modifier '%s' does not work on lists", e.Modifier)
	}
	texts := constants(e)
	tests := make([]func(Value) bool, len(texts))
	for i, t := range texts {
		c.on(t.At, t)
		c.suspect(t.Value, e.Op)
		if tests[i], err = newTest(left.typ, e.Op, t.Value); err != nil {
			return nil, err
		}
	}
	l.ask = askTest
	switch {
	case e.Modifier != "":
		l.test = modifierTest(e.Modifier, tests)
	case e.Op == "in" || e.Op == "intersects" || e.Op == "pmatch":
		l.test = listTest(left, e.Op, texts, tests)
		if left.typ.isString() && !left.list && e.Op != "pmatch" {
			l.members = values(texts)
		}
	default:
		if l.test = tests[0]; left.typ.isString() {
			l.inPlace(e.Op, texts[0].Value)
		}
	}
	return l, nil
}

// constants are the texts on the right side of a check.
func constants(e *Check) []*Text {
	switch right := e.Right.(type) {
	case *Text:
		return []*Text{right}
	case *List:
		texts := make([]*Text, 0, len(right.Items))
		for _, item := range right.Items {
			if t, ok := item.(*Text); ok {
				texts = append(texts, t)
			}
		}
		return texts
	}
	return nil
}

func values(texts []*Text) []string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = t.Value
	}
	return all
}

// inPlace takes the questions that need no function.
func (l *leaf) inPlace(op, text string) {
	switch op {
	case "=":
		l.ask, l.want, l.members = askEqual, text, []string{text}
	case "!=":
		l.ask, l.want = askUnequal, text
	case "startswith":
		l.ask, l.want = askPrefix, text
	}
}

// pairCheck compares with the value of another field.
func (c *compiler) pairCheck(l *leaf, op string, right *Transform) error {
	r, err := c.transform(right)
	if err != nil {
		return err
	}
	for _, f := range slices.Concat(l.left.fields, r.fields) {
		if f.Plain {
			return fmt.Errorf("field '%s' can't be compared with another field", f.Name)
		}
	}
	switch {
	case op == "pmatch" || op == "regex" || l.left.typ == IPNet:
		return fmt.Errorf("filter error: the operator '%s' does not work with a field on its right side", op)
	case l.left.typ != r.typ || l.left.list != r.list:
		return fmt.Errorf("filter error: the two sides of '%s' are of different types: %s and %s", op, l.left, r)
	}
	c.cond.fields = append(c.cond.fields, r.fields...)
	l.ask, l.with, l.pair = askPair, r, pairTest(l.left.typ, op)
	return nil
}

func (c *compiler) warn(format string, args ...any) {
	c.cond.Warnings = append(c.cond.Warnings, ConditionWarning{c.at, fmt.Sprintf(format, args...)})
}

// suspect warns of a regular expression that a plain operator could replace,
// and of a constant that looks like a field or a transformer. Blanks in it do
// not count.
func (c *compiler) suspect(value, op string) {
	if op == "regex" && isPlainRegex(value) {
		c.warn("regex check with '%s' may be optimized with simpler operators such as '=', 'contains', 'startswith', 'endswith'", value)
	}
	bare := value
	if strings.ContainsFunc(bare, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) }) {
		bare = strings.Join(strings.FieldsFunc(bare, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) }), "")
	}
	if strings.Contains(bare, ".") {
		p := &parser{lexer: lexer{in: bare}, max: maxDepth}
		if f, ok := p.field(); ok == nil && p.pos == len(bare) {
			if f, isField := f.(*FieldName); isField {
				if _, err := c.cat.ref(f); err == nil {
					c.warn("'%s' may be a valid field misused as a const string value", value)
				}
			}
		}
	}
	if !strings.HasSuffix(bare, ")") {
		return
	}
	for _, t := range rightTransforms {
		if strings.HasPrefix(bare, t) {
			c.warn("'%s' may be a valid field transformer misused as a const string value", value)
			return
		}
	}
}

// isPlainRegex reports whether a regular expression is a literal, with anchors
// or "anything" at its ends or not.
func isPlainRegex(s string) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case i == 0 && s[i] == '^', i == len(s)-1 && s[i] == '$':
		case (i == 0 || i == len(s)-2) && s[i] == '.' && i+1 < len(s) && strings.IndexByte("+*?", s[i+1]) >= 0:
			i++
		case strings.IndexByte(`.+*?^$()[]{}|\`, s[i]) >= 0:
			return false
		}
	}
	return true
}
