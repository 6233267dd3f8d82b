// Package drift decides whether the bytes behind a running container changed
// without a deployment. It is pure: a decision follows from what was seen of a
// workload, and nothing is asked and nothing is kept. The order in which
// starts became known makes no difference to it; only their times do.
package drift

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// A State is what became of the question for one start.
type State uint8

// The states. The zero value says that nothing can be told.
const (
	// Unknown: the digests could not be compared.
	Unknown State = iota
	// Pinned: the reference names a digest, which the runtime holds to.
	Pinned
	// First: nothing ran before to compare with; the start is the baseline.
	First
	// Expected: the bytes are those of the baseline.
	Expected
	// Moved: other bytes by the same reference, and a deployment in between.
	Moved
	// Changed: other bytes without a deployment.
	Changed
)

// String is the state as the field tagwarden.drift has it.
func (s State) String() string {
	switch s {
	case Pinned:
		return "pinned"
	case First:
		return "first"
	case Expected:
		return "expected"
	case Moved:
		return "moved"
	case Changed:
		return "changed"
	}
	return "unknown"
}

// The forms of findings.
const (
	// FormInPlace: a container was restarted in its pod, with other bytes.
	FormInPlace = "in-place"
	// FormNewPod: a new pod of the revision has other bytes.
	FormNewPod = "new-pod"
	// FormRecreated: a bare pod, or a workload, was made anew from the same spec.
	FormRecreated = "recreated"
	// FormRollback: an old revision came back with other bytes than it had.
	FormRollback = "rollback"
	// FormRestart: a new revision asks for the same reference as the one
	// before and got other bytes.
	FormRestart = "restart"
	// FormBaseline: the bytes are not those that were approved.
	FormBaseline = "baseline"
	// FormSkew: pods of one revision run different bytes at the same time.
	FormSkew = "skew"
	// FormMoved: the registry resolves the reference to other bytes by now.
	FormMoved = "moved"
)

// The names of evidence.
const (
	From      = "from"       // the digest that is expected
	FromSince = "from-since" // when it was first seen
	FromPod   = "from-pod"   // the pod that ran it first
	To        = "to"         // the digest that is new
	Why       = "why"        // how it is known that the bytes differ
	Deployed  = "deployed"   // when the revision was made, and by whom
	Policy    = "pull-policy"
	Pods      = "pods" // those that would change at their next start
)

// A Comparer says whether two digests name the same bytes on a platform.
// [image.Identities] is one.
type Comparer interface {
	Compare(a, b image.Digest, on image.Platform) (image.Relation, string)
	// Unknown are the digests that a registry should be asked about before
	// Compare can tell.
	Unknown(a, b image.Digest, on image.Platform) []image.Digest
}

// A Case is everything that the decision about one start rests on.
type Case struct {
	Start *event.Start
	// Production says whether the policy counts the namespace as production.
	Production bool
	// Past is what was seen of the subject; nil is nothing. Whether the start
	// itself is in it makes no difference.
	Past *Past
	// Approved are the digests that people or a lock file expect for the
	// reference.
	Approved []string
	// Before is the digest that this container of this pod ran before, or "".
	Before string
	// Running are the first sightings of what other containers of the subject
	// run now.
	Running []history.Seen
}

// A Verdict is the answer to a [Case].
type Verdict struct {
	State State
	// Form is that of the finding about this start, if there is one.
	Form string
	// From is the digest that is expected, where it is another one.
	From string
	// Reason says, for people, how the state is known.
	Reason string
	// Open says that something about the subject could not be compared: the
	// start itself, or what ran before or beside it.
	Open bool
	// Doubt says why, where Open is set.
	Doubt string
	// Ask is what a registry should be asked: the answer may be another one
	// then.
	Ask []Question
	// Findings are all that follow from the case, about this start or about
	// earlier ones. One may have been raised before; its fingerprint tells.
	Findings []finding.Finding
}

// A Question is about a digest, and what is behind it for a platform: that of
// the container it was seen of, which need not be the one that is judged.
type Question struct {
	Digest image.Digest
	On     image.Platform
}

// Judge decides about one start.
func Judge(c *Case, ids Comparer) Verdict {
	s := c.Start
	if s.Kind == event.Ephemeral {
		// Whoever debugs a pod chooses the image anew each time.
		return Verdict{State: First, Reason: "a container for debugging belongs to no revision"}
	}
	if ref, known, err := s.Requested(); err == nil && known && ref.Pinned() {
		return Verdict{State: Pinned, Reason: "the reference names a digest"}
	}
	own := SightingOf(s)
	if own.Digest == "" {
		const why = "the runtime does not say which digest runs"
		return Verdict{Open: true, Reason: why, Doubt: why}
	}
	j := &judge{Case: c, ids: ids, past: c.Past}
	if j.past == nil {
		j.past = &Past{}
	}
	j.key = j.past.find(own.Revision, own.Reference)
	j.same = j.sightings(own)
	j.revision(own)
	if len(j.out.Findings) == 0 || j.out.State == Moved {
		j.predecessor(own)
	}
	j.skew(own)
	return j.out
}

// SightingOf is a start as the first of its digest.
func SightingOf(s *event.Start) *history.Seen {
	return &history.Seen{
		Revision: history.RevisionOf(s), Reference: s.Reference, Digest: s.Digest, DigestOf: s.DigestOf,
		Platform: s.Platform, First: s.Time, Pod: s.Pod, PodUID: s.PodUID, Node: s.Node, ContainerID: s.ContainerID,
	}
}

type judge struct {
	*Case
	ids  Comparer
	past *Past
	out  Verdict
	// key is that of the start.
	key key
	// same are the sightings of the start's revision and reference, the start
	// itself included, by their time.
	same []sighting
}

// sightings are those of the start's revision and reference. Of two sightings
// of one digest, the earlier one counts.
func (j *judge) sightings(own *history.Seen) []sighting {
	all := make([]sighting, 0, 4)
	for i, k := range j.past.keys {
		if s := j.past.order[i]; k == j.key && s.Digest != "" {
			all = append(all, s)
		}
	}
	self := sighting{own, j.past.next}
	at, _ := slices.BinarySearchFunc(all, self, byTime)
	all = slices.Insert(all, at, self)
	kept := all[:0]
	for _, seen := range all {
		if !slices.ContainsFunc(kept, func(k sighting) bool { return k.Digest == seen.Digest && k.Platform == seen.Platform }) {
			kept = append(kept, seen)
		}
	}
	return kept
}

// compare says whether b runs the bytes of a, on the platform that b runs on.
func (j *judge) compare(a, b string, platform string) (image.Relation, string) {
	if a == b {
		return image.Same, "the digest is the same"
	}
	da, err := image.ParseDigest(a)
	if err != nil {
		return image.CannotTell, err.Error()
	}
	db, err := image.ParseDigest(b)
	if err != nil {
		return image.CannotTell, err.Error()
	}
	on := platformOf(platform)
	relation, why := j.ids.Compare(da, db, on)
	if relation == image.CannotTell {
		j.out.Open = true
		j.out.Doubt = cmp.Or(j.out.Doubt, why)
		for _, d := range j.ids.Unknown(da, db, on) {
			if q := (Question{d, on}); !slices.Contains(j.out.Ask, q) {
				j.out.Ask = append(j.out.Ask, q)
			}
		}
	}
	return relation, why
}

// platformOf reads a platform; one that is not known is the zero one.
func platformOf(text string) image.Platform {
	on, err := image.ParsePlatform(text)
	if err != nil {
		return image.Platform{}
	}
	return on
}

// approved says whether a digest is one of those that people expect.
func (j *judge) approved(seen sighting) (image.Relation, string) {
	answer, why := image.Different, ""
	for _, d := range j.Approved {
		switch relation, because := j.compare(d, seen.Digest, seen.Platform); relation {
		case image.Same:
			return image.Same, because
		case image.CannotTell:
			answer, why = image.CannotTell, because
		}
	}
	return answer, why
}

// revision compares everything that one revision ran with the first of it.
func (j *judge) revision(own *history.Seen) {
	first := j.same[0]
	var changed []sighting
	for _, seen := range j.same {
		state, why := Expected, "the digest is the same"
		if seen.Digest != first.Digest {
			state, why = j.decide(first, seen)
		}
		if isOwn := seen.Digest == own.Digest && seen.Platform == own.Platform; isOwn {
			j.out.State, j.out.Reason = state, why
			if state == Changed {
				j.out.From = first.Digest
			}
		}
		if state != Changed {
			continue
		}
		// The same new bytes under another digest are the same finding.
		again := slices.ContainsFunc(changed, func(k sighting) bool {
			relation, _ := j.ids.Compare(image.Digest(k.Digest), image.Digest(seen.Digest), platformOf(seen.Platform))
			return relation == image.Same
		})
		if again {
			continue
		}
		changed = append(changed, seen)
		f := j.finding(finding.TW04, j.form(first, seen), first.Seen, seen.Seen, why)
		j.out.Findings = append(j.out.Findings, f)
		if seen.Digest == own.Digest {
			j.out.Form = f.Form
		}
	}
	if len(j.same) == 1 && first.ContainerID == own.ContainerID {
		j.out.State, j.out.Reason = First, "nothing ran in this revision before"
	}
}

// decide says whether seen is what the revision was to run, first being what
// it ran first.
func (j *judge) decide(first, seen sighting) (State, string) {
	relation, why := j.compare(first.Digest, seen.Digest, seen.Platform)
	switch relation {
	case image.Same:
		return Expected, why
	case image.CannotTell:
		if ok, because := j.approved(seen); ok == image.Same {
			return Expected, because
		}
		return Unknown, why
	}
	switch ok, because := j.approved(seen); ok {
	case image.Same:
		return Expected, because
	case image.CannotTell:
		return Unknown, because
	}
	return Changed, why
}

// form says in which way seen came to differ from first.
func (j *judge) form(first, seen sighting) string {
	s := j.Start
	if isOwn := seen.ContainerID == s.ContainerID; isOwn && j.Before != "" {
		if relation, _ := j.compare(j.Before, s.Digest, s.Platform); relation != image.Same {
			return FormInPlace
		}
	}
	switch {
	case seen.PodUID != "" && seen.PodUID == first.PodUID:
		return FormInPlace
	case s.Workload.Kind == "Pod" || s.Workload.Kind == "", seen.ContainerID == s.ContainerID && j.remade(first):
		return FormRecreated
	case j.cameBack(first, seen):
		return FormRollback
	}
	return FormNewPod
}

// remade reports whether the object of the revision was made after the revision
// had run: its workload was deleted and made anew from the same template. The
// runs of a CronJob are such objects each time, and nobody deploys them.
func (j *judge) remade(first sighting) bool {
	d := j.Start.Deployment
	return d != nil && j.Start.Workload.Kind != "CronJob" && d.Time.After(first.First)
}

// cameBack reports whether another revision took over between two sightings
// of one.
func (j *judge) cameBack(first, seen sighting) bool {
	stillRuns := slices.ContainsFunc(j.Running, func(r history.Seen) bool {
		return r.Revision == seen.Revision && r.ContainerID != seen.ContainerID
	})
	if stillRuns {
		return false
	}
	for i := j.until(seen) - 1; i >= 0 && byTime(first, j.past.order[i]) < 0; i-- {
		if j.other(i) {
			return true
		}
	}
	return false
}

// until is how many sightings are earlier than one.
func (j *judge) until(s sighting) int {
	at, _ := slices.BinarySearchFunc(j.past.order, s, byTime)
	return at
}

// other reports whether the sighting of that place is one of another revision.
func (j *judge) other(i int) bool {
	return j.past.keys[i].revision != j.key.revision && j.past.order[i].Digest != ""
}

// predecessor compares the first that a new revision ran with what people
// approved and with the revision before it, where that asked for the same
// reference: then a deployment took place, and moved the image along without
// saying so.
func (j *judge) predecessor(own *history.Seen) {
	first := j.same[0]
	if len(j.Approved) > 0 {
		if own.Digest != first.Digest {
			// What ran before the start may be older than the approval.
			return
		}
		switch ok, why := j.approved(first); ok {
		case image.Same:
			return
		case image.CannotTell:
			j.notBetter(Unknown, first, why)
			return
		}
		j.moved(FormBaseline, &history.Seen{Digest: j.Approved[0]}, first.Seen, "the digest is none of the approved ones")
		return
	}
	before := j.before(first)
	if before == nil || before.Digest == first.Digest {
		return
	}
	switch relation, why := j.compare(before.Digest, first.Digest, first.Platform); relation {
	case image.Different:
		j.moved(FormRestart, before, first.Seen, why)
	case image.CannotTell:
		j.notBetter(Unknown, first, why)
	}
}

// notBetter lowers the state of the start where it rests on first.
func (j *judge) notBetter(state State, first sighting, why string) {
	if j.Start.Digest == first.Digest && (j.out.State == First || j.out.State == Expected) {
		j.out.State, j.out.Reason = state, why
	}
}

func (j *judge) moved(form string, from, to *history.Seen, why string) {
	if j.Start.Digest == to.Digest {
		j.out.State, j.out.Form, j.out.From, j.out.Reason = Moved, form, from.Digest, why
	}
	j.out.Findings = append(j.out.Findings, j.finding(finding.TW03, form, from, to, why))
}

// before is what the revision ahead of a first sighting was to run for the same
// reference, or nil. A reference that is meant to stay is also compared with
// the last revision that asked for it, whatever came in between; one that is
// meant to move may have moved since then.
func (j *judge) before(first sighting) *history.Seen {
	i := j.until(first) - 1
	for i >= 0 && !j.other(i) {
		i--
	}
	if i < 0 {
		return nil
	}
	if j.past.keys[i].reference != j.key.reference {
		if class(first.Reference) != image.Fixed {
			return nil
		}
		for i >= 0 && (!j.other(i) || j.past.keys[i].reference != j.key.reference) {
			i--
		}
		if i < 0 {
			return nil
		}
	}
	last := j.past.keys[i]
	for k, of := range j.past.keys {
		if of == last && j.past.order[k].Digest != "" {
			return j.past.order[k].Seen // The first of that revision is what it was to run.
		}
	}
	return nil
}

func class(reference string) image.Class {
	ref, err := image.Parse(reference)
	if err != nil {
		return image.Invalid
	}
	c, _ := ref.Class()
	return c
}

// skew compares the start with what else runs in its revision.
func (j *judge) skew(own *history.Seen) {
	for i := range j.Running {
		r := &j.Running[i]
		if r.Revision != own.Revision || r.Reference != own.Reference || r.ContainerID == own.ContainerID || r.PodUID == own.PodUID {
			continue
		}
		if relation, why := j.compare(r.Digest, own.Digest, own.Platform); relation == image.Different {
			from, to := r, own
			if own.First.Before(r.First) {
				from, to = own, r
			}
			j.out.Findings = append(j.out.Findings, j.finding(finding.TW05, FormSkew, from, to, why))
			return
		}
	}
}

func (j *judge) finding(id finding.ID, form string, from, to *history.Seen, why string) finding.Finding {
	s := j.Start
	subject := history.SubjectOf(s)
	f := finding.Finding{
		ID: id, Severity: id.Severity(j.Production), Time: to.First, Form: form, Image: s.Reference, Key: to.Digest,
		Subject: finding.Subject{
			Cluster: s.Cluster, Namespace: s.Namespace, Workload: subject.Workload.String(), Revision: to.Revision,
			Pod: to.Pod, Container: s.Container, Kind: string(s.Kind), Node: to.Node,
		},
		Message: message(id, form, subject, from, to, s.Reference),
		Fix:     fix(id, form, subject),
	}
	f.Evidence = append(f.Evidence, finding.Evidence{Name: From, Value: from.Digest}, finding.Evidence{Name: To, Value: to.Digest},
		finding.Evidence{Name: Why, Value: why})
	if !from.First.IsZero() {
		f.Evidence = append(f.Evidence, finding.Evidence{Name: FromSince, Value: from.First.UTC().Format("2006-01-02T15:04:05Z07:00")})
	}
	if from.Pod != "" {
		f.Evidence = append(f.Evidence, finding.Evidence{Name: FromPod, Value: from.Pod})
	}
	if d := s.Deployment; d != nil && to.Revision == history.RevisionOf(s) && !d.Time.IsZero() {
		f.Evidence = append(f.Evidence, finding.Evidence{Name: Deployed, Value: deployed(d)})
	}
	if s.PullPolicy != "" {
		f.Evidence = append(f.Evidence, finding.Evidence{Name: Policy, Value: s.PullPolicy})
	}
	return f
}

// deployed says when and by whom a revision was made.
func deployed(d *event.Deployment) string {
	text := d.Time.UTC().Format("2006-01-02T15:04:05Z07:00")
	if d.By != "" {
		text += " by " + d.By
	}
	if d.Via != "" {
		text += " (" + d.Via + ")"
	}
	return text
}

// message states the finding in one sentence.
func message(id finding.ID, form string, subject history.Subject, from, to *history.Seen, reference string) string {
	what := fmt.Sprintf("container %s of %s in %s", subject.Container, subject.Workload, namespace(subject))
	bytes := fmt.Sprintf("%s, not %s", Short(to.Digest), Short(from.Digest))
	switch {
	case id == finding.TW05:
		return fmt.Sprintf("pods of one revision run different bytes: %s runs %s in pod %s and %s in pod %s, both for %s",
			what, Short(from.Digest), from.Pod, Short(to.Digest), to.Pod, reference)
	case form == FormInPlace:
		return fmt.Sprintf("%s was restarted in pod %s and runs %s for %s: no deployment took place", what, to.Pod, bytes, reference)
	case form == FormNewPod:
		return fmt.Sprintf("%s runs %s for %s in the new pod %s: no deployment took place", what, bytes, reference, to.Pod)
	case form == FormRecreated:
		return fmt.Sprintf("%s was made anew from the same spec and runs %s for %s: no new revision was deployed", what, bytes, reference)
	case form == FormRollback:
		return fmt.Sprintf("%s was rolled back to revision %s and runs %s for %s: the tag was overwritten meanwhile", what, to.Revision, bytes, reference)
	case form == FormRestart:
		return fmt.Sprintf("the tag moved at a restart: %s was deployed again with the same image text %s and runs %s", what, reference, bytes)
	case form == FormBaseline:
		return fmt.Sprintf("%s runs %s for %s, which is not the approved baseline", what, bytes, reference)
	}
	return fmt.Sprintf("the tag moved: %s runs %s for %s, and the registry now has %s", what, Short(from.Digest), reference, Short(to.Digest))
}

func namespace(s history.Subject) string {
	text := "namespace " + s.Namespace
	if s.Cluster != "" {
		text += " of " + s.Cluster
	}
	return text
}

// fix is what to do about it.
func fix(id finding.ID, form string, subject history.Subject) string {
	switch {
	case id == finding.TW03 && form == FormMoved:
		return "pin the reference to the digest that runs, before a restart pulls the new bytes"
	case id == finding.TW03:
		return "if nobody meant to deploy a new image, treat it as a replaced one; pin the reference to a digest"
	}
	return fmt.Sprintf("find out who pushed the new digest; go back with: tagwarden history %s/%s --rollback", subject.Namespace, subject.Workload)
}

// Short is a digest as people are shown it: twelve digits of it.
func Short(digest string) string {
	const prefix, digits = len("sha256:"), 12
	if len(digest) > prefix+digits {
		return digest[:prefix+digits]
	}
	return digest
}
