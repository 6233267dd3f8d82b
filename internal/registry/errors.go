package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// What stands in the way of an answer. Ask with [errors.Is].
var (
	// ErrNotFound means that the registry has no such repository, tag or
	// digest, or no longer.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized means that the registry wants other credentials. Some
	// registries say so of what does not exist, too.
	ErrUnauthorized = errors.New("not authorized")
	// ErrRateLimited means that the registry was asked too often;
	// [Error.RetryAt] says when it may be asked again.
	ErrRateLimited = errors.New("asked too often")
	// ErrUnreachable means that there was no answer, or none in time, or one
	// that says that the registry is broken.
	ErrUnreachable = errors.New("no answer")
	// ErrDigest means that the registry gave other bytes than those that the
	// digest is of. Nothing of such an answer is used.
	ErrDigest = errors.New("wrong bytes")
	// ErrNotImage means that the answer is no image: a web page, a document
	// that is too large, or one that nobody can read.
	ErrNotImage = errors.New("not an image")
	// ErrImageID means that the digest is known by itself alone, as an image
	// id is. No registry can be asked about it.
	ErrImageID = errors.New("an image id")
)

// Error is why a registry did not answer a question. Its text is one line
// without secrets.
type Error struct {
	// Reference is what was asked about.
	Reference string
	// Host is the registry that was asked, with its port.
	Host string
	// Reason is one of the errors of this package.
	Reason error
	// Detail is what is known besides, as a clause; it can be empty.
	Detail string
	// RetryAt is when the host may be asked again, if it is known.
	RetryAt time.Time

	// ended is the error of a context that ended the wait.
	ended error
}

// texts say what each reason means and what to do; HOST is the host's name.
var texts = [...]struct {
	reason     error
	says, todo string
}{
	{ErrNotFound, "HOST has no such image", "check the name; it may have been deleted"},
	{ErrUnauthorized, "HOST refuses access", "check the name, or log in to HOST"},
	{ErrRateLimited, "HOST was asked too often", "try again later, or log in"},
	{ErrUnreachable, "no answer from HOST", "check the host's name and the network"},
	{ErrDigest, "HOST gave other bytes than the digest is of", "do not trust it, and tell those who run it"},
	{ErrNotImage, "HOST gave something that is no image", "check that it is a registry"},
	{ErrImageID, "an image id cannot be asked of a registry", "name the repository that the image is from"},
}

// Error says what was asked, what stands in the way and what to do.
func (e *Error) Error() string {
	says, todo := e.Reason.Error(), ""
	for _, t := range texts {
		if errors.Is(e.Reason, t.reason) {
			says, todo = strings.ReplaceAll(t.says, "HOST", e.Host), strings.ReplaceAll(t.todo, "HOST", e.Host)
		}
	}
	switch {
	case errors.Is(e.ended, context.Canceled):
		todo = ""
	case !e.RetryAt.IsZero():
		todo = "try again after " + e.RetryAt.UTC().Format(time.RFC3339)
	}
	s := "resolve " + e.Reference + ": " + says
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	if todo != "" {
		s += "; " + todo
	}
	return s
}

// Unwrap gives the reason, and the context's error where one ended the wait.
func (e *Error) Unwrap() []error {
	if e.ended == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.ended}
}

// question is what an error is about.
type question struct{ reference, host string }

func (q question) fail(reason error, detail string) *Error {
	return &Error{Reference: q.reference, Host: q.host, Reason: reason, Detail: detail}
}

// failed makes the error for a request that got no answer. Texts of other
// packages have URLs in them, and these can have signatures and tokens: only
// what is known to be harmless is passed on.
func (q question) failed(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		e := q.fail(r.reason, r.detail)
		if r.host != q.host {
			e.Host = r.host
		}
		e.RetryAt, e.ended = r.retryAt, r.ended
		return e
	}
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		// Of the service that gives out tokens.
		e := q.status(answer.StatusCode, nil, "its token service")
		if errors.Is(e, ErrNotFound) {
			e.Reason = ErrNotImage
		}
		return e
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return q.fail(ErrUnauthorized, "it wants a user and a password")
	}
	if k, ok := errors.AsType[*keychainError](err); ok {
		return q.fail(ErrUnauthorized, k.Error())
	}
	if strings.Contains(err.Error(), "bearer realm") { // the library has no error for it
		return q.fail(ErrUnauthorized, "it sends to a token service at an address that is not allowed")
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			e := q.fail(ErrUnreachable, "gave up waiting")
			e.ended = ended
			return e
		}
	}
	return q.fail(ErrUnreachable, harmless(err))
}

// harmless says what a network error is about, without its URLs.
func harmless(err error) string {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	var (
		dns *net.DNSError
		op  *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return "the name of the host is not known"
	case errors.As(err, &op):
		return quoted(op.Err.Error())
	}
	text := err.Error()
	if strings.Contains(text, "server gave HTTP response to HTTPS client") {
		return "it speaks plain HTTP, and was not named as a host that does"
	}
	if strings.Contains(text, "://") || strings.ContainsRune(text, '?') {
		return "the request failed"
	}
	return quoted(text)
}

// status makes the error for an answer that is not 200.
func (q question) status(code int, body []byte, who string) *Error {
	detail := "status " + strconv.Itoa(code)
	if who != "" {
		detail = who + " answered with " + detail
	}
	if said := message(body); said != "" {
		detail += ": " + said
	}
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return q.fail(ErrNotFound, detail)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return q.fail(ErrUnauthorized, detail)
	case code == http.StatusTooManyRequests:
		return q.fail(ErrRateLimited, detail)
	case code >= 500:
		return q.fail(ErrUnreachable, detail)
	}
	return q.fail(ErrNotImage, detail)
}

// message reads what a registry says of an error (OCI distribution spec 1.1,
// "Error Codes"). It is the registry's text, so it is quoted.
func message(body []byte) string {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	if first := answer.Errors[0]; first.Message != "" {
		return quoted(first.Message)
	} else if first.Code != "" {
		return quoted(first.Code)
	}
	return ""
}

// quoted is text from outside as one short line.
func quoted(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strconv.QuoteToASCII(s)
}

// refusal is why the wire did not bring a request to its answer.
type refusal struct {
	host    string
	reason  error
	detail  string
	retryAt time.Time
	ended   error
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %v (%s)", r.host, r.reason, r.detail) }
