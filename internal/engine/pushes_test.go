package engine_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/store"
)

// A push by somebody whom the policy does not expect is a finding about each
// container that runs by that tag, or about the tag alone; what nobody proves,
// who is known, and what nobody said anything of, is not. Everything is kept.
func TestPushes(t *testing.T) {
	t.Parallel()
	pol, err := policy.Parse("p", []byte("namespaces: {production: [shop]}\nknownPushers: [{image: registry.example/**, names: [ci-bot]}]\n"), noon)
	if err != nil {
		t.Fatal(err)
	}
	push := func(repository, tag, by, trust string) *event.Push {
		return &event.Push{
			Time: noon.Add(time.Minute), Source: "registries", Repository: repository, Tag: tag, Digest: digestOf("index", 7), Pushed: noon,
			By: by, Addr: "192.0.2.1", Told: "Harbor webhook", Trust: trust,
		}
	}
	all := events{
		replica(1, "a", "r1", "registry.example/api:latest", digestOf("index", 1)),
		replica(2, "b", "r1", "registry.example/api:latest", digestOf("index", 1)),
		push("registry.example/api", "latest", "ci-bot", event.Recorded),
		push("registry.example/api", "latest", "", event.Recorded),
		push("registry.example/api", "latest", "mallory", "publisher-claimed"),
		push("docker.io/library/nginx", "latest", "mallory", event.Recorded),
		push("registry.example/api", "latest", "mallory", event.Recorded),
		push("registry.example/api", "latest", "mallory", event.Recorded), // told twice
		push("registry.example/web", "1.0", "mallory", event.Recorded),
	}
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sink := &alerts{}
	e := &engine.Engine{
		Sources: []engine.Source{all}, Rules: noRules(t), Policy: pol, Sink: sink, Now: time.Now, History: s.History(""),
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range sink.all {
		got = append(got, a.Rule+", "+a.Priority.String()+": "+a.Output)
	}
	const what = "(finding=TW-07 form=unknown-pusher from= to="
	want := []string{
		"Unexpected Image Push, Error: mallory pushed registry.example/api:latest at 2026-11-23T12:00:00Z and is none of its known pushers " + what +
			digestOf("index", 7) + " image=registry.example/api:latest k8s_ns=shop workload=Deployment/api revision=r1 k8s_pod=a container=api)",
		"Unexpected Image Push, Warning: mallory pushed registry.example/web:1.0 at 2026-11-23T12:00:00Z and is none of its known pushers " + what +
			digestOf("index", 7) + " image=registry.example/web:1.0 k8s_ns= workload= revision= k8s_pod= container=)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
	kept, err := s.Pushes(t.Context(), "registry.example/api", "latest", 0)
	if err != nil || len(kept) != 4 {
		t.Errorf("kept %+v, %v; want the four that differ", kept, err)
	}
}

// Sources of pushes end with the sources of starts.
func TestPushSourcesEnd(t *testing.T) {
	t.Parallel()
	sink := &alerts{}
	e := &engine.Engine{
		Sources: []engine.Source{events{}}, Pushes: []engine.Source{forever{}}, Rules: noRules(t), Policy: policy.Default(), Sink: sink, Now: time.Now,
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// forever is a source that ends when it is told to.
type forever struct{ events }

func (forever) Watch(ctx context.Context, _ func(event.Event)) error {
	<-ctx.Done()
	return nil
}

// overwriting is a registry in which a tag leads to the second build now.
type overwriting struct{ registry }

func (overwriting) Resolve(context.Context, image.Reference) (image.Digest, error) {
	return image.Digest(digestOf("index", 2)), nil
}

// A confirmed push of a full version that runs with other bytes is unexpected,
// whoever made it; one of a tag that is meant to move is not.
func TestOverwrittenVersion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tag       string
		confirmed bool
		trust     string
		want      []string
	}{
		{"1.2.3", true, event.Recorded, []string{"TW-03 moved a", "TW-07 overwritten a"}},
		{"latest", true, event.Recorded, []string{"TW-03 moved a"}},
		{"1.2.3", false, event.Recorded, []string{"TW-03 moved a"}},
		{"1.2.3", true, "publisher-claimed", []string{"TW-03 moved a"}},
	} {
		all := events{
			replica(1, "a", "r1", "registry.example/api:"+test.tag, digestOf("index", 1)),
			&event.Push{
				Time: noon.Add(time.Minute), Repository: "registry.example/api", Tag: test.tag, Digest: digestOf("index", 2), Pushed: noon, By: "ci-bot",
				Told: "hook", Trust: test.trust, Confirmed: test.confirmed,
			},
		}
		got := summary(drifts(t, all, overwriting{}, nil))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test, diff)
		}
	}
}
