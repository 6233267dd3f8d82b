package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

// The states of an ended container.
const (
	// endOnly is an end whose start has not come yet.
	endOnly = iota
	endKnown
	// endInferred is one that was not named when a source had caught up.
	endInferred
)

// endedGeneration is how many ended containers make a generation. The last two
// generations are kept: some 10 MB.
const endedGeneration = 200_000

// never is the end of a container that runs.
const never = math.MaxInt64

// place is a cluster: its number and its name.
type place struct {
	id   int64
	name string
}

// heartbeat notes that this process knows what runs in the cluster.
func (w *writer) heartbeat(ctx context.Context, c place, now time.Time) error {
	if err := w.begin(ctx, now); err != nil || now.IsZero() {
		return err
	}
	return w.exec(ctx, `INSERT INTO heartbeat (cluster, session, at) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET at = max(at, excluded.at)`, c.id, w.session, nanos(now))
}

// confirm notes that this process, too, knows a container to run.
func (w *writer) confirm(ctx context.Context, c place, id string) error {
	var interval int64
	err := w.row(ctx, "UPDATE running SET session = ? WHERE cluster = ? AND container = ? RETURNING interval",
		w.session, c.id, packContainer(id)).Scan(&interval)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.exec(ctx, "UPDATE interval SET session = ? WHERE id = ? AND session < ?", w.session, interval, w.session)
}

// start notes a container start; end is when it ended, or never.
func (w *writer) start(ctx context.Context, c place, s *event.Start, end int64) error {
	container := packContainer(s.ContainerID)
	var session int64
	err := w.row(ctx, "SELECT session FROM running WHERE cluster = ? AND container = ?", c.id, container).Scan(&session)
	switch {
	case err == nil && session == w.session:
		return nil
	case err == nil:
		return w.confirm(ctx, c, s.ContainerID)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}

	counts := 1
	state, ended, known, err := w.hasEnded(ctx, c, s.ContainerID)
	switch {
	case err != nil:
		return err
	case !known:
	case state == endOnly:
		end = ended
	case state == endKnown || end != never:
		// Counted before; its newest generation remembers it.
		return w.setEnded(ctx, c, s.ContainerID, endKnown, ended)
	default:
		// It was taken to have ended, and runs after all.
		counts = 0
		if err := w.exec(ctx, "DELETE FROM ended WHERE id = ?", endedID(c, s.ContainerID)); err != nil {
			return err
		}
	}

	node, err := w.word(ctx, s.Node)
	if err != nil {
		return err
	}
	interval, err := w.span(ctx, s, node, max(end, nanos(s.Time)), counts)
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "INSERT OR IGNORE INTO interval_node (interval, node) VALUES (?, ?)", interval, node); err != nil {
		return err
	}
	if end != never {
		return w.setEnded(ctx, c, s.ContainerID, endKnown, end)
	}
	return w.exec(ctx, "INSERT INTO running (cluster, container, interval, session, started, pod, pod_uid, node) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		c.id, container, interval, w.session, nanos(s.Time), s.Pod, packUID(s.PodUID), node)
}

// span notes that what s started ran from then to end, and returns the interval
// that it is a part of.
func (w *writer) span(ctx context.Context, s *event.Start, node, end int64, counts int) (int64, error) {
	key, err := w.key(ctx, s)
	if err != nil {
		return 0, err
	}
	at := nanos(s.Time)
	seen, made, err := w.seen(ctx, key, s, node)
	if err != nil {
		return 0, err
	}
	var near neighbours
	if !made {
		if near, err = w.neighbours(ctx, seen.id, at, end); err != nil {
			return 0, err
		}
	}
	i, err := w.choose(ctx, key, near, at, end)
	if err != nil {
		return 0, err
	}

	// The first container of the first interval stands in seen.
	var pod, uid, firstNode, container any
	if at != seen.first {
		pod, uid, firstNode, container = s.Pod, packUID(s.PodUID), node, packContainer(s.ContainerID)
	}
	running, last := 1, at
	if end != never {
		running, last = 0, end
	}
	if i == nil {
		var id int64
		err := w.row(ctx, `INSERT INTO interval (subject, seen, first, started, last, starts, running, paused, session, pod, pod_uid, node, container)
			VALUES (?, ?, ?, ?, ?, 1, ?, 0, ?, ?, ?, ?, ?) RETURNING id`,
			key.subject, seen.id, at, at, last, running, w.session, pod, uid, firstNode, container).Scan(&id)
		return id, err
	}
	for _, old := range near.within {
		if old.id != i.id {
			if err := w.absorb(ctx, i, old); err != nil {
				return 0, err
			}
		}
	}
	if at < i.first {
		if err := w.exec(ctx, "UPDATE interval SET first = ?, pod = ?, pod_uid = ?, node = ?, container = ? WHERE id = ?",
			at, pod, uid, firstNode, container, i.id); err != nil {
			return 0, err
		}
	}
	err = w.exec(ctx, `UPDATE interval SET started = max(started, ?), last = max(last, ?), starts = starts + ?,
		running = running + ?, paused = ?, session = max(session, ?) WHERE id = ?`,
		at, last, counts, running, i.paused, w.session, i.id)
	return i.id, err
}

// key finds the numbers of what s runs.
func (w *writer) key(ctx context.Context, s *event.Start) (key seenKey, err error) {
	subject := history.SubjectOf(s)
	workload, err := w.workload(ctx, subject)
	if err != nil {
		return key, err
	}
	if key.subject, err = w.subject(ctx, workload, subject.Container); err != nil {
		return key, err
	}
	if key.revision, err = w.revision(ctx, workload, s); err != nil {
		return key, err
	}
	if key.reference, err = w.reference(ctx, s.Reference); err != nil {
		return key, err
	}
	if key.digest, err = w.digest(ctx, s.Digest); err != nil {
		return key, err
	}
	rest, err := w.wordsOf(ctx, s.DigestOf, s.Platform, string(s.Kind))
	if err != nil {
		return key, err
	}
	key.digestOf, key.platform, key.kind = rest[0], rest[1], rest[2]
	return key, nil
}

// interval is what must be known of an interval to change it.
type interval struct {
	id, first, started, last int64
	running, starts          int
	paused                   bool
}

// neighbours are the intervals of one seen around a span of time.
type neighbours struct {
	// within overlap it, the newest first; before and after are the nearest
	// that do not.
	within        []*interval
	before, after *interval
}

func (w *writer) neighbours(ctx context.Context, seen, from, to int64) (n neighbours, err error) {
	stmt, err := w.prepared(ctx, `SELECT id, first, started, last, running, starts, paused FROM interval
		WHERE seen = ? ORDER BY started DESC`)
	if err != nil {
		return n, err
	}
	rows, err := stmt.QueryContext(ctx, seen)
	if err != nil {
		return n, err
	}
	defer rows.Close()
	for rows.Next() && n.before == nil {
		var i interval
		if err := rows.Scan(&i.id, &i.first, &i.started, &i.last, &i.running, &i.starts, &i.paused); err != nil {
			return n, err
		}
		switch {
		case i.first > to:
			n.after = &i
		case i.running > 0 || i.last >= from:
			n.within = append(n.within, &i)
		default:
			n.before = &i
		}
	}
	return n, rows.Err()
}

// choose returns the interval that a span of time belongs to, or nil where a
// new one begins: between two spans of one interval, the subject starts nothing
// else.
func (w *writer) choose(ctx context.Context, key seenKey, near neighbours, from, to int64) (*interval, error) {
	if len(near.within) > 0 {
		return near.within[0], nil
	}
	if i := near.before; i != nil {
		other, err := w.interrupted(ctx, key, i.started, from)
		if err != nil {
			return nil, err
		}
		if !other {
			i.paused = i.paused || from-i.last > int64(history.Pause)
			return i, nil
		}
	}
	if i := near.after; i != nil {
		other, err := w.interrupted(ctx, key, from, i.first)
		if err != nil {
			return nil, err
		}
		if !other {
			i.paused = i.paused || i.first-to > int64(history.Pause)
			return i, nil
		}
	}
	return nil, nil //nolint:nilnil // No interval is an answer.
}

// absorb makes an older interval a part of i.
func (w *writer) absorb(ctx context.Context, i, old *interval) error {
	i.first, i.paused = old.first, i.paused || old.paused
	for _, query := range []string{
		`UPDATE interval SET first = old.first, starts = interval.starts + old.starts,
			pod = old.pod, pod_uid = old.pod_uid, node = old.node, container = old.container
			FROM interval old WHERE interval.id = ?1 AND old.id = ?2`,
		"INSERT OR IGNORE INTO interval_node (interval, node) SELECT ?1, node FROM interval_node WHERE interval = ?2",
	} {
		if err := w.exec(ctx, query, i.id, old.id); err != nil {
			return err
		}
	}
	for _, query := range []string{"DELETE FROM interval_node WHERE interval = ?", "DELETE FROM interval WHERE id = ?"} {
		if err := w.exec(ctx, query, old.id); err != nil {
			return err
		}
	}
	return nil
}

// seen returns the row for what a container runs. made says that there was
// none.
func (w *writer) seen(ctx context.Context, key seenKey, s *event.Start, node int64) (row seenRow, made bool, err error) {
	at := nanos(s.Time)
	row, ok := w.seens.get(key)
	if !ok {
		// What is not remembered is mostly new.
		row.first = at
		err = w.row(ctx, `INSERT INTO seen (subject, revision, digest, reference, digest_of, platform, kind, first, pod, pod_uid, node, container)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id`,
			key.subject, key.revision, key.digest, key.reference, key.digestOf, key.platform, key.kind,
			at, s.Pod, packUID(s.PodUID), node, packContainer(s.ContainerID)).Scan(&row.id)
		if made = err == nil; errors.Is(err, sql.ErrNoRows) {
			err = w.row(ctx, `SELECT id, first FROM seen WHERE subject = ? AND revision = ? AND digest = ? AND reference = ?
				AND digest_of = ? AND platform = ? AND kind = ?`,
				key.subject, key.revision, key.digest, key.reference, key.digestOf, key.platform, key.kind).Scan(&row.id, &row.first)
		}
		if err != nil {
			return row, false, err
		}
	}
	if !made && at < row.first {
		row.first = at
		// An interval that left its first container to this row keeps it.
		err = w.exec(ctx, `UPDATE interval SET pod = seen.pod, pod_uid = seen.pod_uid, node = seen.node, container = seen.container
			FROM seen WHERE seen.id = ?1 AND interval.seen = ?1 AND interval.pod IS NULL`, row.id)
		if err == nil {
			err = w.exec(ctx, "UPDATE seen SET first = ?, pod = ?, pod_uid = ?, node = ?, container = ? WHERE id = ?",
				at, s.Pod, packUID(s.PodUID), node, packContainer(s.ContainerID), row.id)
		}
	}
	if err != nil {
		return row, false, err
	}
	w.seens.put(key, row)
	return row, made, nil
}

// interrupted reports whether the subject started something else after since
// and before until. Another platform alone is not something else: replicas on
// two kinds of nodes start in turn.
func (w *writer) interrupted(ctx context.Context, key seenKey, since, until int64) (yes bool, err error) {
	err = w.row(ctx, `SELECT EXISTS (SELECT 1 FROM interval i JOIN seen s ON s.id = i.seen
		WHERE i.subject = ? AND i.started > ? AND i.first < ?
		AND (s.revision <> ? OR s.digest <> ? OR s.reference <> ?))`,
		key.subject, since, until, key.revision, key.digest, key.reference).Scan(&yes)
	return yes, err
}

// end notes that a container ended.
func (w *writer) end(ctx context.Context, c place, e *event.End) error {
	found, err := w.stop(ctx, c, e.ContainerID, endKnown, nanos(e.Time))
	if err != nil || found {
		return err
	}
	_, _, known, err := w.hasEnded(ctx, c, e.ContainerID)
	if err != nil || known {
		return err
	}
	return w.setEnded(ctx, c, e.ContainerID, endOnly, nanos(e.Time))
}

// stop takes a container from what runs.
func (w *writer) stop(ctx context.Context, c place, id string, state int, at int64) (found bool, err error) {
	var interval int64
	err = w.row(ctx, "DELETE FROM running WHERE cluster = ? AND container = ? RETURNING interval", c.id, packContainer(id)).Scan(&interval)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := w.exec(ctx, "UPDATE interval SET running = running - 1, last = max(last, ?) WHERE id = ?", at, interval); err != nil {
		return false, err
	}
	return true, w.setEnded(ctx, c, id, state, at)
}

// synced ends what runs in the scope and was known to earlier sessions alone.
func (w *writer) synced(ctx context.Context, c place, scope *event.Synced) error {
	type gone struct {
		container any
		at        int64
	}
	stmt, err := w.prepared(ctx, `SELECT r.container, max(r.started, coalesce(h.at, 0)) FROM running r
		JOIN word n ON n.id = r.node
		JOIN interval i ON i.id = r.interval JOIN subject u ON u.id = i.subject
		JOIN workload l ON l.id = u.workload JOIN word ns ON ns.id = l.namespace
		LEFT JOIN heartbeat h ON h.cluster = r.cluster AND h.session = r.session
		WHERE r.cluster = ?1 AND r.session < ?2 AND (?3 = '' OR n.value = ?3) AND (?4 = '' OR ns.value = ?4)`)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, c.id, w.session, scope.Node, scope.Namespace)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []gone
	for rows.Next() {
		var g gone
		if err := rows.Scan(&g.container, &g.at); err != nil {
			return err
		}
		all = append(all, g)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, g := range all {
		if _, err := w.stop(ctx, c, unpackContainer(g.container), endInferred, g.at); err != nil {
			return err
		}
	}
	return nil
}

// endedID is a hash of cluster and container id.
func endedID(c place, id string) int64 {
	sum := sha256.Sum256([]byte(id + "@" + c.name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

func (w *writer) hasEnded(ctx context.Context, c place, id string) (state int, at int64, known bool, err error) {
	err = w.row(ctx, "SELECT state, at FROM ended WHERE id = ?", endedID(c, id)).Scan(&state, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, false, nil
	}
	return state, at, err == nil, err
}

// setEnded remembers an ended container in the newest generation.
func (w *writer) setEnded(ctx context.Context, c place, id string, state int, at int64) error {
	w.ended++
	if w.ended > w.perGeneration {
		w.generation, w.ended = w.generation+1, 1
		if err := w.exec(ctx, "DELETE FROM ended WHERE generation < ?", w.generation-1); err != nil {
			return err
		}
	}
	return w.exec(ctx, "INSERT OR REPLACE INTO ended (id, state, at, generation) VALUES (?, ?, ?, ?)",
		endedID(c, id), state, at, w.generation)
}
