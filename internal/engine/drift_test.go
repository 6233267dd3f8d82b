package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/store"
)

// events is a source of anything.
type events []event.Event

func (s events) Watch(_ context.Context, emit func(event.Event)) error {
	for _, e := range s {
		emit(e)
	}
	return nil
}

// slowly is events a second apart: whatever follows from one is done when the
// next one comes.
type slowly struct{ events }

func (s slowly) Watch(ctx context.Context, emit func(event.Event)) error {
	for _, e := range s.events {
		emit(e)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

func (s events) String() string { return "test" }

// build is one image: what is in it, and the digests that name it.
type build int

func digestOf(kind string, b build) string {
	return fmt.Sprintf("sha256:%064x", 0x1000*int(b)+map[string]int{"index": 1, "manifest": 2, "config": 3, "arm": 4, "arm config": 5}[kind])
}

// registry answers for every build: an index for two platforms.
type registry struct{ down bool }

func (r registry) Content(_ context.Context, _ image.Reference, d image.Digest, on image.Platform) ([]image.Content, error) {
	if r.down {
		return nil, errors.New("registry is down")
	}
	amd, arm := image.Platform{OS: "linux", Architecture: "amd64"}, image.Platform{OS: "linux", Architecture: "arm64"}
	for b := range build(50) {
		index := image.Content{Digest: image.Digest(digestOf("index", b)), Kind: image.KindIndex, Children: []image.Child{
			{Digest: image.Digest(digestOf("arm", b)), Platform: arm},
			{Digest: image.Digest(digestOf("manifest", b)), Platform: amd},
		}}
		manifests := map[image.Digest]image.Content{
			image.Digest(digestOf("manifest", b)): {Digest: image.Digest(digestOf("manifest", b)), Kind: image.KindManifest, Platform: amd, Config: image.Digest(digestOf("config", b))},
			image.Digest(digestOf("arm", b)):      {Digest: image.Digest(digestOf("arm", b)), Kind: image.KindManifest, Platform: arm, Config: image.Digest(digestOf("arm config", b))},
		}
		if d == index.Digest {
			all := []image.Content{index}
			for _, m := range manifests {
				if on.String() == m.Platform.String() {
					all = append(all, m)
				}
			}
			return all, nil
		}
		if m, ok := manifests[d]; ok {
			return []image.Content{m}, nil
		}
	}
	return nil, fmt.Errorf("no such manifest: %s", d)
}

func (r registry) Resolve(context.Context, image.Reference) (image.Digest, error) {
	return "", errors.New("not asked here")
}

// drifts runs events through an engine and returns its alerts about bytes.
func drifts(t testing.TB, all engine.Source, r engine.Resolver, h engine.History) []falco.Alert {
	t.Helper()
	s := &alerts{}
	e := &engine.Engine{
		Sources: []engine.Source{all}, Rules: noRules(t), Policy: policy.Default(), Sink: s, Now: time.Now, Resolver: r, History: h,
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.all
}

func noRules(t testing.TB) *falco.Ruleset {
	t.Helper()
	set, _ := falco.Load(nil, falco.DefaultOptions())
	return set
}

type alerts struct{ all []falco.Alert }

func (s *alerts) Event(event.Event) error { return nil }
func (s *alerts) Alert(_ *event.Start, a falco.Alert) error {
	s.all = append(s.all, a)
	return nil
}

// summary is what matters of alerts, in their order.
func summary(all []falco.Alert) []string {
	var lines []string
	for _, a := range all {
		line := fmt.Sprint(a.Fields["tagwarden.finding"], " ", a.Fields["tagwarden.drift.form"], " ", a.Fields["k8s.pod.name"])
		if a.Rule == engine.UndecidedRule {
			line = fmt.Sprint("undecided ", a.Fields["k8s.pod.name"])
		}
		lines = append(lines, line)
	}
	return lines
}

// replica is a start of one container of Deployment/api.
func replica(at int, pod, revision, reference, digest string) *event.Start {
	return &event.Start{
		Time: noon.Add(time.Duration(at) * time.Second), Source: "kube", Namespace: "shop", Pod: pod, PodUID: "uid-" + pod,
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "api"}, Revision: revision,
		Container: "api", Kind: event.Container, ContainerID: fmt.Sprintf("%s-%d", pod, at), Platform: "linux/amd64", Node: "n1",
		Reference: reference, PullPolicy: "Always", Digest: digest, DigestOf: "registry.example/api",
	}
}

func end(s *event.Start, at int) *event.End {
	return &event.End{Time: noon.Add(time.Duration(at) * time.Second), Source: "kube", ContainerID: s.ContainerID}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	const latest, v1 = "registry.example/api:latest", "registry.example/api:1.2.3"
	good, evil := digestOf("index", 1), digestOf("index", 2)
	a, b := replica(1, "a", "r1", latest, good), replica(2, "b", "r1", latest, good)
	bare := func(at int, uid, digest string) *event.Start {
		s := replica(at, "api", "spec1", latest, digest)
		s.PodUID, s.Workload = uid, event.Workload{APIVersion: "v1", Kind: "Pod", Name: "api"}
		return s
	}
	on := func(platform string, s *event.Start) *event.Start { s.Platform = platform; return s }
	debug := func(s *event.Start) *event.Start { s.Kind = event.Ephemeral; return s }
	config := func(s *event.Start) *event.Start { s.DigestOf, s.ImageID = "", s.Digest; return s }
	for _, tc := range []struct {
		name   string
		events events
		down   bool
		want   []string
	}{
		{"a new pod of the revision has other bytes, beside its sibling", events{a, b, end(b, 3), replica(4, "c", "r1", latest, evil)}, false, []string{"TW-04 new-pod c", "TW-05 skew c"}},
		{"and is told once, however many pods follow", events{a, replica(4, "c", "r1", latest, evil), replica(5, "d", "r1", latest, evil)}, false, []string{"TW-04 new-pod c", "TW-05 skew c"}},
		{"restarted in place", events{a, end(a, 3), replica(4, "a", "r1", latest, evil)}, false, []string{"TW-04 in-place a"}},
		{"another pod than the first is restarted in place", events{a, b, end(b, 3), replica(4, "b", "r1", latest, evil)}, false, []string{"TW-04 in-place b", "TW-05 skew b"}},
		{"a restart of all pods moves the tag along", events{a, replica(4, "c", "r2", latest, evil)}, false, []string{"TW-03 restart c"}},
		{"the new digest is no baseline afterwards", events{a, replica(2, "c", "r1", latest, evil), replica(4, "d", "r2", latest, evil)}, false, []string{"TW-04 new-pod c", "TW-05 skew c", "TW-03 restart d"}},
		{"a rollout of another tag", events{a, replica(4, "c", "r2", v1, evil)}, false, nil},
		{"a rollback to the same bytes", events{a, replica(4, "c", "r2", v1, evil), end(a, 5), replica(6, "d", "r1", latest, good)}, false, nil},
		{"a rollback to an overwritten tag", events{a, replica(4, "c", "r2", v1, evil), end(a, 5), replica(6, "d", "r1", latest, digestOf("index", 3))}, false, []string{"TW-04 rollback d"}},
		{"a full version that came back as another", events{replica(1, "a", "r1", v1, good), replica(2, "b", "r2", latest, digestOf("index", 3)), replica(3, "c", "r3", v1, evil)}, false, []string{"TW-03 restart c"}},
		{"latest may have moved in the meantime", events{a, replica(2, "b", "r2", v1, digestOf("index", 3)), replica(3, "c", "r3", latest, evil)}, false, nil},
		{"index and manifest of one image", events{a, replica(4, "c", "r1", latest, digestOf("manifest", 1))}, false, nil},
		{"config of the same image", events{a, config(replica(4, "c", "r1", latest, digestOf("config", 1)))}, false, nil},
		{"one index on two platforms", events{a, on("linux/arm64", replica(4, "c", "r1", latest, good))}, false, nil},
		{"two manifests of one index on two platforms", events{replica(1, "a", "r1", latest, digestOf("manifest", 1)), replica(2, "i", "r1", latest, good), on("linux/arm64", replica(4, "c", "r1", latest, digestOf("arm", 1)))}, false, nil},
		{"a bare pod made anew with other bytes", events{bare(1, "u1", good), end(bare(1, "u1", good), 2), bare(3, "u2", evil)}, false, []string{"TW-04 recreated api"}},
		{"a bare pod made anew with the same", events{bare(1, "u1", good), end(bare(1, "u1", good), 2), bare(3, "u2", good)}, false, nil},
		{"the older start is the measure, in whatever order they come", events{replica(4, "c", "r1", latest, evil), a}, false, []string{"TW-04 new-pod c", "TW-05 skew c"}},
		{"nobody can tell", events{a, replica(4, "c", "r1", latest, evil)}, true, []string{"undecided c"}},
		{"the same digest needs no registry", events{a, replica(4, "c", "r1", latest, good)}, true, nil},
		{"the first one is of another platform, and becomes known late", events{replica(3, "c", "r1", latest, evil), on("linux/arm64", replica(1, "b", "r1", latest, good))}, false, []string{"TW-04 new-pod c", "TW-05 skew c"}},
		{"a node tells that it is one image", events{&event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Images: [][]string{{good, evil}}}, a, replica(4, "c", "r1", latest, evil)}, true, nil},
		{"a node tells later", events{a, replica(4, "c", "r1", latest, evil), &event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Images: [][]string{{good, evil}}}, end(a, 5), replica(6, "d", "r1", latest, evil)}, true, []string{"undecided c"}},
		{"a node keeps them as two images", events{&event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Images: [][]string{{good}, {evil}}}, a, replica(4, "c", "r1", latest, evil)}, true, []string{"TW-04 new-pod c", "TW-05 skew c"}},
		{"a node of another platform keeps them as two images", events{&event.Node{Time: noon, Name: "n2", Platform: "linux/arm64", Images: [][]string{{good}, {evil}}}, a, replica(4, "c", "r1", latest, evil)}, true, []string{"undecided c"}},
		{"Docker keeps one image under two indexes", events{&event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Runtime: "docker", Images: [][]string{{good}, {evil}}}, a, replica(4, "c", "r1", latest, evil)}, true, []string{"undecided c"}},
		{"a node that is gone tells nothing any more", events{
			&event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Images: [][]string{{good}, {evil}}}, &event.Node{Time: noon, Name: "n1", Platform: "linux/amd64"},
			a, replica(4, "c", "r1", latest, evil),
		}, true, []string{"undecided c"}},
		{"a node tells later that they are two images", events{a, replica(4, "c", "r1", latest, evil), &event.Node{Time: noon, Name: "n1", Platform: "linux/amd64", Images: [][]string{{good}, {evil}}}}, true, []string{"undecided c", "TW-04 new-pod c", "TW-05 skew c"}},
		{"a digest in the reference cannot drift", events{replica(1, "a", "r1", "registry.example/api@"+good, good), replica(2, "b", "r1", "registry.example/api@"+good, evil)}, false, nil},
		{"containers for debugging belong to no revision", events{debug(replica(1, "a", "r1", "busybox", good)), debug(replica(2, "b", "r1", "busybox", evil))}, false, nil},
		{"a digest that is not known is not compared", events{a, replica(2, "b", "r1", latest, "")}, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := summary(drifts(t, slowly{tc.events}, registry{tc.down}, nil))
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// moving is a registry whose tag has another image now. It counts what it is
// asked.
type moving struct {
	registry
	to                  build
	slow                time.Duration
	resolved, contained *atomic.Int64
}

func (m moving) Resolve(context.Context, image.Reference) (image.Digest, error) {
	m.resolved.Add(1)
	<-time.After(m.slow)
	return image.Digest(digestOf("index", m.to)), nil
}

func (m moving) Content(ctx context.Context, of image.Reference, d image.Digest, on image.Platform) ([]image.Content, error) {
	m.contained.Add(1)
	return m.registry.Content(ctx, of, d, on)
}

// pausing is events with a time after each [event.Synced].
type pausing struct {
	events
	pause time.Duration
}

func (p pausing) Watch(ctx context.Context, emit func(event.Event)) error {
	for _, e := range p.events {
		emit(e)
		if _, ok := e.(*event.Synced); !ok {
			continue
		}
		select {
		case <-time.After(p.pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// TestTagsAreChecked: what runs is compared with what the tags mean now, one
// request a tag and round, and each move is told once.
func TestTagsAreChecked(t *testing.T) {
	t.Parallel()
	const latest = "registry.example/api:latest"
	a, b := replica(1, "a", "r1", latest, digestOf("index", 1)), replica(2, "b", "r1", latest, digestOf("index", 1))
	synced := &event.Synced{Time: noon, Source: "kube"}
	for _, tc := range []struct {
		name     string
		to       build
		slow     time.Duration
		events   events
		resolved int64
		want     []string
		pods     string
	}{
		{"the tag moved", 2, 0, events{a, b, synced, synced, synced}, 3, []string{"TW-03 moved a"}, "a, b"},
		{"the tag is what runs", 1, 0, events{a, b, synced}, 1, nil, ""},
		{"what ran is replaced before the check", 1, 0, events{a, end(a, 3), replica(4, "c", "r2", latest, digestOf("index", 1)), synced}, 1, nil, ""},
		{"what ran is replaced while the registry thinks", 2, 90 * time.Second, events{a, synced, end(a, 3), replica(4, "c", "r2", latest, digestOf("index", 2)), synced}, 2, []string{"TW-03 restart c"}, ""},
		{"nothing runs by a tag", 2, 0, events{replica(1, "a", "r1", "registry.example/api@"+digestOf("index", 1), digestOf("index", 1)), synced}, 0, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &alerts{}
				r := moving{to: tc.to, slow: tc.slow, resolved: &atomic.Int64{}, contained: &atomic.Int64{}}
				e := &engine.Engine{
					Sources: []engine.Source{pausing{tc.events, 61 * time.Minute}}, Rules: noRules(t), Policy: policy.Default(), Sink: s, Now: time.Now,
					Resolver: r, CheckTags: time.Hour,
				}
				if err := e.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, summary(s.all)); diff != "" {
					t.Errorf("alerts (-want +got):\n%s", diff)
				}
				if n := r.resolved.Load(); n != tc.resolved {
					t.Errorf("%d tags were resolved, want %d", n, tc.resolved)
				}
				// The digest that runs and the one of the tag, each once.
				if n := r.contained.Load(); n > 2 {
					t.Errorf("%d digests were asked about, want two at most", n)
				}
				if len(s.all) > 0 && tc.pods != "" && s.all[0].Fields["tagwarden.drift.pods"] != tc.pods {
					t.Errorf("pods %q, want %q", s.all[0].Fields["tagwarden.drift.pods"], tc.pods)
				}
			})
		})
	}
}

// world plays a Deployment whose tags are overwritten, and knows the truth.
type world struct {
	rnd *rand.Rand
	// mixed has nodes of two platforms, whose runtimes name indexes; else they
	// name whatever they like.
	mixed     bool
	at        int
	starts    int
	tags      map[string]build
	revisions []string // the reference of each
	current   int
	running   []*event.Start
	events    events
	bytes     map[string]build // of a start, by container id
}

func (w *world) start(pod string) {
	w.at += w.rnd.IntN(3)
	ref := w.revisions[w.current]
	b := w.tags[ref]
	w.starts++
	kind := []string{"index", "manifest", "config"}[w.rnd.IntN(3)]
	if w.mixed {
		kind = "index"
	}
	s := replica(w.at, pod, fmt.Sprint("r", w.current), ref, digestOf(kind, b))
	if kind == "config" {
		s.DigestOf, s.ImageID = "", s.Digest
	}
	if w.mixed && w.rnd.IntN(2) == 0 {
		s.Platform = "linux/arm64"
	}
	s.ContainerID = fmt.Sprintf("%x-%d", w.rnd.Uint32(), w.starts)
	w.bytes[s.ContainerID] = b
	w.running = append(w.running, s)
	w.events = append(w.events, s)
}

func (w *world) stop(i int) *event.Start {
	s := w.running[i]
	w.running = slices.Delete(w.running, i, i+1)
	w.events = append(w.events, end(s, w.at))
	return s
}

// play lets a number of things happen.
func (w *world) play(steps int) {
	refs := []string{"registry.example/api:latest", "registry.example/api:1.2.3", "registry.example/api:stable"}
	w.tags, w.bytes = map[string]build{}, map[string]build{}
	w.mixed = w.rnd.IntN(3) == 0
	for i, ref := range refs {
		w.tags[ref] = build(i)
	}
	w.revisions = refs[:1:1]
	for i := range steps {
		switch w.rnd.IntN(9) {
		case 0: // another tag
			w.revisions = append(w.revisions, refs[w.rnd.IntN(len(refs))])
			w.current = len(w.revisions) - 1
		case 1: // kubectl rollout restart
			w.revisions = append(w.revisions, w.revisions[w.current])
			w.current = len(w.revisions) - 1
		case 2: // kubectl rollout undo
			w.current = w.rnd.IntN(len(w.revisions))
		case 3: // the tag is overwritten, or set back
			w.tags[refs[w.rnd.IntN(len(refs))]] = build(w.rnd.IntN(6))
		case 4: // a crash in place
			if n := len(w.running); n > 0 {
				if k := w.rnd.IntN(n); w.running[k].Revision == fmt.Sprint("r", w.current) {
					w.start(w.stop(k).Pod)
				}
			}
		case 5: // a pod goes
			if n := len(w.running); n > 0 {
				w.stop(w.rnd.IntN(n))
			}
		default: // a pod comes
			w.start(fmt.Sprint("p", i))
		}
	}
	// Things become known a little out of order.
	for range w.rnd.IntN(3) {
		if n := len(w.events); n > 1 {
			k := w.rnd.IntN(n - 1)
			w.events[k], w.events[k+1] = w.events[k+1], w.events[k]
		}
	}
}

// truth is which builds each revision runs that it should not, as far as the
// first n events tell.
func (w *world) truth(n int) map[string]bool {
	first := map[string]*event.Start{}
	for _, e := range w.events[:n] {
		if s, ok := e.(*event.Start); ok && (first[s.Revision] == nil || s.Time.Before(first[s.Revision].Time)) {
			first[s.Revision] = s
		}
	}
	wrong := map[string]bool{}
	for _, e := range w.events[:n] {
		if s, ok := e.(*event.Start); ok && w.bytes[s.ContainerID] != w.bytes[first[s.Revision].ContainerID] {
			wrong[fmt.Sprint(s.Revision, " ", w.bytes[s.ContainerID])] = true
		}
	}
	return wrong
}

// buildOf finds the build that a digest names.
func buildOf(digest string) build {
	for b := range build(50) {
		if digest == digestOf("index", b) || digest == digestOf("manifest", b) || digest == digestOf("config", b) {
			return b
		}
	}
	return -1
}

// TestDriftAgreesWithAModel: of many random histories, every change of bytes
// within a revision is found, and nothing else is called one.
func TestDriftAgreesWithAModel(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testing.Short() {
		n = 500
	}
	changes := 0
	for seed := range n {
		w := &world{rnd: rand.New(rand.NewPCG(uint64(seed), 1))}
		w.play(5 + w.rnd.IntN(25))
		got := map[string]bool{}
		for _, a := range drifts(t, w.events, registry{}, nil) {
			if a.Fields["tagwarden.finding"] == "TW-04" {
				key := fmt.Sprint(a.Fields["tagwarden.revision"], " ", buildOf(fmt.Sprint(a.Fields["tagwarden.drift.to"])))
				if got[key] {
					t.Fatalf("seed %d: %s is told twice", seed, key)
				}
				got[key] = true
			}
		}
		want := w.truth(len(w.events))
		may := map[string]bool{}
		for k := range w.events {
			maps.Copy(may, w.truth(k+1))
		}
		for key := range want {
			if !got[key] {
				t.Fatalf("seed %d: %s is missed; got %v", seed, key, got)
			}
		}
		for key := range got {
			if !may[key] {
				t.Fatalf("seed %d: %s is false; want %v", seed, key, want)
			}
		}
		changes += len(want)
	}
	if changes < n/10 {
		t.Errorf("%d histories had %d changes: too few to test anything", n, changes)
	}
}

// TestAnOpenQuestionOutlivesARestart: a process that ends before a registry has
// answered asks again when it is started anew.
func TestAnOpenQuestionOutlivesARestart(t *testing.T) {
	t.Parallel()
	a := replica(1, "a", "r1", "registry.example/api:latest", digestOf("index", 1))
	c := replica(4, "c", "r1", "registry.example/api:latest", digestOf("index", 2))
	file := filepath.Join(t.TempDir(), "h.db")
	var got [][]string
	for _, down := range []bool{true, false, false} {
		s, err := store.Open(t.Context(), file, store.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, summary(drifts(t, events{a, c, &event.Synced{Time: noon, Source: "kube"}}, registry{down}, s.History(""))))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := [][]string{{"undecided c"}, {"TW-04 new-pod c", "TW-05 skew c"}, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alerts of three runs (-want +got):\n%s", diff)
	}
}

// TestAVeryOldRevisionIsNoNewOne: what it was to run is known, though hundreds
// were deployed since.
func TestAVeryOldRevisionIsNoNewOne(t *testing.T) {
	t.Parallel()
	old := replica(0, "old", "r-old", "registry.example/api:1.0.0", digestOf("index", 1))
	all := events{old, end(old, 1)}
	for i := 1; i < 500; i++ {
		s := replica(10*i, fmt.Sprint("p", i), fmt.Sprint("r", i), fmt.Sprint("registry.example/api:2.0.", i), digestOf("index", 3))
		all = append(all, s, end(s, 10*i+5))
	}
	back := replica(6000, "back", "r-old", "registry.example/api:1.0.0", digestOf("index", 2))
	for name, parts := range map[string][]events{
		"in one run":                {append(slices.Clone(all), back)},
		"after a restart":           {all, {back}},
		"after one in between, too": {all[:600], all[600:], {back}},
	} {
		file := filepath.Join(t.TempDir(), "h.db")
		var got []string
		for _, part := range parts {
			s, err := store.Open(t.Context(), file, store.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, summary(drifts(t, part, registry{}, s.History("")))...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"TW-04 rollback back"}, got); diff != "" {
			t.Errorf("%s: alerts (-want +got):\n%s", name, diff)
		}
	}
}

// TestDriftSurvivesRestarts: with a real store between the runs, an engine that
// is ended at any point and started again finds what one that ran through
// would have found, and tells nothing twice.
func TestDriftSurvivesRestarts(t *testing.T) {
	t.Parallel()
	n := 60
	if testing.Short() {
		n = 25
	}
	for seed := range n {
		w := &world{rnd: rand.New(rand.NewPCG(uint64(seed), 2))}
		w.play(5 + w.rnd.IntN(25))
		file := filepath.Join(t.TempDir(), "h.db")
		got := map[string]bool{}
		for begin := 0; begin < len(w.events); {
			next := begin + 1 + w.rnd.IntN(len(w.events)-begin)
			// What runs still is listed again by a source that begins anew, and
			// what ended while nobody watched is not.
			lived := map[string]*event.Start{}
			for _, e := range w.events[:begin] {
				switch e := e.(type) {
				case *event.Start:
					lived[e.ContainerID] = e
				case *event.End:
					delete(lived, e.ContainerID)
				}
			}
			var part events
			for _, s := range lived {
				again := *s
				again.Existing = true
				part = append(part, &again)
			}
			slices.SortFunc(part, func(a, b event.Event) int { return a.At().Compare(b.At()) })
			part = append(part, &event.Synced{Time: noon, Source: "kube"})
			part = append(part, w.events[begin:next]...)
			s, err := store.Open(t.Context(), file, store.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range drifts(t, part, registry{}, s.History("")) {
				if a.Fields["tagwarden.finding"] != "TW-04" {
					continue
				}
				key := fmt.Sprint(a.Fields["tagwarden.revision"], " ", buildOf(fmt.Sprint(a.Fields["tagwarden.drift.to"])))
				if got[key] {
					t.Fatalf("seed %d: %s is told twice", seed, key)
				}
				got[key] = true
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			begin = next
		}
		may := map[string]bool{}
		for k := range w.events {
			maps.Copy(may, w.truth(k+1))
		}
		for key := range w.truth(len(w.events)) {
			if !got[key] {
				t.Fatalf("seed %d: %s is missed; got %v", seed, key, got)
			}
		}
		for key := range got {
			if !may[key] {
				t.Fatalf("seed %d: %s is false", seed, key)
			}
		}
	}
}
