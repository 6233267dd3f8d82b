package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// previewAtOnce is how many references are resolved at a time; the client has
// limits for each registry.
const previewAtOnce = 16

// nextJSON is what would come back in the place of containers that run the same
// on one node.
type nextJSON struct {
	Namespace  string `json:"namespace"`
	Workload   string `json:"workload"`
	Container  string `json:"container"`
	Node       string `json:"node,omitempty"`
	Image      string `json:"image"`
	PullPolicy string `json:"pullPolicy,omitempty"`
	// Running is the digest that runs, Registry the one that the tag has now.
	Running  string `json:"running"`
	Registry string `json:"registry,omitempty"`
	// The three answers are same, different, by node, no start, not again, or
	// not known.
	Restart  string `json:"restart"`
	PodDies  string `json:"podDies"`
	NodeDies string `json:"nodeDies"`
	// Different are the nodes that would run other bytes, and Digests theirs.
	Different []nodeImageJSON `json:"different,omitempty"`
	Doubt     string          `json:"doubt,omitempty"`
	Pods      []string        `json:"pods"`
}

type nodeImageJSON struct {
	Node   string `json:"node"`
	Digest string `json:"digest"`
}

// alike is what containers have in common that come back alike.
type alike struct {
	history.Subject
	node, reference, digest, platform, pull string
}

// preview finds the tags that moved away from what runs, and what would come
// back different.
func (d *driftSink) preview(ctx context.Context, f *driftFlags, asks resolving, pol *policy.Policy) error {
	groups := map[alike][]*event.Start{}
	refs, sample := map[string]image.Reference{}, map[string]*event.Start{}
	matched := false
	for _, s := range d.starts {
		if f.node != "" && s.Node != f.node || f.pod != "" && f.pod != s.Pod && f.pod != s.Namespace+"/"+s.Pod {
			continue
		}
		matched = true
		ref, known, err := s.Requested()
		if err != nil || !known || ref.Pinned() || s.Digest == "" || s.Kind == event.Ephemeral {
			continue
		}
		refs[s.Reference], sample[s.Reference] = ref, s
		key := alike{history.SubjectOf(s), s.Node, s.Reference, s.Digest, s.Platform, s.PullPolicy}
		groups[key] = append(groups[key], s)
	}
	if f.pod+f.node != "" && !matched {
		return fmt.Errorf("nothing runs in pod %q on node %q", cmp.Or(f.pod, "*"), cmp.Or(f.node, "*"))
	}
	now, failed := resolveAll(ctx, asks, refs, sample)
	p := previewing{
		driftSink: d, asks: asks, pol: pol, all: f.pod+f.node != "", ids: image.NewIdentities(), told: map[string]bool{},
		nodes: slices.SortedFunc(maps.Values(d.nodes), func(a, b *event.Node) int { return cmp.Compare(a.Name, b.Name) }),
	}
	for _, n := range p.nodes {
		for _, names := range n.Images {
			var digests []image.Digest
			for _, name := range names {
				if x, err := image.ParseDigest(name); err == nil {
					digests = append(digests, x)
				}
			}
			p.ids.AddSameOn(platformNamed(n.Platform), digests...)
		}
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b alike) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload.String(), b.Workload.String()), cmp.Compare(a.Container, b.Container),
			cmp.Compare(a.node, b.node), cmp.Compare(a.digest, b.digest), cmp.Compare(a.reference, b.reference), cmp.Compare(a.pull, b.pull))
	})
	d.next = []nextJSON{}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.group(ctx, groups[key], now[key.reference], failed[key.reference])
	}
	slices.SortFunc(d.undecided, func(a, b undecidedJSON) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Pod, b.Pod))
	})
	return nil
}

// resolveAll asks what references mean now, each once.
func resolveAll(ctx context.Context, asks resolving, refs map[string]image.Reference, sample map[string]*event.Start) (now map[string]image.Digest, failed map[string]error) {
	names := slices.Sorted(maps.Keys(refs))
	got, errs := make([]image.Digest, len(names)), make([]error, len(names))
	var all errgroup.Group
	all.SetLimit(previewAtOnce)
	for i, name := range names {
		asks := asks
		asks.of = sample[name]
		all.Go(func() error {
			// One tag can be written in several ways.
			resolved, err := asks.ResolveWithin(asks.as(ctx), refs[name], sameAnswer)
			got[i], errs[i] = resolved.Digest, err
			return nil
		})
	}
	_ = all.Wait() // The errors are kept one by one.
	now, failed = map[string]image.Digest{}, map[string]error{}
	for i, name := range names {
		now[name], failed[name] = got[i], errs[i]
	}
	return now, failed
}

type previewing struct {
	*driftSink
	asks resolving
	pol  *policy.Policy
	// all shows also what would come back the same.
	all   bool
	ids   *image.Identities
	nodes []*event.Node
	// told are the findings, by their fingerprint: a workload runs on many
	// nodes.
	told map[string]bool
}

// group previews containers that come back alike.
func (p *previewing) group(ctx context.Context, starts []*event.Start, to image.Digest, failed error) {
	s := starts[0]
	var pods []string
	for _, x := range starts {
		pods = append(pods, x.Pod)
	}
	slices.Sort(pods)
	tag := event.NodeTag(s.Reference)
	doubt := p.learn(ctx, s, to.String())
	for _, n := range p.nodes {
		if n.Tags[tag] != "" && (n.Name == s.Node || n.Platform == s.Platform) {
			doubt = cmp.Or(p.learn(ctx, s, n.Tags[tag]), doubt)
		}
	}
	next := drift.AtNextStart(s, to.String(), p.nodes, p.ids)
	undecided := func(reason string) {
		for _, pod := range pods {
			p.undecided = append(p.undecided, undecidedJSON{s.Namespace, s.Workload.String(), pod, s.Container, s.Reference, s.Digest, reason})
		}
	}
	switch {
	case failed != nil:
		undecided(failed.Error())
	default:
		f, relation := drift.TagMoved(s, to.String(), pods, p.pol.Production(s.Namespace), p.ids)
		switch relation {
		case image.Different:
			if !p.told[f.Fingerprint()] {
				p.told[f.Fingerprint()] = true
				p.findings = append(p.findings, f)
			}
			if next.Doubt != "" {
				undecided(next.Doubt)
			}
		case image.CannotTell:
			why := "nobody knows the digests"
			if doubt != nil {
				why = doubt.Error()
			}
			undecided(fmt.Sprintf("the tag is %s now, and it cannot be told whether these are other bytes: %s", drift.Short(to.String()), why))
		}
	}
	same := func(o drift.Outcome) bool { return o == drift.NextSame || o == drift.NextNever }
	if !p.all && same(next.Restart) && same(next.Pod) && same(next.Node) {
		return
	}
	out := nextJSON{
		Namespace: s.Namespace, Workload: history.SubjectOf(s).Workload.String(), Container: s.Container, Node: s.Node, Image: s.Reference,
		PullPolicy: s.PullPolicy, Running: s.Digest, Registry: to.String(),
		Restart: next.Restart.String(), PodDies: next.Pod.String(), NodeDies: next.Node.String(), Doubt: next.Doubt, Pods: pods,
	}
	for _, n := range next.Different {
		out.Different = append(out.Different, nodeImageJSON(n))
	}
	p.next = append(p.next, out)
}

// learn asks registries what is behind the digest that runs and another one,
// where that is not known.
func (p *previewing) learn(ctx context.Context, s *event.Start, other string) error {
	running, errA := image.ParseDigest(s.Digest)
	to, errB := image.ParseDigest(other)
	if errA != nil || errB != nil {
		return errors.Join(errA, errB)
	}
	on := platformNamed(s.Platform)
	var failed error
	for _, ask := range p.ids.Unknown(running, to, on) {
		var err error
		for _, place := range []string{s.Reference, s.DigestOf} {
			ref, bad := image.Parse(place)
			if bad != nil {
				continue
			}
			var found []image.Content
			found, err = p.asks.For(s).Content(ctx, ref, ask, on)
			for _, c := range found {
				p.ids.Add(c)
			}
			if err == nil {
				break
			}
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// platformNamed reads a platform; one that is not known is the zero one.
func platformNamed(text string) image.Platform {
	p, err := image.ParsePlatform(text)
	if err != nil {
		return image.Platform{}
	}
	return p
}

// nextTable writes what would come back.
func (d *driftSink) nextTable(w io.Writer) error {
	if d.next == nil {
		return nil
	}
	if len(d.next) == 0 {
		_, err := fmt.Fprintln(w, "\nEverything would come back the same.")
		return err
	}
	fmt.Fprintln(w, "\nWhat would come back if it died now")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAMESPACE\tWORKLOAD\tCONTAINER\tNODE\tPULL\tCONTAINER DIES\tPOD DIES\tNODE DIES\tOTHER BYTES ON")
	for i := range d.next {
		n := &d.next[i]
		var on []string
		for _, x := range n.Different {
			on = append(on, x.Node)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Namespace, n.Workload, n.Container, cmp.Or(n.Node, "-"), cmp.Or(n.PullPolicy, "-"),
			n.Restart, n.PodDies, n.NodeDies, cmp.Or(few(on), "-"))
	}
	return tw.Flush()
}

// few names some of many.
func few(names []string) string {
	const shown = 3
	if n := len(names); n > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), n-shown)
	}
	return strings.Join(names, ", ")
}
