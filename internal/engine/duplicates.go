package engine

import "github.com/tagwarden/tagwarden/internal/event"

// remembered is how many starts are kept to find out that two sources saw the
// same one; at that many starts a second they may still be minutes apart.
const remembered = 1 << 16

// duplicates finds the start that two sources saw. A source by itself reports
// each start once, and the start of a container that ran before under the same
// id is a new one.
type duplicates struct {
	byID  map[string]*record
	order []string // ring of the ids, oldest at next
	next  int
}

// record is what was made of one start.
type record struct {
	source string
	// asked is set when the reference was known.
	asked bool
	// better is set when the second report knows the reference and the
	// first did not: then it is judged again.
	better bool
	fired  map[string]bool
}

func (r *record) fire(rule string) {
	if r.fired == nil {
		r.fired = map[string]bool{}
	}
	r.fired[rule] = true
}

func newDuplicates(sources int) *duplicates {
	d := &duplicates{}
	if sources > 1 {
		d.byID = map[string]*record{}
	}
	return d
}

// note says whether another source reported s before, and what was made of it.
func (d *duplicates) note(s *event.Start) (rec *record, again bool) {
	if d.byID == nil {
		return &record{}, false
	}
	asked := s.Reference != ""
	if rec := d.byID[s.ContainerID]; rec != nil && rec.source != s.Source {
		rec.better = asked && !rec.asked
		rec.asked = rec.asked || asked
		return rec, true
	}
	rec = &record{source: s.Source, asked: asked}
	if _, known := d.byID[s.ContainerID]; !known {
		d.keep(s.ContainerID)
	}
	d.byID[s.ContainerID] = rec
	return rec, false
}

// keep makes room for id, at the cost of the oldest one.
func (d *duplicates) keep(id string) {
	if len(d.order) < remembered {
		d.order = append(d.order, id)
		return
	}
	delete(d.byID, d.order[d.next])
	d.order[d.next] = id
	d.next = (d.next + 1) % remembered
}
