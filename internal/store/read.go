package store

import (
	"cmp"
	"context"
	"database/sql"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

// RunningContainer is a container that runs, as far as the store knows.
type RunningContainer struct {
	ContainerID string
	Pod, PodUID string
	Node        string
	Subject     history.Subject
	Kind        event.Kind
	Revision    string
	Reference   string
	Digest      string
	DigestOf    string
	Platform    string
	Started     time.Time
}

// Running returns what runs in a cluster, in no order that means something.
func (s *Store) Running(ctx context.Context, cluster string) iter.Seq2[RunningContainer, error] {
	return func(yield func(RunningContainer, error) bool) {
		rows, err := s.read.QueryContext(ctx, `SELECT r.container, r.pod, r.pod_uid, node.value, r.started,
			`+subjectColumns+`, kind.value, rev.name, refname.value || ref.tail, dig.value, digof.value, platform.value
			FROM running r JOIN interval i ON i.id = r.interval JOIN seen s ON s.id = i.seen
			JOIN word node ON node.id = r.node `+subjectJoins+seenJoins+`
			WHERE r.cluster = (SELECT id FROM word WHERE value = ?)`, cluster)
		if err != nil {
			yield(RunningContainer{}, s.fail("read", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var c RunningContainer
			var id, uid, digest any
			var started int64
			err := rows.Scan(append(append([]any{&id, &c.Pod, &uid, &c.Node, &started}, subjectFields(&c.Subject)...),
				&c.Kind, &c.Revision, &c.Reference, &digest, &c.DigestOf, &c.Platform)...)
			if err != nil {
				yield(RunningContainer{}, s.fail("read", err))
				return
			}
			c.ContainerID, c.PodUID, c.Digest, c.Started = unpackContainer(id), unpackUID(uid), unpackDigest(digest), instant(started)
			if !yield(c, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(RunningContainer{}, s.fail("read", err))
		}
	}
}

// The parts of queries that name what an interval i or a seen s is about.
const (
	subjectColumns = "cl.value, ns.value, api.value, wk.value, wn.value, ct.value"
	subjectJoins   = ` JOIN subject u ON u.id = s.subject JOIN word ct ON ct.id = u.container` + workloadJoins
	workloadJoins  = workloadOf + ` ON l.id = u.workload` + workloadWords
	workloadOf     = ` JOIN workload l`
	workloadWords  = `
		JOIN word cl ON cl.id = l.cluster JOIN word ns ON ns.id = l.namespace JOIN word api ON api.id = l.api
		JOIN word wk ON wk.id = l.kind JOIN word wn ON wn.id = l.name`
	seenJoins = ` JOIN revision rev ON rev.id = s.revision JOIN reference ref ON ref.id = s.reference JOIN word refname ON refname.id = ref.name
		JOIN digest dig ON dig.id = s.digest JOIN word digof ON digof.id = s.digest_of
		JOIN word platform ON platform.id = s.platform JOIN word kind ON kind.id = s.kind`
)

func subjectFields(s *history.Subject) []any {
	return []any{&s.Cluster, &s.Namespace, &s.Workload.APIVersion, &s.Workload.Kind, &s.Workload.Name, &s.Container}
}

// SeenLimit is how many of a subject [Store.Seen] returns beside those of
// revisions that run. A job that runs every minute has a new revision each
// time.
const SeenLimit = 200

// Seen returns what a subject was seen to run, the first time for each, by
// [history.Seen.First]: all of the revisions of which something runs, be it
// another container of the pod, and the newest [SeenLimit] of the others.
func (s *Store) Seen(ctx context.Context, subject history.Subject) ([]history.Seen, error) {
	return s.seenOf(ctx, subject, SeenLimit, nil)
}

// SeenIn returns what a subject was seen to run in one revision, however many
// came after it, and beside it what [Store.Seen] returns of the revisions that
// run.
func (s *Store) SeenIn(ctx context.Context, subject history.Subject, revision string) ([]history.Seen, error) {
	return s.seenOf(ctx, subject, 0, revision)
}

func (s *Store) seenOf(ctx context.Context, subject history.Subject, limit int, revision any) ([]history.Seen, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	// It is over before the driver could watch the context in a goroutine.
	rows, err := s.seen.QueryContext(context.WithoutCancel(ctx), subject.Cluster, subject.Namespace, subject.Workload.APIVersion,
		subject.Workload.Kind, subject.Workload.Name, subject.Container, limit, revision)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	var all []history.Seen
	for rows.Next() {
		var seen history.Seen
		var first int64
		var digest, uid, container any
		if err := rows.Scan(&seen.Revision, &seen.Reference, &digest, &seen.DigestOf, &seen.Platform, &first,
			&seen.Pod, &uid, &seen.Node, &container); err != nil {
			return nil, s.fail("read", err)
		}
		seen.Digest, seen.First, seen.PodUID, seen.ContainerID = unpackDigest(digest), instant(first), unpackUID(uid), unpackContainer(container)
		all = append(all, seen)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	slices.SortStableFunc(all, func(a, b history.Seen) int { return a.First.Compare(b.First) })
	// The kind of the container makes no difference here.
	type what struct{ revision, reference, digest, digestOf, platform string }
	known := make(map[what]bool, len(all))
	return slices.DeleteFunc(all, func(o history.Seen) bool {
		w := what{o.Revision, o.Reference, o.Digest, o.DigestOf, o.Platform}
		again := known[w]
		known[w] = true
		return again
	}), nil
}

const seenQuery = `WITH own (id, workload) AS MATERIALIZED (
		SELECT u.id, l.id FROM workload l JOIN subject u ON u.workload = l.id
		WHERE l.cluster = (SELECT id FROM word WHERE value = ?1) AND l.namespace = (SELECT id FROM word WHERE value = ?2)
		AND l.api = (SELECT id FROM word WHERE value = ?3) AND l.kind = (SELECT id FROM word WHERE value = ?4)
		AND l.name = (SELECT id FROM word WHERE value = ?5) AND u.container = (SELECT id FROM word WHERE value = ?6)),
	newest (id) AS (SELECT id FROM seen WHERE subject = (SELECT id FROM own) ORDER BY first DESC LIMIT ?7),
	living (id) AS (
		SELECT id FROM seen WHERE subject = (SELECT id FROM own) AND revision IN (
			SELECT s.revision FROM subject u JOIN interval i ON i.subject = u.id JOIN seen s ON s.id = i.seen
			WHERE u.workload = (SELECT workload FROM own) AND i.running > 0)),
	named (id) AS (
		SELECT id FROM seen WHERE subject = (SELECT id FROM own) AND revision = (
			SELECT id FROM revision WHERE workload = (SELECT workload FROM own) AND name = ?8))
	SELECT rev.name, refname.value || ref.tail, dig.value, digof.value, platform.value, s.first, s.pod, s.pod_uid, node.value, s.container
	FROM seen s JOIN revision rev ON rev.id = s.revision JOIN reference ref ON ref.id = s.reference JOIN word refname ON refname.id = ref.name
	JOIN digest dig ON dig.id = s.digest JOIN word digof ON digof.id = s.digest_of
	JOIN word platform ON platform.id = s.platform JOIN word node ON node.id = s.node
	WHERE s.id IN (SELECT id FROM newest UNION ALL SELECT id FROM living UNION ALL SELECT id FROM named)`

// Intervals returns what matches q, by subject (cluster, namespace, workload,
// container, all by name), then by [history.Interval.First]. A limit keeps the
// newest, in that order still.
//
// What runs has no end yet: it matches every time from its first on, and its
// Last says until when it is known. A pod is found while a container of it
// runs; one that has ended where it was the first of an interval, and if none of
// its name runs.
func (s *Store) Intervals(ctx context.Context, q history.Query) iter.Seq2[history.Interval, error] {
	return func(yield func(history.Interval, error) bool) {
		if err := s.intervals(ctx, q, func(i history.Interval) bool { return yield(i, nil) }); err != nil {
			yield(history.Interval{}, s.fail("read", err))
		}
	}
}

// intervals calls yield until that returns false.
func (s *Store) intervals(ctx context.Context, q history.Query, yield func(history.Interval) bool) error {
	// One transaction sees one state.
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var subjects, ran condition
	if q.Pod != "" {
		pod, err := findPod(ctx, tx, q)
		if err != nil {
			return err
		}
		subjects.in("l.id", pod.workloads)
		ran.pod(q.Pod, pod.intervals)
	}
	subjects.subject(q)
	ran.what(q)
	ran.when(q)
	if q.Limit > 0 {
		return newest(ctx, tx, &subjects, &ran, q.Limit, yield)
	}

	// Subjects are sorted, and there are few; intervals come in the order of
	// an index.
	subjects.within(q)
	ids, err := numbers(tx.QueryContext(ctx, subjects.query(`SELECT u.id FROM subject u JOIN word ct ON ct.id = u.container`+workloadJoins,
		" ORDER BY cl.value, ns.value, wk.value, wn.value, api.value, ct.value"), subjects.args...))
	if err != nil {
		return err
	}
	ran.add("i.subject = ?")
	stmt, err := tx.PrepareContext(ctx, ran.query(intervalQuery, " ORDER BY i.first, i.id"))
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, id := range ids {
		rows, err := stmt.QueryContext(ctx, append(ran.args, id)...)
		if err != nil {
			return err
		}
		if more, err := scanIntervals(rows, yield); err != nil || !more {
			return err
		}
	}
	return nil
}

// newest yields the newest intervals of all subjects. It finds them by their
// numbers first: to name what a row is about takes far longer.
func newest(ctx context.Context, tx *sql.Tx, subjects, ran *condition, limit int, yield func(history.Interval) bool) error {
	var c condition
	if len(subjects.terms) > 0 {
		c.add("i.subject IN ("+subjects.query(`SELECT u.id FROM subject u`+workloadOf+` ON l.id = u.workload JOIN word wk ON wk.id = l.kind`, "")+")", subjects.args...)
	}
	c.terms, c.args = append(c.terms, ran.terms...), append(c.args, ran.args...)
	ids, err := numbers(tx.QueryContext(ctx, c.query("SELECT i.id FROM interval i JOIN seen s ON s.id = i.seen",
		" ORDER BY i.first DESC, i.id DESC LIMIT ?"), append(c.args, limit)...))
	if err != nil {
		return err
	}
	stmt, err := tx.PrepareContext(ctx, intervalQuery+" WHERE i.id = ?")
	if err != nil {
		return err
	}
	defer stmt.Close()
	var all []history.Interval
	for _, id := range slices.Backward(ids) {
		rows, err := stmt.QueryContext(ctx, id)
		if err != nil {
			return err
		}
		if _, err := scanIntervals(rows, func(i history.Interval) bool { all = append(all, i); return true }); err != nil {
			return err
		}
	}
	slices.SortStableFunc(all, func(a, b history.Interval) int { return compareSubjects(a.Subject, b.Subject) })
	for _, i := range all {
		if !yield(i) {
			break
		}
	}
	return nil
}

// foundPod is where a pod is known.
type foundPod struct {
	workloads []int64
	// intervals are those that a container of it runs in.
	intervals []int64
}

// findPod finds a pod by its name or uid: among what runs, which is quick, or
// else among all that ever was the first of its kind.
func findPod(ctx context.Context, tx *sql.Tx, q history.Query) (found foundPod, err error) {
	const subjects = ` JOIN subject u ON u.id = s.subject` + workloadOf + ` ON l.id = u.workload JOIN word wk ON wk.id = l.kind`
	uid := packUID(q.Pod)
	among := func(query, term string, args ...any) ([]int64, error) {
		var c condition
		c.add(term, args...)
		c.subject(q)
		return numbers(tx.QueryContext(ctx, c.query(query, ""), c.args...))
	}
	// Names have an index, uids have not.
	const running = `SELECT DISTINCT r.interval FROM running r JOIN interval s ON s.id = r.interval` + subjects
	if found.intervals, err = among(running, "r.pod = ?", q.Pod); err == nil && len(found.intervals) == 0 {
		found.intervals, err = among(running, "r.pod_uid = ?", uid)
	}
	if err != nil {
		return found, err
	}
	if len(found.intervals) > 0 {
		var c condition
		c.in("i.id", found.intervals)
		found.workloads, err = numbers(tx.QueryContext(ctx, c.query("SELECT DISTINCT u.workload FROM interval i JOIN subject u ON u.id = i.subject", ""), c.args...))
		return found, err
	}
	for _, table := range []string{"seen", "interval"} {
		more, err := among(`SELECT DISTINCT u.workload FROM `+table+` s`+subjects, "(s.pod = ? OR s.pod_uid = ?)", q.Pod, uid)
		if err != nil {
			return found, err
		}
		found.workloads = append(found.workloads, more...)
	}
	return found, nil
}

func compareSubjects(a, b history.Subject) int {
	return cmp.Or(
		cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Workload.Kind, b.Workload.Kind), cmp.Compare(a.Workload.Name, b.Workload.Name),
		cmp.Compare(a.Workload.APIVersion, b.Workload.APIVersion), cmp.Compare(a.Container, b.Container),
	)
}

// intervalQuery selects what scanIntervals reads. What runs is known to run
// until the heartbeat.
const intervalQuery = `SELECT ` + subjectColumns + `, kind.value, rev.name, refname.value || ref.tail, dig.value, digof.value, platform.value,
	i.first, coalesce(i.pod, s.pod), coalesce(i.pod_uid, s.pod_uid), node.value, coalesce(i.container, s.container),
	CASE WHEN i.running > 0 THEN max(i.last, coalesce((SELECT at FROM heartbeat h WHERE h.cluster = l.cluster AND h.session = i.session), 0)) ELSE i.last END,
	i.running, i.starts, i.paused,
	(SELECT group_concat(w.value, x'1f') FROM interval_node n JOIN word w ON w.id = n.node WHERE n.interval = i.id)
	FROM interval i JOIN seen s ON s.id = i.seen` + subjectJoins + seenJoins + `
	JOIN word node ON node.id = coalesce(i.node, s.node)`

// scanIntervals reads rows and closes them. more says that yield wants more.
func scanIntervals(rows *sql.Rows, yield func(history.Interval) bool) (more bool, err error) {
	defer rows.Close()
	for rows.Next() {
		var i history.Interval
		var digest, uid, container any
		var first, last int64
		var nodes string
		err := rows.Scan(append(subjectFields(&i.Subject), &i.Kind, &i.Revision, &i.Reference, &digest, &i.DigestOf, &i.Platform,
			&first, &i.Pod, &uid, &i.Node, &container, &last, &i.Running, &i.Starts, &i.Paused, &nodes)...)
		if err != nil {
			return false, err
		}
		i.First, i.Last = instant(first), instant(last)
		i.Digest, i.PodUID, i.ContainerID = unpackDigest(digest), unpackUID(uid), unpackContainer(container)
		i.Nodes = strings.Split(nodes, "\x1f")
		slices.Sort(i.Nodes)
		if !yield(i) {
			return false, nil
		}
	}
	return true, rows.Err()
}

// Revisions returns the revisions of which something matches q, by workload,
// then by [history.Revision.First]. A limit keeps the newest. The time is that
// of their first start.
func (s *Store) Revisions(ctx context.Context, q history.Query) ([]history.Revision, error) {
	var c condition
	c.workload(q)
	if !q.To.IsZero() {
		c.add("rev.first <= ?", nanos(q.To))
	}
	if !q.From.IsZero() {
		c.add("rev.first >= ?", nanos(q.From))
	}
	var seen condition
	if q.Container != "" {
		seen.add("s.subject IN (SELECT u.id FROM subject u JOIN word ct ON ct.id = u.container WHERE ct.value = ?)", q.Container)
	}
	seen.what(q)
	if len(seen.terms) > 0 {
		c.add("EXISTS (SELECT 1 FROM seen s WHERE s.revision = rev.id AND "+strings.Join(seen.terms, " AND ")+")", seen.args...)
	}
	limit := -1
	if q.Limit > 0 {
		limit = q.Limit
	}
	const columns = `SELECT cl.value, ns.value, api.value, wk.value, wn.value,
		rev.name, rev.first, rev.deployed, coalesce(author.value, ''), coalesce(via.value, ''), coalesce(rev.cause, '')
		FROM revision rev` + workloadOf + ` ON l.id = rev.workload` + workloadWords + `
		LEFT JOIN word author ON author.id = rev.author LEFT JOIN word via ON via.id = rev.via`
	const order = ` ORDER BY rev.first DESC, rev.id DESC LIMIT ?`
	rows, err := s.read.QueryContext(ctx, c.query(columns, order), append(c.args, limit)...)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	var all []history.Revision
	for rows.Next() {
		var r history.Revision
		var d event.Deployment
		var first, deployed int64
		if err := rows.Scan(&r.Cluster, &r.Namespace, &r.Workload.APIVersion, &r.Workload.Kind, &r.Workload.Name,
			&r.Name, &first, &deployed, &d.By, &d.Via, &d.Cause); err != nil {
			return nil, s.fail("read", err)
		}
		r.First, d.Time = instant(first), instant(deployed)
		if d != (event.Deployment{}) {
			r.Deployment = &d
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b history.Revision) int {
		return compareSubjects(
			history.Subject{Cluster: a.Cluster, Namespace: a.Namespace, Workload: a.Workload},
			history.Subject{Cluster: b.Cluster, Namespace: b.Namespace, Workload: b.Workload})
	})
	return all, nil
}
