package pushes

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// maxHook is the most that a webhook's body may have.
	maxHook = 1 << 20
	// hookTimeout is how long a body may take to arrive.
	hookTimeout = 30 * time.Second
)

// Receiver takes webhooks of registries. Fill it in before it serves.
//
// A sender proves itself with the token or with a signature. With neither set,
// everybody is heard, and what is said stays [Claimed]: anybody who reaches the
// endpoint can make up pushes. What came from a sender that proved itself is
// [Recorded], but for Docker Hub's, which signs nothing.
//
// Either way a push is a hint: see [Push.Confirmed].
type Receiver struct {
	// Kind is whose webhooks come; "" finds out, see [Parse].
	Kind Kind
	// Registry is the host that images are pulled from, such as
	// harbor.example:8443. Set it for a self-hosted registry: its messages
	// have what the pushing client called it.
	Registry string
	// Token is what senders prove themselves with: after Bearer or alone in
	// Authorization, as the password of Basic, or, for those that can only be
	// given an address (Docker Hub, Quay), as ?token= in it. An address gets
	// into the logs of proxies; a header is better.
	Token string
	// Secret is what GitHub signs with (X-Hub-Signature-256).
	Secret string
	// Sink takes what came. With its error the answer is 503, so that senders
	// who try again do so. It is called from many goroutines.
	Sink func(context.Context, []Push) error
	// Log gets what was refused or ignored; nil is none.
	Log *slog.Logger
}

// ServeHTTP takes one webhook. It answers 204 when the message was taken, 202
// when it is of a form that is not known, and an error's status otherwise.
// Messages of one event among several that cannot be read are taken, too: a
// registry would send them again for ever.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, log := req.Context(), r.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("remote", req.RemoteAddr)
	refuse := func(status int, why string) {
		log.WarnContext(ctx, "webhook refused", "status", status, "reason", why)
		http.Error(w, why, status)
	}
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, "send webhooks with POST")
		return
	}
	proven := r.Token != "" && r.tokenIn(req)
	if !proven && r.Token != "" && (r.Secret == "" || req.Header.Get(signatureHeader) == "") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tagwarden"`)
		refuse(http.StatusUnauthorized, "the token is missing or wrong")
		return
	}
	if !slices.Contains([]string{typeJSON, typeDistribution, typeDistribution2, typeCloudEvent, typeCloudEventList}, mediaType(req.Header)) {
		refuse(http.StatusUnsupportedMediaType, "send JSON: set the content type to application/json")
		return
	}
	// A server that has no such limits cannot be given one; then its own hold.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(hookTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxHook))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(http.StatusRequestEntityTooLarge, "the message is larger than 1 MiB")
		return
	} else if err != nil {
		refuse(http.StatusBadRequest, "the message did not arrive whole")
		return
	}
	if signature := req.Header.Get(signatureHeader); r.Secret != "" && (signature != "" || !proven) {
		if proven = signed(r.Secret, signature, body); !proven {
			refuse(http.StatusUnauthorized, "the signature is missing or wrong")
			return
		}
	}
	pushes, err := Parse(r.Kind, r.Registry, req.Header, body)
	switch {
	case errors.Is(err, ErrUnknown):
		log.InfoContext(ctx, "webhook ignored", "reason", err.Error())
		w.WriteHeader(http.StatusAccepted)
		return
	case errors.Is(err, errForm):
		refuse(http.StatusBadRequest, err.Error())
		return
	case err != nil:
		log.WarnContext(ctx, "webhook read in part", "reason", err.Error())
	}
	for i := range pushes {
		if proven && pushes[i].Source != sourceHubHook {
			pushes[i].Trust = Recorded
		}
	}
	if len(pushes) > 0 {
		if err := r.Sink(ctx, pushes); err != nil {
			log.ErrorContext(ctx, "pushes not kept", "pushes", len(pushes), "error", err.Error())
			http.Error(w, "the message could not be kept; send it again", http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

const signatureHeader = "X-Hub-Signature-256"

// tokenIn reports whether a request has the token.
func (r *Receiver) tokenIn(req *http.Request) bool {
	auth := req.Header.Get("Authorization")
	candidates := []string{auth, req.URL.Query().Get("token")}
	if scheme, rest, found := strings.Cut(auth, " "); found && strings.EqualFold(scheme, "Bearer") {
		candidates = append(candidates, strings.TrimSpace(rest))
	}
	if _, password, ok := req.BasicAuth(); ok {
		candidates = append(candidates, password)
	}
	found := false
	for _, c := range candidates {
		// Every one is looked at, so that the time tells nothing.
		found = equal(c, r.Token) || found
	}
	return found
}

// equal compares secrets in a time that depends on neither.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// signed reports whether a signature in GitHub's form is of the body:
// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries.
func signed(secret, signature string, body []byte) bool {
	digits, found := strings.CutPrefix(signature, "sha256=")
	got, err := hex.DecodeString(digits)
	if !found || err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}
