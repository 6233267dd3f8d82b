package pushes_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// A hint is believed when a real registry agrees, and only then.
func TestConfirm(t *testing.T) {
	t.Parallel()
	var manifest []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("%s %s: want HEAD requests alone", r.Method, r.URL)
		}
		switch name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; name {
		case "latest", registrytest.Digest(manifest):
			w.Header().Set("Docker-Content-Digest", registrytest.Digest(manifest))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	client, err := registry.New(registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(ctx context.Context, ref image.Reference) (image.Digest, error) {
		got, err := client.Resolve(ctx, ref)
		return got.Digest, err
	}
	now, other := image.Digest(registrytest.Digest(manifest)), image.Digest("sha256:"+strings.Repeat("a", 64))
	for _, test := range []struct {
		name        string
		tag         string
		digest      image.Digest
		confirmed   bool
		want        image.Digest
		notAnswered error
	}{
		{"the digest is the same", "latest", now, true, now, nil},
		{"a webhook without a digest", "latest", "", true, now, nil},
		{"the tag has moved on, or never was there", "latest", other, false, other, nil},
		{"no such tag", "gone", now, false, now, registry.ErrNotFound},
		{"a push by digest", "", now, true, now, nil},
		{"a push by a digest that is not there", "", other, false, other, registry.ErrNotFound},
	} {
		p := pushes.Push{Repository: host + "/team/app", Tag: test.tag, Digest: test.digest, By: "ci"}
		got, err := pushes.Confirm(t.Context(), p, resolve)
		if got.Confirmed != test.confirmed || got.Digest != test.want || !errors.Is(err, test.notAnswered) {
			t.Errorf("%s: got %+v, %v", test.name, got, err)
		}
	}
	if _, err := pushes.Confirm(t.Context(), pushes.Push{Repository: "not a name"}, resolve); err == nil {
		t.Error("a push of nothing is confirmed")
	}
}
