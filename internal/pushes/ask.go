package pushes

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

const (
	// maxAnswer is the most that one answer may have; the largest of them is
	// a page of 100 versions.
	maxAnswer = 4 << 20
	// maxPages is how many pages of one list are read.
	maxPages = 20
	// maxRedirects is how often one request is sent elsewhere on its host.
	maxRedirects = 5
	// requestTimeout is for one request and its whole answer; budget is for
	// one question with all its requests. A context can make both shorter.
	requestTimeout, budget = 30 * time.Second, 2 * time.Minute
	// maxWait is the longest that an API is believed to want to be left alone.
	maxWait = 24 * time.Hour
)

// api asks one registry's API.
type api struct {
	config   Config
	kind     Kind
	registry string // docker.io
	base     string // https://hub.docker.com
	host     string // hub.docker.com
}

// question is what errors are about: one question, with its time and its
// credential.
type question struct {
	*api
	asked      string
	repository string
	needs      string
	cred       Credential
	header     http.Header
	// signer, where there is one, signs each request.
	signer func(context.Context, *http.Request) error
}

// ask begins a question. needs says which credential it takes. What it returns
// must be called when it is over.
func (a *api) ask(ctx context.Context, asked string, ref image.Reference, needs string) (context.Context, context.CancelFunc, *question, error) {
	q := &question{api: a, asked: asked + " " + refName(asked, ref), repository: ref.Repository(), needs: needs, header: http.Header{}}
	ctx, cancel := context.WithTimeout(ctx, budget)
	if a.config.Credentials == nil {
		return ctx, cancel, q, nil
	}
	var err error
	if q.cred, err = a.config.Credentials(ctx, a.registry, ref.Repository()); err != nil {
		cancel()
		e := q.fail(ErrUnauthorized, "its credential could not be read: "+quoted(err.Error()))
		return ctx, func() {}, q, e
	}
	return ctx, cancel, q, nil
}

// refName is the reference for pushes, the repository for writers.
func refName(asked string, ref image.Reference) string {
	if strings.HasPrefix(asked, "writers") {
		return ref.Name()
	}
	return ref.String()
}

func (q *question) fail(reason error, detail string) *Error {
	return &Error{Asked: q.asked, Host: q.host, Reason: reason, Detail: detail, Needs: q.needs}
}

func (a *api) unsupported(asked, why string) *Error {
	host := a.host
	if host == "" {
		host = a.registry
	}
	return &Error{Asked: asked, Host: host, Reason: ErrUnsupported, Detail: why}
}

// bearer sends the credential as a token, if there is one.
func (q *question) bearer() *question {
	if t := q.cred.bearer(); t != "" {
		q.header.Set("Authorization", "Bearer "+t)
	}
	return q
}

// basic sends the credential as a user and a password, or as a token if there
// is no user.
func (q *question) basic() *question {
	if q.cred.Username == "" {
		return q.bearer()
	}
	r := http.Request{Header: q.header}
	r.SetBasicAuth(q.cred.Username, q.cred.Password)
	return q
}

// get asks for a path, whose parts are escaped, and reads the JSON of the
// answer.
func (q *question) get(ctx context.Context, path string, query url.Values, into any) (http.Header, error) {
	return q.do(ctx, http.MethodGet, path, query, nil, into)
}

// do sends one request. The error is an *Error.
func (q *question) do(ctx context.Context, method, path string, query url.Values, body []byte, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	address := q.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, q.fail(ErrAnswer, "its address cannot be asked")
	}
	req.Header = q.header.Clone()
	req.Header.Set("User-Agent", cmp.Or(q.config.UserAgent, "tagwarden"))
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", typeJSON)
	}
	if q.signer != nil {
		if err := q.signer(ctx, req); err != nil {
			return nil, err
		}
	}
	return q.send(req, into)
}

func (q *question) send(req *http.Request, into any) (http.Header, error) {
	client := http.Client{Transport: q.config.Transport, CheckRedirect: stay}
	resp, err := client.Do(req)
	if err != nil {
		return nil, q.unreachable(req.Context(), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, q.status(resp, answer)
	case err != nil:
		return nil, q.unreachable(req.Context(), err)
	case len(answer) > maxAnswer:
		return nil, q.fail(ErrAnswer, fmt.Sprintf("it is larger than %d MiB", maxAnswer>>20))
	}
	// The content type is not asked: what an answer is, its bytes say.
	if json.Unmarshal(answer, into) != nil {
		return nil, q.fail(ErrAnswer, "it is no JSON of the documented form")
	}
	return resp.Header, nil
}

var (
	errElsewhere = errors.New("it sends to another host")
	errCircle    = errors.New("it sends from one address to the next without an end")
)

// stay follows redirects only on the same host, as the credential goes along.
func stay(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return errElsewhere
	}
	if len(via) > maxRedirects {
		return errCircle
	}
	return nil
}

// unreachable makes the error for a request that got no answer.
func (q *question) unreachable(ctx context.Context, err error) *Error {
	for _, known := range []error{errElsewhere, errCircle} {
		if errors.Is(err, known) {
			return q.fail(ErrAnswer, known.Error())
		}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	ended := ctx.Err()
	if ended == nil && errors.Is(err, context.DeadlineExceeded) {
		ended = context.DeadlineExceeded
	}
	if ended != nil {
		e := q.fail(ErrUnreachable, "gave up waiting")
		e.ended = ended
		return e
	}
	return q.fail(ErrUnreachable, harmless(err))
}

// status makes the error for an answer that is not 200.
func (q *question) status(resp *http.Response, body []byte) *Error {
	code, detail := resp.StatusCode, "status "+strconv.Itoa(resp.StatusCode)
	at, said := retryAt(resp.Header, time.Now())
	limited := code == http.StatusTooManyRequests ||
		(code == http.StatusForbidden || code == http.StatusServiceUnavailable) && said
	if name, reason := awsReason(body); q.kind == ECR && reason != nil {
		return q.fail(reason, detail+", "+name)
	}
	switch {
	case limited:
		e := q.fail(ErrRateLimited, detail)
		if said {
			e.RetryAt = at
		}
		return e
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return q.fail(ErrUnauthorized, detail)
	case code == http.StatusNotFound || code == http.StatusGone:
		return q.fail(ErrNotFound, detail)
	case code >= 500:
		return q.fail(ErrUnreachable, detail)
	}
	return q.fail(ErrAnswer, detail)
}

// retryAt reads until when an API wants not to be asked: Retry-After, which is
// seconds or a date (RFC 9110, 10.2.3), or GitHub's and Docker Hub's headers
// for a budget that is used up. said is false where it does not say.
func retryAt(h http.Header, now time.Time) (at time.Time, said bool) {
	bounded := func(t time.Time) time.Time {
		switch {
		case t.Before(now):
			return now
		case t.After(now.Add(maxWait)):
			return now.Add(maxWait)
		}
		return t
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseInt(value, 10, 64); err == nil && s >= 0 {
		return bounded(now.Add(time.Duration(min(s, int64(maxWait/time.Second))) * time.Second)), true
	}
	if t, err := http.ParseTime(value); err == nil {
		return bounded(t), true
	}
	if strings.TrimSpace(h.Get("X-RateLimit-Remaining")) == "0" {
		if s, err := strconv.ParseInt(strings.TrimSpace(h.Get("X-RateLimit-Reset")), 10, 64); err == nil && s > 0 {
			return bounded(time.Unix(s, 0)), true
		}
	}
	return time.Time{}, false
}

// pages asks for one page after the other, by number, until next says that
// there are no more. An address that an answer has for the next page is never
// followed. complete is false where there are more than are read.
func pages(next func(page int) (more bool, err error)) (complete bool, err error) {
	for page := 1; page <= maxPages; page++ {
		more, err := next(page)
		if err != nil || !more {
			return err == nil, err
		}
	}
	return false, nil
}

// tooLong is the error for a list of more than maxPages pages.
func (q *question) tooLong(what string) *Error {
	return q.fail(ErrAnswer, fmt.Sprintf("its list of %s has more than %d pages, of which no more are read", what, maxPages))
}

// segments escapes each part of a repository for a path.
func segments(repository string) string {
	parts := strings.Split(repository, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// byName sorts writers, cleans their texts and leaves out doubles.
func byName(writers []Writer) []Writer {
	for i := range writers {
		writers[i].Name, writers[i].Role = clean(writers[i].Name), clean(writers[i].Role)
	}
	slices.SortFunc(writers, func(a, b Writer) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Role, b.Role))
	})
	return slices.Compact(writers)
}
