package conformance_test

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tagwarden/tagwarden/conformance"
	"github.com/tagwarden/tagwarden/internal/export"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// now is the time at which all engines are asked: those with a clock of their
// own have no other.
var now = time.Now()

func table(t *testing.T) (*policy.Policy, []conformance.Case) {
	t.Helper()
	p, _, err := conformance.Exported(now)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.Cases()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 120 {
		t.Fatalf("%d cases, want at least 120", len(cases))
	}
	return p, cases
}

// A question is one policy, and what it means for each case.
type question struct {
	policy   *policy.Policy
	exported time.Time // the time at which it was written for the engine
	cases    []conformance.Case
}

// questions are the table with its verdicts, and other policies with the
// verdicts that Tagwarden gives of the same objects.
func questions(t *testing.T) map[string]question {
	t.Helper()
	p, cases := table(t)
	_, exported, err := conformance.Exported(now)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]question{"table": {p, exported, cases}}
	for name, text := range map[string]string{
		"default": "",
		"strict": `
namespaces: {production: ["*"], development: []}
findings:
  F-01: {production: deny}
  TW-02: {production: deny}
ephemeralContainers: alert
debugImages: []
infrastructureImages: []
`,
		"audit": `
namespaces: {production: [production], development: ["prod*", dev], developmentLabels: [environment]}
findings:
  F-01: {production: audit, elsewhere: "off", development: deny}
  TW-02: {production: "off", elsewhere: deny, development: audit}
  TW-09: {production: warn, elsewhere: "off", development: "off"}
ephemeralContainers: alert
classes: [{image: "**", tag: "*alpine*", class: fixed}, {image: "docker.io/**", tag: "1*", class: floating}]
debugImages: [nginx]
infrastructureImages: ["localhost:5000/**", "ghcr.io/acme/?pi"]
`,
		"off": `
findings:
  F-01: {production: "off", elsewhere: "off", development: "off"}
  TW-02: {production: "off", elsewhere: "off", development: "off"}
  TW-09: {production: "off", elsewhere: "off", development: "off"}
  TW-12: {production: audit, elsewhere: audit, development: audit}
allowedRegistries: ["ghcr.io/**", docker.io]
`,
	} {
		other, err := policy.Parse(name, []byte(text), now)
		if err != nil {
			t.Fatal(err)
		}
		judged := slices.Clone(cases)
		for i := range judged {
			judged[i].Want = judge(other, &judged[i])
		}
		all[name] = question{other, now, judged}
	}
	return all
}

// written returns the objects that are exported for an engine, in the file of
// that name.
func (q *question) written(t testing.TB, engine, file string) []*unstructured.Unstructured {
	t.Helper()
	out, err := export.Export(engine, q.policy, q.exported)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range out.Files {
		if f.Name != file {
			continue
		}
		var all []*unstructured.Unstructured
		d := yaml.NewDecoder(strings.NewReader(string(f.Data)))
		for {
			var o map[string]any
			if d.Decode(&o) != nil {
				return all
			}
			all = append(all, &unstructured.Unstructured{Object: o})
		}
	}
	t.Fatalf("%s has no file %s", engine, file)
	return nil
}

// verdict makes the words of the table of what engines say: the effect, and
// messages that begin with the finding.
func verdict(said []string) string {
	slices.Sort(said)
	return strings.Join(slices.Compact(said), ", ")
}

// messages makes them of the parts of a message.
func messages(effect, text string) []string {
	var all []string
	for line := range strings.SplitSeq(text, " | ") {
		id, _, ok := strings.Cut(line, ":")
		if _, err := finding.ParseID(id); !ok || err != nil {
			id = "said " + line
		}
		all = append(all, strings.ToLower(effect)+" "+id)
	}
	return all
}

// want is the verdict of the table in the order of verdict.
func want(c *conformance.Case) string {
	if c.Want == "" {
		return ""
	}
	return verdict(strings.Split(c.Want, ", "))
}

var update = flag.Bool("update", false, "write testdata/cases.json again")

// The table as objects, for those who ask a real API server (lab/e2e).
func TestCasesFile(t *testing.T) {
	t.Parallel()
	_, cases := table(t)
	type asked struct {
		Case, Namespace, Kind, Container string
		Labels                           map[string]string
		Object, Before                   map[string]any
		User                             string
		Want                             []string
	}
	var all []asked
	for _, c := range cases {
		object, before := c.Object(now)
		for _, o := range []map[string]any{object, before} {
			// What the server sets itself.
			meta, _ := o["metadata"].(map[string]any)
			delete(meta, "creationTimestamp")
			delete(meta, "managedFields")
		}
		one := asked{c.String(), c.Namespace, c.Kind, c.Container, conformance.NamespaceLabels(c.Namespace), object, before, c.User, []string{}}
		if c.Want != "" {
			one.Want = strings.Split(want(&c), ", ")
		}
		all = append(all, one)
	}
	got, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/cases.json"
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(file); err != nil || string(old) != string(got)+"\n" {
		t.Errorf("%s is not the table (%v): run go test -update", file, err)
	}
}

// judge is our own decision, which admission gives.
func judge(p *policy.Policy, c *conformance.Case) string {
	if c.Updated && c.Image == c.Before {
		return "" // It is not asked for.
	}
	r := p.Judge(&policy.Container{
		Namespace: c.Namespace, NamespaceLabels: conformance.NamespaceLabels(c.Namespace), Workload: c.Owner, Kind: c.Container, Image: c.Image,
	}, now)
	var said []string
	for _, f := range r.Findings {
		if f.Effect == policy.Deny && c.User != "anna" {
			continue // What controllers make is spared.
		}
		if f.Effect != policy.Off {
			said = append(said, f.Effect.String()+" "+string(f.ID))
		}
	}
	return verdict(said)
}

func TestTagwarden(t *testing.T) {
	t.Parallel()
	p, cases := table(t)
	for _, c := range cases {
		check(t, &c, judge(p, &c))
	}
}

func check(t *testing.T, c *conformance.Case, got string) {
	t.Helper()
	if got != want(c) {
		t.Errorf("%s:\n got %q\nwant %q", c, got, want(c))
	}
}

// each puts every question to an engine, which is made for a policy.
func each(t *testing.T, engine func(*testing.T, *question) func(*conformance.Case) []string) {
	t.Helper()
	for name, q := range questions(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ask := engine(t, &q)
			for _, c := range q.cases {
				check(t, &c, verdict(ask(&c)))
			}
		})
	}
}

// into reads fields by their JSON names.
func into(t testing.TB, from, to any) {
	t.Helper()
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
