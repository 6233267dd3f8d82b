package jsonevent_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/jsonevent"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line, condition string
		want            bool
	}{
		{`{"fields":{"container.image.tag":"latest"}}`, `container.image.tag = latest`, true},
		{`{"fields":{"container.image.tag":null}}`, `container.image.tag != latest`, false},
		{`{"fields":{}}`, `container.image.tag exists`, false},
		{`{"fields":{"proc.pid":9223372036854775807}}`, `proc.pid = 9223372036854775807`, true},
		{`{"fields":{"a.b":18446744073709551615}}`, `a.b > 18446744073709551614`, true},
		{`{"fields":{"proc.pid":"12"},"types":{"proc.pid":"uint32"}}`, `proc.pid < 13`, true},
		{`{"fields":{"a.b":1.5}}`, `a.b > 1`, true},
		{`{"fields":{"fd.sip":"10.0.0.1"},"types":{"fd.sip":"ipaddr"}}`, `fd.sip = 10.0.0.1`, true},
		{`{"fields":{"evt.arg.data":{"hex":"00ff"}},"types":{"evt.arg.data":"bytebuf"}}`, `evt.arg.data bcontains 00ff`, true},
		{`{"fields":{"proc.aname":["sh","cron"]}}`, `proc.aname intersects (cron, at)`, true},
		{`{"fields":{"proc.aname[2]":"cron"}}`, `proc.aname[2] = cron`, true},
		{`{"fields":{"proc.aname[2]":"cron"}}`, `proc.aname[3] = cron`, false},
		{`{"fields":{"x.y":true}}`, `x.y = true`, true},
	} {
		ev, err := jsonevent.Parse([]byte(tc.line), nil)
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		c, err := falco.Compile(tc.condition, ev.Catalog(falco.DefaultCatalog()))
		if err != nil {
			t.Errorf("%s: %s: %v", tc.line, tc.condition, err)
			continue
		}
		if got := c.Match(ev); got != tc.want {
			t.Errorf("%s: %s: got %v, want %v", tc.line, tc.condition, got, tc.want)
		}
	}
}

func TestTypesOfACatalogue(t *testing.T) {
	t.Parallel()
	cat := falco.DefaultCatalog()
	ev, err := jsonevent.Parse([]byte(`{"fields":{"evt.type":"open","proc.pid":7,"fd.sport":"443"}}`), cat)
	if err != nil {
		t.Fatal(err)
	}
	c, err := falco.Compile("evt.type = open and proc.pid = 7 and fd.sport = 443", cat)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Match(ev) || ev.Type() != "open" {
		t.Errorf("type %q, match %v; want open and a match", ev.Type(), c.Match(ev))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		``:                             "EOF",
		`[]`:                           "not an event",
		`{}`:                           `"fields" is missing`,
		`{"fields":{}} x`:              "text after the object",
		`{"fields":{"":"x"}}`:          "not the name of a field",
		`{"fields":{"a[":1}}`:          "not the name of a field",
		`{"fields":{"a":{"x":1}}}`:     `want {"hex": "…"}`,
		`{"fields":{"a":{"hex":"0"}}}`: "odd length",
		`{"fields":{"a":"x"},"types":{"a":"word"}}`:               `unknown type "word"`,
		`{"fields":{"a":"x"},"types":{"b":"bool"}}`:               "not among the fields",
		`{"fields":{"a":-1},"types":{"a":"uint8"}}`:               "invalid syntax",
		`{"fields":{"a":256},"types":{"a":"uint8"}}`:              "out of range",
		`{"fields":{"a":"true"},"types":{"a":"bool"}}`:            "without quotes",
		`{"fields":{"a":true},"types":{"a":"charbuf"}}`:           "cannot be written like this",
		`{"fields":{"a":["1.2.3.4","x"]},"types":{"a":"ipaddr"}}`: "item 1",
		`{"fields":{"a":1e999}}`:                                  "out of range",
	} {
		if _, err := jsonevent.Parse([]byte(line), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want …%s…", line, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"condition":"a = b","fields":{"a":["x",null],"b[1]":{"hex":"00"},"c":1.5},"types":{"b[1]":"bytebuf"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, err := jsonevent.Parse(line, falco.DefaultCatalog())
		if err != nil {
			return
		}
		if c, err := falco.Compile(ev.Condition, ev.Catalog(falco.DefaultCatalog())); err == nil {
			c.Match(ev)
		}
	})
}

// TestConformance runs the cases that the real Falco engine decided.
func TestConformance(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("TAGWARDEN_CONFORMANCE")
	if dir == "" {
		t.Skip("TAGWARDEN_CONFORMANCE does not name the folder of conformance cases")
	}
	f, err := os.Open(filepath.Join(dir, "falco", "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, n := bufio.NewScanner(f), 0
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c conformanceCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if r := c.ConditionRepeat; len(r) == 2 {
			c.Condition = strings.Repeat(r[0].(string), int(r[1].(float64)))
		}
		n++
		if got := c.run(t, in.Bytes()); got != c.Expect {
			t.Errorf("%s: %s\n%.200s\n%s\n got %v\nwant %v", c.Source, c.Mode, c.Condition, in.Bytes(), got, c.Expect)
		}
	}
	if err := in.Err(); err != nil || n < 1000 {
		t.Fatalf("%d cases, %v", n, err)
	}
	t.Logf("%d cases", n)
}

type conformanceCase struct {
	Source, Mode, Condition string
	Expect                  any
	ExpectWarnings          *int  `json:"expect_warnings"`
	ConditionRepeat         []any `json:"condition_repeat"`
}

// run gives the answer in the words of the cases.
func (c *conformanceCase) run(t *testing.T, line []byte) any {
	t.Helper()
	if c.Mode == "parse" {
		if _, err := falco.Parse(c.Condition); err != nil {
			return "parse-error"
		}
		return "parse-ok"
	}
	ev, err := jsonevent.Parse(line, nil)
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return nil
	}
	cond, err := falco.Compile(c.Condition, ev.Catalog(falco.DefaultCatalog()))
	var parse *falco.ParseError
	var compile *falco.CompileError
	switch {
	case errors.As(err, &parse):
		return "parse-error"
	case errors.As(err, &compile):
		return "compile-error"
	case err != nil:
		return err
	}
	if c.ExpectWarnings != nil && len(cond.Warnings) != *c.ExpectWarnings {
		t.Errorf("%s: %s: %d warnings %q, want %d", c.Source, c.Condition, len(cond.Warnings), cond.Warnings, *c.ExpectWarnings)
	}
	if c.Mode == "compile" {
		return "compile-ok"
	}
	return cond.Match(ev)
}
