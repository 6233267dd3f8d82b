package pin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

func client(t *testing.T, transport http.RoundTripper) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func origin(ref image.Reference) string { return "registry:" + ref.Registry() }

// pods is a manifest with n containers of m images.
func pods(host string, n, m int) string {
	var b strings.Builder
	b.WriteString(head + "  containers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - image: %s/app%d:1\n", host, i%m)
	}
	return b.String()
}

// TestEveryReferenceIsResolvedThroughRateLimits: a registry that says twenty times
// to wait is waited for, each reference is asked for once, and a HEAD never becomes
// a GET.
func TestEveryReferenceIsResolvedThroughRateLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		const images, refused = 200, 20
		for i := range images {
			reg.Image(fmt.Sprintf("app%d", i), "1", "linux", "amd64", fmt.Sprint(i))
		}
		var limited atomic.Int64
		reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			if limited.Add(1) > refused {
				return false
			}
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		resolver := &pin.Resolver{Image: pin.Ask(client(t, reg), image.Platform{}, false, origin)}
		e := pin.Editor{Decide: resolver.Decide}
		start := time.Now()
		got, err := e.Edit(t.Context(), "a.yaml", manifest.Kubernetes, []byte(pods("registry.example", 2000, images)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.Items {
			if item := &got.Items[i]; item.State != pin.Pinned {
				t.Fatalf("%s: %s, %v", item.Before, item.State, item.Err)
			}
		}
		answered := 0
		for _, r := range reg.Requests() {
			if !strings.HasPrefix(r, "HEAD ") {
				t.Errorf("asked with %s", r)
			}
			answered++
		}
		if answered != images+refused {
			t.Errorf("%d requests, want one for each of %d references, and the %d that were refused", answered, images, refused)
		}
		if waited := time.Since(start); waited < 2*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestAnotherImageWithTheTag: what is known of a tag is never used for another
// image with it.
func TestAnotherImageWithTheTag(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	one := reg.Image("one", "1", "linux", "amd64", "1")
	two := reg.Image("two", "1", "linux", "amd64", "2")
	resolver := &pin.Resolver{Image: pin.Ask(client(t, reg), image.Platform{}, false, origin)}
	e := pin.Editor{Decide: resolver.Decide}
	got, err := e.Edit(t.Context(), "a.yaml", manifest.Kubernetes, []byte(head+"  containers: [{image: r.example/one:1}, {image: r.example/two:1}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := got.Items[0].New, got.Items[1].New; a != one.Digest || b != two.Digest {
		t.Errorf("got %s and %s, want %s and %s", a, b, one.Digest, two.Digest)
	}
}

// TestSchema1: what runtimes no longer pull is no answer.
func TestSchema1(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		w.Header().Set("Docker-Content-Digest", digestOf("x"))
	}))
	defer server.Close()
	ref, err := image.Parse(strings.TrimPrefix(server.URL, "http://") + "/old:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pin.Ask(client(t, nil), image.Platform{}, false, origin)(t.Context(), ref)
	if err == nil || !strings.Contains(err.Error(), "schema 1") {
		t.Errorf("got %v", err)
	}
}
