package store

import (
	"context"
	"fmt"

	"github.com/tagwarden/tagwarden/internal/history"
)

// AddBaseline keeps an expected digest, with who says so, why and when, and
// returns its number. A digest that is already expected can be added again: it
// is another person's word.
func (s *Store) AddBaseline(ctx context.Context, b history.Baseline) (id int64, err error) {
	for _, field := range []struct {
		name    string
		missing bool
	}{
		{"reference", b.Reference == ""},
		{"digest", b.Digest == ""},
		{"origin", b.Origin == ""},
		{"name of who approves", b.By == ""},
		{"time", b.At.IsZero()},
	} {
		if field.missing {
			return 0, s.fail("add a baseline to", fmt.Errorf("it has no %s", field.name))
		}
	}
	err = s.change(ctx, "add a baseline to", func(ctx context.Context, w *writer) error {
		return w.row(ctx, `INSERT INTO baseline (cluster, namespace, api, kind, name, container, reference, digest, origin, author, why, at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
			b.Cluster, b.Namespace, b.Workload.APIVersion, b.Workload.Kind, b.Workload.Name, b.Container,
			b.Reference, b.Digest, string(b.Origin), b.By, b.Why, nanos(b.At)).Scan(&id)
	})
	return id, err
}

// RemoveBaseline takes a baseline away. Its number is not given again.
func (s *Store) RemoveBaseline(ctx context.Context, id int64) error {
	return s.change(ctx, "remove a baseline from", func(ctx context.Context, w *writer) error {
		var gone int64
		if err := w.row(ctx, "SELECT count(*) FROM baseline WHERE id = ?", id).Scan(&gone); err != nil {
			return err
		}
		if gone == 0 {
			return fmt.Errorf("there is no baseline %d", id)
		}
		return w.exec(ctx, "DELETE FROM baseline WHERE id = ?", id)
	})
}

// Baselines returns the baselines that hold for something that subject
// selects, by their numbers. An empty field of subject selects all; one of a
// baseline holds for all. So a whole subject gives what holds for it, and an
// empty one everything.
func (s *Store) Baselines(ctx context.Context, subject history.Subject) ([]history.Baseline, error) {
	var c condition
	for _, f := range []struct{ column, value string }{
		{"cluster", subject.Cluster},
		{"namespace", subject.Namespace},
		{"api", subject.Workload.APIVersion},
		{"kind", subject.Workload.Kind},
		{"name", subject.Workload.Name},
		{"container", subject.Container},
	} {
		if f.value != "" {
			c.add(f.column+" IN ('', ?)", f.value)
		}
	}
	rows, err := s.read.QueryContext(ctx, c.query(`SELECT id, cluster, namespace, api, kind, name, container,
		reference, digest, origin, author, why, at FROM baseline`, " ORDER BY id"), c.args...)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	var all []history.Baseline
	for rows.Next() {
		var b history.Baseline
		var at int64
		if err := rows.Scan(append(append([]any{&b.ID}, subjectFields(&b.Subject)...),
			&b.Reference, &b.Digest, &b.Origin, &b.By, &b.Why, &at)...); err != nil {
			return nil, s.fail("read", err)
		}
		b.At = instant(at)
		all = append(all, b)
	}
	return all, s.fail("read", rows.Err())
}
