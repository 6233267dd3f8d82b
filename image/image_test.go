package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

const (
	hex64  = "4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	sha    = "sha256:" + hex64
	sha512 = "sha512:" + hex64 + hex64
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, registry, repository, tag, digest, familiar, normal string
	}{
		{"nginx", "docker.io", "library/nginx", "", "", "nginx", "docker.io/library/nginx"},
		{"nginx:1.25", "docker.io", "library/nginx", "1.25", "", "nginx", "docker.io/library/nginx:1.25"},
		{"library/nginx", "docker.io", "library/nginx", "", "", "nginx", "docker.io/library/nginx"},
		{"docker.io/nginx", "docker.io", "library/nginx", "", "", "nginx", "docker.io/library/nginx"},
		{"index.docker.io/library/nginx", "docker.io", "library/nginx", "", "", "nginx", "docker.io/library/nginx"},
		{"acme/api:v1", "docker.io", "acme/api", "v1", "", "acme/api", "docker.io/acme/api:v1"},
		{"a/b/c", "docker.io", "a/b/c", "", "", "a/b/c", "docker.io/a/b/c"},
		{"ghcr.io/acme/api:1.4", "ghcr.io", "acme/api", "1.4", "", "ghcr.io/acme/api", "ghcr.io/acme/api:1.4"},
		{"localhost/app", "localhost", "app", "", "", "localhost/app", "localhost/app"},
		{"localhost:5000/app", "localhost:5000", "app", "", "", "localhost:5000/app", "localhost:5000/app"},
		{"localhost:5000", "docker.io", "library/localhost", "5000", "", "localhost", "docker.io/library/localhost:5000"},
		{"10.0.0.5:5000/app:1", "10.0.0.5:5000", "app", "1", "", "10.0.0.5:5000/app", "10.0.0.5:5000/app:1"},
		{"[::1]:5000/app", "[::1]:5000", "app", "", "", "[::1]:5000/app", "[::1]:5000/app"},
		{"[2001:db8::1]/a/b:t", "[2001:db8::1]", "a/b", "t", "", "[2001:db8::1]/a/b", "[2001:db8::1]/a/b:t"},
		{"MyHost/app", "MyHost", "app", "", "", "MyHost/app", "MyHost/app"},
		{"nginx@" + sha, "docker.io", "library/nginx", "", sha, "nginx", "docker.io/library/nginx@" + sha},
		{"nginx:1.25@" + sha, "docker.io", "library/nginx", "1.25", sha, "nginx", "docker.io/library/nginx:1.25@" + sha},
		{"localhost:5000/a@" + sha512, "localhost:5000", "a", "", sha512, "localhost:5000/a", "localhost:5000/a@" + sha512},
		{"a_b/c__d/e---f/g.h", "docker.io", "a_b/c__d/e---f/g.h", "", "", "a_b/c__d/e---f/g.h", "docker.io/a_b/c__d/e---f/g.h"},
		{"a:_x.-Y", "docker.io", "library/a", "_x.-Y", "", "a", "docker.io/library/a:_x.-Y"},
	} {
		r, err := image.Parse(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		got := [...]string{r.Registry(), r.Repository(), r.Tag(), r.Digest().String(), r.Familiar(), r.String(), r.Original(), r.Name()}
		want := [...]string{tc.registry, tc.repository, tc.tag, tc.digest, tc.familiar, tc.normal, tc.in, tc.registry + "/" + tc.repository}
		if got != want {
			t.Errorf("%s:\n got %q\nwant %q", tc.in, got, want)
		}
		if r.Pinned() != (tc.digest != "") {
			t.Errorf("%s: pinned is %v", tc.in, r.Pinned())
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in     string
		offset int
		reason string // a part of it
	}{
		{"", 0, "it is empty"},
		{"  ", 0, "it is blank"},
		{" nginx", 0, "space"},
		{"nginx latest", 5, "space"},
		{"nginx\n", 5, "line end"},
		{"ngi\x00nx", 3, "control character"},
		{"nginx\u00e9", 5, "not ASCII"},
		{"Nginx", 0, "no upper-case letters"},
		{"ghcr.io/Acme/api", 8, "no upper-case letters"},
		{"nginx:", 6, "nothing after ':'"},
		{"nginx:1:2", 5, "a second ':'"},
		{"nginx@", 6, "nothing after '@'"},
		{"nginx@sha256:abc", 13, "too short: 3 digits instead of 64"},
		{"nginx@sha256:" + hex64 + "0", 13, "too long: 65 digits instead of 64"},
		{"nginx@sha256:" + strings.ToUpper(hex64), 14, "lower case"},
		{"nginx@SHA256:" + hex64, 6, "algorithm is written in lower case"},
		{"nginx@sha256:" + hex64[:63] + "g", 76, "hex digits only"},
		{"nginx@md5:d41d8cd98f00b204e9800998ecf8427e", 6, "unknown digest algorithm"},
		{"nginx@latest", 6, "a tag comes after ':'"},
		{"nginx@" + sha + "@" + sha, 77, "hex digits only"},
		{"{{ .Values.image }}", 0, "not filled in: a template such as Helm's"},
		{"nginx:{{ .Values.tag }}", 6, "not filled in: a template such as Helm's"},
		{"${IMAGE}", 0, "not filled in: a variable of a shell or of Compose"},
		{"nginx:$(TAG)", 6, "not filled in: a variable of Kubernetes, make or Tekton"},
		{"nginx:$TAG", 6, "not filled in: a variable of a shell"},
		{"<image>", 0, "not filled in: a placeholder"},
		{"https://ghcr.io/a", 5, `write "ghcr.io/a"`},
		{"docker://nginx", 6, `write "nginx"`},
		{"/nginx", 0, "begins with a slash"},
		{"nginx/", 5, "ends with a slash"},
		{"ghcr.io/", 8, "the repository is missing"},
		{"a//b", 2, "is empty"},
		{":1.25", 0, "the repository is missing"},
		{"-a", 0, "must begin with"},
		{"a-", 1, "must end with"},
		{"a/-b", 2, "must begin with"},
		{"a..b", 2, "separators"},
		{"a___b", 3, "separators"},
		{"a.-b", 2, "separators"},
		{"a+b", 1, "not allowed in a repository"},
		{"nginx:-1", 6, "a tag must begin with"},
		{"nginx:1+2", 7, "not allowed in a tag"},
		{"a:" + strings.Repeat("x", 129), 130, "longer than 128"},
		{strings.Repeat("x", 256), 255, "longer than 255"},
		{"host:/app", 4, "port is missing"},
		{"host:80a/app", 7, "port is not a number"},
		{":5000/app", 0, "host name is missing"},
		{"-host.io/app", 0, "cannot begin or end with '-'"},
		{"a..b/app", 2, "is empty"},
		{"a_b.c/app", 1, "not allowed in a registry's host name"},
		{"[::1/app", 0, `lacks its "]"`},
		{"[]/app", 0, "the IPv6 address is empty"},
		{"[::g]/app", 3, "not an IPv6 address"},
		{"[::1]x/app", 5, "after the IPv6 address"},
		{hex64, 0, "an image id"},
	} {
		r, err := image.Parse(tc.in)
		var bad *image.ParseError
		if !errors.As(err, &bad) {
			t.Errorf("%q: got %v and error %v, want a ParseError", tc.in, r, err)
			continue
		}
		if bad.Input != tc.in || bad.Offset != tc.offset || !strings.Contains(bad.Reason, tc.reason) {
			t.Errorf("%q:\n got offset %d: %s\nwant offset %d: …%s…", tc.in, bad.Offset, bad.Reason, tc.offset, tc.reason)
		}
	}
}

func TestErrorsFitOnALine(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a\nb\x1b[31m", strings.Repeat("A", 1<<20), "\xff\xfe"} {
		_, err := image.Parse(in)
		if err == nil {
			t.Errorf("%.20q: no error", in)
			continue
		}
		if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\n\x1b\xff") {
			t.Errorf("%.20q: message of %d bytes: %.200q", in, len(text), text)
		}
	}
}

func TestClass(t *testing.T) {
	t.Parallel()
	for class, tags := range map[image.Class][]string{
		image.Latest: {"latest", "LATEST", "Latest"},
		image.Floating: {
			"stable", "edge", "main", "master", "nightly", "dev", "prod", "release", "lts", "alpine", "bookworm",
			"slim", "canary", "v1-latest", "latest-alpine", "mainline", "current", "jammy", "rc", "pr-123",
			"1", "v1", "1.25", "v1.2", "16-alpine", "1.25-alpine", "3.12-slim-bookworm", "22.04", "2022", "2022-latest",
			"16-alpine3.18.4", "alpine3.18", "php8.2-apache", "ltsc2022", "1809", "1.x", "1.25.x", "1.25.x-alpine",
			"1.25.3-SNAPSHOT", "1.2.3-latest", "1.2.3-dev", "1.2.3-nightly", "1-rc1", "v1.2-beta", "2024.1", "beta2", "3.12-17",
		},
		image.Fixed: {
			"1.25.3", "v1.2.3", "V1.2.3", "1.2.3.4", "v1.2.3-rc.1", "1.25.3-alpine3.18", "1.25.3-alpine", "2024.1.2",
			"2.426.1-lts", "1.2.3-stable", "12.1.0-devel-ubuntu22.04", "17.0.9_9-jdk", "jdk-21.0.1", "go1.21.5",
			"8u392-b08-jdk", "8u392", "v1.28.3-eksbuild.1", "9.4.53.v20231009", "release-1.2.3", "3.12.0b2",
			"20240115", "2024-01-15", "2024_01_15", "2024.01.15", "bookworm-20240110-slim", "nightly-20240115",
			"nightly-2024-01-15", "20240115103000", "20240115T103000Z", "1700000000", "RELEASE.2024-01-16T16-07-38Z",
			"befacaad", "abc1234", "sha-abc1234", "git-0123abc", "main-abc1234", "v1.2-abc1234", "v1.2-14-gabc1234",
			"master-abc1234-1700000000", hex64[:40], hex64, "123e4567-e89b-12d3-a456-426614174000", "1.2.3-SNAPSHOT-abc1234",
			"build-1234", "b1234", "r123", "run-7", "ci-88", "12345", "9.3-1610", "1.25-1234567",
		},
	} {
		for _, tag := range tags {
			r, err := image.Parse("localhost:5000/app:" + tag)
			if err != nil {
				t.Error(err)
				continue
			}
			if got, why := r.Class(); got != class || why == "" || !got.Mutable() {
				t.Errorf("%s: got %v (%s), want %v", tag, got, why, class)
			}
		}
	}
	for in, want := range map[string]image.Class{
		"nginx":                       image.Untagged,
		"localhost:5000/app":          image.Untagged,
		"[::1]:5000/app":              image.Untagged,
		"nginx@" + sha:                image.Pinned,
		"nginx:latest@" + sha:         image.Pinned,
		"10.0.0.5:5000/a:1@" + sha512: image.Pinned,
	} {
		r, err := image.Parse(in)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, why := r.Class(); got != want || why == "" || got.Mutable() != (want != image.Pinned) {
			t.Errorf("%s: got %v (%s), want %v", in, got, why, want)
		}
	}
	if got, _ := (image.Reference{}).Class(); got != image.Invalid {
		t.Errorf("zero reference: got %v, want invalid", got)
	}
}

func TestFromImageID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"docker.io/library/nginx@" + sha:   "docker.io/library/nginx",
		"docker-pullable://nginx@" + sha:   "nginx",
		"docker://" + sha:                  "",
		sha:                                "",
		"localhost:5000/app@" + sha:        "localhost:5000/app",
		"docker-pullable://h:1/a/b@" + sha: "h:1/a/b",
	} {
		name, d, ok := image.FromImageID(in)
		if !ok || name != want || d.String() != sha {
			t.Errorf("%s: got %q, %q, %v, want %q and the digest", in, name, d, ok, want)
		}
	}
	for _, in := range []string{"", "nginx", "nginx:1.25", "sha256:abc", hex64, "docker://", "a@md5:00"} {
		if name, d, ok := image.FromImageID(in); ok || name != "" || d != "" {
			t.Errorf("%q: got %q, %q, %v, want nothing", in, name, d, ok)
		}
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	d, err := image.ParseDigest(sha)
	if err != nil || d.Algorithm() != "sha256" || d.Hex() != hex64 || d.String() != sha {
		t.Errorf("got %q %q %q, %v", d, d.Algorithm(), d.Hex(), err)
	}
	for _, in := range []string{"", "sha256", "sha256:", hex64, "md5:00", " " + sha} {
		if d, err := image.ParseDigest(in); err == nil {
			t.Errorf("%q: got %q, want an error", in, d)
		}
	}
}

func TestReferenceAsText(t *testing.T) {
	t.Parallel()
	var r image.Reference
	if err := r.UnmarshalText([]byte("nginx:1.25")); err != nil {
		t.Fatal(err)
	}
	if text, err := r.MarshalText(); err != nil || string(text) != "docker.io/library/nginx:1.25" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := r.UnmarshalText([]byte("nginx:")); err == nil || r.Tag() != "1.25" {
		t.Errorf("a bad text: got %v and error %v, want the reference unchanged", r, err)
	}
	if got := (image.Reference{}).String(); got != "" {
		t.Errorf("zero reference: got %q", got)
	}
}

var common = []string{"nginx", "nginx:latest", "ghcr.io/acme/api:1.4", "localhost:5000/app", "registry.example.com/team/app:v1.25.3-alpine"}

func TestParseAndClassDoNotAllocate(t *testing.T) {
	for _, in := range append([]string{"nginx@" + sha, "[::1]:5000/app:main-abc1234"}, common...) {
		if n := testing.AllocsPerRun(100, func() {
			r, err := image.Parse(in)
			if err != nil {
				t.Fatal(err)
			}
			r.Class()
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", in, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, in := range append([]string{"", "nginx:", "a@sha256:abc", "[::1]:5000/a:b@" + sha, "{{x}}", "a/B", "\xff", "a..b/c"}, common...) {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := image.Parse(in)
		if err != nil {
			var bad *image.ParseError
			if !errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > len(in) || bad.Reason == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: error %#v", in, err)
			}
			return
		}
		again, err := image.Parse(r.String())
		if err != nil {
			t.Fatalf("%q: normalised to %q: %v", in, r, err)
		}
		if again.String() != r.String() || again.Name() != r.Name() || again.Tag() != r.Tag() || again.Digest() != r.Digest() {
			t.Fatalf("%q: normalised to %q, then to %q", in, r, again)
		}
		short, err := image.Parse(r.Familiar())
		if err != nil || short.Name() != r.Name() {
			t.Fatalf("%q: familiar %q means %q, %v; want %q", in, r.Familiar(), short.Name(), err, r.Name())
		}
		class, why := r.Class()
		if class == image.Invalid || why == "" || class.Mutable() == r.Pinned() {
			t.Fatalf("%q: class %v because %q", in, class, why)
		}
	})
}

func FuzzFromImageID(f *testing.F) {
	f.Add("docker.io/library/nginx@" + sha)
	f.Add("docker://" + sha)
	f.Add("")
	f.Fuzz(func(t *testing.T, in string) {
		_, d, ok := image.FromImageID(in)
		if parsed, err := image.ParseDigest(d.String()); ok != (err == nil) || ok && parsed != d {
			t.Fatalf("%q: got digest %q, %v", in, d, ok)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, in := range append([]string{"nginx@" + sha}, common...) {
		name, _, _ := strings.Cut(in, "@")
		if name != in {
			name += "@digest"
		}
		b.Run(strings.ReplaceAll(name, "/", "|"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := image.Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkClass(b *testing.B) {
	r, err := image.Parse("registry.example.com/team/app:v1.25.3-alpine")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Class()
	}
}
