package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// ledger is what the engine knows of the containers that run, and of what ran
// before them: in memory, and read from the history where it is not.
type ledger struct {
	history History // nil: this run alone
	ids     *image.Identities

	subjects map[history.Subject]*subject
	// idle are subjects of which nothing ran at some time, the oldest first.
	idle []*subject
	live map[string]*living
	// before is the digest that a container of a pod ran last.
	before map[podContainer]string
	// nodes are the images on nodes: which one a digest names there.
	nodes      map[string]nodeImages
	beforeRing []podContainer
	beforeNext int
}

// subject is what was seen of one container of a workload.
type subject struct {
	history.Subject
	past drift.Past
	// part is set when the history may have more than past.
	part    bool
	running map[*history.Seen]*group
	// told are the digests that findings were about.
	told map[told][]string
	// approved are the baselines by reference, as they were at a time: people
	// may add some while the engine runs.
	approved   map[string][]string
	approvedAt time.Time
	// idle is how often it stands in the ledger's list of these.
	idle int
	// deployment is the newest that was seen.
	deployment *event.Deployment
}

// approvedFor is how long baselines are taken for what they were.
const approvedFor = 5 * time.Second

// group is the containers of a subject that run the same.
type group struct {
	members map[string]*living
	// oldest stands for all of them, whatever order they became known in.
	oldest *living
}

// add takes in a container.
func (g *group) add(c *living) {
	g.members[c.start.ContainerID] = c
	if g.oldest == nil || c.before(g.oldest) {
		g.oldest = c
	}
}

// remove takes a container out.
func (g *group) remove(c *living) {
	delete(g.members, c.start.ContainerID)
	if g.oldest == c {
		g.oldest = nil
		g.oldest = g.oldestBut(nil)
	}
}

// oldestBut is the oldest container of another pod than that of s, or nil.
func (g *group) oldestBut(s *event.Start) *living {
	if g.oldest != nil && !g.oldest.partOf(s) {
		return g.oldest
	}
	var oldest *living
	for _, c := range g.members {
		if !c.partOf(s) && (oldest == nil || c.before(oldest)) {
			oldest = c
		}
	}
	return oldest
}

// told is what findings about the same bytes have in common.
type told struct {
	id             finding.ID
	form, revision string
}

// tell notes that a finding is about to be raised. It is false when there was
// one about the same bytes before.
func (l *ledger) tell(sub *subject, f *finding.Finding, on image.Platform) bool {
	key := told{id: f.ID, revision: f.Subject.Revision}
	if f.ID == finding.TW03 {
		// That the tag moved and that a restart followed it are two things.
		key.form = f.Form
	}
	for _, before := range sub.told[key] {
		if before == f.Key {
			return false
		}
		a, errA := image.ParseDigest(before)
		b, errB := image.ParseDigest(f.Key)
		if errA != nil || errB != nil {
			continue
		}
		if relation, _ := l.Compare(a, b, on); relation == image.Same {
			return false
		}
	}
	sub.told[key] = append(sub.told[key], f.Key)
	return true
}

// living is a container that runs.
type living struct {
	start   *event.Start
	subject *subject
	seen    *history.Seen
	// previous is the digest that the same container of the pod ran before.
	previous string
}

// before orders containers by their start.
func (c *living) before(o *living) bool {
	return cmp.Or(c.start.Time.Compare(o.start.Time), cmp.Compare(c.start.ContainerID, o.start.ContainerID)) < 0
}

// partOf reports whether the container is that of s, or in its pod.
func (c *living) partOf(s *event.Start) bool {
	return s != nil && (c.start.ContainerID == s.ContainerID || c.start.PodUID == s.PodUID && s.PodUID != "")
}

type podContainer struct{ podUID, container string }

// pods is for how many containers of pods the last digest is kept: a restart
// follows soon upon an end.
const pods = 1 << 17

func newLedger(h History, ids *image.Identities) *ledger {
	return &ledger{
		history: h, ids: ids, subjects: map[history.Subject]*subject{}, live: map[string]*living{},
		before: map[podContainer]string{}, nodes: map[string]nodeImages{},
	}
}

// load takes in what ran when the history was last written.
func (l *ledger) load(ctx context.Context) error {
	if l.history == nil {
		return nil
	}
	for c, err := range l.history.Running(ctx) {
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		sub, err := l.subject(ctx, c.Subject)
		if err != nil {
			return err
		}
		s := &event.Start{
			Time: c.First, Source: fromHistory, Existing: true, Cluster: c.Cluster, Node: c.Node, Platform: c.Platform,
			Namespace: c.Namespace, Pod: c.Pod, PodUID: c.PodUID, Workload: c.Workload, Revision: c.Revision,
			Container: c.Container, Kind: c.Kind, ContainerID: c.ContainerID, Reference: c.Reference,
			Digest: c.Digest, DigestOf: c.DigestOf,
		}
		l.add(sub, s)
	}
	return nil
}

// fromHistory is the source of a start that no source of this run has named
// yet.
const fromHistory = "history"

// subject finds what is known of a subject.
func (l *ledger) subject(ctx context.Context, of history.Subject) (*subject, error) {
	if sub := l.subjects[of]; sub != nil {
		return sub, nil
	}
	sub := &subject{Subject: of, running: map[*history.Seen]*group{}, told: map[told][]string{}}
	if l.history != nil {
		seen, err := l.history.Seen(ctx, of)
		if err != nil {
			return nil, fmt.Errorf("read history of %s: %w", of.Workload, err)
		}
		for i := range seen {
			sub.past.Add(&seen[i])
		}
		sub.part = len(seen) >= sightings
		findings, err := l.history.Findings(ctx, of)
		if err != nil {
			return nil, fmt.Errorf("read findings about %s: %w", of.Workload, err)
		}
		for i := range findings {
			l.tell(sub, &findings[i], image.Platform{})
		}
	}
	l.subjects[of] = sub
	return sub, nil
}

// add notes a start.
func (l *ledger) add(sub *subject, s *event.Start) *living {
	c := &living{subject: sub}
	if s.Digest != "" {
		c.seen = sub.note(s)
	}
	c.start = c.kept(s)
	l.live[c.start.ContainerID] = c
	if c.seen == nil {
		return c
	}
	if sub.running[c.seen] == nil {
		sub.running[c.seen] = &group{members: map[string]*living{}}
	}
	sub.running[c.seen].add(c)
	key := podContainer{c.start.PodUID, c.start.Container}
	if _, ok := l.before[key]; !ok {
		if len(l.beforeRing) < pods {
			l.beforeRing = append(l.beforeRing, key)
		} else {
			delete(l.before, l.beforeRing[l.beforeNext])
			l.beforeRing[l.beforeNext] = key
			l.beforeNext = (l.beforeNext + 1) % pods
		}
	}
	c.previous = l.before[key]
	l.before[key] = c.start.Digest
	return c
}

// kept is what is kept of a start as long as its container runs, with the texts
// that many have in common only once: on a large cluster, this is most of the
// memory. Labels, names of the runtime and what rules ask for are left out.
func (c *living) kept(s *event.Start) *event.Start {
	sub := c.subject
	k := &event.Start{
		Time: s.Time, Source: unique.Make(s.Source).Value(), Existing: s.Existing,
		Cluster: sub.Cluster, Node: unique.Make(s.Node).Value(), Namespace: sub.Namespace, Pod: s.Pod, PodUID: s.PodUID,
		Container: sub.Container, Kind: s.Kind, ContainerID: s.ContainerID, PullPolicy: unique.Make(s.PullPolicy).Value(),
		PullSecrets: s.PullSecrets, Workload: s.Workload, Revision: s.Revision, Platform: s.Platform,
		Reference: s.Reference, Image: s.Image, Digest: s.Digest, DigestOf: s.DigestOf,
	}
	if s.Workload != (event.Workload{}) {
		k.Workload = sub.Workload
	}
	if seen := c.seen; seen != nil {
		k.Platform, k.Reference, k.Digest, k.DigestOf = seen.Platform, seen.Reference, seen.Digest, unique.Make(s.DigestOf).Value()
		if k.Revision != "" {
			k.Revision = seen.Revision
		}
	}
	if k.Reference != "" {
		k.Image = "" // It is asked for only where the reference is not known.
	}
	if d := s.Deployment; d != nil {
		if sub.deployment == nil || *sub.deployment != *d {
			sub.deployment = d
		}
		k.Deployment = sub.deployment
	}
	return k
}

// note finds the sighting that a start belongs to, or makes it.
func (sub *subject) note(s *event.Start) *history.Seen {
	seen := sub.past.Add(drift.SightingOf(s))
	if sub.past.Len() > 2*sightings {
		running := map[string]bool{seen.Revision: true}
		for x := range sub.running {
			running[x.Revision] = true
		}
		sub.part = true
		sub.past.Forget(sightings, func(x *history.Seen) bool { return running[x.Revision] })
	}
	return seen
}

// sightings is how many sightings of a subject are kept beside those of what
// runs: half a year for who deploys every day.
const sightings = 200

// remove notes the end of a container. It reports whether it was known.
func (l *ledger) remove(id string) bool {
	c := l.live[id]
	if c == nil {
		return false
	}
	delete(l.live, id)
	if c.seen != nil {
		if group := c.subject.running[c.seen]; group != nil {
			group.remove(c)
			if len(group.members) == 0 {
				delete(c.subject.running, c.seen)
			}
		}
	}
	if len(c.subject.running) == 0 {
		l.idle = append(l.idle, c.subject)
		c.subject.idle++
		if l.history == nil {
			l.forget(maxIdle)
		}
	}
	return true
}

// maxIdle is for how many subjects of which nothing runs the past is kept where
// there is no history to read it from again: Jobs come with ever new names.
const maxIdle = 20_000

// forget drops what has been idle the longest, until some are left.
func (l *ledger) forget(left int) {
	for len(l.idle) > left {
		sub := l.idle[0]
		l.idle[0] = nil
		l.idle = l.idle[1:]
		if sub.idle--; sub.idle == 0 && len(sub.running) == 0 && l.subjects[sub.Subject] == sub {
			delete(l.subjects, sub.Subject)
		}
	}
}

// gone forgets the containers in the scope of a source that has caught up and
// has not named them: they ended while nobody watched.
func (l *ledger) gone(s *event.Synced) {
	for id, c := range l.live {
		if c.start.Source == fromHistory && c.start.Cluster == s.Cluster &&
			(s.Node == "" || c.start.Node == s.Node) && (s.Namespace == "" || c.start.Namespace == s.Namespace) {
			l.remove(id)
		}
	}
}

// kept says that the history has everything: what nothing runs of is read again
// when it is needed.
func (l *ledger) kept() {
	l.forget(0)
}

// confirm notes that a source named a container that is known already. It
// reports whether it is.
func (l *ledger) confirm(s *event.Start) bool {
	c := l.live[s.ContainerID]
	if c == nil {
		return false
	}
	if c.start.Source == fromHistory {
		c.start = c.kept(s) // It says more than the history keeps.
	}
	return true
}

// judge decides about a start, whether it is in the ledger or not.
func (l *ledger) judge(ctx context.Context, sub *subject, s *event.Start, production bool) (drift.Verdict, error) {
	if revision := history.RevisionOf(s); sub.part && l.history != nil && !sub.past.Knows(revision) {
		// An old revision that comes back is no new one.
		seen, err := l.history.SeenIn(ctx, sub.Subject, revision)
		if err != nil {
			return drift.Verdict{}, fmt.Errorf("read history of %s: %w", sub.Workload, err)
		}
		for i := range seen {
			sub.past.Add(&seen[i])
		}
	}
	c := drift.Case{
		Start: s, Production: production, Past: &sub.past, Before: l.before[podContainer{s.PodUID, s.Container}],
	}
	if known := l.live[s.ContainerID]; known != nil {
		c.Before = known.previous
	}
	for seen, group := range sub.running {
		if other := group.oldestBut(s); other != nil {
			running := *seen
			running.Pod, running.PodUID, running.ContainerID = other.start.Pod, other.start.PodUID, other.start.ContainerID
			running.First, running.Node = other.start.Time, other.start.Node
			c.Running = append(c.Running, running)
		}
	}
	slices.SortFunc(c.Running, func(a, b history.Seen) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.ContainerID, b.ContainerID))
	})
	if l.history != nil {
		if now := time.Now(); sub.approved == nil || now.Sub(sub.approvedAt) > approvedFor {
			sub.approved, sub.approvedAt = map[string][]string{}, now
		}
		approved, ok := sub.approved[s.Reference]
		if !ok {
			var err error
			if approved, err = l.history.Approved(ctx, sub.Subject, s.Reference); err != nil {
				return drift.Verdict{}, fmt.Errorf("read baselines of %s: %w", sub.Workload, err)
			}
			sub.approved[s.Reference] = approved
		}
		c.Approved = approved
	}
	return drift.Judge(&c, l), nil
}

// platformOf is the platform of a start, or the unknown one.
func platformOf(s *event.Start) image.Platform {
	p, err := image.ParsePlatform(s.Platform)
	if err != nil {
		return image.Platform{}
	}
	return p
}

// learn takes the facts out of a start that need no registry: an image id
// without a repository is the digest of a config, for the node's platform.
func (l *ledger) learn(s *event.Start) {
	if s.Digest == "" || s.DigestOf != "" || s.ImageID == "" {
		return
	}
	if d, err := image.ParseDigest(s.Digest); err == nil {
		l.ids.Add(image.Content{Digest: d, Kind: image.KindConfig, Platform: platformOf(s)})
	}
}

// learnNode takes in which digests a node knows one image by.
func (l *ledger) learnNode(n *event.Node) {
	on, err := image.ParsePlatform(n.Platform)
	if err != nil {
		on = image.Platform{}
	}
	node := n.Cluster + "/" + n.Name
	entries := make(map[image.Digest]int)
	delete(l.nodes, node)
	for i, names := range n.Images {
		var digests []image.Digest
		for _, name := range names {
			if d, err := image.ParseDigest(name); err == nil {
				digests = append(digests, d)
				entries[d] = i
			}
		}
		if len(digests) > 1 {
			l.ids.AddSameOn(on, digests...)
		}
	}
	// Docker can keep one image under the digests of two indexes, and calls
	// them two.
	if len(entries) > 1 && n.Runtime != "docker" && on != (image.Platform{}) {
		l.nodes[node] = nodeImages{on, entries}
	}
}

// nodeImages are the images on a node, by number.
type nodeImages struct {
	on     image.Platform
	images map[image.Digest]int
}

// Compare is that of the identities, and where they cannot tell, that of the
// nodes: a runtime keeps one image for one config, so two digests that one node
// keeps as two images are different bytes on its platform.
func (l *ledger) Compare(a, b image.Digest, on image.Platform) (image.Relation, string) {
	relation, why := l.ids.Compare(a, b, on)
	if relation != image.CannotTell {
		return relation, why
	}
	witness := ""
	for node, has := range l.nodes {
		i, okA := has.images[a]
		j, okB := has.images[b]
		if okA && okB && i != j && has.on == on && (witness == "" || node < witness) {
			witness = node
		}
	}
	if witness == "" {
		return relation, why
	}
	_, name, _ := strings.Cut(witness, "/")
	return image.Different, "node " + name + " keeps them as two images"
}

// Unknown is that of the identities; see [drift.Comparer].
func (l *ledger) Unknown(a, b image.Digest, on image.Platform) []image.Digest {
	return l.ids.Unknown(a, b, on)
}

// heartbeat is how often the history is told that what runs still runs.
const heartbeat = 10 * time.Second
