package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

func (w *writer) finding(ctx context.Context, r *history.Record) error {
	key, err := hex.DecodeString(r.Fingerprint())
	if err != nil {
		return err
	}
	body, err := json.Marshal(&r.Finding)
	if err != nil {
		return fmt.Errorf("encode finding %s: %w", r.ID, err)
	}
	s := r.Subject
	return w.exec(ctx, `INSERT INTO finding (fingerprint, delivered, time, id, cluster, namespace, workload, revision, container, pod, repository, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		key, int(r.Delivered), nanos(r.Time), string(r.ID), s.Cluster, s.Namespace, s.Workload, s.Revision, s.Container, s.Pod,
		repositoryOf(r.Image), string(body))
}

// delivery moves findings on to a state.
func (w *writer) delivery(ctx context.Context, state history.Delivery, fingerprints []string) error {
	for _, f := range fingerprints {
		key, err := hex.DecodeString(f)
		if err != nil {
			return fmt.Errorf("fingerprint %q: %w", f, err)
		}
		if err := w.exec(ctx, "UPDATE finding SET delivered = ?1 WHERE fingerprint = ?2 AND delivered < ?1", int(state), key); err != nil {
			return err
		}
	}
	return nil
}

// Findings returns the findings about what q selects, the newest first, and of
// these ids alone if there are any. The time is that of the finding; a pod is
// found by its name, and a digest wherever the finding names it.
func (s *Store) Findings(ctx context.Context, q history.Query, ids ...finding.ID) iter.Seq2[history.Record, error] {
	var c condition
	if !q.From.IsZero() {
		c.add("time >= ?", nanos(q.From))
	}
	if !q.To.IsZero() {
		c.add("time <= ?", nanos(q.To))
	}
	for _, is := range []struct{ term, value string }{
		{"cluster = ?", q.Cluster},
		{"namespace = ?", q.Namespace},
		{"container = ?", q.Container},
		{"pod = ?", q.Pod},
		{"repository = ?", q.Repository},
		{"instr(body, ?) > 0", q.Digest},
	} {
		if is.value != "" {
			c.add(is.term, is.value)
		}
	}
	if kind, name, ok := strings.Cut(q.Workload, "/"); ok {
		c.add("substr(workload, 1, instr(workload, '/') - 1) = ? COLLATE NOCASE", kind)
		c.add("substr(workload, instr(workload, '/') + 1) = ?", name)
	} else if q.Workload != "" {
		c.add("substr(workload, instr(workload, '/') + 1) = ?", q.Workload)
	}
	if len(ids) > 0 {
		args := make([]any, len(ids))
		for i, id := range ids {
			args[i] = string(id)
		}
		c.add("id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	}
	limit := -1
	if q.Limit > 0 {
		limit = q.Limit
	}
	return func(yield func(history.Record, error) bool) {
		rows, err := s.read.QueryContext(ctx, c.query(findingColumns, " ORDER BY time DESC, number DESC LIMIT ?"), append(c.args, limit)...)
		if err == nil {
			err = scanFindings(rows, func(r history.Record) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(history.Record{}, s.fail("read", err))
		}
	}
}

// Undelivered returns the findings that the sink may not have taken, waiting
// and sending ones, the oldest first.
func (s *Store) Undelivered(ctx context.Context) ([]history.Record, error) {
	rows, err := s.read.QueryContext(ctx, findingColumns+" WHERE delivered < 2 ORDER BY time, number")
	if err != nil {
		return nil, s.fail("read", err)
	}
	var all []history.Record
	err = scanFindings(rows, func(r history.Record) bool { all = append(all, r); return true })
	return all, s.fail("read", err)
}

const findingColumns = "SELECT body, delivered FROM finding"

// scanFindings reads rows, until yield returns false, and closes them.
func scanFindings(rows *sql.Rows, yield func(history.Record) bool) error {
	defer rows.Close()
	for rows.Next() {
		var r history.Record
		var body []byte
		if err := rows.Scan(&body, &r.Delivered); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &r.Finding); err != nil {
			return fmt.Errorf("a finding is not readable, see 'tagwarden store check': %w", err)
		}
		if !yield(r) {
			return nil
		}
	}
	return rows.Err()
}
