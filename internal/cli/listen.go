package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/pushes"
)

const (
	// listenRate is how many messages a second are taken, and listenBurst how
	// many at once; the sender of one too many is told to come again.
	listenRate, listenBurst = 50, 200
	// pushQueue is how many pushes wait to be confirmed, confirmers how many
	// registries are asked at a time, and confirmTimeout how long each may take.
	pushQueue, confirmers, confirmTimeout = 1000, 4, 10 * time.Second
	// closeTimeout is how long those who send may take to end.
	closeTimeout = 5 * time.Second
)

// listen opens an address for messages from outside. Beyond this machine it
// must be known who sends.
func listen(ctx context.Context, flag, addr, token string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usage("%s %s: want HOST:PORT, such as 127.0.0.1:2801", flag, addr)
	}
	if ip := net.ParseIP(host); token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, usage("%s %s: whoever reaches it could make things up; set a token, or listen on 127.0.0.1", flag, addr)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

// readToken is the token of a file, or of the environment.
func readToken(flag, file, variable string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s %s: the file is empty", flag, file)
	}
	return token, nil
}

// serve answers at l until ctx ends, with limits for everything outside.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	limit := rate.NewLimiter(listenRate, listenBurst)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !limit.Allow() {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "too many messages; try again later", http.StatusTooManyRequests)
				return
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("listen on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := server.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// hooks is the source of what registries tell by webhooks.
type hooks struct {
	at    net.Listener
	token string
	log   *slog.Logger
	// resolve asks a registry where a tag leads; nil asks nobody.
	resolve func(context.Context, image.Reference) (image.Digest, error)
	now     func() time.Time
}

// String names the source for people.
func (h *hooks) String() string { return "pushes on " + h.at.Addr().String() }

var errBusy = errors.New("too many pushes wait to be confirmed")

// Watch emits a push for each that a registry tells of, after the registry has
// been asked whether it is so. It answers POST / for registries that name
// themselves, and POST /HOST for one that does not know what it is called.
func (h *hooks) Watch(ctx context.Context, emit func(event.Event)) error {
	queue := make(chan pushes.Push, pushQueue)
	sink := func(_ context.Context, told []pushes.Push) error {
		for _, p := range told {
			select {
			case queue <- p:
			default:
				return errBusy
			}
		}
		return nil
	}
	var mu sync.Mutex // emit takes one call after the other.
	var working sync.WaitGroup
	for range confirmers {
		working.Go(func() {
			for p := range queue {
				e := h.confirm(ctx, p)
				mu.Lock()
				emit(e)
				mu.Unlock()
			}
		})
	}
	err := serve(ctx, h.at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.Trim(r.URL.Path, "/")
		if host != "" {
			ref, err := image.Parse(host + "/x")
			if err != nil || ref.Registry() != host {
				http.Error(w, "the path is to be empty, or the host that images are pulled from", http.StatusNotFound)
				return
			}
		}
		(&pushes.Receiver{Registry: host, Token: h.token, Secret: h.token, Sink: sink, Log: h.log}).ServeHTTP(w, r)
	}))
	close(queue)
	working.Wait()
	return err
}

// confirmAgain is when a registry that does not agree is asked again: CNCF
// Distribution tells of a push before the tag leads to it.
var confirmAgain = []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second}

// confirm asks the registry, and makes the event.
func (h *hooks) confirm(ctx context.Context, p pushes.Push) *event.Push {
	now := h.now().UTC()
	for try := 0; h.resolve != nil && ctx.Err() == nil; try++ {
		asking, cancel := context.WithTimeout(ctx, confirmTimeout)
		confirmed, err := pushes.Confirm(asking, p, h.resolve)
		cancel()
		if confirmed.Confirmed {
			p = confirmed
			break
		}
		if try == len(confirmAgain) {
			h.log.WarnContext(ctx, "push not confirmed", "repository", p.Repository, "tag", p.Tag, "error", err)
			break
		}
		pause := time.NewTimer(confirmAgain[try])
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	e := pushEvent(p)
	e.Time, e.Source = now, "registries"
	return e
}

// pushEvent is what a registry said as an event.
func pushEvent(p pushes.Push) *event.Push {
	return &event.Push{
		Repository: p.Repository, Tag: p.Tag, Digest: string(p.Digest), Pushed: p.At, OfDigest: p.OfDigest, By: p.By, Addr: p.Addr,
		UserAgent: p.UserAgent, Told: p.Source, Trust: cmp.Or(p.Trust.String(), pushes.Claimed.String()), Confirmed: p.Confirmed,
	}
}
