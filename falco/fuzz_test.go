package falco

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cases are the lines of a file of conformance cases, if the folder is there.
func cases[T any](f *testing.F, file string) []T {
	f.Helper()
	dir := os.Getenv("TAGWARDEN_CONFORMANCE")
	if dir == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, "falco", file))
	if err != nil {
		f.Fatal(err)
	}
	var all []T
	for line := range strings.Lines(string(data)) {
		var c T
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			f.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// FuzzParse: what is printed reads as the same, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a", "a or b and not c", `a.b["x"] = "\x41\"" and not (c.d in (x, 'y z'))`, "a.b startswith anyof (x)", "a.b >= -0x1F",
		`getopt(concat(a.b, "x"), "ab:")[b] = val(c.d)`, `join("-", (a.b, 3)) exists`, "((((a))))", "not not(a)", "a.b = oneof",
	} {
		f.Add(s)
	}
	for _, c := range cases[struct{ Condition string }](f, "cases.jsonl") {
		f.Add(c.Condition)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		again, perr := parse(e.String(), maxDepthRules, nil)
		if perr != nil {
			t.Fatalf("%q is printed as %q, which does not parse: %v", s, e, perr)
		}
		if again.String() != e.String() {
			t.Fatalf("%q is printed as %q, which reads as %q", s, e, again)
		}
	})
}

// FuzzUnquote: a quoted text reads as what it was.
func FuzzUnquote(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\"\\'\n\x7fä\xff")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		got, err := unquote(q[1:len(q)-1], '"')
		if err != nil || got != s {
			t.Fatalf("%q is quoted as %s, which reads as %q, %v", s, q, got, err)
		}
		_, _ = unquote(s, '"')
		_, _ = unquote(s, '\'')
	})
}

// FuzzMatch: operators agree with what they are made of, and nothing panics.
func FuzzMatch(f *testing.F) {
	f.Add("t.s glob a[b-", "x")
	f.Add("t.s regex '(a|b)*[[:alpha:]]{1,3}'", "ab")
	f.Add("t.path pmatch (/a/*/b, '')", "/a/x/b/c")
	f.Add("b64(t.s) bcontains 41", "QQ==")
	f.Add(`getopt(t.args, "a:b") intersects (a)`, "-a")
	for _, c := range cases[struct{ Mode, Condition string }](f, "cases.jsonl") {
		if c.Mode != "parse" {
			f.Add(c.Condition, "x")
		}
	}
	f.Fuzz(func(t *testing.T, cond, value string) {
		if c, err := Compile(cond, DefaultCatalog()); err == nil {
			for seed := range byte(4) {
				ev := hashedEvent{"execve", seed}
				if got, want := c.Match(ev), plain(c.tree, ev); got != want {
					t.Fatalf("%s on %v: got %v, want %v", cond, ev, got, want)
				}
			}
		}
		c, err := Compile(cond, testCatalog)
		if err != nil {
			return
		}
		ev := testEvent()
		ev["t.s"], ev["t.path"], ev["t.bytes"] = StringValue(value), StringValue(value), StringValue(value)
		ev["t.args"] = ListValue(StringValue(value), StringValue("x"))
		if first := c.Match(ev); c.Match(ev) != first || plain(c.tree, ev) != first {
			t.Fatal("two answers for one event")
		}
		c.Match(mapEvent{})
		// A value of another type than the catalogue says is the embedding
		// program's mistake, and no reason to panic.
		for name := range ev {
			ev[name] = IntValue(1)
		}
		c.Match(ev)
		for name := range ev {
			ev[name] = ListValue(StringValue(value))
		}
		c.Match(ev)
	})
}

// FuzzLoad: no file makes the loader panic or give nothing at all.
func FuzzLoad(f *testing.F) {
	f.Add("- list: l\n  items: [a, b]\n- macro: m\n  condition: proc.name in (l)\n" + rule("r", "evt.type = open and m", "exceptions:", "- {name: x, fields: proc.name, values: [a]}"))
	f.Add("- rule: r\n  condition: or a.b = c\n  append: true\n")
	f.Add(rule("r", "evt.type = open") + "- rule: r\n  output: x %proc.name\n  override:\n    output: append\n")
	if data, err := os.ReadFile("testdata/lab-010.yaml"); err == nil {
		f.Add("- macro: container\n  condition: (container.id != host)\n" + string(data))
	}
	for _, c := range cases[struct{ Files []string }](f, "loader_cases.jsonl") {
		for _, text := range c.Files {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, results := Load([]File{file(text), file(text)}, Options{})
		if len(results) == 0 || (set == nil) == results[len(results)-1].Successful() {
			t.Fatal("no answer")
		}
		if _, err := json.Marshal(results); err != nil {
			t.Fatal(err)
		}
		if set == nil {
			return
		}
		checkPlain(t, set)
		for _, ev := range []Event{newStart(), mapEvent{"evt.type": StringValue("open")}, mapEvent{}} {
			set.Evaluate(nil, ev)
		}
		for _, r := range set.Rules() {
			a := r.Alert(newStart(), time.Unix(0, 1), "host")
			if line := a.AppendText(nil); strings.ContainsAny(string(line), "\n\r") {
				t.Fatalf("an alert of two lines: %q", line)
			}
			if !json.Valid(a.AppendJSON(nil)) {
				t.Fatalf("not JSON: %s", a.AppendJSON(nil))
			}
			set.Advise(r)
		}
	})
}

// FuzzOutput: a template that compiles renders.
func FuzzOutput(f *testing.F) {
	f.Add("a %t.s %12t.i %tolower(t.s) %t.key[x] %", "v")
	f.Fuzz(func(t *testing.T, template, value string) {
		o, err := ParseOutput(template, testCatalog)
		if err != nil {
			return
		}
		ev := testEvent()
		ev["t.s"] = StringValue(value)
		if text := o.Render(ev); !strings.Contains(template, "%") && text != strings.TrimPrefix(template, "*") {
			t.Fatalf("%q renders as %q", template, text)
		}
	})
}
