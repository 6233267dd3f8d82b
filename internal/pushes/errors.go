package pushes

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// What stands in the way of an answer. Ask with [errors.Is].
var (
	// ErrUnsupported means that the registry has no way to ask this, or none
	// for this kind of reference.
	ErrUnsupported = errors.New("the registry does not tell")
	// ErrNotFound means that the registry has no such repository or tag. Some
	// say so of what they do not show to whoever asks.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized means that the API wants other credentials;
	// [Error.Needs] says which.
	ErrUnauthorized = errors.New("not authorized")
	// ErrRateLimited means that the API was asked too often; [Error.RetryAt]
	// says when it may be asked again.
	ErrRateLimited = errors.New("asked too often")
	// ErrUnreachable means that there was no answer, or none in time, or one
	// that says that the API is broken.
	ErrUnreachable = errors.New("no answer")
	// ErrAnswer means that the answer is not what the API is documented to
	// give, or too much.
	ErrAnswer = errors.New("an answer that cannot be used")
	// ErrUnknown means that a webhook's body has none of the forms that
	// [Parse] knows.
	ErrUnknown = errors.New("a form that is not known")
)

// Error is why a registry did not answer a question, or not the whole of it.
// Its text is one line, without secrets and without text of the registry.
type Error struct {
	// Asked is the question: "pushes of docker.io/library/nginx:1.25".
	Asked string
	// Host is the API that was asked, with its port.
	Host string
	// Reason is one of the errors of this package.
	Reason error
	// Detail is what is known besides, as a clause; it can be empty.
	Detail string
	// Needs is what a credential must be for this to work; it can be empty.
	Needs string
	// RetryAt is when the API may be asked again, if it is known.
	RetryAt time.Time

	// ended is the error of a context that ended the wait.
	ended error
}

// Error says what was asked, what stands in the way and what to do.
func (e *Error) Error() string {
	says, todo := e.Reason.Error(), ""
	switch {
	case errors.Is(e.Reason, ErrUnsupported):
		says = e.Host + " does not tell"
	case errors.Is(e.Reason, ErrNotFound):
		says, todo = e.Host+" has no such thing", "check the name"
		if e.Needs != "" {
			todo += "; if it is not public, this needs " + e.Needs
		}
	case errors.Is(e.Reason, ErrUnauthorized):
		says, todo = e.Host+" refuses access", "this needs "+e.Needs
	case errors.Is(e.Reason, ErrRateLimited):
		says, todo = e.Host+" was asked too often", "try again later"
		if !e.RetryAt.IsZero() {
			says, todo = e.Host+" asked to wait until "+e.RetryAt.UTC().Format(time.RFC3339), "try again then"
		}
	case errors.Is(e.Reason, ErrUnreachable):
		says, todo = "no answer from "+e.Host, "check the host's name and the network"
		if errors.Is(e.ended, context.Canceled) {
			todo = ""
		}
	case errors.Is(e.Reason, ErrAnswer):
		says, todo = e.Host+" gave an answer that cannot be used", "check that it is the API of this kind of registry"
	}
	s := e.Asked + ": " + says
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

// harmless says what a network error is about. Only texts that are known to be
// harmless are passed on: others quote addresses, which can have signatures, or
// what the other side sent, which can be the credential that it was given.
func harmless(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name of the host is not known"
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return quoted(cert.Err.Error())
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return quoted(op.Err.Error())
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks plain HTTP; name its address with http:// if that is meant"
	}
	return "the request failed"
}

// quoted is text from outside as one short line.
func quoted(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strconv.QuoteToASCII(s)
}
