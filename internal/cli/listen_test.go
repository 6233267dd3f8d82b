package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
)

const pushedDigest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

// hook is what CNCF Distribution sends of a push.
const hook = `{"events": [{"timestamp": "2026-11-23T12:00:00Z", "action": "push", "target": {
	"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "` + pushedDigest + `", "repository": "acme/api", "tag": "latest"},
	"request": {"addr": "192.0.2.1:4711", "host": "127.0.0.1:5000", "useragent": "docker/28"}, "actor": {"name": "mallory"}}]}`

func TestHooks(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	l, err := listen(ctx, "--listen-pushes", "127.0.0.1:0", "secret")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 5, 0, time.UTC)
	h := &hooks{at: l, token: "secret", log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	asked := 0
	h.resolve = func(_ context.Context, ref image.Reference) (image.Digest, error) {
		if ref.Registry() != "docker.io" {
			return "", errors.New("no such registry")
		}
		// The registry tells before it has the tag.
		if asked++; asked < 3 {
			return "", errors.New("not found")
		}
		return pushedDigest, nil
	}
	told, ended := make(chan event.Event, 10), make(chan error, 1)
	go func() { ended <- h.Watch(ctx, func(e event.Event) { told <- e }) }()

	post := func(path, token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+path, strings.NewReader(hook))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for _, test := range []struct {
		path, token string
		status      int
	}{
		{"/", "wrong", http.StatusUnauthorized},
		{"/a/b", "secret", http.StatusNotFound},
		{"/docker.io", "secret", http.StatusNoContent},
	} {
		if got := post(test.path, test.token); got != test.status {
			t.Errorf("POST %s with %s: status %d, want %d", test.path, test.token, got, test.status)
		}
	}
	want := &event.Push{
		Time: now, Source: "registries", Repository: "docker.io/acme/api", Tag: "latest", Digest: pushedDigest,
		Pushed: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), By: "mallory", Addr: "192.0.2.1:4711", UserAgent: "docker/28",
		Told: "distribution notification", Trust: event.Recorded, Confirmed: true,
	}
	if diff := cmp.Diff(event.Event(want), <-told); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
	// A registry that cannot be asked leaves it a hint.
	if got := post("/", "secret"); got != http.StatusNoContent {
		t.Errorf("status %d", got)
	}
	if p, ok := (<-told).(*event.Push); !ok || p.Confirmed || p.Repository != "127.0.0.1:5000/acme/api" {
		t.Errorf("got %+v, want an unconfirmed push of 127.0.0.1:5000/acme/api", p)
	}
	// A flood is turned away, and the listener lives on.
	full := 0
	for range listenBurst + 50 {
		if post("/", "wrong") == http.StatusTooManyRequests {
			full++
		}
	}
	if full == 0 {
		t.Error("a flood is taken")
	}
	end()
	if err := <-ended; err != nil {
		t.Errorf("the listener ended with %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ addr, token, want string }{
		{"2801", "", "want HOST:PORT"},
		{"0.0.0.0:0", "", "set a token"},
		{":0", "", "set a token"},
		{"registry.example:0", "", "set a token"},
		{"127.0.0.1:99999", "", "invalid port"},
	} {
		if _, err := listen(t.Context(), "--listen-pushes", test.addr, test.token); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.addr, err, test.want)
		}
	}
}
