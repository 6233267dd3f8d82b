package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// A writer is the one connection that writes, with its prepared statements and
// what it remembers of the tables of names.
type writer struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt

	position
	// perGeneration is endedGeneration, less in tests.
	perGeneration int64
	// version changes when another process has written: then what is
	// remembered may be gone.
	version int64
	names
}

// position is where this process stands; a transaction that fails sets it back.
type position struct {
	// session is the number of this process among those that wrote; 0 before
	// its first write.
	session int64
	// generation is that of the ended containers, ended how often it was written
	// to.
	generation, ended int64
}

func newWriter(conn *sql.Conn) *writer {
	return &writer{conn: conn, stmts: map[string]*sql.Stmt{}, perGeneration: endedGeneration}
}

func (w *writer) close() error {
	var errs []error
	for _, stmt := range w.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// transact runs f in a transaction. ctx is looked at before, not within: the
// driver would watch it in a goroutine per statement, and a batch is short.
func (w *writer) transact(ctx context.Context, f func(context.Context, *writer) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	before := w.position
	defer func() {
		if err == nil {
			return
		}
		// What was remembered since BEGIN may be gone with it.
		w.names, w.position = names{}, before
		_ = w.exec(ctx, "ROLLBACK") // Fails where SQLite has done it already.
	}()
	version := w.version
	if err := w.row(ctx, "PRAGMA data_version").Scan(&w.version); err != nil {
		return err
	}
	if version != w.version {
		w.names = names{}
	}
	if err := f(ctx, w); err != nil {
		return err
	}
	return w.exec(ctx, "COMMIT")
}

// begin gives this process its session, once.
func (w *writer) begin(ctx context.Context, now time.Time) error {
	if w.session != 0 {
		return nil
	}
	err := w.row(ctx, "SELECT coalesce(max(generation), 1), count(*) FROM ended WHERE generation = (SELECT max(generation) FROM ended)").
		Scan(&w.generation, &w.ended)
	if err != nil {
		return err
	}
	return w.row(ctx, "INSERT INTO session (opened) VALUES (?) RETURNING id", nanos(now)).Scan(&w.session)
}

// exec runs a statement that returns nothing; row one that returns a row at
// most. The statements are constants, and each is prepared once.
func (w *writer) exec(ctx context.Context, query string, args ...any) error {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx, args...)
	return err
}

func (w *writer) row(ctx context.Context, query string, args ...any) scanner {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return failed{err}
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (w *writer) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt := w.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = stmt
	return stmt, nil
}

// scanner is a row, or why there is none.
type scanner interface{ Scan(dest ...any) error }

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }
