// Package store keeps the history of what ran: in one SQLite file that any
// number of processes read and one writes.
//
// It holds intervals, not starts: a container that starts again and again, a
// deployment of a thousand pods and a year without a change take one row each.
// What runs is a table of its own, whose rows go when containers end, and until
// when it is known to have run is one number per cluster, the heartbeat.
//
// Findings are kept beside the history and written in the same transaction as
// the starts that raised them.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	// The driver registers itself under the name sqlite.
	_ "modernc.org/sqlite"
)

// schemas are the steps from an empty file to the newest schema: N.sql makes
// schema N of schema N-1. A step that was released is never changed.
//
//go:embed schema/*.sql
var schemas embed.FS

// schemaVersion is the newest schema, kept in SQLite's user_version.
const schemaVersion = 2

// applicationID marks a file as ours, in SQLite's application_id: "TgWd".
const applicationID = 0x54675764

// Options are how a store is opened.
type Options struct {
	// ReadOnly opens an existing store for reading alone. It may be read while
	// another process writes.
	ReadOnly bool
	// Log is told what an operator should know. It must be set unless ReadOnly
	// is.
	Log *slog.Logger
}

// Store is an open history store. Its methods may be called by several
// goroutines at a time.
type Store struct {
	// path is the file as the user named it, file where it really is: links
	// would give it other files beside it.
	path, file string
	log        *slog.Logger

	// read has as many connections as there are readers.
	read *sql.DB
	seen *sql.Stmt

	// mu guards all below: one write at a time.
	mu    sync.Mutex
	write *sql.DB
	w     *writer // nil when the store is read-only
	lock  io.Closer
}

// Open opens the store at path. Unless it is to be read only, the file is
// made where there is none, for its owner alone (mode 0600), and brought to the
// newest schema. A file with a newer schema than this program knows is an
// error, and is left as it is.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	s := &Store{path: path, log: opt.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	err := s.open(ctx, opt.ReadOnly)
	if err != nil {
		return nil, s.fail("open", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, readOnly bool) error {
	err := prepare(s.path, readOnly)
	if err != nil {
		return err
	}
	if s.file, err = filepath.EvalSymlinks(s.path); err != nil {
		return err
	}
	if s.file, err = filepath.Abs(s.file); err != nil {
		return err
	}
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	if s.read, err = sql.Open("sqlite", dsn(s.file, mode, "query_only(1)", cacheSize(8<<20))); err != nil {
		return err
	}
	s.read.SetMaxIdleConns(readers)
	if readOnly {
		if err := s.readable(ctx); err != nil {
			return err
		}
		s.seen, err = s.read.PrepareContext(ctx, seenQuery)
		return err
	}

	if s.write, err = sql.Open("sqlite", dsn(s.file, mode, cacheSize(64<<20))); err != nil {
		return err
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	s.w = newWriter(conn)
	if err := s.migrate(ctx, conn); err != nil {
		return err
	}
	s.seen, err = s.read.PrepareContext(ctx, seenQuery)
	return err
}

// readers is how many connections for reading are kept open.
const readers = 4

// readable finds out whether the store can be read as it is.
func (s *Store) readable(ctx context.Context) error {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	version, err := identify(ctx, conn)
	if err == nil && version < schemaVersion {
		err = fmt.Errorf("it has schema %d, which this version does not read; 'tagwarden watch' brings it to schema %d", version, schemaVersion)
	}
	return err
}

// prepare makes the file if it is missing, and finds what SQLite would say
// less clearly.
func prepare(path string, readOnly bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && readOnly:
		return errors.New("no such file; 'tagwarden watch' makes it")
	case errors.Is(err, fs.ErrNotExist):
		// SQLite gives the files beside it the same mode.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("no folder %s; make it first", filepath.Dir(path))
		case err != nil && !errors.Is(err, fs.ErrExist):
			return permission(err)
		case err != nil:
			return nil // Another process was faster.
		}
		return f.Close()
	case err != nil:
		return permission(err)
	case info.IsDir():
		return errors.New("it is a folder; name a file in it")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}

	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return permission(err)
	}
	defer f.Close()
	// https://www.sqlite.org/fileformat.html, "Magic Header String".
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	if n, err := io.ReadFull(f, head); n > 0 && (err != nil || string(head) != magic) || n == 0 && readOnly {
		return errNotStore
	}
	return nil
}

var errNotStore = errors.New("not a Tagwarden store; name another file")

// dsn names the database for the driver.
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + q.Encode()
}

// cacheSize bounds the memory for pages of one connection.
func cacheSize(bytes int) string { return "cache_size(-" + strconv.Itoa(bytes/1024) + ")" }

// identify returns the schema of the file, 0 for an empty one.
func identify(ctx context.Context, conn *sql.Conn) (version int, err error) {
	var application, tables int
	for _, q := range []struct {
		query string
		to    *int
	}{
		{"PRAGMA application_id", &application},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_schema", &tables},
	} {
		if err := conn.QueryRowContext(ctx, q.query).Scan(q.to); err != nil {
			return 0, err
		}
	}
	switch {
	case application != applicationID && (application != 0 || version != 0 || tables != 0):
		return 0, errNotStore
	case version > schemaVersion:
		return 0, fmt.Errorf("it has schema %d, and this version of tagwarden knows up to %d; use the newer version that wrote it", version, schemaVersion)
	}
	return version, nil
}

// migrate sets the connection up for writing and brings the schema up to date.
func (s *Store) migrate(ctx context.Context, conn *sql.Conn) (err error) {
	if _, err := identify(ctx, conn); err != nil {
		return err
	}
	// A write that returned is on the disk, so that it outlives the process
	// and a loss of power: WAL keeps the first promise by itself, FULL syncs
	// for the second. On macOS a sync reaches the disk only as a full one.
	// A log of 32 MB is moved into the file at once: in small pieces that is
	// half of the work.
	const walPages, walBytes = "wal_autocheckpoint(8192)", "journal_size_limit(67108864)"
	for _, pragma := range []string{"journal_mode(WAL)", "synchronous(FULL)", "fullfsync(1)", walPages, walBytes} {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	// Another process may have been faster.
	version, err := identify(ctx, conn)
	if err != nil {
		return err
	}
	from := version
	for version < schemaVersion {
		version++
		step, err := schemas.ReadFile("schema/" + strconv.Itoa(version) + ".sql")
		if err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, string(step)); err != nil {
			return fmt.Errorf("bring to schema %d: %w", version, err)
		}
	}
	if from != version {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id(%d); PRAGMA user_version(%d)", applicationID, version)); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "store made or brought up to date", "path", s.path, "from_schema", from, "schema", version)
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}

// Close lets go of the file and the lock. Iterators must have ended before.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.w != nil {
		errs = append(errs, s.w.close())
		s.w = nil
	}
	if s.seen != nil {
		errs = append(errs, s.seen.Close())
	}
	// The writer goes last: the last connection to close moves the log into
	// the file, and only the writer may.
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

var errReadOnly = errors.New("it is open for reading alone")

// change runs f in a transaction and commits it.
func (s *Store) change(ctx context.Context, doing string, f func(context.Context, *writer) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		return s.fail(doing, errReadOnly)
	}
	return s.fail(doing, s.w.transact(ctx, f))
}
