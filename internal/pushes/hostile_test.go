package pushes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
)

// refs has a reference for each kind, with a credential that is sent.
var refs = map[pushes.Kind]struct {
	ref  string
	cred pushes.Credential
}{
	pushes.DockerHub: {ref: "acme/api:1.4"},
	pushes.GitHub:    {"ghcr.io/octo/api:1.4", token},
	pushes.GitLab:    {"registry.gitlab.com/group/app:1.4", token},
	pushes.Harbor:    {"harbor.example/shop/api:1.4", user},
	pushes.Quay:      {"quay.io/shop/api:1.4", token},
	pushes.ECR:       {ecrRef, user},
	pushes.Google:    {"us-docker.pkg.dev/p/r/i:1.4", token},
	pushes.Azure:     {"shop.azurecr.io/api:1.4", user},
}

func TestHostile(t *testing.T) {
	t.Parallel()
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "hidden text of the other side")
		}
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		is      error
		want    string
	}{
		{name: "429 until a date", handler: status(429, "Retry-After", soon.Format(http.TimeFormat)), is: pushes.ErrRateLimited, want: "asked to wait until " + soon.Format(time.RFC3339)},
		{name: "429 without a time", handler: status(429), is: pushes.ErrRateLimited, want: "was asked too often (status 429); try again later"},
		{name: "429 for ever", handler: status(429, "Retry-After", "99999999999999"), is: pushes.ErrRateLimited, want: "asked to wait until 20"},
		{name: "429 with nonsense", handler: status(429, "Retry-After", "-5 soon"), is: pushes.ErrRateLimited, want: "try again later"},
		{name: "403 with a budget used up", handler: status(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(soon.Unix())), is: pushes.ErrRateLimited, want: "asked to wait until " + soon.Format(time.RFC3339)},
		{name: "403", handler: status(403, "X-RateLimit-Remaining", "7"), is: pushes.ErrUnauthorized, want: "refuses access (status 403); this needs a"},
		{name: "401", handler: status(401), is: pushes.ErrUnauthorized, want: "refuses access (status 401); this needs a"},
		{name: "404", handler: status(404), is: pushes.ErrNotFound, want: "; if it is not public, this needs a"},
		{name: "500", handler: status(500), is: pushes.ErrUnreachable, want: "status 500"},
		{name: "503 with a time", handler: status(503, "Retry-After", "60"), is: pushes.ErrRateLimited, want: "asked to wait until"},
		{name: "418", handler: status(418), is: pushes.ErrAnswer, want: "status 418"},
		{name: "204", handler: status(204), is: pushes.ErrAnswer, want: "status 204"},
		{name: "a web page", handler: answer("text/html", "<html>hidden</html>"), is: pushes.ErrAnswer, want: "no JSON"},
		{name: "JSON in name only", handler: answer("application/json", "{\"digest\":"), is: pushes.ErrAnswer, want: "no JSON"},
		{name: "another JSON", handler: answer("application/json", `"hidden"`), is: pushes.ErrAnswer, want: "no JSON"},
		{name: "numbers where texts are", handler: answer("application/json", `{"digest":7,"tags":7,"tag":7,"imageDetails":7,"access_token":7,"version":7}`), is: pushes.ErrAnswer, want: "no JSON"},
		{name: "10 GB of zeros", handler: zeros(200), is: pushes.ErrAnswer, want: "larger than 4 MiB"},
		{name: "10 GB of zeros in an error", handler: zeros(500), is: pushes.ErrUnreachable, want: "status 500"},
		{name: "a redirect to itself", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.RequestURI(), http.StatusTemporaryRedirect)
		}, is: pushes.ErrAnswer, want: "without an end"},
		{name: "a redirect to another host", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/?hidden", http.StatusTemporaryRedirect)
		}, is: pushes.ErrAnswer, want: "to another host"},
		{name: "a closed connection", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, is: pushes.ErrUnreachable, want: "no answer from"},
		{name: "an answer that is no HTTP, with what it was given", handler: func(w http.ResponseWriter, r *http.Request) {
			conn, buffer, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(buffer, "HTTP/1.1 200 OK\r\nhidden\x00%s\r\n\r\n", r.Header.Get("Authorization"))
			buffer.Flush()
		}, is: pushes.ErrUnreachable, want: "the request failed"},
		{name: "half an answer", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{}")
		}, is: pushes.ErrUnreachable, want: "no answer from"},
	} {
		for kind, asked := range refs {
			t.Run(test.name+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(test.handler)
				t.Cleanup(server.Close)
				s, ref := source(t, asked.ref, server.URL, kind, asked.cred)
				got, err := s.Pushes(t.Context(), ref)
				checkError(t, err, test.want)
				if !errors.Is(err, test.is) {
					t.Errorf("error %v is not %v", err, test.is)
				}
				if len(got) != 0 {
					t.Errorf("got %v", got)
				}
				if e, ok := errors.AsType[*pushes.Error](err); ok && e.RetryAt.After(time.Now().Add(25*time.Hour)) {
					t.Errorf("believed that it must wait until %s", e.RetryAt)
				}
			})
		}
	}
	t.Cleanup(func() {
		if n := elsewhere.Load(); n != 0 {
			t.Errorf("another host was asked %d times", n)
		}
	})
}

func answer(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// zeros sends without an end, as far as it is read.
func zeros(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		chunk := make([]byte, 64<<10)
		for range 10 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// Whoever gives no answer is waited for as long as the context says.
func TestHangs(t *testing.T) {
	t.Parallel()
	for kind, asked := range refs {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{}, 1)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
				reached <- struct{}{}
				<-r.Context().Done()
			}))
			t.Cleanup(server.Close)
			s, ref := source(t, asked.ref, server.URL, kind, asked.cred)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-reached; cancel() }()
			_, err := s.Pushes(ctx, ref)
			if !errors.Is(err, context.Canceled) || !errors.Is(err, pushes.ErrUnreachable) {
				t.Errorf("cancelled: %v", err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err = s.Pushes(ctx, ref)
			checkError(t, err, "gave up waiting")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("out of time: %v", err)
			}
		})
	}
}

// A list that always has a next page is left after some pages, with what it had.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	const limit = 20
	for _, test := range []struct {
		kind    pushes.Kind
		answer  string
		writers bool
		want    string
	}{
		{kind: pushes.GitHub, answer: page100(`{"name":"` + digest2 + `"}`), want: "list of versions has more than 20 pages"},
		{kind: pushes.GitLab, answer: page100(`{"path":"x"}`), want: "list of repositories has more than 20 pages"},
		{kind: pushes.Quay, answer: `{"has_additional":true,"tags":[{"name":"1.4","start_ts":1795162530,"manifest_digest":"` + digest1 + `"}],"next_page":"again","logs":[]}`, want: "list of log entries of 2026-11-20 has more than 20 pages"},
		{kind: pushes.Harbor, writers: true, answer: page100(`{"entity_name":"alice","role_name":"developer"}`), want: "list of members has more than 20 pages"},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				_, _ = io.WriteString(w, test.answer)
			}))
			t.Cleanup(server.Close)
			asked := refs[test.kind]
			s, ref := source(t, asked.ref, server.URL, test.kind, asked.cred)
			var err error
			if test.writers {
				var got []pushes.Writer
				if got, err = s.Writers(t.Context(), ref); len(got) != 1 {
					t.Errorf("got %v, want alice once", got)
				}
			} else {
				_, err = s.Pushes(t.Context(), ref)
			}
			checkError(t, err, test.want)
			if n := requests.Load(); n > 2*limit {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A credential is never shown: not when it is printed, and not when finding it
// fails.
func TestCredentialsStayHidden(t *testing.T) {
	t.Parallel()
	c := pushes.Credential{Username: "hidden", Password: "hidden", Token: "hidden"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credential", c)
	if s := fmt.Sprintf("%v %+v %#v %s", c, c, c, c) + log.String(); strings.Contains(s, "hidden") {
		t.Errorf("shown: %s", s)
	}
	ref, err := image.Parse("ghcr.io/octo/api:1.4")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := pushes.For(ref, pushes.Config{Credentials: func(context.Context, string, string) (pushes.Credential, error) {
		return pushes.Credential{}, errors.New("no such file\nas config.json")
	}})
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, `its credential could not be read: "no such file\nas config.json"`)
}
