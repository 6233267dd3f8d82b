package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/workload"
)

// Look is one look at a cluster: what runs there now.
type Look struct{ *Source }

// Watch emits a start for every container that runs now, in the order of their
// start, and ends.
func (l Look) Watch(ctx context.Context, emit func(event.Event)) error {
	s := l.Source
	if err := s.check(ctx); err != nil {
		return err
	}
	t := newTracker(emit)
	t.cluster, t.namespace = s.cluster, s.namespace
	owners := newOwners(ctx, s.metadata, s.namespace, s.log)
	nodes := newNodes(s.cluster, t)
	t.describe = func(start *event.Start, pod *corev1.Pod) {
		resolve(start, pod, owners.lookup)
		start.Platform = nodes.platform(pod.Spec.NodeName)
	}
	if err := s.listNodes(ctx, nodes); err != nil {
		s.log.WarnContext(ctx, "the platforms of nodes and the images on them are not known", "error", err)
	}
	owners.warm()
	opt := metav1.ListOptions{Limit: listPage}
	for {
		page, err := s.client.CoreV1().Pods(s.namespace).List(ctx, opt)
		if err != nil {
			return fmt.Errorf("cluster %s: list pods: %w", s.host, err)
		}
		for i := range page.Items {
			slim, err := trim(&page.Items[i])
			if err != nil {
				return err
			}
			if pod, ok := slim.(*corev1.Pod); ok {
				t.see(pod, true)
			}
		}
		if opt.Continue = page.Continue; opt.Continue == "" {
			break
		}
	}
	t.caughtUp()
	return nil
}

func (s *Source) listNodes(ctx context.Context, n *nodes) error {
	opt := metav1.ListOptions{Limit: listPage}
	for {
		page, err := s.client.CoreV1().Nodes().List(ctx, opt)
		if err != nil {
			return err
		}
		for i := range page.Items {
			n.see(&page.Items[i])
		}
		if opt.Continue = page.Continue; opt.Continue == "" {
			return nil
		}
	}
}

// Dump is a source over what "kubectl get … -o json" saved: pods, and as far as
// they are there their owners and the nodes. Nothing is asked of a cluster.
type Dump struct {
	// Files are read one after the other; the names are for people.
	Files []DumpFile
	// Cluster is the name of the cluster in events.
	Cluster string
}

// DumpFile is one saved answer.
type DumpFile struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// String names the source for people.
func (d *Dump) String() string {
	names := make([]string, len(d.Files))
	for i, f := range d.Files {
		names[i] = f.Name
	}
	return "dump " + strings.Join(names, ", ")
}

// Watch emits a start for every container that ran when the answers were
// saved, in the order of their start, and ends. Of the answers, only what
// matters is kept in memory. An object that cannot be read is an error, and so
// is a dump without pods.
func (d *Dump) Watch(ctx context.Context, emit func(event.Event)) error {
	t := newTracker(emit)
	t.cluster = d.Cluster
	nodes := newNodes(d.Cluster, t)
	owners := map[ownerKey]*workload.Object{}
	var pods []*corev1.Pod
	for _, f := range d.Files {
		err := f.each(ctx, func(kind string, item json.RawMessage) error {
			switch kind {
			case "Pod":
				var pod corev1.Pod
				if err := json.Unmarshal(item, &pod); err != nil {
					return err
				}
				slim, err := trim(&pod)
				if err != nil {
					return err
				}
				if p, ok := slim.(*corev1.Pod); ok {
					pods = append(pods, p)
				}
			case "Node":
				var node corev1.Node
				if err := json.Unmarshal(item, &node); err != nil {
					return err
				}
				nodes.see(&node)
			default:
				var m metav1.PartialObjectMetadata
				if err := json.Unmarshal(item, &m); err != nil {
					return err
				}
				owners[ownerKey{m.APIVersion, kind, m.Namespace, m.Name}] = objectOf(m.APIVersion, kind, &m.ObjectMeta)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(pods) == 0 {
		return fmt.Errorf("%s: no pods in it; save them with: kubectl get pods,replicasets,deployments,statefulsets,daemonsets,jobs,cronjobs,nodes -A -o json", d)
	}
	t.describe = func(start *event.Start, pod *corev1.Pod) {
		resolve(start, pod, func(namespace string, ref workload.Ref, _ time.Time) *workload.Object {
			return owners[ownerKey{ref.APIVersion, ref.Kind, namespace, ref.Name}]
		})
		start.Platform = nodes.platform(pod.Spec.NodeName)
	}
	for _, pod := range pods {
		t.see(pod, true)
	}
	t.caughtUp()
	return nil
}

// each calls take with every object of a file: those of its lists, and those
// that stand alone, one after the other.
func (f *DumpFile) each(ctx context.Context, take func(kind string, item json.RawMessage) error) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		err := object(dec, take)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: object %d, before byte %d: %w", f.Name, n, dec.InputOffset(), err)
		}
	}
}

// object reads one object. The items of a list are taken one by one, so that a
// long list needs no more memory than its longest item.
func object(dec *json.Decoder, take func(kind string, item json.RawMessage) error) error {
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return errors.New("not a Kubernetes object; save it with -o json")
	}
	whole := map[string]json.RawMessage{}
	list := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return unexpected(err)
		}
		if key != "items" {
			var v json.RawMessage
			if err := dec.Decode(&v); err != nil {
				return unexpected(err)
			}
			whole[fmt.Sprint(key)] = v
			continue
		}
		list = true
		if start, err := dec.Token(); err != nil || start != json.Delim('[') {
			return errors.New("the items of a list are no list")
		}
		for n := 0; dec.More(); n++ {
			var item json.RawMessage
			if err := dec.Decode(&item); err != nil {
				return unexpected(err)
			}
			if err := one(item, whole["kind"], take); err != nil {
				return fmt.Errorf("item %d: %w", n, err)
			}
		}
		if _, err := dec.Token(); err != nil {
			return unexpected(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return unexpected(err)
	}
	if list {
		return nil
	}
	item, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	return one(item, nil, take)
}

// unexpected makes the end of a file within an object an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// one takes an object. The items of a PodList have no kind of their own.
func one(item, listKind json.RawMessage, take func(string, json.RawMessage) error) error {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(item, &head); err != nil {
		return err
	}
	if head.Kind == "" && listKind != nil {
		var of string
		if err := json.Unmarshal(listKind, &of); err != nil {
			return err
		}
		head.Kind = strings.TrimSuffix(of, "List")
	}
	if head.Kind == "" {
		return errors.New("not a Kubernetes object: it has no kind")
	}
	return take(head.Kind, item)
}
