// Package event is the container start: what one container was asked to run,
// what it runs, and where. Sources make it, rules judge it, and its JSON form
// is what "tagwarden watch -o events" writes and "--source replay" reads.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

// Kind says which list of the pod spec a container stands in. It is empty
// when the source cannot know, as on a node without the API server.
type Kind string

// The kinds of container. A sidecar is an init container whose restartPolicy
// is Always (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
const (
	Regular   Kind = "regular"
	Init      Kind = "init"
	Sidecar   Kind = "sidecar"
	Ephemeral Kind = "ephemeral"
)

// Owner is the controller of a pod, from its ownerReferences.
type Owner struct {
	APIVersion string `json:"api_version,omitempty"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Start is one container start. What a source does not know stays empty, it
// is never guessed. A container that Kubernetes restarts in place is a new
// Start with a new ContainerID.
type Start struct {
	// Time is when the container started, in UTC. Kubernetes gives whole
	// seconds.
	Time time.Time `json:"time"`
	// Source is the name of the source that saw the start: kube, containerd.
	Source string `json:"source"`
	// Existing is set when the container ran already before the source began
	// to watch.
	Existing bool `json:"existing,omitempty"`

	Node      string            `json:"node,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Pod       string            `json:"pod,omitempty"`
	PodUID    string            `json:"pod_uid,omitempty"`
	PodLabels map[string]string `json:"pod_labels,omitempty"`
	Owner     *Owner            `json:"owner,omitempty"`

	Container string `json:"container,omitempty"`
	Kind      Kind   `json:"kind,omitempty"`
	// ContainerID is the runtime's full id, without its scheme.
	ContainerID string `json:"container_id"`
	// Runtime is the runtime's name, such as containerd or cri-o.
	Runtime      string `json:"runtime,omitempty"`
	RestartCount int32  `json:"restart_count,omitempty"`

	// Reference is what was asked for, byte for byte: nginx.
	Reference string `json:"reference,omitempty"`
	// Image is what the runtime calls the image, which may be another tag of
	// the same bytes.
	Image string `json:"image,omitempty"`
	// ImageID is the runtime's id for the image as it was reported.
	ImageID string `json:"image_id,omitempty"`
	// Digest is the digest in ImageID: of an index, a manifest or a config.
	Digest string `json:"digest,omitempty"`

	Privileged  *bool `json:"privileged,omitempty"`
	HostNetwork *bool `json:"host_network,omitempty"`
	HostPID     *bool `json:"host_pid,omitempty"`
	HostIPC     *bool `json:"host_ipc,omitempty"`
}

// Workload names the pod's controller as Kind/name, or the bare pod itself.
// It is empty when the pod is not known.
func (s *Start) Workload() string {
	switch {
	case s.Owner != nil:
		return s.Owner.Kind + "/" + s.Owner.Name
	case s.Pod != "" && s.Source == "kube":
		return "Pod/" + s.Pod
	}
	return ""
}

// Revision is the hash that changes exactly when somebody deploys: the pod's
// pod-template-hash or controller-revision-hash label, or "".
func (s *Start) Revision() string {
	if h := s.PodLabels["pod-template-hash"]; h != "" {
		return h
	}
	return s.PodLabels["controller-revision-hash"]
}

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

// Append adds s to dst as one JSON line.
func Append(dst []byte, s *Start) ([]byte, error) {
	line, err := json.Marshal(s)
	if err != nil {
		return dst, fmt.Errorf("encode container start %s: %w", s.ContainerID, err)
	}
	return append(append(dst, line...), '\n'), nil
}

// Parse reads one JSON line of a recording. A line without a container id or
// a time, or with a key that no version of the format had, is an error.
func Parse(line []byte) (Start, error) {
	var s Start
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Start{}, fmt.Errorf("not a container start: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Start{}, errors.New("not a container start: text after the object")
	}
	switch {
	case s.ContainerID == "":
		return Start{}, errors.New("not a container start: container_id is missing")
	case s.Time.IsZero():
		return Start{}, errors.New("not a container start: time is missing")
	}
	s.Time = s.Time.UTC()
	return s, nil
}
