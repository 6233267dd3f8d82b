package store

import (
	"errors"
	"fmt"
	"io/fs"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fail says which store could not do what, why, and what to do.
func (s *Store) fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s store %s: %w", doing, s.path, explain(err))
}

// hinted is an error of SQLite in words that say what to do.
type hinted struct {
	text string
	err  error
}

func (h *hinted) Error() string { return h.text }
func (h *hinted) Unwrap() error { return h.err }

var errDamaged = errors.New("the file is damaged; put back a copy of it, or move it away to begin anew")

// explain puts the errors of SQLite that an operator can do something about in
// words (https://www.sqlite.org/rescode.html).
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	var text string
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		text = "the disk is full; free space on it, nothing is lost of what was written before"
	case sqlite3.SQLITE_BUSY:
		text = "another process has been writing to it for too long; let that end and try again"
	case sqlite3.SQLITE_CORRUPT:
		return &hinted{errDamaged.Error(), errors.Join(errDamaged, err)}
	case sqlite3.SQLITE_NOTADB:
		return errNotStore
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		text = "the file or its folder cannot be written to; give this user the right, or mount it for writing"
	case sqlite3.SQLITE_CANTOPEN:
		text = "cannot open the file or those beside it (-wal, -shm); this user needs the right to write to the folder"
	case sqlite3.SQLITE_IOERR:
		text = "the disk reports an error (" + e.Error() + "); look into the system's log"
	default:
		return err
	}
	return &hinted{text, err}
}

func permission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &hinted{"permission denied; it is readable for its owner alone, run as that user", err}
	}
	return err
}
