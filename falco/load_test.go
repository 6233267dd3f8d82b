package falco

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file makes a file of rules in which short{…} stands for a whole rule.
func file(text string) File { return File{"rules.yaml", []byte(text)} }

// rule is a rule of that name and condition.
func rule(name, condition string, more ...string) string {
	return fmt.Sprintf("- rule: %s\n  desc: d\n  condition: %s\n  output: o\n  priority: INFO\n  %s\n", name, condition, strings.Join(more, "\n  "))
}

const started = "evt.type = container and "

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files []string
		want  []string // rules as "name: condition", or problems
	}{
		{
			"lists are written out as text",
			[]string{
				"- list: inner\n  items: [a, b c]\n- list: outer\n  items: [inner, d]\n" + rule("r", started+"proc.name in (x, outer)"),
			},
			[]string{`r: (evt.type = container and proc.name in (x, a, "b c", d))`},
		},
		{
			"a list that is defined later is written out, too",
			[]string{
				"- list: outer\n  items: [inner, d]\n- list: inner\n  items: [a]\n" + rule("r", started+"proc.name in (outer)"),
			},
			[]string{"r: (evt.type = container and proc.name in (a, d))"},
		},
		{
			"an empty list takes a comma along",
			[]string{
				"- list: none\n  items: []\n" + rule("r", started+"proc.name in (a, none, b) and proc.pname in (none, c) and proc.exe in (none)"),
			},
			[]string{"r: (evt.type = container and proc.name in (a, b) and proc.pname in (c) and proc.exe in ())"},
		},
		{
			"a list is also written out where a value was meant",
			[]string{
				"- list: latest\n  items: [a, b]\n" + rule("r", started+"container.image.tag = latest"),
			},
			[]string{"error LOAD_ERR_COMPILE_CONDITION unexpected token after 'a', expecting 'or', 'and'"},
		},
		{
			"unless the value stands in quotes",
			[]string{
				"- list: latest\n  items: [a, b]\n" + rule("r", `'`+started+`container.image.tag = "latest" and container.name in (latest)'`),
			},
			[]string{"r: (evt.type = container and container.image.tag = latest and container.name in (a, b))"},
		},
		{
			"an undefined list is a text",
			[]string{rule("r", started+"container.image.repository in (known_images)")},
			[]string{"r: (evt.type = container and container.image.repository in (known_images))"},
		},
		{
			"a macro is a unit",
			[]string{
				"- macro: m\n  condition: proc.name = a or proc.name = b\n" + rule("r", "evt.type = open and m"),
			},
			[]string{"r: (evt.type = open and (proc.name = a or proc.name = b))"},
		},
		{
			"a rule sees macros of later files",
			[]string{rule("r", "evt.type = open"), "- macro: m\n  condition: evt.type = open\n" + rule("s", "m")},
			[]string{"r: evt.type = open", "s: evt.type = open"},
		},
		{
			"a macro does not see later macros",
			[]string{
				"- macro: a\n  condition: b\n- macro: b\n  condition: evt.type = open\n" + rule("r", "a"),
			},
			[]string{"error LOAD_ERR_VALIDATE Undefined macro 'b' used in filter."},
		},
		{
			"a macro in itself is undefined",
			[]string{"- macro: a\n  condition: a\n" + rule("r", "a")},
			[]string{"error LOAD_ERR_VALIDATE Undefined macro 'a' used in filter."},
		},
		{
			"macros in a circle",
			[]string{"- macro: a\n  condition: evt.type = open\n- macro: b\n  condition: a\n- macro: a\n  condition: b\n" + rule("r", "a")},
			[]string{"error LOAD_ERR_VALIDATE reference loop in macro 'a'"},
		},
		{
			"text that is appended follows the text",
			[]string{
				rule("r", "evt.type = open and proc.name = a"), "- rule: r\n  condition: or proc.name = b\n  override:\n    condition: append\n",
			},
			[]string{
				"warning LOAD_NO_EVTTYPE Rule matches too many evt.type values. This has a significant performance penalty.",
				"r: ((evt.type = open and proc.name = a) or proc.name = b)",
			},
		},
		{
			"exceptions",
			[]string{rule("r", "evt.type = open", "exceptions:",
				"- {name: one, fields: proc.name, values: [a, b c]}",
				"- {name: two, fields: [proc.name, fd.name], comps: [=, startswith], values: [[x, /y], [z, /w]]}",
				"- {name: three, fields: [proc.name], comps: [in], values: [[[p, q]]]}",
				"- {name: none, fields: proc.exe}")},
			[]string{`r: (evt.type = open and not proc.name in (a, "b c") and not ((proc.name = x and fd.name startswith /y) or (proc.name = z and fd.name startswith /w)) and not proc.name in (p, q))`},
		},
		{
			"values are added to an exception",
			[]string{
				rule("r", "evt.type = open", "exceptions:", "- {name: one, fields: proc.name, values: [a]}"),
				"- rule: r\n  exceptions:\n  - {name: one, values: [b]}\n  override:\n    exceptions: append\n",
			},
			[]string{"r: (evt.type = open and not proc.name in (a, b))"},
		},
		{
			"a rule is replaced in its place",
			[]string{
				rule("r", "evt.type = open") + rule("s", "evt.type = close"), rule("r", "evt.type = execve"),
			},
			[]string{"r: evt.type = execve", "s: evt.type = close"},
		},
		{
			"keys are replaced",
			[]string{
				rule("r", "evt.type = open"), "- rule: r\n  condition: evt.type = close\n  priority: ERROR\n  override:\n    condition: replace\n    priority: replace\n",
			},
			[]string{"r: evt.type = close"},
		},
		{
			"a key that stands twice",
			[]string{"- rule: r\n  desc: a\n  desc: b\n  condition: evt.type = open\n  output: o\n  priority: INFO\n"},
			[]string{"r: evt.type = open"},
		},
		{
			"documents, null items and aliases",
			[]string{"---\n-\n- &r\n  rule: r\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n---\n---\n# nothing\n"},
			[]string{"r: evt.type = open"},
		},
		{
			"an unknown field",
			[]string{rule("r", started+"\n    no.such = 1")},
			[]string{"error LOAD_ERR_COMPILE_CONDITION filter_check called with nonexistent field no.such"},
		},
		{
			"an unknown field that may be",
			[]string{rule("r", started+"no.such = 1", "skip-if-unknown-filter: true")},
			[]string{"warning LOAD_UNKNOWN_FILTER filter_check called with nonexistent field no.such"},
		},
		{
			"an unknown event type",
			[]string{rule("r", "evt.type in (open, opne)")},
			[]string{"error LOAD_ERR_COMPILE_CONDITION unknown event type opne"},
		},
		{
			"another source",
			[]string{rule("r", "ka.verb = get", "source: k8s_audit")},
			[]string{"warning LOAD_UNKNOWN_SOURCE Unknown source k8s_audit, skipping"},
		},
		{
			"unknown things",
			[]string{"- foo: bar\n" + rule("r", "evt.type = open", "enable: true")},
			[]string{"warning LOAD_UNKNOWN_ITEM Unknown top level item", "warning LOAD_UNKNOWN_KEY Unknown key 'enable'. The key will be ignored.", "r: evt.type = open"},
		},
		{
			"things that nobody uses",
			[]string{"- list: l\n  items: [a]\n- macro: m\n  condition: evt.type = open\n" + rule("r", "evt.type = open")},
			[]string{"warning LOAD_UNUSED_MACRO Macro not referred to by any other rule/macro", "warning LOAD_UNUSED_LIST List not referred to by any other rule/macro", "r: evt.type = open"},
		},
		{
			"no desc",
			[]string{"- rule: r\n  condition: evt.type = open\n  output: o\n  priority: INFO\n"},
			[]string{"error LOAD_ERR_YAML_VALIDATE Item has no mapping for key 'desc'"},
		},
		{
			"a wrong priority",
			[]string{strings.Replace(rule("r", "evt.type = open"), "INFO", "HIGH", 1)},
			[]string{"error LOAD_ERR_YAML_VALIDATE Invalid priority"},
		},
		{
			"a number of the engine",
			[]string{"- required_engine_version: 26\n- required_engine_version: 0.50.0\n" + rule("r", "evt.type = open")},
			[]string{"r: evt.type = open"},
		},
		{
			"a newer engine",
			[]string{"- required_engine_version: 0.1000.0\n"},
			[]string{"error LOAD_ERR_VALIDATE Rules require engine version 0.1000.0, but engine version is 0.63.0"},
		},
		{"plugins", []string{"- required_plugin_versions:\n  - {name: k8smeta, version: 0.1.0, alternatives: [{name: other, version: 1.0.0}]}\n"}, nil},
		{
			"a plugin without a version",
			[]string{"- required_plugin_versions:\n  - {name: k8smeta, version: new}\n"},
			[]string{"error LOAD_ERR_VALIDATE Invalid required version 'new' for plugin 'k8smeta'"},
		},
		{
			"exceptions with empty fields, or empty operators, which count as none",
			[]string{rule("r", "evt.type = open", "exceptions:", "- {name: a, fields: [proc.name], comps: [], values: [[x]]}", "- {name: b, fields: proc.name, comps: , values: [x]}")},
			[]string{"r: (evt.type = open and not proc.name = x and not proc.name in (x))"},
		},
		{
			"an exception of no field",
			[]string{rule("r", "evt.type = open", "exceptions:", "- {name: a, fields: [], values: [[x]]}")},
			[]string{"error LOAD_ERR_VALIDATE Rule exception item must have fields property with a list of fields"},
		},
		{
			"deprecated fields, each once",
			[]string{rule("r", "evt.type = open and evt.latency.human = 0ns and evt.dir = < and tolower(evt.dir) = '<'", "override: {}") + "- rule: r\n  output: at %evt.latency.s\n  override: {output: replace}\n"},
			[]string{
				"warning LOAD_DEPRECATED_ITEM usage of deprecated field 'evt.latency' has been detected in the rule output",
				"warning LOAD_DEPRECATED_ITEM usage of deprecated field 'evt.latency.s' has been detected in the rule output",
				"warning LOAD_DEPRECATED_ITEM due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to false. The rule expression can be simplified by removing the condition on 'evt.dir'",
				"warning LOAD_DEPRECATED_ITEM usage of deprecated field 'evt.latency.human' has been detected in the rule condition",
				"r: (evt.type = open and evt.latency.human = 0ns and evt.dir = < and tolower(evt.dir) = <)",
			},
		},
		{
			"an event type must be one, whatever it is asked",
			[]string{rule("r", "evt.type startswith exec")},
			[]string{"error LOAD_ERR_COMPILE_CONDITION unknown event type exec"},
		},
		{
			"fields that stand in conditions alone",
			[]string{rule("r", "evt.type = connect and fd.net = 10.0.0.0/8") + "- rule: r\n  output: to %fd.ip\n  override: {output: replace}\n"},
			[]string{"error LOAD_ERR_COMPILE_OUTPUT unknown filter: fd.ip is filter only and cannot be used as a display field"},
		},
		{
			"fields that are compared with constants alone",
			[]string{rule("r", "evt.type = execve and tolower(proc.aname[2]) = x")},
			[]string{"error LOAD_ERR_COMPILE_CONDITION field 'proc.aname' does not support transformers"},
		},
		{
			"and with no other field",
			[]string{rule("r", "evt.type = execve and proc.name = val(proc.aname[2])")},
			[]string{"error LOAD_ERR_COMPILE_CONDITION field 'proc.aname' can't be compared with another field"},
		},
		{
			"true and false in yaml",
			[]string{rule("r", "evt.type = open", "warn_evttypes: yES")},
			[]string{"error LOAD_ERR_YAML_VALIDATE Can't decode YAML scalar value"},
		},
		{"text", []string{"hello"}, []string{"error LOAD_ERR_YAML_VALIDATE Rules content is not yaml"}},
		{"an object", []string{"a: b"}, []string{"error LOAD_ERR_YAML_VALIDATE Rules content is not yaml array of objects"}},
		{"nothing", []string{""}, nil},
		{
			"a comment in a condition",
			[]string{"- rule: r\n  desc: d\n  condition: |\n    evt.type = open\n    # and more\n  output: o\n  priority: INFO\n"},
			[]string{"error LOAD_ERR_COMPILE_CONDITION unexpected token after 'open', expecting 'or', 'and'"},
		},
	} {
		var files []File
		for i, text := range tc.files {
			files = append(files, File{fmt.Sprintf("%d.yaml", i), []byte(text)})
		}
		set, results := Load(files, Options{})
		var got []string
		for _, r := range results {
			for _, p := range r.Errors {
				got = append(got, "error "+string(p.Code)+" "+p.Message)
			}
		}
		for _, p := range results[len(results)-1].Warnings {
			got = append(got, "warning "+string(p.Code)+" "+p.Message)
		}
		if set != nil {
			for _, r := range set.Rules() {
				got = append(got, r.Name+": "+r.Expr.String())
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// TestYAMLErrors: the text is the YAML library's own.
func TestYAMLErrors(t *testing.T) {
	t.Parallel()
	for text, at := range map[string]string{"- a: b: c": "1:7", "\x00": "1:1", "- [": "1:4", "a: *b": "1:4", "- \xff\xfe": "", "- rule: r\n  desc: [d\n": "2:9"} {
		set, results := Load([]File{file(text)}, Options{})
		if set != nil || len(results) != 1 || results[0].Successful() {
			t.Errorf("%q loads", text)
			continue
		}
		if got := results[0].Errors[0].Error(); !strings.Contains(got, at+": LOAD_ERR_YAML_PARSE: ") {
			t.Errorf("%q: %s, want it at %s", text, got, at)
		}
	}
}

func TestProblemJSON(t *testing.T) {
	t.Parallel()
	text := "- macro: m\n  condition: evt.type = open\n" + "- rule: Ü\n  desc: d\n  condition: m and no.such = 1\n  output: o\n  priority: INFO\n"
	_, results := Load([]File{file(text)}, Options{})
	got, err := json.Marshal(map[string]any{"falco_load_results": results})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"falco_load_results":[{"errors":[{"code":"LOAD_ERR_COMPILE_CONDITION","codedesc":"Error compiling condition",` +
		`"context":{"locations":[` +
		`{"item_type":"rules content","item_name":"","position":{"name":"rules.yaml","line":0,"column":0,"offset":0}},` +
		`{"item_type":"rule","item_name":"Ü","position":{"name":"rules.yaml","line":2,"column":2,"offset":42}},` +
		`{"item_type":"rule condition","item_name":"","position":{"name":"rules.yaml","line":4,"column":13,"offset":74}},` +
		`{"item_type":"condition expression","item_name":"","position":{"name":"\"m and no.such = 1\"","line":5,"column":20,"offset":80}}],` +
		`"snippet":"m and no.such = 1\n      ^\n"},"message":"filter_check called with nonexistent field no.such"}],` +
		`"name":"rules.yaml","schema_valid":true,"schema_warnings":[],"successful":false,"warnings":[]}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const line = `rules.yaml:5:20: LOAD_ERR_COMPILE_CONDITION: filter_check called with nonexistent field no.such (rule "Ü")`
	if s := results[0].Errors[0].Error(); s != line {
		t.Errorf("got %s, want %s", s, line)
	}
}

func TestSnippet(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 300)
	for _, tc := range []struct {
		text string
		at   int
		want string
	}{
		{"one\ntwo\nthree", 5, "two\n ^\n"},
		{"one\n", 99, "one\n  ^\n"},
		{"", 0, "<No context available>\n"},
	} {
		if got := snippet(tc.text, tc.at); got != tc.want {
			t.Errorf("%q at %d: got %q, want %q", tc.text, tc.at, got, tc.want)
		}
	}
	line, caret, _ := strings.Cut(snippet(long, 300), "\n")
	if len(line) > 200 || !strings.HasPrefix(line, "...") || !strings.HasSuffix(line, "...") || strings.Contains(line, "?") || len([]rune(line)) < len(caret)-1 {
		t.Errorf("got %q, %q", line, caret)
	}
}

// TestBombs: what grows when it is written out is bounded.
func TestBombs(t *testing.T) {
	t.Parallel()
	var macros, lists, names, chain, wide, rules strings.Builder
	macros.WriteString("- macro: m0\n  condition: (evt.type = open or proc.name = a)\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&macros, "- macro: m%d\n  condition: (m%d and m%d)\n", i, i-1, i-1)
		fmt.Fprintf(&lists, "- list: l%d\n  items: [%s l%d]\n", i, strings.Repeat(fmt.Sprintf("l%d, ", i+1), 8), i+1)
	}
	for i := range maxMentioned + 2 {
		fmt.Fprintf(&names, "- list: l%d\n  items: [a]\n", i)
		fmt.Fprintf(&chain, "- macro: m%d\n  condition: evt.type = open\n", i)
	}
	for i := range maxMentioned + 1 {
		fmt.Fprintf(&chain, "- macro: m%d\n  condition: not m%d\n", i, i+1)
	}
	names.WriteString("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: evt.type = open and proc.name in (l0")
	for i := range maxMentioned + 1 {
		fmt.Fprintf(&names, ", l%d", i+1)
	}
	names.WriteString(")\n")
	wide.WriteString("- macro: m0\n  condition: (" + strings.Repeat("proc.name = a or ", 5000) + "proc.name = b)\n")
	for i := range 2000 {
		rules.WriteString(rule(fmt.Sprintf("r%d", i), "evt.type = open and (m0 or m0 or m0)"))
	}
	for name, text := range map[string]string{
		"macros": macros.String() + rule("r", "m59"),
		"lists":  lists.String() + rule("r", "evt.type = open and proc.name in (l1)"),
		"names":  names.String(),
		"chain":  chain.String() + rule("r", "m0"),
		"rules":  wide.String() + rules.String(),
		"depth":  rule("r", strings.Repeat("(", 2000)+"evt.type = open"+strings.Repeat(")", 2000)),
		"yaml":   strings.Repeat("[", 20_000),
		"alias":  "- &a {rule: r, exceptions: *a}\n- required_plugin_versions: &b [{name: x, version: 1.0.0, alternatives: *b}]\n",
	} {
		set, results := Load([]File{file(text)}, Options{})
		if set != nil {
			t.Errorf("%s: loads", name)
			continue
		}
		t.Logf("%s: %.200v", name, results[0].Errors[0])
	}
}

func TestMaliciousAliases(t *testing.T) {
	t.Parallel()
	text := "- list: l\n  items: &a [x, *a]\n"
	if set, results := Load([]File{file(text)}, Options{}); set != nil {
		t.Errorf("loads: %v", problems(results))
	}
	text = rule("r", "evt.type = open", "exceptions: &e", "- {name: one, fields: &f [*f, proc.name], values: *e}")
	if set, results := Load([]File{file(text)}, Options{}); set != nil {
		t.Errorf("loads: %v", problems(results))
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	text := rule("Read sshd", "evt.type = open", "tags: [ssh, files]") + rule("Read shadow", "evt.type = open", "tags: [files]") +
		strings.Replace(rule("Debugged", "evt.type = open"), "INFO", "DEBUG", 1) + rule("Off", "evt.type = open", "enabled: false", "tags: [ssh]")
	for _, tc := range []struct {
		name string
		opt  Options
		want string
	}{
		{"as they are", Options{}, "Read sshd, Read shadow, Debugged"},
		{"by name", Options{Select: []Selection{{Rule: "Read*"}}}, "Debugged"},
		{"by tag", Options{Select: []Selection{{Tag: "files"}, {Enable: true, Tag: "ssh"}}}, "Read sshd, Debugged, Off"},
		{"all, then one", Options{Select: []Selection{{}, {Enable: true, Rule: "?ead shadow"}}}, "Read shadow"},
		{"by priority", Options{MinPriority: Informational}, "Read sshd, Read shadow"},
		{"a priority is not overruled", Options{MinPriority: Informational, Select: []Selection{{Enable: true}}}, "Read sshd, Read shadow, Off"},
	} {
		set, results := Load([]File{file(text)}, tc.opt)
		if set == nil {
			t.Fatal(problems(results))
		}
		var names []string
		for _, r := range set.Rules() {
			if r.Enabled {
				names = append(names, r.Name)
			}
		}
		if got := strings.Join(names, ", "); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
		var matched []string
		for _, r := range set.Evaluate(nil, mapEvent{"evt.type": StringValue("open")}) {
			matched = append(matched, r.Name)
		}
		if !slices.Equal(matched, names) {
			t.Errorf("%s: matched %s", tc.name, matched)
		}
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	text := rule("a", "evt.type = open") + rule("b", "evt.type in (open, close)") + rule("c", "not evt.type = open", "warn_evttypes: false")
	for _, tc := range []struct {
		matching Matching
		typ      string
		want     string
	}{
		{MatchAll, "open", "a b"},
		{MatchFirst, "open", "a"},
		{MatchAll, "close", "b c"},
		{MatchAll, "execve", "c"},
		{MatchAll, "container", "c"},
		{MatchFirst, "close", "b"},
	} {
		set, results := Load([]File{file(text)}, Options{Matching: tc.matching})
		if set == nil {
			t.Fatal(problems(results))
		}
		var names []string
		for _, r := range set.Evaluate(nil, mapEvent{"evt.type": StringValue(tc.typ)}) {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%v on %s: got %q, want %q", tc.matching, tc.typ, got, tc.want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	text := rule("start", started+"container.id != host") + rule("exec", "evt.type in (execve, execveat) and proc.name = sh") +
		rule("field", "evt.type = container and proc.name = sh") + rule("not", "evt.type = container and not proc.name = sh") +
		rule("off", "evt.type = execve", "enabled: false")
	set, results := Load([]File{file(text)}, Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	got := map[string][]string{}
	for _, u := range set.Unavailable() {
		got[u.Rule.Name] = append([]string{u.Reason}, u.Needs...)
	}
	want := map[string][]string{
		"exec":  {needsSyscall, "evt.type execve", "evt.type execveat"},
		"field": {needsSyscall, "proc.name"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ev := mapEvent{"evt.type": StringValue("container"), "container.id": StringValue("x"), "proc.name": StringValue("sh")}
	var names []string
	for _, r := range set.Evaluate(nil, ev) {
		names = append(names, r.Name)
	}
	// A start has no process, whatever an event says.
	if want := []string{"start", "not"}; !slices.Equal(names, want) {
		t.Errorf("matched %v, want %v", names, want)
	}
}
