package cli

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/store"
)

// TestFactsAreKeptAsTheyAre: what a registry said comes back from the store.
func TestFactsAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "h.db"), store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	digest := func(c byte) image.Digest {
		d := []byte("sha256:0000000000000000000000000000000000000000000000000000000000000000")
		d[len(d)-1] = c
		return image.Digest(d)
	}
	amd := image.Platform{OS: "linux", Architecture: "amd64"}
	for _, want := range []image.Content{
		{Digest: digest('1'), Kind: image.KindIndex, Children: []image.Child{
			{Digest: digest('2'), Platform: amd},
			{Digest: digest('3'), Platform: image.Platform{OS: "unknown", Architecture: "unknown"}},
			{Digest: digest('4')},
		}},
		{Digest: digest('2'), Kind: image.KindManifest, Platform: amd, Config: digest('5')},
		{Digest: digest('6'), Kind: image.KindManifest, Config: digest('7')},
	} {
		f := facts{s}
		if _, ok, err := f.Content(t.Context(), want.Digest); ok || err != nil {
			t.Errorf("%s is there before it was put (%v)", want.Digest, err)
		}
		if err := f.PutContent(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := f.Content(t.Context(), want.Digest)
		if diff := cmp.Diff(want, got); !ok || err != nil || diff != "" {
			t.Errorf("ok %v, error %v (-want +got):\n%s", ok, err, diff)
		}
	}
}
