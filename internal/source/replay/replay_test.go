package replay_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/source/replay"
)

func source(pace float64, text string) *replay.Source {
	return replay.New("rec.jsonl", pace, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
}

const (
	a = `{"schema":"tagwarden.event/v1","type":"container_start","time":"2026-11-23T12:00:00Z","container":{"id":"a"}}` + "\n"
	b = `{"schema":"tagwarden.event/v1","type":"container_end","time":"2026-11-23T12:00:10Z","container":{"id":"b"}}` + "\n"
)

func id(e event.Event) string {
	switch e := e.(type) {
	case *event.Start:
		return e.ContainerID
	case *event.End:
		return e.ContainerID
	}
	return "?"
}

func ids(t *testing.T, s *replay.Source) (string, error) {
	t.Helper()
	got := ""
	err := s.Watch(t.Context(), func(e event.Event) { got += id(e) })
	return got, err
}

func TestBadLinesDoNotStopIt(t *testing.T) {
	t.Parallel()
	got, err := ids(t, source(0, a+"nonsense\n\n"+strings.Repeat("x", 2<<20)+"\n"+b))
	var bad *replay.LineError
	if got != "ab" || !errors.As(err, &bad) || bad.Line != 2 || !strings.Contains(err.Error(), "rec.jsonl:4: line longer than") {
		t.Errorf("got %q and error %v, want ab and errors for lines 2 and 4", got, err)
	}
	_, err = ids(t, source(0, strings.Repeat("nonsense\n", 1000)))
	if n := strings.Count(err.Error(), "\n"); n != 20 || !strings.Contains(err.Error(), "980 more lines") {
		t.Errorf("got %d lines of errors: %v", n+1, err)
	}
}

func TestFileThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	missing := errors.New("no such file")
	s := replay.New("x", 0, func() (io.ReadCloser, error) { return nil, missing })
	if _, err := ids(t, s); !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if got, err := ids(t, source(2, a+b)); got != "ab" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("ten seconds at double speed took %v, want 5s", took)
		}
	})
}

func TestEndOfContextEndsAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := ""
		if err := source(1, a+b).Watch(ctx, func(e event.Event) { got += id(e) }); err != nil || got != "a" {
			t.Errorf("got %q, %v, want a and no error", got, err)
		}
	})
}
