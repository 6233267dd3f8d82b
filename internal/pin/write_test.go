package pin_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/pin"
)

func write(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// alone fails if something was left beside files.
func alone(t *testing.T, folder string, want int) {
	t.Helper()
	all, err := os.ReadDir(folder)
	if err != nil || len(all) != want {
		t.Errorf("got %v, %v; want %d files", all, err, want)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, link := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "link")
	write(t, name, "old", 0o640)
	if err := os.Symlink("a.yaml", link); err != nil {
		t.Fatal(err)
	}
	src, err := pin.Read(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Replace([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, name); got != "new" {
		t.Errorf("got %q", got)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if to, err := os.Readlink(link); err != nil || to != "a.yaml" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	alone(t, dir, 2)
}

// TestReplaceRefuses: what somebody else wrote meanwhile is not overwritten, and
// nothing is left behind.
func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		why, want string
		meanwhile func(t *testing.T, name string)
		files     int
	}{
		{"changed", "somebody else changed it meanwhile", func(t *testing.T, name string) {
			t.Helper()
			write(t, name, "theirs", 0o600)
		}, 1},
		{"replaced by one as large", "somebody else changed it meanwhile", func(t *testing.T, name string) {
			t.Helper()
			write(t, name+"2", "new", 0o600)
			if err := os.Rename(name+"2", name); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"removed", "no such file", func(t *testing.T, name string) {
			t.Helper()
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}, 0},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := filepath.Join(dir, "a.yaml")
			write(t, name, "old", 0o600)
			src, err := pin.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			tc.meanwhile(t, name)
			if err := src.Replace([]byte("ours")); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			alone(t, dir, tc.files)
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	if _, err := pin.Read(t.TempDir()); err == nil || err.Error() != "not a regular file" {
		t.Errorf("a folder: %v", err)
	}
	if _, err := pin.Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "x.lock")
	for _, text := range []string{"one", "two"} {
		if err := pin.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, name); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	if err := pin.WriteFile(dir, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if err := pin.WriteFile(filepath.Join(dir, "none", "x"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	alone(t, dir, 1)
}
