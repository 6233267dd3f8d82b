// Package registrytest is a registry for tests: a real one, in this process.
package registrytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log" //nolint:depguard // what the registry wants to be silent
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// The media types of what [Registry.Image] and [Registry.Index] push.
const (
	TypeIndex    = "application/vnd.oci.image.index.v1+json"
	TypeManifest = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig   = "application/vnd.oci.image.config.v1+json"
)

// Registry is an http.Handler that speaks the OCI distribution spec and notes
// what it was asked. It is safe for concurrent use.
type Registry struct {
	// Before, where it is set, sees each request before the registry does,
	// and answers it if it returns true.
	Before func(w http.ResponseWriter, r *http.Request) bool

	registry http.Handler

	mu       sync.Mutex
	requests []string
}

// New makes an empty Registry.
func New() *Registry {
	return &Registry{registry: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))}
}

// ServeHTTP answers a request, and notes it before.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	if r.Before == nil || !r.Before(w, req) {
		r.registry.ServeHTTP(w, req)
	}
}

// Requests lists what was asked, as "HEAD /v2/app/manifests/1".
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Forget empties the list of requests.
func (r *Registry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// RoundTrip answers without a network, so that a client can be tested with a
// clock of [testing/synctest].
func (r *Registry) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, req)
	return rec.Result(), nil
}

// Pushed is what was pushed.
type Pushed struct {
	// Digest is that of the index or the manifest.
	Digest string
	// Config is that of a manifest.
	Config string
	// Size and Platform are what an index has to say of it.
	Size     int
	Platform map[string]string
}

// Image pushes an image for a platform whose bytes depend on its content
// alone. tag can be "".
func (r *Registry) Image(repository, tag, os, architecture, content string) Pushed {
	config := encode(map[string]any{
		"os": os, "architecture": architecture, "config": map[string]any{"Labels": map[string]string{"content": content}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{Digest([]byte(content))}},
	})
	r.Blob(repository, config)
	p := Pushed{Config: Digest(config), Platform: map[string]string{"os": os, "architecture": architecture}}
	body := encode(map[string]any{
		"schemaVersion": 2, "mediaType": TypeManifest,
		"config": map[string]any{"mediaType": TypeConfig, "digest": p.Config, "size": len(config)},
		"layers": []any{},
	})
	p.Digest, p.Size = r.Manifest(repository, tag, TypeManifest, body), len(body)
	return p
}

// Index pushes an index of images. tag can be "".
func (r *Registry) Index(repository, tag string, images ...Pushed) Pushed {
	var children []any
	for _, p := range images {
		children = append(children, map[string]any{"mediaType": TypeManifest, "digest": p.Digest, "size": p.Size, "platform": p.Platform})
	}
	body := encode(map[string]any{"schemaVersion": 2, "mediaType": TypeIndex, "manifests": children})
	return Pushed{Digest: r.Manifest(repository, tag, TypeIndex, body), Size: len(body)}
}

// Manifest pushes a manifest or an index as it is. tag can be "".
func (r *Registry) Manifest(repository, tag, mediaType string, body []byte) (digest string) {
	digest = Digest(body)
	r.push(http.MethodPut, "/v2/"+repository+"/manifests/"+digest, mediaType, body)
	if tag != "" {
		r.push(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, mediaType, body)
	}
	return digest
}

// Blob pushes a blob.
func (r *Registry) Blob(repository string, body []byte) {
	r.push(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+Digest(body), "application/octet-stream", body)
}

// Delete takes away what a tag or a digest names.
func (r *Registry) Delete(repository, name string) {
	r.push(http.MethodDelete, "/v2/"+repository+"/manifests/"+name, "", nil)
}

func (r *Registry) push(method, target, mediaType string, body []byte) {
	req := httptest.NewRequestWithContext(context.Background(), method, target, bytes.NewReader(body))
	req.Header.Set("Content-Type", mediaType)
	rec := httptest.NewRecorder()
	r.registry.ServeHTTP(rec, req)
	if rec.Code >= 300 {
		panic(fmt.Sprintf("%s %s: %d %s", method, target, rec.Code, rec.Body))
	}
}

// Digest is the SHA-256 digest of body.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // It is made of strings and numbers.
	}
	return body
}
