package scan

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
)

// A Cluster collects what a cluster asks for and what it runs, page by page of
// its API's lists, and reports each container of a workload once.
type Cluster struct {
	// Name of the cluster in findings.
	Name   string
	finder manifest.Finder
	groups map[clusterKey]*clusterGroup
	// owners are the controllers of controllers: of ReplicaSets and Jobs.
	owners map[ownedKey]string
	gaps   []Unscannable
}

type ownedKey struct{ namespace, object string }

type clusterKey struct {
	object         manifest.Object
	container      string
	kind           manifest.ContainerKind
	image, subject string
}

type clusterGroup struct {
	path    string
	pods    int
	digests map[string]int
	local   bool
}

// maxDigests is how many digests of one container are told apart.
const maxDigests = 16

// object is the part of an object of the API that matters here.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name            string  `json:"name"`
		Namespace       string  `json:"namespace"`
		OwnerReferences []owner `json:"ownerReferences"`
	} `json:"metadata"`
	Status struct {
		Phase      string            `json:"phase"`
		Containers []containerStatus `json:"containerStatuses"`
		Init       []containerStatus `json:"initContainerStatuses"`
		Ephemeral  []containerStatus `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type owner struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

type containerStatus struct {
	Name    string `json:"name"`
	ImageID string `json:"imageID"`
}

// controller is the owner that controls the object, as Kind/name, or "".
func (o *object) controller() string {
	for _, r := range o.Metadata.OwnerReferences {
		if r.Controller {
			return r.Kind + "/" + r.Name
		}
	}
	return ""
}

// Gap notes what could not be asked.
func (c *Cluster) Gap(what, reason string) {
	c.gaps = append(c.gaps, Unscannable{File: what, Reason: reason})
}

// Add takes a page of a list, as JSON. Lists of controllers must come before
// those of pods.
func (c *Cluster) Add(kind, apiVersion string, page []byte) error {
	if c.groups == nil {
		c.groups, c.owners = map[clusterKey]*clusterGroup{}, map[ownedKey]string{}
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(page, &list); err != nil {
		return fmt.Errorf("list of %s: %w", kind, err)
	}
	for _, item := range list.Items {
		var o object
		if err := json.Unmarshal(item, &o); err != nil {
			return fmt.Errorf("list of %s: %w", kind, err)
		}
		o.Kind, o.APIVersion = kind, apiVersion // Members of a list do not say it.
		c.add(&o, item)
	}
	return nil
}

func (c *Cluster) add(o *object, item []byte) {
	by := o.controller()
	subject := o.Kind + "/" + o.Metadata.Name
	isPod := o.Kind == "Pod"
	if by != "" {
		c.owners[ownedKey{o.Metadata.Namespace, subject}] = by
		if !isPod {
			return // Its controller has the template.
		}
		for range 4 { // Pod, ReplicaSet, Deployment, and one more.
			up := c.owners[ownedKey{o.Metadata.Namespace, by}]
			if up == "" {
				break
			}
			by = up
		}
		subject = by
		delete(c.owners, ownedKey{o.Metadata.Namespace, "Pod/" + o.Metadata.Name})
	}
	head, err := json.Marshal(map[string]string{"apiVersion": o.APIVersion, "kind": o.Kind})
	if err != nil {
		panic(err) // Strings always encode.
	}
	// The object with its kind in front, as the finder wants it.
	text := append(slices.Clip(head[:len(head)-1]), ',')
	text = append(text, strings.TrimPrefix(strings.TrimSpace(string(item)), "{")...)
	found := c.finder.Find(manifest.Kubernetes, text)
	for _, u := range found.Unscannable {
		c.Gap(o.Metadata.Namespace+"/"+subject, u.Reason)
	}
	for i := range found.References {
		ref := &found.References[i]
		if !strings.HasPrefix(ref.Path, "spec.") {
			continue // The status repeats names that the runtime chose.
		}
		c.note(o, ref, subject, isPod)
	}
}

func (c *Cluster) note(o *object, ref *manifest.Reference, subject string, isPod bool) {
	key := clusterKey{
		object: manifest.Object{Namespace: o.Metadata.Namespace}, container: ref.Container, kind: ref.ContainerKind,
		image: ref.Text, subject: subject,
	}
	g := c.groups[key]
	if g == nil {
		g = &clusterGroup{path: ref.Path}
		c.groups[key] = g
	}
	if !isPod || o.Status.Phase == "Succeeded" || o.Status.Phase == "Failed" {
		return
	}
	g.pods++
	for _, statuses := range [][]containerStatus{o.Status.Containers, o.Status.Init, o.Status.Ephemeral} {
		for _, s := range statuses {
			if s.Name != ref.Container || s.ImageID == "" {
				continue
			}
			_, digest, pulled := strings.Cut(s.ImageID, "@")
			if !pulled { // The digest of its config, which no registry has under it.
				digest = s.ImageID
				g.local = true
			}
			if g.digests == nil {
				g.digests = map[string]int{}
			}
			if len(g.digests) < maxDigests || g.digests[digest] > 0 {
				g.digests[digest]++
			}
		}
	}
}

// A Run is what the pods of a workload run for a reference.
type Run struct {
	Namespace string
	// Workload is Kind/name.
	Workload, Container string
	Image               string
	// Digests counts the pods that run each. It has no more than some.
	Digests map[string]int
	// Local is set if a runtime gave an image id, which no registry has.
	Local bool
}

// Runs are what runs, and what could not be asked.
func (c *Cluster) Runs() (runs []Run, gaps []Unscannable) {
	for key, g := range c.groups {
		if len(g.digests) > 0 {
			runs = append(runs, Run{key.object.Namespace, key.subject, key.container, key.image, g.digests, g.local})
		}
	}
	return runs, c.gaps
}

// Report judges what was collected, by namespace, workload and container.
func (c *Config) Report(ctx context.Context, of *Cluster) *Report {
	r := newReport()
	if c.Resolve != nil {
		// Together: the answers are kept, and come again below.
		var group errgroup.Group
		group.SetLimit(resolvers)
		for key := range of.groups {
			if ref, err := image.Parse(key.image); err == nil && !ref.Pinned() {
				group.Go(func() error {
					_, _ = c.Resolve(ctx, ref)
					return nil
				})
			}
		}
		_ = group.Wait() // There are none.
	}
	for _, u := range of.gaps {
		r.gap(u)
	}
	keys := make([]clusterKey, 0, len(of.groups))
	for key := range of.groups {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b clusterKey) int {
		return cmp.Or(cmp.Compare(a.object.Namespace, b.object.Namespace), cmp.Compare(a.subject, b.subject),
			cmp.Compare(of.groups[a].path, of.groups[b].path), cmp.Compare(a.container, b.container), cmp.Compare(a.image, b.image))
	})
	workloads := map[[2]string]bool{}
	one := worker{config: c, ctx: ctx}
	for _, key := range keys {
		workloads[[2]string{key.object.Namespace, key.subject}] = true
		kind, name, _ := strings.Cut(key.subject, "/")
		ref := &manifest.Reference{
			Text: key.image, Container: key.container, ContainerKind: key.kind, Path: of.groups[key].path,
			Object: manifest.Object{Kind: kind, Namespace: key.object.Namespace, Name: name},
		}
		f, ok := one.one("", ref, r)
		if !ok {
			continue
		}
		f.Location = finding.Location{Path: ref.Path}
		f.Subject.Cluster = of.Name
		if f.Subject.Namespace == "" {
			f.Subject.Namespace = key.object.Namespace
		}
		f.Message += of.groups[key].runs(f)
		if fix := of.groups[key].fix(key.image); fix != "" && c.Resolve == nil {
			f.Fix = fix
		}
		if c.excepted(key.image, key.kind, f) {
			r.Summary.Suppressed++
			continue
		}
		r.found(c, f)
	}
	r.Summary.Workloads = len(workloads)
	return r
}

// fix is what to write so that the same bytes run as now, if all pods run the
// same.
func (g *clusterGroup) fix(text string) string {
	ref, err := image.Parse(text)
	if err != nil || len(g.digests) != 1 || g.local {
		return ""
	}
	name := ref.Familiar()
	if ref.Tag() != "" {
		name += ":" + ref.Tag()
	}
	for digest := range g.digests {
		return "write " + name + "@" + digest + ", which is what its pods run"
	}
	return ""
}

// runs says what runs for a reference, and notes it as evidence.
func (g *clusterGroup) runs(f *Found) string {
	f.Evidence = append(f.Evidence, finding.Evidence{Name: "pods", Value: fmt.Sprint(g.pods)})
	digests := make([]string, 0, len(g.digests))
	for d := range g.digests {
		digests = append(digests, d)
	}
	slices.Sort(digests)
	for _, d := range digests {
		f.Evidence = append(f.Evidence, finding.Evidence{Name: "digest", Value: d})
	}
	switch {
	case g.pods == 0:
		return "; the template says so, no pod runs it now"
	case len(digests) > 1:
		return fmt.Sprintf("; pods: %d, with %d different digests, see: tagwarden drift -n %s", g.pods, len(digests), f.Subject.Namespace)
	case len(digests) == 1:
		return fmt.Sprintf("; pods: %d, all with %s", g.pods, digests[0])
	}
	return fmt.Sprintf("; pods: %d, their digest is not known", g.pods)
}
