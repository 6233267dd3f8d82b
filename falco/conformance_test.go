package falco

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// conformance is the folder of cases that the real Falco engine decided.
func conformance(t testing.TB, file ...string) string {
	t.Helper()
	dir := os.Getenv("TAGWARDEN_CONFORMANCE")
	if dir == "" {
		t.Skip("TAGWARDEN_CONFORMANCE does not name the folder of conformance cases")
	}
	return filepath.Join(append([]string{dir, "falco"}, file...)...)
}

// conformanceTypes are the type names of the cases.
var conformanceTypes = map[string]Type{
	"charbuf": String, "fspath": Path, "int8": Int8, "int16": Int16, "int32": Int32, "int64": Int64,
	"uint8": Uint8, "uint16": Uint16, "uint32": Uint32, "uint64": Uint64, "double": Double, "bool": Bool,
	"bytebuf": Bytes, "ipaddr": IPAddr, "ipnet": IPNet, "port": Port, "abstime": AbsTime, "reltime": RelTime,
}

type conformanceCase struct {
	Source, Mode, Condition string
	Fields                  map[string]any
	Types                   map[string]string
	Expect                  any
	ExpectWarnings          *int  `json:"expect_warnings"`
	ConditionRepeat         []any `json:"condition_repeat"`
}

// mapEvent is an event whose fields stand in a map.
type mapEvent map[string]Value

func (e mapEvent) Type() string { return e["evt.type"].str }

func (e mapEvent) Field(f *FieldRef) Value {
	if v, ok := e[f.String()]; ok {
		return v
	}
	return e[f.Name]
}

// build makes the catalogue and the event of a case.
func (c *conformanceCase) build(t testing.TB) (*Catalog, mapEvent) {
	t.Helper()
	cat, ev := &Catalog{fields: map[string]*Field{}}, mapEvent{}
	for name, f := range DefaultCatalog().fields {
		if strings.HasPrefix(name, "container.") || strings.HasPrefix(name, "k8s.") {
			cat.fields[name] = f
		}
	}
	for name, raw := range c.Fields {
		typ, known := conformanceTypes[c.Types[name]]
		if !known {
			if c.Types[name] != "" {
				t.Fatalf("type %q", c.Types[name])
			}
			switch raw.(type) {
			case bool:
				typ = Bool
			case float64:
				typ = Int64
			}
		}
		_, isList := raw.([]any)
		bare, _, hasArg := strings.Cut(name, "[")
		f := &Field{Name: bare, Type: typ, List: isList, Arg: OptArg}
		if old := cat.fields[bare]; old != nil && !hasArg {
			f.Arg = old.Arg
		}
		cat.fields[bare] = f
		ev[name] = conformanceValue(t, typ, raw)
	}
	return cat, ev
}

func conformanceValue(t testing.TB, typ Type, raw any) Value {
	t.Helper()
	switch raw := raw.(type) {
	case nil:
		return Value{}
	case []any:
		var items []Value
		for _, r := range raw {
			items = append(items, conformanceValue(t, typ, r))
		}
		return ListValue(items...)
	case map[string]any:
		b, err := hex.DecodeString(raw["hex"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return StringValue(string(b))
	case bool:
		return BoolValue(raw)
	case float64:
		if typ == Double {
			return FloatValue(raw)
		}
		return IntValue(int64(raw))
	case string:
		switch {
		case typ == IPAddr || typ == IPNet:
			a, err := netip.ParseAddr(raw)
			if err != nil {
				t.Fatal(err)
			}
			return IPValue(a)
		case typ.isNumber():
			n, err := parseNumber(typ, raw)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		return StringValue(raw)
	}
	t.Fatalf("value %T", raw)
	return Value{}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	f, err := os.Open(conformance(t, "cases.jsonl"))
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
		if got := c.run(t); fmt.Sprint(got) != fmt.Sprint(c.Expect) {
			t.Errorf("%s: %s\n%.200s\nfields %v types %v\n got %v\nwant %v", c.Source, c.Mode, c.Condition, c.Fields, c.Types, got, c.Expect)
		}
	}
	if err := in.Err(); err != nil || n < 1000 {
		t.Fatalf("%d cases, %v", n, err)
	}
	t.Logf("%d cases", n)
}

// run gives the answer in the words of the cases.
func (c *conformanceCase) run(t *testing.T) any {
	t.Helper()
	if c.Mode == "parse" {
		if _, err := Parse(c.Condition); err != nil {
			return "parse-error"
		}
		return "parse-ok"
	}
	cat, ev := c.build(t)
	cond, err := Compile(c.Condition, cat)
	var parse *ParseError
	var compile *CompileError
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
