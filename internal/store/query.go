package store

import (
	"strings"

	"github.com/tagwarden/tagwarden/internal/history"
)

// condition is the WHERE of a query and its arguments. The terms are constants
// of this package; what a user gave is always an argument.
type condition struct {
	terms []string
	args  []any
}

func (c *condition) add(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

// query puts the condition into a query, between its columns and its order.
func (c *condition) query(columns, order string) string { return columns + c.where() + order }

func (c *condition) where() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// in adds that a column is one of some numbers.
func (c *condition) in(column string, ids []int64) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	c.add(column+" IN ("+strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", ")+")", args...)
}

const theWord = "(SELECT id FROM word WHERE value = ?)"

// workload selects workloads l.
func (c *condition) workload(q history.Query) {
	if q.Cluster != "" {
		c.add("l.cluster = "+theWord, q.Cluster)
	}
	if q.Namespace != "" {
		c.add("l.namespace = "+theWord, q.Namespace)
	}
	if q.Workload == "" {
		return
	}
	// A name can have no slash (RFC 1123), a kind neither.
	kind, name, ok := strings.Cut(q.Workload, "/")
	if !ok {
		kind, name = "", q.Workload
	}
	c.add("l.name = "+theWord, name)
	if ok {
		c.add("wk.value = ? COLLATE NOCASE", kind)
	}
}

// subject selects subjects u of workloads l.
func (c *condition) subject(q history.Query) {
	c.workload(q)
	if q.Container != "" {
		c.add("u.container = "+theWord, q.Container)
	}
}

// what selects what was seen, s, by its content.
func (c *condition) what(q history.Query) {
	if q.Repository != "" {
		// Where the reference is not known, the runtime's name stands for it.
		c.add(`(s.reference IN (SELECT id FROM reference WHERE repository = `+theWord+`)
			OR s.digest_of = `+theWord+` AND s.reference = (SELECT id FROM reference WHERE name = (SELECT id FROM word WHERE value = '') AND tail = ''))`, q.Repository, q.Repository)
	}
	if q.Digest != "" {
		c.add("s.digest = (SELECT id FROM digest WHERE value = ?)", packDigest(q.Digest))
	}
}

// when selects intervals i by their time.
func (c *condition) when(q history.Query) {
	if !q.To.IsZero() {
		c.add("i.first <= ?", nanos(q.To))
	}
	if !q.From.IsZero() {
		c.add("(i.running > 0 OR i.last >= ?)", nanos(q.From))
	}
}

// pod selects intervals i of what was seen, s, that are among some numbers, or
// that a pod began.
func (c *condition) pod(pod string, intervals []int64) {
	uid := packUID(pod)
	var among condition
	among.in("i.id", intervals)
	c.add("(coalesce(i.pod, s.pod) = ? OR coalesce(i.pod_uid, s.pod_uid) = ? OR "+among.terms[0]+")", append([]any{pod, uid}, among.args...)...)
}

// within leaves out subjects u that cannot have anything that q selects, where
// an index can tell.
func (c *condition) within(q history.Query) {
	if q.Digest != "" || q.Repository != "" {
		var seen condition
		seen.what(q)
		c.add("u.id IN (SELECT s.subject FROM seen s"+seen.where()+")", seen.args...)
	}
}
