package drift

import (
	"cmp"
	"fmt"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
)

// An Outcome is what a container would run after its next start.
type Outcome uint8

// The outcomes. The zero value says that it cannot be told.
const (
	NextUnknown Outcome = iota
	// NextSame: what it runs now.
	NextSame
	// NextOther: something else.
	NextOther
	// NextByNode: other bytes on some nodes, and not on others.
	NextByNode
	// NextNoStart: it would not start: it may not pull, and the node has no image.
	NextNoStart
	// NextNever: nobody makes the pod anew, or there is no other node for it.
	NextNever
)

// String is the outcome as the preview shows it.
func (o Outcome) String() string {
	switch o {
	case NextSame:
		return "same"
	case NextOther:
		return "different"
	case NextByNode:
		return "by node"
	case NextNoStart:
		return "no start"
	case NextNever:
		return "not again"
	}
	return "not known"
}

// A Next says what would come back in the place of a container.
type Next struct {
	// Restart is for when the container ends, Pod for when its pod goes, and
	// Node for when its node does.
	Restart, Pod, Node Outcome
	// Different are the nodes on which it would be other bytes, with the
	// digest.
	Different []NodeImage
	// Doubt says why something cannot be told, if it cannot.
	Doubt string
}

// A NodeImage is what a tag would mean on a node.
type NodeImage struct{ Node, Digest string }

// listedImages is how many images a kubelet reports at most, as long as nobody
// sets nodeStatusMaxImages: a tag that is not among so many may be on the node
// all the same.
const listedImages = 50

// AtNextStart says what would come back in the place of the container of s if
// it, its pod or its node died now: by its pull policy
// (https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy), by
// what nodes keep under its tag, and by what the tag means in its registry,
// which is to; "" is not known. A pod can come to every node of its platform,
// as far as this goes: selectors and taints are not looked at.
func AtNextStart(s *event.Start, to string, nodes []*event.Node, ids Comparer) Next {
	p := preview{s: s, to: to, tag: event.NodeTag(s.Reference), judge: &judge{Case: &Case{Start: s}, ids: ids}}
	own, others, known := p.unlisted(nil), []Outcome(nil), false
	static := s.Owner != nil && s.Owner.Kind == "Node"
	stays := static || s.Workload.Kind == "DaemonSet" || s.Workload.Kind == "Pod"
	for _, n := range nodes {
		switch {
		case n.Cluster != s.Cluster:
		case n.Name == s.Node:
			own, known = p.on(n), true
		case n.Platform == s.Platform && !stays:
			others = append(others, p.on(n))
		}
	}
	next := Next{Restart: own, Different: p.different}
	switch {
	case static, s.Workload.Kind == "DaemonSet":
		next.Pod, next.Node = own, NextNever
	case stays:
		next.Pod, next.Node = NextNever, NextNever
	default:
		next.Pod, next.Node = together(append(others, own)), together(others)
		if known && len(others) == 0 {
			next.Node = NextNever // There is nowhere to go.
		}
	}
	if next.Restart == NextUnknown || next.Pod == NextUnknown || next.Node == NextUnknown {
		next.Doubt = cmp.Or(p.doubt, "what its nodes keep is not known")
	}
	return next
}

// together is what holds on all of some nodes.
func together(all []Outcome) Outcome {
	if len(all) == 0 {
		return NextUnknown
	}
	out := all[0]
	for _, o := range all[1:] {
		switch {
		case o == out:
		case o == NextOther || out == NextOther || out == NextByNode:
			out = NextByNode
		case o == NextUnknown || out == NextUnknown:
			out = NextUnknown
		default:
			out = NextByNode
		}
	}
	return out
}

type preview struct {
	s       *event.Start
	to, tag string
	*judge
	different []NodeImage
	doubt     string
}

// on is what a start on a node would run.
func (p *preview) on(n *event.Node) Outcome {
	kept := n.Tags[p.tag]
	switch {
	case p.s.PullPolicy == "Always":
		return p.runs(p.to, n)
	case kept != "":
		return p.runs(kept, n)
	case len(n.Images) >= listedImages:
		p.doubt = cmp.Or(p.doubt, fmt.Sprintf("node %s has more images than it tells of", n.Name))
		return NextUnknown
	}
	return p.unlisted(n)
}

// unlisted is what a start runs on a node that is not known to keep the tag; nil
// is a node of which nothing is known.
func (p *preview) unlisted(n *event.Node) Outcome {
	switch {
	case p.s.PullPolicy == "Always", p.s.PullPolicy == "IfNotPresent" && n != nil:
		return p.runs(p.to, n)
	case p.s.PullPolicy == "Never" && n != nil:
		return NextNoStart
	}
	return NextUnknown
}

// runs compares a digest with what runs now.
func (p *preview) runs(digest string, n *event.Node) Outcome {
	if digest == "" {
		p.doubt = cmp.Or(p.doubt, "what the tag means now is not known")
		return NextUnknown
	}
	switch relation, why := p.compare(p.s.Digest, digest, p.s.Platform); relation {
	case image.Same:
		return NextSame
	case image.Different:
		if n != nil {
			p.different = append(p.different, NodeImage{n.Name, digest})
		}
		return NextOther
	default:
		p.doubt = cmp.Or(p.doubt, why)
		return NextUnknown
	}
}
