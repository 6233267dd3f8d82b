package store

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/tagwarden/tagwarden/internal/history"
)

// retainChunk is how many intervals one transaction removes: other writes come
// in between.
const retainChunk = 500

// Retain removes the intervals that ended before a time, and returns how many.
// What nothing names any longer goes with them: revisions, names, digests,
// facts from registries, and findings that were delivered.
//
// Kept whatever their age are: what runs, the last interval of each container
// of a workload that runs, what the revisions that run were first seen to run,
// their findings, and baselines.
func (s *Store) Retain(ctx context.Context, before time.Time) (removed int, err error) {
	limit := nanos(before)
	for last := int64(math.MinInt64); ; {
		var n int
		err := s.change(ctx, "remove old history from", func(ctx context.Context, w *writer) (err error) {
			n, last, err = w.removeIntervals(ctx, limit, last)
			return err
		})
		removed += n
		if err != nil {
			return removed, err
		}
		if n < retainChunk {
			break
		}
	}
	for _, sweep := range sweeps {
		err := s.change(ctx, "remove old history from", func(ctx context.Context, w *writer) error {
			// What is remembered may be removed.
			w.names = names{}
			args := []any{limit, int(history.Delivered)}
			return w.exec(ctx, sweep.query, args[:sweep.args]...)
		})
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// workloadRuns says that a container of the workload of subject u runs.
const workloadRuns = `EXISTS (SELECT 1 FROM subject other JOIN interval r ON r.subject = other.id
	WHERE other.workload = u.workload AND r.running > 0)`

// removeIntervals removes the next intervals whose number is above after.
func (w *writer) removeIntervals(ctx context.Context, limit, after int64) (n int, last int64, err error) {
	stmt, err := w.prepared(ctx, `SELECT i.id FROM interval i JOIN subject u ON u.id = i.subject
		WHERE i.id > ? AND i.running = 0 AND i.last < ? AND NOT (
			i.started = (SELECT max(started) FROM interval WHERE subject = i.subject) AND `+workloadRuns+`)
		ORDER BY i.id LIMIT ?`)
	if err != nil {
		return 0, 0, err
	}
	ids, err := numbers(stmt.QueryContext(ctx, after, limit, retainChunk))
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		for _, query := range []string{"DELETE FROM interval_node WHERE interval = ?", "DELETE FROM interval WHERE id = ?"} {
			if err := w.exec(ctx, query, id); err != nil {
				return 0, 0, err
			}
		}
		last = id
	}
	return len(ids), last, nil
}

// numbers reads rows of one number each, and closes them.
func numbers(rows *sql.Rows, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, rows.Err()
}

// sweeps remove what nothing names any longer, each what the ones before it
// named. Their arguments are the time before which all is old, and the state
// of a finding that was delivered.
var sweeps = []struct {
	query string
	args  int
}{
	{`DELETE FROM seen WHERE NOT EXISTS (SELECT 1 FROM interval WHERE seen = seen.id) AND revision NOT IN (` + runningRevisions + `)`, 0},
	{`DELETE FROM revision WHERE id NOT IN (SELECT revision FROM seen)`, 0},
	{`DELETE FROM subject WHERE id NOT IN (SELECT subject FROM seen)`, 0},
	{`DELETE FROM workload WHERE id NOT IN (SELECT workload FROM subject) AND id NOT IN (SELECT workload FROM revision)`, 0},
	{`DELETE FROM same WHERE learned < ?`, 1},
	{`DELETE FROM same_digest WHERE image NOT IN (SELECT image FROM same)`, 0},
	// A manifest of an index that runs is not named by what was seen.
	{`DELETE FROM content WHERE learned < ? AND digest NOT IN (SELECT digest FROM seen)
		AND digest NOT IN (SELECT c.digest FROM child c JOIN seen s ON s.digest = c.parent)
		AND digest NOT IN (SELECT d.digest FROM same_digest d)`, 1},
	{`DELETE FROM child WHERE parent NOT IN (SELECT digest FROM content)`, 0},
	{`DELETE FROM finding WHERE time < ? AND delivered = ? AND (cluster, namespace, workload, revision) NOT IN (
		SELECT cl.value, ns.value, wk.value || '/' || wn.value, rev.name FROM revision rev` + workloadOf + ` ON l.id = rev.workload` + workloadWords + `
		WHERE rev.id IN (` + runningRevisions + `))`, 2},
	// Whose tag was pushed last is asked for long after.
	{`DELETE FROM push WHERE learned < ? AND number NOT IN (SELECT max(number) FROM push GROUP BY repository, tag)`, 1},
	{`DELETE FROM reference WHERE id NOT IN (SELECT reference FROM seen)`, 0},
	{`DELETE FROM digest WHERE id NOT IN (SELECT digest FROM seen UNION SELECT digest FROM content
		UNION SELECT config FROM content WHERE config IS NOT NULL UNION SELECT digest FROM child UNION SELECT digest FROM same_digest)`, 0},
	{`DELETE FROM heartbeat WHERE session < (SELECT max(session) FROM heartbeat other WHERE other.cluster = heartbeat.cluster)
		AND session NOT IN (SELECT session FROM running UNION SELECT session FROM interval WHERE running > 0)`, 0},
	{`DELETE FROM word WHERE id NOT IN (
		SELECT cluster FROM workload UNION SELECT namespace FROM workload UNION SELECT api FROM workload
		UNION SELECT kind FROM workload UNION SELECT name FROM workload UNION SELECT container FROM subject
		UNION SELECT name FROM reference UNION SELECT repository FROM reference
		UNION SELECT author FROM revision WHERE author IS NOT NULL UNION SELECT via FROM revision WHERE via IS NOT NULL
		UNION SELECT digest_of FROM seen UNION SELECT platform FROM seen UNION SELECT kind FROM seen UNION SELECT node FROM seen
		UNION SELECT node FROM interval WHERE node IS NOT NULL UNION SELECT node FROM interval_node
		UNION SELECT cluster FROM running UNION SELECT node FROM running UNION SELECT cluster FROM heartbeat)`, 0},
}

const runningRevisions = `SELECT s.revision FROM interval i JOIN seen s ON s.id = i.seen WHERE i.running > 0`

// Compacted says what [Store.Compact] did: the bytes on the disk.
type Compacted struct{ Before, After int64 }

// Compact rewrites the file without the space that removed history left, and
// empties the log beside it. It takes the lock, for nothing may be written
// meanwhile, and needs as much free space as the file has.
func (s *Store) Compact(ctx context.Context) (Compacted, error) {
	if err := s.Lock(); err != nil {
		return Compacted{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var c Compacted
	var err error
	if c.Before, err = s.size(); err != nil {
		return c, s.fail("compact", err)
	}
	for _, query := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := s.w.conn.ExecContext(ctx, query); err != nil {
			return c, s.fail("compact", err)
		}
	}
	c.After, err = s.size()
	return c, s.fail("compact", err)
}

// Stats counts what a store has.
type Stats struct {
	// Schema is its version, Bytes what it takes on the disk.
	Schema int
	Bytes  int64
	// Running are containers.
	Subjects, Revisions, Intervals, Running int
	Findings, Undelivered, Baselines        int
	Pushes                                  int
	Clusters                                []ClusterStats
	// Oldest is the start of the first interval that is kept.
	Oldest time.Time
}

// ClusterStats is what a store knows of one cluster.
type ClusterStats struct {
	Name string
	// Heartbeat is until when it is known what ran.
	Heartbeat time.Time
}

// Stats counts what the store has.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st, err := s.stats(ctx)
	return st, s.fail("read", err)
}

func (s *Store) stats(ctx context.Context) (st Stats, err error) {
	if st.Bytes, err = s.size(); err != nil {
		return st, err
	}
	var oldest int64
	for _, q := range []struct {
		query string
		to    any
	}{
		{"PRAGMA user_version", &st.Schema},
		{"SELECT count(*) FROM subject", &st.Subjects},
		{"SELECT count(*) FROM revision", &st.Revisions},
		{"SELECT count(*) FROM interval", &st.Intervals},
		{"SELECT count(*) FROM running", &st.Running},
		{"SELECT count(*) FROM finding", &st.Findings},
		{"SELECT count(*) FROM finding WHERE delivered < 2", &st.Undelivered},
		{"SELECT count(*) FROM baseline", &st.Baselines},
		{"SELECT count(*) FROM push", &st.Pushes},
		{"SELECT coalesce(min(first), 0) FROM interval", &oldest},
	} {
		if err := s.read.QueryRowContext(ctx, q.query).Scan(q.to); err != nil {
			return st, err
		}
	}
	st.Oldest = instant(oldest)
	rows, err := s.read.QueryContext(ctx, "SELECT w.value, max(h.at) FROM heartbeat h JOIN word w ON w.id = h.cluster GROUP BY w.id ORDER BY 1")
	if err != nil {
		return st, err
	}
	defer rows.Close()
	for rows.Next() {
		var c ClusterStats
		var at int64
		if err := rows.Scan(&c.Name, &at); err != nil {
			return st, err
		}
		c.Heartbeat = instant(at)
		st.Clusters = append(st.Clusters, c)
	}
	return st, rows.Err()
}
