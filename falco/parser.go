package falco

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// maxDepth is how deep a condition may be nested.
	maxDepth = 100
	// maxDepthRules is the same for the conditions of rules and macros.
	maxDepthRules = 1000
)

// Parse reads a condition by the grammar of Falco's filter language
// (falcosecurity/libs userspace/libsinsp/filter/parser.h). The error is a
// [*ParseError].
func Parse(condition string) (Expr, error) {
	e, err := parse(condition, maxDepth, nil)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// parse reads a condition of the given depth; its places are in the origin.
func parse(condition string, depth int, in *origin) (Expr, *ParseError) {
	p := &parser{lexer: lexer{in: condition}, max: depth, origin: in}
	if condition == "" {
		return nil, p.fail(errors.New("filter input string is empty"))
	}
	p.blank()
	e, err := p.or()
	if err != nil {
		return nil, p.fail(err)
	}
	if p.pos != len(p.in) {
		return nil, p.fail(fmt.Errorf("unexpected token after '%s', expecting 'or', 'and'", p.last))
	}
	return e, nil
}

type parser struct {
	lexer
	depth, max int
	// here is the last place that was asked for; the next one is found from
	// there.
	here   Position
	origin *origin
}

// fail gives an error its position: where the parser stands.
func (p *parser) fail(err error) *ParseError {
	return &ParseError{At: p.at(), Message: err.Error(), Text: word(p.in, p.pos), Source: p.in}
}

// at is where the parser stands.
func (p *parser) at() Position {
	if p.here.Line == 0 || p.here.Offset > p.pos {
		p.here = Position{Line: 1, Column: 1, in: p.origin}
	}
	between := p.in[p.here.Offset:p.pos]
	if n := strings.Count(between, "\n"); n > 0 {
		p.here.Line += n
		p.here.Column = len(between) - strings.LastIndexByte(between, '\n')
	} else {
		p.here.Column += len(between)
	}
	p.here.Offset = p.pos
	return p.here
}

func (p *parser) enter() error {
	if p.depth++; p.depth > p.max {
		return fmt.Errorf("exceeded max depth limit of %d", p.max)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) or() (Expr, error) {
	at := p.at()
	terms, err := p.chain("or", p.and)
	if err != nil || len(terms) == 1 {
		return first(terms), err
	}
	return &Or{Terms: terms, At: at}, nil
}

func (p *parser) and() (Expr, error) {
	at := p.at()
	terms, err := p.chain("and", p.not)
	if err != nil || len(terms) == 1 {
		return first(terms), err
	}
	return &And{Terms: terms, At: at}, nil
}

func first(terms []Expr) Expr {
	if len(terms) == 0 {
		return nil
	}
	return terms[0]
}

// chain reads terms with the given keyword between them.
func (p *parser) chain(keyword string, term func() (Expr, error)) ([]Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	e, err := term()
	if err != nil {
		return nil, err
	}
	terms := []Expr{e}
	p.blank()
	for p.take(keyword) {
		switch {
		case p.blank():
			e, err = term()
		case p.take("("):
			e, err = p.embedded()
		default:
			err = fmt.Errorf("expected blank or '(' after '%s'", keyword)
		}
		if err != nil {
			return nil, err
		}
		terms = append(terms, e)
		p.blank()
	}
	return terms, nil
}

func (p *parser) not() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.blank()
	negated, at := false, p.at()
	wrap := func(e Expr, err error) (Expr, error) {
		if err == nil && negated {
			e = &Not{Term: e, At: at}
		}
		return e, err
	}
	for {
		before := p.lexer
		if !p.take("not") {
			return wrap(p.check())
		}
		switch {
		case p.blank():
			negated = !negated
		case p.take("("):
			negated = !negated
			return wrap(p.embedded())
		default: // A name that begins with "not".
			p.lexer = before
			return wrap(p.check())
		}
	}
}

// embedded reads what follows an opening parenthesis.
func (p *parser) embedded() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.blank()
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.blank()
	if !p.take(")") {
		return nil, errors.New("expected a ')' token")
	}
	switch e := e.(type) {
	case *And:
		e.Paren = true
	case *Or:
		e.Paren = true
	}
	return e, nil
}

func (p *parser) check() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.blank()
	at := p.at()
	if p.take("(") {
		return p.embedded()
	}
	left, err := p.transform(leftTransforms...)
	if err != nil {
		return nil, err
	}
	if left == nil {
		if left, err = p.field(); err != nil {
			return nil, err
		}
	}
	if left != nil {
		return p.condition(left, at)
	}
	if name, ok := p.identifier(); ok {
		return &Macro{Name: name, At: at}, nil
	}
	return nil, errors.New("expected a '(' token, a field check, or an identifier")
}

// The transformers; val stands on the right side only.
var (
	leftTransforms  = []string{"tolower(", "toupper(", "b64(", "basename(", "len(", "join(", "concat(", "getopt("}
	rightTransforms = append([]string{"val("}, leftTransforms...)
)

// field reads a field, or nothing.
func (p *parser) field() (Operand, error) {
	at := p.at()
	name, ok := p.fieldName()
	if !ok {
		return nil, nil
	}
	f := &FieldName{Name: name, At: at}
	var err error
	f.Arg, f.HasArg, err = p.bracket()
	return f, err
}

// bracket reads an argument in brackets, if there is one.
func (p *parser) bracket() (arg string, has bool, err error) {
	if !p.take("[") {
		return "", false, nil
	}
	arg, ok, err := p.quoted()
	if err != nil {
		return "", false, err
	}
	if !ok {
		if arg, ok = p.bareArg(); !ok {
			return "", false, errors.New("expected a valid field argument: a quoted string or a bare string")
		}
	}
	if !p.take("]") {
		return "", false, errors.New("expected a ']' token")
	}
	return arg, true, nil
}

// transform reads one of the given transformers, or nothing.
func (p *parser) transform(names ...string) (Operand, error) {
	at := p.at()
	name, ok := p.takeAny(names...)
	if !ok {
		return nil, nil
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := &Transform{Name: strings.TrimSuffix(name, "("), At: at}
	p.blank()
	if t.Name == "val" {
		f, err := p.field()
		switch {
		case err != nil:
			return nil, err
		case f == nil:
			return nil, errors.New("expected a field within 'val'")
		}
		t.Args = []Operand{f}
		p.blank()
	} else {
		for {
			arg, err := p.argument(true)
			if err != nil {
				return nil, err
			}
			t.Args = append(t.Args, arg)
			p.blank()
			if !p.take(",") {
				break
			}
			p.blank()
		}
	}
	if !p.take(")") {
		return nil, errors.New("expected a ')' token closing the transformer")
	}
	var err error
	t.Arg, t.HasArg, err = p.bracket()
	return t, err
}

// argument reads an argument of a transformer.
func (p *parser) argument(lists bool) (Operand, error) {
	at := p.at()
	if lists && p.take("(") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.leave()
		l := &List{At: at}
		p.blank()
		if p.take(")") {
			return l, nil
		}
		for {
			item, err := p.argument(false)
			if err != nil {
				return nil, err
			}
			l.Items = append(l.Items, item)
			p.blank()
			if !p.take(",") {
				break
			}
			p.blank()
		}
		if !p.take(")") {
			return nil, errors.New("expected a ')' token closing the list")
		}
		return l, nil
	}
	if t, err := p.transform(leftTransforms...); t != nil || err != nil {
		return t, err
	}
	if f, err := p.field(); f != nil || err != nil {
		return f, err
	}
	if text, ok, err := p.quoted(); ok || err != nil {
		return &Text{Value: text, Quoted: true, At: at}, err
	}
	if n, ok := p.number(); ok {
		return &Text{Value: n, Number: true, At: at}, nil
	}
	return nil, errors.New("expected a field, a valid transformer, a quoted string or a number")
}

// condition reads operator and right side.
func (p *parser) condition(left Operand, at Position) (Expr, error) {
	p.blank()
	c := &Check{Left: left, At: at}
	if p.take("exists") {
		c.Op = "exists"
		return c, nil
	}
	var err error
	if op, ok := p.takeAny("<=", "<", ">=", ">"); ok {
		c.Op = op
		p.blank()
		c.Right, err = p.numberOrTransform()
		return c, err
	}
	if op, ok := p.takeAny("==", "=", "!=", "glob ", "iglob ", "contains ", "icontains ", "bcontains ",
		"startswith ", "bstartswith ", "endswith ", "regex "); ok {
		c.Op = strings.TrimSpace(op)
		if c.Op == "==" {
			c.Op = "="
		}
		spaced := strings.HasSuffix(op, " ")
		spaced = p.blank() || spaced
		if spaced {
			if c.Modifier, c.Right, err = p.modified(); err != nil || c.Right != nil {
				return c, err
			}
		}
		c.Right, err = p.textOrTransform()
		return c, err
	}
	if op, ok := p.takeAny("intersects", "in", "pmatch"); ok {
		c.Op = op
		p.blank()
		if c.Right, err = p.transform(rightTransforms...); c.Right == nil && err == nil {
			c.Right, err = p.list()
		}
		return c, err
	}
	return nil, errors.New("expected a valid check operator: one of 'exists', '<=', '<', '>=', '>', '=', '==', '!=', " +
		"'glob', 'iglob', 'contains', 'icontains', 'bcontains', 'startswith', 'bstartswith', 'endswith', 'regex', " +
		"'intersects', 'in', 'pmatch'")
}

// modified reads oneof, anyof or allof and its list. Where no list follows,
// the word is an ordinary text, and nothing is read.
func (p *parser) modified() (string, Operand, error) {
	before := p.lexer
	modifier, ok := p.takeAny("oneof", "anyof", "allof")
	if !ok || !p.blank() || p.pos >= len(p.in) {
		p.lexer = before
		return "", nil, nil
	}
	behind := p.lexer
	if p.in[p.pos] != '(' {
		word, ok := p.identifier()
		if !ok || word == "and" || word == "or" || word == "not" {
			p.lexer = before
			return "", nil, nil
		}
	}
	p.lexer = behind
	l, err := p.list()
	return modifier, l, err
}

func (p *parser) numberOrTransform() (Operand, error) {
	if t, err := p.transform(rightTransforms...); t != nil || err != nil {
		return t, err
	}
	at := p.at()
	if n, ok := p.number(); ok {
		return &Text{Value: n, Number: true, At: at}, nil
	}
	return nil, errors.New("expected a number value or a field with a valid transformer")
}

func (p *parser) textOrTransform() (Operand, error) {
	if t, err := p.transform(rightTransforms...); t != nil || err != nil {
		return t, err
	}
	t, err := p.text()
	if t == nil && err == nil {
		err = errors.New("expected a string value or a field with a valid transformer")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// text reads a text with or without quotes, or nothing.
func (p *parser) text() (*Text, error) {
	at := p.at()
	if s, ok, err := p.quoted(); ok || err != nil {
		return &Text{Value: s, Quoted: true, At: at}, err
	}
	if s, ok := p.bare(); ok {
		return &Text{Value: s, At: at}, nil
	}
	return nil, nil
}

// list reads a list in parentheses, or a bare name, which is a text.
func (p *parser) list() (Operand, error) {
	at := p.at()
	if !p.take("(") {
		if name, ok := p.identifier(); ok {
			return &Text{Value: name, At: at}, nil
		}
		return nil, errors.New("expected a list or an identifier")
	}
	l := &List{At: at}
	p.blank()
	for {
		t, err := p.text()
		if err != nil && (len(l.Items) > 0 || !errors.Is(err, errEscape)) {
			return nil, err
		}
		// Falco takes a list that begins with a wrong escape for an empty one.
		if t == nil || err != nil {
			if len(l.Items) > 0 {
				return nil, errors.New("expected a list value after ','")
			}
			break
		}
		l.Items = append(l.Items, t)
		p.blank()
		if !p.take(",") {
			break
		}
		p.blank()
	}
	if !p.take(")") {
		return nil, errors.New("expected a ')' token")
	}
	return l, nil
}
