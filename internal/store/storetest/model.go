package storetest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// testModel writes random events, early, late, twice and across restarts, and
// compares what the store has with a model that keeps all in memory.
func testModel(t *testing.T, open opener) {
	sequences := 12
	if testing.Short() {
		sequences = 3
	}
	for seed := range sequences {
		s, m := open(t), newModel()
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		for step := range 30 {
			if r.IntN(6) == 0 {
				s.reopen()
				m.reopen()
			}
			b := m.random(r)
			s.write(b)
			m.write(b)
			if diff := gocmp.Diff(m.running(), s.running()); diff != "" {
				t.Fatalf("sequence %d, step %d: running (-want +got):\n%s\nafter %s", seed, step, diff, describe(b))
			}
			if diff := gocmp.Diff(m.intervals(), s.everything()); diff != "" {
				t.Fatalf("sequence %d, step %d: intervals (-want +got):\n%s\nafter %s", seed, step, diff, describe(b))
			}
		}
		m.sound(t)
		s.close()
	}
}

// running and everything write what the store has as the model does.
func (s *session) running() []string {
	s.t.Helper()
	var all []string
	for _, c := range collect(s.t, s.Running(s.t.Context(), "")) {
		all = append(all, fmt.Sprintf("%s %s %s.%s.%s %d", c.ContainerID, c.Node, c.Revision, c.Digest, c.Platform, minute(c.Started)))
	}
	slices.Sort(all)
	return all
}

func (s *session) everything() []string {
	s.t.Helper()
	var all []string
	for _, i := range s.all(history.Query{}) {
		all = append(all, fmt.Sprintf("%s.%s.%s %d-%d x%d runs %d %v %s %v", i.Revision, i.Digest, i.Platform,
			minute(i.First), minute(i.Last), i.Starts, i.Running, i.Paused, i.ContainerID, i.Nodes))
	}
	slices.Sort(all)
	return all
}

func minute(t time.Time) int { return int(t.Sub(Noon).Minutes()) }

func describe(b *store.Batch) string {
	var w strings.Builder
	fmt.Fprintf(&w, "a batch at %d:", minute(b.Now))
	for _, s := range b.Starts {
		fmt.Fprintf(&w, " %d+%s=%s.%s.%s", minute(s.Time), s.ContainerID, s.Revision, s.Digest, s.Platform)
	}
	for _, e := range b.Ends {
		fmt.Fprintf(&w, " %d-%s", minute(e.Time), e.ContainerID)
	}
	fmt.Fprintf(&w, " confirmed %v synced %d", b.Confirmed, len(b.Synced))
	return w.String()
}

// model is a store in memory, of one subject. Times are minutes after noon.
type model struct {
	now        int
	session    int
	heartbeats map[int]int // by session
	containers map[string]*modelContainer
	ended      map[string]modelEnd
	all        []*modelInterval

	// known are the starts that were made up so far.
	known []*event.Start
}

type modelContainer struct {
	in      *modelInterval
	started int
	session int
	start   *event.Start
}

type modelEnd struct {
	at                  int
	unstarted, inferred bool
}

type modelInterval struct {
	revision, digest, platform string
	first, started, last       int
	starts, running, session   int
	paused                     bool
	container                  string
	nodes                      map[string]bool
}

func newModel() *model {
	return &model{session: 1, heartbeats: map[int]int{}, containers: map[string]*modelContainer{}, ended: map[string]modelEnd{}}
}

func (m *model) reopen() { m.session++ }

// random makes a batch: mostly new containers now, some of them told late or
// twice, ends in any order, and now and then the end of a list.
func (m *model) random(r *rand.Rand) *store.Batch {
	m.now += r.IntN(15)
	b := &store.Batch{}
	at := func(minute int) time.Time { return Noon.Add(time.Duration(minute) * time.Minute) }
	when := func() int {
		if r.IntN(4) == 0 {
			return m.now - r.IntN(60)
		}
		return m.now - r.IntN(3)
	}
	if r.IntN(3) > 0 {
		b.Now = at(m.now)
	}
	for range r.IntN(4) {
		s := &event.Start{
			Time: at(when()), Container: "c", ContainerID: fmt.Sprint(len(m.known)), Node: fmt.Sprint("n", r.IntN(3)),
			Workload: event.Workload{Kind: "Deployment", Name: "web"}, Revision: fmt.Sprint("r", r.IntN(2)),
			Digest: Digest(r.IntN(2)), Platform: fmt.Sprint("p", r.IntN(5)/4),
		}
		m.known = append(m.known, s)
		if r.IntN(8) > 0 { // Else it comes late, or never.
			b.Starts = append(b.Starts, s)
		}
	}
	if len(m.known) > 0 {
		some := func() *event.Start { return m.known[max(0, len(m.known)-1-r.IntN(10))] }
		for range r.IntN(3) {
			if r.IntN(3) == 0 {
				b.Starts = append(b.Starts, some())
			}
			b.Ends = append(b.Ends, &event.End{Time: at(when()), ContainerID: some().ContainerID})
		}
		for range r.IntN(3) {
			b.Confirmed = append(b.Confirmed, some().ContainerID)
		}
	}
	if r.IntN(6) == 0 {
		b.Synced = []*event.Synced{{Time: at(m.now)}}
	}
	return b
}

func (m *model) write(b *store.Batch) {
	if !b.Now.IsZero() {
		m.heartbeats[m.session] = max(m.heartbeats[m.session], minute(b.Now))
	}
	for _, id := range b.Confirmed {
		m.confirm(id)
	}
	ends := map[string]int{}
	type step struct {
		at    int
		start *event.Start
		end   string
	}
	var steps []step
	for _, e := range b.Ends {
		at := minute(e.Time)
		if before, ok := ends[e.ContainerID]; ok {
			ends[e.ContainerID] = max(before, at)
		} else {
			ends[e.ContainerID] = at
		}
		steps = append(steps, step{at: at, end: e.ContainerID})
	}
	for _, s := range b.Starts {
		steps = append(steps, step{at: minute(s.Time), start: s})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for _, st := range steps {
		if st.start == nil {
			m.end(st.end, st.at)
			continue
		}
		end := math.MaxInt
		if at, ok := ends[st.start.ContainerID]; ok {
			end = at
		}
		m.start(st.start, end)
	}
	if len(b.Synced) > 0 {
		for id, c := range m.containers {
			if c.session < m.session {
				at := c.started
				if beat, ok := m.heartbeats[c.session]; ok {
					at = max(at, beat)
				}
				m.stop(id, at)
				m.ended[id] = modelEnd{at: at, inferred: true}
			}
		}
	}
}

func (m *model) confirm(id string) {
	if c := m.containers[id]; c != nil {
		c.session = m.session
		c.in.session = max(c.in.session, m.session)
	}
}

func (m *model) start(s *event.Start, end int) {
	id, at := s.ContainerID, minute(s.Time)
	if m.containers[id] != nil {
		m.confirm(id)
		return
	}
	counts := 1
	if e, ok := m.ended[id]; ok {
		switch {
		case e.unstarted:
			end = e.at
		case e.inferred && end == math.MaxInt:
			counts = 0
			delete(m.ended, id)
		default:
			m.ended[id] = modelEnd{at: e.at}
			return
		}
	}
	end = max(end, at)
	i := m.place(s, at, end)
	if i.starts == 0 {
		counts = 1
	}
	i.starts += counts
	i.nodes[s.Node] = true
	i.started, i.session = max(i.started, at), max(i.session, m.session)
	if at < i.first {
		i.first, i.container = at, id
	}
	if end != math.MaxInt {
		i.last = max(i.last, end)
		m.ended[id] = modelEnd{at: end}
		return
	}
	i.last = max(i.last, at)
	i.running++
	m.containers[id] = &modelContainer{in: i, started: at, session: m.session, start: s}
}

// place finds the interval for what runs from at to end.
func (m *model) place(s *event.Start, at, end int) *modelInterval {
	var within []*modelInterval
	var before, after *modelInterval
	for _, i := range m.all {
		switch {
		case i.revision != s.Revision || i.digest != s.Digest || i.platform != s.Platform:
		case i.first > end:
			if after == nil || i.first < after.first {
				after = i
			}
		case i.running > 0 || i.last >= at:
			within = append(within, i)
		case before == nil || i.last > before.last:
			before = i
		}
	}
	interrupted := func(since, until int) bool {
		return slices.ContainsFunc(m.all, func(o *modelInterval) bool {
			return (o.revision != s.Revision || o.digest != s.Digest) && o.started > since && o.first < until
		})
	}
	pause := int(history.Pause.Minutes())
	switch {
	case len(within) > 0:
		one := within[0]
		for _, other := range within[1:] {
			m.join(one, other)
		}
		return one
	case before != nil && !interrupted(before.started, at):
		before.paused = before.paused || at-before.last > pause
		return before
	case after != nil && !interrupted(at, after.first):
		after.paused = after.paused || after.first-end > pause
		return after
	}
	i := &modelInterval{
		revision: s.Revision, digest: s.Digest, platform: s.Platform,
		first: at, started: at, last: at, container: s.ContainerID, nodes: map[string]bool{},
	}
	m.all = append(m.all, i)
	return i
}

func (m *model) join(i, other *modelInterval) {
	if other.first < i.first {
		i.first, i.container = other.first, other.container
	}
	i.started, i.last, i.session = max(i.started, other.started), max(i.last, other.last), max(i.session, other.session)
	i.starts, i.running, i.paused = i.starts+other.starts, i.running+other.running, i.paused || other.paused
	for n := range other.nodes {
		i.nodes[n] = true
	}
	for _, c := range m.containers {
		if c.in == other {
			c.in = i
		}
	}
	m.all = slices.DeleteFunc(m.all, func(o *modelInterval) bool { return o == other })
}

func (m *model) end(id string, at int) {
	if c := m.containers[id]; c != nil {
		at = max(at, c.started)
		m.stop(id, at)
		m.ended[id] = modelEnd{at: at}
		return
	}
	if _, ok := m.ended[id]; !ok {
		m.ended[id] = modelEnd{at: at, unstarted: true}
	}
}

func (m *model) stop(id string, at int) {
	c := m.containers[id]
	c.in.running--
	c.in.last = max(c.in.last, at)
	delete(m.containers, id)
}

func (m *model) running() []string {
	var all []string
	for id, c := range m.containers {
		all = append(all, fmt.Sprintf("%s %s %s.%s.%s %d", id, c.start.Node, c.start.Revision, c.start.Digest, c.start.Platform, c.started))
	}
	slices.Sort(all)
	return all
}

func (m *model) intervals() []string {
	var all []string
	for _, i := range m.all {
		last := i.last
		if beat, ok := m.heartbeats[i.session]; ok && i.running > 0 {
			last = max(last, beat)
		}
		var nodes []string
		for n := range i.nodes {
			nodes = append(nodes, n)
		}
		slices.Sort(nodes)
		all = append(all, fmt.Sprintf("%s.%s.%s %d-%d x%d runs %d %v %s %v", i.revision, i.digest, i.platform,
			i.first, last, i.starts, i.running, i.paused, i.container, nodes))
	}
	slices.Sort(all)
	return all
}

// sound checks what must be true of any history, so that the model is not
// wrong in the same way as the store.
func (m *model) sound(t *testing.T) {
	t.Helper()
	starts := 0
	for _, i := range m.all {
		starts += i.starts
		for _, o := range m.all {
			if i != o && i.revision == o.revision && i.digest == o.digest && i.platform == o.platform &&
				i.first <= o.last && o.first <= i.last {
				t.Errorf("the model has intervals that overlap: %+v %+v", i, o)
			}
		}
	}
	count := len(m.containers)
	for _, e := range m.ended {
		if !e.unstarted {
			count++
		}
	}
	// One that was taken to have ended, and runs in a new interval, may count
	// there, too.
	if starts < count {
		t.Errorf("the model counts %d starts of %d containers", starts, count)
	}
}
