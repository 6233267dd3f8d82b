package admission

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// metrics counts what was answered.
type metrics struct {
	reviews    [2][2]atomic.Int64 // by webhook and allowed
	took       [2]histogram       // by webhook
	pinned     atomic.Int64
	unresolved atomic.Int64
	unreviewed atomic.Int64

	mu       sync.Mutex
	findings map[judgedKey]int64
}

type judgedKey struct {
	id     finding.ID
	effect policy.Effect
}

func (m *metrics) judged(id finding.ID, e policy.Effect) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.findings == nil {
		m.findings = map[judgedKey]int64{}
	}
	m.findings[judgedKey{id, e}]++
}

func (m *metrics) answered(hook int, allowed bool) {
	i := 0
	if allowed {
		i = 1
	}
	m.reviews[hook][i].Add(1)
}

// bounds are those of the histograms, in seconds. The webhooks time out at 5.
var bounds = [...]float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1, 5}

// A histogram counts durations by the first bound that they don't exceed, and
// those that exceed all.
type histogram struct {
	counts [len(bounds) + 1]atomic.Int64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) write(b *strings.Builder, name, label string) {
	all := int64(0)
	for i := range h.counts {
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		all += h.counts[i].Load()
		fmt.Fprintf(b, "%s_bucket{%s,le=%q} %d\n", name, label, le, all)
	}
	fmt.Fprintf(b, "%s_sum{%s} %v\n%s_count{%s} %d\n", name, label, time.Duration(h.sum.Load()).Seconds(), name, label, all)
}

// The webhooks, as metrics name them.
const (
	hookValidate = iota
	hookMutate
)

var hookNames = [...]string{"validate", "mutate"}

// A Gauge is a number that somebody else keeps.
type Gauge struct {
	Name, Help string
	Value      func() float64
}

// write writes the counters in the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
func (m *metrics) write(w io.Writer, gauges []Gauge) error {
	var b strings.Builder
	head := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP tagwarden_admission_%s %s\n# TYPE tagwarden_admission_%s %s\n", name, help, name, kind)
	}
	head("reviews_total", "counter", "Reviews answered, by webhook and answer.")
	for hook, name := range hookNames {
		for i, allowed := range []string{"false", "true"} {
			fmt.Fprintf(&b, "tagwarden_admission_reviews_total{webhook=%q,allowed=%q} %d\n", name, allowed, m.reviews[hook][i].Load())
		}
	}
	head("review_seconds", "histogram", "Time from a request to its answer, its body read and the answer written, by webhook.")
	for hook, name := range hookNames {
		m.took[hook].write(&b, "tagwarden_admission_review_seconds", fmt.Sprintf("webhook=%q", name))
	}
	head("findings_total", "counter", "Findings in reviewed objects, by id and by what the policy made of them.")
	m.mu.Lock()
	keys := make([]judgedKey, 0, len(m.findings))
	for k := range m.findings {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b judgedKey) int {
		if c := strings.Compare(string(a.id), string(b.id)); c != 0 {
			return c
		}
		return int(a.effect) - int(b.effect)
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "tagwarden_admission_findings_total{finding=%q,effect=%q} %d\n", k.id, k.effect, m.findings[k])
	}
	m.mu.Unlock()
	for _, c := range []struct {
		name, help string
		value      int64
	}{
		{"pinned_total", "References pinned to a digest.", m.pinned.Load()},
		{"unresolved_total", "References not pinned because their digest could not be had.", m.unresolved.Load()},
		{"unreviewed_total", "Objects let in because they could not be read.", m.unreviewed.Load()},
	} {
		head(c.name, "counter", c.help)
		fmt.Fprintf(&b, "tagwarden_admission_%s %d\n", c.name, c.value)
	}
	for _, g := range gauges {
		head(g.Name, "gauge", g.Help)
		fmt.Fprintf(&b, "tagwarden_admission_%s %v\n", g.Name, g.Value())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
