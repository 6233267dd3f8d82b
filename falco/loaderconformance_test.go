package falco

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

type loaderCase struct {
	Source, Name, Expect, Mode string
	Files                      []string
	FileNames                  []string `json:"file_names"`
	ErrorContains              []string `json:"error_contains"`
	WarningContains            []string `json:"warning_contains"`
	WarningNotContains         []string `json:"warning_not_contains"`
	EnabledRules               *int     `json:"enabled_rules"`
	Errors, Warnings           []struct {
		Code, Message string
		ItemType      string `json:"item_type"`
		ItemName      string `json:"item_name"`
	}
	Compiled    map[string]struct{ Condition, Output string }
	PeerResults []struct {
		Successful      bool
		ErrorCodes      []string `json:"error_codes"`
		ErrorMessages   []string `json:"error_messages"`
		WarningCodes    []string `json:"warning_codes"`
		WarningMessages []string `json:"warning_messages"`
	} `json:"peer_results"`
	PeerRules map[string]struct {
		Condition string `json:"condition_compiled"`
		Output    string `json:"output_compiled"`
		Enabled   bool
		Priority  string
	} `json:"peer_rules"`
}

func TestLoaderConformance(t *testing.T) {
	t.Parallel()
	f, err := os.Open(conformance(t, "loader_cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, n := bufio.NewScanner(f), 0
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c loaderCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		n++
		t.Run(c.Name, func(t *testing.T) { c.run(t) })
	}
	if err := in.Err(); err != nil || n < 100 {
		t.Fatalf("%d cases, %v", n, err)
	}
}

func (c *loaderCase) run(t *testing.T) {
	var files []File
	for i, data := range c.Files {
		files = append(files, File{Name: fmt.Sprintf("file%d.yaml", i), Data: []byte(data)})
	}
	set, results := Load(files, DefaultOptions())
	if ok := set != nil; ok != (c.Expect == "ok") {
		t.Errorf("loaded: %v, want %s; %v", ok, c.Expect, problems(results))
	}
	if len(results) != len(c.PeerResults) {
		t.Errorf("%d results, want %d", len(results), len(c.PeerResults))
	}
	for i, want := range c.PeerResults {
		if i >= len(results) {
			break
		}
		if got := codes(results[i].Errors); !slices.Equal(got, want.ErrorCodes) {
			t.Errorf("errors %v %v, want %v %v", got, problems(results), want.ErrorCodes, want.ErrorMessages)
		}
		got := codes(results[i].Warnings)
		slices.Sort(got)
		slices.Sort(want.WarningCodes)
		if !slices.Equal(got, want.WarningCodes) {
			t.Errorf("warnings %v, want %v", got, want.WarningCodes)
		}
		var messages []string
		for _, w := range results[i].Warnings {
			messages = append(messages, w.Message)
		}
		slices.Sort(messages)
		slices.Sort(want.WarningMessages)
		for j, message := range want.WarningMessages {
			if j < len(messages) && !strings.HasPrefix(messages[j], message) {
				t.Errorf("warning %q, want %q", messages[j], message)
			}
		}
		for j, message := range want.ErrorMessages {
			// The text of a YAML library's own error is its own.
			if want.ErrorCodes[j] != "LOAD_ERR_YAML_PARSE" && j < len(results[i].Errors) && !strings.HasPrefix(results[i].Errors[j].Message, message) {
				t.Errorf("error %q, want %q", results[i].Errors[j].Message, message)
			}
		}
	}
	c.checkItems(t, results)
	if set == nil {
		return
	}
	if c.EnabledRules != nil {
		n := 0
		for _, r := range set.Rules() {
			if r.Enabled {
				n++
			}
		}
		if n != *c.EnabledRules {
			t.Errorf("%d rules are enabled, want %d", n, *c.EnabledRules)
		}
	}
	for name, want := range c.PeerRules {
		i := slices.IndexFunc(set.Rules(), func(r *Rule) bool { return r.Name == name })
		if i < 0 {
			t.Errorf("rule %q is missing", name)
			continue
		}
		r := set.Rules()[i]
		if got := r.Expr.String(); got != want.Condition {
			t.Errorf("condition\n got %s\nwant %s", got, want.Condition)
		}
		if r.Enabled != want.Enabled || r.Priority.String() != want.Priority || strings.TrimSpace(r.Output) != strings.TrimSpace(want.Output) {
			t.Errorf("rule is %v %v %q, want %v %v %q", r.Enabled, r.Priority, r.Output, want.Enabled, want.Priority, want.Output)
		}
	}
}

// checkItems looks for the items that the cases name on the way to problems.
func (c *loaderCase) checkItems(t *testing.T, results []*Result) {
	t.Helper()
	var have []string
	for _, r := range results {
		for _, p := range slices.Concat(r.Errors, r.Warnings) {
			have = append(have, string(p.Code)+" "+rootType+" ")
			for _, l := range p.Where {
				have = append(have, string(p.Code)+" "+l.Type+" ", string(p.Code)+" "+l.Type+" "+l.Name)
			}
		}
	}
	for _, want := range slices.Concat(c.Errors, c.Warnings) {
		if w := want.Code + " " + want.ItemType + " " + want.ItemName; !slices.Contains(have, w) {
			t.Errorf("problems at %q, want %q among them", have, w)
		}
	}
}

func codes(all []*Problem) []string {
	out := []string{}
	for _, p := range all {
		out = append(out, string(p.Code))
	}
	return out
}

func problems(results []*Result) []string {
	var out []string
	for _, r := range results {
		for _, p := range append(r.Errors, r.Warnings...) {
			out = append(out, p.Error())
		}
	}
	return out
}

// TestPublishedRulesFiles loads the files that come with Falco.
func TestPublishedRulesFiles(t *testing.T) {
	t.Parallel()
	var files []File
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		data, err := os.ReadFile(conformance(t, "rules", name))
		if err != nil {
			t.Fatal(err)
		}
		f := File{Name: name, Data: data}
		files = append(files, f)
		set, results := Load([]File{f}, DefaultOptions())
		if set == nil || len(problems(results)) > 0 {
			t.Errorf("%s alone: %v", name, problems(results))
		}
	}
	set, results := Load(files, DefaultOptions())
	if set == nil {
		t.Fatal(problems(results))
	}
	checkPlain(t, set)
	t.Logf("%d rules, %d for container starts, %d need system calls", len(set.Rules()), len(set.starts.entries), len(set.Unavailable()))
}
