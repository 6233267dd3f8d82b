package falco

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOutput(t *testing.T) {
	t.Parallel()
	ev := testEvent()
	ev["t.control"] = StringValue("a\nb\x1b[2J")
	cat := testCatalog.With(Field{Name: "t.control"})
	for _, tc := range []struct{ template, want string }{
		{"plain", "plain"},
		{"a=%t.s b=%t.null.", "a=Hello b=<NA>."},
		{"*%t.s%t.i", "Hello-5"},
		{"%8t.s|%3t.s|%0t.s", "Hello   |Hel|Hello"},
		{"%t.key[app] %t.at[2] %t.at", "web second any"},
		{"%tolower(t.s) %join(\",\", (t.s, t.i))", "hello Hello,-5"},
		{"%t.list %t.bool %t.u %t.f %t.ip", "(file,pipe) true 9223372036854775808 2.5 10.1.2.3"},
		{"%t.sx %t.s.", "Hellox Hello."},
		{"%len(t.null)", "<NA>"},
	} {
		o, err := ParseOutput(tc.template, cat)
		if err != nil {
			t.Errorf("%s: %v", tc.template, err)
			continue
		}
		if got := o.Render(ev); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.template, got, tc.want)
		}
	}
	for template, want := range map[string]string{
		"%":            "cannot end with a %",
		"a %12":        "cannot end with a number",
		"%no.such":     "unknown filter: ",
		"% t.s":        "unknown filter: unexpected token after '', expecting a field",
		"%t.key":       "needs an argument",
		"100%":         "cannot end with a %",
		"%tolower(t.s": "unknown filter: ",
	} {
		if _, err := ParseOutput(template, cat); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", template, err, want)
		}
	}
}

// alertRules have an output of every kind of value.
func alertOf(t *testing.T, output string, opt Options) Alert {
	t.Helper()
	text := "- rule: Some <rule>\n  desc: d\n  condition: evt.type = container\n  output: '" + output + "'\n  priority: WARNING\n  tags: [b, a]\n"
	opt.Catalog = DefaultCatalog().With(testCatalog.fieldsOf("t.s", "t.i", "t.bool", "t.null", "t.f", "t.list")...)
	set, results := Load([]File{file(text)}, opt)
	if set == nil {
		t.Fatal(problems(results))
	}
	ev := testEvent()
	ev["evt.type"] = StringValue("container")
	ev["t.s"] = StringValue("a\"b\n\xff<c>")
	at := time.Date(2026, 11, 23, 7, 5, 3, 42, time.UTC)
	return set.Rules()[0].Alert(ev, at, "node-1")
}

func (c *Catalog) fieldsOf(names ...string) (all []Field) {
	for _, name := range names {
		all = append(all, *c.fields[name])
	}
	return all
}

func TestAlert(t *testing.T) {
	t.Parallel()
	a := alertOf(t, "Seen (s=%t.s i=%t.i low=%tolower(t.s) bool=%t.bool null=%t.null f=%t.f list=%t.list at=%evt.time.iso8601)", Options{})
	const text = "07:05:03.000000042: Warning Seen (s=a\"b\\n\xff<c> i=-5 low=a\"b\\n\xff<c> bool=true null=<NA> f=2.5 list=(file,pipe) at=<NA>)"
	if got := string(a.AppendText([]byte("> "))); got != "> "+strings.ToValidUTF8(text, "\uFFFD") {
		t.Errorf("got\n%q\nwant\n%q", got, text)
	}
	const line = `{"hostname":"node-1","output":"07:05:03.000000042: Warning Seen (s=a\"b\n\ufffd<c> i=-5 low=a\"b\n\ufffd<c> bool=true null=<NA> f=2.5 list=(file,pipe) at=<NA>)",` +
		`"output_fields":{"evt.time":1795417503000000042,"evt.time.iso8601":1795417503000000042,"t.bool":true,"t.f":2.5,"t.i":-5,"t.list":["file","pipe"],"t.null":null,"t.s":"a\"b\n\ufffd<c>"},` +
		`"priority":"Warning","rule":"Some <rule>","source":"syscall","tags":["a","b"],"time":"2026-11-23T07:05:03.000000042Z"}`
	if diff := cmp.Diff(line, string(a.AppendJSON(nil))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAlertInAnotherZone(t *testing.T) {
	t.Parallel()
	a := alertOf(t, "x", Options{})
	a.Time = a.Time.In(time.FixedZone("", 3600))
	var out struct{ Output, Time string }
	if err := json.Unmarshal(a.AppendJSON(nil), &out); err != nil {
		t.Fatal(err)
	}
	if out.Output != "08:05:03.000000042: Warning x" || out.Time != "2026-11-23T07:05:03.000000042Z" {
		t.Errorf("got %+v", out)
	}
}

func TestAppendOutput(t *testing.T) {
	t.Parallel()
	a := alertOf(t, "x", Options{Append: []AppendOutput{
		{Output: "one=%t.i"},
		{Source: "other", Output: "no"},
		{Rule: "Some <rule>", Tags: []string{"a", "b"}, Output: "two", Fields: []ExtraField{{Name: "t.i"}, {Name: "text", Format: "i is %t.i"}}},
		{Tags: []string{"a", "c"}, Output: "no"},
		{Output: SuggestedOutput},
	}})
	if want := "x one=-5 two container_id=<NA>"; !strings.HasPrefix(a.Output, want) {
		t.Errorf("got %q, want %q", a.Output, want)
	}
	if a.Fields["t.i"] != int64(-5) || a.Fields["text"] != "i is -5" {
		t.Errorf("got fields %v", a.Fields)
	}
	set, results := Load([]File{file(rule("r", "evt.type = open"))}, Options{Append: []AppendOutput{{Fields: []ExtraField{{Name: "no.such"}}}}})
	if set != nil || results[0].Errors[0].Code != ErrCompileOutput {
		t.Errorf("an unknown field loads: %v", problems(results))
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		v    Value
		text string
		any  any
	}{
		{Value{}, "<NA>", nil},
		{StringValue(""), "", ""},
		{BytesValue([]byte("x")), "x", "x"},
		{BoolValue(false), "false", false},
		{IntValue(-1), "-1", int64(-1)},
		{UintValue(1), "1", uint64(1)},
		{FloatValue(math.NaN()), "NaN", nil},
		{FloatValue(0.5), "0.5", 0.5},
		{ListValue(), "()", []any{}},
		{ListValue(IntValue(1), StringValue("b")), "(1,b)", []any{int64(1), "b"}},
	} {
		if got := tc.v.String(); got != tc.text {
			t.Errorf("got %q, want %q", got, tc.text)
		}
		if diff := cmp.Diff(tc.any, tc.v.Any()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.text, diff)
		}
		if tc.v.IsNull() != (tc.any == nil && tc.text == "<NA>") {
			t.Errorf("%s: IsNull is %v", tc.text, tc.v.IsNull())
		}
	}
}
