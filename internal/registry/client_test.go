package registry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

var (
	amd64 = image.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = image.Platform{OS: "linux", Architecture: "arm64"}
)

// example asks a registry in memory that is called registry.example.
func example(t testing.TB, reg http.RoundTripper, change ...func(*registry.Config)) *registry.Client {
	t.Helper()
	config := registry.Config{Transport: reg}
	for _, f := range change {
		f(&config)
	}
	c, err := registry.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, s string) image.Reference {
	t.Helper()
	ref, err := image.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestResolve(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	single := reg.Image("app", "1", "linux", "amd64", "one")
	multi := reg.Index("team/app", "latest", single, reg.Image("team/app", "", "linux", "amd64", "one"))
	_ = multi
	for _, tt := range []struct {
		ref, want, mediaType string
		requests             []string
	}{
		{"registry.example/app:1", single.Digest, registrytest.TypeManifest, []string{"HEAD /v2/app/manifests/1"}},
		{"registry.example/team/app", multi.Digest, registrytest.TypeIndex, []string{"HEAD /v2/team/app/manifests/latest"}},
		{"registry.example/app:9@" + single.Digest, single.Digest, registrytest.TypeManifest, []string{"HEAD /v2/app/manifests/" + single.Digest}},
	} {
		reg.Forget()
		got, err := example(t, reg).Resolve(t.Context(), parse(t, tt.ref))
		if err != nil || got.Digest.String() != tt.want || got.MediaType != tt.mediaType || got.Size == 0 || got.At.IsZero() {
			t.Errorf("%s: got %+v, %v, want %s, %s", tt.ref, got, err, tt.want, tt.mediaType)
		}
		if diff := cmp.Diff(tt.requests, reg.Requests()); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tt.ref, diff)
		}
	}
}

func TestResolveHosts(t *testing.T) {
	t.Parallel()
	type request struct{ scheme, host, path string }
	for _, tt := range []struct {
		ref  string
		want request
	}{
		{"nginx:1", request{"https", "registry-1.docker.io", "/v2/library/nginx/manifests/1"}},
		{"acme/api:1", request{"https", "registry-1.docker.io", "/v2/acme/api/manifests/1"}},
		{"localhost:5000/app:1", request{"http", "localhost:5000", "/v2/app/manifests/1"}},
		{"127.0.0.2/app:1", request{"http", "127.0.0.2", "/v2/app/manifests/1"}},
		{"[::1]:5000/app:1", request{"http", "[::1]:5000", "/v2/app/manifests/1"}},
		{"10.0.0.1:5000/app:1", request{"https", "10.0.0.1:5000", "/v2/app/manifests/1"}},
		{"plain.example:5000/app:1", request{"http", "plain.example:5000", "/v2/app/manifests/1"}},
		{"quay.io/app:1", request{"https", "mirror.example:5000", "/v2/hub/x/app/manifests/1"}},
		{"gcr.io/app:1", request{"https", "mirror.example", "/v2/app/manifests/1"}},
	} {
		var got request
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			got = request{r.URL.Scheme, r.URL.Host, r.URL.Path}
			return answer(http.StatusNotFound, ""), nil
		}), func(c *registry.Config) {
			c.PlainHTTP = []string{"plain.example:5000"}
			c.Mirrors = map[string]string{"quay.io": "mirror.example:5000/hub/x/", "gcr.io": "mirror.example"}
		})
		if _, err := c.Resolve(t.Context(), parse(t, tt.ref)); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s: got error %v, want not found", tt.ref, err)
		}
		if got != tt.want {
			t.Errorf("%s: asked %v, want %v", tt.ref, got, tt.want)
		}
	}
	for _, mirror := range []string{"", "mirror", "https://mirror.example", "mirror.example/x:1", "mirror.example/A"} {
		if _, err := registry.New(registry.Config{Mirrors: map[string]string{"docker.io": mirror}}); err == nil || !strings.Contains(err.Error(), "of \"docker.io\"") {
			t.Errorf("mirror %q: got error %v", mirror, err)
		}
	}
}

// TestMirror: the mirror is asked, and it is the mirror's login that counts.
func TestMirror(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	p := reg.Image("hub/library/nginx", "1", "linux", "amd64", "one")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if user, _, _ := r.BasicAuth(); user == "mirror.example/hub/library/nginx" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	c := example(t, reg, func(c *registry.Config) {
		c.Mirrors = map[string]string{"docker.io": "mirror.example/hub"}
		c.Keychain = func(_ context.Context, host, repository string) (registry.Credential, error) {
			return registry.Credential{Username: host + "/" + repository, Password: "x"}, nil
		}
	})
	got, err := c.Resolve(t.Context(), parse(t, "nginx:1"))
	if err != nil || got.Digest.String() != p.Digest {
		t.Errorf("got %s, %v, want %s", got.Digest, err, p.Digest)
	}
	_, err = c.Resolve(t.Context(), parse(t, "nginx:2"))
	checkError(t, "not there", err, registry.ErrNotFound, "resolve docker.io/library/nginx:2: mirror.example has no such image")
}

// TestResolveWithoutHead covers registries that cannot answer HEAD requests.
func TestResolveWithoutHead(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"not allowed": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodHead
		},
		"not implemented": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotImplemented)
			}
			return r.Method == http.MethodHead
		},
		"no digest": func(_ http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodHead // and nothing else is said
		},
	} {
		reg := registrytest.New()
		p := reg.Image("app", "1", "linux", "amd64", "one")
		reg.Before = before
		got, err := example(t, reg).Resolve(t.Context(), parse(t, "registry.example/app:1"))
		if err != nil || got.Digest.String() != p.Digest || got.MediaType != registrytest.TypeManifest || got.Size != int64(p.Size) {
			t.Errorf("%s: got %+v, %v, want %s", name, got, err, p.Digest)
		}
		if diff := cmp.Diff([]string{"HEAD /v2/app/manifests/1", "GET /v2/app/manifests/1"}, reg.Requests()); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", name, diff)
		}
	}
}

func TestResolveWithin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		old := reg.Image("app", "1", "linux", "amd64", "one")
		c, ref := example(t, reg), parse(t, "registry.example/app:1")
		if _, err := c.Resolve(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		moved := reg.Image("app", "1", "linux", "amd64", "two")
		time.Sleep(time.Minute)
		for _, tt := range []struct {
			maxAge time.Duration
			want   string
		}{{time.Hour, old.Digest}, {time.Minute, moved.Digest}, {time.Minute, moved.Digest}} {
			got, err := c.ResolveWithin(t.Context(), ref, tt.maxAge)
			if err != nil || got.Digest.String() != tt.want {
				t.Errorf("within %s: got %s, %v, want %s", tt.maxAge, got.Digest, err, tt.want)
			}
		}
		if n := len(reg.Requests()); n != 2 {
			t.Errorf("%d requests, want 2: %v", n, reg.Requests())
		}
	})
}

func TestContent(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	amd := reg.Image("app", "", "linux", "amd64", "one")
	arm := reg.Image("app", "", "linux", "arm64", "two")
	single := reg.Image("app", "", "linux", "arm64", "three")
	sbom := reg.Image("app", "", "unknown", "unknown", "sbom")
	multi := reg.Index("app", "1", amd, arm, sbom)
	nested := reg.Index("app", "2", registrytest.Pushed{Digest: multi.Digest, Size: multi.Size})
	digest := func(s string) image.Digest { return image.Digest(s) }
	index := image.Content{Digest: digest(multi.Digest), Kind: image.KindIndex, Children: []image.Child{
		{Digest: digest(amd.Digest), Platform: amd64},
		{Digest: digest(arm.Digest), Platform: arm64},
		{Digest: digest(sbom.Digest), Platform: image.Platform{OS: "unknown", Architecture: "unknown"}},
	}}
	armContent := image.Content{Digest: digest(arm.Digest), Kind: image.KindManifest, Platform: arm64, Config: digest(arm.Config)}
	for _, tt := range []struct {
		name     string
		digest   string
		on       image.Platform
		want     []image.Content
		requests int
	}{
		{"an index", multi.Digest, arm64, []image.Content{index, armContent}, 2},
		{"an index, spelled otherwise", multi.Digest, image.Platform{OS: "linux", Architecture: "aarch64"}, []image.Content{index, armContent}, 2},
		{"an index without the platform", multi.Digest, image.Platform{OS: "linux", Architecture: "s390x"}, []image.Content{index}, 1},
		{"an index, no platform asked for", multi.Digest, image.Platform{}, []image.Content{index}, 1},
		{
			"a manifest, whose config has the platform", single.Digest, amd64,
			[]image.Content{{Digest: digest(single.Digest), Kind: image.KindManifest, Platform: arm64, Config: digest(single.Config)}},
			2,
		},
		{
			"an index in an index", nested.Digest, arm64,
			[]image.Content{{Digest: digest(nested.Digest), Kind: image.KindIndex, Children: []image.Child{{Digest: digest(multi.Digest)}}}, index, armContent},
			3,
		},
	} {
		c := example(t, reg)
		for range 2 { // The second time nothing is asked.
			reg.Forget()
			got, err := c.Content(t.Context(), parse(t, "registry.example/app"), digest(tt.digest), tt.on)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
			if n := len(reg.Requests()); n != tt.requests {
				t.Errorf("%s: %d requests, want %d: %v", tt.name, n, tt.requests, reg.Requests())
			}
			tt.requests = 0
		}
	}
}

// TestContentForIdentities asks for what Identities does not know.
func TestContentForIdentities(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	amd := reg.Image("app", "", "linux", "amd64", "one")
	multi := reg.Index("app", "1", amd, reg.Image("app", "", "linux", "arm64", "two"))
	single := reg.Image("other", "", "linux", "amd64", "one")
	evil := reg.Image("other", "", "linux", "amd64", "evil")
	c, ids := example(t, reg), image.NewIdentities()
	for _, tt := range []struct {
		repo, digest string
		want         image.Relation
	}{{"other", single.Digest, image.Same}, {"other", evil.Digest, image.Different}} {
		for _, d := range ids.Unknown(image.Digest(multi.Digest), image.Digest(tt.digest), amd64) {
			repo := "app"
			if d.String() == tt.digest {
				repo = tt.repo
			}
			contents, err := c.Content(t.Context(), parse(t, "registry.example/"+repo), d, amd64)
			if err != nil {
				t.Fatal(err)
			}
			for _, content := range contents {
				ids.Add(content)
			}
		}
		if got, why := ids.Compare(image.Digest(multi.Digest), image.Digest(tt.digest), amd64); got != tt.want {
			t.Errorf("%s: got %s: %s, want %s", tt.digest, got, why, tt.want)
		}
	}
}

func TestContentOfOldFormats(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	config := registrytest.Digest([]byte("config"))
	manifest := reg.Manifest("app", "", "application/vnd.docker.distribution.manifest.v2+json",
		fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":%q,"size":6},"layers":[]}`, config))
	list := reg.Manifest("app", "", "application/vnd.docker.distribution.manifest.list.v2+json",
		fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{"digest":%q,"platform":{"os":"linux","architecture":"amd64"}}]}`, manifest))
	artifact := reg.Manifest("app", "", registrytest.TypeManifest,
		fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[]}`, config))
	schema1 := `{"schemaVersion":1,"name":"app","tag":"old","architecture":"amd64","fsLayers":[],"history":[]`
	protected := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":%q}`, len(schema1), base64.RawURLEncoding.EncodeToString([]byte("}"))))
	signed := schema1 + `,"signatures":[{"protected":"` + protected + `"}]}`
	unsignedDigest := registrytest.Digest([]byte(schema1 + "}"))
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, unsignedDigest) {
			return false
		}
		_, _ = io.WriteString(w, signed)
		return true
	}
	for _, tt := range []struct {
		name, digest string
		want         []image.Content
	}{
		{"Docker's manifest list", list, []image.Content{
			{Digest: image.Digest(list), Kind: image.KindIndex, Children: []image.Child{{Digest: image.Digest(manifest), Platform: amd64}}},
			{Digest: image.Digest(manifest), Kind: image.KindManifest, Platform: amd64, Config: image.Digest(config)},
		}},
		{"an artifact", artifact, []image.Content{{Digest: image.Digest(artifact), Kind: image.KindManifest}}},
		{"schema 1, signed", unsignedDigest, []image.Content{{Digest: image.Digest(unsignedDigest), Kind: image.KindManifest}}},
	} {
		got, err := example(t, reg).Content(t.Context(), parse(t, "registry.example/app"), image.Digest(tt.digest), amd64)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestContentKeepsWhatItLearnt covers an index of which one child is gone, and
// a manifest whose config cannot be had now.
func TestContentKeepsWhatItLearnt(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	amd := reg.Image("app", "", "linux", "amd64", "one")
	multi := reg.Index("app", "", amd)
	reg.Delete("app", amd.Digest)
	c := example(t, reg)
	got, err := c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(multi.Digest), amd64)
	if !errors.Is(err, registry.ErrNotFound) || len(got) != 1 || got[0].Kind != image.KindIndex {
		t.Errorf("child gone: got %+v, %v, want the index and not found", got, err)
	}

	single := reg.Image("app", "", "linux", "amd64", "two")
	broken := true
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if broken && strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusNotImplemented)
			return true
		}
		return false
	}
	for _, want := range []image.Platform{{}, amd64} {
		got, err = c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(single.Digest), amd64)
		if (err == nil) == broken || len(got) != 1 || got[0].Config.String() != single.Config || got[0].Platform != want {
			t.Errorf("config broken %v: got %+v, %v, want platform %s", broken, got, err, want)
		}
		broken = false
	}
}

func TestContentOfAnImageID(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	p := reg.Image("app", "1", "linux", "amd64", "one")
	c := example(t, reg)
	_, err := c.Content(t.Context(), image.Reference{}, image.Digest(p.Config), amd64)
	if !errors.Is(err, registry.ErrImageID) || !strings.Contains(err.Error(), "cannot be asked of a registry") || len(reg.Requests()) != 0 {
		t.Errorf("without a repository: got error %v after %v", err, reg.Requests())
	}
	_, err = c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(p.Config), amd64)
	if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), "or the digest is an image id") {
		t.Errorf("with a repository: got error %v", err)
	}
}

// TestOneAnswerForAll asks the same question many times at one time.
func TestOneAnswerForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		p := reg.Image("app", "1", "linux", "amd64", "one")
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Second):
				return reg.RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}))
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.Resolve(impatient, parse(t, "registry.example/app:1"))
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, registry.ErrUnreachable) {
				t.Errorf("got error %v, want one of the deadline", err)
			}
		})
		time.Sleep(time.Microsecond)
		for range 20 {
			group.Go(func() {
				if _, err := c.Resolve(t.Context(), parse(t, "registry.example/app:1")); err != nil {
					t.Error(err)
				}
				if _, err := c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(p.Digest), amd64); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := len(reg.Requests()); n != 3 {
			t.Errorf("%d requests, want 3: %v", n, reg.Requests())
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		header map[string]string
		want   error
		text   string
	}{
		{name: "not there", status: 404, want: registry.ErrNotFound, text: "resolve registry.example/app:1: registry.example has no such image (status 404); check the name; it may have been deleted"},
		{name: "gone", status: 410, want: registry.ErrNotFound},
		{name: "unauthorized", status: 401, want: registry.ErrUnauthorized, text: "resolve registry.example/app:1: registry.example refuses access (status 401); check the name, or log in to registry.example"},
		{name: "forbidden", status: 403, want: registry.ErrUnauthorized},
		{name: "basic, and nobody is logged in", status: 401, header: map[string]string{"WWW-Authenticate": `Basic realm="x"`}, want: registry.ErrUnauthorized, text: "it wants a user and a password"},
		{name: "bad request", status: 400, want: registry.ErrNotImage},
		{name: "canceled", want: context.Canceled, text: "no answer from registry.example (gave up waiting)"},
	} {
		reg := registrytest.New()
		reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			for k, v := range tt.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(max(tt.status, http.StatusOK))
			_, _ = io.WriteString(w, tt.body)
			return true
		}
		ctx, cancel := context.WithCancel(t.Context())
		if tt.status == 0 {
			cancel()
		}
		_, err := example(t, reg).Resolve(ctx, parse(t, "registry.example/app:1"))
		cancel()
		checkError(t, tt.name, err, tt.want, tt.text)
		if len(reg.Requests()) != 1 && tt.status != 0 {
			t.Errorf("%s: asked %v, want one request", tt.name, reg.Requests())
		}
	}
}

// checkError checks the kind of an error, and that it is one short line.
func checkError(t *testing.T, name string, err, want error, text string) {
	t.Helper()
	ours, ok := errors.AsType[*registry.Error](err)
	if !ok || !errors.Is(err, want) {
		t.Errorf("%s: got error %v (%T), want %v", name, err, err, want)
		return
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got %q, want …%q…", name, err, text)
	}
	if s := err.Error(); strings.ContainsAny(s, "\n\r\x1b") || len(s) > 500 {
		t.Errorf("%s: not one short line: %q", name, s)
	}
	if ours.Host == "" {
		t.Errorf("%s: no host in %+v", name, ours)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// TestRetry plays answers one after the other; the last is repeated.
func TestRetry(t *testing.T) {
	t.Parallel()
	digest := registrytest.Digest(nil)
	type reply struct {
		status int
		after  string        // Retry-After
		date   time.Duration // Retry-After as a date, so long from now
		err    error
	}
	ok := reply{status: 200}
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: connection refused")}
	type play []reply
	for _, tt := range []struct {
		name     string
		play     play
		requests int
		min, max time.Duration
		want     error
		text     string
	}{
		{name: "at once", play: play{ok}, requests: 1},
		{name: "429 with seconds", play: play{{status: 429, after: "7"}, ok}, requests: 2, min: 7 * time.Second, max: 8 * time.Second},
		{name: "429 with a date", play: play{{status: 429, date: 20 * time.Second}, ok}, requests: 2, min: 19 * time.Second, max: 23 * time.Second},
		{name: "429 with a date of yesterday", play: play{{status: 429, date: -24 * time.Hour}, ok}, requests: 2, max: time.Second},
		{name: "429 with nonsense", play: play{{status: 429, after: "soon"}, ok}, requests: 2, min: time.Second / 2, max: 2 * time.Second},
		{name: "429 without", play: play{{status: 429}, {status: 429}, ok}, requests: 3, min: 3 * time.Second / 2, max: 4 * time.Second},
		{name: "429 without end", play: play{{status: 429, after: "1"}}, requests: 8, min: 7 * time.Second, max: 12 * time.Second, want: registry.ErrRateLimited, text: "asked too often (status 429); try again after 2000-01-01T00:00:"},
		{name: "429 for longer than the budget", play: play{{status: 429, after: "600"}}, requests: 1, want: registry.ErrRateLimited, text: "try again after 2000-01-01T00:10:00Z"},
		{name: "429 for ever", play: play{{status: 429, after: "99999999999"}}, requests: 1, want: registry.ErrRateLimited, text: "try again after 2000-01-01T01:00:00Z"},
		{name: "503 with seconds", play: play{{status: 503, after: "7"}, ok}, requests: 2, min: 7 * time.Second, max: 8 * time.Second},
		{name: "503", play: play{{status: 503}, {status: 502}, ok}, requests: 3, min: 3 * time.Second / 2, max: 4 * time.Second},
		{name: "500 without end", play: play{{status: 500}}, requests: 4, min: 3 * time.Second, max: 8 * time.Second, want: registry.ErrUnreachable, text: "no answer from registry.example (status 500)"},
		{name: "reset", play: play{{err: io.ErrUnexpectedEOF}, ok}, requests: 2, max: 2 * time.Second},
		{name: "refused", play: play{{err: dial}}, requests: 3, min: time.Second, max: 4 * time.Second, want: registry.ErrUnreachable, text: `"connect: connection refused"`},
		{name: "no such host", play: play{{err: &net.DNSError{Err: "no such host", Name: "registry.example", IsNotFound: true}}}, requests: 1, want: registry.ErrUnreachable, text: "the name of the host is not known"},
		{name: "a bad certificate", play: play{{err: errors.New("tls: failed to verify certificate: x509: certificate has expired")}}, requests: 1, want: registry.ErrUnreachable, text: "certificate has expired"},
		{name: "plain HTTP", play: play{{err: errors.New("http: server gave HTTP response to HTTPS client")}}, requests: 1, want: registry.ErrUnreachable, text: "it speaks plain HTTP"},
		{name: "secrets in an address", play: play{{err: errors.New(`Get "https://cdn.example/?X-Amz-Signature=SECRET": bad`)}}, requests: 1, want: registry.ErrUnreachable, text: "the request failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodHead {
						t.Errorf("%s request", r.Method)
					}
					next := tt.play[min(requests, len(tt.play)-1)]
					requests++
					if next.err != nil {
						return nil, next.err
					}
					resp := answer(next.status, "", "Docker-Content-Digest", digest)
					if next.after != "" {
						resp.Header.Set("Retry-After", next.after)
					}
					if next.date != 0 {
						resp.Header.Set("Retry-After", time.Now().Add(next.date).UTC().Format(http.TimeFormat))
					}
					return resp, nil
				}))
				start := time.Now()
				got, err := c.Resolve(t.Context(), parse(t, "registry.example/app:1"))
				took := time.Since(start)
				if tt.want != nil {
					checkError(t, tt.name, err, tt.want, tt.text)
				} else if err != nil || got.Digest.String() != digest {
					t.Errorf("got %+v, %v", got, err)
				}
				if requests != tt.requests || took < tt.min || took > tt.max {
					t.Errorf("%d requests in %s, want %d in %s to %s", requests, took, tt.requests, tt.min, tt.max)
				}
				if err != nil && strings.Contains(err.Error(), "SECRET") {
					t.Errorf("a secret in %q", err)
				}
			})
		})
	}
}

// TestHostIsLeftAlone covers what requests to one host share: while it said to
// wait, and while it is down.
func TestHostIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var early, others int
		limited := 20
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.Host != "registry.example" {
				others++
			} else if limited > 0 {
				limited--
				return answer(429, "", "Retry-After", "2"), nil
			} else if time.Since(start) < 2*time.Second {
				early++
			}
			return answer(200, "", "Docker-Content-Digest", registrytest.Digest(nil)), nil
		}))
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				if _, err := c.Resolve(t.Context(), parse(t, fmt.Sprintf("registry.example/app:%d", i))); err != nil {
					t.Error(err)
				}
				if _, err := c.Resolve(t.Context(), parse(t, fmt.Sprintf("other.example/app:%d", i))); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if early != 0 || others != 200 {
			t.Errorf("%d requests while the host said to wait, %d to another host, want 0 and 200", early, others)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		c := example(t, roundTrip(func(*http.Request) (*http.Response, error) {
			requests.Add(1)
			time.Sleep(time.Minute) // beyond the timeout
			return nil, context.DeadlineExceeded
		}))
		start := time.Now()
		var group sync.WaitGroup
		for i := range 500 {
			group.Go(func() {
				_, err := c.Resolve(t.Context(), parse(t, fmt.Sprintf("registry.example/app:%d", i)))
				checkError(t, "down", err, registry.ErrUnreachable, "no answer from registry.example")
			})
		}
		group.Wait()
		// Four go together. Two more can follow the first two to fail, the
		// third failure closes the host.
		asked := requests.Load()
		if took := time.Since(start); asked < 4 || asked > 6 || took > 2*time.Minute {
			t.Errorf("%d requests in %s to a host that is down, want 4 to 6", asked, took)
		}
		// After a while it is asked again.
		time.Sleep(time.Minute)
		if _, err := c.Resolve(t.Context(), parse(t, "registry.example/app:1")); err == nil || requests.Load() != asked+1 {
			t.Errorf("%v after %d requests, want it to be asked again", err, requests.Load())
		}
	})
}

// TestLongestWaitCounts: two requests that were under way are told to wait
// differently.
func TestLongestWaitCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if time.Since(start) < 9*time.Second {
				long := strings.HasSuffix(r.URL.Path, "/long")
				if !long {
					time.Sleep(time.Second) // the short wait is told last
				}
				if since := time.Since(start); since > time.Second {
					t.Errorf("asked after %s", since)
				}
				return answer(429, "", "Retry-After", map[bool]string{true: "10", false: "1"}[long]), nil
			}
			return answer(200, "", "Docker-Content-Digest", registrytest.Digest(nil)), nil
		}))
		var group sync.WaitGroup
		for _, tag := range []string{"long", "short"} {
			group.Go(func() {
				if _, err := c.Resolve(t.Context(), parse(t, "registry.example/app:"+tag)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

// TestFailuresInARow: only failures without an answer between them take a host
// down.
func TestFailuresInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := example(t, roundTrip(func(*http.Request) (*http.Response, error) {
			if requests++; requests%3 != 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return answer(200, "", "Docker-Content-Digest", registrytest.Digest(nil)), nil
		}))
		for i := range 4 {
			if _, err := c.Resolve(t.Context(), parse(t, "registry.example/app:1")); err != nil {
				t.Errorf("question %d: %v", i, err)
			}
		}
	})
}

func TestConcurrencyAndRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		c := example(t, roundTrip(func(*http.Request) (*http.Response, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return answer(200, "", "Docker-Content-Digest", registrytest.Digest(nil)), nil
		}), func(c *registry.Config) { c.Concurrency, c.PerSecond = 3, 10 })
		start := time.Now()
		var group sync.WaitGroup
		for i := range 33 {
			group.Go(func() {
				if _, err := c.Resolve(t.Context(), parse(t, fmt.Sprintf("registry.example/app:%d", i))); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if took := time.Since(start); most.Load() != 3 || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("%d requests at a time, all in %s, want 3 and some 3 s", most.Load(), took)
		}
	})
}

// TestHostile answers like no registry should.
func TestHostile(t *testing.T) {
	t.Parallel()
	digest := registrytest.Digest([]byte("{}"))
	for _, tt := range []struct {
		name string
		head http.HandlerFunc // of HEAD requests; nil is for not allowed
		get  http.HandlerFunc
		want error
		text string
	}{
		{name: "hangs", get: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, want: registry.ErrUnreachable, text: "it took too long"},
		{name: "trickles", get: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}, want: registry.ErrUnreachable, text: "it took too long"},
		{name: "never ends", get: func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, want: registry.ErrNotImage, text: "larger than 4 MiB"},
		{name: "says it is 10 GB", get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000000000")
			_, _ = io.WriteString(w, "x")
		}, want: registry.ErrNotImage, text: "larger than 4 MiB"},
		{name: "an error that never ends", get: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, want: registry.ErrNotImage, text: "status 418"},
		{name: "a web page", get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html><script>\x1b[31mlog in</script></html>")
		}, want: registry.ErrNotImage, text: "(a web page); check that it is a registry"},
		{name: "an empty answer", get: func(http.ResponseWriter, *http.Request) {}, want: registry.ErrNotImage, text: "no JSON of a manifest"},
		{name: "redirects to itself", get: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"?signature=SECRET", http.StatusTemporaryRedirect)
		}, want: registry.ErrNotImage, text: "it redirects without end"},
		{name: "redirects to nowhere", get: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "ftp://x.example/?signature=SECRET", http.StatusTemporaryRedirect)
		}, want: registry.ErrUnreachable},
		{name: "another digest in the header", get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest)
			_, _ = io.WriteString(w, `{"schemaVersion":2,"config":{"digest":"`+digest+`"}}`)
		}, want: registry.ErrDigest, text: "do not trust it"},
		{name: "an index that is a manifest", get: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[],"layers":[],"config":{"digest":"`+digest+`"}}`)
		}, want: registry.ErrNotImage, text: "could be an index and a manifest"},
		{name: "a long message of many lines", get: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"\u001b[2J\nroot: `+strings.Repeat("x", 1000)+`"}]}`)
		}, want: registry.ErrUnauthorized, text: `\x1b[2J\nroot: xxx`},
		{name: "a header that never ends", get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, want: registry.ErrUnreachable},
		{name: "a token service elsewhere on this machine", get: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://169.254.169.254/token?x=SECRET",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, want: registry.ErrUnauthorized, text: "it sends to a token service at an address that is not allowed"},
		{name: "no digest and no manifest", head: func(http.ResponseWriter, *http.Request) {}, get: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "[]")
		}, want: registry.ErrNotImage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method != http.MethodHead:
					tt.get(w, r)
				case tt.head != nil:
					tt.head(w, r)
				default:
					w.WriteHeader(http.StatusMethodNotAllowed)
				}
			}))
			t.Cleanup(server.Close)
			t.Cleanup(server.CloseClientConnections)
			var logged bytes.Buffer
			c, err := registry.New(registry.Config{
				Timeout: 500 * time.Millisecond, Budget: 5 * time.Second,
				Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			if err != nil {
				t.Fatal(err)
			}
			host := server.Listener.Addr().String()
			_, err = c.Resolve(t.Context(), parse(t, host+"/app:1"))
			checkError(t, tt.name, err, tt.want, tt.text)
			if err != nil && strings.Contains(err.Error(), "SECRET") || strings.Contains(logged.String(), "SECRET") {
				t.Errorf("a secret in %v or in the log:\n%s", err, logged.String())
			}
		})
	}
}

// TestLies asks for a digest and gets other bytes.
func TestLies(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	good := reg.Image("app", "1", "linux", "amd64", "good")
	evil := reg.Image("app", "2", "linux", "amd64", "evil")
	index := reg.Index("app", "3", good)
	other := map[string]string{
		"/v2/app/manifests/" + good.Digest: "/v2/app/manifests/" + evil.Digest,
		"/v2/app/blobs/" + evil.Config:     "/v2/app/blobs/" + good.Config,
	}
	reg.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if path, ok := other[r.URL.Path]; ok {
			r.URL.Path = path
		}
		return false
	}
	c, ref := example(t, reg), parse(t, "registry.example/app")
	_, err := c.Resolve(t.Context(), parse(t, "registry.example/app@"+good.Digest))
	checkError(t, "HEAD", err, registry.ErrDigest, "gave other bytes than the digest is of (it has "+evil.Digest)
	contents, err := c.Content(t.Context(), ref, image.Digest(good.Digest), amd64)
	checkError(t, "GET", err, registry.ErrDigest, "gave other bytes than the digest is of (they have "+evil.Digest)
	if len(contents) != 0 {
		t.Errorf("got %+v", contents)
	}
	contents, err = c.Content(t.Context(), ref, image.Digest(index.Digest), amd64)
	checkError(t, "child", err, registry.ErrDigest, "other bytes")
	if len(contents) != 1 || contents[0].Kind != image.KindIndex {
		t.Errorf("got %+v, want the index alone", contents)
	}
	contents, err = c.Content(t.Context(), ref, image.Digest(evil.Digest), amd64)
	checkError(t, "config", err, registry.ErrDigest, "of config "+evil.Config)
	if len(contents) != 1 || contents[0].Platform != (image.Platform{}) {
		t.Errorf("got %+v, want the manifest without a platform", contents)
	}
}

// TestSignedForgery: what is around the signed part of a manifest of schema 1
// is not what its digest is of.
func TestSignedForgery(t *testing.T) {
	t.Parallel()
	good := `{"schemaVersion":1,"fsLayers":[]}`
	protected := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":0,"formatTail":%q}`, base64.RawURLEncoding.EncodeToString([]byte(good))))
	forged := `{"schemaVersion":2,"config":{"mediaType":"` + registrytest.TypeConfig + `","digest":"` + registrytest.Digest(nil) + `","size":1},"signatures":[{"protected":"` + protected + `"}]}`
	c := example(t, roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, forged), nil }))
	got, err := c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(registrytest.Digest([]byte(good))), amd64)
	if err != nil || len(got) != 1 || got[0].Config != "" {
		t.Errorf("got %+v, %v, want a manifest of schema 1", got, err)
	}
}

// tokens is a registry that wants a token for each repository from a service
// of its own.
func tokens(t *testing.T, reg *registrytest.Registry, check func(user, password string, hasBasic bool) bool) (host string, tokenRequests *atomic.Int32) {
	t.Helper()
	tokenRequests = new(atomic.Int32)
	var server *httptest.Server
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			tokenRequests.Add(1)
			user, password, ok := r.BasicAuth()
			if !check(user, password, ok) {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			_, _ = fmt.Fprintf(w, `{"token":%q}`, "token-of-"+r.URL.Query().Get("scope"))
			return true
		}
		parts := strings.Split(r.URL.Path, "/")
		scope := "repository:" + strings.Join(parts[2:len(parts)-2], "/") + ":pull"
		if r.Header.Get("Authorization") == "Bearer token-of-"+scope {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="registry",scope="`+scope+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	server = httptest.NewServer(reg)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), tokenRequests
}

func TestTokens(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	for i := range 5 {
		reg.Image("team/app", strconv.Itoa(i), "linux", "amd64", strconv.Itoa(i))
		reg.Image("team/other", strconv.Itoa(i), "linux", "amd64", strconv.Itoa(i))
	}
	host, tokenRequests := tokens(t, reg, func(user, password string, hasBasic bool) bool {
		return hasBasic && user == "robot" && password == "s3cret"
	})
	var asked []string
	secrets := func(user, password string) registry.Keychain {
		return func(_ context.Context, host, repository string) (registry.Credential, error) {
			asked = append(asked, repository)
			return registry.Credential{Username: user, Password: password}, nil
		}
	}
	c := example(t, nil, func(c *registry.Config) { c.Keychain = secrets("robot", "s3cret") })
	for i := range 5 {
		for _, repo := range []string{"team/app", "team/other"} {
			if _, err := c.Resolve(t.Context(), parse(t, fmt.Sprintf("%s/%s:%d", host, repo, i))); err != nil {
				t.Error(err)
			}
		}
	}
	if diff := cmp.Diff([]string{"team/app", "team/other"}, asked); diff != "" || tokenRequests.Load() != 2 {
		t.Errorf("%d tokens asked for, want one a repository; the keychain (-want +got):\n%s", tokenRequests.Load(), diff)
	}
	// 10 answers, and for each repository one refusal and one token.
	if n := len(reg.Requests()); n != 14 {
		t.Errorf("%d requests, want 14: %v", n, reg.Requests())
	}

	for name, keychain := range map[string]registry.Keychain{
		"nobody":         nil,
		"wrong password": secrets("robot", "wr0ng"),
		"no keychain": func(context.Context, string, string) (registry.Credential, error) {
			return registry.Credential{}, errors.New("credential helper x is not installed")
		},
	} {
		c := example(t, nil, func(c *registry.Config) { c.Keychain = keychain })
		_, err := c.Resolve(t.Context(), parse(t, host+"/team/app:1"))
		text := "its token service answered with status 401"
		if name == "no keychain" {
			text = "credential helper x is not installed"
		}
		checkError(t, name, err, registry.ErrUnauthorized, text)
		if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "/token")) {
			t.Errorf("%s: a secret in %q", name, err)
		}
	}
}

// TestBasic: two repositories of one host can have two users.
func TestBasic(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	reg.Image("one", "1", "linux", "amd64", "1")
	reg.Image("two", "1", "linux", "amd64", "1")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		user, _, _ := r.BasicAuth()
		if strings.Contains(r.URL.Path, "/"+user+"/") && user != "" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	c := example(t, reg, func(c *registry.Config) {
		c.Keychain = func(_ context.Context, _, repository string) (registry.Credential, error) {
			return registry.Credential{Username: repository, Password: "x"}, nil
		}
	})
	for range 2 {
		for _, repo := range []string{"one", "two"} {
			if _, err := c.Resolve(t.Context(), parse(t, "registry.example/"+repo+":1")); err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(reg.Requests()); n != 6 {
		t.Errorf("%d requests, want 6: %v", n, reg.Requests())
	}
}

// TestRedirects: a config is often elsewhere, where the registry's credential
// is nobody's business.
func TestRedirects(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	p := reg.Image("app", "1", "linux", "amd64", "one")
	target := "https://cdn.example/v2/app/blobs/" + p.Config + "?signature=SECRET"
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		user, _, _ := r.BasicAuth()
		switch {
		case r.URL.Host == "cdn.example" && user == "":
			return reg.RoundTrip(r)
		case r.URL.Host == "cdn.example" || r.URL.Scheme != "https":
			t.Errorf("asked %s as %q", r.URL.Redacted(), user)
		case user == "":
			return answer(http.StatusUnauthorized, "", "WWW-Authenticate", `Basic realm="x"`), nil
		case strings.Contains(r.URL.Path, "/blobs/"):
			return answer(http.StatusTemporaryRedirect, "", "Location", target), nil
		}
		return reg.RoundTrip(r)
	})
	ask := func() ([]image.Content, error) {
		c := example(t, transport, func(c *registry.Config) {
			c.Keychain = func(context.Context, string, string) (registry.Credential, error) {
				return registry.Credential{Username: "robot", Password: "s3cret"}, nil
			}
		})
		return c.Content(t.Context(), parse(t, "registry.example/app"), image.Digest(p.Digest), amd64)
	}
	got, err := ask()
	if err != nil || len(got) != 1 || got[0].Platform != amd64 {
		t.Errorf("got %+v, %v, want the platform of the config", got, err)
	}
	target = "http://cdn.example/?signature=SECRET"
	_, err = ask()
	checkError(t, "downgrade", err, registry.ErrNotImage, "it redirects from TLS to plain HTTP")
}

func TestUserAgent(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*registry.Config){
		"tagwarden":      func(*registry.Config) {},
		"tagwarden/1.2x": func(c *registry.Config) { c.UserAgent = "tagwarden/1.2x" },
	} {
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if got := r.Header.Get("User-Agent"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return answer(404, ""), nil
		}), change)
		_, _ = c.Resolve(t.Context(), parse(t, "registry.example/app:1"))
	}
}

// BenchmarkResolve200 resolves 200 tags of 200 repositories over the network
// of this machine.
func BenchmarkResolve200(b *testing.B) {
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run("latency="+latency.String(), func(b *testing.B) {
			reg := registrytest.New()
			for i := range 200 {
				reg.Image(fmt.Sprintf("app%d", i), "1", "linux", "amd64", strconv.Itoa(i))
			}
			reg.Before = func(http.ResponseWriter, *http.Request) bool {
				time.Sleep(latency)
				return false
			}
			server := httptest.NewServer(reg)
			defer server.Close()
			refs := make([]image.Reference, 200)
			for i := range refs {
				refs[i] = parse(b, fmt.Sprintf("%s/app%d:1", server.Listener.Addr(), i))
			}
			for b.Loop() {
				reg.Forget()
				c := example(b, nil, func(c *registry.Config) { c.Concurrency = 8 })
				var group sync.WaitGroup
				for _, ref := range refs {
					group.Go(func() {
						if _, err := c.Resolve(b.Context(), ref); err != nil {
							b.Error(err)
						}
					})
				}
				group.Wait()
			}
			requests, pings := reg.Requests(), 0
			for _, r := range requests {
				if strings.HasSuffix(r, " /v2/") {
					pings++
				}
			}
			b.ReportMetric(float64(len(requests)), "requests/op")
			if len(requests) != 200 || pings != 0 {
				b.Errorf("%d requests and %d pings, want 200 and 0", len(requests), pings)
			}
		})
	}
}
