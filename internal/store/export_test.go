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
