package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Lock makes this process the one that watches into the store, until Close or
// its end, however it ends. If another process is, the error says which. The
// file PATH.lock stays; only the lock on it counts. Reading, and a change that
// a person makes, need no lock.
func (s *Store) Lock() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.w == nil:
		return s.fail("lock", errReadOnly)
	case s.lock != nil:
		return nil
	}
	f, err := os.OpenFile(s.file+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s.fail("lock", permission(err))
	}
	if err := lockFile(f); err != nil {
		holder := whoHolds(f)
		_ = f.Close()
		if errors.Is(err, errHeld) {
			err = fmt.Errorf("%s writes to it already; end that, or name another file", holder)
		}
		return s.fail("lock", err)
	}
	if err := sign(f); err != nil {
		_ = f.Close()
		return s.fail("lock", err)
	}
	s.lock = f
	return nil
}

var errHeld = errors.New("held by another process")

// sign writes into the lock file who holds it.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "process %d on %s\n", os.Getpid(), host), 0)
	return err
}

func whoHolds(f *os.File) string {
	const longest = 300
	text, err := io.ReadAll(io.NewSectionReader(f, 0, longest))
	if name, _, ok := strings.Cut(string(text), "\n"); err == nil && ok && name != "" {
		return name
	}
	return "another process"
}
