package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// large is more than the wire reads of an answer that it reads whole.
var large = bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)

func describe(body []byte) registry.Descriptor {
	return registry.Descriptor{MediaType: "application/octet-stream", Digest: image.Digest(registrytest.Digest(body)), Size: int64(len(body))}
}

// readBlob opens a blob and reads it to its end.
func readBlob(t testing.TB, c *registry.Client, of registry.Descriptor) ([]byte, error) {
	t.Helper()
	body, err := c.Blob(t.Context(), parse(t, "registry.example/app"), of)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func TestBlob(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	for _, body := range [][]byte{large, []byte("x"), {}} {
		reg.Blob("app", body)
		got, err := readBlob(t, example(t, reg), describe(body))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("got %d bytes, %v, want the %d", len(got), err, len(body))
		}
	}
	_, err := readBlob(t, example(t, reg), describe([]byte("none")))
	checkError(t, "none", err, registry.ErrNotFound, "registry.example has no such image")
	_, err = readBlob(t, example(t, reg), registry.Descriptor{Digest: "../secret"})
	checkError(t, "no digest", err, registry.ErrNotImage, "its digest or size is none")
}

// TestBlobOfOtherBytes: what is not what the digest says is never read to its
// end without an error.
func TestBlobOfOtherBytes(t *testing.T) {
	t.Parallel()
	want := describe([]byte("good bytes"))
	for name, tt := range map[string]struct {
		body   io.Reader
		length int64
		says   string
	}{
		"other":         {strings.NewReader("evil bytes"), -1, "they have sha256:"},
		"shorter":       {strings.NewReader("good"), -1, "they are 4, not 10"},
		"longer":        {strings.NewReader("good bytes and more"), -1, "they are more than 10"},
		"endless":       {endless{}, -1, "they are more than 10"},
		"length":        {strings.NewReader("good bytes"), 11, "they are 11, not 10"},
		"end too early": {io.MultiReader(strings.NewReader("good"), broken{}), 10, "unexpected EOF"},
	} {
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(tt.body), ContentLength: tt.length, Request: r}, nil
		}))
		got, err := readBlob(t, c, want)
		if len(got) > 10 {
			t.Errorf("%s: %d bytes were given", name, len(got))
		}
		reason := registry.ErrDigest
		if name == "end too early" {
			reason = registry.ErrUnreachable
		}
		checkError(t, name, err, reason, tt.says)
	}
}

type (
	endless struct{}
	broken  struct{}
)

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (broken) Read([]byte) (int, error)    { return 0, io.ErrUnexpectedEOF }

// TestBlobElsewhere: a redirect is followed without the credential, and what
// comes from there is a stream, too.
func TestBlobElsewhere(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"https://cdn.example/x?signature=SECRET", "https://cdn.registry.example/x", "https://registry.example:444/x"} {
		var asked atomic.Int32
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			user, _, _ := r.BasicAuth()
			switch {
			case r.URL.String() == target:
				if user != "" || r.Header.Get("Authorization") != "" {
					t.Errorf("%s got the credential", target)
				}
				asked.Add(1)
				return answer(200, string(large)), nil
			case user == "":
				return answer(http.StatusUnauthorized, "", "WWW-Authenticate", `Basic realm="x"`), nil
			}
			return answer(http.StatusTemporaryRedirect, strings.Repeat("moved ", 1<<18), "Location", target), nil
		}), func(c *registry.Config) {
			c.Keychain = func(context.Context, string, string) (registry.Credential, error) {
				return registry.Credential{Username: "robot", Password: "s3cret"}, nil
			}
		})
		got, err := readBlob(t, c, describe(large))
		if err != nil || !bytes.Equal(got, large) || asked.Load() != 1 {
			t.Errorf("%s: got %d bytes, %v after %d requests", target, len(got), err, asked.Load())
		}
	}
}

// TestBlobWithToken: the answer of a token service is not a stream, though it
// is asked for on behalf of one.
func TestBlobWithToken(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	reg.Blob("app", large)
	c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		switch {
		case r.URL.Path == "/token":
			return answer(200, `{"token":"T","padding":"`+strings.Repeat("x", 64<<10)+`"}`), nil
		case r.Header.Get("Authorization") != "Bearer T":
			return answer(http.StatusUnauthorized, "", "WWW-Authenticate", `Bearer realm="https://registry.example/token",service="x"`), nil
		}
		return reg.RoundTrip(r)
	}), func(c *registry.Config) { c.Concurrency = 1 })
	for range 3 { // the place at the host is given back
		got, err := readBlob(t, c, describe(large))
		if err != nil || !bytes.Equal(got, large) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
}

// drip gives a byte each time that every has passed, until its request ends.
type drip struct {
	ctx   context.Context
	every time.Duration
}

func (d drip) Close() error { return nil }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.every):
		p[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func TestBlobInBoundedTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		every time.Duration
		size  int64
		says  string
		least time.Duration
		most  time.Duration
	}{
		"nothing comes":   {time.Hour, 1 << 40, "nothing came for 30s", 30 * time.Second, 31 * time.Second},
		"too little":      {29 * time.Second, 64 << 10, "it took too long", 2 * time.Minute, 3 * time.Minute},
		"little for much": {29 * time.Second, 1 << 20, "it took too long", 2 * time.Minute, 4 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: drip{r.Context(), tt.every}, ContentLength: -1, Request: r}, nil
			}))
			start := time.Now()
			_, err := readBlob(t, c, registry.Descriptor{Digest: describe(nil).Digest, Size: tt.size})
			checkError(t, name, err, registry.ErrUnreachable, tt.says)
			if took := time.Since(start); took < tt.least || took > tt.most {
				t.Errorf("%s: took %s, want %s to %s", name, took, tt.least, tt.most)
			}
		})
	}
	// One that takes its time between two reads is not taken for the host.
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		reg.Blob("app", []byte("ab"))
		body, err := example(t, reg).Blob(t.Context(), parse(t, "registry.example/app"), describe([]byte("ab")))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		for want := range strings.SplitSeq("ab", "") {
			time.Sleep(time.Minute)
			one := make([]byte, 1)
			if _, err := io.ReadFull(body, one); err != nil || string(one) != want {
				t.Errorf("got %q, %v, want %q", one, err, want)
			}
		}
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
	})
	// Headers that do not come.
	synctest.Test(t, func(t *testing.T) {
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		_, err := readBlob(t, c, describe(large))
		checkError(t, "no headers", err, registry.ErrUnreachable, "it took too long")
	})
}

// TestBlobIsPolite: open blobs have the places at their host, a host that says
// to wait is waited for, and not for as long as all the bytes may take.
func TestBlobIsPolite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		reg.Blob("app", large)
		c := example(t, reg, func(c *registry.Config) { c.Concurrency = 2 })
		var open []io.ReadCloser
		for range 2 {
			body, err := c.Blob(t.Context(), parse(t, "registry.example/app"), describe(large))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, body)
		}
		_, err := readBlob(t, c, describe(large))
		checkError(t, "third", err, registry.ErrUnreachable, "gave up waiting for other requests")
		for _, body := range open {
			body.Close()
			body.Close() // gives its place back once
		}
		for range 3 {
			if _, err := readBlob(t, c, describe(large)); err != nil {
				t.Error(err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		reg.Blob("app", large)
		wait, requests := "20", 0
		c := example(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if requests++; requests == 1 {
				return answer(429, "", "Retry-After", wait), nil
			}
			return reg.RoundTrip(r)
		}))
		start := time.Now()
		if _, err := readBlob(t, c, describe(large)); err != nil || time.Since(start) < 20*time.Second || requests != 2 {
			t.Errorf("got %v after %s and %d requests, want none after 20 s and 2", err, time.Since(start), requests)
		}
		wait, requests = "3600", 0
		_, err := readBlob(t, c, registry.Descriptor{Digest: describe(large).Digest, Size: 1 << 40})
		checkError(t, "an hour", err, registry.ErrRateLimited, "try again after")
	})
}

func TestManifest(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	layer := describe([]byte("layer"))
	body := []byte(`{"schemaVersion":2,"mediaType":"` + registrytest.TypeManifest + `",
		"config":{"mediaType":"` + registrytest.TypeConfig + `","digest":"` + layer.Digest.String() + `","size":5},
		"layers":[{"mediaType":"application/octet-stream","digest":"` + layer.Digest.String() + `","size":5},{"mediaType":"x","digest":"none"}],
		"annotations":{"a":"b"}}`)
	digest := image.Digest(reg.Manifest("app", "", registrytest.TypeManifest, body))
	got, err := example(t, reg).Manifest(t.Context(), parse(t, "registry.example/app"), digest)
	if err != nil {
		t.Fatal(err)
	}
	want := registry.Manifest{
		Content:   image.Content{Digest: digest, Kind: image.KindManifest, Config: layer.Digest},
		MediaType: registrytest.TypeManifest, Annotations: map[string]string{"a": "b"},
		Config: registry.Descriptor{MediaType: registrytest.TypeConfig, Digest: layer.Digest, Size: 5},
		Layers: []registry.Descriptor{layer, {MediaType: "x", Digest: "none"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = example(t, reg).Manifest(t.Context(), parse(t, "registry.example/app"), layer.Digest)
	checkError(t, "none", err, registry.ErrNotFound, "has no such image")
	_, err = example(t, reg).Manifest(t.Context(), parse(t, "registry.example/app"), "x")
	checkError(t, "no digest", err, registry.ErrNotImage, "its digest is none")
}
