package falco

import (
	"strings"
	"testing"
)

// TestPlaces: a problem in a condition is found in the file, where the text
// before it is as it stands there.
func TestPlaces(t *testing.T) {
	t.Parallel()
	const head, tail = "- rule: r\n  desc: d\n", "\n  output: o\n  priority: INFO\n"
	for _, tc := range []struct{ name, text, want string }{
		{"plain", head + "  condition: evt.type = open and no.such = 1" + tail, "3:34"},
		{"plain in lines", head + "  condition: evt.type = open and\n    ä.b = 1" + tail, "4:5"},
		{"literal", head + "  condition: |\n    evt.type = open\n    and\n      no.such = 1" + tail, "6:7"},
		{"folded", head + "  condition: >-  # a comment\n    evt.type = open and\n\n    (proc.name = a or\n     no.such = 1)" + tail, "7:6"},
		{"quotes", head + `  condition: "evt.type = open and no.such = 1"` + tail, "3:35"},
		{"escaped before", head + `  condition: "evt.type = \"open\" and no.such = 1"` + tail, "3:14"},
		{"flow", "- {rule: r, desc: d, output: o, priority: INFO, condition: evt.type = open and no.such = 1}\n", "1:80"},
		{"with exceptions", strings.Replace(rule("r", "evt.type = open and no.such = 1", "exceptions:", "- {name: x, fields: proc.name, values: [a]}"), "  \n", "", 1), "3:34"},
		{"in an exception", rule("r", "evt.type = open", "exceptions:", "- {name: x, fields: proc.pid, values: [a]}"), "3:14"},
		{"behind a list", "- list: l\n  items: [a, b]\n" + head + "  condition: proc.name in (l) and no.such = 1" + tail, "5:14"},
		{"before a list", "- list: l\n  items: [a, b]\n" + head + "  condition: no.such = 1 and proc.name in (l)" + tail, "5:14"},
		{"in a macro", "- macro: m\n  condition: proc.name = a and no.such = 1\n" + head + "  condition: evt.type = open and m" + tail, "2:32"},
		{"a macro that is not there", head + "  condition: evt.type = open and m" + tail, "3:34"},
		{"a macro in a macro", "- macro: m\n  condition: proc.name = a and n\n" + head + "  condition: m" + tail, "2:32"},
		{"the end", head + "  condition: evt.type =" + tail, "3:24"},
	} {
		set, results := Load([]File{file(tc.text)}, Options{})
		if set != nil {
			t.Errorf("%s: loads", tc.name)
			continue
		}
		p := results[0].Errors[0]
		if got, _, _ := strings.Cut(strings.TrimPrefix(p.Error(), "rules.yaml:"), ": "); got != tc.want {
			t.Errorf("%s: got %s, want %s\n%v\n%s", tc.name, got, tc.want, p, p.Snippet)
		}
	}
}

func TestAdviceIsPlaced(t *testing.T) {
	t.Parallel()
	set, results := Load(lab010(t), Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	want := map[AdviceID]string{
		AdvicePrecedence: "9:5", AdviceMacroElsewhere: "11:5", AdvicePartialExemption: "12:5", AdviceListElsewhere: "12:40",
		AdviceInvertedEmptyTag: "10:5", AdviceNoStartGuard: "3:3",
	}
	data := strings.Split(string(lab010(t)[1].Data), "\n")
	for _, a := range set.Advise(set.Rules()[0]) {
		got := positionString(a.Where.At)
		if got != want[a.ID] || a.Where.File != "lab-010.yaml" {
			t.Errorf("%s: got %s:%s, want %s\n%s", a.ID, a.Where.File, got, want[a.ID], data[a.Where.At.Line-1])
		}
	}
}

func positionString(p Position) string {
	return strings.TrimSuffix((&ParseError{At: p}).Error(), ": ")
}
