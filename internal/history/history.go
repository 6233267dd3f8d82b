// Package history holds the words for what ran when: the containers of a
// workload, the intervals in which they ran one digest, the baselines that
// people approved, and the findings that were raised. It is data alone; the
// store keeps it, and drift decides over it.
package history

import (
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Subject is one container of one workload: what the history is about. It
// stays the same when pods come and go and when somebody deploys.
type Subject struct {
	Cluster   string
	Namespace string
	Workload  event.Workload
	Container string
}

// SubjectOf is what a start belongs to. A pod whose workload is not known, as
// on a node without the API server, stands for itself.
func SubjectOf(s *event.Start) Subject {
	w := s.Workload
	if w == (event.Workload{}) {
		w = event.Workload{APIVersion: "v1", Kind: "Pod", Name: s.Pod}
	}
	return Subject{Cluster: s.Cluster, Namespace: s.Namespace, Workload: w, Container: s.Container}
}

// RevisionOf is the revision of a start. Where the workload is not known, it
// is the pod itself: its uid.
func RevisionOf(s *event.Start) string {
	if s.Workload == (event.Workload{}) {
		return s.PodUID
	}
	return s.Revision
}

// A Seen is the first time that a container of one revision ran one digest
// for one reference.
type Seen struct {
	Revision, Reference string
	Digest, DigestOf    string
	// Platform is that of the node, as os/architecture[/variant].
	Platform string
	// First is when the first container of it started.
	First time.Time
	// Pod, PodUID, Node and ContainerID are those of that container.
	Pod, PodUID, Node, ContainerID string
}

// An Interval is a time in which containers of a subject ran one digest for
// one reference in one revision. As long as nothing else runs in between, it
// goes on, whatever pods come and go.
type Interval struct {
	Subject
	Kind event.Kind
	Seen
	// Last is when a container of it was last known to run.
	Last time.Time
	// Running is how many of its containers run at Last, Starts how many there
	// have ever been.
	Running, Starts int
	// Paused is set when there were more than [Pause] without any.
	Paused bool
	// Nodes are those that ran it, sorted.
	Nodes []string
}

// Pause is how long nothing may run before an interval counts as paused. It is
// longer than the back-off of a container that crashes again and again.
const Pause = 10 * time.Minute

// A Revision is one state of a workload's template, and what is known of the
// act that made it.
type Revision struct {
	Cluster, Namespace string
	Workload           event.Workload
	Name               string
	// First is when a container of it was first seen to start.
	First      time.Time
	Deployment *event.Deployment
}

// A Baseline is a digest that is expected for a reference. An empty cluster,
// namespace, workload or container means all of them.
type Baseline struct {
	// ID numbers the baselines of a store, from 1.
	ID int64
	Subject
	// Reference is normalised, with its tag: docker.io/library/nginx:1.25.
	Reference string
	Digest    string
	Origin    Origin
	By, Why   string
	At        time.Time
}

// Origin says where a baseline comes from.
type Origin string

// The origins of baselines. The first digest of a revision is a baseline, too,
// but needs no record of its own.
const (
	Approved Origin = "approved" // by a person
	Lock     Origin = "lock"     // from a lock file
)

// A Record is a finding as it is kept: once, however often it is found.
type Record struct {
	finding.Finding
	// Delivered says how far it got: see the states.
	Delivered Delivery
}

// Delivery is how far a finding got on its way to the sink.
type Delivery uint8

// The states of delivery. A finding is Sending from before it is written until
// that is known to be done: a process that was killed in between leaves it
// there, and it is not written twice.
const (
	Waiting Delivery = iota
	Sending
	Delivered
)

// A Query selects intervals and revisions. Empty fields select all.
type Query struct {
	Cluster, Namespace string
	// Workload is a name, or Kind/name; the kind in any case.
	Workload  string
	Container string
	// Pod is the name or the uid of a pod.
	Pod string
	// Repository is a normalised image name: docker.io/library/nginx.
	Repository string
	// Digest is one of any kind.
	Digest string
	// From and To bound the time; zero does not. An interval that overlaps
	// them is selected.
	From, To time.Time
	// Limit is the largest number of intervals; 0 means no limit.
	Limit int
}

// A Container is one that runs, as the store keeps it.
type Container struct {
	Subject
	Seen
	Kind event.Kind
}

// A Batch is what is written together: all of it, or nothing.
type Batch struct {
	Cluster string
	// Now is until when what runs is known to run.
	Now time.Time
	// Starts are containers that are new. Confirmed are the ids of containers
	// that were known before this run and were seen again.
	Starts    []*event.Start
	Confirmed []string
	Ends      []*event.End
	// Synced are the scopes in which nothing runs that was neither a start nor
	// confirmed.
	Synced []*event.Synced
	// Findings are kept once, by their fingerprint.
	Findings []finding.Finding
	// Pushes are what registries said of tags.
	Pushes []*event.Push
	// Alerts wait to be delivered, and Sent are those that were.
	Alerts []Alert
	Sent   []string
}

// An Alert is on its way to the sink.
type Alert struct {
	// ID is one of a kind.
	ID string
	// Text is what the sink is to write.
	Text []byte
}

// Pinned is the reference that names what was seen and nothing else: in the
// repository by which the runtime knows the digest, with the tag for people. A
// config digest cannot be pulled, and has none.
func (s *Seen) Pinned() string {
	of, err := image.Parse(s.DigestOf)
	if s.DigestOf == "" || err != nil {
		return ""
	}
	name := of.Name()
	if ref, err := image.Parse(s.Reference); err == nil && ref.Name() == name {
		name, _, _ = strings.Cut(s.Reference, "@")
	}
	return name + "@" + s.Digest
}
