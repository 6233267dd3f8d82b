// Package triage decides what an alert about an image means: an incident, a
// matter of hygiene, or what was meant to be. It is pure: a verdict follows from
// the evidence and the rules, and nothing is asked and nothing is kept.
//
// What could not be learnt is never taken for good. A verdict stands only if no
// answer to the open questions could change it; else it is undecided, and says
// which answers are missing.
package triage

import (
	"slices"
	"strings"
	"time"
)

// A Verdict is what triage decided.
type Verdict string

// The verdicts.
const (
	Escalate  Verdict = "escalate"  // treat it as an incident
	Hygiene   Verdict = "hygiene"   // not an incident; something to mend
	Expected  Verdict = "expected"  // what was meant to run
	Undecided Verdict = "undecided" // evidence is missing
)

// A Name is that of one kind of evidence.
type Name string

// The kinds of evidence, in the order of the report. Rules read those that have
// words in [Kinds].
const (
	Alert      Name = "alert"
	Falco      Name = "falco"
	Namespace  Name = "namespace"
	Exception  Name = "exception"
	Reference  Name = "reference"
	Pulled     Name = "pulled"
	Started    Name = "started"
	Pusher     Name = "pusher"
	Writers    Name = "writers"
	Created    Name = "created"
	Digest     Name = "digest"
	Baseline   Name = "baseline"
	Tag        Name = "tag"
	Deployment Name = "deployment"
	Replicas   Name = "replicas"
	Elsewhere  Name = "elsewhere"
	Change     Name = "change"
	Signature  Name = "signature"
)

// A Word is what rules read of a kind of evidence.
type Word string

// The words.
const (
	Production  Word = "production"
	Development Word = "development"
	Other       Word = "other"

	Tracked Word = "tracked"
	None    Word = "none"

	Mutable Word = "mutable"
	Fixed   Word = "fixed"
	Pinned  Word = "pinned"

	Known       Word = "known"
	Unknown     Word = "unknown"
	Unjudged    Word = "unjudged"
	Overwritten Word = "overwritten"

	Unchanged   Word = "unchanged"
	Deployed    Word = "deployed"
	Approved    Word = "approved"
	Moved       Word = "moved"
	NotApproved Word = "not-approved"
	Changed     Word = "changed"

	Alike  Word = "alike"
	Differ Word = "differ"
)

// A Kind is one kind of evidence.
type Kind struct {
	Name Name
	// Section is the step of the triage guide that it belongs to.
	Section Section
	// Title is for people.
	Title string
	// Words are what rules read of it, with their meanings; none for evidence
	// that is for people alone.
	Words []Meaning
}

// A Meaning says what a word of a kind of evidence means.
type Meaning struct {
	Word  Word
	Means string
}

// A Section is a part of a report.
type Section uint8

// The sections: what is asked about, then the four steps of the triage guide,
// then what stands beside them.
const (
	About Section = iota
	StepNamespace
	StepPull
	StepRegistry
	StepDigest
	Beside
)

var sections = [...]string{"Alert", "1 Namespace", "2 Pull", "3 Registry", "4 Digest", "Beside that"}

// String is the title of a section.
func (s Section) String() string { return sections[s] }

// Kinds are the kinds of evidence in the order of a report.
var Kinds = []Kind{
	{Alert, About, "alert", nil},
	{Falco, About, "Falco says", nil},
	{Namespace, StepNamespace, "namespace", []Meaning{
		{Production, "the policy counts it as production"},
		{Development, "the policy counts it as development"},
		{Other, "neither"},
	}},
	{Exception, StepNamespace, "exception", []Meaning{
		{Tracked, "the policy has an exception for it that holds, with an owner and a ticket"},
		{None, "it has none, or one that has expired"},
	}},
	{Reference, StepPull, "asked for", []Meaning{
		{Mutable, "no tag, latest, or a floating tag"},
		{Fixed, "a tag that is meant to stay"},
		{Pinned, "a digest"},
	}},
	{Pulled, StepPull, "pulled", nil},
	{Started, StepPull, "started", nil},
	{Pusher, StepRegistry, "last push", []Meaning{
		{Known, "knownPushers of the policy has the account that pushed"},
		{Unknown, "knownPushers is about the image and does not have the account"},
		{Unjudged, "knownPushers is not about the image, or the reference names a digest and no tag"},
		{Overwritten, "nobody unknown, but a tag that is meant to stay leads to other bytes than those that run"},
	}},
	{Writers, StepRegistry, "may push", nil},
	{Created, StepRegistry, "image made", nil},
	{Digest, StepDigest, "running", []Meaning{
		{Pinned, "the digest that the reference names"},
		{Approved, "the bytes of an approved baseline"},
		{Unchanged, "the bytes that the revision ran right after it was deployed"},
		{Deployed, "the first bytes of the revision, which was deployed just before"},
		{Moved, "a deployment asked for the same reference again, and got other bytes"},
		{NotApproved, "none of the approved baselines"},
		{Changed, "other bytes than before, and no deployment in between"},
	}},
	{Baseline, StepDigest, "baseline", nil},
	{Tag, StepDigest, "tag now", nil},
	{Deployment, StepDigest, "deployed", nil},
	{Replicas, StepDigest, "replicas", []Meaning{
		{Alike, "all pods of the revision run the same bytes"},
		{Differ, "pods of the revision run different bytes"},
	}},
	{Elsewhere, StepDigest, "elsewhere", nil},
	{Change, StepDigest, "what changed", nil},
	{Signature, Beside, "signature", nil},
}

// kindOf finds a kind of evidence.
func kindOf(n Name) *Kind {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == n })
	if i < 0 {
		return nil
	}
	return &Kinds[i]
}

// An Item is one piece of evidence, or the reason why it could not be learnt.
type Item struct {
	Name Name `json:"name"`
	// Is is what rules read; empty for what is for people alone, and for what
	// could not be learnt.
	Is Word `json:"is,omitempty"`
	// Value is for people: one line.
	Value string `json:"value,omitempty"`
	// Time is when it was so, in UTC.
	Time time.Time `json:"time,omitzero"`
	// Source is who says so, and Trust what that is worth, where it differs:
	// registry-recorded, observed or publisher-claimed.
	Source string `json:"source,omitempty"`
	Trust  string `json:"trust,omitempty"`
	// Missing says why it could not be learnt.
	Missing string `json:"missing,omitempty"`
}

// A Condition is that a kind of evidence is one of some words.
type Condition struct {
	Name Name
	Is   []Word
}

// A Rule is one row of the table.
type Rule struct {
	ID      string
	When    []Condition // all of them
	Verdict Verdict
	// Urgent hygiene must not wait.
	Urgent bool
	// Why is the reason for people, as a clause.
	Why string
}

// Rules are the table. The first row that fits decides.
var Rules = []Rule{
	{
		"changed-without-deployment", when(Digest, Changed), Escalate, false,
		"the digest changed without a corresponding deployment event",
	},
	{
		"replicas-differ", when(Replicas, Differ), Escalate, false,
		"pods of one revision run different bytes, though nothing was deployed in between",
	},
	{
		"unknown-pusher", when(Pusher, Unknown), Escalate, false,
		"the registry shows a push by an account that is none of the known pushers",
	},
	{
		"not-approved", when(Digest, NotApproved), Escalate, false,
		"the digest is not one that was approved",
	},
	{
		"restart-by-nobody-known", append(when(Digest, Moved), when(Pusher, Unjudged, Overwritten)...), Undecided, false,
		"the tag moved at a restart, and the policy does not say who may push it: add knownPushers, or approve the digest",
	},
	{
		"version-overwritten", when(Pusher, Overwritten), Hygiene, true,
		"a tag that is meant to stay was pushed again, and the next start gets other bytes than were deployed",
	},
	{
		"hygiene-tracked", append(when(Reference, Mutable), when(Exception, Tracked)...), Hygiene, false,
		"the digest is the expected one, and the floating tag has a tracked exception",
	},
	{
		"hygiene-production", append(append(when(Reference, Mutable), when(Namespace, Production)...), when(Exception, None)...), Hygiene, true,
		"a mutable tag in production without a tracked exception",
	},
	{
		"hygiene", append(when(Reference, Mutable), when(Exception, None)...), Hygiene, false,
		"a mutable tag outside of production without a tracked exception",
	},
	{
		"approved", when(Digest, Pinned, Approved), Expected, false,
		"the digest is the one that was asked for or approved",
	},
	{
		"rollout", when(Digest, Deployed, Moved), Expected, false,
		"the digest came with a deployment",
	},
	{
		"unchanged", when(Digest, Unchanged), Expected, false,
		"the digest is the one that was deployed",
	},
}

func when(n Name, is ...Word) []Condition { return []Condition{{n, is}} }

// A Decision is what follows from evidence.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Urgent hygiene must not wait.
	Urgent bool `json:"urgent,omitempty"`
	// Rules are the rows that fit: the first decided, and others say the same.
	// Of an undecided one they are those that may fit, once the rest is known.
	Rules []string `json:"rules"`
	// Reasons are those of the rules.
	Reasons []string `json:"reasons"`
	// Missing is the evidence that the verdict waits for.
	Missing []Name `json:"missing,omitempty"`
}

// String is the verdict in a word or two.
func (d Decision) String() string {
	if d.Urgent {
		return string(d.Verdict) + " (urgent)"
	}
	return string(d.Verdict)
}

// Closed reports whether nothing is left to do.
func (d Decision) Closed() bool {
	return d.Verdict == Expected || d.Verdict == Hygiene && slices.Contains(d.Rules, "hygiene-tracked")
}

// outcome is what a rule decides; two rules can have the same.
type outcome struct {
	verdict Verdict
	urgent  bool
}

// Decide finds the verdict that stands whatever the missing evidence is, or
// says what it waits for.
func Decide(items []Item) Decision {
	w := worlds{names: read(), outcomes: map[string]outcome{}, fits: map[int]bool{}}
	for _, n := range w.names {
		words := possible(n, items)
		if len(words) != 1 {
			w.open = append(w.open, n)
		}
		w.words = append(w.words, words)
	}
	w.walk(make([]Word, 0, len(w.names)))
	d := Decision{Rules: []string{}, Reasons: []string{}}
	distinct := map[outcome]bool{}
	for _, o := range w.outcomes {
		distinct[o] = true
		d.Verdict, d.Urgent = o.verdict, o.urgent
	}
	if len(distinct) > 1 {
		d.Verdict, d.Urgent = Undecided, false
		d.Missing = w.decisive()
	}
	for i := range Rules {
		if w.fits[i] {
			d.Rules = append(d.Rules, Rules[i].ID)
			d.Reasons = append(d.Reasons, Rules[i].Why)
		}
	}
	if d.Verdict == Undecided && len(d.Missing) > 0 {
		d.Reasons = []string{"it depends on what could not be learnt: " + list(d.Missing)}
	} else if d.Verdict == Escalate {
		d.Rules, d.Reasons = escalations(items)
	}
	if len(d.Rules) == 0 {
		d.Reasons = []string{"no row of the table is about this"}
	}
	return d
}

// escalations are all rows that call for it: an incident is described whole.
func escalations(items []Item) (ids, reasons []string) {
	for _, r := range Rules {
		fits := r.Verdict == Escalate && !slices.ContainsFunc(r.When, func(c Condition) bool {
			words := possible(c.Name, items)
			return len(words) != 1 || !slices.Contains(c.Is, words[0])
		})
		if fits {
			ids, reasons = append(ids, r.ID), append(reasons, r.Why)
		}
	}
	return ids, reasons
}

// read are the kinds of evidence that rules read.
func read() []Name {
	var all []Name
	for _, k := range Kinds {
		if len(k.Words) > 0 {
			all = append(all, k.Name)
		}
	}
	return all
}

// possible are the words that evidence of a name can be: the one that was
// learnt, or all of them. Of several items, the first counts that says one.
func possible(n Name, items []Item) []Word {
	k := kindOf(n)
	var all []Word
	for _, m := range k.Words {
		all = append(all, m.Word)
	}
	for _, i := range items {
		if i.Name == n && i.Missing == "" && slices.Contains(all, i.Is) {
			return []Word{i.Is}
		}
	}
	return all
}

// worlds are all that can be the case, given what is known.
type worlds struct {
	names []Name
	words [][]Word
	open  []Name
	// outcomes are by the words of a world.
	outcomes map[string]outcome
	fits     map[int]bool
}

// walk visits every world that begins with these words. There are at most some
// thousands, if nothing is known at all.
func (w *worlds) walk(words []Word) {
	if n := len(words); n < len(w.names) {
		for _, word := range w.words[n] {
			w.walk(append(words, word))
		}
		return
	}
	o := outcome{verdict: Undecided}
	for i, r := range Rules {
		if w.holds(&r, words) {
			o = outcome{r.Verdict, r.Urgent}
			w.fits[i] = true
			break
		}
	}
	w.outcomes[key(words)] = o
}

func key(words []Word) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(string(w) + " ")
	}
	return b.String()
}

func (w *worlds) holds(r *Rule, words []Word) bool {
	for _, c := range r.When {
		if !slices.Contains(c.Is, words[slices.Index(w.names, c.Name)]) {
			return false
		}
	}
	return true
}

// decisive is the missing evidence of which one answer gives another verdict
// than another one would.
func (w *worlds) decisive() []Name {
	var all []Name
	for _, n := range w.open {
		at := slices.Index(w.names, n)
		differs := false
		w.each(nil, func(words []Word) {
			other := slices.Clone(words)
			for _, word := range w.words[at] {
				other[at] = word
				differs = differs || w.outcomes[key(other)] != w.outcomes[key(words)]
			}
		})
		if differs {
			all = append(all, n)
		}
	}
	return all
}

func (w *worlds) each(words []Word, visit func([]Word)) {
	if n := len(words); n < len(w.names) {
		for _, word := range w.words[n] {
			w.each(append(words, word), visit)
		}
		return
	}
	visit(words)
}

func list(names []Name) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}
