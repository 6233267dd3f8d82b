package falco

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// advise loads text behind what it leaves undefined, and returns the advice on
// each rule as "level id".
func advise(t *testing.T, defined, text string) map[string][]string {
	t.Helper()
	set, results := Load([]File{{"defined.yaml", []byte(defined)}, {"rules.yaml", []byte(text)}}, Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	all := map[string][]string{}
	for _, r := range set.Rules() {
		ids := []string{}
		for _, a := range set.Advise(r) {
			ids = append(ids, string(a.Level)+" "+string(a.ID))
			if a.Message == "" || a.Fix == "" {
				t.Errorf("%s: %s says nothing: %+v", r.Name, a.ID, a)
			}
			if a.At.Line > 0 && a.ID != AdvicePrecedence && a.Text != "" {
				head := strings.TrimPrefix(a.Text, "not ")
				if word := head[:strings.IndexAny(head+" ", " .(=")]; !strings.Contains(r.Condition[a.At.Offset:], word) {
					t.Errorf("%s: %s at %d is not %q", r.Name, a.ID, a.At.Offset, a.Text)
				}
			}
		}
		slices.Sort(ids)
		all[r.Name] = ids
	}
	return all
}

// TestAdviceOnPublishedRules: each correction of the published text makes its
// advice go away, and the names of the rules do not matter.
func TestAdviceOnPublishedRules(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/lab-010.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const (
		first, second = "Container Started with Mutable Image Tag", "Container Image Not Pinned to Digest"
		defined       = "- macro: container\n  condition: (container.id != host)\n- list: known_debug_images\n  items: [busybox]\n"
	)
	asPublished := map[string][]string{
		first: {
			"note list-elsewhere", "note macro-elsewhere", "warning inverted-empty-tag", "warning no-start-guard",
			"warning partial-exemption", "warning precedence",
		},
		second: {"note list-elsewhere", "note macro-elsewhere", "warning digest-not-pinning", "warning no-start-guard"},
	}
	for _, tc := range []struct {
		name     string
		defined  string
		old, new string
		gone     []string
		come     map[string][]string
		only     string // the rule that the change is about, "" for both
	}{
		{name: "as published", defined: defined},
		{
			name: "parentheses", defined: defined,
			old: `container.image.tag = "latest" or
    container.image.tag = "" and`, new: `(container.image.tag = "latest" or
    container.image.tag = "") and`,
			gone: []string{"warning precedence", "warning partial-exemption"},
		},
		{
			name: "parentheses as Falco reads it", defined: defined,
			old: `container.image.tag = "" and
    container and
    not container.image.repository in (known_debug_images)
  output: >
    Container started`, new: `(container.image.tag = "" and
    container and
    not container.image.repository in (known_debug_images))
  output: >
    Container started`,
			gone: []string{"warning precedence", "warning partial-exemption"}, come: map[string][]string{first: {"note partial-exemption"}}, only: first,
		},
		{
			name: "an event type", defined: defined, old: "condition: >\n", new: "condition: >\n    evt.type = container and\n",
			// Of the first rule, one alternative stays open.
			gone: []string{"warning no-start-guard"}, only: second,
		},
		{
			name: "the tag of a digest", defined: defined,
			old: `container.image.tag = "" and`, new: `container.image.tag = "" and not container.image contains "@sha256:" and`,
			gone: []string{"warning inverted-empty-tag"},
		},
		{
			name: "the reference", defined: defined, old: `not container.image.digest startswith "sha256:"`, new: `not container.image contains "@sha256:"`,
			gone: []string{"warning digest-not-pinning"},
		},
		{
			name: "the list is not defined", defined: strings.Split(defined, "- list")[0],
			gone: []string{"note list-elsewhere"}, come: map[string][]string{first: {"warning undefined-list"}, second: {"warning undefined-list"}},
		},
		{
			name: "the list in quotes", defined: strings.Split(defined, "- list")[0], old: "(known_debug_images)", new: `("known_debug_images")`,
			gone: []string{"note list-elsewhere"},
		},
		{
			name: "all in one document", old: "# The two rules", new: defined + "# The two rules",
			gone: []string{"note list-elsewhere", "note macro-elsewhere"},
		},
		{name: "other names", defined: defined, old: "Container ", new: "Something "},
	} {
		text := strings.ReplaceAll(string(data), tc.old, tc.new)
		if tc.old == "" {
			text = string(data)
		} else if text == string(data) {
			t.Fatalf("%s: nothing to change", tc.name)
		}
		got := advise(t, tc.defined, text)
		for rule, want := range asPublished {
			if tc.only == "" || tc.only == rule {
				want = slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(tc.gone, id) })
				want = append(want, tc.come[rule]...)
			}
			slices.Sort(want)
			rule = strings.ReplaceAll(rule, tc.old, tc.new)
			if !slices.Equal(got[rule], want) {
				t.Errorf("%s: %s\n got %v\nwant %v", tc.name, rule, got[rule], want)
			}
		}
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	const defined = "- list: debug_images\n  items: [busybox]\n"
	for _, tc := range []struct {
		condition string
		want      string
	}{
		{"evt.type = container and container.image.tag = latest", ""},
		{"evt.type = container and (container.image.tag = latest or container.name = x)", ""},
		{"evt.type = container and container.image.tag = latest or evt.type = container and container.name = x", "warning precedence"},
		{"(evt.type = container and container.name = x) or (evt.type = execve and proc.name = y)", ""},
		{"(evt.type = container and container.name = x) or container.name = y", "warning no-start-guard"},
		{"container.id != host", "warning no-start-guard"},
		{"evt.type = container and container.image.tag in ('')", "warning inverted-empty-tag"},
		{"evt.type = container and not container.image.tag = ''", ""},
		{"evt.type = container and not (not container.image.tag = '')", "warning inverted-empty-tag"},
		{"evt.type = container and not (container.image contains @ or not container.image.tag = '')", ""},
		{"evt.type = container and container.image.digest exists", "warning digest-not-pinning"},
		{"evt.type = container and container.image.digest = ''", "warning digest-not-pinning"},
		{"evt.type = container and container.image.digest = sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1", ""},
		{"evt.type = container and container.name in (some_images)", "warning undefined-list"},
		{"evt.type = container and container.name in (one_name, other_name)", ""},
		{"evt.type = container and container.name in (one_name)", ""},
		{"evt.type = container and container.name in (known_image)", "warning undefined-list"},
		{"evt.type = container and container.name in (a, some_images)", "warning undefined-list"},
		{"evt.type in (open_by_handle_at) and proc.name = x", ""},
		{"evt.type = container and container.name in (debug_images)", "note list-elsewhere"},
		{"evt.type = container and (container.name = a or (container.image.tag = b and not container.name in (x, y)))", "note partial-exemption"},
	} {
		got := advise(t, defined, rule("r", `"`+tc.condition+`"`))["r"]
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.condition, s, tc.want)
		}
	}
}

func TestPrecedenceNamesWhatIsOpen(t *testing.T) {
	t.Parallel()
	set, results := Load(lab010(t), Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	var all strings.Builder
	for _, a := range set.Advise(set.Rules()[0]) {
		all.WriteString(a.Message + "\n")
	}
	for _, want := range []string{
		`Falco reads the condition as (container.image.tag = latest or (container.image.tag = "" and container and not container.image.repository in (known_debug_images)))`,
		"Not guarded by 'container' and 'not container.image.repository in (known_debug_images)': the alternative 'container.image.tag = latest'",
		"The check for a container does not cover 'container.image.tag = latest', which also matches on the host",
		"at defined.yaml:4",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("not said: %s\nsaid:\n%s", want, all.String())
		}
	}
}
