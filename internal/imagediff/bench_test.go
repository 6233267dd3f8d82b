package imagediff_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// BenchmarkCompare compares an image without layers with one of some files of
// some KiB each. peak-B is how much of the heap was in use at most, without
// what was before: it must not grow with the bytes of an image, and with its
// files by some hundred bytes each.
func BenchmarkCompare(b *testing.B) {
	for _, size := range []struct{ files, kib int }{{100, 1}, {100, 1000}, {1000, 1}, {10_000, 1}, {100_000, 0}} {
		b.Run(fmt.Sprintf("files=%d/KiB=%d", size.files, size.kib), func(b *testing.B) {
			entries := make([]entry, 0, size.files)
			for i := range size.files {
				entries = append(entries, file(fmt.Sprintf("usr/lib/%d/file-%d", i%100, i), strings.Repeat("x", size.kib<<10)))
			}
			layer := registrytest.Gzip(registrytest.Tar(entries...))
			reg := registrytest.New()
			reg.Layered("app", "a", nil)
			reg.Layered("app", "b", nil, layer)
			c := client(b, streaming(reg, registrytest.Digest(layer.Blob), func() io.ReadCloser { return io.NopCloser(bytes.NewReader(layer.Blob)) }))
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			peak, calls := uint64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				d, err := imagediff.Compare(b.Context(), c, parse(b, "app:a"), parse(b, "app:b"), imagediff.Options{Progress: func(int64, int64) {
					if calls++; calls%8 == 0 {
						runtime.ReadMemStats(&now)
						peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
					}
				}})
				if err != nil || !d.Complete {
					b.Fatal(d, err)
				}
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
			}
			b.ReportMetric(float64(peak), "peak-B")
			b.ReportMetric(float64(peak)/float64(size.files), "peak-B/file")
		})
	}
}
