package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/source/containerd"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/triage"
)

// The sources of evidence, as reports name them.
const (
	byPolicy   = "policy"
	byCluster  = "cluster"
	byKubelet  = "kubelet event"
	byHistory  = "history"
	byRegistry = "registry"
	byFalco    = "Falco"
)

// maxPushes is how many pushes of a tag are looked at.
const maxPushes = 100

// deployWindow is how long after a deployment its first containers may start: an
// image of some gigabytes has to be pulled. What starts later may be a restart.
const deployWindow = 15 * time.Minute

// container gathers the evidence about one container of a workload.
type container struct {
	*Gatherer
	q      Question
	all    *view
	judged *answers
	failed error // why the cluster could not be looked at

	of    history.Subject
	start *event.Start
	ref   image.Reference
	// refErr is why the reference is none, known is whether it was asked for.
	refErr error
	known  bool

	verdict  drift.Verdict
	judgedAt bool // a verdict was reached
	ids      *image.Identities
	mu       sync.Mutex

	// What was asked beside each other.
	now         image.Digest
	nowErr      error
	nowMissing  error // why it cannot be compared
	pulls       []kube.Pull
	pullsErr    error
	records     []containerd.Record
	recordsErr  error
	told        []event.Push
	toldErrs    []error
	writers     []pushes.Writer
	writersErr  error
	claims      []pushes.Push
	claimsErr   error
	seen        []history.Seen
	seenErr     error
	approved    []string
	revisions   []history.Revision
	ever        []history.Interval
	everErr     error
	raised      []finding.Finding
	everywhere  *view
	everyErr    error
	change      string
	changeErr   error
	comparedTwo bool
}

// report gathers, decides and says what to do.
func (c *container) report(ctx context.Context, chosen []*event.Start) triage.Report {
	c.of = history.SubjectOf(chosen[0])
	c.choose(chosen)
	c.ref, c.known, c.refErr = c.start.Requested()
	c.ids = image.NewIdentities()
	c.recall(ctx)
	c.ask(ctx)
	items := c.items()
	triage.Sort(items)
	s := c.start
	r := triage.Report{
		Time: c.Now().UTC(), Image: cmp.Or(s.Reference, s.Image), Evidence: items, Decision: triage.Decide(items),
		Subject: finding.Subject{
			Cluster: s.Cluster, Namespace: s.Namespace, Workload: c.of.Workload.String(), Revision: history.RevisionOf(s), Pod: s.Pod,
			Container: s.Container, Kind: string(s.Kind), Node: s.Node,
		},
	}
	t := triage.Target{
		Namespace: s.Namespace, Pod: s.Pod, Node: s.Node, Kind: c.of.Workload.Kind, Name: c.of.Workload.Name, Container: s.Container,
	}
	if own := c.sighting(s.Digest); own != nil {
		t.Running = own.Pinned()
	}
	if from := c.sighting(c.expected()); from != nil && c.expected() != s.Digest {
		t.Baseline = from.Pinned()
	}
	r.Next = triage.Steps(r.Decision, t)
	return r
}

// choose takes the start that is to be explained: the one of which the worst is
// known, and of those the newest.
func (c *container) choose(chosen []*event.Start) {
	rank := func(s *event.Start) int {
		v, ok := c.judged.verdicts[s.ContainerID]
		switch {
		case ok && v.State == drift.Changed:
			return 0
		case ok && v.State == drift.Moved:
			return 1
		case !ok || v.State == drift.Unknown:
			return 2
		}
		return 3
	}
	c.start = slices.MinFunc(chosen, func(a, b *event.Start) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.Time.Compare(a.Time), cmp.Compare(a.ContainerID, b.ContainerID))
	})
	c.verdict, c.judgedAt = c.judged.verdicts[c.start.ContainerID]
}

// recall reads the history, which is quick.
func (c *container) recall(ctx context.Context) {
	for _, s := range c.all.starts {
		if history.SubjectOf(s) == c.of && s.Digest != "" {
			c.seen = append(c.seen, history.Seen{
				Revision: history.RevisionOf(s), Reference: s.Reference, Digest: s.Digest, DigestOf: s.DigestOf, Platform: s.Platform,
				First: s.Time, Pod: s.Pod, PodUID: s.PodUID, Node: s.Node, ContainerID: s.ContainerID,
			})
		}
	}
	if c.History != nil {
		before, err := c.History.Seen(ctx, c.of)
		c.seen, c.seenErr = append(c.seen, before...), err
		if c.approved, err = c.History.Approved(ctx, c.of, c.start.Reference); err != nil {
			c.seenErr = errors.Join(c.seenErr, err)
		}
		query := history.Query{Cluster: c.of.Cluster, Namespace: c.of.Namespace, Workload: c.of.Workload.String(), Limit: maxRemembered}
		if c.revisions, err = c.History.Revisions(ctx, query); err != nil {
			c.seenErr = errors.Join(c.seenErr, err)
		}
		if c.raised, err = c.History.FindingsAbout(ctx, c.of); err != nil {
			c.seenErr = errors.Join(c.seenErr, err)
		}
		if c.start.Digest != "" {
			c.ever, c.everErr = c.intervals(ctx)
		}
	}
	slices.SortStableFunc(c.seen, func(a, b history.Seen) int { return a.First.Compare(b.First) })
}

// intervals are all in which the digest ran, anywhere.
func (c *container) intervals(ctx context.Context) ([]history.Interval, error) {
	var all []history.Interval
	for i, err := range c.History.Intervals(ctx, history.Query{Digest: c.start.Digest, Limit: maxRemembered}) {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// ask asks everybody else, all at once. Every answer has a field of its own.
func (c *container) ask(ctx context.Context) {
	var asking sync.WaitGroup
	also := func(f func()) { asking.Go(f) }
	if c.Resolver != nil && c.refErr == nil {
		also(func() { c.askTag(ctx) })
	}
	if c.Pulls != nil && c.start.Pod != "" {
		also(func() { c.pulls, c.pullsErr = c.Pulls(ctx, c.start.Namespace, c.start.Pod) })
	}
	if c.Images != nil && c.start.Digest != "" {
		also(func() { c.records, c.recordsErr = c.Images(ctx, c.start.Digest) })
	}
	if c.refErr == nil {
		also(func() { c.askPushes(ctx) })
		also(func() { c.askWriters(ctx) })
	}
	if c.Config != nil && c.Resolver != nil && c.refErr == nil && c.start.Digest != "" {
		also(func() { c.askClaims(ctx) })
	}
	if c.Look != nil && c.q.Namespace != "" && !c.Whole {
		also(func() { c.everywhere, c.everyErr = c.look(ctx, "") })
	}
	also(func() { c.askChange(ctx) })
	asking.Wait()
}

// resolver asks with the credentials of the pod, where that is possible.
func (c *container) resolver() engine.Resolver {
	if f, ok := c.Resolver.(engine.For); ok {
		return f.For(c.start)
	}
	return c.Resolver
}

// askTag asks what the tag resolves to now, and what that and the running digest
// stand for.
func (c *container) askTag(ctx context.Context) {
	if c.ref.Pinned() && c.ref.Tag() == "" {
		return
	}
	tag := c.ref
	if c.ref.Pinned() {
		// The tag beside a digest is what an attacker would move.
		var err error
		if tag, err = image.Parse(c.ref.Name() + ":" + c.ref.Tag()); err != nil {
			c.nowErr = err
			return
		}
	}
	if c.now, c.nowErr = c.resolver().Resolve(ctx, tag); c.nowErr != nil || c.now.String() == c.start.Digest {
		return
	}
	c.nowMissing = c.learn(ctx, c.now, image.Digest(c.start.Digest))
}

// learn finds out what digests of the repository stand for.
func (c *container) learn(ctx context.Context, digests ...image.Digest) error {
	var failed error
	for _, d := range digests {
		if !d.Valid() {
			continue
		}
		contents, err := c.resolver().Content(ctx, c.ref, d, c.platform())
		c.mu.Lock()
		for _, x := range contents {
			c.ids.Add(x)
		}
		c.mu.Unlock()
		failed = errors.Join(failed, err)
	}
	return failed
}

func (c *container) platform() image.Platform {
	p, err := image.ParsePlatform(c.start.Platform)
	if err != nil {
		return image.Platform{}
	}
	return p
}

// same says whether two digests are the same bytes, as far as is known.
func (c *container) same(a, b string) image.Relation {
	if a == b {
		return image.Same
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	relation, _ := c.ids.Compare(image.Digest(a), image.Digest(b), c.platform())
	return relation
}

// askPushes asks the history and the registry's API who pushed the tag.
func (c *container) askPushes(ctx context.Context) {
	tag := c.tag()
	if c.History != nil && tag != "" {
		told, err := c.History.Pushes(ctx, c.ref.Name(), tag, maxPushes)
		c.told = told
		if err != nil {
			c.toldErrs = append(c.toldErrs, err)
		}
	}
	if c.Pushes == nil {
		return
	}
	src, ok := c.Pushes(c.ref)
	if !ok {
		c.toldErrs = append(c.toldErrs, fmt.Errorf("it is not known what kind of registry %s is; say so with --registry-kind", c.ref.Registry()))
		return
	}
	all, err := src.Pushes(ctx, c.ref)
	for i := range all {
		p := &all[i]
		c.told = append(c.told, event.Push{
			Repository: p.Repository, Tag: p.Tag, Digest: string(p.Digest), Pushed: p.At, OfDigest: p.OfDigest, By: p.By, Addr: p.Addr,
			UserAgent: p.UserAgent, Told: p.Source, Trust: p.Trust.String(), Confirmed: p.Confirmed,
		})
	}
	if err != nil {
		c.toldErrs = append(c.toldErrs, err)
	}
}

// tag is the one that pushes are looked for.
func (c *container) tag() string {
	if c.ref.Tag() == "" && !c.ref.Pinned() {
		return "latest"
	}
	return c.ref.Tag()
}

func (c *container) askWriters(ctx context.Context) {
	if c.Pushes == nil {
		c.writersErr = errOffline
		return
	}
	src, ok := c.Pushes(c.ref)
	if !ok {
		c.writersErr = fmt.Errorf("it is not known what kind of registry %s is; say so with --registry-kind", c.ref.Registry())
		return
	}
	c.writers, c.writersErr = src.Writers(ctx, c.ref)
}

var errOffline = errors.New("no registry is asked (--offline)")

// askClaims asks for what the publisher says of the image.
func (c *container) askClaims(ctx context.Context) {
	contents, err := c.resolver().Content(ctx, c.ref, image.Digest(c.start.Digest), c.platform())
	manifest := image.Digest("")
	for _, x := range contents {
		if x.Kind == image.KindManifest && manifest == "" {
			manifest = x.Digest
		}
	}
	if manifest == "" {
		c.claimsErr = cmp.Or(err, errors.New("no manifest for the node's platform is known"))
		return
	}
	config, err := c.Config(ctx, c.ref, manifest)
	if err != nil {
		c.claimsErr = err
		return
	}
	c.claims, c.claimsErr = pushes.Claims(c.ref, image.Digest(c.start.Digest), config)
}

// askChange asks what differs between the baseline and what runs.
func (c *container) askChange(ctx context.Context) {
	from, to := c.sighting(c.expected()), c.sighting(c.start.Digest)
	if c.expected() == "" || c.expected() == c.start.Digest {
		return
	}
	c.comparedTwo = true
	if c.Diff == nil {
		c.changeErr = errOffline
		return
	}
	var refs [2]image.Reference
	for i, seen := range []*history.Seen{from, to} {
		if seen == nil || seen.Pinned() == "" {
			c.changeErr = errors.New("the runtime gave no digest that can be pulled for one of the two")
			return
		}
		var err error
		if refs[i], err = image.Parse(seen.Pinned()); err != nil {
			c.changeErr = err
			return
		}
	}
	c.change, c.changeErr = c.Diff(ctx, refs[0], refs[1], c.platform())
}

// sighting is where a digest of the container was first seen.
func (c *container) sighting(digest string) *history.Seen {
	for i := range c.seen {
		if digest != "" && c.seen[i].Digest == digest {
			return &c.seen[i]
		}
	}
	return nil
}

// expected is the digest that should run, or "".
func (c *container) expected() string {
	switch {
	case c.verdict.From != "":
		return c.verdict.From
	case len(c.approved) > 0:
		return c.approved[0]
	}
	if f := c.changed(); f != nil {
		return f.Fact(drift.From)
	}
	if first := c.first(); first != nil {
		return first.Digest
	}
	return ""
}

// first is what the revision of the start ran first.
func (c *container) first() *history.Seen {
	revision := history.RevisionOf(c.start)
	for i := range c.seen { // sorted by time
		if c.seen[i].Revision == revision && c.seen[i].Reference == c.start.Reference {
			return &c.seen[i]
		}
	}
	return nil
}

// changed is the finding that the bytes of the start's revision changed, or the
// one that is triaged, whatever runs by now; nil if there is none that nobody has
// approved since.
func (c *container) changed() *finding.Finding {
	open := func(f *finding.Finding) bool {
		return f.ID == finding.TW04 && f.Subject.Container == c.start.Container &&
			!slices.ContainsFunc(c.approved, func(d string) bool { return c.same(d, f.Fact(drift.To)) == image.Same })
	}
	if f := c.q.Finding; f != nil && open(f) {
		return f
	}
	for i := len(c.raised) - 1; i >= 0; i-- {
		if f := &c.raised[i]; open(f) && f.Subject.Revision == history.RevisionOf(c.start) {
			return f
		}
	}
	return nil
}

// deployment is what is known of the act that made the revision of the start.
func (c *container) deployment() *event.Deployment {
	if d := c.start.Deployment; d != nil && !d.Time.IsZero() {
		return d
	}
	revision := history.RevisionOf(c.start)
	for i := range c.revisions {
		if d := c.revisions[i].Deployment; c.revisions[i].Name == revision && d != nil && !d.Time.IsZero() {
			return d
		}
	}
	return nil
}

// exception is what the policy says of accepting a finding about the start.
func (c *container) exception(id finding.ID) policy.Decision {
	s := policy.Subject{
		Finding: id, Namespace: c.start.Namespace, Workload: c.of.Workload.String(), ContainerKind: string(c.start.Kind),
	}
	if c.q.Falco != nil {
		s.Rule = c.q.Falco.Rule
	}
	if c.refErr == nil {
		s.Image = c.ref.Name()
	}
	return c.Policy.Decide(s, c.Now())
}

// join puts reasons into one line.
func join(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = oneLine(err)
	}
	return strings.Join(texts, "; ")
}

func oneLine(err error) string {
	if errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "--timeout") {
		return strings.ReplaceAll(err.Error(), "\n", "; ") + " (there was no more time; give it more with --timeout)"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
