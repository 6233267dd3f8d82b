package registry

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

const someDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for range maxChildren {
		many.WriteString(`{"digest":"` + someDigest + `"},`)
	}
	for body, want := range map[string]string{
		``:     "no JSON",
		`<p>`:  "no JSON",
		`{}`:   "neither manifests nor a config",
		`null`: "neither manifests nor a config",
		`{"manifests":[],"config":{"digest":"` + someDigest + `"}}`:   "could be an index and a manifest",
		`{"manifests":[],"layers":[]}`:                                "could be an index and a manifest",
		`{"manifests":[],"fsLayers":[]}`:                              "could be an index and a manifest",
		`{"config":{"digest":"` + someDigest + `"},"fsLayers":[]}`:    "could be an index and a manifest",
		`{"manifests":[{"digest":"sha256:abc"}]}`:                     "an index with a digest that is none",
		`{"config":{"digest":"../../secret"}}`:                        "a manifest with a digest that is none",
		`{"manifests":"x"}`:                                           "no JSON of a manifest",
		`{"manifests":[` + many.String() + `{"digest":""}]}`:          "more than 1024 images",
		`{"schemaVersion":1}`:                                         "neither manifests nor a config",
		`{"schemaVersion":2,"config":null,"layers":[],"manifests":0}`: "no JSON of a manifest",
	} {
		if m, err := parse([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %+v and error %v, want …%s…", body, m, err, want)
		}
	}
}

func TestPlatformOfChildren(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]image.Platform{
		``:                           {},
		`,"platform":null`:           {},
		`,"platform":{}`:             {},
		`,"platform":{"os":"linux"}`: {},
		`,"platform":{"os":"linux","architecture":"arm","variant":"v7"}`: {OS: "linux", Architecture: "arm", Variant: "v7"},
		`,"platform":{"os":"unknown","architecture":"unknown"}`:          {OS: "unknown", Architecture: "unknown"},
		`,"platform":{"os":"\u001b[2J","architecture":"amd64"}`:          {OS: "unknown", Architecture: "unknown"},
		`,"platform":{"os":"linux/amd64","architecture":"x"}`:            {OS: "unknown", Architecture: "unknown"},
	} {
		m, err := parse([]byte(`{"manifests":[{"digest":"` + someDigest + `"` + in + `}]}`))
		if err != nil || len(m.content.Children) != 1 || m.content.Children[0].Platform != want {
			t.Errorf("%s: got %+v, %v, want %+v", in, m.content.Children, err, want)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	body := []byte("{}")
	sum384, sum512 := sha512.Sum384(body), sha512.Sum512(body)
	for d, want := range map[string]bool{
		someDigest: true,
		"sha384:" + hex.EncodeToString(sum384[:]): true,
		"sha512:" + hex.EncodeToString(sum512[:]): true,
		"sha256:" + strings.Repeat("0", 64):       false,
		"md5:x":                                   false,
		"":                                        false,
	} {
		if _, got := payload(body, image.Digest(d)); got != want {
			t.Errorf("%s: got %v, want %v", d, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              -1,
		"x":                             -1,
		"-5":                            -1,
		"1e9":                           -1,
		"99999999999999999999":          -1,
		"0":                             0,
		" 12 ":                          12 * time.Second,
		"3600":                          time.Hour,
		"3601":                          time.Hour,
		"9223372036854775807":           time.Hour,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Mon, 23 Nov 2026 11:00:30 GMT": 0,
		"Mon, 23 Nov 2099 12:00:30 GMT": time.Hour,
	} {
		got, said := retryAfter(http.Header{"Retry-After": {value}}, now)
		if !said {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	r := newRecent[int, int](10)
	for i := range 100 {
		r.put(i, i, 1+i%3)
		r.get(0)
		if used := 10 - r.room; used > 10 || len(r.items) != r.order.Len() {
			t.Fatalf("%d in use of 10; %d items, %d in order", used, len(r.items), r.order.Len())
		}
	}
	if _, ok := r.get(0); !ok {
		t.Error("what was used last was let go")
	}
	if _, ok := r.get(99); !ok {
		t.Error("what was put last was let go")
	}
	r.put(99, 1, 1)
	if v, _ := r.get(99); v != 1 {
		t.Errorf("got %d, want what was put last", v)
	}
	r.put(100, 1, 11)
	if len(r.items) != 0 || r.room != 10 {
		t.Errorf("%d items, room %d after one that is too large", len(r.items), r.room)
	}

	w := &wire{concurrency: 1, hosts: map[string]*host{}}
	for i := range 3 * maxHosts {
		w.host(fmt.Sprint(i))
	}
	if len(w.hosts) > maxHosts {
		t.Errorf("%d hosts, want at most %d", len(w.hosts), maxHosts)
	}
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxRepositories {
		c.client(repository{host: "h", path: fmt.Sprint(i)})
	}
	if len(c.clients) > maxRepositories {
		t.Errorf("%d clients, want at most %d", len(c.clients), maxRepositories)
	}
}

// brokenCache shows that a cache is no reason to give no answer.
type brokenCache struct{}

func (brokenCache) Content(context.Context, image.Digest) (image.Content, bool, error) {
	return image.Content{}, false, fmt.Errorf("disk full")
}

func (brokenCache) PutContent(context.Context, image.Content) error { return fmt.Errorf("disk full") }

func TestBrokenCache(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Cache: brokenCache{}, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := image.Parse("registry.example/app")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Content(t.Context(), ref, someDigest, image.Platform{})
	if err == nil || strings.Contains(err.Error(), "disk full") {
		t.Errorf("got error %v, want the registry's", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", `{"manifests":[]}`,
		`{"schemaVersion":2,"manifests":[{"digest":"` + someDigest + `","platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}`,
		`{"config":{"mediaType":"` + typeOCIConfig + `","digest":"` + someDigest + `","size":2}}`,
		`{"schemaVersion":1,"fsLayers":[],"signatures":[{"protected":"eyJmb3JtYXRMZW5ndGgiOjIsImZvcm1hdFRhaWwiOiJmUSJ9"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		m, err := parse(body)
		unsigned(body)
		parsePlatform(body)
		message(body)
		if string(body) != before {
			t.Fatalf("%q was changed to %q", before, body)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 200 {
				t.Fatalf("%q: not one short line: %v", body, err)
			}
			return
		}
		c := m.content
		if (c.Kind == image.KindIndex) == (c.Kind == image.KindManifest) || len(c.Children) > maxChildren ||
			c.Config != "" && !c.Config.Valid() || c.Kind == image.KindIndex && c.Config != "" {
			t.Fatalf("%q: got %+v", body, m)
		}
		for _, child := range c.Children {
			if s := child.Platform.String(); !child.Digest.Valid() || strings.ContainsAny(s, "\n\x1b") || len(s) > 200 {
				t.Fatalf("%q: got %+v", body, child)
			}
		}
		if d := digestOf(body, "sha256"); d != "" {
			if proven, ok := payload(body, d); !ok || string(proven) != before {
				t.Fatalf("%q is not what its digest is of", body)
			}
		}
	})
}
