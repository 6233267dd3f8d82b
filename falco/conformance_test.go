package falco

import (
	"os"
	"path/filepath"
	"testing"
)

// conformance is the folder of cases that the real Falco engine decided.
func conformance(t testing.TB, file ...string) string {
	t.Helper()
	dir := os.Getenv("TAGWARDEN_CONFORMANCE")
	if dir == "" {
		t.Skip("TAGWARDEN_CONFORMANCE does not name the folder of conformance cases")
	}
	return filepath.Join(append([]string{dir, "falco"}, file...)...)
}

// mapEvent is an event whose fields stand in a map.
type mapEvent map[string]Value

func (e mapEvent) Type() string { return e["evt.type"].str }

func (e mapEvent) Field(f *FieldRef) Value {
	if v, ok := e[f.String()]; ok {
		return v
	}
	return e[f.Name]
}
