// Package evidence gathers what triage decides by: from the cluster, the history,
// registries and the policy, all at once and within a bounded time. What could
// not be learnt is an item of its own, with the reason.
package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/source/containerd"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/triage"
)

// DefaultTimeout is how long everything together may take.
const DefaultTimeout = 10 * time.Second

// maxContainers is how many containers one question is about at most.
const maxContainers = 50

// Gatherer knows where evidence is. Policy and Now must be set, and at least one
// of Look and History; what is nil is a gap in every report.
type Gatherer struct {
	Policy *policy.Policy
	Now    func() time.Time
	// Timeout is for everything together; 0 means [DefaultTimeout].
	Timeout time.Duration
	// Look is a source that sees what runs now in a namespace, "" for all, and
	// ends.
	Look func(namespace string) (engine.Source, error)
	// Whole says that Look sees all namespaces, whatever it is asked for.
	Whole bool
	// Pulls are what kubelets said of images for a pod.
	Pulls func(ctx context.Context, namespace, pod string) ([]kube.Pull, error)
	// Images are a node's own records of the names of an image, by its digest.
	Images func(ctx context.Context, digest string) ([]containerd.Record, error)
	// History is what ran before, and what registries said.
	History *store.Store
	// Cluster is the name of the cluster in the history.
	Cluster string
	// Resolver asks registries about bytes.
	Resolver engine.Resolver
	// Config reads the config of an image.
	Config func(ctx context.Context, repository image.Reference, d image.Digest) ([]byte, error)
	// Pushes finds what to ask about pushes to a repository.
	Pushes func(image.Reference) (pushes.Source, bool)
	// Diff says in a line what differs between two images for a platform.
	Diff func(ctx context.Context, from, to image.Reference, on image.Platform) (string, error)
	Log  *slog.Logger
}

// A Question says what is to be triaged. Empty fields select all.
type Question struct {
	Namespace string
	// Workload is a name, or Kind/name; the kind in any case.
	Workload string
	// Pod is the name or the uid of a pod, Container the name of a container,
	// ContainerID an id of one or its beginning.
	Pod, Container, ContainerID string
	// Repository and Digest select what runs an image.
	Repository, Digest string
	// Finding is one that was raised, or nil; Falco an alert of Falco, or nil.
	Finding *finding.Finding
	Falco   *Falco
}

// Falco is what an alert of Falco says.
type Falco struct {
	Time         time.Time
	Rule, Output string
	// Repository, Tag and Digest are those of the image, as Falco has them.
	Repository, Tag, Digest string
}

// start is what an alert says of the start that it is about. What Falco calls the
// image is the runtime's name for it, not what was asked for.
func (f *Falco) start(q *Question) *event.Start {
	s := &event.Start{
		Time: f.Time, Source: byFalco, Existing: true, Namespace: q.Namespace, Pod: q.Pod, Container: q.Container, ContainerID: q.ContainerID,
		Image: f.Repository, Digest: f.Digest, DigestOf: f.Repository,
	}
	if f.Tag != "" {
		s.Image += ":" + f.Tag
	}
	if f.Digest == "" {
		s.DigestOf = ""
	}
	return s
}

// ErrNothing means that nothing is known that a question is about.
var ErrNothing = errors.New("nothing is known to run, or to have run, that this is about")

// Gather answers a question: a report for each container of a workload that it
// is about, the worst first. An error means that nothing could be said at all.
func (g *Gatherer) Gather(ctx context.Context, q Question) ([]triage.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(g.Timeout, DefaultTimeout))
	defer cancel()
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	seen, failed := g.look(ctx, q.Namespace)
	var chosen []*event.Start
	for _, s := range seen.starts {
		if q.about(s) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 && g.History != nil {
		then, err := g.then(ctx, q)
		if err != nil {
			return nil, errors.Join(failed, err)
		}
		chosen, seen.starts = then, append(seen.starts, then...)
	}
	if len(chosen) == 0 && q.Falco != nil {
		// The alert is all that is left of it.
		chosen = []*event.Start{q.Falco.start(&q)}
		failed = cmp.Or(failed, ErrNothing)
	}
	if len(chosen) == 0 {
		return nil, cmp.Or(failed, ErrNothing)
	}
	groups := group(chosen)
	if len(groups) > maxContainers {
		return nil, fmt.Errorf("that is %d containers, and %d at most are triaged at once; name a workload or a pod", len(groups), maxContainers)
	}
	answers := g.judge(ctx, seen, groups)
	reports := make([]triage.Report, len(groups))
	var all errgroup.Group
	all.SetLimit(8)
	for i, chosen := range groups {
		all.Go(func() error {
			c := &container{Gatherer: g, q: q, all: seen, judged: answers, failed: failed}
			reports[i] = c.report(ctx, chosen)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	rank := func(r *triage.Report) int {
		n := slices.Index([]triage.Verdict{triage.Escalate, triage.Undecided, triage.Hygiene, triage.Expected}, r.Verdict) * 2
		if !r.Urgent {
			n++
		}
		return n
	}
	slices.SortStableFunc(reports, func(a, b triage.Report) int { return cmp.Compare(rank(&a), rank(&b)) })
	return reports, nil
}

// about reports whether a question is about a start.
func (q *Question) about(s *event.Start) bool {
	of := history.SubjectOf(s)
	kind, name, ok := strings.Cut(q.Workload, "/")
	if !ok {
		kind, name = "", q.Workload
	}
	ref, _, err := s.Requested()
	switch {
	case q.Namespace != "" && q.Namespace != s.Namespace,
		q.Pod != "" && q.Pod != s.Pod && q.Pod != s.PodUID,
		q.Container != "" && q.Container != s.Container,
		q.ContainerID != "" && !strings.HasPrefix(s.ContainerID, q.ContainerID),
		name != "" && name != of.Workload.Name,
		kind != "" && !strings.EqualFold(kind, of.Workload.Kind),
		q.Repository != "" && (err != nil || ref.Name() != q.Repository),
		q.Digest != "" && q.Digest != s.Digest:
		return false
	}
	return true
}

// view is what was seen at once.
type view struct {
	starts []*event.Start
	nodes  []*event.Node
}

// look sees what runs now. Where no cluster is asked, it is what ran when the
// history was last written.
func (g *Gatherer) look(ctx context.Context, namespace string) (*view, error) {
	v := &view{}
	if g.Look == nil {
		return v, g.remembered(ctx, namespace, v)
	}
	src, err := g.Look(namespace)
	if err != nil {
		return v, err
	}
	err = src.Watch(ctx, func(e event.Event) {
		switch e := e.(type) {
		case *event.Start:
			v.starts = append(v.starts, e)
		case *event.Node:
			v.nodes = append(v.nodes, e)
		}
	})
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", src, errLate)
	}
	return v, err
}

var errLate = errors.New("no answer in time; give it more with --timeout")

var errNobody = errors.New("no cluster was asked, and there is no history; give --kubeconfig, --from or --store")

// remembered is what runs by the history.
func (g *Gatherer) remembered(ctx context.Context, namespace string, v *view) error {
	if g.History == nil {
		return errNobody
	}
	stats, err := g.History.Stats(ctx)
	if err != nil {
		return err
	}
	for _, cluster := range stats.Clusters {
		if g.Cluster != "" && cluster.Name != g.Cluster {
			continue
		}
		for c, err := range g.History.Running(ctx, cluster.Name) {
			if err != nil {
				return err
			}
			if namespace != "" && c.Subject.Namespace != namespace {
				continue
			}
			v.starts = append(v.starts, &event.Start{
				Time: c.Started, Source: fromHistory, Existing: true, Cluster: c.Subject.Cluster, Node: c.Node, Platform: c.Platform,
				Namespace: c.Subject.Namespace, Pod: c.Pod, PodUID: c.PodUID, Workload: c.Subject.Workload, Revision: c.Revision,
				Container: c.Subject.Container, Kind: c.Kind, ContainerID: c.ContainerID, Reference: c.Reference,
				Digest: c.Digest, DigestOf: c.DigestOf,
			})
		}
	}
	return nil
}

const fromHistory = "history"

// then is what ran once that a question is about, and does not any more: the
// last of each container.
func (g *Gatherer) then(ctx context.Context, q Question) ([]*event.Start, error) {
	last := map[history.Subject]*event.Start{}
	query := history.Query{
		Cluster: g.Cluster, Namespace: q.Namespace, Workload: q.Workload, Pod: q.Pod, Container: q.Container,
		Repository: q.Repository, Digest: q.Digest, Limit: maxRemembered,
	}
	if q.ContainerID != "" {
		return nil, nil // The history has only the first of many.
	}
	for i, err := range g.History.Intervals(ctx, query) {
		if err != nil {
			return nil, err
		}
		if before := last[i.Subject]; before != nil && before.Time.After(i.First) {
			continue
		}
		last[i.Subject] = &event.Start{
			Time: i.First, Source: fromHistory, Existing: true, Cluster: i.Cluster, Node: i.Node, Platform: i.Platform,
			Namespace: i.Namespace, Pod: i.Pod, PodUID: i.PodUID, Workload: i.Workload, Revision: i.Revision, Container: i.Container,
			Kind: i.Kind, ContainerID: i.ContainerID, Reference: i.Reference, Digest: i.Digest, DigestOf: i.DigestOf,
		}
	}
	var all []*event.Start
	for _, s := range last {
		all = append(all, s)
	}
	return all, nil
}

// maxRemembered is how many intervals of the history are looked at.
const maxRemembered = 1000

// group sorts starts by what they are of.
func group(starts []*event.Start) [][]*event.Start {
	at := map[history.Subject]int{}
	var all [][]*event.Start
	for _, s := range starts {
		of := history.SubjectOf(s)
		i, ok := at[of]
		if !ok {
			i = len(all)
			at[of], all = i, append(all, nil)
		}
		all[i] = append(all[i], s)
	}
	slices.SortFunc(all, func(a, b []*event.Start) int {
		return cmp.Or(cmp.Compare(a[0].Namespace, b[0].Namespace), cmp.Compare(a[0].Workload.String(), b[0].Workload.String()),
			cmp.Compare(a[0].Pod, b[0].Pod), cmp.Compare(a[0].Container, b[0].Container))
	})
	return all
}
