package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/store"
)

// push makes a push of an image at a minute after noon, which is known a second
// later.
func push(minute int, tag, digest, by string) *event.Push {
	at := Noon.Add(time.Duration(minute) * time.Minute)
	return &event.Push{
		Time: at.Add(time.Second), Source: "registries", Repository: "docker.io/acme/api", Tag: tag, Digest: digest, Pushed: at, By: by,
		Addr: "192.0.2.1:4711", UserAgent: "docker/28", Told: "distribution notification", Trust: event.Recorded,
	}
}

func testPushes(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	pushes := func(tag string, limit int) []event.Push {
		t.Helper()
		all, err := s.Pushes(ctx, "docker.io/acme/api", tag, limit)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := pushes("latest", 0); len(got) != 0 {
		t.Fatalf("an empty store has %+v", got)
	}
	first, second, other := push(1, "latest", Digest(1), "ci"), push(2, "latest", Digest(2), "mallory"), push(3, "1.0", Digest(2), "ci")
	// Nobody says when this was pushed, or which digest.
	vague := &event.Push{Time: Noon.Add(5 * time.Minute), Repository: "docker.io/acme/api", Tag: "latest", Told: "Quay notification", Trust: "publisher-claimed"}
	odd := &event.Push{Time: Noon, Repository: "docker.io/acme/web", Digest: "sha512:x", OfDigest: true, Trust: "observed"}
	// Late, and twice.
	s.write(&store.Batch{Pushes: []*event.Push{second, other}})
	s.write(&store.Batch{Pushes: []*event.Push{first, second, vague, odd}})
	s.reopen()
	if diff := cmp.Diff([]event.Push{*vague, *second, *first}, pushes("latest", 0)); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]event.Push{*vague, *other}, pushes("", 2)); diff != "" {
		t.Errorf("the newest two of all tags (-want +got):\n%s", diff)
	}
	if got, err := s.Pushes(ctx, "docker.io/acme/web", "", 0); err != nil || len(got) != 1 || got[0] != *odd {
		t.Errorf("got %+v, %v, want %+v", got, err, *odd)
	}
	// Once confirmed, always confirmed.
	for _, confirmed := range []bool{true, false} {
		again := *second
		again.Confirmed = confirmed
		s.write(&store.Batch{Pushes: []*event.Push{&again}})
	}
	if got := pushes("latest", 0); len(got) != 3 || !got[1].Confirmed || got[2].Confirmed {
		t.Errorf("after the confirmation: %+v", got)
	}
	// The last push of a tag stays, however old it is.
	if _, err := s.Retain(ctx, Noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := pushes("", 0); len(got) != 2 || got[0].Told != vague.Told || got[1].Tag != "1.0" {
		t.Errorf("after the retention: %+v", got)
	}
}
