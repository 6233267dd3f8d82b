package rules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/rules"
)

func load(t testing.TB, data []byte) *falco.Ruleset {
	t.Helper()
	cat, err := event.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	opt := falco.DefaultOptions()
	opt.Catalog = cat
	set, results := falco.Load([]falco.File{{Name: "rules.yaml", Data: data}}, opt)
	for _, r := range results {
		for _, p := range r.Errors {
			t.Error(p)
		}
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

// start is the start of a container in namespace default, as the API server's
// source reports it.
func start(reference string, change ...func(*event.Start)) *event.Start {
	s := &event.Start{
		Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Source: "kube", Node: "n1",
		Namespace: "default", Pod: "web", Container: "c", Kind: event.Container, ContainerID: strings.Repeat("a", 64),
		Reference: reference, Image: "docker.io/library/nginx:1.25.3", Digest: digest,
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func in(namespace string) func(*event.Start) { return func(s *event.Start) { s.Namespace = namespace } }

func kind(k event.Kind) func(*event.Start) { return func(s *event.Start) { s.Kind = k } }

// onNode is the same start seen by a node that does not know the reference.
func onNode(name string) func(*event.Start) {
	return func(s *event.Start) { s.Reference, s.Image, s.Source, s.Kind = "", name, "containerd", "" }
}

func noDigest(s *event.Start) { s.Digest = "" }

func fired(set *falco.Ruleset, s *event.Start) string {
	pol := policy.Default()
	var names []string
	for _, r := range set.Evaluate(nil, event.FieldsOf(s, pol.Production(s.Namespace))) {
		names = append(names, r.Name)
	}
	return strings.Join(names, " + ")
}

const (
	mutable  = "Mutable image tag"
	unpinned = "Image not pinned to a digest in production"
)

func TestCorrectedRules(t *testing.T) {
	t.Parallel()
	set := load(t, rules.Tagwarden)
	for _, tc := range []struct {
		name string
		s    *event.Start
		want string
	}{
		{"latest", start("nginx:latest"), mutable},
		{"no tag, though the runtime says 1.25.3", start("nginx"), mutable},
		{"a floating tag", start("nginx:1.25"), mutable},
		{"a registry with a port and no tag", start("localhost:5000/app"), mutable},
		{"a full version", start("nginx:1.25.3"), ""},
		{"a digest", start("nginx@" + digest), ""},
		{"latest beside a digest", start("nginx:latest@" + digest), ""},
		{"a debug image with latest", start("busybox:latest"), ""},
		{"a debug image without a tag", start("busybox"), ""},
		{"an ephemeral container", start("nginx:latest", kind(event.Ephemeral)), ""},
		{"an init container", start("nginx:latest", kind(event.Init)), mutable},
		{"production, latest", start("nginx:latest", in("production")), mutable + " + " + unpinned},
		{"production, full version", start("nginx:1.25.3", in("prod")), unpinned},
		{"production, digest", start("nginx@"+digest, in("prod")), ""},
		{"production, digest, image imported without a registry", start("nginx@"+digest, in("prod"), noDigest), ""},
		{"production, debug image", start("busybox:1.36.1", in("prod")), ""},
		{"node: latest", start("", onNode("docker.io/library/nginx:latest")), mutable},
		{"node: full version", start("", onNode("docker.io/library/nginx:1.25.3")), ""},
		{"node: a digest has no tag either", start("", onNode("docker.io/library/nginx@"+digest)), ""},
		{"node: nothing known of the image", start("", onNode("")), ""},
		{"node: production, digest", start("", onNode("docker.io/library/nginx@"+digest), in("prod")), ""},
		{"node: production, tag", start("", onNode("docker.io/library/nginx:1.25.3"), in("prod")), unpinned},
	} {
		if got := fired(set, tc.s); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestPublishedRules shows what the rules of lab 010 do as they are published,
// which the real engine confirms: debug images alert with latest, digests
// alert for their empty tag, and a tag in production does not alert.
func TestPublishedRules(t *testing.T) {
	t.Parallel()
	const tag, pin = "Container Started with Mutable Image Tag", "Container Image Not Pinned to Digest"
	set := load(t, rules.Lab010)
	for _, tc := range []struct {
		name string
		s    *event.Start
		want string
	}{
		{"lab010", start("nginx:latest"), tag},
		{"lab010b", start("nginx"), tag},
		{"lab010c", start("nginx:1.25.3"), ""},
		{"a digest alone", start("nginx@" + digest), tag},
		{"a debug image with latest", start("busybox:latest"), tag},
		{"a debug image without a tag", start("busybox"), ""},
		{"a tag in production", start("nginx:1.25.3", in("production")), ""},
		{"an image without a digest in production", start("nginx:1.25.3", in("production"), noDigest), pin},
	} {
		if got := fired(set, tc.s); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestDetectorThatReadsTheStatusMissesIt: the pod asked for nginx, the runtime
// calls the image nginx:1.25.3, because the tags name the same bytes.
func TestDetectorThatReadsTheStatusMissesIt(t *testing.T) {
	t.Parallel()
	set := load(t, rules.Tagwarden)
	asked := start("nginx")
	if got := fired(set, asked); got != mutable {
		t.Errorf("from what was asked for: got %q, want an alert", got)
	}
	status := *asked
	status.Reference = status.Image
	if got := fired(set, &status); got != "" {
		t.Errorf("from the status: got %q; the case no longer shows the difference", got)
	}
}

func TestDebugImagesAreThoseOfTheDefaultPolicy(t *testing.T) {
	t.Parallel()
	set := load(t, rules.Tagwarden)
	for _, name := range policy.Default().DebugImages() {
		if got := fired(set, start(name+":latest")); got != "" {
			t.Errorf("%s: got %q, want no alert for a debug image", name, got)
		}
	}
}

func TestRulesLoadWithoutWarnings(t *testing.T) {
	t.Parallel()
	set := load(t, rules.Tagwarden)
	for _, r := range set.Rules() {
		for _, a := range set.Advise(r) {
			t.Errorf("%s: %s: %s", r.Name, a.ID, a.Message)
		}
		if !slices.Contains(r.Tags, "T1525") {
			t.Errorf("%s: tags %v, want T1525 among them", r.Name, r.Tags)
		}
	}
	if n := len(set.Unavailable()); n > 0 {
		t.Errorf("%d rules are not about container starts", n)
	}
}

func BenchmarkPublishedRules(b *testing.B) {
	set := load(b, rules.Lab010)
	for name, s := range map[string]*event.Start{"match": start("nginx:latest"), "no match": start("nginx:1.25.3")} {
		b.Run(name, func(b *testing.B) {
			fields := event.FieldsOf(s, false)
			dst := make([]*falco.Rule, 0, 4)
			b.ReportAllocs()
			for b.Loop() {
				dst = set.Evaluate(dst[:0], fields)
			}
		})
	}
}

func BenchmarkCorrectedRules(b *testing.B) {
	set := load(b, rules.Tagwarden)
	fields := event.FieldsOf(start("nginx:1.25.3"), false)
	dst := make([]*falco.Rule, 0, 4)
	b.ReportAllocs()
	for b.Loop() {
		dst = set.Evaluate(dst[:0], fields)
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	for name, data := range map[string][]byte{"lab-010": rules.Lab010, "tagwarden": rules.Tagwarden} {
		set := load(t, data)
		dst := make([]*falco.Rule, 0, 4)
		for _, reference := range []string{"nginx", "nginx:1.25.3", "nginx@" + digest} {
			fields := event.FieldsOf(start(reference, in("prod")), true)
			if n := testing.AllocsPerRun(100, func() { dst = set.Evaluate(dst[:0], fields) }); n != 0 {
				t.Errorf("%s, %s: %v allocations, want none", name, reference, n)
			}
		}
	}
}
