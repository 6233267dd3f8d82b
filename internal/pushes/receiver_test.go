package pushes_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/pushes"
)

func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	const token, secret = "token-0123456789", "secret-0123456789"
	harbor, github, hub := sample(t, "harbor.json"), sample(t, "github.json"), sample(t, "dockerhub.json")
	octo := func(signature string) []string {
		return []string{"X-GitHub-Event", "registry_package", "X-Hub-Signature-256", signature}
	}
	both := pushes.Receiver{Token: token, Secret: secret}
	onlyToken, onlySecret := pushes.Receiver{Token: token}, pushes.Receiver{Secret: secret}
	for _, test := range []struct {
		name     string
		receiver pushes.Receiver
		method   string // POST
		query    string
		header   []string
		body     []byte
		status   int
		trust    pushes.Trust // of the one push, where the status is 204
		pushes   int
	}{
		{name: "open to everybody", body: harbor, status: 204, pushes: 1, trust: pushes.Claimed},
		{name: "open, with a token that means nothing", header: []string{"Authorization", "Bearer x"}, body: harbor, status: 204, pushes: 1, trust: pushes.Claimed},
		{name: "a token after Bearer", receiver: onlyToken, header: []string{"Authorization", "Bearer " + token}, body: harbor, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "a token alone, as Harbor sends it", receiver: onlyToken, header: []string{"Authorization", token}, body: harbor, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "a token as a password", receiver: onlyToken, header: []string{"Authorization", "Basic em90OnRva2VuLTAxMjM0NTY3ODk="}, body: harbor, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "a token in the address", receiver: onlyToken, query: "?token=" + token, body: harbor, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "docker hub signs nothing", receiver: onlyToken, query: "?token=" + token, body: hub, status: 204, pushes: 1, trust: pushes.Claimed},
		{name: "no token", receiver: onlyToken, body: harbor, status: 401},
		{name: "an empty token", receiver: onlyToken, query: "?token=", header: []string{"Authorization", "Bearer "}, body: harbor, status: 401},
		{name: "a wrong token", receiver: onlyToken, header: []string{"Authorization", "Bearer token-012345678"}, body: harbor, status: 401},
		{name: "a longer token", receiver: onlyToken, header: []string{"Authorization", "Bearer " + token + "0"}, body: harbor, status: 401},
		{name: "a signature instead of the token", receiver: onlyToken, header: octo(signature(token, github)), body: github, status: 401},
		{name: "signed", receiver: onlySecret, header: octo(signature(secret, github)), body: github, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "signed, beside a token for others", receiver: both, header: octo(signature(secret, github)), body: github, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "a token, beside a secret for others", receiver: both, header: []string{"Authorization", token}, body: harbor, status: 204, pushes: 1, trust: pushes.Recorded},
		{name: "not signed", receiver: onlySecret, body: github, status: 401},
		{name: "signed with another secret", receiver: onlySecret, header: octo(signature("secret", github)), body: github, status: 401},
		{name: "signed, and changed", receiver: onlySecret, header: octo(signature(secret, github)), body: bytes.ReplaceAll(github, []byte("1.4"), []byte("1.5")), status: 401},
		{name: "signed with sha1", receiver: onlySecret, header: octo("sha1=00"), body: github, status: 401},
		{name: "signed with no digits", receiver: onlySecret, header: octo("sha256=xyz"), body: github, status: 401},
		{name: "signed with nothing", receiver: onlySecret, header: octo("sha256="), body: github, status: 401},
		{name: "a token with a wrong signature", receiver: both, header: append(octo("sha256=00"), "Authorization", token), body: github, status: 401},
		{name: "neither of both", receiver: both, body: github, status: 401},
		{name: "GET", method: http.MethodGet, body: harbor, status: 405},
		{name: "a form", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, body: []byte("payload={}"), status: 415},
		{name: "no type", header: []string{"Content-Type", ""}, body: harbor, status: 415},
		{name: "a type that is none", header: []string{"Content-Type", "application/json; ;"}, body: harbor, status: 415},
		{name: "too large", body: bytes.Repeat([]byte(" "), 1<<20+1), status: 413},
		{name: "the largest", body: append(bytes.Repeat([]byte(" "), 1<<20-len(harbor)), harbor...), status: 204, pushes: 1},
		{name: "an event that is no push", body: sample(t, "harbor-scan.json"), status: 204},
		{name: "a form that is not known", body: []byte(`{"hello":"world"}`), status: 202},
		{name: "no JSON", receiver: pushes.Receiver{Kind: pushes.Harbor}, body: []byte(`{`), status: 400},
		{
			name:   "a bad event that a registry would send for ever",
			header: []string{"Content-Type", "application/vnd.docker.distribution.events.v1+json"},
			body:   []byte(`{"events":[{"action":"push","target":{"repository":"App","tag":"1"},"request":{"host":"r.example"}}]}`), status: 204,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []pushes.Push
			var log bytes.Buffer
			r := test.receiver
			r.Log = slog.New(slog.NewTextHandler(&log, nil))
			r.Sink = func(_ context.Context, p []pushes.Push) error { got = p; return nil }
			method := test.method
			if method == "" {
				method = http.MethodPost
			}
			req := httptest.NewRequest(method, "/webhooks"+test.query, bytes.NewReader(test.body))
			req.Header = headers(append([]string{"Content-Type", "application/json"}, test.header...)...)
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if w.Code != test.status {
				t.Errorf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			if len(got) != test.pushes {
				t.Fatalf("%d pushes, want %d: %v", len(got), test.pushes, got)
			}
			if len(got) > 0 && (got[0].Trust != test.trust || got[0].Confirmed) {
				t.Errorf("trust %v and confirmed %t, want %v and false", got[0].Trust, got[0].Confirmed, test.trust)
			}
			if said := log.String() + w.Body.String(); strings.Contains(said, token) || strings.Contains(said, secret) {
				t.Errorf("a secret was told: %s", said)
			}
			if test.status >= 400 && log.Len() == 0 {
				t.Error("refused, and nothing was logged")
			}
		})
	}
}

// A sender is told to try again when the pushes could not be kept.
func TestReceiverSinkFails(t *testing.T) {
	t.Parallel()
	r := pushes.Receiver{Sink: func(context.Context, []pushes.Push) error { return errors.New("disk full at /var/lib") }}
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(sample(t, "harbor.json")))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "/var/lib") {
		t.Errorf("status %d, %q; want 503 without the reason", w.Code, w.Body)
	}
}
