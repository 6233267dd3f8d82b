package image_test

import (
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

func TestParsePlatform(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]image.Platform{
		"linux/amd64":     {OS: "linux", Architecture: "amd64"},
		"linux/arm64/v8":  {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"Linux/aarch64":   {OS: "Linux", Architecture: "aarch64"},
		"unknown/unknown": {OS: "unknown", Architecture: "unknown"},
	} {
		got, err := image.ParsePlatform(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("%s: got %#v (%s), %v, want %#v", in, got, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                         `invalid platform "": want OS/ARCHITECTURE`,
		"amd64":                    "want OS/ARCHITECTURE",
		"linux/arm64/v8/x":         "want OS/ARCHITECTURE",
		"linux/":                   "a part of it is empty",
		"linux/a\nb":               "letters, digits",
		"linux/" + sha512:          "want OS/ARCHITECTURE",
		strings.Repeat("/", 1<<20): "want OS/ARCHITECTURE",
	} {
		got, err := image.ParsePlatform(in)
		if err == nil || got != (image.Platform{}) || !strings.Contains(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("%.40q: got %v and error %v, want …%s…", in, got, err, want)
		}
	}
	if got := (image.Platform{}).String(); got != "unknown" {
		t.Errorf("the zero platform is %q, want unknown", got)
	}
}

func TestPlatformMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		p, q string
		want bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/aarch64", "linux/arm64", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm64/8", "linux/AARCH64", true},
		{"linux/x86_64", "linux/amd64/v1", true},
		{"linux/i386", "linux/386", true},
		{"linux/armhf", "linux/arm/v7", true},
		{"linux/armel", "linux/arm/6", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/arm/v6", "linux/arm", true},
		{"linux/arm/v7", "linux/arm64", false},
		{"unknown/unknown", "unknown/unknown", false},
		{"unknown/unknown", "linux/amd64", false},
	} {
		p, q := platform(t, tt.p), platform(t, tt.q)
		if p.Match(q) != tt.want || q.Match(p) != tt.want {
			t.Errorf("%s and %s: got %v and %v, want %v", p, q, p.Match(q), q.Match(p), tt.want)
		}
	}
	zero := image.Platform{}
	if !zero.Match(platform(t, "linux/arm/v7")) || !zero.Match(zero) || zero.Match(platform(t, "unknown/unknown")) {
		t.Error("the zero platform does not match any but unknown/unknown")
	}
}

func platform(t testing.TB, s string) image.Platform {
	t.Helper()
	p, err := image.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func FuzzParsePlatform(f *testing.F) {
	for _, in := range []string{"linux/amd64", "linux/arm/v7", "", "/", "a/b/c/d", "linux/\xff"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := image.ParsePlatform(in)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 600 {
				t.Fatalf("%q: the error is not one short line: %v", in, err)
			}
			return
		}
		if p.String() != in {
			t.Fatalf("%q: written as %q", in, p)
		}
		if nowhere := strings.EqualFold(p.OS, "unknown") || strings.EqualFold(p.Architecture, "unknown"); p.Match(p) == nowhere {
			t.Fatalf("%q matches itself: %v", in, p.Match(p))
		}
	})
}
