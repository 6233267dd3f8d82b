package store_test

import (
	"path/filepath"
	"testing"

	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Place {
		path := filepath.Join(t.TempDir(), "history.db")
		return storetest.Place{Open: func(t *testing.T) storetest.Store { return open(t, path) }}
	})
}

func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
