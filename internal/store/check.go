package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// Problem is something in a store that must not be.
type Problem struct {
	// Check is what was looked at.
	Check string
	// Detail says what is wrong, and where.
	Detail string
}

// problemLimit is how many problems one check reports: a damaged file can have
// one in every row.
const problemLimit = 20

// Check reads the whole store and returns what is wrong with it: damage to the
// file, rows that name rows that are not there, and history that cannot be. It
// may run while another process writes.
func (s *Store) Check(ctx context.Context) ([]Problem, error) {
	var all []Problem
	note := func(check string, details []string, err error) error {
		var damaged *sqlite.Error
		if errors.As(err, &damaged) && errors.Is(explain(err), errDamaged) {
			details, err = append(details, damaged.Error()), nil
		}
		for _, d := range details {
			all = append(all, Problem{check, d})
		}
		return err
	}
	// One transaction: another process may be writing.
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, s.fail("check", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, c := range checks {
		details, err := texts(tx.QueryContext(ctx, c.query))
		if len(details) == 1 && details[0] == "ok" {
			details = nil
		}
		if err := note(c.name, details, err); err != nil {
			return all, s.fail("check", err)
		}
	}
	details, err := checkFindings(ctx, tx)
	return all, s.fail("check", errors.Join(note("findings", details, err)))
}

// checks are queries that return what is wrong, a text a row.
var checks = []struct{ name, query string }{
	{"file", fmt.Sprintf("PRAGMA integrity_check(%d)", problemLimit)},
	{"rows", `SELECT "table" || ' ' || coalesce(rowid, '') || ' names a row of ' || parent || ' that is not there' FROM pragma_foreign_key_check` + most},
	{"running containers", `SELECT 'interval ' || id || ' says that ' || running || ' run, and '
		|| (SELECT count(*) FROM running r WHERE r.interval = i.id) || ' do' FROM interval i
		WHERE running <> coalesce((SELECT n FROM (SELECT interval, count(*) AS n FROM running GROUP BY interval) c WHERE c.interval = i.id), 0)` + most},
	{"running containers", `SELECT 'a container of interval ' || i.id || ' runs in another cluster' FROM running r JOIN interval i ON i.id = r.interval
		JOIN subject u ON u.id = i.subject JOIN workload l ON l.id = u.workload WHERE l.cluster <> r.cluster` + most},
	{"running containers", `SELECT 'a container of interval ' || i.id || ' started outside it' FROM running r JOIN interval i ON i.id = r.interval
		WHERE r.started < i.first OR r.started > i.started` + most},
	{"times", `SELECT 'interval ' || id || ' has first ' || first || ', last start ' || started || ', last ' || last || ', ' || starts || ' starts'
		FROM interval WHERE first > started OR started > last OR starts < 1 OR running < 0` + most},
	{"times", `SELECT 'interval ' || i.id || ' begins before what it runs was first seen' FROM interval i JOIN seen s ON s.id = i.seen
		WHERE i.first < s.first OR i.pod IS NULL AND i.first <> s.first` + most},
	{"subjects", `SELECT 'interval ' || i.id || ' is of another container than what it runs' FROM interval i JOIN seen s ON s.id = i.seen
		WHERE s.subject <> i.subject` + most},
	{"subjects", `SELECT 'seen ' || s.id || ' is of another workload than its revision' FROM seen s JOIN revision r ON r.id = s.revision
		JOIN subject u ON u.id = s.subject WHERE u.workload <> r.workload` + most},
	{"overlaps", `SELECT 'intervals ' || a.id || ' and ' || b.id || ' are one' FROM interval a JOIN interval b ON b.seen = a.seen AND b.id <> a.id
		WHERE a.first <= b.first AND (a.running > 0 OR b.first <= a.last)` + most},
	{"nodes", `SELECT 'interval ' || id || ' has no node' FROM interval WHERE id NOT IN (SELECT interval FROM interval_node)` + most},
}

var most = fmt.Sprintf(" LIMIT %d", problemLimit)

// checkFindings finds findings whose columns are not those of their text.
func checkFindings(ctx context.Context, tx *sql.Tx) (wrong []string, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT number, fingerprint, body FROM finding")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() && len(wrong) < problemLimit {
		var number int64
		var fingerprint, body []byte
		if err := rows.Scan(&number, &fingerprint, &body); err != nil {
			return wrong, err
		}
		var f finding.Finding
		switch err := json.Unmarshal(body, &f); {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("finding %d is not readable: %v", number, err))
		case f.Fingerprint() != hex.EncodeToString(fingerprint):
			wrong = append(wrong, fmt.Sprintf("finding %d has a fingerprint that is not its own", number))
		}
	}
	return wrong, rows.Err()
}

// texts reads rows of one text each, and closes them.
func texts(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return all, err
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// size is what the file and its log take on the disk.
func (s *Store) size() (bytes int64, err error) {
	for _, name := range []string{s.file, s.file + "-wal"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}
