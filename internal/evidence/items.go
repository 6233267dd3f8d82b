package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/triage"
)

// items is everything that was learnt, and what was not.
func (c *container) items() []triage.Item {
	all := c.reason()
	all = append(all, c.namespace(), c.exceptionItem(), c.reference())
	all = append(all, c.pulled()...)
	all = append(all, c.pusher()...)
	all = append(all, c.mayPush(), c.created(), c.digest(), c.baseline(), c.tagNow(), c.deployed(), c.replicas())
	all = append(all, c.elsewhere()...)
	if c.comparedTwo {
		change := triage.Item{Name: triage.Change, Value: c.change, Source: byRegistry}
		if c.changeErr != nil {
			change = missing(triage.Change, oneLine(c.changeErr))
		}
		all = append(all, change)
	}
	return append(all, missing(triage.Signature, "signatures are not verified: not available yet"))
}

// source is who says what runs.
func (c *container) source() string {
	switch c.start.Source {
	case fromHistory:
		return byHistory
	case byFalco:
		return byFalco
	}
	return byCluster
}

func missing(n triage.Name, why string) triage.Item { return triage.Item{Name: n, Missing: why} }

// reason is what is triaged.
func (c *container) reason() []triage.Item {
	var all []triage.Item
	if f := c.q.Finding; f != nil {
		all = append(all, triage.Item{
			Name: triage.Alert, Value: fmt.Sprintf("%s %s: %s", f.ID, f.ID.Title(), f.Message), Time: f.Time, Source: byHistory,
		})
	}
	f := c.q.Falco
	if f == nil {
		return all
	}
	all = append(all, triage.Item{Name: triage.Alert, Value: f.Rule + ": " + f.Output, Time: f.Time, Source: byFalco})
	says := f.Repository
	if f.Tag != "" {
		says += ":" + f.Tag
	}
	item := triage.Item{Name: triage.Falco, Value: says, Source: byFalco}
	asked, err := image.Parse(says)
	switch {
	case says == "":
		return append(all, missing(triage.Falco, "the alert does not name the image"))
	case err != nil || !c.known || c.refErr != nil:
		item.Value += "; what the pod asked for is not known"
	case asked.Name() != c.ref.Name() || cmp.Or(asked.Tag(), "latest") != cmp.Or(c.ref.Tag(), "latest"):
		item.Value += ", which the runtime gave it: the pod's spec asks for " + c.start.Reference + ", and that counts here"
	default:
		item.Value += ", as the pod's spec"
	}
	return append(all, item)
}

func (c *container) namespace() triage.Item {
	i := triage.Item{Name: triage.Namespace, Is: triage.Other, Source: byPolicy}
	switch ns := c.start.Namespace; {
	case ns == "":
		return missing(triage.Namespace, "it is not known which namespace the container is in")
	case c.Policy.Production(ns):
		i.Is = triage.Production
	case c.Policy.Development(ns):
		i.Is = triage.Development
	}
	i.Value = c.start.Namespace + ": " + map[triage.Word]string{
		triage.Production: "production", triage.Development: "development", triage.Other: "neither production nor development",
	}[i.Is]
	return i
}

func (c *container) exceptionItem() triage.Item {
	d := c.exception(c.hygiene())
	i := triage.Item{Name: triage.Exception, Is: triage.None, Value: d.Reason, Source: byPolicy}
	if d.Exception != nil {
		i.Is, i.Value = triage.Tracked, fmt.Sprintf("%s (line %d of the policy)", d.Reason, d.Exception.Line)
	}
	return i
}

// hygiene is the finding that a floating tag, or one without a digest, is.
func (c *container) hygiene() finding.ID {
	if c.refErr == nil {
		if class, _ := c.ref.Class(); class == image.Fixed {
			return finding.TW02
		}
	}
	return finding.F01
}

func (c *container) reference() triage.Item {
	asked := cmp.Or(c.start.Reference, c.start.Image)
	switch {
	case c.refErr != nil:
		return missing(triage.Reference, "it is no reference: "+oneLine(c.refErr))
	case !c.known:
		return missing(triage.Reference, "the source does not know what was asked for; the runtime says "+asked)
	}
	class, why := c.ref.Class()
	i := triage.Item{Name: triage.Reference, Is: triage.Mutable, Value: asked + ": " + why, Source: c.source()}
	switch class {
	case image.Fixed:
		i.Is = triage.Fixed
	case image.Pinned:
		i.Is = triage.Pinned
	}
	return i
}

// pulled says when the image came to the node, and when the container began.
func (c *container) pulled() []triage.Item {
	s := c.start
	began := triage.Item{
		Name: triage.Started, Value: fmt.Sprintf("pod %s on node %s", cmp.Or(s.Pod, "?"), cmp.Or(s.Node, "?")), Time: s.Time, Source: c.source(), Trust: "observed",
	}
	pulled := missing(triage.Pulled, "")
	switch {
	case c.Pulls == nil:
		pulled.Missing = "no cluster is asked"
	case c.pullsErr != nil:
		pulled.Missing = oneLine(c.pullsErr)
	default:
		at := slices.IndexFunc(c.pulls, func(p kube.Pull) bool {
			return p.Reason == "Pulled" && (p.Container == "" || p.Container == s.Container)
		})
		if at < 0 {
			pulled.Missing = "the cluster has no event of it any more (it keeps them for an hour); the container started " + stamp(s.Time)
			break
		}
		pulled = triage.Item{Name: triage.Pulled, Value: c.pulls[at].Message, Time: c.pulls[at].Time, Source: byKubelet, Trust: "observed"}
	}
	all := []triage.Item{pulled}
	if c.Images != nil {
		all = append(all, c.record())
	}
	if seen := c.sighting(s.Digest); pulled.Missing != "" && seen != nil {
		all = append(all, triage.Item{
			Name: triage.Pulled, Value: "not later than its first start that is known, in pod " + cmp.Or(seen.Pod, "?"), Time: seen.First,
			Source: c.source(), Trust: "observed",
		})
	}
	return append(all, began)
}

// record is the node's own record of the image.
func (c *container) record() triage.Item {
	switch {
	case c.recordsErr != nil:
		return missing(triage.Pulled, oneLine(c.recordsErr))
	case len(c.records) == 0:
		return missing(triage.Pulled, "the node has no name of this digest, or has the image no more")
	}
	r := c.records[0]
	return triage.Item{
		Name: triage.Pulled, Value: fmt.Sprintf("%s came to lead to it on this node, which has had the name since %s", r.Name, stamp(r.Created)), Time: r.Updated,
		Source: "containerd image record", Trust: "observed",
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// pushed is when a push took place, or when it became known.
func pushed(p *event.Push) time.Time {
	if p.Pushed.IsZero() {
		return p.Time
	}
	return p.Pushed
}

// describe is a push in one line.
func describe(p *event.Push) string {
	var b strings.Builder
	if p.By != "" {
		b.WriteString("by " + p.By)
	} else {
		b.WriteString("by whom is not recorded")
	}
	if p.Addr != "" {
		b.WriteString(" from " + p.Addr)
	}
	if p.Digest != "" {
		b.WriteString(", " + drift.Short(p.Digest))
	}
	if p.OfDigest {
		b.WriteString(" (the time is the image's; the tag may have moved to it later)")
	}
	if !p.Confirmed {
		b.WriteString(", not confirmed by the registry")
	}
	return b.String()
}

// pusher says who pushed the tag last, and who pushed what runs. Only what a
// registry recorded decides, and nobody whom nobody names is a known one.
func (c *container) pusher() []triage.Item {
	if c.refErr != nil {
		return []triage.Item{missing(triage.Pusher, "what is no reference has no pushes")}
	}
	told := slices.Clone(c.told)
	slices.SortStableFunc(told, func(a, b event.Push) int { return pushed(&b).Compare(pushed(&a)) })
	var last, running, alerted *event.Push
	var all []triage.Item
	for i := range told {
		p := &told[i]
		switch {
		case c.tag() != "" && p.Tag != c.tag():
			continue
		case p.Trust != event.Recorded:
			if !slices.ContainsFunc(all, func(i triage.Item) bool { return i.Source == p.Told }) {
				all = append(all, triage.Item{Name: triage.Pusher, Value: describe(p), Time: pushed(p), Source: p.Told, Trust: p.Trust})
			}
			continue
		case last == nil:
			last = p
		}
		if running == nil && p.Digest != "" && c.same(p.Digest, c.start.Digest) == image.Same {
			running = p
		}
		if f := c.q.Finding; alerted == nil && f != nil && f.ID == finding.TW07 && p.By == f.Fact(engine.Pusher) && stamp(pushed(p)) == f.Fact(engine.Pushed) {
			alerted = p
		}
	}
	return append(c.judgePushes(last, running, alerted), all...)
}

// judgePushes says of the pushes that matter whether they were expected.
func (c *container) judgePushes(last, running, alerted *event.Push) []triage.Item {
	_, listed := c.Policy.KnownPusher(c.ref.Name(), "")
	judged := listed && c.tag() != ""
	var known []triage.Item
	relevant := []*event.Push{last, running, alerted}
	for i, p := range relevant {
		if p != nil && !slices.Contains(relevant[:i], p) {
			known = append(known, c.push(p, judged))
		}
	}
	if !judged {
		if len(known) == 0 {
			why := "the policy names no known pushers of " + c.ref.Name()
			if c.tag() == "" {
				why = "the reference names no tag that could be pushed anew"
			}
			known = []triage.Item{{Name: triage.Pusher, Is: triage.Unjudged, Value: "not judged: " + why, Source: byPolicy}}
			if len(c.toldErrs) > 0 && c.tag() != "" {
				known = append(known, missing(triage.Pusher, join(c.toldErrs)))
			}
		}
		return c.overwritten(known)
	}
	gap := c.pushGap(last, running)
	if gap != "" || slices.ContainsFunc(known, func(i triage.Item) bool { return i.Is == triage.Unknown }) {
		// One who is known does not speak for another push.
		for i := range known {
			if known[i].Is == triage.Known {
				known[i].Is = ""
			}
		}
	}
	if gap != "" {
		known = append(known, missing(triage.Pusher, gap))
	}
	return c.overwritten(known)
}

// overwritten notes that a tag that is meant to stay leads to other bytes than
// those that run, unless an unknown pusher says enough.
func (c *container) overwritten(known []triage.Item) []triage.Item {
	class, _ := c.ref.Class()
	unknown := slices.ContainsFunc(known, func(i triage.Item) bool { return i.Is == triage.Unknown })
	if class != image.Fixed || unknown || c.now == "" || c.same(c.now.String(), c.start.Digest) != image.Different {
		return known
	}
	for i := range known {
		known[i].Is = ""
	}
	return append(known, triage.Item{
		Name: triage.Pusher, Is: triage.Overwritten, Value: c.tag() + " was pushed again: it leads to " + drift.Short(c.now.String()) + " now",
		Time: c.Now().UTC(), Source: byRegistry, Trust: "observed",
	})
}

// push is the item about one push.
func (c *container) push(p *event.Push, judged bool) triage.Item {
	i := triage.Item{Name: triage.Pusher, Value: describe(p), Time: pushed(p), Source: p.Told, Trust: p.Trust}
	known, _ := c.Policy.KnownPusher(c.ref.Name(), p.By)
	switch {
	case !judged:
		i.Is = triage.Unjudged
	case p.By == "":
	case known:
		i.Is = triage.Known
	default:
		i.Is = triage.Unknown
		i.Value += ", who is none of the known pushers"
	}
	return i
}

// pushGap says which push that matters nobody told of, or "".
func (c *container) pushGap(last, running *event.Push) string {
	gap := ""
	switch approved := len(c.approved) > 0 && c.verdict.State != drift.Moved; {
	case last == nil:
		gap = "no registry has told of a push; see tagwarden watch --listen-pushes"
	case last.By == "":
		gap = cmp.Or(last.Told, "the registry") + " does not say who pushed " + stamp(pushed(last)) + "; look into the registry's own log"
	case running == nil && !approved:
		gap = "who pushed what runs is not known: it was before anybody listened; approve the digest with tagwarden baseline approve if it is right"
	case running != nil && running.By == "" && !approved:
		gap = "who pushed what runs is not known"
	case c.nowErr == nil && c.now != "" && last.Digest != "" && c.same(last.Digest, c.now.String()) != image.Same:
		gap = "the tag leads to " + drift.Short(c.now.String()) + " now, and nobody told of a push of that"
	}
	if gap != "" && len(c.toldErrs) > 0 {
		gap += "; " + join(c.toldErrs)
	}
	return gap
}

func (c *container) mayPush() triage.Item {
	switch {
	case c.refErr != nil:
		return missing(triage.Writers, "what is no reference has no repository")
	case len(c.writers) == 0 && c.writersErr != nil:
		return missing(triage.Writers, oneLine(c.writersErr))
	case len(c.writers) == 0:
		return triage.Item{Name: triage.Writers, Value: "the registry names nobody", Source: byRegistry, Trust: event.Recorded}
	}
	names := make([]string, 0, len(c.writers))
	for _, w := range c.writers {
		names = append(names, w.Name+" ("+w.Role+")")
	}
	text := some(names)
	if c.writersErr != nil {
		text += "; and maybe more: " + oneLine(c.writersErr)
	}
	return triage.Item{Name: triage.Writers, Value: text, Source: c.writers[0].Source, Trust: event.Recorded}
}

// some is the beginning of a list.
func some(names []string) string {
	const most = 5
	text := strings.Join(names[:min(most, len(names))], ", ")
	if n := len(names) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func (c *container) created() triage.Item {
	switch {
	case c.Config == nil:
		return missing(triage.Created, errOffline.Error())
	case c.claimsErr != nil:
		return missing(triage.Created, oneLine(c.claimsErr))
	case len(c.claims) == 0:
		return triage.Item{Name: triage.Created, Value: "the image does not say", Source: "image config", Trust: "publisher-claimed"}
	}
	p := c.claims[0]
	value := "by its own account"
	if p.By != "" {
		value += ", by " + p.By
	}
	return triage.Item{Name: triage.Created, Value: value, Time: p.At, Source: p.Source, Trust: p.Trust.String()}
}

// digest is the heart of it: what runs, against what should.
func (c *container) digest() triage.Item {
	s := c.start
	i := triage.Item{Name: triage.Digest, Source: c.source(), Time: s.Time}
	value := func(text string) { i.Value = cmp.Or(s.Digest, "not known") + ": " + text }
	if f := c.changed(); f != nil {
		i.Is, i.Time = triage.Changed, f.Time
		text := "other bytes than were deployed, since " + stamp(f.Time)
		if to := f.Fact(drift.To); to != s.Digest {
			text = "at " + stamp(f.Time) + " it came to run " + to + " without a deployment"
		}
		if f.Subject.Revision != history.RevisionOf(s) {
			text += ", in revision " + f.Subject.Revision
		}
		value(text)
		return i
	}
	switch {
	case c.start.Source == byFalco:
		return missing(triage.Digest, "Falco says "+cmp.Or(c.start.Digest, "nothing of it")+", and nothing else is known of the container")
	case !c.judgedAt && c.judged.failed != nil:
		return missing(triage.Digest, oneLine(c.judged.failed))
	case !c.judgedAt:
		return missing(triage.Digest, errLate.Error())
	case c.seenErr != nil:
		return missing(triage.Digest, oneLine(c.seenErr))
	case s.Kind == event.Ephemeral:
		return missing(triage.Digest, "a container for debugging belongs to no revision that it could be compared with")
	}
	switch c.verdict.State {
	case drift.Pinned:
		i.Is = triage.Pinned
		value("the digest that the reference names")
		return i
	case drift.Changed:
		i.Is = triage.Changed
		value("other bytes than the baseline, without a deployment: " + c.verdict.Reason)
		return i
	case drift.Moved:
		if c.verdict.Form == drift.FormBaseline {
			i.Is = triage.NotApproved
			value("none of the approved digests")
			return i
		}
	case drift.Unknown:
		return missing(triage.Digest, c.open("the digests could not be compared"))
	}
	if len(c.approved) > 0 && !c.verdict.Open {
		i.Is = triage.Approved
		value("the bytes of an approved baseline")
		return i
	}
	if c.verdict.Open {
		return missing(triage.Digest, c.open("what ran before could not be compared"))
	}
	if why := c.unanchored(); why != "" {
		return missing(triage.Digest, why)
	}
	switch {
	case c.verdict.State == drift.Moved:
		i.Is = triage.Moved
		value("a deployment asked for the same reference again, and the tag had moved: " + c.verdict.Reason)
	case s.Time.Before(c.deployment().Time.Add(deployWindow)):
		i.Is = triage.Deployed
		value("what the deployment brought")
	default:
		i.Is = triage.Unchanged
		value("what the revision has run since it was deployed")
	}
	return i
}

// open says why digests could not be compared: what is not known of them, and
// what the registry had to say when it was asked.
func (c *container) open(otherwise string) string {
	why := cmp.Or(strings.ReplaceAll(c.verdict.Reason, "\n", "; "), otherwise)
	switch {
	case c.Resolver == nil:
		why += "; " + errOffline.Error()
	case c.claimsErr != nil && !strings.Contains(why, oneLine(c.claimsErr)):
		why += "; " + oneLine(c.claimsErr)
	}
	return why
}

// unanchored says why the first that is known of a revision need not be what was
// deployed, or "".
func (c *container) unanchored() string {
	d, first := c.deployment(), c.first()
	switch revision := history.RevisionOf(c.start); {
	case d == nil:
		return "when revision " + revision + " was deployed is not known; the user needs get on the workload and its owners"
	case first == nil:
		return "what revision " + revision + " ran first is not known"
	case first.First.After(d.Time.Add(deployWindow)):
		return fmt.Sprintf("revision %s was deployed %s, and the first that is known of it is from %s: what it ran before nobody saw; "+
			"keep a history with tagwarden watch --store, or approve the digest with tagwarden baseline approve", revision, stamp(d.Time), stamp(first.First))
	}
	return ""
}

func (c *container) baseline() triage.Item {
	if len(c.approved) > 0 {
		return triage.Item{Name: triage.Baseline, Value: strings.Join(c.approved, ", ") + ", approved", Source: byHistory}
	}
	digest := c.expected()
	seen := c.sighting(digest)
	switch {
	case digest == "":
		return missing(triage.Baseline, "nothing is known that ran before")
	case seen == nil:
		return triage.Item{Name: triage.Baseline, Value: digest, Source: byHistory}
	}
	i := triage.Item{Name: triage.Baseline, Value: digest + ", first in pod " + cmp.Or(seen.Pod, "?"), Time: seen.First, Source: byCluster, Trust: "observed"}
	if c.History != nil {
		i.Source = byHistory
	}
	return i
}

func (c *container) tagNow() triage.Item {
	switch {
	case c.refErr != nil:
		return missing(triage.Tag, "what is no reference has no tag")
	case c.tag() == "":
		return triage.Item{Name: triage.Tag, Value: "the reference has none", Source: byCluster}
	case c.Resolver == nil:
		return missing(triage.Tag, errOffline.Error())
	case c.nowErr != nil:
		return missing(triage.Tag, oneLine(c.nowErr))
	}
	i := triage.Item{Name: triage.Tag, Value: c.now.String(), Time: c.Now().UTC(), Source: byRegistry, Trust: "observed"}
	switch c.same(c.now.String(), c.start.Digest) {
	case image.Same:
		i.Value += ", what runs"
	case image.Different:
		i.Value += ", other bytes than what runs: the next start gets them"
	case image.CannotTell:
		i.Value += "; whether that is what runs cannot be told"
		if c.nowMissing != nil {
			i.Value += ": " + oneLine(c.nowMissing)
		}
	}
	return i
}

// deployed is the deployment of the revision, and how the change lies to it.
func (c *container) deployed() triage.Item {
	d := c.deployment()
	revision := history.RevisionOf(c.start)
	if d == nil {
		return missing(triage.Deployment, "nothing says when revision "+revision+" was made, or by whom; the user needs get on the workload and its owners")
	}
	text := "revision " + revision
	if d.By != "" {
		text += " by " + d.By
	}
	if d.Via != "" {
		text += " through " + d.Via
	}
	if d.Cause != "" {
		text += " because: " + d.Cause
	}
	if n := len(c.revisions); n > 1 {
		text += fmt.Sprintf("; %d revisions are known", n)
	}
	if f := c.changed(); f != nil && f.Time.After(d.Time) {
		text += "; none between that and the change " + stamp(f.Time)
	} else if c.verdict.State == drift.Changed && c.start.Time.After(d.Time) {
		text += "; none between that and the start " + stamp(c.start.Time)
	}
	return triage.Item{Name: triage.Deployment, Value: text, Time: d.Time, Source: c.source(), Trust: "observed"}
}

func (c *container) replicas() triage.Item {
	if c.failed != nil {
		return missing(triage.Replicas, oneLine(c.failed))
	}
	revision := history.RevisionOf(c.start)
	pods, nodes, digests, open := map[string]bool{}, map[string]bool{}, map[string]int{}, false
	for _, s := range c.all.starts {
		if history.SubjectOf(s) != c.of || history.RevisionOf(s) != revision {
			continue
		}
		digests[s.Digest]++
		v, ok := c.judged.verdicts[s.ContainerID]
		open = open || !ok || v.Open
		if s.Digest == c.start.Digest {
			pods[s.Pod], nodes[s.Node] = true, true
		}
	}
	i := triage.Item{
		Name: triage.Replicas, Is: triage.Alike, Source: c.source(), Time: c.Now().UTC(), Trust: "observed",
		Value: fmt.Sprintf("%s on %s run this digest", count(len(pods), "pod"), count(len(nodes), "node")),
	}
	total := 0
	for _, n := range digests {
		total += n
	}
	if total > digests[c.start.Digest] {
		i.Value += fmt.Sprintf(", %s of the revision another one", count(total-digests[c.start.Digest], "container"))
	}
	// What was found before still holds while both of them run.
	skew := slices.ContainsFunc(append(slices.Clone(c.raised), c.judged.findings...), func(f finding.Finding) bool {
		return f.ID == finding.TW05 && f.Subject.Revision == revision && f.Subject.Namespace == c.of.Namespace &&
			f.Subject.Workload == c.of.Workload.String() && f.Subject.Container == c.of.Container &&
			digests[f.Fact(drift.From)] > 0 && digests[f.Fact(drift.To)] > 0
	})
	switch {
	case skew:
		i.Is = triage.Differ
	case len(digests) > 1 && open:
		return missing(triage.Replicas, i.Value+"; whether their bytes are the same cannot be told")
	}
	return i
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// elsewhere is where the digest runs besides, and where it ever ran.
func (c *container) elsewhere() []triage.Item {
	var all []triage.Item
	if c.Look != nil {
		everywhere, err := c.everywhere, c.everyErr
		if c.q.Namespace == "" || c.Whole {
			everywhere, err = c.all, c.failed
		}
		switch {
		case err != nil:
			all = append(all, missing(triage.Elsewhere, oneLine(err)))
		case everywhere != nil:
			all = append(all, triage.Item{Name: triage.Elsewhere, Value: "now: " + c.others(everywhere.starts), Time: c.Now().UTC(), Source: byCluster, Trust: "observed"})
		}
	}
	switch {
	case c.History == nil:
		all = append(all, missing(triage.Elsewhere, "where it ever ran needs a history; see tagwarden watch --store"))
	case c.everErr != nil:
		all = append(all, missing(triage.Elsewhere, oneLine(c.everErr)))
	default:
		names := map[string]time.Time{}
		for k := range c.ever {
			x := &c.ever[k]
			name := x.Namespace + "/" + x.Workload.String()
			if at, ok := names[name]; !ok || x.First.Before(at) {
				names[name] = x.First
			}
		}
		texts := make([]string, 0, len(names))
		for name, at := range names {
			texts = append(texts, name+" since "+stamp(at))
		}
		slices.Sort(texts)
		value := "ever: " + some(texts)
		if len(texts) == 0 {
			value = "ever: not in the history"
		}
		all = append(all, triage.Item{Name: triage.Elsewhere, Value: value, Source: byHistory, Trust: "observed"})
	}
	return all
}

// others are the other workloads that run the digest.
func (c *container) others(starts []*event.Start) string {
	pods := map[string]int{}
	for _, s := range starts {
		if of := history.SubjectOf(s); s.Digest == c.start.Digest && s.Digest != "" && of != c.of {
			pods[of.Namespace+"/"+of.Workload.String()]++
		}
	}
	texts := make([]string, 0, len(pods))
	for name, n := range pods {
		texts = append(texts, fmt.Sprintf("%s (%s)", name, count(n, "container")))
	}
	slices.Sort(texts)
	if len(texts) == 0 {
		return "nowhere else"
	}
	return some(texts)
}
