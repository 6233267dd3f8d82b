package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxBody is the most that a manifest or a config may have: what
	// registries take (OCI distribution spec 1.1, "Pushing Manifests").
	maxBody = 4 << 20
	// maxErrorBody is how much of an answer that is no success is read.
	maxErrorBody = 64 << 10
	// maxHeader is the most that the headers of an answer may have.
	maxHeader = 64 << 10
	// maxHosts is how many hosts the wire remembers.
	maxHosts = 4096

	// How often one request is tried: while it is asked to wait, after a
	// failure of the host, after a failure of the network.
	triesLimited, triesBroken, triesNetwork = 8, 4, 3
	// firstBackoff doubles with each try, up to maxBackoff.
	firstBackoff, maxBackoff = time.Second, 16 * time.Second
	// maxRetryAfter is the longest that a host can keep itself from being
	// asked.
	maxRetryAfter = time.Hour
	// After so many failures of the network in a row, and for so long, a
	// host is taken to be down and not asked.
	maxFailures, downFor = 3, 30 * time.Second
)

// wire is a round tripper that is polite to hosts and safe from them: few
// requests at a time, none while the host said to wait, bounded tries, and
// answers of bounded size in bounded time. Answers are read whole, but for
// those that [streams] says not to.
type wire struct {
	base        http.RoundTripper
	concurrency int
	perSecond   float64
	timeout     time.Duration
	log         *slog.Logger

	mu    sync.Mutex
	hosts map[string]*host
}

// host is what requests to one host share.
type host struct {
	name  string
	slots chan struct{}
	limit *rate.Limiter // nil for none

	mu       sync.Mutex
	until    time.Time // not to be asked before
	because  *refusal  // for those who cannot wait so long
	down     bool      // nobody waits
	failures int       // of the network, in a row
}

// newTransport makes the transport below the wire: of the standard library,
// with proxies from the environment and tighter limits.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // a digest is of the bytes as they are
	}
}

// RoundTrip sends a request until there is an answer that is worth something.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, h := req.Context(), w.host(req.URL.Host)
	s := streams(req)
	if s != nil {
		// The time for all the bytes is not to be spent on waiting.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.openBy)
		defer cancel()
	}
	for try := 1; ; try++ {
		if err := h.enter(ctx); err != nil {
			return nil, err
		}
		start := time.Now()
		var resp *http.Response
		var err error
		if s != nil {
			resp, err = w.open(req, h)
		} else {
			resp, err = w.once(req, try)
		}
		w.note(req, resp, err, time.Since(start))
		// Who waits for this turn must find the host closed if it is to be.
		wait, final := w.judge(ctx, h, resp, err, try)
		if err == nil && resp.StatusCode == http.StatusOK && s != nil {
			return resp, nil // its body leaves
		}
		h.leave()
		switch {
		case final != nil:
			return nil, final
		case wait == 0 && err == nil:
			return resp, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, &refusal{host: h.name, reason: ErrUnreachable, detail: "gave up waiting", ended: err}
		}
	}
}

// judge decides what becomes of an answer: no wait and no error is to use it,
// a wait is to try again, an error is to give up.
func (w *wire) judge(ctx context.Context, h *host, resp *http.Response, err error, try int) (wait time.Duration, final error) {
	if err != nil {
		return h.judgeFailure(ctx, err, try)
	}
	h.succeeded()
	after, said := retryAfter(resp.Header, time.Now())
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && said:
		if !said {
			after = backoff(try)
		}
		reason := ErrRateLimited
		if code != http.StatusTooManyRequests {
			reason = ErrUnreachable
		}
		until := time.Now().Add(after)
		because := &refusal{host: h.name, reason: reason, detail: "status " + strconv.Itoa(code)}
		if said {
			because.retryAt = until
		}
		h.closeUntil(until, because)
		w.log.InfoContext(ctx, "registry asks to wait", "host", h.name, "status", code, "wait", after)
		if try >= triesLimited || !lasts(ctx, until) {
			return 0, because
		}
		// Others can be waiting, too: they should not all come at once.
		return after + rand.N(after/10+time.Millisecond), nil //nolint:gosec // jitter is no secret
	case (code >= 500 && code != http.StatusNotImplemented || code == http.StatusRequestTimeout) && try < triesBroken:
		if wait = backoff(try); lasts(ctx, time.Now().Add(wait)) {
			return wait, nil
		}
	}
	return 0, nil
}

// lasts reports whether the context does not end before until.
func lasts(ctx context.Context, until time.Time) bool {
	end, ok := ctx.Deadline()
	return !ok || !end.Before(until)
}

// judgeFailure decides what becomes of a request without an answer.
func (h *host) judgeFailure(ctx context.Context, err error, try int) (wait time.Duration, final error) {
	if ended := ctx.Err(); ended != nil {
		return 0, &refusal{host: h.name, reason: ErrUnreachable, detail: "gave up waiting", ended: ended}
	}
	if errors.Is(err, errTooLarge) {
		return 0, &refusal{host: h.name, reason: ErrNotImage, detail: fmt.Sprintf("it is larger than %d MiB", maxBody>>20)}
	}
	because := &refusal{host: h.name, reason: ErrUnreachable, detail: harmless(err)}
	timeout := errors.Is(err, context.DeadlineExceeded)
	if timeout {
		because.detail = "it took too long"
	}
	h.failed(because)
	if timeout || !transient(err) || try >= triesNetwork {
		return 0, because
	}
	return backoff(try), nil
}

// transient reports whether the same request may succeed a moment later.
func transient(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "server closed idle connection")
}

var errTooLarge = errors.New("the answer is too large")

// once sends the request one time and reads the answer whole.
func (w *wire) once(req *http.Request, try int) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), w.timeout)
	defer cancel()
	req = req.Clone(ctx)
	if try > 1 && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	resp.Request = req
	limit := int64(maxErrorBody)
	if resp.StatusCode == http.StatusOK {
		limit = maxBody
	}
	var body []byte
	if req.Method != http.MethodHead {
		if resp.StatusCode == http.StatusOK && resp.ContentLength > limit {
			return nil, errTooLarge
		}
		if body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil && resp.StatusCode == http.StatusOK {
			return nil, err
		}
		if int64(len(body)) > limit {
			if resp.StatusCode == http.StatusOK {
				return nil, errTooLarge
			}
			body = body[:limit]
		}
		resp.ContentLength = int64(len(body))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// note logs a request: neither its query nor its headers, which have secrets.
func (w *wire) note(req *http.Request, resp *http.Response, err error, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", req.Method), slog.String("host", req.URL.Host),
		slog.String("path", req.URL.Path), slog.Duration("took", took.Round(time.Millisecond)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", harmless(err)))
	} else {
		attrs = append(attrs, slog.Int("status", resp.StatusCode))
	}
	w.log.LogAttrs(req.Context(), slog.LevelDebug, "registry request", attrs...)
}

// host finds or makes what is shared by requests to a host.
func (w *wire) host(name string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h != nil {
		return h
	}
	if len(w.hosts) >= maxHosts {
		// Names come from what others wrote. Those of no use now are let go.
		for name, old := range w.hosts {
			if old.idle() {
				delete(w.hosts, name)
			}
		}
	}
	h = &host{name: name, slots: make(chan struct{}, w.concurrency)}
	if w.perSecond > 0 {
		h.limit = rate.NewLimiter(rate.Limit(w.perSecond), w.concurrency)
	}
	w.hosts[name] = h
	return h
}

func (h *host) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.slots) == 0 && !time.Now().Before(h.until)
}

// enter waits until the host may be asked. Who cannot wait so long, or comes
// while the host is down, is told why at once.
func (h *host) enter(ctx context.Context) error {
	for {
		if err := h.open(ctx); err != nil {
			return err
		}
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return &refusal{host: h.name, reason: ErrUnreachable, detail: "gave up waiting for other requests", ended: ctx.Err()}
		}
		// While this one waited for its turn, another may have been told to
		// wait.
		h.mu.Lock()
		closed := time.Now().Before(h.until)
		h.mu.Unlock()
		if closed {
			h.leave()
			continue
		}
		if h.limit != nil {
			if err := h.limit.Wait(ctx); err != nil {
				h.leave()
				return &refusal{host: h.name, reason: ErrUnreachable, detail: "gave up waiting for other requests", ended: context.DeadlineExceeded}
			}
		}
		return nil
	}
}

func (h *host) leave() { <-h.slots }

// open waits until the host has said that it may be asked.
func (h *host) open(ctx context.Context) error {
	for {
		h.mu.Lock()
		until, because, down := h.until, h.because, h.down
		h.mu.Unlock()
		wait := time.Until(until)
		if wait <= 0 {
			return ctx.Err()
		}
		if down || !lasts(ctx, until) {
			return because
		}
		if err := sleep(ctx, wait); err != nil {
			return &refusal{host: h.name, reason: because.reason, detail: because.detail, retryAt: because.retryAt, ended: err}
		}
	}
}

func (h *host) closeUntil(until time.Time, because *refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until.After(h.until) {
		h.until, h.because, h.down = until, because, false
	}
}

func (h *host) succeeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = 0
}

// failed counts a failure of the network, and takes the host to be down after
// some of them in a row.
func (h *host) failed(because *refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures++; h.failures >= maxFailures {
		h.until, h.because, h.down = time.Now().Add(downFor), because, true
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff is how long to wait after a try: longer each time, and not the same
// for all who failed together.
func backoff(try int) time.Duration {
	d := min(firstBackoff<<(try-1), maxBackoff)
	return d/2 + rand.N(d/2) //nolint:gosec // jitter is no secret
}

// retryAfter reads how long a host wants not to be asked: seconds or a date
// (RFC 9110, 10.2.3). said is false where it does not say.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, said bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}
