package admissiontest

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the processor time that this process has used.
func CPU() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

// kept is how many of the last reviews the percentiles are of: so many that they
// say something, and so few that they don't count as memory.
const kept = 1 << 15

// Measure puts a review to a hook, as often as b wants, and reports the
// processor time of the process, the garbage collector's included; the time that
// passes, which depends on what else the machine does; and the memory of the
// process at the end.
func Measure(b *testing.B, hook Hook, body []byte, allowed bool) {
	b.Helper()
	answer, err := hook(b.Context(), body)
	if err != nil {
		b.Fatal(err)
	}
	if got, err := Allowed(answer); err != nil || got != allowed {
		b.Fatalf("allowed %t, %v, want %t: %s", got, err, allowed, answer)
	}
	wall := make([]time.Duration, kept)
	n := 0
	before, err := CPU()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if _, err := hook(b.Context(), body); err != nil {
			b.Fatal(err)
		}
		wall[n%kept] = time.Since(began)
		n++
	}
	after, err := CPU()
	if err != nil {
		b.Fatal(err)
	}
	anon, file, err := Memory("self")
	if err != nil {
		b.Fatal(err)
	}
	wall = wall[:min(n, kept)]
	slices.Sort(wall)
	cpu := after - before
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(n), "cpu-µs/review")
	b.ReportMetric(float64(n)/cpu.Seconds(), "reviews/cpu-s")
	b.ReportMetric(float64(wall[len(wall)/2].Nanoseconds())/1e3, "p50-wall-µs")
	b.ReportMetric(float64(wall[len(wall)*99/100].Nanoseconds())/1e3, "p99-wall-µs")
	b.ReportMetric(float64(anon)/1e6, "anon-MB")
	b.ReportMetric(float64(file)/1e6, "file-MB")
}
