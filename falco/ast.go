package falco

import (
	"strings"
)

// Expr is a node of a parsed condition: [*And], [*Or], [*Not], [*Macro] or
// [*Check].
type Expr interface {
	// Pos is where the node begins in the condition.
	Pos() Position
	// String prints the node as Falco prints a compiled condition.
	String() string
	// terms are the nodes below.
	terms() []Expr
	write(b *strings.Builder)
}

// Position is a place in a text.
type Position struct {
	Offset int // in bytes, from 0
	Line   int // from 1
	Column int // in bytes, from 1

	in *origin // the condition of a rules file that it is in
}

type (
	// And is true when all terms are; it has two or more.
	And struct {
		Terms []Expr
		// Paren is set when it stands in parentheses of its own.
		Paren bool
		At    Position
	}
	// Or is true when one of its terms is; it has two or more.
	Or struct {
		Terms []Expr
		// Paren is set when it stands in parentheses of its own.
		Paren bool
		At    Position
	}
	// Not is true when its term is not.
	Not struct {
		Term Expr
		At   Position
	}
	// Macro stands for the condition of that name.
	Macro struct {
		Name string
		At   Position
	}
	// Check asks one question about one value.
	Check struct {
		Left     Operand
		Op       string // exists, =, !=, <, in, …; == is written =
		Modifier string // oneof, anyof, allof or ""
		// Right is nil for exists, else a [*Field], [*Transform], [*Text] or
		// [*List].
		Right Operand
		At    Position
	}
)

// Pos returns where the expression begins.
func (e *And) Pos() Position { return e.At }

// Pos returns where the expression begins.
func (e *Or) Pos() Position { return e.At }

// Pos returns where the expression begins.
func (e *Not) Pos() Position { return e.At }

// Pos returns where the expression begins.
func (e *Macro) Pos() Position { return e.At }

// Pos returns where the expression begins.
func (e *Check) Pos() Position { return e.At }

func (e *And) terms() []Expr   { return e.Terms }
func (e *Or) terms() []Expr    { return e.Terms }
func (e *Not) terms() []Expr   { return []Expr{e.Term} }
func (e *Macro) terms() []Expr { return nil }
func (e *Check) terms() []Expr { return nil }

// Operand is a side of a check or an argument of a transformer: [*FieldName],
// [*Transform], [*Text] or [*List].
type Operand interface{ String() string }

type (
	// FieldName names a field, with its argument if it has one.
	FieldName struct {
		Name   string
		Arg    string
		HasArg bool
		At     Position
	}
	// Transform is a function over fields and texts: tolower(proc.name).
	Transform struct {
		Name string
		Args []Operand
		// Arg is what stands in brackets behind it: getopt(…)[x].
		Arg    string
		HasArg bool
		At     Position
	}
	// Text is a constant.
	Text struct {
		Value  string
		Quoted bool
		// Number is set where the grammar asked for a number.
		Number bool
		At     Position
	}
	// List is a list of operands in parentheses; that of a check has texts
	// only.
	List struct {
		Items []Operand
		At    Position
	}
)

// writeTerms writes terms in parentheses, with a word between them.
func writeTerms(b *strings.Builder, terms []Expr, between string) {
	b.WriteByte('(')
	for i, t := range terms {
		if i > 0 {
			b.WriteString(between)
		}
		t.write(b)
	}
	b.WriteByte(')')
}

func printed(e Expr) string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *And) String() string   { return printed(e) }
func (e *Or) String() string    { return printed(e) }
func (e *Not) String() string   { return printed(e) }
func (e *Macro) String() string { return e.Name }
func (e *Check) String() string { return printed(e) }

func (e *And) write(b *strings.Builder)   { writeTerms(b, e.Terms, " and ") }
func (e *Or) write(b *strings.Builder)    { writeTerms(b, e.Terms, " or ") }
func (e *Macro) write(b *strings.Builder) { b.WriteString(e.Name) }

// write keeps two nots apart, which would cancel each other.
func (e *Not) write(b *strings.Builder) {
	b.WriteString("not ")
	if _, ok := e.Term.(*Not); ok {
		writeTerms(b, []Expr{e.Term}, "")
		return
	}
	e.Term.write(b)
}

func (e *Check) write(b *strings.Builder) {
	b.WriteString(e.Left.String() + " " + e.Op)
	if e.Modifier != "" {
		b.WriteString(" " + e.Modifier)
	}
	if e.Right != nil {
		b.WriteString(" " + e.Right.String())
	}
}

// withArg quotes the argument where it could not be read back without.
func withArg(s, arg string, has bool) string {
	if !has {
		return s
	}
	if l := (&lexer{in: arg}); arg != "" {
		if _, ok := l.bareArg(); ok && l.pos == len(arg) {
			return s + "[" + arg + "]"
		}
	}
	return s + "[" + quote(arg) + "]"
}

func (f *FieldName) String() string { return withArg(f.Name, f.Arg, f.HasArg) }

func (t *Transform) String() string {
	return withArg(t.Name+"("+joinArguments(t.Args)+")", t.Arg, t.HasArg)
}

// joinArguments writes the arguments of a transformer, whose texts always
// stand in quotes.
func joinArguments(all []Operand) string {
	parts := make([]string, len(all))
	for i, o := range all {
		switch o := o.(type) {
		case *Text:
			parts[i] = o.String()
			if !o.Number && parts[i][0] != '"' {
				parts[i] = quote(o.Value)
			}
		case *List:
			parts[i] = "(" + joinArguments(o.Items) + ")"
		default:
			parts[i] = o.String()
		}
	}
	return strings.Join(parts, ", ")
}

func (l *List) String() string { return "(" + joinOperands(l.Items) + ")" }

func joinOperands(all []Operand) string {
	parts := make([]string, len(all))
	for i, o := range all {
		parts[i] = o.String()
	}
	return strings.Join(parts, ", ")
}

// String quotes the text where it could not be read back without.
func (t *Text) String() string {
	if isBare(t.Value) && !strings.Contains(t.Value, "\b") {
		return t.Value
	}
	return quote(t.Value)
}

// Walk calls visit for e and everything below it, parents first, as long as
// visit returns true for the parent.
func Walk(e Expr, visit func(Expr) bool) {
	if !visit(e) {
		return
	}
	for _, t := range e.terms() {
		Walk(t, visit)
	}
}
