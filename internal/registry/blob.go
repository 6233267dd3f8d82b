package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/tagwarden/tagwarden/image"
)

const (
	// minSpeed is how many bytes of a blob must come in a second, in the
	// mean. Without it, a host that gives a byte now and then would never be
	// done.
	minSpeed = 32 << 10
	// maxBlob bounds what a size is taken to be when time is counted by it.
	maxBlob = 1 << 40
)

// Descriptor names a blob (OCI image spec 1.1, descriptor.md).
type Descriptor struct {
	MediaType string
	Digest    image.Digest
	// Size is in bytes.
	Size int64
}

// Manifest is an index or a manifest, verified by its digest.
type Manifest struct {
	// Content is what it stands for. Its Platform is never set: the index
	// above it or its config say that.
	Content   image.Content
	MediaType string
	// Annotations are those of the manifest itself.
	Annotations map[string]string
	// Config is that of an image. It has no digest for an index, for schema 1
	// and for a manifest whose config is not that of an image, an artifact.
	Config Descriptor
	// Layers are those of a manifest, in its order, from the bottom up.
	Layers []Descriptor
}

// Manifest gets an index or a manifest by its digest and verifies it. It does
// not use the cache, which keeps less of it. The error is an [*Error].
func (c *Client) Manifest(ctx context.Context, repository image.Reference, digest image.Digest) (Manifest, error) {
	repo := c.repository(repository)
	q := question{repository.Name() + "@" + digest.String(), repo.host}
	if !digest.Valid() {
		return Manifest{}, q.fail(ErrNotImage, "its digest is none")
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Budget)
	defer cancel()
	m, _, err := c.manifest(ctx, q, repo, digest.String(), digest)
	if err != nil {
		return Manifest{}, err
	}
	found := Manifest{Content: m.content, MediaType: m.mediaType, Annotations: m.annotations, Layers: m.layers}
	if m.content.Config != "" {
		found.Config = Descriptor{m.configType, m.content.Config, m.configSize}
	}
	return found, nil
}

// Blob opens a blob of a repository for reading, as it is stored. The bytes
// come as they are read, so nothing of them may be relied on before the last
// Read: that gives io.EOF only if they are as many as of says and have its
// digest, and an [*Error] otherwise.
//
// Opening has the time of the client's Budget, each Read that of its Timeout,
// and the whole blob some seconds for each MiB. Until it is closed, a blob has
// one of the places for requests to its host: who opens more at a time than
// Concurrency allows waits for itself.
func (c *Client) Blob(ctx context.Context, repository image.Reference, of Descriptor) (io.ReadCloser, error) {
	repo := c.repository(repository)
	q := question{repository.Name() + "@" + of.Digest.String(), repo.host}
	if !of.Digest.Valid() || of.Size < 0 {
		return nil, q.fail(ErrNotImage, "its digest or size is none")
	}
	whole := c.config.Budget + time.Duration(min(of.Size, maxBlob)/minSpeed)*time.Second
	ctx, cancel := context.WithTimeout(ctx, whole)
	target := c.target(repo, "blobs/"+of.Digest.String())
	ctx = context.WithValue(ctx, streamKey{}, &streaming{target, time.Now().Add(c.config.Budget)})
	ctx = auth.AppendScopesForHost(ctx, repo.host, auth.ScopeRepository(repo.path, auth.ActionPull))
	body, err := c.open(ctx, q, repo, target, of)
	if err != nil {
		cancel()
		return nil, err
	}
	return &blob{body: body, cancel: cancel, q: q, of: of, sum: newHash(of.Digest.Algorithm())}, nil
}

// open sends the request for a blob and looks at what comes before its bytes.
func (c *Client) open(ctx context.Context, q question, repo repository, target string, of Descriptor) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, q.fail(ErrUnreachable, "its name makes no address")
	}
	resp, err := c.client(repo).Do(req)
	if err != nil {
		return nil, q.failed(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		if err != nil {
			return nil, q.failed(err)
		}
		return nil, q.status(resp.StatusCode, body, "")
	}
	if n := resp.ContentLength; n >= 0 && n != of.Size {
		resp.Body.Close()
		return nil, q.fail(ErrDigest, fmt.Sprintf("they are %d, not %d", n, of.Size))
	}
	return resp.Body, nil
}

// blob is a blob that is being read.
type blob struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	q      question
	of     Descriptor
	sum    hash.Hash
	read   int64
	err    error // once there is one, it stays
}

func (b *blob) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.body.Read(p)
	b.read += int64(n)
	if b.read > b.of.Size {
		// What came before cannot be taken back, but no more is given.
		b.err = b.q.fail(ErrDigest, fmt.Sprintf("they are more than %d", b.of.Size))
		return 0, b.err
	}
	b.sum.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		b.err = b.q.failed(err)
	case b.read < b.of.Size:
		b.err = b.q.fail(ErrDigest, fmt.Sprintf("they are %d, not %d", b.read, b.of.Size))
	default:
		b.err = io.EOF
		if got := b.of.Digest.Algorithm() + ":" + hex.EncodeToString(b.sum.Sum(nil)); got != b.of.Digest.String() {
			b.err = b.q.fail(ErrDigest, "they have "+got)
		}
	}
	return n, b.err
}

func (b *blob) Close() error {
	if b.err == nil {
		b.err = b.q.fail(ErrUnreachable, "it was closed")
	}
	err := b.body.Close()
	b.cancel()
	return err
}

// newHash is for an algorithm of a valid digest.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return sha256.New()
}

type streamKey struct{}

// streaming says of a context that the answer for one address is to be given
// as it comes.
type streaming struct {
	target string
	openBy time.Time
}

// streams finds whether the answer to a request is to be given as it comes:
// it is for the address itself, or a redirect from there led to it. A request
// for a token has the same context and is none of these.
func streams(req *http.Request) *streaming {
	s, ok := req.Context().Value(streamKey{}).(*streaming)
	if !ok {
		return nil
	}
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	if req.URL.String() != s.target {
		return nil
	}
	return s
}

// errIdle is the cause of a context that ended since nothing came.
var errIdle = errors.New("nothing came")

// stream is the body of an answer that is given as it comes. It holds a place
// at its host until it is closed.
type stream struct {
	body   io.ReadCloser
	name   string // of the host
	leave  func()
	idle   *time.Timer
	after  time.Duration
	ctx    context.Context // that of the request, to learn why it ended
	cancel context.CancelCauseFunc
	once   sync.Once
}

// open sends the request one time. A 200 has a [stream] as its body, which
// leaves the host when it is closed; any other answer is read whole.
func (w *wire) open(req *http.Request, h *host) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	idle := time.AfterFunc(w.timeout, func() { cancel(errIdle) })
	req = req.Clone(ctx)
	resp, err := w.base.RoundTrip(req)
	idle.Stop()
	if err != nil {
		defer cancel(nil)
		if errors.Is(context.Cause(ctx), errIdle) {
			return nil, context.DeadlineExceeded
		}
		return nil, err
	}
	resp.Request = req
	s := &stream{body: resp.Body, name: h.name, leave: h.leave, idle: idle, after: w.timeout, ctx: ctx, cancel: cancel}
	resp.Body = s
	if resp.StatusCode != http.StatusOK {
		s.leave = func() {} // who called does it
		defer s.Close()
		// What it says is for people: a part of it will do.
		body, _ := io.ReadAll(io.LimitReader(s, maxErrorBody))
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return resp, nil
}

func (s *stream) Read(p []byte) (int, error) {
	s.idle.Reset(s.after)
	n, err := s.body.Read(p)
	s.idle.Stop()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	r := &refusal{host: s.name, reason: ErrUnreachable, detail: harmless(err)}
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errIdle):
		r.detail = fmt.Sprintf("nothing came for %s", s.after)
	case errors.Is(cause, context.DeadlineExceeded):
		r.detail, r.ended = "it took too long", cause
	case cause != nil:
		r.detail, r.ended = "gave up waiting", cause
	}
	return n, r
}

func (s *stream) Close() error {
	var err error
	s.once.Do(func() {
		s.idle.Stop()
		err = s.body.Close()
		s.cancel(nil)
		s.leave()
	})
	return err
}
