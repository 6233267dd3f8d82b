package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// alerts keeps those that are about to be written, and drops those that were.
func (w *writer) alerts(ctx context.Context, b *Batch) error {
	for _, a := range b.Alerts {
		if err := w.exec(ctx, "INSERT INTO alert (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", a.ID, string(a.Text)); err != nil {
			return err
		}
	}
	for _, id := range b.Sent {
		if err := w.exec(ctx, "DELETE FROM alert WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// Unsent returns the alerts that were about to be written when a process died:
// whether they were, nobody knows.
func (s *Store) Unsent(ctx context.Context) (all []history.Alert, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, body FROM alert ORDER BY id")
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var a history.Alert
		var body string
		if err := rows.Scan(&a.ID, &body); err != nil {
			return nil, s.fail("read", err)
		}
		a.Text = []byte(body)
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	return all, nil
}

// FindingsAbout returns the findings about one subject, the oldest first.
func (s *Store) FindingsAbout(ctx context.Context, of history.Subject) (all []finding.Finding, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT body FROM finding
		WHERE cluster = ? AND namespace = ? AND workload = ? AND container = ? ORDER BY time, number`,
		of.Cluster, of.Namespace, of.Workload.String(), of.Container)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var f finding.Finding
		if err := rows.Scan(&body); err != nil {
			return nil, s.fail("read", err)
		}
		if err := json.Unmarshal(body, &f); err != nil {
			return nil, s.fail("read", fmt.Errorf("a finding about %s: %w", of.Workload, err))
		}
		all = append(all, f)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	return all, nil
}

// Approved returns the digests that baselines name for a reference, as it is
// written in the spec, of a subject.
func (s *Store) Approved(ctx context.Context, of history.Subject, reference string) (all []string, err error) {
	ref, err := image.Parse(reference)
	if err != nil {
		return nil, nil // What is no reference has no baseline.
	}
	rows, err := s.read.QueryContext(ctx, `SELECT digest FROM baseline WHERE reference = ?
		AND cluster IN ('', ?) AND namespace IN ('', ?) AND kind IN ('', ?) AND name IN ('', ?) AND container IN ('', ?) ORDER BY id`,
		ref.String(), of.Cluster, of.Namespace, of.Workload.Kind, of.Workload.Name, of.Container)
	if err != nil {
		return nil, s.fail("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			return nil, s.fail("read", err)
		}
		all = append(all, digest)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail("read", err)
	}
	return all, nil
}
