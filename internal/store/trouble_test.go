package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// many makes n starts in one batch.
func many(from, n int) *store.Batch {
	b := &store.Batch{Now: noon.Add(24 * time.Hour)}
	for i := range n {
		b.Starts = append(b.Starts, start(from+i))
	}
	return b
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	defer s.Close()
	if err := s.Write(t.Context(), many(0, 10)); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "PRAGMA max_page_count(60)")
	want := "write to store " + path + ": the disk is full; free space on it, nothing is lost of what was written before"
	if err := s.Write(t.Context(), many(10, 1500)); err == nil || err.Error() != want {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	if got := running(t, s); got != 10 {
		t.Errorf("%d containers run, want 10", got)
	}
	s.Exec(t, "PRAGMA max_page_count(100000)")
	if err := s.Write(t.Context(), many(10, 1500)); err != nil {
		t.Fatal(err)
	}
	if got := running(t, s); got != 1510 {
		t.Errorf("%d containers run, want 1510", got)
	}
	sound(t, s)
}

func TestBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	a, b := open(t, path), open(t, path)
	defer a.Close()
	defer b.Close()
	a.Exec(t, "BEGIN IMMEDIATE")
	b.Exec(t, "PRAGMA busy_timeout(1)")
	want := "write to store " + path + ": another process has been writing to it for too long; let that end and try again"
	if err := b.Write(t.Context(), many(0, 1)); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if got := running(t, b); got != 0 {
		t.Errorf("%d containers run, want none", got)
	}
	a.Exec(t, "COMMIT")
	if err := b.Write(t.Context(), many(0, 1)); err != nil {
		t.Error(err)
	}
}

func running(t *testing.T, s *store.Store) int {
	t.Helper()
	n := 0
	for _, err := range s.Running(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ change, check, detail string }{
		{"DELETE FROM running WHERE started = (SELECT min(started) FROM running)", "running containers", "interval 1 says that 5 run, and 4 do"},
		{"UPDATE interval SET running = running + 1 WHERE id = 2", "running containers", "interval 2 says that 6 run, and 5 do"},
		{"UPDATE running SET cluster = (SELECT id FROM word WHERE value = 'web-0')", "running containers", "a container of interval 1 runs in another cluster"},
		{"UPDATE running SET started = 0", "running containers", "a container of interval 1 started outside it"},
		{"UPDATE interval SET last = 0 WHERE id = 1", "times", "interval 1 has first "},
		{"UPDATE seen SET first = first + 1 WHERE id = 1", "times", "interval 1 begins before what it runs was first seen"},
		{"UPDATE seen SET first = first - 1 WHERE id = 1", "times", "interval 1 begins before what it runs was first seen"},
		{"UPDATE interval SET subject = 2 WHERE id = 1", "subjects", "interval 1 is of another container than what it runs"},
		{"UPDATE seen SET revision = 2 WHERE id = 1", "subjects", "seen 1 is of another workload than its revision"},
		{"UPDATE interval SET seen = 1, pod = '', pod_uid = '', node = 1, container = '' WHERE id = 2", "overlaps", "intervals 1 and 2 are one"},
		{"DELETE FROM interval_node WHERE interval = 1", "nodes", "interval 1 has no node"},
		{"DELETE FROM word WHERE value = 'web-0'", "rows", "workload 1 names a row of word that is not there"},
		{"DELETE FROM subject WHERE id = 1", "rows", " names a row of subject that is not there"},
		{"UPDATE finding SET fingerprint = x'00'", "findings", "finding 1 has a fingerprint that is not its own"},
		{"UPDATE finding SET body = '{'", "findings", "finding 1 is not readable: unexpected end of JSON input"},
	} {
		t.Run(tc.change, func(t *testing.T) {
			t.Parallel()
			s := open(t, filepath.Join(t.TempDir(), "history.db"))
			defer s.Close()
			b := many(0, 20)
			b.Findings = []history.Record{{Finding: finding.Finding{ID: finding.F01, Message: "m"}}}
			if err := s.Write(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			sound(t, s)
			s.Exec(t, tc.change)
			problems, err := s.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if p.Check == tc.check && strings.Contains(p.Detail, tc.detail) {
					return
				}
			}
			t.Errorf("want %s: %s, got %v", tc.check, tc.detail, problems)
		})
	}
}

// TestDamage overwrites pages: reading says so, or finds what was written; a
// check finds most of it, and nothing panics.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := open(t, path)
	if err := s.Write(t.Context(), many(0, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	found, pages := 0, len(whole)/page
	for p := 1; p < pages; p += 7 {
		copied := filepath.Join(dir, fmt.Sprintf("%d.db", p))
		damaged := bytes.Clone(whole)
		for i := p * page; i < (p+1)*page; i++ {
			damaged[i] ^= 0x55
		}
		if err := os.WriteFile(copied, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), copied, store.Options{})
		if err != nil {
			found++
			continue
		}
		for _, err := range s.Intervals(t.Context(), history.Query{}) {
			if err != nil && !strings.Contains(err.Error(), "the file is damaged; put back a copy of it") {
				t.Errorf("page %d: %v", p, err)
			}
		}
		problems, err := s.Check(t.Context())
		if err != nil {
			t.Errorf("page %d: check: %v", p, err)
		}
		if len(problems) > 0 {
			found++
		}
		if err := s.Close(); err != nil {
			t.Errorf("page %d: close: %v", p, err)
		}
	}
	if total := (pages + 5) / 7; found < total-1 {
		t.Errorf("damage was found in %d of %d copies", found, total)
	}
}

func TestCompactAndStats(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	defer s.Close()
	b := many(0, 3000)
	for _, e := range b.Starts {
		b.Ends = append(b.Ends, &event.End{Time: e.Time, ContainerID: e.ContainerID})
	}
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), many(5000, 20)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := store.Stats{
		Schema: 2, Bytes: got.Bytes, Subjects: 302, Revisions: 302, Intervals: 604, Running: 20,
		Oldest: noon, Clusters: []store.ClusterStats{{Heartbeat: noon.Add(24 * time.Hour)}},
	}
	if got.Bytes < 50_000 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	if n, err := s.Retain(t.Context(), noon.Add(time.Hour)); err != nil || n != 600 {
		t.Fatalf("removed %d intervals, %v", n, err)
	}
	// Two workloads of ten containers each are left, with two digests each.
	for table, want := range map[string]int{
		"interval": 4, "interval_node": 20, "seen": 4, "revision": 2, "subject": 2, "workload": 2, "reference": 1, "digest": 4,
		// The namespace, the API, the kind, 2 names, the container, its kind,
		// the platform, 2 spellings of the image's name, "", 7 nodes.
		"word": 18,
	} {
		if got := s.Number(t, "SELECT count(*) FROM "+table); got != want {
			t.Errorf("%s has %d rows left, want %d", table, got, want)
		}
	}
	c, err := s.Compact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.After != info.Size() || c.After > c.Before/2 {
		t.Errorf("compacted %+v, the file has %d bytes", c, info.Size())
	}
	sound(t, s)
	// Another process can't compact what this one has locked.
	other := open(t, path)
	defer other.Close()
	if _, err := other.Compact(t.Context()); err == nil || !strings.Contains(err.Error(), "writes to it already") {
		t.Errorf("compacted under another: %v", err)
	}
}

// TestEndedIsBounded: of the containers that ended, the store remembers enough,
// and not all.
func TestEndedIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	const generation = 10
	var s *store.Store
	// Each process goes on where the last one was.
	reopen := func() {
		t.Helper()
		if s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, path)
		s.RememberEnded(generation)
	}
	reopen()
	defer func() { s.Close() }()
	ended := func(from, to int) {
		t.Helper()
		for n := from; n <= to; n++ {
			e := start(n)
			if err := s.Write(t.Context(), &store.Batch{Starts: []*event.Start{e}, Ends: []*event.End{{Time: e.Time.Add(1), ContainerID: e.ContainerID}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	remembered := func(want int) {
		t.Helper()
		if got := s.Number(t, "SELECT count(*) FROM ended"); got != want {
			t.Errorf("%d are remembered, want %d", got, want)
		}
	}
	ended(1, 5)
	reopen()
	ended(6, 15)
	remembered(15)
	ended(1, 1) // Named again, and so remembered anew.
	reopen()
	ended(16, 19)
	remembered(19)
	ended(20, 20) // Begins the third generation.
	remembered(11)
	ended(1, 2)
	starts := 0
	for i, err := range s.Intervals(t.Context(), history.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		starts += i.Starts
	}
	// The second was forgotten, and counts again.
	if starts != 21 {
		t.Errorf("%d starts, want 21", starts)
	}
}
