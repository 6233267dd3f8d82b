package store

import (
	"context"
	"testing"
)

// Exec runs a statement on the connection that writes, for tests of what goes
// wrong there.
func (s *Store) Exec(t *testing.T, query string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.w.conn.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}

// Number runs a query for one number on the connection that writes.
func (s *Store) Number(t *testing.T, query string) (n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.w.conn.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// RememberEnded makes generations of ended containers small.
func (s *Store) RememberEnded(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w.perGeneration = n
}
