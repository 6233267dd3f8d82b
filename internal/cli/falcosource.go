package cli

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/source/falcoalert"
	"github.com/tagwarden/tagwarden/internal/source/replay"
)

// falcoSources are the sources of a Falco that runs already: files of alerts, and
// an address that alerts are sent to.
func (f *watchFlags) falcoSources(ctx context.Context, env Env, log *slog.Logger) ([]engine.Source, error) {
	if len(f.alerts) == 0 && f.falcoAddr == "" {
		return nil, usage("--source falco needs --falco-alerts FILE, or - for stdin, or --listen-falco ADDRESS")
	}
	starts := &falcoalert.Starts{Now: env.Now}
	var all []engine.Source
	for _, name := range f.alerts {
		open := func() (io.ReadCloser, error) { return os.Open(name) }
		called := name
		if name == "-" {
			open, called = func() (io.ReadCloser, error) { return interruptible(env.Stdin), nil }, "stdin"
		}
		all = append(all, replay.Of("falco alerts", called, starts.Event, open))
	}
	if f.falcoAddr == "" {
		return all, nil
	}
	token, err := readToken("--falco-token-file", f.falcoToken, "TAGWARDEN_FALCO_TOKEN")
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, "--listen-falco", f.falcoAddr, token)
	if err != nil {
		return nil, err
	}
	return append(all, &falcoListener{at: l, token: token, starts: starts, log: log}), nil
}

// falcoListener is the source of alerts that Falco or falcosidekick send.
type falcoListener struct {
	at     net.Listener
	token  string
	starts *falcoalert.Starts
	log    *slog.Logger
}

// String names the source for people.
func (l *falcoListener) String() string { return "falco alerts on " + l.at.Addr().String() }

// Watch emits a start for each container that an alert tells of.
func (l *falcoListener) Watch(ctx context.Context, emit func(event.Event)) error {
	var mu sync.Mutex
	return serve(ctx, l.at, &falcoalert.Receiver{Token: l.token, Sink: func(data []byte) error {
		e, err := l.starts.Event(data)
		if err != nil {
			l.log.WarnContext(ctx, "alert refused", "error", err)
			return err
		}
		if e != nil {
			mu.Lock()
			defer mu.Unlock()
			emit(e)
		}
		return nil
	}})
}
