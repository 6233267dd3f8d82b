package image_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
)

const (
	hex64  = "4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	sha256 = "sha256:" + hex64
	sha384 = "sha384:" + hex64 + "4bcff63911fcb4448bd4fdacec207030"
	sha512 = "sha512:" + hex64 + hex64
)

// parts is a reference taken apart.
type parts struct {
	Registry, Repository, Tag, Digest, Familiar string
}

func partsOf(r image.Reference) parts {
	return parts{r.Registry(), r.Repository(), r.Tag(), r.Digest().String(), r.Familiar()}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const hub = "docker.io"
	longest := strings.Repeat("x", 255-len("library/"))
	for in, want := range map[string]parts{
		// Docker Hub and its short names.
		"nginx":                         {hub, "library/nginx", "", "", "nginx"},
		"nginx:latest":                  {hub, "library/nginx", "latest", "", "nginx"},
		"library/nginx":                 {hub, "library/nginx", "", "", "nginx"},
		"docker.io/nginx":               {hub, "library/nginx", "", "", "nginx"},
		"docker.io/library/nginx:1":     {hub, "library/nginx", "1", "", "nginx"},
		"index.docker.io/nginx":         {hub, "library/nginx", "", "", "nginx"},
		"index.docker.io/library/nginx": {hub, "library/nginx", "", "", "nginx"},
		"acme/api:v1":                   {hub, "acme/api", "v1", "", "acme/api"},
		"a/b/c":                         {hub, "a/b/c", "", "", "a/b/c"},
		"library":                       {hub, "library/library", "", "", "library"},
		longest:                         {hub, "library/" + longest, "", "", longest},

		// A registry is a first part with a dot, a colon or a capital, or localhost.
		"ghcr.io/acme/api:1.4":                {"ghcr.io", "acme/api", "1.4", "", "ghcr.io/acme/api"},
		"registry-1.docker.io/library/nginx":  {"registry-1.docker.io", "library/nginx", "", "", "registry-1.docker.io/library/nginx"},
		"docker.io:443/nginx":                 {"docker.io:443", "nginx", "", "", "docker.io:443/nginx"},
		"Docker.io/nginx":                     {"Docker.io", "nginx", "", "", "Docker.io/nginx"},
		"MyHost/app":                          {"MyHost", "app", "", "", "MyHost/app"},
		"localhost/app":                       {"localhost", "app", "", "", "localhost/app"},
		"localhost:5000/app":                  {"localhost:5000", "app", "", "", "localhost:5000/app"},
		"registry.example.com:443/team/app:2": {"registry.example.com:443", "team/app", "2", "", "registry.example.com:443/team/app"},
		"10.0.0.5:5000/app:1":                 {"10.0.0.5:5000", "app", "1", "", "10.0.0.5:5000/app"},
		"[::1]:5000/app":                      {"[::1]:5000", "app", "", "", "[::1]:5000/app"},
		"[2001:DB8::1]/a/b:t":                 {"[2001:DB8::1]", "a/b", "t", "", "[2001:DB8::1]/a/b"},

		// Without a slash there is no registry.
		"localhost":      {hub, "library/localhost", "", "", "localhost"},
		"localhost:5000": {hub, "library/localhost", "5000", "", "localhost"},
		"ghcr.io":        {hub, "library/ghcr.io", "", "", "ghcr.io"},

		// The short name must keep its meaning.
		"docker.io/localhost/app":      {hub, "localhost/app", "", "", "docker.io/localhost/app"},
		"docker.io/ghcr.io/app":        {hub, "ghcr.io/app", "", "", "docker.io/ghcr.io/app"},
		"docker.io/library/a/b":        {hub, "library/a/b", "", "", "library/a/b"},
		"docker.io/" + hex64:           {hub, "library/" + hex64, "", "", "docker.io/" + hex64},
		"docker.io/" + hex64[:54]:      {hub, "library/" + hex64[:54], "", "", hex64[:54]},
		hex64[:54] + ":" + "latest-xx": {hub, "library/" + hex64[:54], "latest-xx", "", hex64[:54]},

		// Digests.
		"nginx@" + sha256:               {hub, "library/nginx", "", sha256, "nginx"},
		"nginx:1.25@" + sha256:          {hub, "library/nginx", "1.25", sha256, "nginx"},
		"localhost:5000/a@" + sha512:    {"localhost:5000", "a", "", sha512, "localhost:5000/a"},
		"[::1]:5000/a:b@" + sha384:      {"[::1]:5000", "a", "b", sha384, "[::1]:5000/a"},
		"sha256/app:latest":             {hub, "sha256/app", "latest", "", "sha256/app"},
		"nginx:sha256-" + hex64:         {hub, "library/nginx", "sha256-" + hex64, "", "nginx"},
		"mirror/sha256cache/app":        {hub, "mirror/sha256cache/app", "", "", "mirror/sha256cache/app"},
		"a_b/c__d/e---f/g.h":            {hub, "a_b/c__d/e---f/g.h", "", "", "a_b/c__d/e---f/g.h"},
		"0/1:_x.-Y":                     {hub, "0/1", "_x.-Y", "", "0/1"},
		"a:" + strings.Repeat("x", 128): {hub, "library/a", strings.Repeat("x", 128), "", "a"},
	} {
		r, err := image.Parse(in)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, partsOf(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
		full := want.Registry + "/" + want.Repository
		if r.Original() != in || r.Name() != full || r.Pinned() != (want.Digest != "") {
			t.Errorf("%s: original %s, name %s, pinned %v", in, r.Original(), r.Name(), r.Pinned())
		}
		if want.Tag != "" {
			full += ":" + want.Tag
		}
		if want.Digest != "" {
			full += "@" + want.Digest
		}
		if r.String() != full {
			t.Errorf("%s: got %s, want %s", in, r, full)
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
		// The text as a whole.
		{"", 0, "it is empty"},
		{"  ", 0, "it is blank"},
		{" nginx", 0, "no spaces"},
		{"nginx:latest ", 12, "no spaces"},
		{"nginx latest", 5, "no spaces"},
		{"nginx\n", 5, "line ends"},
		{"ngi\x00nx", 3, "control character"},
		{"nginx\u00e9", 5, "not ASCII"},
		{"ng\u0456nx", 2, "not ASCII"},
		{`"nginx"`, 0, "quotation mark"},
		{"/nginx", 0, "begins with a slash"},
		{"https://ghcr.io/a", 5, `write "ghcr.io/a"`},
		{"docker://nginx", 6, `write "nginx"`},
		{hex64, 0, "an image id"},

		// Not filled in.
		{"{{ .Values.image }}", 0, "not filled in: a template such as Helm's"},
		{"nginx:{{ .Values.tag }}", 6, "not filled in: a template such as Helm's"},
		{"${IMAGE}", 0, "not filled in: a variable of a shell or of Compose"},
		{"${REGISTRY:-https://ghcr.io}/app", 0, "not filled in: a variable of a shell or of Compose"},
		{"nginx:$(TAG)", 6, "not filled in: a variable of Kubernetes, make or Tekton"},
		{"nginx:$TAG", 6, "not filled in: a variable of a shell"},
		{"<image>", 0, "not filled in: a placeholder"},
		{"#{image}#", 0, "not filled in: a variable of a release pipeline"},
		{"((image))", 0, "not filled in: a variable of a pipeline"},
		{"app:{tag}", 4, "not filled in: a template"},
		{"app:%(tag)s", 4, "not filled in: a template"},

		// The digest.
		{"nginx@", 6, "nothing after '@'"},
		{"nginx@latest", 6, "a tag comes after ':'"},
		{"nginx@sha256:abc", 13, "too short: 3 digits instead of 64"},
		{"nginx@sha256:a", 13, "too short: 1 digit instead of 64"},
		{"nginx@sha256:" + hex64 + "0", 13, "too long: 65 digits instead of 64"},
		{"nginx@sha512:" + hex64, 13, "too short: 64 digits instead of 128"},
		{"nginx@sha256:" + strings.ToUpper(hex64), 14, "lower case"},
		{"nginx@SHA256:" + hex64, 6, "algorithm is written in lower case"},
		{"nginx@sha256:" + hex64[:63] + "g", 76, "hex digits only"},
		{"nginx@md5:d41d8cd98f00b204e9800998ecf8427e", 6, "unknown digest algorithm"},
		{"nginx@" + sha256 + "@" + sha256, 77, "hex digits only"},
		{"nginx@" + sha256 + ":1", 77, "hex digits only"},
		{"@" + sha256, 0, "the repository is missing"},

		// The tag.
		{"nginx:", 6, "nothing after ':'"},
		{"nginx:@" + sha256, 6, "nothing after ':'"},
		{"nginx:1:2", 5, "a second ':'"},
		{"nginx:-1", 6, "a tag must begin with"},
		{"nginx:1+2", 7, "not allowed in a tag"},
		{"a:" + strings.Repeat("x", 129), 130, "longer than 128"},
		{":1.25", 0, "the repository is missing"},

		// The repository.
		{"Nginx", 0, "no upper-case letters"},
		{"ghcr.io/Acme/api", 8, "no upper-case letters"},
		{"nginx/", 5, "ends with a slash"},
		{"ghcr.io/", 8, "the repository is missing"},
		{"a//b", 2, "is empty"},
		{"-a", 0, "must begin with"},
		{"a-", 1, "must end with"},
		{"a/-b", 2, "must begin with"},
		{"a..b", 2, "separators"},
		{"a___b", 3, "separators"},
		{"a.-b", 2, "separators"},
		{"a+b", 1, "not allowed in a repository"},
		{"[abc]/app", 0, "not allowed in a repository"},
		{"ghcr.io/" + strings.Repeat("x", 256), 263, "longer than 255"},
		{"ghcr.io/a/../b", 10, "must begin with"},
		{strings.Repeat("x", 248), 247, `longer than 255 characters with the "library/"`},
		{"docker.io/" + strings.Repeat("x", 248), 257, `longer than 255 characters with the "library/"`},

		// The registry.
		{"host:/app", 4, "port is missing"},
		{"host:80a/app", 7, "port is not a number"},
		{":5000/app", 0, "host name is missing"},
		{"-host.io/app", 0, "cannot begin with '-'"},
		{"host-.io/app", 4, "cannot end with '-'"},
		{"a..b/app", 2, "is empty"},
		{"a_b.c/app", 1, "not allowed in a registry's host name"},
		{"[::1/app", 0, `lacks its "]"`},
		{"[]:1/app", 1, "the IPv6 address is empty"},
		{"[::g]/app", 3, "not allowed in an IPv6 address"},
		{"[fe80::1%eth0]/app", 8, "not allowed in an IPv6 address"},
		{"[::1]x/app", 5, "after the IPv6 address"},
		{"[::1]:/app", 5, "port is missing"},
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
		if r != (image.Reference{}) {
			t.Errorf("%q: got %v beside the error, want the zero value", tc.in, r)
		}
	}
}

func TestErrorsFitOnALine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb\x1b[31m": `invalid image reference "a\nb\x1b[31m": at "\nb\x1b[31m": a reference has no spaces or line ends`,
		"\xff\xfe":     `invalid image reference "\xff\xfe": it has a character in it that is not ASCII`,
		"ng\u0456nx":   `invalid image reference "ng\u0456nx": at "\u0456nx": it has a character in it that is not ASCII`,
		"nginx:":       `invalid image reference "nginx:": nothing after ':'; write a tag, or leave the ':' out`,
		strings.Repeat("a", 1e6): `invalid image reference "` + strings.Repeat("a", 120) + `…": at "` + strings.Repeat("a", 20) +
			`…": the repository is longer than 255 characters`,
		"a://\x1b" + strings.Repeat("\x07", 1e6): `invalid image reference "a://\x1b` + strings.Repeat(`\a`, 115) +
			`…": at "://\x1b` + strings.Repeat(`\a`, 16) + `…": a reference has no scheme; write "\x1b` + strings.Repeat(`\a`, 19) + `…"`,
	} {
		_, err := image.Parse(in)
		if err == nil || err.Error() != want {
			t.Errorf("%.20q:\n got %.500v\nwant %s", in, err, want)
		}
	}
}

func TestReferencesAreEqualWhenWrittenAlike(t *testing.T) {
	t.Parallel()
	parse := func(s string) image.Reference {
		r, err := image.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	short, again, long := parse("nginx:1"), parse("nginx:1"), parse("docker.io/library/nginx:1")
	if short != again {
		t.Error("one text, two references")
	}
	if short == long {
		t.Error("two texts, one reference: the original is lost")
	}
}

func TestReferenceAsText(t *testing.T) {
	t.Parallel()
	var r image.Reference
	if err := json.Unmarshal([]byte(`"nginx:1.25"`), &r); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(r); err != nil || string(text) != `"docker.io/library/nginx:1.25"` {
		t.Errorf("got %s, %v", text, err)
	}
	if err := r.UnmarshalText([]byte("nginx:")); err == nil || r.Tag() != "1.25" {
		t.Errorf("a bad text: got %v and error %v, want the reference unchanged", r, err)
	}
}

func TestZeroReference(t *testing.T) {
	t.Parallel()
	var r image.Reference
	if got := []string{r.String(), r.Name(), r.Familiar(), r.Original()}; !cmp.Equal(got, make([]string, 4)) {
		t.Errorf("got %q, want nothing", got)
	}
	if class, why := r.Class(); class != image.Invalid || why == "" || r.Pinned() {
		t.Errorf("got %v because %q, pinned %v", class, why, r.Pinned())
	}
}

// common are the references that a cluster has most of.
var common = []string{
	"nginx", "nginx:latest", "ghcr.io/acme/api:1.4", "localhost:5000/app",
	"registry.example.com/team/app:v1.25.3-alpine", "nginx@" + sha256, "ghcr.io/acme/api:1.4@" + sha256, "ghcr.io/acme/api@" + sha512,
}

func TestParseAndClassDoNotAllocate(t *testing.T) {
	for _, in := range append([]string{"[::1]:5000/app:main-abc1234", "docker.io/library/nginx:2024-01-15"}, common...) {
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

func BenchmarkParse(b *testing.B) {
	for _, in := range common {
		name := strings.NewReplacer("/", "|", hex64+hex64, "512bit", hex64, "256bit").Replace(in)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := image.Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkString(b *testing.B) {
	r, err := image.Parse("nginx:1.25@" + sha256)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.String()
	}
}
