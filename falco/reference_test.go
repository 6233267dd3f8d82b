package falco

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// judge is the language as its description reads, for the fields of strange:
// no program, no memory of what was asked, no shared code for the operators.
func judge(e Expr, ev mapEvent) bool {
	switch e := e.(type) {
	case *And:
		return !slices.ContainsFunc(e.Terms, func(t Expr) bool { return !judge(t, ev) })
	case *Or:
		return slices.ContainsFunc(e.Terms, func(t Expr) bool { return judge(t, ev) })
	case *Not:
		return !judge(e.Term, ev)
	case *Check:
		return judgeCheck(e, ev)
	}
	panic("macro")
}

func judgeOperand(o Operand, ev mapEvent) Value {
	switch o := o.(type) {
	case *FieldName:
		return ev[o.Name]
	case *Transform:
		v := judgeOperand(o.Args[0], ev)
		if v.IsNull() {
			return v
		}
		switch o.Name {
		case "tolower":
			return StringValue(strings.ToLower(v.String()))
		case "len":
			return UintValue(uint64(len(v.String())))
		}
		return v
	}
	panic("operand")
}

func judgeCheck(c *Check, ev mapEvent) bool {
	v := judgeOperand(c.Left, ev)
	if v.IsNull() || c.Op == "exists" {
		return !v.IsNull()
	}
	switch right := c.Right.(type) {
	case *Transform:
		w := judgeOperand(right, ev)
		return !w.IsNull() && judgeTexts(v, c.Op, w.String())
	case *Text:
		return judgeTexts(v, c.Op, right.Value)
	case *List:
		n := 0
		for _, item := range right.Items {
			op := c.Op
			if op == "in" || op == "intersects" {
				op = "="
			}
			if judgeTexts(v, op, item.(*Text).Value) {
				n++
			}
		}
		switch c.Modifier {
		case "oneof":
			return n == 1
		case "allof":
			return n > 0 && n == len(right.Items)
		}
		return n > 0
	}
	panic("right")
}

func judgeTexts(v Value, op, text string) bool {
	s := v.String()
	if n, err := strconv.Atoi(s); err == nil && v.of != ofText {
		m, err := strconv.Atoi(text)
		if err != nil {
			panic(err)
		}
		return map[string]bool{"=": n == m, "!=": n != m, "<": n < m, "<=": n <= m, ">": n > m, ">=": n >= m}[op]
	}
	switch op {
	case "=":
		return s == text
	case "!=":
		return s != text
	case "contains":
		return strings.Contains(s, text)
	case "icontains":
		return strings.Contains(strings.ToLower(s), strings.ToLower(text))
	case "startswith":
		return strings.HasPrefix(s, text)
	case "endswith":
		return strings.HasSuffix(s, text)
	case "glob":
		return globs(text, s)
	case "pmatch":
		folder := strings.Trim(text, "/")
		return folder == "" || strings.HasPrefix(strings.Trim(s, "/")+"/", folder+"/")
	}
	panic(op)
}

// globs is fnmatch of a pattern with nothing but stars.
func globs(pattern, s string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	for rest, ok := strings.CutPrefix(s, head); ok; rest = rest[1:] {
		if globs(tail, rest) {
			return true
		}
		if rest == "" {
			break
		}
	}
	return false
}

// strange are the fields that generated conditions are about.
var strange = NewCatalog(
	Field{Name: "t.a"}, Field{Name: "t.b"}, Field{Name: "t.c", Type: Path}, Field{Name: "t.n", Type: Int64}, Field{Name: "t.m", Type: Int64},
	Field{Name: "evt.type"}, Field{Name: "t.sys", Avail: OnSyscall}, Field{Name: "t.constant", Avail: Constant, Start: StringValue("x")},
)

// generator makes conditions and events; few texts make answers differ.
type generator struct {
	*rand.Rand
	before []string // conditions that were made already, to be asked again
}

func (g *generator) pick(all ...string) string { return all[g.IntN(len(all))] }

func (g *generator) text() string { return g.pick("x", "y", "X", "xy", "x/y", "/x", "yx", "''") }

func (g *generator) condition(depth int) string {
	if depth > 0 && len(g.before) > 0 && g.IntN(4) == 0 {
		return "(" + g.before[g.IntN(len(g.before))] + ")"
	}
	text := g.newCondition(depth)
	g.before = append(g.before, text)
	return text
}

func (g *generator) newCondition(depth int) string {
	if depth > 0 {
		switch g.IntN(4) {
		case 0:
			return "not (" + g.condition(depth-1) + ")"
		case 1:
			return "(" + g.condition(depth-1) + " or " + g.condition(depth-1) + ")"
		case 2:
			return "(" + g.condition(depth-1) + " and " + g.condition(depth-1) + ")"
		}
	}
	field := g.pick("t.a", "t.b", "t.c", "t.sys", "tolower(t.a)", "tolower(t.b)", "t.constant")
	switch g.IntN(9) {
	case 0:
		return g.pick("t.n", "t.m", "len(t.a)") + g.pick(" = ", " != ", " < ", " >= ") + g.pick("0", "1", "2", "3")
	case 1:
		return field + " exists"
	case 2:
		return field + g.pick(" in (", " intersects (", " pmatch (") + g.list() + ")"
	case 3:
		return field + g.pick(" = ", " contains ", " glob ", " startswith ", " endswith ") + g.pick("oneof (", "anyof (", "allof (") + g.list() + ")"
	case 4:
		return g.pick("t.a", "t.b", "t.sys") + g.pick(" = ", " != ", " startswith ", " contains ") + g.pick("val(t.b)", "val(t.a)", "tolower(t.b)")
	case 5:
		return "evt.type" + g.pick(" = ", " != ") + g.pick("container", "execve", "open")
	case 6:
		return "evt.type in (" + g.pick("container", "execve", "open") + ", " + g.pick("container", "execve", "open") + ")"
	case 7:
		return field + " glob " + g.pick("x*", "*y", "*", "x*y", "x")
	}
	return field + g.pick(" = ", " != ", " contains ", " icontains ", " startswith ", " endswith ") + g.text()
}

func (g *generator) list() string {
	return strings.TrimSuffix(strings.Repeat(g.pick("x", "y", "xy", "/x", "X")+", ", g.IntN(3))+g.text()+", ", ", ")
}

func (g *generator) event() mapEvent {
	ev := mapEvent{"evt.type": StringValue(g.pick("container", "execve", "open", "close", "of no kind"))}
	for _, name := range []string{"t.a", "t.b", "t.c", "t.sys"} {
		if g.IntN(4) > 0 {
			ev[name] = StringValue(strings.Trim(g.text(), "'"))
		}
	}
	for _, name := range []string{"t.n", "t.m"} {
		if g.IntN(4) > 0 {
			ev[name] = IntValue(g.Int64N(4))
		}
	}
	ev["t.constant"] = StringValue(g.pick("x", "y"))
	if ev.Type() == "container" {
		delete(ev, "t.sys")
		ev["t.constant"] = StringValue("x")
	}
	return ev
}

// checkSeed compares a ruleset of generated conditions with the reference.
func checkSeed(t *testing.T, seed uint64) {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	var trees []Expr
	var rules []*Rule
	for n := 1 + g.IntN(20); len(trees) < n; {
		text := g.condition(g.IntN(5))
		if g.IntN(2) == 0 {
			text = g.pick("t.a", "t.b") + g.pick(" = x", " in (y, xy)", " = yx", " in (X)") + " and (" + text + ")"
		}
		e, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		cond, err := CompileExpr(e, text, strange)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		trees = append(trees, e)
		rules = append(rules, &Rule{Name: text, Enabled: true, Expr: e, cond: cond, types: eventTypes(e)})
	}
	set := newRuleset(rules, nil, &Options{})
	only := newRuleset(rules, nil, &Options{Matching: MatchFirst})
	for range 8 {
		ev := g.event()
		if got, all := only.Evaluate(nil, ev), set.Evaluate(nil, ev); !slices.Equal(got, all[:min(1, len(all))]) {
			t.Errorf("event %v: the first is %v, of %v", ev, got, all)
		}
		matched := set.Evaluate(nil, ev)
		for i, r := range rules {
			want := judge(trees[i], ev)
			if got := r.Match(ev); got != want {
				t.Errorf("%s\nevent %v\n got %v, want %v", r.Name, ev, got, want)
			}
			if got := slices.Contains(matched, r); got != want {
				t.Errorf("in a ruleset: %s\nevent %v\n got %v, want %v", r.Name, ev, got, want)
			}
		}
	}
}

func TestAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		checkSeed(t, seed)
	}
}

func FuzzAgainstReference(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkSeed(t, seed) })
}
