package falco

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxConstant is the length of the longest constant, in bytes.
const maxConstant = 255

// Event gives the values of one event's fields. A program keeps no reference
// to it.
type Event interface {
	// Type is Falco's name of the event type: container, execve.
	Type() string
	// Field returns the value of f, or the zero [Value] where the event has
	// none. It must give the same answer for the same event.
	Field(f *FieldRef) Value
}

// Condition is a compiled condition. It may be used by several goroutines.
type Condition struct {
	match matcher
	// Warnings are what Falco warns of: constants that look like something
	// else.
	Warnings []string
	expr     Expr
	fields   []*FieldRef
}

// Match reports whether the condition holds for ev. It does not allocate
// memory, unless the condition has transformers.
func (c *Condition) Match(ev Event) bool { return c.match.match(ev) }

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
	return compile(e, condition, cat)
}

func compile(e Expr, source string, cat *Catalog) (*Condition, error) {
	c := &compiler{cat: cat, cond: &Condition{expr: e}}
	m, err := c.expr(e)
	if err != nil {
		at := c.at
		if at.Line == 0 {
			at = e.Pos()
		}
		return nil, &CompileError{At: at, Message: err.Error(), Source: source}
	}
	c.cond.match = m
	return c.cond, nil
}

// compiler turns an expression into matchers.
type compiler struct {
	cat  *Catalog
	cond *Condition
	at   Position // of the check that is compiled
}

func (c *compiler) warn(format string, args ...any) {
	c.cond.Warnings = append(c.cond.Warnings, fmt.Sprintf(format, args...))
}

func (c *compiler) expr(e Expr) (matcher, error) {
	switch e := e.(type) {
	case *And:
		terms, err := c.terms(e.Terms)
		return andMatcher(terms), err
	case *Or:
		terms, err := c.terms(e.Terms)
		return orMatcher(terms), err
	case *Not:
		m, err := c.expr(e.Term)
		return notMatcher{m}, err
	case *Check:
		c.at = e.At
		return c.check(e)
	case *Macro:
		c.at = e.At
		return nil, fmt.Errorf("undefined macro '%s' used in filter", e.Name)
	}
	return nil, fmt.Errorf("cannot compile %T", e)
}

func (c *compiler) terms(all []Expr) ([]matcher, error) {
	terms := make([]matcher, len(all))
	for i, t := range all {
		var err error
		if terms[i], err = c.expr(t); err != nil {
			return nil, err
		}
	}
	return terms, nil
}

// typed is where a value comes from and what it is.
type typed struct {
	extract extractor
	typ     Type
	list    bool
	// changed is set behind a transformer that writes new strings.
	changed bool
}

// check compiles one check.
func (c *compiler) check(e *Check) (matcher, error) {
	left, err := c.left(e.Left)
	if err != nil {
		return nil, err
	}
	if e.Op == "exists" {
		return existsMatcher{left.extract}, nil
	}
	if !comparable(left, e.Op) {
		return nil, fmt.Errorf("the operator '%s' does not work on %s", e.Op, describeType(left))
	}
	switch right := e.Right.(type) {
	case *Transform:
		return c.fieldCheck(left, e.Op, right)
	case *List:
		texts := make([]string, len(right.Items))
		for i, item := range right.Items {
			texts[i] = item.(*Text).Value
		}
		if e.Modifier != "" {
			return c.modifierCheck(left, e.Op, e.Modifier, texts)
		}
		return c.listCheck(left, e.Op, texts)
	case *Text:
		if e.Modifier != "" {
			return c.modifierCheck(left, e.Op, e.Modifier, []string{right.Value})
		}
		switch e.Op {
		case "in", "intersects", "pmatch":
			return c.listCheck(left, e.Op, []string{right.Value})
		}
		c.suspect(right.Value, e.Op)
		test, err := c.test(left.typ, e.Op, right.Value)
		return testMatcher{left.extract, test}, err
	}
	return nil, fmt.Errorf("nothing to compare with after '%s'", e.Op)
}

func describeType(t typed) string {
	if t.list {
		return "a list of type " + t.typ.String()
	}
	return "a field of type " + t.typ.String()
}

// comparable is Falco's table of operators and types.
func comparable(t typed, op string) bool {
	if t.list {
		return op == "in" || op == "intersects"
	}
	switch op {
	case "=", "!=", "in", "intersects":
		return true
	case "<", "<=", ">", ">=":
		return t.typ.isNumber() || t.typ.isString()
	case "contains", "startswith":
		return t.typ.isString() || t.typ == Bytes
	case "bcontains", "bstartswith":
		return t.typ == Bytes
	case "endswith":
		return t.typ.isString() || t.typ == Bytes
	case "icontains", "glob", "iglob", "pmatch", "regex":
		return t.typ.isString()
	}
	return false
}

// suspect warns of a constant that looks like a field or a transformer, and
// of a regular expression that a plain operator could replace.
func (c *compiler) suspect(value, op string) {
	l := lexer{in: value}
	if name, ok := l.fieldName(); ok && l.pos == len(value) && c.cat.Lookup(name) != nil {
		c.warn("'%s' may be a valid field misused as a const string value", value)
		return
	}
	for _, t := range rightTransforms {
		if strings.HasPrefix(value, t) {
			c.warn("'%s' may be a valid field transformer misused as a const string value", value)
			return
		}
	}
	if op == "regex" && isPlainRegex(value) {
		c.warn("the regular expression '%s' can be written with '=', 'contains', 'startswith' or 'endswith', which are faster", value)
	}
}

// isPlainRegex reports whether a regular expression is a literal, with
// anchors or "anything" at its ends or not.
func isPlainRegex(s string) bool {
	for _, p := range []string{"^", ".*", ".+", ".?"} {
		if t, ok := strings.CutPrefix(s, p); ok {
			s = t
			break
		}
	}
	for _, p := range []string{"$", ".*", ".+", ".?"} {
		if t, ok := strings.CutSuffix(s, p); ok {
			s = t
			break
		}
	}
	return s != "" && !strings.ContainsAny(s, `\.+*?()|[]{}^$`)
}

// fieldCheck compares with the value of another field.
func (c *compiler) fieldCheck(left typed, op string, right *Transform) (matcher, error) {
	r, err := c.transform(right)
	switch {
	case err != nil:
		return nil, err
	case op == "pmatch" || op == "regex" || left.typ == IPNet:
		return nil, fmt.Errorf("the operator '%s' does not work with a field on its right side", op)
	case left.typ != r.typ || left.list != r.list && op != "in" && op != "intersects":
		return nil, fmt.Errorf("the two sides of '%s' are of different types: %s and %s", op, describeType(left), describeType(r))
	}
	return &fieldMatcher{left: left, right: r, op: op}, nil
}

// modifierCheck compares with oneof, anyof or allof of a list.
func (c *compiler) modifierCheck(left typed, op, modifier string, texts []string) (matcher, error) {
	if left.list {
		return nil, fmt.Errorf("the modifier '%s' does not work on lists", modifier)
	}
	m := &modifierMatcher{extract: left.extract}
	switch modifier {
	case "oneof":
		m.least, m.most = 1, 1
	case "anyof":
		m.least, m.most = 1, len(texts)
	case "allof":
		m.least, m.most = max(1, len(texts)), len(texts)
	}
	for _, text := range texts {
		test, err := c.test(left.typ, op, text)
		if err != nil {
			return nil, err
		}
		m.tests = append(m.tests, test)
	}
	return m, nil
}

// listCheck compiles in, intersects and pmatch.
func (c *compiler) listCheck(left typed, op string, texts []string) (matcher, error) {
	for _, text := range texts {
		if err := checkConstant(left.typ, text); err != nil {
			return nil, err
		}
	}
	if op == "pmatch" {
		ps := newPrefixes(texts)
		return testMatcher{left.extract, func(v Value) bool { return ps.match(v.str) }}, nil
	}
	var member func(Value) bool
	if left.typ.isString() || left.typ == Bytes {
		member = newSet(texts)
	} else {
		tests := make([]func(Value) bool, len(texts))
		for i, text := range texts {
			var err error
			if tests[i], err = c.test(left.typ, "=", text); err != nil {
				return nil, err
			}
		}
		member = func(v Value) bool {
			for _, t := range tests {
				if t(v) {
					return true
				}
			}
			return false
		}
	}
	if !left.list {
		return testMatcher{left.extract, member}, nil
	}
	return &listMatcher{extract: left.extract, member: member, all: op == "in"}, nil
}

// newSet makes a test for membership. Up to a few members a comparison of
// each is faster than hashing the value.
func newSet(texts []string) func(Value) bool {
	if len(texts) <= 6 {
		return func(v Value) bool {
			for _, t := range texts {
				if t == v.str {
					return true
				}
			}
			return false
		}
	}
	set := make(map[string]struct{}, len(texts))
	for _, t := range texts {
		set[t] = struct{}{}
	}
	return func(v Value) bool {
		_, ok := set[v.str]
		return ok
	}
}

func checkConstant(t Type, text string) error {
	switch {
	case len(text) > maxConstant:
		return fmt.Errorf("filter parameter too long: %d bytes instead of at most %d", len(text), maxConstant)
	case t != Bytes && strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("filter value cannot contain a NUL byte")
	}
	return nil
}

// test makes the question that op asks of a value of type t.
func (c *compiler) test(t Type, op, text string) (func(Value) bool, error) {
	if err := checkConstant(t, text); err != nil {
		return nil, err
	}
	switch {
	case t.isString() || t == Bytes:
		return stringTest(op, text)
	case t == IPAddr:
		return addrTest(op, text)
	case t == IPNet:
		return netTest(op, text)
	case t == Bool:
		return boolTest(op, text)
	}
	return numberTest(t, op, text)
}

func stringTest(op, text string) (func(Value) bool, error) {
	switch op {
	case "=":
		return func(v Value) bool { return v.str == text }, nil
	case "!=":
		return func(v Value) bool { return v.str != text }, nil
	case "<":
		return func(v Value) bool { return v.str < text }, nil
	case "<=":
		return func(v Value) bool { return v.str <= text }, nil
	case ">":
		return func(v Value) bool { return v.str > text }, nil
	case ">=":
		return func(v Value) bool { return v.str >= text }, nil
	case "contains":
		return func(v Value) bool { return strings.Contains(v.str, text) }, nil
	case "icontains":
		return func(v Value) bool { return containsFold(v.str, text) }, nil
	case "startswith":
		return func(v Value) bool { return strings.HasPrefix(v.str, text) }, nil
	case "endswith":
		return func(v Value) bool { return strings.HasSuffix(v.str, text) }, nil
	case "glob":
		return func(v Value) bool { return fnmatch(text, v.str, false) }, nil
	case "iglob":
		return func(v Value) bool { return fnmatch(text, v.str, true) }, nil
	case "regex":
		re, err := fullPOSIX(text)
		if err != nil {
			return nil, fmt.Errorf("invalid regex pattern: %w", err)
		}
		return func(v Value) bool { return re.MatchString(validUTF8(v.str)) }, nil
	case "bcontains", "bstartswith":
		raw, err := hexText(text)
		if err != nil {
			return nil, err
		}
		if op == "bcontains" {
			return func(v Value) bool { return strings.Contains(v.str, raw) }, nil
		}
		return func(v Value) bool { return strings.HasPrefix(v.str, raw) }, nil
	case "in", "intersects":
		return func(v Value) bool { return v.str == text }, nil
	case "pmatch":
		ps := newPrefixes([]string{text})
		return func(v Value) bool { return ps.match(v.str) }, nil
	}
	return nil, fmt.Errorf("the operator '%s' does not work on strings", op)
}

// fullPOSIX compiles a regular expression as RE2 does in its POSIX mode, for
// a match of the whole text.
func fullPOSIX(pattern string) (*regexp.Regexp, error) {
	re, err := syntax.Parse(pattern, syntax.POSIX)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + re.String() + `)\z`)
}

// validUTF8 replaces every byte that is not UTF-8, as Falco does before it
// asks a regular expression.
func validUTF8(s string) string {
	return strings.ToValidUTF8(s, "\uFFFD")
}

func hexText(text string) (string, error) {
	if len(text)%2 != 0 {
		return "", fmt.Errorf("'%s' is not a byte string: it needs two hexadecimal digits a byte", text)
	}
	raw := make([]byte, len(text)/2)
	for i := range raw {
		hi, lo := hexValue(text[2*i]), hexValue(text[2*i+1])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("'%s' is not a byte string: it needs two hexadecimal digits a byte", text)
		}
		raw[i] = byte(hi<<4 | lo)
	}
	return string(raw), nil
}
