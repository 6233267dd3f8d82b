package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"
)

// Content is what a registry says is behind a digest.
type Content struct {
	Digest string
	// Kind is what it is: index, manifest, config.
	Kind string
	// Platform is that of a manifest or config, as os/architecture[/variant].
	Platform string
	// Config is the digest of a manifest's config.
	Config string
	// Children are the manifests of an index, in its order.
	Children []Child
	// Learned is when the registry said so.
	Learned time.Time
}

// Child is one manifest of an index.
type Child struct{ Digest, Platform string }

// PutContents keeps what a registry said, in place of what it said before.
func (s *Store) PutContents(ctx context.Context, contents ...Content) error {
	return s.change(ctx, "write to", func(ctx context.Context, w *writer) error { return w.contents(ctx, contents) })
}

func (w *writer) contents(ctx context.Context, all []Content) error {
	for i := range all {
		if err := w.content(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) content(ctx context.Context, c *Content) error {
	id, err := w.digest(ctx, c.Digest)
	if err != nil {
		return err
	}
	var config sql.NullInt64
	if c.Config != "" {
		config.Valid = true
		if config.Int64, err = w.digest(ctx, c.Config); err != nil {
			return err
		}
	}
	if err := w.exec(ctx, "INSERT OR REPLACE INTO content (digest, kind, platform, config, learned) VALUES (?, ?, ?, ?, ?)",
		id, c.Kind, c.Platform, config, nanos(c.Learned)); err != nil {
		return err
	}
	if err := w.exec(ctx, "DELETE FROM child WHERE parent = ?", id); err != nil {
		return err
	}
	for place, ch := range c.Children {
		child, err := w.digest(ctx, ch.Digest)
		if err != nil {
			return err
		}
		if err := w.exec(ctx, "INSERT INTO child (parent, place, digest, platform) VALUES (?, ?, ?, ?)", id, place, child, ch.Platform); err != nil {
			return err
		}
	}
	return nil
}

// Contents returns what is known of digests, in their order. Those of which
// nothing is known are left out.
func (s *Store) Contents(ctx context.Context, digests ...string) ([]Content, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer func() { _ = tx.Rollback() }()
	var all []Content
	for _, digest := range digests {
		c, err := contentOf(ctx, tx, digest)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, s.fail("read", err)
		}
		all = append(all, c)
	}
	return all, nil
}

func contentOf(ctx context.Context, tx *sql.Tx, digest string) (c Content, err error) {
	c.Digest = digest
	var id, learned int64
	var config any
	if err := tx.QueryRowContext(ctx, `SELECT d.id, c.kind, c.platform, f.value, c.learned
		FROM digest d JOIN content c ON c.digest = d.id LEFT JOIN digest f ON f.id = c.config WHERE d.value = ?`, packDigest(digest)).
		Scan(&id, &c.Kind, &c.Platform, &config, &learned); err != nil {
		return c, err
	}
	c.Learned = instant(learned)
	if config != nil {
		c.Config = unpackDigest(config)
	}
	rows, err := tx.QueryContext(ctx, "SELECT d.value, c.platform FROM child c JOIN digest d ON d.id = c.digest WHERE c.parent = ? ORDER BY c.place", id)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var child Child
		var value any
		if err := rows.Scan(&value, &child.Platform); err != nil {
			return c, err
		}
		child.Digest = unpackDigest(value)
		c.Children = append(c.Children, child)
	}
	return c, rows.Err()
}

// PutSame keeps groups of digests that a runtime named as one image at the
// time at. A group of one says nothing and is left out.
func (s *Store) PutSame(ctx context.Context, at time.Time, groups ...[]string) error {
	return s.change(ctx, "write to", func(ctx context.Context, w *writer) error { return w.same(ctx, groups, at) })
}

// refresh is how old the time of a group may be before it is written anew:
// nodes name all their images again and again.
const refresh = 24 * time.Hour

func (w *writer) same(ctx context.Context, groups [][]string, at time.Time) error {
	now := nanos(at)
	for _, group := range groups {
		group = slices.Compact(slices.Sorted(slices.Values(group)))
		if len(group) < 2 {
			continue
		}
		sum := sha256.Sum256([]byte(strings.Join(group, "\n")))
		id := int64(binary.BigEndian.Uint64(sum[:8]))
		learned, ok := w.groups.get(id)
		if !ok {
			err := w.row(ctx, "SELECT learned FROM same WHERE image = ?", id).Scan(&learned)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			ok = err == nil
		}
		if ok && now < learned+int64(refresh) {
			w.groups.put(id, learned)
			continue
		}
		if err := w.exec(ctx, "INSERT OR REPLACE INTO same (image, learned) VALUES (?, ?)", id, now); err != nil {
			return err
		}
		for _, digest := range group {
			d, err := w.digest(ctx, digest)
			if err != nil {
				return err
			}
			if err := w.exec(ctx, "INSERT OR IGNORE INTO same_digest (image, digest) VALUES (?, ?)", id, d); err != nil {
				return err
			}
		}
		w.groups.put(id, now)
	}
	return nil
}

// Same returns the groups that [Store.PutSame] was told, each sorted, in no
// order that means something.
func (s *Store) Same(ctx context.Context) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		rows, err := s.read.QueryContext(ctx, "SELECT s.image, d.value FROM same_digest s JOIN digest d ON d.id = s.digest ORDER BY s.image")
		if err != nil {
			yield(nil, s.fail("read", err))
			return
		}
		defer rows.Close()
		var group []string
		var last int64
		for rows.Next() {
			var image int64
			var digest any
			if err := rows.Scan(&image, &digest); err != nil {
				yield(nil, s.fail("read", err))
				return
			}
			if image != last && len(group) > 0 {
				slices.Sort(group)
				if !yield(group, nil) {
					return
				}
				group = nil
			}
			last = image
			group = append(group, unpackDigest(digest))
		}
		if err := rows.Err(); err != nil {
			yield(nil, s.fail("read", err))
			return
		}
		if len(group) > 0 {
			slices.Sort(group)
			yield(group, nil)
		}
	}
}
