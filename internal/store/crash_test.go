package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// lives is how many batches a container of the crash test lives.
const lives = 3

// numbered is batch n of the crash test: a start with a finding, and the end of
// an older container.
func numbered(n int) *store.Batch {
	s := start(n)
	s.Workload.Name, s.Revision = "web-"+strconv.Itoa(n%5), "r"+strconv.Itoa(n/100)
	f := history.Record{Finding: finding.Finding{ID: finding.F01, Time: s.Time, Message: "m", Key: strconv.Itoa(n)}, Delivered: history.Sending}
	b := &store.Batch{Now: s.Time, Starts: []*event.Start{s}, Findings: []history.Record{f}}
	if n >= lives {
		b.Ends = []*event.End{{Time: s.Time, ContainerID: start(n - lives).ContainerID}}
		f.Key = strconv.Itoa(n - lives)
		b.Delivered = []string{f.Fingerprint()}
	}
	return b
}

// writeUntilKilled writes batches from a number on and tells each that is
// written.
func writeUntilKilled() {
	ctx := context.Background()
	s, err := store.Open(ctx, os.Args[1], store.Options{})
	if err == nil {
		err = s.Lock()
	}
	n, _ := strconv.Atoi(os.Args[2])
	for ; err == nil; n++ {
		if err = s.Write(ctx, numbered(n)); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKill kills a process that writes, again and again: what it was told to be
// written is there, once, and nothing of what it was not.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	kills := 100
	if testing.Short() {
		kills = 10
	}
	r := rand.New(rand.NewPCG(1, 2))
	next, told := 0, 0
	for round := range kills {
		cmd, out := child(t, "write", path, strconv.Itoa(next))
		// At any time: while it opens the file, writes, or has written; each
		// second time not before it has.
		var kill *time.Timer
		arm := func() {
			if kill == nil {
				kill = time.AfterFunc(time.Duration(r.IntN(50))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if round%2 == 0 {
			arm()
		}
		for out.Scan() {
			arm()
			n, err := strconv.Atoi(out.Text())
			if err != nil || n != next {
				t.Fatalf("batch %d: the process that writes said %q", next, out.Text())
			}
			next++
			told++
		}
		_ = cmd.Wait()
	}
	if told < kills/2 {
		t.Fatalf("%d batches in %d processes: too few to tell", told, kills)
	}
	t.Logf("%d batches in %d processes", told, kills)

	s := open(t, path)
	defer s.Close()
	sound(t, s)
	starts, running := 0, map[string]bool{}
	for i, err := range s.Intervals(t.Context(), history.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		starts += i.Starts
	}
	// The last one may have been written, and not told.
	if starts != next && starts != next+1 {
		t.Fatalf("%d starts of %d that were told", starts, next)
	}
	for c, err := range s.Running(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		running[c.ContainerID] = true
	}
	want := map[string]bool{}
	for n := starts - lives; n < starts; n++ {
		want[start(n).ContainerID] = true
	}
	if diff := cmp.Diff(want, running); diff != "" {
		t.Errorf("what runs (-want +got):\n%s", diff)
	}
	findings := map[string]history.Delivery{}
	for f, err := range s.Findings(t.Context(), history.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, again := findings[f.Key]; again {
			t.Errorf("finding %s is there twice", f.Key)
		}
		findings[f.Key] = f.Delivered
	}
	wanted := map[string]history.Delivery{}
	for n := range starts {
		wanted[strconv.Itoa(n)] = history.Delivered
		if n >= starts-lives {
			wanted[strconv.Itoa(n)] = history.Sending
		}
	}
	if diff := cmp.Diff(wanted, findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
