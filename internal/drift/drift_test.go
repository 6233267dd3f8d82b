package drift_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// digest is a manifest of its own; its config is one, too.
func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// known is the comparer that has been told what each manifest is.
func known(manifests ...int) *image.Identities {
	ids := image.NewIdentities()
	for _, n := range manifests {
		ids.Add(image.Content{
			Digest: image.Digest(digest(n)), Kind: image.KindManifest,
			Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Config: image.Digest(digest(1000 + n)),
		})
	}
	return ids
}

// start is a start of the container of Deployment/api, some time after noon.
func start(pod, revision string, after time.Duration, digest string) *event.Start {
	return &event.Start{
		Time: noon.Add(after), Namespace: "shop", Pod: pod, PodUID: "uid-" + pod, Node: "n1", Platform: "linux/amd64",
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "api"}, Revision: revision,
		Container: "api", Kind: event.Container, ContainerID: fmt.Sprint(pod, "-", after),
		Reference: "registry.example/api:latest", Digest: digest, DigestOf: "registry.example/api",
	}
}

func with(s *event.Start, change func(*event.Start)) *event.Start {
	change(s)
	return s
}

func pastOf(starts ...*event.Start) *drift.Past {
	var p drift.Past
	for _, s := range starts {
		p.Add(drift.SightingOf(s))
	}
	return &p
}

// TestJudge is about what one decision says; which findings there are over a
// whole history is tested with the engine.
func TestJudge(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	first := start("a", "r1", 0, digest(1))
	fixed := func(s *event.Start) { s.Reference = "registry.example/api:1.2.3" }
	for _, tc := range []struct {
		name   string
		c      drift.Case
		ids    *image.Identities
		state  drift.State
		from   string
		open   bool
		ask    []string
		wanted []string // id and form of each finding
		says   string   // in the message of the first finding, or the reason
	}{
		{
			name: "nothing is known before", c: drift.Case{Start: first},
			state: drift.First, says: "nothing ran in this revision before",
		},
		{
			name: "the start itself is in the past", c: drift.Case{Start: first, Past: pastOf(first)},
			state: drift.First,
		},
		{
			name: "another reference in the revision, as in a pod whose image was edited",
			c:    drift.Case{Start: with(start("b", "r1", minute, digest(2)), fixed), Past: pastOf(first)},
			ids:  known(1, 2), state: drift.First,
		},
		{
			name: "digests that nobody knows", c: drift.Case{Start: start("b", "r1", minute, digest(2)), Past: pastOf(first)},
			state: drift.Unknown, open: true, ask: []string{digest(1), digest(2)}, says: "it is not known what",
		},
		{
			name: "approved, though it cannot be compared with the first",
			c:    drift.Case{Start: start("b", "r1", minute, digest(2)), Past: pastOf(first), Approved: []string{digest(2)}},
			// The first still cannot be told, and the registry may.
			state: drift.Expected, open: true, ask: []string{digest(1), digest(2)},
		},
		{
			name:  "an approval of the new bytes says nothing about those before it",
			c:     drift.Case{Start: start("b", "r1", minute, digest(2)), Past: pastOf(first), Approved: []string{digest(2)}},
			ids:   known(1, 2),
			state: drift.Expected,
		},
		{
			name:  "the first of a new revision is none of the approved ones",
			c:     drift.Case{Start: start("b", "r2", minute, digest(3)), Past: pastOf(first), Approved: []string{digest(1), digest(2)}},
			ids:   known(1, 2, 3),
			state: drift.Moved, from: digest(1), wanted: []string{"TW-03 baseline"}, says: "is not the approved baseline",
		},
		{
			name: "the reference is spelled otherwise in the new revision",
			c: drift.Case{
				Start: with(start("b", "r2", minute, digest(2)), func(s *event.Start) { s.Reference = "docker.io/library/nginx:latest" }),
				Past:  pastOf(with(start("a", "r1", 0, digest(1)), func(s *event.Start) { s.Reference = "nginx:latest" })),
			},
			ids: known(1, 2), state: drift.Moved, from: digest(1), wanted: []string{"TW-03 restart"}, says: "the tag moved at a restart",
		},
		{
			name: "a fixed tag is compared over the revisions in between",
			c: drift.Case{
				Start: with(start("c", "r3", 2*minute, digest(3)), fixed),
				Past:  pastOf(with(start("a", "r1", 0, digest(1)), fixed), start("b", "r2", minute, digest(2))),
			},
			ids: known(1, 2, 3), state: drift.Moved, from: digest(1), wanted: []string{"TW-03 restart"},
		},
		{
			name: "the measure is what the old revision was to run, not what replaced it",
			c: drift.Case{
				Start: start("c", "r2", 2*minute, digest(2)),
				Past:  pastOf(first, start("b", "r1", minute, digest(2))),
			},
			ids: known(1, 2), state: drift.Moved, from: digest(1), wanted: []string{"TW-03 restart"},
		},
		{
			name: "a workload that was deleted and made anew from the same template",
			c: drift.Case{
				Start: with(start("b", "r1", time.Hour, digest(2)), func(s *event.Start) {
					s.Deployment = &event.Deployment{Time: noon.Add(59 * minute), By: "kubectl-create"}
				}),
				Past: pastOf(first),
			},
			ids: known(1, 2), state: drift.Changed, from: digest(1), wanted: []string{"TW-04 recreated"}, says: "made anew from the same spec",
		},
		{
			name: "another run of a CronJob is nobody's deployment",
			c: drift.Case{
				Start: with(start("b", "r1", time.Hour, digest(2)), func(s *event.Start) {
					s.Workload = event.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "api"}
					s.Deployment = &event.Deployment{Time: noon.Add(59 * minute)}
				}),
				Past: pastOf(first),
			},
			ids: known(1, 2), state: drift.Changed, from: digest(1), wanted: []string{"TW-04 new-pod"}, says: "no deployment took place",
		},
		{
			name: "the old revision comes back while it still runs elsewhere",
			c: drift.Case{
				Start: start("c", "r1", 2*minute, digest(2)), Past: pastOf(first, start("b", "r2", minute, digest(3))),
				Running: []history.Seen{*drift.SightingOf(first)},
			},
			ids: known(1, 2, 3), state: drift.Changed, from: digest(1), wanted: []string{"TW-04 new-pod", "TW-05 skew"},
		},
		{
			name: "no container is left of the old revision",
			c: drift.Case{
				Start: start("c", "r1", 2*minute, digest(2)), Past: pastOf(first, start("b", "r2", minute, digest(3))),
			},
			ids: known(1, 2, 3), state: drift.Changed, from: digest(1), wanted: []string{"TW-04 rollback"}, says: "rolled back to revision r1",
		},
		{
			name: "the runtime has not told the digest yet", c: drift.Case{Start: start("b", "r1", minute, ""), Past: pastOf(first)},
			state: drift.Unknown, open: true, says: "does not say which digest",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.ids == nil {
				tc.ids = known()
			}
			v := drift.Judge(&tc.c, tc.ids)
			var got []string
			text := v.Reason
			for i, f := range v.Findings {
				got = append(got, string(f.ID)+" "+f.Form)
				if i == 0 {
					text = f.Message
				}
			}
			if v.State != tc.state || v.From != tc.from || v.Open != tc.open {
				t.Errorf("got state %v, from %q, open %v (%s); want %v, %q, %v", v.State, v.From, v.Open, v.Reason, tc.state, tc.from, tc.open)
			}
			var ask []string
			for _, q := range v.Ask {
				ask = append(ask, q.Digest.String())
			}
			if !slices.Equal(ask, tc.ask) {
				t.Errorf("asks about %v, want %v", ask, tc.ask)
			}
			if diff := cmp.Diff(tc.wanted, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if !strings.Contains(text, tc.says) {
				t.Errorf("says %q, want %q in it", text, tc.says)
			}
		})
	}
}

// TestJudgeAnyOrder: a decision rests on the times of what was seen, and not on
// the order in which it became known.
func TestJudgeAnyOrder(t *testing.T) {
	t.Parallel()
	seen := []*event.Start{
		start("a", "r1", 0, digest(1)), start("b", "r1", time.Minute, digest(2)),
		start("c", "r2", 2*time.Minute, digest(2)), start("d", "r1", 3*time.Minute, digest(1)),
	}
	ids := known(1, 2, 3)
	c := drift.Case{Start: start("e", "r2", 4*time.Minute, digest(3))}
	var want drift.Verdict
	for n, order := range permutations(len(seen)) {
		var p drift.Past
		for _, i := range order {
			p.Add(drift.SightingOf(seen[i]))
		}
		c.Past = &p
		got := drift.Judge(&c, ids)
		if n == 0 {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("in order %v (-want +got):\n%s", order, diff)
		}
	}
	if len(want.Findings) == 0 {
		t.Error("nothing was found: the test tells nothing")
	}
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

func TestPastForgets(t *testing.T) {
	t.Parallel()
	var p drift.Past
	for i := range 10 {
		p.Add(drift.SightingOf(start("a", fmt.Sprint("r", i), time.Duration(i)*time.Hour, digest(i))))
	}
	p.Forget(3, func(s *history.Seen) bool { return s.Revision == "r1" })
	var got []string
	for s := range p.All() {
		got = append(got, s.Revision)
	}
	if diff := cmp.Diff([]string{"r1", "r7", "r8", "r9"}, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	// What is kept is still the measure.
	v := drift.Judge(&drift.Case{Start: start("b", "r1", 11*time.Hour, digest(11)), Past: &p}, known(1, 11))
	if v.State != drift.Changed || v.From != digest(1) {
		t.Errorf("got %v from %s, want changed from %s", v.State, v.From, digest(1))
	}
}
