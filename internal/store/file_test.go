package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// TestMain is also the other process of the tests that need one.
func TestMain(m *testing.M) {
	switch os.Getenv("STORE_TEST_CHILD") {
	case "write":
		writeUntilKilled()
	case "lock":
		lockUntilKilled()
	}
	os.Exit(m.Run())
}

// child starts this test binary in another role, and returns its output. It is
// killed at the end of the test at the latest.
func child(t *testing.T, role string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func lockUntilKilled() {
	s, err := store.Open(context.Background(), os.Args[1], store.Options{})
	if err == nil {
		err = s.Lock()
	}
	fmt.Println(err)
	<-time.After(time.Hour) // Without a timer, the runtime would call it a deadlock.
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	cmd, out := child(t, "lock", path)
	if !out.Scan() || out.Text() != "<nil>" {
		t.Fatalf("the other process could not lock: %s", out.Text())
	}
	// A link is the same store.
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	defer s.Close()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("lock store %s: process %d on %s writes to it already; end that, or name another file", link, cmd.Process.Pid, host)
	if err := s.Lock(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// What a person changes needs no lock.
	if _, err := s.AddBaseline(t.Context(), history.Baseline{Reference: "r", Digest: "d", Origin: history.Approved, By: "me", At: noon}); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := s.Lock(); err != nil {
		t.Errorf("after the other was killed: %v", err)
	}
	if err := s.Lock(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	second := open(t, path)
	defer second.Close()
	if err := second.Lock(); err == nil {
		t.Error("locked twice in one process")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Lock(); err != nil {
		t.Errorf("after the other was closed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	made := func(change func(t *testing.T, path string)) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			s := open(t, path)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			change(t, path)
		}
	}
	// https://www.sqlite.org/fileformat.html: where the header has them.
	const userVersion, applicationID = 60, 68
	poke := func(at int64, bytes ...byte) func(*testing.T, string) {
		return made(func(t *testing.T, path string) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes, at); err != nil {
				t.Fatal(err)
			}
		})
	}
	chmod := func(mode os.FileMode) func(*testing.T, string) {
		return made(func(t *testing.T, path string) {
			t.Helper()
			if os.Geteuid() == 0 {
				t.Skip("root may do everything")
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, tc := range []struct {
		name     string
		make     func(*testing.T, string)
		readOnly bool
		want     string
	}{
		{"folder", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, "it is a folder; name a file in it"},
		{"text", write("hello, this is a text of a few lines\n"), false, "not a Tagwarden store; name another file"},
		{"short text", write("hello"), false, "not a Tagwarden store; name another file"},
		{"text, to read", write("hello, this is a text of a few lines\n"), true, "not a Tagwarden store; name another file"},
		{"empty, to read", write(""), true, "not a Tagwarden store; name another file"},
		{"missing, to read", func(*testing.T, string) {}, true, "no such file; 'tagwarden watch' makes it"},
		{"newer", poke(userVersion, 0, 0, 0, 9), false, "it has schema 9, and this version of tagwarden knows up to 2; use the newer version that wrote it"},
		{"newer, to read", poke(userVersion, 0, 0, 0, 9), true, "it has schema 9, and this version of tagwarden knows up to 2; use the newer version that wrote it"},
		{"of another program", poke(applicationID, 1, 2, 3, 4), false, "not a Tagwarden store; name another file"},
		{"older, to read", poke(userVersion, 0, 0, 0, 0), true, "it has schema 0, which this version does not read; 'tagwarden watch' brings it to schema 2"},
		{"damaged", poke(4096-8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), false, "the file is damaged; put back a copy of it, or move it away to begin anew"},
		{"damaged at the root", poke(100, 0xff, 0xff, 0xff), false, "the file is damaged; put back a copy of it, or move it away to begin anew"},
		{"no permission", chmod(0), false, "permission denied; it is readable for its owner alone, run as that user"},
		{"no permission to write", chmod(0o400), false, "permission denied; it is readable for its owner alone, run as that user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "history.db")
			tc.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := store.Open(t.Context(), path, store.Options{ReadOnly: tc.readOnly})
			if err == nil {
				_ = s.Close()
			}
			if want := "open store " + path + ": " + tc.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "no", "history.db"), store.Options{}); err == nil || !strings.Contains(err.Error(), "make it first") {
		t.Errorf("in no folder: %v", err)
	}
}

// A store of schema 1, with something in it, is brought to the newest schema,
// and loses nothing.
func TestMigrateFromSchema1(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	schema, err := os.ReadFile("schema/1.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{
		string(schema),
		"PRAGMA application_id(0x54675764); PRAGMA user_version(1)",
		"INSERT INTO baseline VALUES (1, '', 'shop', '', '', '', '', 'docker.io/library/nginx:1.25', 'sha256:x', 'approved', 'anna', 'tested', 1)",
	} {
		if _, err := db.ExecContext(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(t.Context(), path, store.Options{ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "it has schema 1, which this version does not read") {
		t.Errorf("read-only: %v, %v", s, err)
	}
	s, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if all, err := s.Baselines(t.Context(), history.Subject{Namespace: "shop"}); err != nil || len(all) != 1 || all[0].By != "anna" {
		t.Errorf("baselines: %+v, %v", all, err)
	}
	if err := s.Write(t.Context(), &store.Batch{Pushes: []*event.Push{{Time: noon, Repository: "docker.io/acme/api", Tag: "1", Trust: event.Recorded}}}); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Pushes(t.Context(), "docker.io/acme/api", "1", 0); err != nil || len(all) != 1 {
		t.Errorf("pushes: %+v, %v", all, err)
	}
	if problems, err := s.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("not sound: %v, %v", problems, err)
	}
}

func TestFileMode(t *testing.T) {
	t.Parallel()
	// Names that mean something in a URI are nothing but names.
	for _, name := range []string{"history.db", "a?mode=memory&b#c%41 d.db", "file:x.db"} {
		dir := t.TempDir()
		s := open(t, filepath.Join(dir, name))
		if err := s.Write(t.Context(), &store.Batch{Now: noon}); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 3 || files[0] != filepath.Join(dir, name) {
			t.Errorf("%s: the files are %q, %v", name, files, err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadWhileWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	w := open(t, path)
	defer w.Close()
	r, err := store.Open(t.Context(), path, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 3 {
		if err := w.Write(t.Context(), &store.Batch{Starts: []*event.Start{start(i)}}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range r.Running(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != i+1 {
			t.Errorf("after %d starts, %d run", i+1, n)
		}
	}
	want := "write to store " + path + ": it is open for reading alone"
	if err := r.Write(t.Context(), &store.Batch{}); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := r.Lock(); err == nil {
		t.Error("locked for reading")
	}
	if _, err := r.Compact(t.Context()); err == nil {
		t.Error("compacted for reading")
	}
}

// TestTwoWriters: a person's change and a watch may meet, and what the one
// removes the other does not remember.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	a, b := open(t, path), open(t, path)
	defer a.Close()
	defer b.Close()
	for i := range 4 {
		e := start(i)
		batch := &store.Batch{Starts: []*event.Start{e}, Ends: []*event.End{{Time: e.Time, ContainerID: e.ContainerID}}}
		if err := a.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Retain(t.Context(), noon.Add(time.Hour)); err != nil || n != 1 {
			t.Fatalf("removed %d, %v", n, err)
		}
	}
	if err := a.Write(t.Context(), &store.Batch{Starts: []*event.Start{start(9)}}); err != nil {
		t.Fatal(err)
	}
	sound(t, a)
}

// start makes a start of a workload of ten pods.
func start(n int) *event.Start {
	return &event.Start{
		Time: noon.Add(time.Duration(n) * time.Second), Namespace: "shop", Pod: fmt.Sprintf("web-%d", n), PodUID: fmt.Sprintf("uid-%d", n),
		Node: fmt.Sprintf("node-%d", n%7), Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: fmt.Sprintf("web-%d", n/10)},
		Revision: "r1", Container: "app", Kind: event.Container, ContainerID: fmt.Sprintf("%064x", n), Reference: "nginx:1.25",
		Digest: "sha256:" + fmt.Sprintf("%064x", n/5), DigestOf: "docker.io/library/nginx", Platform: "linux/amd64",
	}
}

func sound(t *testing.T, s *store.Store) {
	t.Helper()
	problems, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]store.Problem(nil), problems); diff != "" {
		t.Errorf("the store is not sound (-want +got):\n%s", diff)
	}
}
