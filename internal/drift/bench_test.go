package drift_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/history"
)

// BenchmarkJudge decides about a start of the newest of some revisions, with
// another replica beside it.
func BenchmarkJudge(b *testing.B) {
	ids := image.NewIdentities()
	for _, revisions := range []int{1, 10, 200} {
		b.Run(fmt.Sprint("revisions=", revisions), func(b *testing.B) {
			var past drift.Past
			var running []history.Seen
			for i := range revisions {
				s := start(fmt.Sprint("a", i), fmt.Sprint("r", i), time.Duration(i)*time.Hour, digest(i))
				s.Reference = fmt.Sprint("registry.example/api:1.", i)
				past.Add(drift.SightingOf(s))
				running = []history.Seen{*drift.SightingOf(s)}
			}
			s := start("b", fmt.Sprint("r", revisions-1), time.Duration(revisions)*time.Hour, digest(revisions-1))
			s.Reference = fmt.Sprint("registry.example/api:1.", revisions-1)
			c := &drift.Case{Start: s, Past: &past, Running: running}
			b.ReportAllocs()
			for b.Loop() {
				if v := drift.Judge(c, ids); v.State != drift.Expected || v.Open {
					b.Fatal(v.State, v.Reason)
				}
			}
		})
	}
}
