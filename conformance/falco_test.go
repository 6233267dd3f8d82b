package conformance_test

import (
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/conformance"
	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/export"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// falcoRules loads the rules that are exported, with our fields or without.
func falcoRules(t *testing.T, name string, catalog *falco.Catalog) (*falco.Ruleset, *policy.Policy) {
	t.Helper()
	p, exported, err := conformance.Exported(now)
	if err != nil {
		t.Fatal(err)
	}
	out, err := export.Export("falco", p, exported)
	if err != nil {
		t.Fatal(err)
	}
	opt := falco.DefaultOptions()
	if catalog != nil {
		opt.Catalog = catalog
	}
	for _, f := range out.Files {
		if f.Name == name {
			set, results := falco.Load([]falco.File{{Name: name, Data: f.Data}}, opt)
			if set == nil {
				t.Fatal(results)
			}
			return set, p
		}
	}
	t.Fatal("no file " + name)
	return nil, nil
}

// start is the start of the container of a case, and false where there is
// none: nothing starts from a volume, nor from what is no reference.
func start(c *conformance.Case) (*event.Start, bool) {
	_, err := image.Parse(c.Image)
	if err != nil || c.Kind != "Pod" || c.Updated || c.User != "anna" || c.Container == "volume" {
		return nil, false
	}
	kind, name, _ := strings.Cut(c.Owner, "/")
	return &event.Start{
		Time: now, Source: "kube", Namespace: c.Namespace, Pod: c.Name, Container: "c", Kind: event.Kind(c.Container),
		ContainerID: strings.Repeat("a", 64), Reference: c.Image, Image: c.Image,
		Workload: event.Workload{Kind: kind, Name: name},
	}, true
}

// Our own rules and the policy behind them, as "tagwarden watch" puts them
// together: what admission denies or warns about is what alerts where it runs.
func TestFalcoRules(t *testing.T) {
	t.Parallel()
	catalog, err := event.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	set, p := falcoRules(t, "falco-tagwarden.yaml", catalog)
	_, cases := table(t)
	asked := 0
	for _, c := range cases {
		s, ok := start(&c)
		if !ok || conformance.NamespaceLabels(c.Namespace)["environment"] != "" {
			continue // A start does not have the labels of its namespace.
		}
		asked++
		ref, err := image.Parse(c.Image)
		if err != nil {
			t.Fatal(err)
		}
		fields := event.FieldsOf(s, p.Production(s.Namespace))
		fields.Classify(p.Class)
		got := map[finding.ID]bool{}
		for _, r := range set.Evaluate(nil, fields) {
			for _, tag := range r.Tags {
				id, err := finding.ParseID(tag)
				if err != nil {
					continue
				}
				d := p.Decide(policy.Subject{
					Finding: id, Rule: r.Name, Namespace: c.Namespace, Workload: c.Owner, Image: ref.Name(), ContainerKind: c.Container,
				}, now)
				got[id] = got[id] || d.Action != policy.Mute
			}
		}
		mutable := strings.Contains(c.Want, "F-01")
		// The second rule is about production alone, and about all that has no
		// digest: what has a fixed tag alone is TW-02 and no F-01.
		unpinned := strings.Contains(c.Want, "TW-02") && p.Production(c.Namespace)
		class, _ := p.Class(ref)
		if got[finding.F01] != mutable || (class == image.Fixed && got[finding.TW02] != unpinned) {
			t.Errorf("%s: alerts %v, want F-01 %t and TW-02 %t", &c, got, mutable, unpinned)
		}
	}
	if asked < 60 {
		t.Errorf("%d cases were asked about, want 60 at least", asked)
	}
}
