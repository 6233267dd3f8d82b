package image_test

import (
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

func TestParseDigest(t *testing.T) {
	t.Parallel()
	for _, in := range []string{sha256, sha384, sha512} {
		d, err := image.ParseDigest(in)
		algorithm, hex, _ := strings.Cut(in, ":")
		if err != nil || d.Algorithm() != algorithm || d.Hex() != hex || d.String() != in || !d.Valid() {
			t.Errorf("%s: got %q: %q %q, valid %v, %v", in, d, d.Algorithm(), d.Hex(), d.Valid(), err)
		}
	}
	for in, want := range map[string]string{
		"":                     `invalid digest "": nothing`,
		"sha256":               `invalid digest "sha256": after '@' comes a digest`,
		"sha256:":              `invalid digest "sha256:": the digest is too short: 0 digits`,
		hex64:                  "after '@' comes a digest",
		"md5:00":               "unknown digest algorithm",
		" " + sha256:           "unknown digest algorithm",
		sha256 + "\x1b":        `\x1b": a digest has hex digits only`,
		"Sha512:" + hex64:      "lower case",
		sha384[:len(sha384)-1]: "95 digits instead of 96",
	} {
		d, err := image.ParseDigest(in)
		if err == nil || d != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q and error %v, want …%s…", in, d, err, want)
		}
		if image.Digest(in).Valid() {
			t.Errorf("%q is valid", in)
		}
	}
	var none image.Digest
	if none.Algorithm() != "" || none.Hex() != "" || none.String() != "" {
		t.Errorf("empty digest: %q %q %q", none.Algorithm(), none.Hex(), none)
	}
}

func TestFromImageID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"docker.io/library/nginx@" + sha256:          "docker.io/library/nginx", // containerd
		"docker-pullable://nginx@" + sha256:          "nginx",                   // dockershim
		"docker-pullable://h:1/a/b@" + sha256:        "h:1/a/b",
		"docker://" + sha256:                         "", // dockershim, never pulled
		"docker://docker.io/library/nginx@" + sha256: "docker.io/library/nginx",
		sha256:                         "", // containerd, imported
		hex64:                          "", // CRI-O
		"localhost:5000/app@" + sha256: "localhost:5000/app",
		"docker.io/library/import-2026-01-15:x@" + sha256: "docker.io/library/import-2026-01-15:x",
	} {
		name, d, ok := image.FromImageID(in)
		if !ok || name != want || d.String() != sha256 {
			t.Errorf("%s: got %q, %q, %v, want %q and the digest", in, name, d, ok, want)
		}
	}
	for _, in := range []string{
		"", "nginx", "nginx:1.25", "sha256:abc", hex64[1:], "docker://", "docker-pullable://", "a@md5:00", "a@" + hex64,
		"@" + sha256, "A@" + sha256, "a\nb@" + sha256, "a@" + sha256 + "@" + sha256, "a@" + strings.ToUpper(sha256),
	} {
		if name, d, ok := image.FromImageID(in); ok || name != "" || d != "" {
			t.Errorf("%q: got %q, %q, %v, want nothing", in, name, d, ok)
		}
	}
}

func BenchmarkFromImageID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := image.FromImageID("docker-pullable://nginx@" + sha256); !ok {
			b.Fatal("no digest")
		}
	}
}
