package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Schema names the form of a recorded event. Keys are added to it, never
// renamed.
const Schema = "tagwarden.event/v1"

// The types of recorded events.
const (
	typeStart  = "container_start"
	typeEnd    = "container_end"
	typeNode   = "node"
	typeSynced = "synced"
	typePush   = "push"
)

// record is the JSON form of every event.
type record struct {
	Schema     string            `json:"schema"`
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"`
	Source     string            `json:"source,omitempty"`
	Existing   bool              `json:"existing,omitempty"`
	Cluster    string            `json:"cluster,omitempty"`
	Node       string            `json:"node,omitempty"`
	Platform   string            `json:"platform,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Pod        string            `json:"pod,omitempty"`
	PodUID     string            `json:"podUID,omitempty"`
	PodLabels  map[string]string `json:"podLabels,omitempty"`
	Owner      *Owner            `json:"owner,omitempty"`
	Container  *containerRecord  `json:"container,omitempty"`
	Image      *imageRecord      `json:"image,omitempty"`
	Workload   *workloadRecord   `json:"workload,omitempty"`
	Deployment *Deployment       `json:"deployment,omitempty"`
	// Restart is always written for a start: 0 is a fact, too.
	Restart     *int32 `json:"restart,omitempty"`
	Privileged  *bool  `json:"privileged,omitempty"`
	HostNetwork *bool  `json:"hostNetwork,omitempty"`
	HostPID     *bool  `json:"hostPID,omitempty"`
	HostIPC     *bool  `json:"hostIPC,omitempty"`
	// Those of a node.
	Runtime string            `json:"runtime,omitempty"`
	Images  [][]string        `json:"images,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Push    *Push             `json:"push,omitempty"`
}

type containerRecord struct {
	Name string `json:"name,omitempty"`
	Kind Kind   `json:"kind,omitempty"`
	// ID has the runtime as its scheme: containerd://….
	ID string `json:"id"`
}

type imageRecord struct {
	Requested       string   `json:"requested,omitempty"`
	PullPolicy      string   `json:"pullPolicy,omitempty"`
	PullSecrets     []string `json:"pullSecrets,omitempty"`
	Status          string   `json:"status,omitempty"`
	ID              string   `json:"id,omitempty"`
	RunningDigest   string   `json:"runningDigest,omitempty"`
	RunningDigestOf string   `json:"runningDigestOf,omitempty"`
}

type workloadRecord struct {
	Workload
	Revision string `json:"revision,omitempty"`
}

// Append adds e to dst as one JSON line.
func Append(dst []byte, e Event) ([]byte, error) {
	var r record
	switch e := e.(type) {
	case *Start:
		r = e.record()
	case *End:
		r = record{Type: typeEnd, Time: e.Time, Source: e.Source, Cluster: e.Cluster, Container: &containerRecord{ID: e.ContainerID}}
	case *Node:
		r = record{Type: typeNode, Time: e.Time, Source: e.Source, Cluster: e.Cluster, Node: e.Name, Platform: e.Platform, Runtime: e.Runtime, Images: e.Images, Tags: e.Tags}
	case *Synced:
		r = record{Type: typeSynced, Time: e.Time, Source: e.Source, Cluster: e.Cluster, Node: e.Node, Namespace: e.Namespace}
	case *Push:
		r = record{Type: typePush, Time: e.Time, Source: e.Source, Cluster: e.Cluster, Push: e}
	}
	r.Schema = Schema
	line, err := json.Marshal(&r)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", r.Type, err)
	}
	return append(append(dst, line...), '\n'), nil
}

func (s *Start) record() record {
	id := s.ContainerID
	if s.Runtime != "" {
		id = s.Runtime + "://" + id
	}
	r := record{
		Type: typeStart, Time: s.Time, Source: s.Source, Existing: s.Existing,
		Cluster: s.Cluster, Node: s.Node, Platform: s.Platform,
		Namespace: s.Namespace, Pod: s.Pod, PodUID: s.PodUID, PodLabels: s.PodLabels, Owner: s.Owner,
		Container:  &containerRecord{Name: s.Container, Kind: s.Kind, ID: id},
		Deployment: s.Deployment, Restart: &s.RestartCount,
		Privileged: s.Privileged, HostNetwork: s.HostNetwork, HostPID: s.HostPID, HostIPC: s.HostIPC,
	}
	img := imageRecord{
		Requested: s.Reference, PullPolicy: s.PullPolicy, Status: s.Image, ID: s.ImageID,
		RunningDigest: s.Digest, RunningDigestOf: s.DigestOf,
	}
	if img.PullSecrets = s.PullSecrets; len(s.PullSecrets) > 0 || s.Reference+s.PullPolicy+s.Image+s.ImageID+s.Digest+s.DigestOf != "" {
		r.Image = &img
	}
	if w := (workloadRecord{s.Workload, s.Revision}); w != (workloadRecord{}) {
		r.Workload = &w
	}
	return r
}

// Parse reads one JSON line of a recording. Keys that are not known are left
// out: a newer version may have written them. A line that is no event of
// [Schema], or that has no time or no container id, is an error.
func Parse(line []byte) (Event, error) {
	var r record
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not an event: text after the object")
	}
	switch {
	case r.Schema != Schema:
		return nil, fmt.Errorf("not an event: schema is %q, want %q", r.Schema, Schema)
	case r.Time.IsZero():
		return nil, errors.New("not an event: time is missing")
	}
	r.Time = r.Time.UTC()
	switch r.Type {
	case typeStart, typeEnd:
		if r.Container == nil || bareID(r.Container.ID) == "" {
			return nil, errors.New("not an event: container.id is missing")
		}
		if r.Type == typeStart {
			return r.start(), nil
		}
		return &End{Time: r.Time, Source: r.Source, Cluster: r.Cluster, ContainerID: bareID(r.Container.ID)}, nil
	case typeNode:
		if r.Node == "" {
			return nil, errors.New("not an event: node is missing")
		}
		return &Node{Time: r.Time, Source: r.Source, Cluster: r.Cluster, Name: r.Node, Platform: r.Platform, Runtime: r.Runtime, Images: r.Images, Tags: r.Tags}, nil
	case typeSynced:
		return &Synced{Time: r.Time, Source: r.Source, Cluster: r.Cluster, Node: r.Node, Namespace: r.Namespace}, nil
	case typePush:
		if r.Push == nil || r.Push.Repository == "" {
			return nil, errors.New("not an event: push.repository is missing")
		}
		p := *r.Push
		p.Time, p.Source, p.Cluster, p.Pushed = r.Time, r.Source, r.Cluster, p.Pushed.UTC()
		return &p, nil
	}
	return nil, fmt.Errorf("not an event: unknown type %q", r.Type)
}

// bareID is a container id without the runtime before it.
func bareID(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		return bare
	}
	return id
}

func (r *record) start() *Start {
	s := &Start{
		Time: r.Time, Source: r.Source, Existing: r.Existing, Cluster: r.Cluster, Node: r.Node, Platform: r.Platform,
		Namespace: r.Namespace, Pod: r.Pod, PodUID: r.PodUID, PodLabels: r.PodLabels, Owner: r.Owner,
		Deployment: r.Deployment, Container: r.Container.Name, Kind: r.Container.Kind, ContainerID: bareID(r.Container.ID),
		Privileged: r.Privileged, HostNetwork: r.HostNetwork, HostPID: r.HostPID, HostIPC: r.HostIPC,
	}
	if rt, _, ok := strings.Cut(r.Container.ID, "://"); ok {
		s.Runtime = rt
	}
	if r.Restart != nil {
		s.RestartCount = *r.Restart
	}
	if i := r.Image; i != nil {
		s.Reference, s.PullPolicy, s.Image, s.ImageID = i.Requested, i.PullPolicy, i.Status, i.ID
		s.Digest, s.DigestOf, s.PullSecrets = i.RunningDigest, i.RunningDigestOf, i.PullSecrets
	}
	if w := r.Workload; w != nil {
		s.Workload, s.Revision = w.Workload, w.Revision
	}
	if d := s.Deployment; d != nil && !d.Time.IsZero() {
		d.Time = d.Time.UTC()
	}
	return s
}
