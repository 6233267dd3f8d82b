package store

import (
	"math"
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

const (
	theWord  = "(SELECT id FROM word WHERE value = ?)"
	oneOfPod = "(SELECT interval FROM running WHERE pod = ? OR pod_uid = ?)"
)

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
			OR s.digest_of = `+theWord+` AND s.reference = (SELECT id FROM reference WHERE value = ''))`, q.Repository, q.Repository)
	}
	if q.Digest != "" {
		c.add("s.digest = (SELECT id FROM digest WHERE value = ?)", packDigest(q.Digest))
	}
}

// ran selects intervals i of what was seen, s.
func (c *condition) ran(q history.Query) {
	c.what(q)
	c.add("i.first <= ?", bound(q.To, math.MaxInt64))
	c.add("(i.running > 0 OR i.last >= ?)", bound(q.From, math.MinInt64))
	if q.Pod != "" {
		uid := packUID(q.Pod)
		c.add("(i.id IN "+oneOfPod+" OR coalesce(i.pod, s.pod) = ? OR coalesce(i.pod_uid, s.pod_uid) = ?)", q.Pod, uid, q.Pod, uid)
	}
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
