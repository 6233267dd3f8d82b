package image_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

// The grammar once more, as regular expressions: slow, and easy to hold
// against the specification.
var (
	imageID = regexp.MustCompile(`^[0-9a-f]{64}$`)

	host      = `(?:LABEL(?:\.LABEL)*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?`
	label     = `(?:[0-9A-Za-z]|[0-9A-Za-z][0-9A-Za-z-]*[0-9A-Za-z])`
	component = `[0-9a-z]+(?:(?:[._]|__|-+)[0-9a-z]+)*`
	tag       = `[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}`
	digest    = `sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}`

	full = regexp.MustCompile(`^(` + strings.ReplaceAll(host, "LABEL", label) + `)/(` + component + `(?:/` + component + `)*)(?::` + tag + `)?(?:@(?:` + digest + `))?$`)
)

// inGrammar reports whether s is a reference.
func inGrammar(s string) bool {
	first, _, slash := strings.Cut(s, "/")
	if !slash || first != "localhost" && !strings.ContainsAny(first, ".:") && strings.ToLower(first) == first {
		s, first = "docker.io/"+s, "docker.io"
	}
	m := full.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	repository := m[2]
	if (first == "docker.io" || first == "index.docker.io") && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return len(repository) <= 255
}

func FuzzParse(f *testing.F) {
	for _, in := range common {
		f.Add(in)
	}
	for _, in := range []string{
		"", "nginx:", "a@sha256:abc", "[::1]:5000/a:b@" + sha256, "{{x}}", "a/B", "\xff", "a..b/c", "docker.io/localhost/x",
		hex64, "docker.io/" + hex64[:54], "index.docker.io/library/a/b", "a__b/c--d:e", strings.Repeat("x", 248), "https://a/b", "A/b",
		"[abc]/a", "[aBc]/a", "[:]/a", "h:/a", "a@" + sha384, "a@SHA256:" + hex64,
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := image.Parse(in)
		if want := inGrammar(in) && !imageID.MatchString(in); (err == nil) != want {
			t.Fatalf("%q: got error %v, want a reference: %v", in, err, want)
		}
		if err != nil {
			checkError(t, in, err)
			return
		}
		again, err := image.Parse(r.String())
		if err != nil {
			t.Fatalf("%q: normalised to %q: %v", in, r, err)
		}
		if again.String() != r.String() || partsOf(again) != partsOf(r) {
			t.Fatalf("%q: normalised to %q, then to %q", in, r, again)
		}
		short, err := image.Parse(r.Familiar())
		if err != nil || short.Name() != r.Name() || short.Familiar() != r.Familiar() || len(short.Original()) > len(r.Name()) {
			t.Fatalf("%q: familiar %q means %q, %v; want %q", in, r.Familiar(), short.Name(), err, r.Name())
		}
		class, why := r.Class()
		if class == image.Invalid || why == "" || class.Mutable() == r.Pinned() {
			t.Fatalf("%q: class %v because %q", in, class, why)
		}
	})
}

func checkError(t *testing.T, in string, err error) {
	t.Helper()
	var bad *image.ParseError
	if !errors.As(err, &bad) || bad.Input != in || bad.Offset < 0 || bad.Offset > len(in) || bad.Reason == "" {
		t.Fatalf("%q: error %#v", in, err)
	}
	text := err.Error()
	for _, c := range text {
		if (c < ' ' || c > '~') && c != '…' {
			t.Fatalf("%q: %q in the message %q", in, c, text)
		}
	}
	if len(text) > 1200 {
		t.Fatalf("%q: a message of %d bytes", in, len(text))
	}
}

func FuzzClassify(f *testing.F) {
	for _, p := range policy {
		for tag := range strings.FieldsSeq(p.tags) {
			f.Add(tag)
		}
	}
	f.Fuzz(func(t *testing.T, tag string) {
		r, err := image.Parse("app:" + tag)
		if err != nil || r.Tag() != tag {
			return
		}
		class, why := r.Class()
		if class != image.Latest && class != image.Floating && class != image.Fixed || why == "" {
			t.Fatalf("%s: %v because %q", tag, class, why)
		}
		if (class == image.Latest) != strings.EqualFold(tag, "latest") {
			t.Fatalf("%s: %v", tag, class)
		}
		if !strings.ContainsAny(tag, "0123456789") && class == image.Fixed && !strings.Contains(why, "commit") {
			t.Fatalf("%s: fixed without a digit because %q", tag, why)
		}
		// A commit behind any tag makes it one of a kind.
		if r, err := image.Parse("app:" + tag + "-0a1b2c3"); err == nil {
			if class, why := r.Class(); class != image.Fixed {
				t.Fatalf("%s-0a1b2c3: %v because %q", tag, class, why)
			}
		}
		if r, err := image.Parse("app:" + tag + "@" + sha256); err != nil {
			t.Fatal(err)
		} else if class, _ := r.Class(); class != image.Pinned {
			t.Fatalf("%s with a digest: %v", tag, class)
		}
	})
}

var fullDigest = regexp.MustCompile(`^(?:` + digest + `)$`)

func FuzzParseDigest(f *testing.F) {
	for _, in := range []string{"", sha256, sha384, sha512, hex64, "sha256:", "SHA256:" + hex64, "md5:00", sha256 + "0"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, err := image.ParseDigest(in)
		if want := fullDigest.MatchString(in); (err == nil) != want || d.Valid() != want || image.Digest(in).Valid() != want {
			t.Fatalf("%q: got %q, %v", in, d, err)
		}
		if err == nil && (d.String() != in || d.Algorithm()+":"+d.Hex() != in) {
			t.Fatalf("%q: got %q of %q and %q", in, d, d.Algorithm(), d.Hex())
		}
	})
}

func FuzzFromImageID(f *testing.F) {
	for _, in := range []string{"", hex64, sha256, "docker://" + sha256, "docker-pullable://nginx@" + sha256, "localhost:5000/a@" + sha512, "@" + sha256} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, d, ok := image.FromImageID(in)
		if ok != d.Valid() || !ok && (name != "" || d != "") {
			t.Fatalf("%q: got %q, %q, %v", in, name, d, ok)
		}
		if !ok {
			return
		}
		if !strings.HasSuffix(in, d.Hex()) {
			t.Fatalf("%q: got digest %q", in, d)
		}
		if name == "" {
			return
		}
		if r, err := image.Parse(name + "@" + d.String()); err != nil || r.Digest() != d {
			t.Fatalf("%q: got %q and %q, which are no reference: %v", in, name, d, err)
		}
	})
}
