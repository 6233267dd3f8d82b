// Package replay is the source that reads events from a recording:
// JSON lines as "tagwarden watch -o events" writes them, or others that can be
// read as events.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/lines"
)

// maxErrors is how many bad lines are told one by one.
const maxErrors = 20

// Source reads one recording.
type Source struct {
	name string
	open func() (io.ReadCloser, error)
	pace float64
	// kind is what the recording is of, parse reads a line of it.
	kind  string
	parse func([]byte) (event.Event, error)
}

// New makes a source that reads what open gives. name is how messages call
// the recording. pace is how fast the time of the recording passes: 1 is as
// recorded, 2 twice as fast, 0 without any pause.
func New(name string, pace float64, open func() (io.ReadCloser, error)) *Source {
	return &Source{name: name, open: open, pace: pace, kind: "replay", parse: event.Parse}
}

// Of makes a source of lines of another kind, which parse reads. A line of which
// it makes neither an event nor an error is passed over.
func Of(kind, name string, parse func([]byte) (event.Event, error), open func() (io.ReadCloser, error)) *Source {
	return &Source{name: name, open: open, kind: kind, parse: parse}
}

// String names the source for people.
func (s *Source) String() string { return s.kind + " " + s.name }

// LineError is a line of a recording that is no event.
type LineError struct {
	Name string // of the recording
	Line int    // counted from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.Name, e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

// Watch emits the events of the recording in its order. A line that cannot be
// read does not stop it: all good lines are emitted, and the errors of the
// others come back together, each as a [LineError], the first 20 of them.
func (s *Source) Watch(ctx context.Context, emit func(event.Event)) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	defer r.Close()
	// A read of a terminal or a pipe ends only when it is closed.
	defer context.AfterFunc(ctx, func() { r.Close() })()

	var bad []error
	skipped := 0
	var last time.Time
	for line := range lines.All(r) {
		ev, err := event.Event(nil), line.Err
		if err == nil {
			ev, err = s.parse(line.Text)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && len(bad) == maxErrors:
			skipped++
			continue
		case err != nil:
			bad = append(bad, &LineError{s.name, line.Number, err})
			continue
		case ev == nil:
			continue
		case !s.wait(ctx, last, ev.At()):
			return nil
		}
		last = ev.At()
		emit(ev)
	}
	if skipped > 0 {
		bad = append(bad, fmt.Errorf("%s: %d more lines could not be read", s.name, skipped))
	}
	return errors.Join(bad...)
}

// wait lets the time between two events pass; it is false when ctx ended.
func (s *Source) wait(ctx context.Context, last, next time.Time) bool {
	if s.pace <= 0 || last.IsZero() || !next.After(last) {
		return ctx.Err() == nil
	}
	t := time.NewTimer(time.Duration(float64(next.Sub(last)) / s.pace))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
