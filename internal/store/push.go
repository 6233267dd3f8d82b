package store

import (
	"context"

	"github.com/tagwarden/tagwarden/internal/event"
)

// maxPushes is how many pushes are kept; older ones make room. A sender that
// may tell of pushes must not be able to fill a disk.
const maxPushes = 100_000

// pushes keeps what registries said.
func (w *writer) pushes(ctx context.Context, all []*event.Push) error {
	for _, p := range all {
		err := w.exec(ctx, `INSERT INTO push (repository, tag, digest, pushed, of_digest, author, address, agent, told, trust, confirmed, learned, source)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET confirmed = max(confirmed, excluded.confirmed)`,
			p.Repository, p.Tag, packDigest(p.Digest), nanos(p.Pushed), p.OfDigest, p.By, p.Addr, p.UserAgent, p.Told, p.Trust, p.Confirmed,
			nanos(p.Time), p.Source)
		if err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return w.exec(ctx, "DELETE FROM push WHERE number <= (SELECT max(number) FROM push) - ?", maxPushes)
}

// Pushes returns what is known of the pushes to a tag of a normalised
// repository, the newest first: by when they were pushed, or where nobody says,
// by when they became known. An empty tag means all of the repository's. limit
// is the most there are; 0 means all.
func (s *Store) Pushes(ctx context.Context, repository, tag string, limit int) (all []event.Push, err error) {
	var c condition
	c.add("repository = ?", repository)
	if tag != "" {
		c.add("tag = ?", tag)
	}
	if limit <= 0 {
		limit = -1
	}
	rows, err := s.read.QueryContext(ctx, c.query(`SELECT repository, tag, digest, pushed, of_digest, author, address, agent, told, trust, confirmed, learned, source
		FROM push`, " ORDER BY CASE pushed WHEN 0 THEN learned ELSE pushed END DESC, number DESC LIMIT ?"), append(c.args, limit)...)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var p event.Push
		var digest any
		var pushed, learned int64
		if err := rows.Scan(&p.Repository, &p.Tag, &digest, &pushed, &p.OfDigest, &p.By, &p.Addr, &p.UserAgent, &p.Told, &p.Trust, &p.Confirmed,
			&learned, &p.Source); err != nil {
			return nil, s.fail("read", err)
		}
		p.Digest, p.Pushed, p.Time = unpackDigest(digest), instant(pushed), instant(learned)
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	return all, nil
}
