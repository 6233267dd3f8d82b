// Package storetest says by tests what a history store does. Every kind of
// store passes them.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// Store is what every kind of store can do.
type Store interface {
	Write(ctx context.Context, b *store.Batch) error
	Running(ctx context.Context, cluster string) iter.Seq2[store.RunningContainer, error]
	Seen(ctx context.Context, subject history.Subject) ([]history.Seen, error)
	SeenIn(ctx context.Context, subject history.Subject, revision string) ([]history.Seen, error)
	Intervals(ctx context.Context, q history.Query) iter.Seq2[history.Interval, error]
	Revisions(ctx context.Context, q history.Query) ([]history.Revision, error)
	Findings(ctx context.Context, q history.Query, ids ...finding.ID) iter.Seq2[history.Record, error]
	Undelivered(ctx context.Context) ([]history.Record, error)
	Baselines(ctx context.Context, subject history.Subject) ([]history.Baseline, error)
	AddBaseline(ctx context.Context, b history.Baseline) (int64, error)
	RemoveBaseline(ctx context.Context, id int64) error
	PutContents(ctx context.Context, contents ...store.Content) error
	Contents(ctx context.Context, digests ...string) ([]store.Content, error)
	PutSame(ctx context.Context, at time.Time, groups ...[]string) error
	Same(ctx context.Context) iter.Seq2[[]string, error]
	Pushes(ctx context.Context, repository, tag string, limit int) ([]event.Push, error)
	Retain(ctx context.Context, before time.Time) (removed int, err error)
	Check(ctx context.Context) ([]store.Problem, error)
	Close() error
}

// Place is where a store lies. Open opens it as a new process would; what was
// open before has been closed.
type Place struct {
	Open func(t *testing.T) Store
}

// Run runs all tests. empty makes a place without a store.
func Run(t *testing.T, empty func(t *testing.T) Place) {
	open := func(t *testing.T) *session {
		t.Helper()
		s := &session{t: t, place: empty(t)}
		s.reopen()
		t.Cleanup(s.close)
		return s
	}
	for name, test := range map[string]func(*testing.T, opener){
		"Intervals":  testIntervals,
		"Fields":     testFields,
		"Downtime":   testDowntime,
		"Again":      testAgain,
		"Seen":       testSeen,
		"Query":      testQuery,
		"Revisions":  testRevisions,
		"MixedBatch": testMixedBatch,
		"Findings":   testFindings,
		"Baselines":  testBaselines,
		"Contents":   testContents,
		"Retain":     testRetain,
		"Pushes":     testPushes,
		"Model":      testModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// opener opens a new, empty store.
type opener func(t *testing.T) *session

// Noon is when stories begin.
var Noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Digest makes a digest that differs for each n.
func Digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// session is a store that can be closed and opened again.
type session struct {
	Store
	t     *testing.T
	place Place
}

func (s *session) reopen() {
	s.t.Helper()
	s.close()
	s.Store = s.place.Open(s.t)
}

func (s *session) close() {
	s.t.Helper()
	if s.Store != nil {
		// The context of the test has ended when it is cleaned up.
		problems, err := s.Check(context.Background())
		if err != nil || len(problems) > 0 {
			s.t.Errorf("the store is not sound: %v, %v", problems, err)
		}
		if err := s.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Store = nil
}

func (s *session) write(b *store.Batch) {
	s.t.Helper()
	if err := s.Write(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
}

// tell writes the events of a story, each in a batch of its own. The words of
// a line: minutes after noon; then
//
//	+ID VARIETY  a start; the variety is revision.digest, such as r1.d1
//	-ID          an end
//	=ID          a confirmation
//	synced       of the whole cluster
//	beat         a heartbeat alone
//	reopen       the store
func (s *session) tell(story string) {
	s.t.Helper()
	for line := range strings.Lines(story) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var minutes float64
		if _, err := fmt.Sscan(words[0], &minutes); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		at := Noon.Add(time.Duration(minutes * float64(time.Minute)))
		b := &store.Batch{}
		switch word := words[1]; {
		case word == "reopen":
			s.reopen()
			continue
		case word == "beat":
			b.Now = at
		case word == "synced":
			b.Synced = []*event.Synced{{Time: at}}
		case word[0] == '+':
			b.Starts = []*event.Start{start(at, word[1:], words[2])}
		case word[0] == '-':
			b.Ends = []*event.End{{Time: at, ContainerID: word[1:]}}
		case word[0] == '=':
			b.Confirmed = []string{word[1:]}
		default:
			s.t.Fatalf("%q: no such event", line)
		}
		s.write(b)
	}
}

// start makes a start of the story's one workload.
func start(at time.Time, id, variety string) *event.Start {
	revision, digest, _ := strings.Cut(variety, ".")
	return &event.Start{
		Time: at, Namespace: "shop", Pod: "web-" + id, PodUID: "uid-" + id, Node: "n-" + id,
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, Revision: revision,
		Container: "app", Kind: event.Container, ContainerID: id, Reference: "nginx", Digest: digest,
	}
}

// intervals writes what the store has as lines: variety, first and last in
// minutes after noon, starts, what runs, the first container.
func (s *session) intervals(q history.Query) string {
	s.t.Helper()
	var b strings.Builder
	for _, i := range s.all(q) {
		fmt.Fprintf(&b, "%s.%s %v-%v x%d", i.Revision, i.Digest, i.First.Sub(Noon).Minutes(), i.Last.Sub(Noon).Minutes(), i.Starts)
		if i.Running > 0 {
			fmt.Fprintf(&b, " runs %d", i.Running)
		}
		if i.Paused {
			b.WriteString(" paused")
		}
		fmt.Fprintf(&b, " %s %s\n", i.ContainerID, strings.Join(i.Nodes, ","))
	}
	return b.String()
}

func (s *session) all(q history.Query) []history.Interval {
	s.t.Helper()
	return collect(s.t, s.Intervals(s.t.Context(), q))
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// lines cuts the indentation from lines.
func lines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func testIntervals(t *testing.T, open opener) {
	for _, tc := range []struct{ name, story, want string }{
		{
			"what runs is known to run until the heartbeat",
			`0 +a r1.d1
			 9 beat`,
			`r1.d1 0-9 x1 runs 1 a n-a`,
		},
		{
			"the end fixes it",
			`0 +a r1.d1
			 5 -a
			 9 beat`,
			`r1.d1 0-5 x1 a n-a`,
		},
		{
			"restarts extend",
			`0 +a r1.d1
			 1 -a
			 2 +b r1.d1
			 3 -b
			 7 +c r1.d1`,
			`r1.d1 0-7 x3 runs 1 a n-a,n-b,n-c`,
		},
		{
			"a long pause is noted",
			`0 +a r1.d1
			 1 -a
			 12 +b r1.d1`,
			`r1.d1 0-12 x2 runs 1 paused a n-a,n-b`,
		},
		{
			"the longest back-off is no pause",
			`0 +a r1.d1
			 1 -a
			 11 +b r1.d1`,
			`r1.d1 0-11 x2 runs 1 a n-a,n-b`,
		},
		{
			"there and back again are three",
			`0 +a r1.d1
			 1 -a
			 1 +b r1.d2
			 2 -b
			 2 +c r1.d1`,
			`r1.d1 0-1 x1 a n-a
			 r1.d2 1-2 x1 b n-b
			 r1.d1 2-2 x1 runs 1 c n-c`,
		},
		{
			"there and back again without a gap are three",
			`0 +a r1.d1
			 2 +b r2.d1
			 3 -a
			 5 +c r1.d1
			 6 -b
			 7 beat`,
			`r1.d1 0-3 x1 a n-a
			 r2.d1 2-6 x1 b n-b
			 r1.d1 5-7 x1 runs 1 c n-c`,
		},
		{
			"a replica of the old digest that is left goes on",
			`0 +a r1.d1
			 0 +b r1.d1
			 1 -b
			 1 +c r1.d2
			 2 +d r1.d1
			 3 beat`,
			`r1.d1 0-3 x3 runs 2 a n-a,n-b,n-d
			 r1.d2 1-3 x1 runs 1 c n-c`,
		},
		{
			"a new replica that crashes beside an old one is one",
			`0 +a r1.d1
			 1 +b r2.d2
			 2 -b
			 3 +c r2.d2
			 4 -c
			 9 +d r2.d2`,
			`r1.d1 0-0 x1 runs 1 a n-a
			 r2.d2 1-9 x3 runs 1 b n-b,n-c,n-d`,
		},
		{
			"an older start moves the first back",
			`5 +a r1.d1
			 3 +b r1.d1`,
			`r1.d1 3-5 x2 runs 2 b n-a,n-b`,
		},
		{
			"an end before its start",
			`5 -a
			 3 +a r1.d1`,
			`r1.d1 3-5 x1 a n-a`,
		},
		{
			"an end that nothing belongs to",
			`5 -a`,
			``,
		},
		{
			"an end twice",
			`0 +a r1.d1
			 1 -a
			 2 -a
			 3 +b r1.d1`,
			`r1.d1 0-3 x2 runs 1 a n-a,n-b`,
		},
		{
			"an old start and its end, told late, go where they belong",
			`0 +a r1.d1
			 3 -a
			 3 +b r1.d2
			 6 -b
			 6 +c r1.d1
			 2 -late
			 1 +late r1.d1`,
			`r1.d1 0-3 x2 a n-a,n-late
			 r1.d2 3-6 x1 b n-b
			 r1.d1 6-6 x1 runs 1 c n-c`,
		},
		{
			"what was before the first, and over, comes before it",
			`5 +a r1.d2
			 6 -a
			 6 +b r1.d1
			 4 -late
			 3 +late r1.d1`,
			`r1.d1 3-4 x1 late n-late
			 r1.d2 5-6 x1 a n-a
			 r1.d1 6-6 x1 runs 1 b n-b`,
		},
		{
			"what ran all the time joins what it covers",
			`0 +a r1.d1
			 3 -a
			 3 +b r1.d2
			 6 -b
			 6 +c r1.d1
			 1 +late r1.d1
			 7 beat`,
			`r1.d1 0-7 x3 runs 2 a n-a,n-c,n-late
			 r1.d2 3-6 x1 b n-b`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.tell(tc.story)
			if diff := cmp.Diff(lines(tc.want), s.intervals(history.Query{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func testDowntime(t *testing.T, open opener) {
	for _, tc := range []struct{ name, story, want string }{
		{
			"what is not named again ended at the heartbeat",
			`0 +a r1.d1
			 1 +b r1.d1
			 2 beat
			 60 reopen
			 60 =b
			 60 beat
			 60 synced`,
			`r1.d1 0-60 x2 runs 1 a n-a,n-b`,
		},
		{
			"nothing runs any longer",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 60 beat
			 60 synced
			 61 beat`,
			`r1.d1 0-2 x1 a n-a`,
		},
		{
			"until it is synced, nothing new is claimed",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 60 beat
			 61 beat`,
			`r1.d1 0-2 x1 runs 1 a n-a`,
		},
		{
			"a process that dies before it is synced claims nothing new",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 60 beat
			 61 reopen
			 62 beat
			 62 synced`,
			`r1.d1 0-2 x1 a n-a`,
		},
		{
			"a start again confirms",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 0 +a r1.d1
			 60 synced
			 61 beat`,
			`r1.d1 0-61 x1 runs 1 a n-a`,
		},
		{
			"what started since the store was opened goes on",
			`0 +a r1.d1
			 2 reopen
			 3 +b r1.d1
			 3 synced
			 4 beat
			 5 synced`,
			`r1.d1 0-4 x2 runs 1 a n-a,n-b`,
		},
		{
			"ended meanwhile, and told",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 60 beat
			 0 +a r1.d1
			 30 -a
			 60 synced`,
			`r1.d1 0-30 x1 a n-a`,
		},
		{
			"what was taken to have ended, and runs after all",
			`0 +a r1.d1
			 2 beat
			 60 reopen
			 60 synced
			 0 +a r1.d1
			 61 beat`,
			`r1.d1 0-61 x1 runs 1 a n-a`,
		},
		{
			"old containers that a pod still names are not counted again",
			`0 +a r1.d1
			 1 -a
			 1 +b r1.d2
			 2 beat
			 60 reopen
			 0 +a r1.d1
			 1 -a
			 1 +b r1.d2
			 60 synced
			 61 beat`,
			`r1.d1 0-1 x1 a n-a
			 r1.d2 1-61 x1 runs 1 b n-b`,
		},
		{
			"confirmed without a start is nothing",
			`0 =a
			 1 synced`,
			``,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.tell(tc.story)
			if diff := cmp.Diff(lines(tc.want), s.intervals(history.Query{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	// Of two clusters, on two nodes, in two namespaces.
	for _, tc := range []struct {
		name  string
		scope event.Synced
		want  []string
	}{
		{"cluster", event.Synced{Cluster: "x"}, []string{"other"}},
		{"node", event.Synced{Cluster: "x", Node: "n2"}, []string{"a", "b", "other"}},
		{"namespace", event.Synced{Cluster: "x", Namespace: "b"}, []string{"a", "other"}},
		{"both", event.Synced{Cluster: "x", Namespace: "b", Node: "n1"}, []string{"a", "c", "other"}},
		{"nothing of it", event.Synced{Cluster: "y", Node: "n9"}, []string{"a", "b", "c", "other"}},
	} {
		t.Run("scope "+tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			in := func(cluster, namespace, node, id string) *event.Start {
				e := start(Noon, id, "r.d")
				e.Cluster, e.Namespace, e.Node = cluster, namespace, node
				return e
			}
			s.write(&store.Batch{Cluster: "x", Starts: []*event.Start{in("x", "a", "n1", "a"), in("x", "b", "n1", "b"), in("x", "b", "n2", "c")}})
			s.write(&store.Batch{Cluster: "y", Starts: []*event.Start{in("y", "b", "n2", "other")}})
			s.reopen()
			s.write(&store.Batch{Cluster: tc.scope.Cluster, Synced: []*event.Synced{&tc.scope}})
			var got []string
			for _, cluster := range []string{"x", "y"} {
				for _, c := range collect(t, s.Running(t.Context(), cluster)) {
					got = append(got, c.ContainerID)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("what still runs (-want +got):\n%s", diff)
			}
		})
	}
}

// full is a start with all that is kept of one.
func full() *event.Start {
	return &event.Start{
		Time: Noon, Source: "kube", Node: "n1", Cluster: "prod", Platform: "linux/amd64", Namespace: "shop",
		Pod: "web-5d8c-x", PodUID: "0f5c6a57-6d3c-4f5f-8b1e-0d9b4b7e2f11",
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, Revision: "5d8c",
		Deployment: &event.Deployment{Time: Noon.Add(-time.Minute), By: "kubectl-edit", Via: "Helm release web", Cause: "a change"},
		Container:  "app", Kind: event.Sidecar, ContainerID: strings.Repeat("0a", 32), Reference: "nginx:1.25",
		Digest: Digest(1), DigestOf: "docker.io/library/nginx",
	}
}

func testFields(t *testing.T, open opener) {
	s := open(t)
	e := full()
	s.write(&store.Batch{Cluster: "prod", Now: Noon.Add(time.Second + 5), Starts: []*event.Start{e}})
	subject := history.Subject{Cluster: "prod", Namespace: "shop", Workload: e.Workload, Container: "app"}
	seen := history.Seen{
		Revision: "5d8c", Reference: "nginx:1.25", Digest: Digest(1), DigestOf: "docker.io/library/nginx", Platform: "linux/amd64",
		First: Noon, Pod: e.Pod, PodUID: e.PodUID, Node: "n1", ContainerID: e.ContainerID,
	}
	interval := history.Interval{
		Subject: subject, Kind: event.Sidecar, Seen: seen, Last: Noon.Add(time.Second + 5), Running: 1, Starts: 1, Nodes: []string{"n1"},
	}
	if diff := cmp.Diff([]history.Interval{interval}, s.all(history.Query{})); diff != "" {
		t.Errorf("intervals (-want +got):\n%s", diff)
	}
	got, err := s.Seen(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]history.Seen{seen}, got); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	running := store.RunningContainer{
		ContainerID: e.ContainerID, Pod: e.Pod, PodUID: e.PodUID, Node: "n1", Subject: subject, Kind: event.Sidecar, Revision: "5d8c",
		Reference: "nginx:1.25", Digest: Digest(1), DigestOf: "docker.io/library/nginx", Platform: "linux/amd64", Started: Noon,
	}
	if diff := cmp.Diff([]store.RunningContainer{running}, collect(t, s.Running(t.Context(), "prod"))); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	revisions, err := s.Revisions(t.Context(), history.Query{})
	if err != nil {
		t.Fatal(err)
	}
	revision := history.Revision{Cluster: "prod", Namespace: "shop", Workload: e.Workload, Name: "5d8c", First: Noon, Deployment: e.Deployment}
	if diff := cmp.Diff([]history.Revision{revision}, revisions); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}

	// Texts of unusual form come back as they are, and as others than the
	// usual ones that they resemble.
	odd := full()
	odd.ContainerID = strings.ToUpper(e.ContainerID)
	odd.PodUID = "0F5C6A57-6D3C-4F5F-8B1E-0D9B4B7E2F11"
	odd.Pod, odd.Digest, odd.Reference = "", strings.ToUpper(Digest(1)), "Nginx:\x00\xff"
	s.write(&store.Batch{Cluster: "prod", Starts: []*event.Start{odd}})
	for _, c := range collect(t, s.Running(t.Context(), "prod")) {
		if c.ContainerID != odd.ContainerID {
			continue
		}
		if c.PodUID != odd.PodUID || c.Digest != odd.Digest || c.Pod != "" || c.Reference != odd.Reference {
			t.Errorf("unusual texts come back as %+v", c)
		}
	}
	if n := len(s.all(history.Query{})); n != 2 {
		t.Errorf("got %d intervals, want 2", n)
	}

	// A pod of which no workload is known stands for itself.
	alone := &event.Start{Time: Noon, Cluster: "prod", Pod: "alone", PodUID: "u", ContainerID: "id", Container: "c"}
	s.write(&store.Batch{Cluster: "prod", Starts: []*event.Start{alone}})
	if got := s.all(history.Query{Workload: "pod/alone"}); len(got) != 1 || got[0].Subject != history.SubjectOf(alone) || got[0].Revision != "u" {
		t.Errorf("the bare pod came back as %+v", got)
	}
}

// testAgain writes batches again: nothing changes, whether they come in one
// piece or in several.
func testAgain(t *testing.T, open opener) {
	s := open(t)
	b := &store.Batch{
		Now:    Noon.Add(time.Hour),
		Starts: []*event.Start{start(Noon.Add(2*time.Minute), "c", "r1.d1"), start(Noon, "a", "r1.d1"), start(Noon.Add(time.Minute), "b", "r1.d2")},
		Ends:   []*event.End{{Time: Noon.Add(2 * time.Minute), ContainerID: "b"}, {Time: Noon.Add(time.Minute), ContainerID: "a"}},
	}
	want := lines(`r1.d1 0-1 x1 a n-a
		r1.d2 1-2 x1 b n-b
		r1.d1 2-60 x1 runs 1 c n-c`)
	for range 3 {
		s.write(b)
		if diff := cmp.Diff(want, s.intervals(history.Query{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	s.reopen()
	s.write(b)
	for _, e := range b.Starts {
		s.write(&store.Batch{Starts: []*event.Start{e, e}})
	}
	if diff := cmp.Diff(want, s.intervals(history.Query{})); diff != "" {
		t.Errorf("opened again (-want +got):\n%s", diff)
	}
}

func testSeen(t *testing.T, open opener) {
	s := open(t)
	s.tell(`5 +a r1.d1
		6 +b r2.d1
		7 +c r2.d2
		8 -b
		9 +d r2.d1
		10 -d
		11 +e r1.d1
		1 +f r2.d1`)
	// The kind of a container makes no difference.
	e := start(Noon.Add(20*time.Minute), "g", "r1.d1")
	e.Kind = ""
	s.write(&store.Batch{Starts: []*event.Start{e}})
	got, err := s.Seen(t.Context(), history.SubjectOf(e))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, seen := range got {
		fmt.Fprintf(&b, "%s.%s %v %s\n", seen.Revision, seen.Digest, seen.First.Sub(Noon).Minutes(), seen.ContainerID)
	}
	if diff := cmp.Diff("r2.d1 1 f\nr1.d1 5 a\nr2.d2 7 c\n", b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := s.Seen(t.Context(), history.Subject{}); err != nil || len(got) > 0 {
		t.Errorf("of an unknown subject: %v, %v", got, err)
	}

	// Of very many revisions the newest are enough, and those that run.
	s = open(t)
	batch := &store.Batch{Starts: []*event.Start{start(Noon, "a", "old.d1"), start(Noon, "b", "over.d1")}, Ends: []*event.End{{Time: Noon, ContainerID: "b"}}}
	for i := range store.SeenLimit {
		id := fmt.Sprint(i)
		batch.Starts = append(batch.Starts, start(Noon.Add(time.Duration(i+1)*time.Minute), id, "r"+id+".d1"))
		batch.Ends = append(batch.Ends, &event.End{Time: Noon.Add(time.Duration(i+2) * time.Minute), ContainerID: id})
	}
	s.write(batch)
	got, err = s.Seen(t.Context(), history.SubjectOf(e))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != store.SeenLimit+1 || got[0].Revision != "old" || got[1].Revision != "r0" {
		t.Errorf("of many revisions got %d, first %+v", len(got), got[:2])
	}
	// One that comes back is found by its name.
	for revision, want := range map[string]string{"over": "old over", "old": "old", "never": "old"} {
		got, err = s.SeenIn(t.Context(), history.SubjectOf(e), revision)
		var names []string
		for _, seen := range got {
			names = append(names, seen.Revision)
		}
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("in revision %s: got %q (%v), want %q", revision, names, err, want)
		}
	}
}

func testQuery(t *testing.T, open opener) {
	s := open(t)
	add := func(id string, from, to int, change func(*event.Start)) {
		e := start(Noon.Add(time.Duration(from)*time.Minute), id, "r."+Digest(1))
		e.Cluster = "x"
		change(e)
		b := &store.Batch{Cluster: "x", Starts: []*event.Start{e}}
		if to > 0 {
			b.Ends = []*event.End{{Time: Noon.Add(time.Duration(to) * time.Minute), Cluster: "x", ContainerID: id}}
		}
		s.write(b)
	}
	add("a", 0, 10, func(*event.Start) {})
	add("b", 5, 0, func(e *event.Start) { e.Namespace, e.Reference = "bank", "quay.io/acme/api:1" })
	add("c", 20, 30, func(e *event.Start) { e.Workload.Kind, e.Digest = "StatefulSet", Digest(2) })
	add("d", 25, 0, func(e *event.Start) { e.Container, e.Reference, e.DigestOf = "side", "", "docker.io/library/redis" })
	add("e", 40, 50, func(e *event.Start) {
		e.Workload.Name, e.PodUID = "shop", "0f5c6a57-6d3c-4f5f-8b1e-0d9b4b7e2f11"
	})
	s.write(&store.Batch{Cluster: "x", Now: Noon.Add(time.Hour)})
	at := func(minutes int) time.Time { return Noon.Add(time.Duration(minutes) * time.Minute) }
	for _, tc := range []struct {
		name string
		q    history.Query
		want string
	}{
		{"all, by subject", history.Query{}, "b e a d c"},
		{"cluster", history.Query{Cluster: "x"}, "b e a d c"},
		{"another cluster", history.Query{Cluster: "y"}, ""},
		{"namespace", history.Query{Namespace: "bank"}, "b"},
		{"workload", history.Query{Workload: "web"}, "b a d c"},
		{"workload and kind in any case", history.Query{Workload: "statefulSET/web"}, "c"},
		{"workload of another kind", history.Query{Workload: "Job/web"}, ""},
		{"container", history.Query{Container: "side"}, "d"},
		{"pod", history.Query{Pod: "web-c"}, "c"},
		{"pod by uid", history.Query{Pod: "0f5c6a57-6d3c-4f5f-8b1e-0d9b4b7e2f11"}, "e"},
		{"repository", history.Query{Repository: "docker.io/library/nginx"}, "e a c"},
		{"repository that the runtime says", history.Query{Repository: "docker.io/library/redis"}, "d"},
		{"digest", history.Query{Digest: Digest(2)}, "c"},
		{"no such digest", history.Query{Digest: Digest(9)}, ""},
		{"at a time", history.Query{From: at(7), To: at(7)}, "b a"},
		{"at its first moment", history.Query{From: at(20), To: at(20)}, "b c"},
		{"at its last moment", history.Query{From: at(30), To: at(30)}, "b d c"},
		{"since", history.Query{From: at(35)}, "b e d"},
		{"until", history.Query{To: at(20)}, "b a c"},
		{"what runs has no end", history.Query{From: at(100), To: at(100)}, "b d"},
		{"the newest, by subject", history.Query{Limit: 2}, "e d"},
		{"the newest of a workload", history.Query{Limit: 2, Workload: "web"}, "d c"},
		{"all at once", history.Query{Cluster: "x", Namespace: "shop", Workload: "Deployment/web", Container: "app", Pod: "web-a", Repository: "docker.io/library/nginx", Digest: Digest(1), From: at(1), To: at(2), Limit: 5}, "a"},
	} {
		var got []string
		for _, i := range s.all(tc.q) {
			got = append(got, i.ContainerID)
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}

	// A pod that runs is found in all that it ran; of two pods of one name,
	// the namespace tells which.
	add("f", 70, 0, func(e *event.Start) { e.Namespace, e.Pod = "bank", "web-a" })
	add("g", 71, 72, func(e *event.Start) { e.Pod, e.PodUID, e.Digest, e.Revision = "web-d", "uid-d", Digest(3), "s" })
	add("h", 73, 0, func(e *event.Start) { e.Digest, e.Revision = Digest(3), "s" })
	for _, tc := range []struct {
		q    history.Query
		want string
	}{
		{history.Query{Pod: "web-a"}, "f"},
		{history.Query{Pod: "web-a", Namespace: "shop"}, "a"},
		{history.Query{Pod: "uid-d"}, "g d"},
		{history.Query{Pod: "uid-d", Limit: 1}, "g"},
		{history.Query{Pod: "uid-h"}, "g"},
	} {
		var got []string
		for _, i := range s.all(tc.q) {
			got = append(got, i.ContainerID)
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.q, got, tc.want)
		}
	}

	// An iterator may be left, and the store used within it.
	for i, err := range s.Intervals(t.Context(), history.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Seen(t.Context(), i.Subject); err != nil {
			t.Fatal(err)
		}
		s.write(&store.Batch{Cluster: "x", Now: Noon.Add(2 * time.Hour)})
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Intervals(ctx, history.Query{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	}
}

func testRevisions(t *testing.T, open opener) {
	s := open(t)
	first := start(Noon, "a", "r1.d1")
	again := start(Noon.Add(-time.Minute), "b", "r1.d1")
	again.Deployment = &event.Deployment{By: "helm"}
	late := start(Noon, "c", "r1.d1")
	late.Deployment = &event.Deployment{By: "kubectl"}
	second := start(Noon.Add(time.Hour), "d", "r2."+Digest(2))
	second.Reference = "redis"
	other := start(Noon, "e", "r1.d1")
	other.Workload.Name = "api"
	s.write(&store.Batch{Starts: []*event.Start{first}})
	s.write(&store.Batch{Starts: []*event.Start{again}})
	s.write(&store.Batch{Starts: []*event.Start{late, second, other}})
	for _, tc := range []struct {
		name string
		q    history.Query
		want string
	}{
		{"by workload and time; the first act counts", history.Query{}, "api/r1/0/ web/r1/-1/helm web/r2/60/"},
		{"workload", history.Query{Workload: "deployment/api"}, "api/r1/0/"},
		{"the newest", history.Query{Limit: 2}, "api/r1/0/ web/r2/60/"},
		{"what ran", history.Query{Repository: "docker.io/library/redis", Digest: Digest(2), Container: "app"}, "web/r2/60/"},
		{"container", history.Query{Container: "side"}, ""},
		{"since", history.Query{From: Noon}, "api/r1/0/ web/r2/60/"},
		{"until", history.Query{To: Noon}, "api/r1/0/ web/r1/-1/helm"},
	} {
		all, err := s.Revisions(t.Context(), tc.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range all {
			by := ""
			if r.Deployment != nil {
				by = r.Deployment.By
			}
			got = append(got, fmt.Sprintf("%s/%s/%v/%s", r.Workload.Name, r.Name, r.First.Sub(Noon).Minutes(), by))
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func testMixedBatch(t *testing.T, open opener) {
	s := open(t)
	good := start(Noon, "a", "r.d")
	good.Cluster = "x"
	for _, b := range []*store.Batch{
		{Cluster: "x", Starts: []*event.Start{good, start(Noon, "b", "r.d")}},
		{Cluster: "x", Starts: []*event.Start{good}, Ends: []*event.End{{Time: Noon, ContainerID: "a"}}},
		{Cluster: "x", Starts: []*event.Start{good}, Synced: []*event.Synced{{Time: Noon}}},
		// Found while it is written: all of it is left out.
		{Cluster: "x", Starts: []*event.Start{good}, Delivered: []string{"no hex"}},
	} {
		if err := s.Write(t.Context(), b); err == nil {
			t.Errorf("written: %+v", b)
		}
	}
	if got := s.all(history.Query{}); len(got) > 0 {
		t.Errorf("a part of a wrong batch was kept: %+v", got)
	}
	s.write(&store.Batch{Cluster: "x", Starts: []*event.Start{good}})
	if got := s.all(history.Query{}); len(got) != 1 {
		t.Errorf("after the wrong batches, a good one gave %+v", got)
	}
}
