// Package event is what sources see: a container start (what one container was
// asked to run, what it runs, and where), the end of a container, and what a
// node says of its images. Sources make events, rules judge starts, and their
// JSON form is what "tagwarden watch -o events" writes and "--source replay"
// reads.
package event

import (
	"cmp"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

// Event is a [*Start], an [*End], a [*Node], a [*Synced] or a [*Push].
type Event interface {
	// At is when it happened, in UTC.
	At() time.Time
	event()
}

// At is when the container started.
func (s *Start) At() time.Time { return s.Time }

// At is when the container ended.
func (e *End) At() time.Time { return e.Time }

// At is when the node said it.
func (n *Node) At() time.Time { return n.Time }

// At is when the source had caught up.
func (s *Synced) At() time.Time { return s.Time }

// At is when it became known.
func (p *Push) At() time.Time { return p.Time }

func (*Start) event()  {}
func (*End) event()    {}
func (*Node) event()   {}
func (*Synced) event() {}
func (*Push) event()   {}

// Kind says which list of the pod spec a container stands in. It is empty
// when the source cannot know, as on a node without the API server.
type Kind string

// The kinds of container. A sidecar is an init container whose restartPolicy
// is Always (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
const (
	Container Kind = "container"
	Init      Kind = "init"
	Sidecar   Kind = "sidecar"
	Ephemeral Kind = "ephemeral"
)

// Owner is the controller of a pod, from its ownerReferences.
type Owner struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Workload is the top controller of a pod, such as the Deployment behind its
// ReplicaSet, or the pod itself where nothing controls it.
type Workload struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
}

// String names the workload as Kind/name, and is empty where it is not known.
func (w Workload) String() string {
	if w.Kind == "" {
		return ""
	}
	return w.Kind + "/" + w.Name
}

// Deployment is what is known of the act that made a revision of a workload.
type Deployment struct {
	// Time is when the revision was made, in UTC: the creation of its
	// ReplicaSet, ControllerRevision, Job or pod.
	Time time.Time `json:"time,omitzero"`
	// By is the field manager that last changed the workload's template at
	// that time, such as kubectl-edit, helm or argocd-controller. It is what a
	// client calls itself, not a proven identity.
	By string `json:"by,omitempty"`
	// Via is the tool that the workload's labels and annotations name, such as
	// "Helm release api" or "Argo CD application shop".
	Via string `json:"via,omitempty"`
	// Cause is the annotation kubernetes.io/change-cause.
	Cause string `json:"cause,omitempty"`
}

// Start is one container start. What a source does not know stays empty, it
// is never guessed. A container that Kubernetes restarts in place is a new
// Start with a new ContainerID.
type Start struct {
	// Time is when the container started, in UTC. Kubernetes gives whole
	// seconds.
	Time time.Time
	// Source is the name of the source that saw the start: kube, containerd.
	Source string
	// Existing is set when the container ran already before the source began
	// to watch.
	Existing bool

	// Cluster is what the user calls the cluster.
	Cluster string
	Node    string
	// Platform is the node's, as os/architecture[/variant].
	Platform  string
	Namespace string
	Pod       string
	PodUID    string
	PodLabels map[string]string
	Owner     *Owner
	// Workload and Revision say what the pod belongs to: the revision changes
	// exactly when somebody deploys. Deployment is what is known of that act.
	Workload   Workload
	Revision   string
	Deployment *Deployment

	// Container is the container's name in the pod.
	Container string
	Kind      Kind
	// ContainerID is the runtime's full id, without its scheme.
	ContainerID string
	// Runtime is the runtime's name, such as containerd or cri-o.
	Runtime      string
	RestartCount int32

	// Reference is what was asked for, byte for byte: nginx.
	Reference string
	// PullPolicy is Always, IfNotPresent or Never.
	PullPolicy string
	// PullSecrets are the names of the pod's secrets for registries; those of
	// its service account are among them.
	PullSecrets []string
	// Image is what the runtime calls the image, which may be another tag of
	// the same bytes.
	Image string
	// ImageID is the runtime's id for the image as it was reported.
	ImageID string
	// Digest is the digest in ImageID: of an index, a manifest or a config.
	// DigestOf is the repository that stands before it, as the runtime wrote
	// it; where there is none, the digest is that of a config.
	Digest, DigestOf string

	Privileged  *bool
	HostNetwork *bool
	HostPID     *bool
	HostIPC     *bool
}

// End says that a container runs no longer.
type End struct {
	// Time is when it ended, in UTC, or when that was noticed.
	Time        time.Time
	Source      string
	Cluster     string
	ContainerID string
}

// Node is what a node says of itself.
type Node struct {
	Time    time.Time
	Source  string
	Cluster string
	Name    string
	// Platform is os/architecture[/variant].
	Platform string
	// Runtime is the runtime's name, such as containerd or cri-o.
	Runtime string
	// Tags has, for each tag that the node keeps an image under, as [NodeTag]
	// writes it, a digest of that image. It need not be all tags.
	Tags map[string]string
	// Images has, for each image on the node, the digests by which the
	// runtime knows it: they all name the same bytes, and those of two images
	// name different ones. It need not be all images.
	Images [][]string
}

// NodeTag is how [Node.Tags] has the tag of a reference: with its registry, and
// latest where it names none. It is "" for what has no tag.
func NodeTag(reference string) string {
	ref, err := image.Parse(reference)
	if err != nil || ref.Pinned() {
		return ""
	}
	return ref.Name() + ":" + cmp.Or(ref.Tag(), "latest")
}

// Synced says that a source has reported everything that ran when it began,
// or began again after a break: what it has not named since, in its scope,
// runs no longer.
type Synced struct {
	Time    time.Time
	Source  string
	Cluster string
	// Node and Namespace are the scope; empty means all of them.
	Node, Namespace string
}

// Push says that a registry got a tag or a digest. What is not known stays
// empty. Its texts are from outside; they are single lines of bounded length.
type Push struct {
	// Time is when it became known, in UTC.
	Time    time.Time `json:"-"`
	Source  string    `json:"-"`
	Cluster string    `json:"-"`
	// Repository is the normalised name: docker.io/library/nginx. Tag is empty
	// for a push by digest alone.
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	// Digest is that of the index or the manifest.
	Digest string `json:"digest,omitempty"`
	// Pushed is when it was pushed, by the clock of who says so. With OfDigest
	// it is when the registry got the digest: the tag may have moved later.
	Pushed   time.Time `json:"pushed,omitzero"`
	OfDigest bool      `json:"ofDigest,omitempty"`
	// By is the account that pushed, Addr and UserAgent what it came from.
	By        string `json:"by,omitempty"`
	Addr      string `json:"addr,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
	// Told is who says so, such as "distribution notification", and Trust what
	// that is worth: [Recorded], observed or publisher-claimed.
	Told  string `json:"told,omitempty"`
	Trust string `json:"trust"`
	// Confirmed is set when the registry itself was asked and agreed.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Recorded is the trust in what a registry recorded when it took a push.
const Recorded = "registry-recorded"

// Requested is the reference that the container was asked to run. Where the
// source does not know it, it is the runtime's name for the image, and known
// is false. The error is that of [image.Parse].
func (s *Start) Requested() (ref image.Reference, known bool, err error) {
	if s.Reference != "" {
		ref, err = image.Parse(s.Reference)
		return ref, true, err
	}
	ref, err = image.Parse(s.Image)
	return ref, false, err
}
