package falco

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"a", "a"},
		{"a.b=c", "a.b = c"},
		{"a.b == c", "a.b = c"},
		{"a or b and c and d", "(a or (b and c and d))"},
		{"(a or b) and c", "((a or b) and c)"},
		{"(a)and(b)or(c)", "((a and b) or c)"},
		{"not not a", "a"},
		{"not(not a)", "not (not a)"},
		{"not a.b in (x, y)", "not a.b in (x, y)"},
		{"notz and a", "(notz and a)"},
		{"a.b existsand c", "(a.b exists and c)"},
		{"a.b in()", "a.b in ()"},
		{"a.b in my_list", "a.b in my_list"},
		{"a.b = oneof", "a.b = oneof"},
		{"a.b = oneof and c", "(a.b = oneof and c)"},
		{"a.b startswith anyof (x, 'y z')", `a.b startswith anyof (x, "y z")`},
		{`a.b = "q\"q"`, `a.b = "q\"q"`},
		{`a.b = "ends in \x5c"`, `a.b = "ends in \x5c"`},
		{`a.b in ("\q")`, "a.b in ()"},
		{"a.b = x\by", `a.b = "x\by"`},
		{`a.b = 'it\'s'`, `a.b = "it's"`},
		{`a.b = "\x41\t\/"`, `a.b = "A\t/"`},
		{"a.b['x y'] = 1", `a.b["x y"] = 1`},
		{"a.b[x/y] >= -1.5e+3", "a.b[x/y] >= -1.5e+3"},
		{"tolower( a.b ) = val(c.d)", "tolower(a.b) = val(c.d)"},
		{`join("-", (a.b, 'x', 3)) contains x`, `join("-", (a.b, "x", 3)) contains x`},
		{`getopt(a.b, "ab:")[b] exists`, `getopt(a.b, "ab:")[b] exists`},
		{"a\n  and\n  b", "(a and b)"},
	} {
		e, err := Parse(tc.in)
		if err != nil {
			t.Errorf("%q: %v", tc.in, err)
			continue
		}
		if got := e.String(); got != tc.want {
			t.Errorf("%q: got %s, want %s", tc.in, got, tc.want)
		}
		again, err := Parse(e.String())
		if err != nil || again.String() != e.String() {
			t.Errorf("%q: printed as %s, which does not read as the same: %v", tc.in, e, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, message  string
		line, column int
	}{
		{"", "filter input string is empty", 1, 1},
		{"a.b = x y", "unexpected token after 'x', expecting 'or', 'and'", 1, 9},
		{"a andb", "expected blank or '(' after 'and'", 1, 6},
		{"a and\n(b", "expected a ')' token", 2, 3},
		{"a.b ~ c", "expected a valid check operator", 1, 5},
		{"a.b > c", "expected a number value", 1, 7},
		{"a.b = (c)", "expected a string value", 1, 7},
		{`a.b = "x`, `expected a closing "`, 1, 7},
		{`a.b = "\q"`, `unsupported string escape sequence: \q`, 1, 11},
		{`a.b = "\'"`, `invalid \' escape in '"'-quoted string`, 1, 11},
		{`a.b = "\xg0"`, "two hexadecimal digits", 1, 13},
		{"a.b[] = c", "expected a valid field argument", 1, 5},
		{"a.b in (x,,y)", "expected a list value after ','", 1, 11},
		{"a # comment", "unexpected token after 'a'", 1, 3},
		{"val(a.b) = c", "", 1, 4},
		{strings.Repeat("(", 300) + "a" + strings.Repeat(")", 300), "exceeded max depth limit of 100", 1, 21},
		{strings.Repeat("not ", 1000) + "(", "expected", 1, 4002},
	} {
		_, err := Parse(tc.in)
		var perr *ParseError
		if !errors.As(err, &perr) {
			t.Errorf("%q: got %v, want a ParseError", tc.in, err)
			continue
		}
		if !strings.Contains(perr.Message, tc.message) || perr.At.Line != tc.line || perr.At.Column != tc.column {
			t.Errorf("%.40q: got %v, want %d:%d: %s", tc.in, err, tc.line, tc.column, tc.message)
		}
	}
}

func TestCaret(t *testing.T) {
	t.Parallel()
	_, err := Parse("a and\n\tb.c = x y")
	var perr *ParseError
	if !errors.As(err, &perr) {
		t.Fatal(err)
	}
	if got, want := perr.Caret(), " b.c = x y\n         ^"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLongConditionsAreReadInTime(t *testing.T) {
	t.Parallel()
	// A position for each item, none of which may cost the whole text.
	cond := "a.b in (" + strings.Repeat("x, ", 1<<19) + "x)"
	if _, err := Parse(cond); err != nil {
		t.Error(err)
	}
}
