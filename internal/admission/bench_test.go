package admission_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// warm resolves through the client that the command uses, from a registry that
// was asked once.
func warm(tb testing.TB, r *admission.Reviewer) {
	tb.Helper()
	reg := registrytest.New()
	reg.Image("library/nginx", "1.25.3", "linux", "amd64", "web")
	client, err := registry.New(registry.Config{Transport: reg})
	if err != nil {
		tb.Fatal(err)
	}
	r.Resolve = func(ctx context.Context, ref image.Reference, _ string, _ []string) (image.Digest, error) {
		got, err := client.ResolveWithin(ctx, ref, 1<<62)
		return got.Digest, err
	}
	r.Known = func(ref image.Reference) (image.Digest, bool) {
		got, ok := client.Known(ref, 1<<62)
		return got.Digest, ok
	}
}

func benchmarkHook(b *testing.B, path, policyText, namespace, img string) {
	b.Helper()
	r := reviewer(b, policyText)
	warm(b, r)
	h := r.Handler(func() error { return nil })
	body, err := admissiontest.Review(namespace, img)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	in := bytes.NewReader(body)
	for b.Loop() {
		in.Reset(body)
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, path, in)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		if _, err := io.Copy(io.Discard, w.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole review: the body is read, decoded, judged by a policy with 100
// exceptions, and the answer is encoded.
func BenchmarkReview(b *testing.B) {
	for name, args := range map[string][4]string{
		"validate/allow":   {"/validate", "shop", "nginx:1.25.3@" + sha},
		"validate/deny":    {"/validate", "production", "nginx:latest"},
		"mutate/warm":      {"/mutate", "shop", "nginx:1.25.3"},
		"mutate/unchanged": {"/mutate", "shop", "nginx:1.25.3@" + sha},
	} {
		b.Run(name, func(b *testing.B) { benchmarkHook(b, args[0], admissiontest.Exceptions(100, today), args[1], args[2]) })
	}
}

// One cold question is one request, and a warm one none.
func TestOneRequestWhenCold(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	reg.Image("library/nginx", "1.25.3", "linux", "amd64", "web")
	client, err := registry.New(registry.Config{Transport: reg})
	if err != nil {
		t.Fatal(err)
	}
	reg.Forget()
	r := reviewer(t, "")
	r.Resolve = func(ctx context.Context, ref image.Reference, _ string, _ []string) (image.Digest, error) {
		got, err := client.ResolveWithin(ctx, ref, time.Hour)
		return got.Digest, err
	}
	r.Known = func(ref image.Reference) (image.Digest, bool) {
		got, ok := client.Known(ref, time.Hour)
		return got.Digest, ok
	}
	resolve, asked := r.Resolve, 0
	r.Resolve = func(ctx context.Context, ref image.Reference, namespace string, secrets []string) (image.Digest, error) {
		asked++
		return resolve(ctx, ref, namespace, secrets)
	}
	for range 3 {
		resp := r.Mutate(t.Context(), request(t, admissionv1.Create, pod("shop", "nginx:1.25.3"), ""))
		if !strings.Contains(string(resp.Patch), "nginx:1.25.3@sha256:") {
			t.Fatalf("not pinned: %s", said(resp))
		}
	}
	if got := reg.Requests(); len(got) != 1 || got[0] != "HEAD /v2/library/nginx/manifests/1.25.3" {
		t.Errorf("requests: %q, want one HEAD", got)
	}
	if asked != 1 {
		t.Errorf("asked %d times for what is known, want once", asked)
	}
}
