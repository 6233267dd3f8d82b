package triage_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/triage"
)

// evidence makes items of "name=word" words; "name=?" could not be learnt.
func evidence(text string) []triage.Item {
	var items []triage.Item
	for word := range strings.FieldsSeq(text) {
		name, is, _ := strings.Cut(word, "=")
		i := triage.Item{Name: triage.Name(name), Is: triage.Word(is)}
		if is == "?" {
			i.Is, i.Missing = "", "nobody told"
		}
		items = append(items, i)
	}
	return items
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const (
		good = "namespace=production exception=none reference=fixed pusher=known digest=deployed replicas=alike"
		bad  = "namespace=other exception=tracked reference=mutable pusher=known digest=changed replicas=alike"
	)
	for _, test := range []struct {
		name, evidence string
		want           string // verdict, rules
		missing        string
	}{
		// What the seed says.
		{"changed without a deployment", bad, "escalate changed-without-deployment", ""},
		{"an exception is no excuse", strings.Replace(bad, "namespace=other", "namespace=development", 1), "escalate changed-without-deployment", ""},
		{"an unknown pusher", "namespace=other exception=tracked reference=mutable pusher=unknown digest=unchanged replicas=alike", "escalate unknown-pusher", ""},
		{"both", "namespace=other exception=none reference=fixed pusher=unknown digest=changed replicas=differ", "escalate changed-without-deployment replicas-differ unknown-pusher", ""},
		{"close: expected digest and tracked exception", "namespace=production exception=tracked reference=mutable pusher=known digest=unchanged replicas=alike", "hygiene hygiene-tracked", ""},
		{"urgent in production", "namespace=production exception=none reference=mutable pusher=unjudged digest=unchanged replicas=alike", "hygiene (urgent) hygiene-production", ""},
		{"lower priority in development", "namespace=development exception=none reference=mutable pusher=unjudged digest=unchanged replicas=alike", "hygiene hygiene", ""},
		{"a legitimate rollout", good, "expected rollout", ""},

		{"a restart that took what a known pusher pushed", strings.Replace(good, "deployed", "moved", 1), "expected rollout", ""},
		{"a restart that took what nobody knows", strings.NewReplacer("deployed", "moved", "pusher=known", "pusher=unjudged").Replace(good), "undecided restart-by-nobody-known", ""},
		{"a version is overwritten, and what runs is right", strings.Replace(good, "pusher=known", "pusher=overwritten", 1), "hygiene (urgent) version-overwritten", ""},
		{"a version is overwritten, and it runs", strings.NewReplacer("deployed", "changed", "pusher=known", "pusher=overwritten").Replace(good), "escalate changed-without-deployment", ""},
		{"not approved", strings.Replace(good, "deployed", "not-approved", 1), "escalate not-approved", ""},
		{"approved", strings.Replace(good, "deployed", "approved", 1), "expected approved", ""},
		{"pinned", "namespace=production exception=none reference=pinned pusher=unjudged digest=pinned replicas=alike", "expected approved", ""},
		{"replicas", strings.Replace(good, "alike", "differ", 1), "escalate replicas-differ", ""},

		// What is missing is never taken for good.
		{"nothing is known", "", "undecided", "namespace exception reference pusher digest replicas"},
		{"the digest", strings.Replace(good, "digest=deployed", "digest=?", 1), "undecided", "digest"},
		{"the pusher", strings.Replace(good, "pusher=known", "pusher=?", 1), "undecided", "pusher"},
		{"the digest of a tracked tag", "namespace=production exception=tracked reference=mutable pusher=unjudged digest=? replicas=alike", "undecided", "digest"},
		{"a word that there is not", strings.Replace(good, "digest=deployed", "digest=fine", 1), "undecided", "digest"},
		// Nor does it hide what is known.
		{"changed, and nothing else is known", "digest=changed", "escalate changed-without-deployment", ""},
		{"an unknown pusher, and the digest is not known", "pusher=unknown digest=?", "escalate unknown-pusher", ""},
		// What makes no difference is not waited for.
		{"a namespace that makes no difference", strings.Replace(good, "namespace=production", "namespace=?", 1), "expected rollout", ""},
		{"a namespace that does", "namespace=? exception=none reference=mutable pusher=known digest=unchanged replicas=alike", "undecided", "namespace"},
		{"the signature", good + " signature=?", "expected rollout", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := triage.Decide(evidence(test.evidence))
			got := d.String()
			if len(d.Missing) == 0 {
				got += " " + strings.Join(d.Rules, " ")
			}
			if got != test.want {
				t.Errorf("%s: got %s, want %s", test.evidence, got, test.want)
			}
			var missing []string
			for _, n := range d.Missing {
				missing = append(missing, string(n))
			}
			if got := strings.Join(missing, " "); got != test.missing {
				t.Errorf("%s: waits for %q, want %q", test.evidence, got, test.missing)
			}
			if len(d.Reasons) == 0 {
				t.Errorf("%s: no reason", test.evidence)
			}
			if closed := strings.HasPrefix(test.want, "expected") || test.want == "hygiene hygiene-tracked"; d.Closed() != closed {
				t.Errorf("%s: closed is %t, want %t", test.evidence, d.Closed(), closed)
			}
		})
	}
}

// Whatever is taken away from the evidence, the verdict stays as it was, or
// becomes undecided: it never becomes another one.
func TestLessEvidenceIsNeverBetter(t *testing.T) {
	t.Parallel()
	var kinds []triage.Kind
	for _, k := range triage.Kinds {
		if len(k.Words) > 0 {
			kinds = append(kinds, k)
		}
	}
	var walk func([]triage.Item)
	walk = func(items []triage.Item) {
		if len(items) < len(kinds) {
			k := kinds[len(items)]
			for _, m := range k.Words {
				walk(append(items, triage.Item{Name: k.Name, Is: m.Word}))
			}
			return
		}
		whole := triage.Decide(items)
		for i := range items {
			less := slices.Clone(items)
			less[i] = triage.Item{Name: items[i].Name, Missing: "taken away"}
			d := triage.Decide(less)
			if d.Verdict != triage.Undecided && (d.Verdict != whole.Verdict || d.Urgent != whole.Urgent) {
				t.Fatalf("with %v it is %s, without %s %s", items, whole, items[i].Name, d)
			}
		}
	}
	walk(nil)
}

// Every row decides something: there is evidence that no row before it takes.
func TestEveryRuleCanDecide(t *testing.T) {
	t.Parallel()
	for _, r := range triage.Rules {
		var items []triage.Item
		for _, c := range r.When {
			items = append(items, triage.Item{Name: c.Name, Is: c.Is[0]})
		}
		for _, rest := range evidence("namespace=other exception=none reference=fixed pusher=known digest=unchanged replicas=alike") {
			if !slices.ContainsFunc(items, func(i triage.Item) bool { return i.Name == rest.Name }) {
				items = append(items, rest)
			}
		}
		if d := triage.Decide(items); len(d.Rules) == 0 || d.Rules[0] != r.ID || d.Verdict != r.Verdict || d.Urgent != r.Urgent {
			t.Errorf("%s: decided is %+v", r.ID, d)
		}
		for _, c := range r.When {
			k := slices.IndexFunc(triage.Kinds, func(k triage.Kind) bool { return k.Name == c.Name })
			for _, w := range c.Is {
				if !slices.ContainsFunc(triage.Kinds[k].Words, func(m triage.Meaning) bool { return m.Word == w }) {
					t.Errorf("%s: %s can never be %s", r.ID, c.Name, w)
				}
			}
		}
	}
}

// The table of the documentation is that of the code.
func TestDocumentedTable(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- the table of the code -->\n", "<!-- end of the table -->"
	text, err := os.ReadFile("../../docs/triage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), begin)
	got, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("docs/triage.md does not mark its table")
	}
	if diff := cmp.Diff(strings.Split(triage.Markdown(), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("docs/triage.md (-want +got):\n%s", diff)
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	whole := triage.Target{
		Namespace: "shop", Pod: "api-1", Node: "n1", Kind: "Deployment", Name: "api", Container: "api",
		Baseline: "acme/api:latest@sha256:good", Running: "acme/api:latest@sha256:evil",
	}
	for _, test := range []struct {
		verdict triage.Verdict
		target  triage.Target
		want    string
	}{
		{triage.Escalate, whole, "quarantine rollback cordon"},
		{triage.Escalate, triage.Target{Namespace: "shop", Kind: "Deployment", Name: "api", Container: "api"}, ""},
		{triage.Hygiene, whole, "pin"},
		{triage.Expected, whole, ""},
		{triage.Undecided, whole, ""},
	} {
		steps := triage.Steps(triage.Decision{Verdict: test.verdict}, test.target)
		var got []string
		for _, s := range steps {
			got = append(got, string(s.Action))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, want %q", test.verdict, got, test.want)
		}
	}
	steps := triage.Steps(triage.Decision{Verdict: triage.Escalate}, whole)
	if want := "kubectl -n shop set image deployment/api api=acme/api:latest@sha256:good"; steps[1].Command != want {
		t.Errorf("got %s, want %s", steps[1].Command, want)
	}
}

// Names from a saved file are no commands.
func TestStepsQuote(t *testing.T) {
	t.Parallel()
	evil := triage.Target{
		Namespace: "shop", Pod: "x; rm -rf '/'", Node: "$(reboot)", Kind: "Deployment", Name: "`id`", Container: "api", Baseline: "acme/api@sha256:good",
	}
	var got []string
	for _, s := range triage.Steps(triage.Decision{Verdict: triage.Escalate}, evil) {
		first, _, _ := strings.Cut(s.Command, "\n")
		got = append(got, first)
	}
	if diff := cmp.Diff([]string{
		`kubectl -n shop label pod 'x; rm -rf '\''/'\''' tagwarden.dev/quarantine=true --overwrite`,
		"kubectl -n shop set image 'deployment/`id`' api=acme/api@sha256:good",
		"kubectl cordon '$(reboot)'",
	}, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
