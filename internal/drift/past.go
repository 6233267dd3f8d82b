package drift

import (
	"cmp"
	"iter"
	"slices"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/history"
)

// A Past is what was seen of a subject, in the order of its time. The zero Past
// is empty. A decision reads it without copying it, so that a workload that was
// deployed a thousand times costs little more than a new one.
type Past struct {
	order []sighting
	// keys are those of order, one by one: two numbers are compared sooner than
	// two texts.
	keys []key
	// revisions and references number the texts; two spellings of one reference
	// have one number.
	revisions, references map[string]int32
	next                  int
}

// A sighting is what was seen, and its place among all that became known.
type sighting struct {
	*history.Seen
	n int
}

type key struct{ revision, reference int32 }

// byTime orders sightings by their time, and within a second by when they
// became known.
func byTime(a, b sighting) int {
	return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.n, b.n))
}

// Add notes what was seen. Of one digest in one revision for one reference and
// platform, it keeps the earliest. It returns what is kept.
func (p *Past) Add(s *history.Seen) *history.Seen {
	k := p.number(s.Revision, s.Reference)
	for i := range p.order {
		old := p.order[i]
		if p.keys[i] != k || old.Digest != s.Digest || old.Platform != s.Platform || old.Reference != s.Reference {
			continue
		}
		if s.First.Before(old.First) {
			digestOf := old.DigestOf
			*old.Seen = *s
			old.DigestOf = cmp.Or(digestOf, s.DigestOf)
			p.order, p.keys = slices.Delete(p.order, i, i+1), slices.Delete(p.keys, i, i+1)
			p.insert(old, k)
		}
		return old.Seen
	}
	kept := sighting{s, p.next}
	p.next++
	p.insert(kept, k)
	return s
}

func (p *Past) insert(s sighting, k key) {
	at, _ := slices.BinarySearchFunc(p.order, s, byTime)
	p.order, p.keys = slices.Insert(p.order, at, s), slices.Insert(p.keys, at, k)
}

// number makes a key; the numbers of what is new are new.
func (p *Past) number(revision, reference string) key {
	if p.revisions == nil {
		p.revisions, p.references = map[string]int32{}, map[string]int32{}
	}
	r, ok := p.revisions[revision]
	if !ok {
		r = int32(len(p.revisions))
		p.revisions[revision] = r
	}
	return key{r, p.reference(reference)}
}

func (p *Past) reference(text string) int32 {
	if n, ok := p.references[text]; ok {
		return n
	}
	n := int32(len(p.references))
	if normal := normal(text); normal != text {
		// The spelling has the number of the normal form.
		if known, ok := p.references[normal]; ok {
			n = known
		} else {
			p.references[normal] = n
		}
	}
	p.references[text] = n
	return n
}

// normal is the normal spelling of a reference, or the text itself where it is
// none.
func normal(text string) string {
	ref, err := image.Parse(text)
	if err != nil {
		return text
	}
	return ref.String()
}

// find is the key of a revision and a reference; a number that is not known is
// -1.
func (p *Past) find(revision, reference string) key {
	k := key{-1, -1}
	if n, ok := p.revisions[revision]; ok {
		k.revision = n
	}
	if n, ok := p.references[reference]; ok {
		k.reference = n
	} else if n, ok := p.references[normal(reference)]; ok {
		k.reference = n
	}
	return k
}

// Knows reports whether anything was seen of a revision.
func (p *Past) Knows(revision string) bool {
	_, ok := p.revisions[revision]
	return ok
}

// Len is how many sightings there are.
func (p *Past) Len() int { return len(p.order) }

// All yields the sightings in the order of their time.
func (p *Past) All() iter.Seq[*history.Seen] {
	return func(yield func(*history.Seen) bool) {
		for i := range p.order {
			if !yield(p.order[i].Seen) {
				return
			}
		}
	}
}

// Forget keeps the newest sightings, as many as it is told, and those that keep
// says.
func (p *Past) Forget(newest int, keep func(*history.Seen) bool) {
	old := *p
	*p = Past{}
	for i, s := range old.order {
		if i >= len(old.order)-newest || keep(s.Seen) {
			p.order, p.keys = append(p.order, s), append(p.keys, p.number(s.Revision, s.Reference))
		}
	}
	p.next = old.next
}
