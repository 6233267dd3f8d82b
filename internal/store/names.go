package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

// names remembers the numbers of what repeats, so that few starts have to look
// for them. The zero value remembers nothing yet.
type names struct {
	words, references, digests cache[string, int64]
	workloads                  cache[workloadKey, int64]
	subjects                   cache[subjectKey, int64]
	revisions                  cache[revisionKey, revisionRow]
	seens                      cache[seenKey, seenRow]
	// groups are when groups of equal digests were last noted.
	groups cache[int64, int64]
}

type (
	workloadKey struct{ cluster, namespace, api, kind, name int64 }
	subjectKey  struct{ workload, container int64 }
	revisionKey struct {
		workload int64
		name     string
	}
	revisionRow struct {
		id, first int64
		deployed  bool
	}
	seenKey struct{ subject, revision, digest, reference, digestOf, platform, kind int64 }
	seenRow struct{ id, first int64 }
)

// remembered is the most entries of one cache; a full one begins again.
const remembered = 1 << 16

type cache[K comparable, V any] struct{ m map[K]V }

func (c *cache[K, V]) get(key K) (V, bool) {
	v, ok := c.m[key]
	return v, ok
}

func (c *cache[K, V]) put(key K, v V) {
	if c.m == nil || len(c.m) >= remembered {
		c.m = map[K]V{}
	}
	c.m[key] = v
}

// number returns the number of a row: the remembered one, the one that find
// finds, or that of the row that insert makes.
func number[K comparable](ctx context.Context, w *writer, c *cache[K, int64], key K, find, insert string, args ...any) (int64, error) {
	if id, ok := c.get(key); ok {
		return id, nil
	}
	id, err := w.either(ctx, find, insert, args...)
	if err == nil {
		c.put(key, id)
	}
	return id, err
}

// either returns the number that the first of two statements returns that
// returns any.
func (w *writer) either(ctx context.Context, first, second string, args ...any) (id int64, err error) {
	err = w.row(ctx, first, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = w.row(ctx, second, args...).Scan(&id)
	}
	return id, err
}

func (w *writer) word(ctx context.Context, value string) (int64, error) {
	return number(ctx, w, &w.words, value,
		"SELECT id FROM word WHERE value = ?", "INSERT INTO word (value) VALUES (?) RETURNING id", value)
}

// wordsOf looks several words up.
func (w *writer) wordsOf(ctx context.Context, values ...string) ([]int64, error) {
	ids := make([]int64, len(values))
	for i, v := range values {
		var err error
		if ids[i], err = w.word(ctx, v); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// digest, as reference, tries to insert first: what is not remembered is mostly
// new.
func (w *writer) digest(ctx context.Context, digest string) (int64, error) {
	return number(ctx, w, &w.digests, digest,
		"INSERT INTO digest (value) VALUES (?) ON CONFLICT DO NOTHING RETURNING id", "SELECT id FROM digest WHERE value = ?", packDigest(digest))
}

func (w *writer) reference(ctx context.Context, reference string) (int64, error) {
	if id, ok := w.references.get(reference); ok {
		return id, nil
	}
	name, tail := splitReference(reference)
	words, err := w.wordsOf(ctx, name, repositoryOf(reference))
	if err != nil {
		return 0, err
	}
	id, err := w.either(ctx,
		"INSERT INTO reference (name, tail, repository) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING id",
		"SELECT id FROM reference WHERE name = ?1 AND tail = ?2 AND ?3 <> 0", words[0], tail, words[1])
	if err == nil {
		w.references.put(reference, id)
	}
	return id, err
}

// splitReference cuts a text where a reference has its tag or digest. The parts
// together are the text, whatever it is.
func splitReference(s string) (name, tail string) {
	at := len(s)
	if i := strings.IndexByte(s, '@'); i >= 0 {
		at = i
	}
	if i := strings.LastIndexByte(s[:at], ':'); i > strings.LastIndexByte(s[:at], '/') {
		at = i
	}
	return s[:at], s[at:]
}

// repositoryOf is the normalised name in a reference, or "" where it is none.
func repositoryOf(reference string) string {
	ref, err := image.Parse(reference)
	if err != nil {
		return ""
	}
	return ref.Name()
}

func (w *writer) workload(ctx context.Context, s history.Subject) (int64, error) {
	ids, err := w.wordsOf(ctx, s.Cluster, s.Namespace, s.Workload.APIVersion, s.Workload.Kind, s.Workload.Name)
	if err != nil {
		return 0, err
	}
	k := workloadKey{ids[0], ids[1], ids[2], ids[3], ids[4]}
	return number(ctx, w, &w.workloads, k,
		"SELECT id FROM workload WHERE cluster = ? AND namespace = ? AND api = ? AND kind = ? AND name = ?",
		"INSERT INTO workload (cluster, namespace, api, kind, name) VALUES (?, ?, ?, ?, ?) RETURNING id",
		k.cluster, k.namespace, k.api, k.kind, k.name)
}

func (w *writer) subject(ctx context.Context, workload int64, container string) (int64, error) {
	name, err := w.word(ctx, container)
	if err != nil {
		return 0, err
	}
	return number(ctx, w, &w.subjects, subjectKey{workload, name},
		"SELECT id FROM subject WHERE workload = ? AND container = ?",
		"INSERT INTO subject (workload, container) VALUES (?, ?) RETURNING id", workload, name)
}

// revision notes that a container of a revision started. What is known of the
// act that made it is kept as it was first told.
func (w *writer) revision(ctx context.Context, workload int64, s *event.Start) (int64, error) {
	key := revisionKey{workload, history.RevisionOf(s)}
	at := nanos(s.Time)
	row, ok := w.revisions.get(key)
	if !ok {
		var err error
		if row, err = w.newRevision(ctx, key, at, s.Deployment); err != nil {
			return 0, err
		}
	}
	if at < row.first {
		row.first = at
		if err := w.exec(ctx, "UPDATE revision SET first = ? WHERE id = ?", at, row.id); err != nil {
			return 0, err
		}
	}
	if d := s.Deployment; d != nil && *d != (event.Deployment{}) && !row.deployed {
		row.deployed = true
		author, via, cause, err := w.act(ctx, d)
		if err != nil {
			return 0, err
		}
		if err := w.exec(ctx, "UPDATE revision SET deployed = ?, author = ?, via = ?, cause = ? WHERE id = ?",
			nanos(d.Time), author, via, cause, row.id); err != nil {
			return 0, err
		}
	}
	w.revisions.put(key, row)
	return row.id, nil
}

// newRevision makes the row of a revision, which is mostly new where it is not
// remembered, or finds the one that there is.
func (w *writer) newRevision(ctx context.Context, key revisionKey, at int64, d *event.Deployment) (revisionRow, error) {
	row := revisionRow{first: at}
	if d == nil {
		d = &event.Deployment{}
	}
	row.deployed = *d != event.Deployment{}
	author, via, cause, err := w.act(ctx, d)
	if err != nil {
		return row, err
	}
	err = w.row(ctx, `INSERT INTO revision (workload, name, first, deployed, author, via, cause) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING RETURNING id`, key.workload, key.name, at, nanos(d.Time), author, via, cause).Scan(&row.id)
	if !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}
	err = w.row(ctx, "SELECT id, first, deployed <> 0 OR author IS NOT NULL OR via IS NOT NULL OR cause IS NOT NULL FROM revision WHERE workload = ? AND name = ?",
		key.workload, key.name).Scan(&row.id, &row.first, &row.deployed)
	return row, err
}

// act is what is known of the act that made a revision, as its columns have it.
func (w *writer) act(ctx context.Context, d *event.Deployment) (author, via sql.NullInt64, cause sql.NullString, err error) {
	if author, err = w.optional(ctx, d.By); err == nil {
		via, err = w.optional(ctx, d.Via)
	}
	return author, via, sql.NullString{String: d.Cause, Valid: d.Cause != ""}, err
}

// optional is the number of a word, null for none.
func (w *writer) optional(ctx context.Context, value string) (sql.NullInt64, error) {
	if value == "" {
		return sql.NullInt64{}, nil
	}
	id, err := w.word(ctx, value)
	return sql.NullInt64{Int64: id, Valid: true}, err
}
