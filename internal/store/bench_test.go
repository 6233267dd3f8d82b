package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// The size that BenchmarkSize builds. The target is a million intervals and
// 150,000 containers:
//
//	go test -run '^$' -bench Size -benchtime 1x -v ./internal/store -args -intervals 1000000 -containers 150000
var (
	intervalCount  = flag.Int("intervals", 10_000, "how many intervals BenchmarkSize writes")
	containerCount = flag.Int("containers", 3_000, "how many containers run in BenchmarkSize")
)

// fleet makes the events of a cluster: workloads of which each is deployed
// again and again.
type fleet struct {
	workloads int
	n         int
}

func hexOf(n int, what string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, n))
	return hex.EncodeToString(sum[:])
}

// start makes the next container of a revision of a workload.
func (f *fleet) start(workload, revision int, at time.Time) *event.Start {
	f.n++
	name := fmt.Sprintf("service-%04d", workload)
	rev := hexOf(workload*1000+revision, "revision")[:10]
	uid := hexOf(f.n, "uid")
	return &event.Start{
		Time: at, Cluster: "prod", Namespace: fmt.Sprintf("team-%d", workload%100), Platform: "linux/amd64",
		Pod: name + "-" + rev + "-" + uid[:5], PodUID: uid[:8] + "-" + uid[8:12] + "-" + uid[12:16] + "-" + uid[16:20] + "-" + uid[20:32],
		Node: fmt.Sprintf("node-%d.example.com", f.n%1000), Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
		Revision: rev, Deployment: &event.Deployment{Time: at, By: "argocd-controller"}, Container: "app", Kind: event.Container,
		ContainerID: hexOf(f.n, "container"), Reference: fmt.Sprintf("registry.example.com/team/%s:1.%d.0", name, revision),
		Digest: "sha256:" + hexOf(workload*1000+revision, "digest"), DigestOf: "registry.example.com/team/" + name,
	}
}

const perBatch = 500

// BenchmarkWrite writes starts in batches of 500, each with the end of an older
// container: a start is one operation.
func BenchmarkWrite(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "history.db"))
	defer s.Close()
	f := fleet{workloads: 1000}
	var old []string
	at := noon
	cpu := cpuTime()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%perBatch > 0 {
			continue
		}
		at = at.Add(time.Second)
		batch := &store.Batch{Cluster: "prod", Now: at}
		for i := range perBatch {
			e := f.start(i*7%f.workloads, n/perBatch/100, at)
			batch.Starts = append(batch.Starts, e)
			old = append(old, e.ContainerID)
			if len(old) > 20*perBatch {
				batch.Ends = append(batch.Ends, &event.End{Time: at, Cluster: "prod", ContainerID: old[0]})
				old = old[1:]
			}
		}
		if err := s.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
	b.ReportMetric(float64(n)/(cpuTime()-cpu).Seconds(), "starts/cpu-s")
}

// filled makes a store with a history and what runs at its end, and returns
// that time.
func filled(b *testing.B, path string, intervals, containers int) (*store.Store, fleet, time.Time) {
	b.Helper()
	s := open(b, path)
	f := fleet{workloads: max(1, min(5000, intervals/20))}
	at := noon
	batch := &store.Batch{Cluster: "prod"}
	flush := func() {
		batch.Now = at
		if err := s.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		batch = &store.Batch{Cluster: "prod"}
	}
	runs := make([]string, f.workloads)
	for i := range intervals {
		w, revision := i%f.workloads, i/f.workloads
		at = at.Add(time.Second)
		e := f.start(w, revision, at)
		batch.Starts = append(batch.Starts, e)
		if runs[w] != "" {
			batch.Ends = append(batch.Ends, &event.End{Time: at.Add(time.Second), Cluster: "prod", ContainerID: runs[w]})
		}
		runs[w] = e.ContainerID
		if len(batch.Starts) == perBatch {
			flush()
		}
	}
	for i := range containers - f.workloads {
		batch.Starts = append(batch.Starts, f.start(i%f.workloads, intervals/f.workloads-1, at))
		if len(batch.Starts) == perBatch {
			flush()
		}
	}
	flush()
	return s, f, at
}

func BenchmarkSeen(b *testing.B) {
	s, f, at := filled(b, filepath.Join(b.TempDir(), "history.db"), 10_000, 2_000)
	defer s.Close()
	subject := history.SubjectOf(f.start(1, 1, at))
	b.ReportAllocs()
	for b.Loop() {
		seen, err := s.Seen(b.Context(), subject)
		if err != nil || len(seen) == 0 {
			b.Fatal(len(seen), err)
		}
	}
}

func BenchmarkAt(b *testing.B) {
	s, _, at := filled(b, filepath.Join(b.TempDir(), "history.db"), 10_000, 2_000)
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		ask(b, s, history.Query{Workload: "Deployment/service-0001", From: at, To: at})
	}
}

func ask(b *testing.B, s *store.Store, q history.Query) (n int) {
	b.Helper()
	for _, err := range s.Intervals(b.Context(), q) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n == 0 {
		b.Fatal("nothing is selected")
	}
	return n
}

// BenchmarkSize builds a large store and measures what it weighs, and how long
// questions take. Run it with -benchtime 1x.
func BenchmarkSize(b *testing.B) {
	path := filepath.Join(b.TempDir(), "history.db")
	began, cpu := time.Now(), cpuTime()
	s, f, at := filled(b, path, *intervalCount, *containerCount)
	defer s.Close()
	b.Logf("built in %v: %.0f starts/s, %.0f a second of CPU time", time.Since(began).Round(time.Millisecond),
		float64(f.n)/time.Since(began).Seconds(), float64(f.n)/(cpuTime()-cpu).Seconds())
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d intervals, %d containers: %.1f MB, %d bytes an interval", *intervalCount, *containerCount, float64(info.Size())/1e6, info.Size()/int64(*intervalCount))

	timed := func(what string, do func() int) {
		began := time.Now()
		n := do()
		b.Logf("%-40s %8d  %v", what, n, time.Since(began).Round(10*time.Microsecond))
	}
	mid := noon.Add(at.Sub(noon) / 2)
	for b.Loop() {
		timed("at, one workload, now", func() int { return ask(b, s, history.Query{Workload: "service-0001", From: at, To: at}) })
		timed("at, one workload, half way", func() int { return ask(b, s, history.Query{Workload: "service-0001", From: mid, To: mid}) })
		timed("the same, as the command asks", func() int {
			return ask(b, s, history.Query{Namespace: "team-1", Workload: "Deployment/service-0001", From: mid, To: mid, Limit: 1000})
		})
		timed("all of one workload", func() int { return ask(b, s, history.Query{Workload: "service-0001"}) })
		timed("seen, one workload", func() int {
			seen, err := s.Seen(b.Context(), history.SubjectOf(f.start(1, 1, at)))
			if err != nil {
				b.Fatal(err)
			}
			return len(seen)
		})
		timed("at, whole cluster, now", func() int { return ask(b, s, history.Query{From: at, To: at}) })
		timed("at, whole cluster, half way", func() int { return ask(b, s, history.Query{From: mid, To: mid}) })
		timed("one digest", func() int { return ask(b, s, history.Query{Digest: f.start(1, 1, at).Digest}) })
		timed("one repository", func() int { return ask(b, s, history.Query{Repository: f.start(1, 1, at).DigestOf}) })
		timed("one pod", func() int { return ask(b, s, history.Query{Pod: fleetPod(b, s)}) })
		timed("the newest 100", func() int { return ask(b, s, history.Query{Limit: 100}) })
		timed("revisions of one workload", func() int {
			r, err := s.Revisions(b.Context(), history.Query{Workload: "service-0001"})
			if err != nil {
				b.Fatal(err)
			}
			return len(r)
		})
		timed("all that runs", func() int {
			n := 0
			for _, err := range s.Running(b.Context(), "prod") {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			return n
		})
		timed("all intervals", func() int {
			n := ask(b, s, history.Query{})
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.Logf("heap %.0f MB, from the system %.0f MB", float64(m.HeapAlloc)/1e6, float64(m.Sys)/1e6)
			return n
		})
		timed("check", func() int {
			p, err := s.Check(b.Context())
			if err != nil || len(p) > 0 {
				b.Fatal(p, err)
			}
			return len(p)
		})
		timed("retain half", func() int {
			n, err := s.Retain(b.Context(), mid)
			if err != nil {
				b.Fatal(err)
			}
			return n
		})
		timed("compact", func() int {
			c, err := s.Compact(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			return int(c.After / 1e6)
		})
		s.Close()
		s = open(b, path)
		timed("synced after a restart, all gone", func() int {
			if err := s.Write(b.Context(), &store.Batch{Cluster: "prod", Synced: []*event.Synced{{Cluster: "prod"}}}); err != nil {
				b.Fatal(err)
			}
			return *containerCount
		})
	}
}

// fleetPod is a pod that runs.
func fleetPod(b *testing.B, s *store.Store) string {
	b.Helper()
	for c, err := range s.Running(b.Context(), "prod") {
		if err != nil {
			b.Fatal(err)
		}
		return c.Pod
	}
	return ""
}
