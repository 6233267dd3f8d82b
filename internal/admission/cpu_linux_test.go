package admission_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
)

// cpu is the processor time of the process or the thread (clock_gettime(2)).
func cpu(b *testing.B, clock int32) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkReviewCPU reports processor time, which does not depend on what else
// the machine does: that of the whole process for one review, garbage collection
// included, and the 99th percentile of the thread's.
func BenchmarkReviewCPU(b *testing.B) {
	for name, args := range map[string][4]string{
		"validate": {"/validate", "production", "nginx:latest"},
		"mutate":   {"/mutate", "shop", "nginx:1.25.3"},
	} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := reviewer(b, admissiontest.Exceptions(100, today))
			warm(b, r)
			h := r.Handler(func() error { return nil })
			body, err := admissiontest.Review(args[1], args[2])
			if err != nil {
				b.Fatal(err)
			}
			in := bytes.NewReader(body)
			var each []time.Duration
			all := cpu(b, unix.CLOCK_PROCESS_CPUTIME_ID)
			for b.Loop() {
				before := cpu(b, unix.CLOCK_THREAD_CPUTIME_ID)
				in.Reset(body)
				req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, args[0], in)
				req.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
				each = append(each, cpu(b, unix.CLOCK_THREAD_CPUTIME_ID)-before)
			}
			all = cpu(b, unix.CLOCK_PROCESS_CPUTIME_ID) - all
			slices.Sort(each)
			b.ReportMetric(float64(all.Microseconds())/float64(len(each)), "cpu-µs/review")
			b.ReportMetric(float64(each[len(each)*99/100].Microseconds()), "p99-cpu-µs")
			b.ReportMetric(float64(len(each))/all.Seconds(), "reviews/cpu-s")
		})
	}
}
