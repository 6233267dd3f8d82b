package cluster

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// Namespaces knows the labels of namespaces.
type Namespaces struct {
	store  cache.Store
	run    func(context.Context)
	synced func() bool
}

// Namespaces returns the namespaces of the cluster. It knows none before Run.
func (c *Cluster) Namespaces() (*Namespaces, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(c.metadata, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", 0, cache.Indexers{}, nil).Informer()
	err := informer.SetTransform(func(o any) (any, error) {
		m, ok := o.(*metav1.PartialObjectMetadata)
		if !ok {
			return o, nil
		}
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: m.Labels}}, nil
	})
	if err = errors.Join(err, c.tellTrouble(informer, "namespaces")); err != nil {
		return nil, err
	}
	return &Namespaces{store: informer.GetStore(), run: informer.RunWithContext, synced: informer.HasSynced}, nil
}

// Run follows the namespaces until ctx ends.
func (n *Namespaces) Run(ctx context.Context) { n.run(quiet(ctx)) }

// Synced reports whether all namespaces are known.
func (n *Namespaces) Synced() bool { return n.synced() }

// Labels returns the labels of a namespace, and nil for one that is not known.
func (n *Namespaces) Labels(namespace string) map[string]string {
	o, ok, err := n.store.GetByKey(namespace)
	if m, is := o.(*metav1.PartialObjectMetadata); ok && err == nil && is {
		if m.Labels == nil {
			return map[string]string{}
		}
		return m.Labels
	}
	return nil
}
