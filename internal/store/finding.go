package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

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

func (w *writer) delivery(ctx context.Context, state history.Delivery, fingerprints []string) error {
	for _, f := range fingerprints {
		key, err := hex.DecodeString(f)
		if err != nil {
			return fmt.Errorf("fingerprint %q: %w", f, err)
		}
		if err := w.exec(ctx, "UPDATE finding SET delivered = max(delivered, ?) WHERE fingerprint = ?", int(state), key); err != nil {
			return err
		}
	}
	return nil
}
