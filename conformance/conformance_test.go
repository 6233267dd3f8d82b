package conformance_test

import (
	"encoding/json"
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

// written returns the objects that are exported for an engine, in the file of
// that name.
func written(t *testing.T, engine, file string) []*unstructured.Unstructured {
	t.Helper()
	p, exported, err := conformance.Exported(now)
	if err != nil {
		t.Fatal(err)
	}
	out, err := export.Export(engine, p, exported)
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

// Our own decision, which admission gives.
func TestTagwarden(t *testing.T) {
	t.Parallel()
	p, cases := table(t)
	for _, c := range cases {
		if c.Updated && c.Image == c.Before {
			continue // It is not asked for.
		}
		r := p.Judge(&policy.Container{
			Namespace: c.Namespace, NamespaceLabels: conformance.NamespaceLabels(c.Namespace), Workload: c.Owner, Kind: c.Container, Image: c.Image,
		}, now)
		var said []string
		for _, f := range r.Findings {
			if f.Effect != policy.Off {
				said = append(said, f.Effect.String()+" "+string(f.ID))
			}
		}
		if got := verdict(said); got != want(&c) {
			t.Errorf("%s:\n got %q\nwant %q", &c, got, want(&c))
		}
	}
}

// into reads fields by their JSON names.
func into(t *testing.T, from, to any) {
	t.Helper()
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
