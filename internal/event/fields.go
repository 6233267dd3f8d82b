package event

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
)

// slots number the fields that a container start can answer.
const (
	_ = iota
	evtType
	evtTime
	evtTimeISO
	evtDatetime
	evtTimeSeconds
	evtDatetimeSeconds
	evtRawtimeSeconds
	evtRawtimeNanos
	evtRawtime
	evtSource
	evtHostname
	evtIsAsync
	evtAsyncType
	containerID
	containerFullID
	containerName
	containerImage
	containerImageID
	containerType
	containerPrivileged
	containerRepository
	containerTag
	containerDigest
	containerHostPID
	containerHostNetwork
	containerHostIPC
	containerStart
	podName
	podUID
	podID
	podLabel
	podLabels
	namespaceName
	ownReference
	ownClass
	ownPinned
	ownKind
	ownEphemeral
	ownExisting
	ownSource
	ownNode
	ownWorkload
	ownRevision
	ownProduction
	ownRestarts
	ownDrift
	ownDriftForm
	ownDriftFrom
	ownDriftReason
)

// falcoSlots are the fields of Falco that a start carries.
var falcoSlots = map[string]int{
	"evt.type": evtType, "evt.time": evtTime, "evt.time.iso8601": evtTimeISO, "evt.datetime": evtDatetime,
	"evt.rawtime": evtRawtime, "evt.time.s": evtTimeSeconds, "evt.datetime.s": evtDatetimeSeconds,
	"evt.rawtime.s": evtRawtimeSeconds, "evt.rawtime.ns": evtRawtimeNanos, "evt.outputtime": evtTime,
	"evt.source": evtSource, "evt.hostname": evtHostname,
	"evt.is_async": evtIsAsync, "evt.asynctype": evtAsyncType,
	"container.id": containerID, "container.full_id": containerFullID, "container.name": containerName,
	"container.image": containerImage, "container.image.id": containerImageID, "container.type": containerType,
	"container.privileged": containerPrivileged, "container.image.repository": containerRepository,
	"container.image.tag": containerTag, "container.image.digest": containerDigest,
	"container.host_pid": containerHostPID, "container.host_network": containerHostNetwork, "container.host_ipc": containerHostIPC,
	"container.start_ts": containerStart,
	"k8s.pod.name":       podName, "k8s.pod.uid": podUID, "k8s.pod.id": podID,
	"k8s.pod.label": podLabel, "k8s.pod.labels": podLabels, "k8s.ns.name": namespaceName,
}

// ownFields say what Falco's fields cannot. Each is null where the source
// does not know it.
var ownFields = []falco.Field{
	{Name: "tagwarden.reference", Slot: ownReference, Desc: "the image reference that the container was asked to run, byte for byte"},
	{Name: "tagwarden.class", Slot: ownClass, Desc: "class of that reference: untagged, latest, floating, fixed, digest, invalid"},
	{Name: "tagwarden.pinned", Slot: ownPinned, Type: falco.Bool, Desc: "whether that reference names a digest"},
	{Name: "tagwarden.container.kind", Slot: ownKind, Desc: "container, init, sidecar or ephemeral"},
	{Name: "tagwarden.ephemeral", Slot: ownEphemeral, Type: falco.Bool, Desc: "whether it is an ephemeral container, as kubectl debug makes"},
	{Name: "tagwarden.existing", Slot: ownExisting, Type: falco.Bool, Desc: "whether it ran already before the watch began"},
	{Name: "tagwarden.source", Slot: ownSource, Desc: "the source that saw the start: kube, containerd"},
	{Name: "tagwarden.node", Slot: ownNode, Desc: "the node's name"},
	{Name: "tagwarden.workload", Slot: ownWorkload, Desc: "the pod's top controller as Kind/name, or Pod/name"},
	{Name: "tagwarden.revision", Slot: ownRevision, Desc: "the hash of the pod template that the pod was made of"},
	{Name: "tagwarden.production", Slot: ownProduction, Type: falco.Bool, Desc: "whether the policy counts the namespace as production"},
	{Name: "tagwarden.restarts", Slot: ownRestarts, Type: falco.Int64, Desc: "how often the container had been restarted in place"},
	{Name: "tagwarden.drift", Slot: ownDrift, Desc: "what became of the bytes since the deployment: pinned, first, expected, moved, changed or unknown"},
	{Name: "tagwarden.drift.form", Slot: ownDriftForm, Desc: "the variety of a change: in-place, new-pod, recreated, rollback, restart, baseline"},
	{Name: "tagwarden.drift.from", Slot: ownDriftFrom, Desc: "the digest that was expected instead"},
	{Name: "tagwarden.drift.reason", Slot: ownDriftReason, Desc: "how it is known"},
}

// Catalog returns the fields that rules about container starts may use: those
// of Falco, and our own under tagwarden.
func Catalog() (*falco.Catalog, error) {
	return falco.DefaultCatalog().With(ownFields...).Bind(falcoSlots)
}

// Fields gives a container start the fields that rules ask for.
type Fields struct {
	start      *Start
	production bool

	ref   image.Reference
	known bool // the reference is what was asked for
	class string
	// image, repository and tag as Falco's container plugin cuts them.
	image, repository, tag string

	drift Drift
}

// Drift is what became of the bytes since the deployment, in the words of the
// fields tagwarden.drift*.
type Drift struct{ State, Form, From, Reason string }

// SetDrift gives the start the fields tagwarden.drift*. They are null before:
// the answer of a registry may come later than the start.
func (f *Fields) SetDrift(d Drift) { f.drift = d }

// FieldsOf reads the reference of s once for all rules. production says
// whether the policy counts its namespace as production. s must not change
// while the fields are in use.
func FieldsOf(s *Start, production bool) *Fields {
	f := &Fields{start: s, production: production}
	ref, known, err := s.Requested()
	f.known = known
	if err != nil {
		// Not a reference; its parts are cut as Falco does.
		f.image = s.Reference
		if !known {
			f.image = s.Image
		}
		f.repository, f.tag = cut(f.image)
		f.class = image.Invalid.String()
		return f
	}
	class, _ := ref.Class()
	f.ref, f.class = ref, class.String()
	f.image, f.repository, f.tag = ref.String(), ref.Name(), ref.Tag()
	return f
}

// Classify gives the reference another class than the one that its text alone
// tells. Without a reference it does nothing.
func (f *Fields) Classify(class func(image.Reference) (image.Class, string)) {
	if f.ref == (image.Reference{}) {
		return
	}
	c, _ := class(f.ref)
	f.class = c.String()
}

// cut separates repository and tag as Falco's container plugin does: up to the
// first @, the tag behind the last colon if that is behind the last slash.
func cut(name string) (repository, tag string) {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon], name[colon+1:]
	}
	return name, ""
}

// ImageName is the normalised repository with its registry, or "" where
// nothing is known of the image.
func (f *Fields) ImageName() string { return f.repository }

// Type is the event type of a container start.
func (f *Fields) Type() string { return "container" }

// shortID is how many digits of a container's id people are shown.
const shortID = 12

// Field returns the value of a field, or null where the source does not know
// it. As in Falco, the fields of the image are empty, not null, when nothing
// is known of it: the container itself is known.
func (f *Fields) Field(ref *falco.FieldRef) falco.Value {
	s := f.start
	if ref.Avail == falco.Constant {
		return ref.Start
	}
	switch ref.Slot {
	case evtType, evtAsyncType:
		return falco.StringValue("container")
	case evtTime:
		return falco.StringValue(s.Time.Format("15:04:05.000000000"))
	case evtTimeISO:
		return falco.StringValue(s.Time.UTC().Format("2006-01-02T15:04:05.000000000-0700"))
	case evtTimeSeconds:
		return falco.StringValue(s.Time.Format("15:04:05"))
	case evtDatetimeSeconds:
		return falco.StringValue(s.Time.Format(time.DateTime))
	case evtRawtimeSeconds:
		return falco.UintValue(uint64(s.Time.Unix()))
	case evtRawtimeNanos:
		return falco.UintValue(uint64(s.Time.Nanosecond()))
	case evtDatetime:
		return falco.StringValue(s.Time.Format("2006-01-02 15:04:05.000000000"))
	case evtRawtime, containerStart:
		return falco.UintValue(uint64(s.Time.UnixNano()))
	case evtSource:
		return falco.StringValue("syscall")
	case evtHostname, ownNode:
		return known(s.Node)
	case evtIsAsync:
		return falco.BoolValue(true)
	case containerID:
		return falco.StringValue(s.ContainerID[:min(shortID, len(s.ContainerID))])
	case containerFullID:
		return falco.StringValue(s.ContainerID)
	case containerName:
		return falco.StringValue(s.Container)
	case containerImage:
		return falco.StringValue(f.image)
	case containerImageID:
		return falco.StringValue(strings.TrimPrefix(s.ImageID, "sha256:"))
	case containerType:
		return falco.StringValue(s.Runtime)
	case containerRepository:
		return falco.StringValue(f.repository)
	case containerTag:
		return falco.StringValue(f.tag)
	case containerDigest:
		return falco.StringValue(s.Digest)
	case containerPrivileged:
		return flag(s.Privileged)
	case containerHostPID:
		return flag(s.HostPID)
	case containerHostNetwork:
		return flag(s.HostNetwork)
	case containerHostIPC:
		return flag(s.HostIPC)
	case podName:
		return known(s.Pod)
	case podUID, podID:
		return known(s.PodUID)
	case podLabel:
		if v, ok := s.PodLabels[ref.Argument]; ok {
			return falco.StringValue(v)
		}
		return falco.Value{}
	case podLabels:
		return falco.StringValue(labels(s.PodLabels))
	case namespaceName:
		return known(s.Namespace)
	}
	return f.own(ref.Slot)
}

// own answers the fields under tagwarden.
func (f *Fields) own(slot int) falco.Value {
	s := f.start
	switch slot {
	case ownReference:
		return known(s.Reference)
	case ownClass:
		if f.known {
			return falco.StringValue(f.class)
		}
	case ownPinned:
		if f.known {
			return falco.BoolValue(f.ref.Pinned())
		}
	case ownKind:
		return known(string(s.Kind))
	case ownEphemeral:
		if s.Kind != "" {
			return falco.BoolValue(s.Kind == Ephemeral)
		}
	case ownExisting:
		return falco.BoolValue(s.Existing)
	case ownSource:
		return known(s.Source)
	case ownWorkload:
		return known(s.Workload.String())
	case ownRevision:
		return known(s.Revision)
	case ownProduction:
		if s.Namespace != "" {
			return falco.BoolValue(f.production)
		}
	case ownRestarts:
		return falco.IntValue(int64(s.RestartCount))
	case ownDrift:
		return known(f.drift.State)
	case ownDriftForm:
		return known(f.drift.Form)
	case ownDriftFrom:
		return known(f.drift.From)
	case ownDriftReason:
		return known(f.drift.Reason)
	}
	return falco.Value{}
}

// known is null for the empty string.
func known(s string) falco.Value {
	if s == "" {
		return falco.Value{}
	}
	return falco.StringValue(s)
}

func flag(b *bool) falco.Value {
	if b == nil {
		return falco.Value{}
	}
	return falco.BoolValue(*b)
}

// labels prints labels as Falco does, sorted by key.
func labels(all map[string]string) string {
	keys := slices.Sorted(maps.Keys(all))
	for i, k := range keys {
		keys[i] = k + ":" + all[k]
	}
	return strings.Join(keys, ", ")
}
