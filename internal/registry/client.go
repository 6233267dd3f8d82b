// Package registry asks registries which bytes a reference stands for: the
// digest behind a tag, and the manifest and config behind a digest. It speaks
// the OCI distribution spec 1.1 and Docker's registry API before it.
//
// It counts what a question costs others. A tag is resolved by a HEAD request,
// which Docker Hub does not count as a pull. Nothing is asked twice: what a
// digest stands for is kept for ever, and equal questions share one answer. A
// host that says to wait is left alone by everybody. No ping is sent.
//
// And it does not trust the answer: everything is verified by its digest, and
// no host can take more than bounded time and memory, nor put its own lines
// into a message.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/tagwarden/tagwarden/image"
)

const (
	// hub is Docker Hub's name in references, and hubHost is who answers.
	hub, hubHost = "docker.io", "registry-1.docker.io"

	defaultConcurrency = 4
	defaultTimeout     = 30 * time.Second
	defaultBudget      = 2 * time.Minute

	// maxTags is how many answers about tags are kept.
	maxTags = 10_000
	// maxRepositories is how many repositories the tokens are kept of.
	maxRepositories = 4096
	// maxRedirects is how often an answer may be elsewhere.
	maxRedirects = 5
	// maxCandidates is how many children of an index for one platform are
	// looked at; there are several where the variant is not known.
	maxCandidates = 8
	// maxDepth is how many indexes there are above a manifest.
	maxDepth = 3
)

// Config is how a [Client] asks. The zero Config asks as nobody.
type Config struct {
	// Transport sends the requests; nil is one of the standard library with
	// the proxies of the environment.
	Transport http.RoundTripper
	// Concurrency is how many requests there are to one host at a time; 0
	// means 4.
	Concurrency int
	// PerSecond is how many requests there are to one host in a second; 0
	// means any number.
	PerSecond float64
	// Timeout is for one request and its whole answer; 0 means 30 seconds.
	Timeout time.Duration
	// Budget is for one question with all its requests, tries and waits; 0
	// means 2 minutes. A context can make it shorter.
	Budget time.Duration
	// PlainHTTP lists the hosts, with their ports, that do not speak TLS.
	// localhost and the loopback addresses always may.
	PlainHTTP []string
	// Mirrors says who is asked instead of a registry: a host with a port and
	// a path or not, such as mirror.example:5000/hub for docker.io.
	Mirrors map[string]string
	// Keychain has the credentials; nil has none. It is asked about the
	// mirror where there is one.
	Keychain Keychain
	// Cache keeps what digests stand for; nil is one in memory.
	Cache Cache
	// UserAgent is who the client says it is; "" is tagwarden.
	UserAgent string
	// Log gets what is retried, and each request at debug level; nil is none.
	Log *slog.Logger
}

// Client asks registries. It is safe for concurrent use, and meant to be the
// only one of a process, so that all share its limits and what it knows.
type Client struct {
	config    Config
	mirrors   map[string]image.Reference
	plain     map[string]bool
	transport *wire
	log       *slog.Logger

	tags    *recent[string, Resolved]
	flights singleflight.Group

	mu      sync.Mutex
	clients map[string]*auth.Client // by host and repository
}

// New makes a Client. The error is about a mirror that cannot be one.
func New(config Config) (*Client, error) {
	if config.Transport == nil {
		config.Transport = newTransport()
	}
	if config.Concurrency <= 0 {
		config.Concurrency = defaultConcurrency
	}
	if config.Timeout <= 0 {
		config.Timeout = defaultTimeout
	}
	if config.Budget <= 0 {
		config.Budget = defaultBudget
	}
	if config.Cache == nil {
		config.Cache = NewMemoryCache()
	}
	if config.UserAgent == "" {
		config.UserAgent = "tagwarden"
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		config:  config,
		mirrors: map[string]image.Reference{},
		plain:   map[string]bool{},
		log:     config.Log,
		tags:    newRecent[string, Resolved](maxTags),
		clients: map[string]*auth.Client{},
		transport: &wire{
			base: config.Transport, concurrency: config.Concurrency, perSecond: config.PerSecond,
			timeout: config.Timeout, log: config.Log, hosts: map[string]*host{},
		},
	}
	for registry, mirror := range config.Mirrors {
		// A repository is what makes a mirror's name one that can be read.
		ref, err := image.Parse(strings.TrimSuffix(mirror, "/") + "/x")
		if err != nil || ref.Tag() != "" || ref.Digest() != "" || !strings.HasPrefix(mirror, ref.Registry()) {
			return nil, fmt.Errorf("mirror %s of %s: want HOST, HOST:PORT or either with a path, such as mirror.example:5000/hub", quoted(mirror), quoted(registry))
		}
		c.mirrors[hubAsOne(registry)] = ref
	}
	for _, host := range config.PlainHTTP {
		c.plain[host] = true
	}
	return c, nil
}

// Resolved is what a reference stands for at a time.
type Resolved struct {
	// Digest is that of an index or a manifest.
	Digest image.Digest
	// MediaType is what the registry says it is; "" where it does not.
	MediaType string
	// Size is its number of bytes, as the registry says; 0 where it does not.
	Size int64
	// At is when the registry said so.
	At time.Time
}

// Resolve asks the registry what a reference stands for now; one without a tag
// and a digest means the tag latest, as for a runtime. It sends a HEAD
// request, and a GET request only to a registry that cannot answer it. A
// digest is asked for, too: an answer means that it can be pulled. The error
// is an [*Error].
func (c *Client) Resolve(ctx context.Context, ref image.Reference) (Resolved, error) {
	return c.ResolveWithin(ctx, ref, 0)
}

// ResolveWithin is [Client.Resolve], but takes an answer that is not older
// than maxAge.
func (c *Client) ResolveWithin(ctx context.Context, ref image.Reference, maxAge time.Duration) (Resolved, error) {
	if r, ok := c.Known(ref, maxAge); ok {
		return r, nil
	}
	repo, name, key := c.named(ref)
	q := question{ref.String(), repo.host}
	return share(ctx, c, q, "resolve "+key, func(ctx context.Context) (Resolved, error) {
		// Another may have asked since.
		if r, ok := c.tags.get(key); ok && time.Since(r.At) < maxAge {
			return r, nil
		}
		r, err := c.resolve(ctx, q, repo, name, ref.Digest())
		if err == nil {
			c.tags.put(key, r, 1)
		}
		return r, err
	})
}

// Known is what [Client.ResolveWithin] answers without asking a registry.
func (c *Client) Known(ref image.Reference, maxAge time.Duration) (Resolved, bool) {
	_, _, key := c.named(ref)
	r, ok := c.tags.get(key)
	return r, ok && time.Since(r.At) < maxAge
}

// named is what a reference is asked for by, and what the answer is kept by.
func (c *Client) named(ref image.Reference) (repo repository, name, key string) {
	repo, name = c.repository(ref), "latest"
	if ref.Tag() != "" {
		name = ref.Tag()
	}
	if ref.Digest() != "" {
		name = ref.Digest().String()
	}
	return repo, name, repo.host + "/" + repo.path + "@" + name
}

// resolve asks for name, which is a tag, or want where that is not empty.
func (c *Client) resolve(ctx context.Context, q question, repo repository, name string, want image.Digest) (Resolved, error) {
	at := time.Now()
	a, err := c.send(ctx, q, repo, http.MethodHead, "manifests/"+name)
	if err != nil {
		return Resolved{}, err
	}
	switch a.status {
	case http.StatusOK:
		said, err := image.ParseDigest(a.header.Get("Docker-Content-Digest"))
		switch {
		case err != nil: // it does not say
		case want != "" && said != want:
			return Resolved{}, q.fail(ErrDigest, "it has "+said.String())
		default:
			return Resolved{said, a.mediaType(), max(a.size, 0), at}, nil
		}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return Resolved{}, q.status(a.status, a.body, "")
	}
	m, size, err := c.manifest(ctx, q, repo, name, want)
	if err != nil {
		return Resolved{}, err
	}
	return Resolved{m.content.Digest, m.mediaType, size, at}, nil
}

// Content asks what a digest in a repository stands for. The first content is
// of the digest itself; for an index, those of the children that a node of the
// platform may run follow, with their configs. For the zero Platform no
// children are asked for. A manifest that no index gives a platform has the
// one of its config, which is asked for, too.
//
// Every digest is asked for once and then kept for ever. With an error, which
// is an [*Error], come the contents that could be learnt.
func (c *Client) Content(ctx context.Context, repository image.Reference, digest image.Digest, on image.Platform) ([]image.Content, error) {
	if repository.Repository() == "" || !digest.Valid() {
		return nil, &Error{Reference: quoted(digest.String()), Reason: ErrImageID}
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Budget)
	defer cancel()
	return c.contents(ctx, repository, image.Child{Digest: digest}, on, maxDepth)
}

// contents is Content for what may be the child of an index.
func (c *Client) contents(ctx context.Context, ref image.Reference, of image.Child, on image.Platform, depth int) ([]image.Content, error) {
	content, err := c.content(ctx, ref, of)
	if content.Kind == image.KindUnknown {
		return nil, err
	}
	found := []image.Content{content}
	if content.Kind != image.KindIndex || on == (image.Platform{}) || depth == 0 {
		return found, err
	}
	for i, child := range content.ChildrenFor(on) {
		if i == maxCandidates {
			break
		}
		below, e := c.contents(ctx, ref, child, on, depth-1)
		found = append(found, below...)
		if err == nil {
			err = e
		}
	}
	return found, err
}

// content finds or asks what a digest stands for.
func (c *Client) content(ctx context.Context, ref image.Reference, of image.Child) (image.Content, error) {
	if known, ok := c.cached(ctx, of.Digest); ok {
		return known, nil
	}
	repo := c.repository(ref)
	q := question{ref.Name() + "@" + of.Digest.String(), repo.host}
	key := fmt.Sprintf("content %s/%s@%s %s", repo.host, repo.path, of.Digest, of.Platform)
	return share(ctx, c, q, key, func(ctx context.Context) (image.Content, error) {
		if known, ok := c.cached(ctx, of.Digest); ok { // another asked since
			return known, nil
		}
		m, _, err := c.manifest(ctx, q, repo, of.Digest.String(), of.Digest)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); ok && errors.Is(e, ErrNotFound) {
				e.Detail += ", or the digest is an image id"
			}
			return image.Content{}, err
		}
		content := m.content
		if content.Kind == image.KindManifest {
			content.Platform = of.Platform
			if of.Platform == (image.Platform{}) {
				if content.Platform, err = c.platform(ctx, q, repo, m); err != nil {
					return content, err
				}
			}
		}
		if err := c.config.Cache.PutContent(ctx, content); err != nil {
			c.log.WarnContext(ctx, "cache of digests cannot be written", "error", err)
		}
		return content, nil
	})
}

// cached finds what was learnt before.
func (c *Client) cached(ctx context.Context, d image.Digest) (image.Content, bool) {
	known, ok, err := c.config.Cache.Content(ctx, d)
	if err != nil {
		c.log.WarnContext(ctx, "cache of digests cannot be read", "error", err)
		return image.Content{}, false
	}
	return known, ok
}

// platform reads the platform of a manifest in its config. A config that the
// registry does not give, or that says none, leaves it unknown; an error means
// that another time may do better.
func (c *Client) platform(ctx context.Context, q question, repo repository, m manifest) (image.Platform, error) {
	if m.configSize <= 0 || m.configSize > maxBody {
		return image.Platform{}, nil
	}
	digest := m.content.Config
	a, err := c.send(ctx, q, repo, http.MethodGet, "blobs/"+digest.String())
	if err != nil {
		return image.Platform{}, err
	}
	if a.status != http.StatusOK {
		err := q.status(a.status, a.body, "")
		if errors.Is(err, ErrRateLimited) || errors.Is(err, ErrUnreachable) {
			return image.Platform{}, err
		}
		return image.Platform{}, nil
	}
	if digestOf(a.body, digest.Algorithm()) != digest {
		return image.Platform{}, q.fail(ErrDigest, "of config "+digest.String())
	}
	return parsePlatform(a.body), nil
}

// manifest gets an index or a manifest and verifies it: against want, or
// against what the registry says its digest is. size is its number of bytes.
func (c *Client) manifest(ctx context.Context, q question, repo repository, name string, want image.Digest) (m manifest, size int64, err error) {
	a, err := c.send(ctx, q, repo, http.MethodGet, "manifests/"+name)
	if err != nil {
		return manifest{}, 0, err
	}
	if a.status != http.StatusOK {
		return manifest{}, 0, q.status(a.status, a.body, "")
	}
	if a.mediaType() == "text/html" {
		return manifest{}, 0, q.fail(ErrNotImage, "a web page")
	}
	digest := want
	if digest == "" {
		if digest, err = image.ParseDigest(a.header.Get("Docker-Content-Digest")); err != nil {
			digest = digestOf(a.body, "sha256")
		}
	}
	proven, ok := payload(a.body, digest)
	if !ok {
		return manifest{}, 0, q.fail(ErrDigest, "they have "+digestOf(a.body, digest.Algorithm()).String())
	}
	if m, err = parse(proven); err != nil {
		return manifest{}, 0, q.fail(ErrNotImage, err.Error())
	}
	m.content.Digest = digest
	return m, a.size, nil
}

// repository is where a repository is asked for.
type repository struct{ registry, host, path string }

// repository finds who is asked about a reference: its registry or the mirror
// of it, and for Docker Hub the host that answers for it.
func (c *Client) repository(ref image.Reference) repository {
	r := repository{ref.Registry(), ref.Registry(), ref.Repository()}
	if mirror, ok := c.mirrors[r.registry]; ok {
		r.registry, r.host = mirror.Registry(), mirror.Registry()
		r.path = strings.TrimSuffix(mirrorPath(mirror), "x") + r.path
	}
	if r.host == hub {
		r.host = hubHost
	}
	return r
}

// mirrorPath is the path of a mirror with the x that New put there. A path of
// one part is not the namespace of the official images here.
func mirrorPath(mirror image.Reference) string {
	if mirror.Registry() == hub {
		return strings.TrimPrefix(mirror.Repository(), "library/")
	}
	return mirror.Repository()
}

// answer is what a registry said.
type answer struct {
	status int
	header http.Header
	body   []byte
	size   int64 // what it says the size is, -1 where it does not
}

// mediaType is the type of an answer without its parameters; "" where it is
// none, or none that is worth showing.
func (a *answer) mediaType() string {
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || len(kind) > 128 {
		return ""
	}
	return kind
}

// send sends a request about a repository and reads the answer whole.
func (c *Client) send(ctx context.Context, q question, repo repository, method, what string) (*answer, error) {
	ctx = auth.AppendScopesForHost(ctx, repo.host, auth.ScopeRepository(repo.path, auth.ActionPull))
	req, err := http.NewRequestWithContext(ctx, method, c.target(repo, what), http.NoBody)
	if err != nil {
		return nil, q.fail(ErrUnreachable, "its name makes no address")
	}
	if strings.HasPrefix(what, "manifests/") {
		req.Header.Set("Accept", accepted)
	}
	resp, err := c.client(repo).Do(req)
	if err != nil {
		return nil, q.failed(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body) // the wire bounds it
	if err != nil {
		return nil, q.failed(err)
	}
	return &answer{resp.StatusCode, resp.Header, body, resp.ContentLength}, nil
}

// target is the address of something in a repository.
func (c *Client) target(repo repository, what string) string {
	scheme := "https"
	if c.plain[repo.host] || isLoopback(repo.host) {
		scheme = "http"
	}
	return scheme + "://" + repo.host + "/v2/" + repo.path + "/" + what
}

// client finds or makes the client with the tokens for a repository.
func (c *Client) client(repo repository) *auth.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := repo.host + "/" + repo.path
	if known := c.clients[key]; known != nil {
		return known
	}
	if len(c.clients) >= maxRepositories {
		clear(c.clients) // tokens are soon got again
	}
	made := &auth.Client{
		Client:   &http.Client{Transport: c.transport, CheckRedirect: checkRedirect},
		Header:   http.Header{"User-Agent": {c.config.UserAgent}},
		ClientID: "tagwarden",
		Cache:    auth.NewCache(),
		Credential: func(ctx context.Context, _ string) (auth.Credential, error) {
			return c.credential(ctx, repo)
		},
	}
	c.clients[key] = made
	return made
}

func (c *Client) credential(ctx context.Context, repo repository) (auth.Credential, error) {
	if c.config.Keychain == nil {
		return auth.EmptyCredential, nil
	}
	found, err := c.config.Keychain(ctx, repo.registry, repo.path)
	if err != nil {
		return auth.EmptyCredential, &keychainError{err}
	}
	return auth.Credential{
		Username: found.Username, Password: found.Password,
		RefreshToken: found.IdentityToken, AccessToken: found.AccessToken,
	}, nil
}

// checkRedirect follows few redirects, and none from TLS to plain HTTP.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return &refusal{host: first.Host, reason: ErrNotImage, detail: "it redirects without end"}
	case first.Scheme == "https" && req.URL.Scheme != "https":
		return &refusal{host: first.Host, reason: ErrNotImage, detail: "it redirects from TLS to plain HTTP"}
	}
	return nil
}

// isLoopback reports whether a host with a port is this machine, where TLS is
// not needed.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// share lets equal questions that are asked at one time have one answer. It is
// asked for within the budget of the client, so that one who goes away does
// not spoil it for the others; the answer is still kept.
func share[T any](ctx context.Context, c *Client, q question, key string, ask func(context.Context) (T, error)) (answer T, err error) {
	done := c.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.Budget)
		defer cancel()
		return ask(ctx)
	})
	select {
	case r := <-done:
		answer, _ = r.Val.(T)
		return answer, r.Err
	case <-ctx.Done():
		return answer, q.failed(ctx.Err())
	}
}
