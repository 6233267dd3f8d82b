package drift

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// TagMoved compares what containers run with what their reference resolves to
// now. from is the start of one of them, to the digest that the registry gave,
// and pods are those that run it. The finding is TW-03, and there is one only
// where the bytes are different.
func TagMoved(from *event.Start, to string, pods []string, production bool, ids Comparer) (f finding.Finding, relation image.Relation) {
	j := &judge{Case: &Case{Start: from, Production: production}, ids: ids}
	relation, why := j.compare(from.Digest, to, from.Platform)
	if relation != image.Different {
		return finding.Finding{}, relation
	}
	own := SightingOf(from)
	f = j.finding(finding.TW03, FormMoved, own, &history.Seen{
		Revision: own.Revision, Reference: own.Reference, Digest: to, First: from.Time, Pod: own.Pod, Node: own.Node,
	}, why)
	f.Message += "; " + AtRestart(from.PullPolicy)
	f.Evidence = append(f.Evidence, finding.Evidence{Name: Pods, Value: some(pods)})
	return f, relation
}

// somePods is how many pods are named; the rest is counted.
const somePods = 10

func some(pods []string) string {
	pods = slices.Sorted(slices.Values(pods))
	if n := len(pods); n > somePods {
		return fmt.Sprintf("%s and %d more", strings.Join(pods[:somePods], ", "), n-somePods)
	}
	return strings.Join(pods, ", ")
}

// AtRestart says what a container would run if its pod were started again on
// the same node: the words for people are by pull policy
// (https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy).
func AtRestart(pullPolicy string) string {
	switch pullPolicy {
	case "Always":
		return "the next start of a container pulls the new bytes"
	case "Never":
		return "nothing is pulled; another node may have other bytes under this tag"
	case "IfNotPresent":
		return "a start on a node that has no image of this tag pulls the new bytes"
	}
	return "the pull policy is not known"
}
