package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/evidence"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/triage"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// resolver asks a real registry client, as the command line does.
type resolver struct{ *registry.Client }

func (r resolver) Resolve(ctx context.Context, ref image.Reference) (image.Digest, error) {
	got, err := r.Client.Resolve(ctx, ref)
	return got.Digest, err
}

// cluster is what a look at one would see.
type cluster []event.Event

func (c cluster) Watch(_ context.Context, emit func(event.Event)) error {
	for _, e := range c {
		emit(e)
	}
	return nil
}

func (cluster) String() string { return "cluster" }

// start is a container of Deployment/api in the namespace shop, a minute after
// its deployment.
func start(pod, reference, digest string, after time.Duration) *event.Start {
	ref, err := image.Parse(reference)
	if err != nil {
		panic(err)
	}
	return &event.Start{
		Time: noon.Add(after), Source: "kube", Node: "n1", Platform: "linux/amd64", Namespace: "shop", Pod: pod, PodUID: "uid-" + pod,
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "api"}, Revision: "r1",
		Deployment: &event.Deployment{Time: noon, By: "kubectl"}, Container: "api", Kind: event.Container, ContainerID: pod + after.String(),
		Reference: reference, Digest: digest, DigestOf: ref.Name(),
	}
}

func gatherer(t *testing.T, text string, seen ...event.Event) *evidence.Gatherer {
	t.Helper()
	pol, err := policy.Parse("tagwarden.yaml", []byte(text), noon)
	if err != nil {
		t.Fatal(err)
	}
	return &evidence.Gatherer{
		Policy: pol, Now: func() time.Time { return noon.Add(time.Hour) }, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler),
		Look: func(string) (engine.Source, error) { return cluster(seen), nil },
		Pulls: func(context.Context, string, string) ([]kube.Pull, error) {
			return []kube.Pull{{Time: noon.Add(time.Minute), Container: "api", Reason: "Pulled", Message: "Successfully pulled image"}}, nil
		},
	}
}

// ask lets a gatherer ask registries by a real client.
func ask(t *testing.T, g *evidence.Gatherer, config pushes.Config) {
	t.Helper()
	// A question that nobody waits for any more goes on for its own time.
	client, err := registry.New(registry.Config{Timeout: g.Timeout, Budget: g.Timeout})
	if err != nil {
		t.Fatal(err)
	}
	g.Resolver = resolver{client}
	g.Config = func(ctx context.Context, repository image.Reference, d image.Digest) ([]byte, error) {
		m, err := client.Manifest(ctx, repository, d)
		if err != nil {
			return nil, err
		}
		blob, err := client.Blob(ctx, repository, m.Config)
		if err != nil {
			return nil, err
		}
		defer blob.Close()
		return io.ReadAll(io.LimitReader(blob, 1<<20))
	}
	g.Pushes = func(ref image.Reference) (pushes.Source, bool) { return pushes.For(ref, config) }
}

func gather(t *testing.T, g *evidence.Gatherer, q evidence.Question) triage.Report {
	t.Helper()
	reports, err := g.Gather(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 {
		t.Fatalf("%d reports, want 1", len(reports))
	}
	return reports[0]
}

// item is the first of a name, written as its word, value and gap.
func item(t *testing.T, r *triage.Report, n triage.Name) string {
	t.Helper()
	i := r.Find(n)
	if i == nil {
		t.Fatalf("no item %s in %+v", n, r.Evidence)
	}
	return fmt.Sprintf("%s|%s|%s", i.Is, i.Value, i.Missing)
}

const shop = "namespaces: {production: [shop]}\n"

// With a real registry, every kind of evidence is there.
func TestWholeEvidence(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	server := httptest.NewServer(reg)
	defer server.Close()
	host := server.Listener.Addr().String()
	good := reg.Image("app", "1.0", "linux", "amd64", "good")
	g := gatherer(t, shop, start("a", host+"/app:1.0", good.Digest, time.Minute), start("b", host+"/app:1.0", good.Digest, 2*time.Minute))
	ask(t, g, pushes.Config{})
	r := gather(t, g, evidence.Question{Namespace: "shop", Workload: "Deployment/api"})
	if r.Verdict != triage.Hygiene && r.Verdict != triage.Expected {
		t.Errorf("got %s: %v", r.Decision, r.Reasons)
	}
	for n, want := range map[triage.Name]string{
		triage.Namespace:  "production|shop: production|",
		triage.Pulled:     "|Successfully pulled image|",
		triage.Digest:     "deployed|" + good.Digest + ": what the deployment brought|",
		triage.Tag:        "|" + good.Digest + ", what runs|",
		triage.Replicas:   "alike|2 pods on 1 node run this digest|",
		triage.Deployment: "|revision r1 by kubectl|",
		triage.Pusher:     "unjudged|not judged: the policy names no known pushers of " + host + "/app|",
		triage.Elsewhere:  "|now: nowhere else|",
		triage.Signature:  "||signatures are not verified: not available yet",
	} {
		if got := item(t, &r, n); got != want {
			t.Errorf("%s: got %s, want %s", n, got, want)
		}
	}
	if got := r.Find(triage.Created); got.Missing != "" || got.Trust != "publisher-claimed" {
		t.Errorf("created: %+v", got)
	}
	// The tag is overwritten: the next start gets other bytes.
	evil := reg.Image("app", "1.0", "linux", "amd64", "evil")
	r = gather(t, g, evidence.Question{Namespace: "shop", Pod: "a"})
	if got, want := item(t, &r, triage.Tag), "|"+evil.Digest+", other bytes than what runs: the next start gets them|"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A full version is not pushed twice.
	g = gatherer(t, shop, start("a", host+"/app:1.0.0", good.Digest, time.Minute))
	ask(t, g, pushes.Config{})
	reg.Image("app", "1.0.0", "linux", "amd64", "good")
	if r = gather(t, g, evidence.Question{}); r.Verdict != triage.Expected {
		t.Errorf("before: %s", r.Decision)
	}
	reg.Image("app", "1.0.0", "linux", "amd64", "evil")
	if r = gather(t, g, evidence.Question{}); r.Verdict != triage.Hygiene || !r.Urgent || r.Rules[0] != "version-overwritten" {
		t.Errorf("overwritten: %s, %v", r.Decision, r.Rules)
	}
	// And one starts: the change is compared by the registry's word.
	g = gatherer(t, shop, start("a", host+"/app:1.0", good.Digest, time.Minute), start("b", host+"/app:1.0", evil.Digest, time.Hour))
	ask(t, g, pushes.Config{})
	diffs := 0
	g.Diff = func(_ context.Context, from, to image.Reference, _ image.Platform) (string, error) {
		diffs++
		if from.Digest().String() != good.Digest || to.Digest().String() != evil.Digest {
			t.Errorf("compared %s and %s", from, to)
		}
		return "1 file changed", nil
	}
	r = gather(t, g, evidence.Question{Namespace: "shop", Workload: "api"})
	if r.Verdict != triage.Escalate || r.Subject.Pod != "b" || diffs != 1 || item(t, &r, triage.Change) != "|1 file changed|" {
		t.Errorf("got %s about pod %s, %d differences: %+v", r.Decision, r.Subject.Pod, diffs, r.Evidence)
	}
	if len(r.Next) != 3 || !strings.HasSuffix(r.Next[1].Image, "/app:1.0@"+good.Digest) {
		t.Errorf("next: %+v", r.Next)
	}
	// A pod of the other bytes is triaged as what it is, not as its sibling.
	if r = gather(t, g, evidence.Question{Namespace: "shop", Pod: "a"}); r.Subject.Pod != "a" || r.Verdict != triage.Escalate || r.Find(triage.Digest).Is == triage.Changed {
		t.Errorf("pod a: %s, %+v", r.Decision, r.Find(triage.Digest))
	}
}

// A hostile registry costs bounded time and memory, and leaves a gap with a
// reason. It never makes a verdict better.
func TestHostileRegistry(t *testing.T) {
	t.Parallel()
	const good, other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", registrytest.TypeManifest)
		w.Header().Set("Content-Length", "10737418240")
		for chunk := []byte(strings.Repeat(" ", 1<<16)); r.Context().Err() == nil; {
			n, err := w.Write(chunk)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		timeout time.Duration
		tag     string // what the gap about the tag says
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 300 * time.Millisecond, "--timeout"},
		{"is slow with every byte", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusMethodNotAllowed)
			<-r.Context().Done()
		}, 300 * time.Millisecond, "--timeout"},
		{"asks to wait", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}, time.Minute, "too often"},
		{"is broken", status(http.StatusInternalServerError), 2 * time.Second, ""},
		{"refuses", status(http.StatusUnauthorized), time.Minute, ""},
		{"has nothing", status(http.StatusNotFound), time.Minute, ""},
		{"sends 10 GB", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			endless(w, r)
		}, time.Minute, ""},
		{"sends to itself without end", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}, time.Minute, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.handler)
			defer server.Close()
			ref := server.Listener.Addr().String() + "/app:1.0.0"
			// What needs no registry stands.
			g := gatherer(t, shop, start("a", ref, good, time.Minute))
			g.Timeout = test.timeout
			ask(t, g, pushes.Config{})
			r := gather(t, g, evidence.Question{Namespace: "shop"})
			if r.Verdict != triage.Expected {
				t.Errorf("got %s (%v), want expected: the bytes are those that were deployed", r.Decision, r.Reasons)
			}
			if tag := r.Find(triage.Tag); tag.Missing == "" || !strings.Contains(tag.Missing, test.tag) || strings.Contains(tag.Missing, "\n") {
				t.Errorf("the gap is %+v, want one that says %q", tag, test.tag)
			}
			if created := r.Find(triage.Created); created.Missing == "" {
				t.Errorf("created is %+v", created)
			}
			// Where the registry would decide, nothing is decided.
			g = gatherer(t, shop, start("a", ref, good, time.Minute), start("b", ref, other, time.Hour))
			g.Timeout = test.timeout
			ask(t, g, pushes.Config{})
			r = gather(t, g, evidence.Question{Namespace: "shop"})
			if r.Verdict != triage.Undecided || !slices.Contains(r.Missing, triage.Digest) || r.Find(triage.Digest).Missing == "" {
				t.Errorf("got %s, which waits for %v: %+v", r.Decision, r.Missing, r.Find(triage.Digest))
			}
		})
	}
	t.Cleanup(func() {
		if n := sent.Load(); n > 512<<20 {
			t.Errorf("%d MiB were taken from a manifest of 10 GB", n>>20)
		}
	})
}

// A registry that lies about digests is not believed.
func TestLyingRegistry(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	server := httptest.NewServer(reg)
	defer server.Close()
	ref := server.Listener.Addr().String() + "/app:1.0.0"
	good := reg.Image("app", "1.0.0", "linux", "amd64", "good")
	evil := reg.Image("app", "evil", "linux", "amd64", "evil")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/manifests/"+evil.Digest) {
			return false
		}
		// What runs is said to be what was deployed.
		w.Header().Set("Content-Type", registrytest.TypeManifest)
		w.Header().Set("Docker-Content-Digest", evil.Digest)
		_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"`+registrytest.TypeManifest+`","config":{"mediaType":"`+registrytest.TypeConfig+`","digest":"`+good.Digest+`","size":2},"layers":[]}`)
		return true
	}
	g := gatherer(t, shop, start("a", ref, good.Digest, time.Minute), start("b", ref, evil.Digest, time.Hour))
	ask(t, g, pushes.Config{})
	r := gather(t, g, evidence.Question{Namespace: "shop"})
	if r.Verdict != triage.Undecided || !strings.Contains(r.Find(triage.Digest).Missing, "digest") {
		t.Errorf("got %s: %+v", r.Decision, r.Find(triage.Digest))
	}
}

// An API whose pages never end, or which hangs, is a gap as well: who pushed is
// not known, and a known pusher is not made up.
func TestHostileAPI(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	for _, test := range []struct {
		name    string
		api     http.HandlerFunc
		timeout time.Duration
		pages   bool
	}{
		{"endless pages", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"tags":[{"name":"other","manifest_digest":"sha256:x","start_ts":1}],"has_additional":true}`)
		}, time.Minute, true},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 300 * time.Millisecond, false},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, time.Minute, false},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, time.Minute, false},
		{"a page of gigabytes", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		}, time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := atomic.Int64{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/api/") {
					asked.Add(1)
					test.api(w, r)
					return
				}
				reg.ServeHTTP(w, r)
			}))
			defer server.Close()
			host := server.Listener.Addr().String()
			good := reg.Image("team/app", "1.0.0", "linux", "amd64", "good")
			g := gatherer(t, shop+"knownPushers: [{image: '"+host+"/**', names: [ci]}]\n", start("a", host+"/team/app:1.0.0", good.Digest, time.Minute))
			ask(t, g, pushes.Config{Kinds: map[string]pushes.Kind{host: pushes.Quay}, APIs: map[string]string{host: server.URL}})
			g.Timeout = test.timeout
			r := gather(t, g, evidence.Question{Namespace: "shop"})
			if r.Verdict != triage.Undecided || !slices.Equal(r.Missing, []triage.Name{triage.Pusher}) {
				t.Errorf("got %s, which waits for %v", r.Decision, r.Missing)
			}
			if gap := r.Find(triage.Pusher).Missing; gap == "" || strings.Contains(gap, "\n") {
				t.Errorf("the gap is %q", gap)
			}
			if n := asked.Load(); n == 0 || n > 100 {
				t.Errorf("the API was asked %d times", n)
			}
		})
	}
}

// Who pushed decides only where the policy says whom it expects, and only by
// what a registry recorded.
func TestPusher(t *testing.T) {
	t.Parallel()
	const running, other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	const listed = shop + "knownPushers: [{image: 'registry.example/**', names: [ci]}]\n"
	push := func(minutes int, digest, by, trust string) *event.Push {
		at := noon.Add(time.Duration(minutes) * time.Minute)
		return &event.Push{Time: at, Repository: "registry.example/app", Tag: "1.0.0", Digest: digest, Pushed: at, By: by, Told: "hook", Trust: trust, Confirmed: true}
	}
	for _, test := range []struct {
		name, policy string
		pushes       []*event.Push
		verdict      triage.Verdict
	}{
		{"a known one", listed, []*event.Push{push(-5, running, "ci", event.Recorded)}, triage.Expected},
		{"an unknown one", listed, []*event.Push{push(-5, running, "mallory", event.Recorded)}, triage.Escalate},
		{"nobody is named", shop, []*event.Push{push(-5, running, "mallory", event.Recorded)}, triage.Expected},
		{"no push is known", listed, nil, triage.Undecided},
		{"the registry does not say who", listed, []*event.Push{push(-5, running, "", event.Recorded)}, triage.Undecided},
		{"claimed alone", listed, []*event.Push{push(-5, running, "ci", "publisher-claimed")}, triage.Undecided},
		{"a claim does not accuse", listed, []*event.Push{push(-5, running, "ci", event.Recorded), push(5, other, "mallory", "publisher-claimed")}, triage.Expected},
		{"overwritten by an unknown one", listed, []*event.Push{push(-5, running, "ci", event.Recorded), push(5, other, "mallory", event.Recorded)}, triage.Escalate},
		{"mended by a known one, and still running", listed, []*event.Push{push(-5, running, "mallory", event.Recorded), push(5, other, "ci", event.Recorded)}, triage.Escalate},
		{"what runs is older than all that was told", listed, []*event.Push{push(5, other, "ci", event.Recorded)}, triage.Undecided},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), store.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Write(t.Context(), &store.Batch{Pushes: test.pushes}); err != nil {
				t.Fatal(err)
			}
			g := gatherer(t, test.policy, start("a", "registry.example/app:1.0.0", running, time.Minute))
			g.History = s
			r := gather(t, g, evidence.Question{Namespace: "shop"})
			if r.Verdict != test.verdict {
				t.Errorf("got %s (%v), want %s; %+v", r.Decision, r.Reasons, test.verdict, r.Find(triage.Pusher))
			}
		})
	}
}

// What ran first is the baseline only if it is known from the deployment on, and
// a digest that somebody approved needs no such luck.
func TestBaselineIsAnchored(t *testing.T) {
	t.Parallel()
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	late := start("a", "registry.example/app:1.0.0", digest, time.Hour)
	unknown := start("a", "registry.example/app:1.0.0", digest, time.Minute)
	unknown.Deployment = nil
	for name, s := range map[string]*event.Start{"late": late, "nobody knows of a deployment": unknown} {
		r := gather(t, gatherer(t, shop, s), evidence.Question{})
		if r.Verdict != triage.Undecided || !slices.Equal(r.Missing, []triage.Name{triage.Digest}) {
			t.Errorf("%s: got %s, which waits for %v", name, r.Decision, r.Missing)
		}
	}
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := gatherer(t, shop, late)
	g.History = s
	// An earlier pod of the revision is remembered.
	if err := s.Write(t.Context(), &store.Batch{Starts: []*event.Start{start("before", "registry.example/app:1.0.0", digest, time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	if r := gather(t, g, evidence.Question{Pod: "a"}); r.Verdict != triage.Expected || r.Find(triage.Digest).Is != triage.Unchanged {
		t.Errorf("with a history: %s, %+v", r.Decision, r.Find(triage.Digest))
	}
	_, err = s.AddBaseline(t.Context(), history.Baseline{
		Reference: "registry.example/app:1.0.0", Digest: digest, Origin: history.Approved, By: "anna", Why: "tested", At: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := gather(t, g, evidence.Question{Pod: "a"}); r.Verdict != triage.Expected || r.Find(triage.Digest).Is != triage.Approved {
		t.Errorf("approved: %s, %+v", r.Decision, r.Find(triage.Digest))
	}
}

// What an alert tells of has happened, whatever runs by now: to go back does not
// make it an expected change.
func TestAlertOutlivesTheRollback(t *testing.T) {
	t.Parallel()
	const good, evil = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	push := func(minutes int, digest, by string) *event.Push {
		at := noon.Add(time.Duration(minutes) * time.Minute)
		return &event.Push{Time: at, Repository: "registry.example/app", Tag: "1.0.0", Digest: digest, Pushed: at, By: by, Told: "hook", Trust: event.Recorded, Confirmed: true}
	}
	if err := s.Write(t.Context(), &store.Batch{Pushes: []*event.Push{push(-5, good, "ci"), push(5, evil, "mallory"), push(9, good, "ci")}}); err != nil {
		t.Fatal(err)
	}
	g := gatherer(t, shop+"knownPushers: [{image: 'registry.example/**', names: [ci]}]\n", start("a", "registry.example/app:1.0.0", good, time.Minute))
	g.History = s
	q := evidence.Question{Namespace: "shop", Workload: "Deployment/api", Container: "api"}
	if r := gather(t, g, q); r.Verdict != triage.Expected {
		t.Errorf("what runs is %s (%v), want expected", r.Decision, r.Reasons)
	}
	about := finding.Subject{Namespace: "shop", Workload: "Deployment/api", Revision: "r0", Container: "api"}
	for _, f := range []finding.Finding{
		{ID: finding.TW04, Subject: about, Time: noon, Evidence: []finding.Evidence{{Name: "from", Value: good}, {Name: "to", Value: evil}}},
		{ID: finding.TW07, Subject: about, Time: noon, Evidence: []finding.Evidence{
			{Name: engine.Pusher, Value: "mallory"}, {Name: engine.Pushed, Value: noon.Add(5 * time.Minute).Format(time.RFC3339)},
		}},
	} {
		q.Finding = &f
		if r := gather(t, g, q); r.Verdict != triage.Escalate {
			t.Errorf("%s: got %s (%v), want escalate", f.ID, r.Decision, r.Reasons)
		}
	}
}

// Falco's name of an image is corrected by the spec, and a subject of which
// nothing is known is an error.
func TestFalcoAndNothing(t *testing.T) {
	t.Parallel()
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	g := gatherer(t, shop, start("a", "nginx", digest, time.Minute))
	for tag, want := range map[string]string{
		"1.25.3": "the pod's spec asks for nginx, and that counts here",
		"latest": "as the pod's spec",
	} {
		r := gather(t, g, evidence.Question{Pod: "a", Falco: &evidence.Falco{Rule: "r", Repository: "docker.io/library/nginx", Tag: tag}})
		if got := item(t, &r, triage.Falco); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", tag, got, want)
		}
	}
	if _, err := g.Gather(t.Context(), evidence.Question{Pod: "nosuch"}); !errors.Is(err, evidence.ErrNothing) {
		t.Errorf("got %v", err)
	}
	g.Look = func(string) (engine.Source, error) { return nil, errors.New("no cluster") }
	if _, err := g.Gather(t.Context(), evidence.Question{Pod: "a"}); err == nil || err.Error() != "no cluster" {
		t.Errorf("got %v", err)
	}
}
