package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tagwarden/tagwarden/internal/policy"
)

// PolicyName is the name of the one TagwardenPolicy that counts.
const PolicyName = "tagwarden"

var (
	policies   = schema.GroupVersionResource{Group: policy.Group, Version: policy.Version, Resource: policy.PoliciesResource}
	exceptions = schema.GroupVersionResource{Group: policy.Group, Version: policy.Version, Resource: policy.ExceptionsPlural}
)

const (
	// gather is how long changes are gathered, so that many at a time are one.
	gather = 200 * time.Millisecond
	// crdEvery is how often it is looked whether the objects exist by now.
	crdEvery = 30 * time.Second
	// expiryEvery is how often it is looked which exceptions have expired.
	expiryEvery = 10 * time.Minute
)

// A Policy follows the policy of the cluster: the object TagwardenPolicy, or
// else that of a file, with all objects TagwardenException.
type Policy struct {
	// File is the policy of the file as it is now.
	File func() *policy.Policy
	// Use takes each policy that is right. One that is wrong changes nothing.
	Use func(*policy.Policy)

	lastPolicy    *policy.Policy
	lastException map[types.UID]*policy.Exception
}

// Run follows the policy until ctx ends. changed says that the file's is
// another.
func (p *Policy) Run(ctx context.Context, c *Cluster, changed <-chan struct{}) {
	p.lastException = map[types.UID]*policy.Exception{}
	p.Use(p.File())
	if !p.awaitObjects(ctx, c, changed) {
		return
	}
	poke := make(chan struct{}, 1)
	notify := func(any) {
		select {
		case poke <- struct{}{}:
		default:
		}
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0)
	stores := map[schema.GroupVersionResource]cache.Store{}
	var running sync.WaitGroup
	defer running.Wait()
	for _, resource := range []schema.GroupVersionResource{policies, exceptions} {
		informer := factory.ForResource(resource).Informer()
		stores[resource] = informer.GetStore()
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: notify, DeleteFunc: notify,
			// What is written into the status, by us or another replica, is no change.
			UpdateFunc: func(old, o any) {
				a, wasObject := old.(*unstructured.Unstructured)
				b, isObject := o.(*unstructured.Unstructured)
				if !wasObject || !isObject || a.GetGeneration() != b.GetGeneration() || a.GetUID() != b.GetUID() {
					notify(o)
				}
			},
		})
		if err = errors.Join(err, c.tellTrouble(informer, resource.Resource)); err != nil {
			c.log.ErrorContext(ctx, "objects of the policy not followed", "error", err)
			return
		}
		running.Go(func() { informer.RunWithContext(quiet(ctx)) })
		// Somebody who may not list the objects still has the file.
		for !registration.HasSynced() {
			if !p.pause(ctx, gather, changed) {
				return
			}
		}
	}
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.rebuild(ctx, c, objects(stores[policies]), objects(stores[exceptions]))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		case <-poke:
			sleep(ctx, gather)
		}
	}
}

// awaitObjects returns true as soon as the CustomResourceDefinitions are there,
// and follows the file until then.
func (p *Policy) awaitObjects(ctx context.Context, c *Cluster, changed <-chan struct{}) bool {
	said := false
	for {
		_, err := c.client.Discovery().ServerResourcesForGroupVersion(policies.GroupVersion().String())
		if err == nil {
			return true
		}
		if !said {
			said = true
			if apierrors.IsNotFound(err) {
				c.log.InfoContext(ctx, "the cluster has no TagwardenPolicy and no TagwardenException, so the file alone counts")
			} else {
				c.log.WarnContext(ctx, "not known whether the cluster has a TagwardenPolicy, trying again", "error", err)
			}
		}
		if !p.pause(ctx, crdEvery, changed) {
			return false
		}
	}
}

// pause waits while the file alone counts, and takes up its changes. It reports
// false when ctx has ended.
func (p *Policy) pause(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			p.Use(p.File())
		case <-timer.C:
			return true
		}
	}
}

// objects lists a store by namespace and name.
func objects(s cache.Store) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, o := range s.List() {
		if u, ok := o.(*unstructured.Unstructured); ok {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all
}

// rebuild makes the policy of now and says at each object what became of it.
func (p *Policy) rebuild(ctx context.Context, c *Cluster, policyObjects, exceptionObjects []*unstructured.Unstructured) {
	of := p.File()
	there := false
	for _, o := range policyObjects {
		if o.GetName() != PolicyName {
			c.report(ctx, policies, o, condition{"False", "NotUsed", "the policy of the cluster is the object named " + PolicyName}, false)
			continue
		}
		there = true
		parsed, err := parsePolicy(o, c.now())
		switch {
		case err == nil:
			p.lastPolicy = parsed
			c.report(ctx, policies, o, condition{"True", "InEffect", "the policy is in effect"}, false)
		case p.lastPolicy != nil:
			c.report(ctx, policies, o, condition{"False", "Invalid", "the last good policy stays in effect: " + oneLine(err)}, true)
		default:
			c.report(ctx, policies, o, condition{"False", "Invalid", "the policy of the file is in effect: " + oneLine(err)}, true)
		}
		if p.lastPolicy != nil {
			of = p.lastPolicy
		}
	}
	if !there {
		p.lastPolicy = nil
	}
	var hold []*policy.Exception
	last := make(map[types.UID]*policy.Exception, len(exceptionObjects))
	for _, o := range exceptionObjects {
		e, err := parseException(o, of, c.now())
		before := p.lastException[o.GetUID()]
		switch {
		case err == nil && e.Expired(c.now()):
			c.report(ctx, exceptions, o, condition{"False", "Expired", "it expired after " + e.Expires.Format(time.DateOnly) + " and holds no longer"}, true)
		case err == nil:
			c.report(ctx, exceptions, o, condition{"True", "Holds", "it holds until " + e.Expires.Format(time.DateOnly)}, false)
		case before != nil:
			e = before
			c.report(ctx, exceptions, o, condition{"False", "Invalid", "what it said before still holds: " + oneLine(err)}, true)
		default:
			c.report(ctx, exceptions, o, condition{"False", "Invalid", "it does not hold: " + oneLine(err)}, true)
		}
		if e != nil {
			last[o.GetUID()] = e
			hold = append(hold, e)
		}
	}
	p.lastException = last
	p.Use(of.WithExceptions(hold))
}

func parsePolicy(o *unstructured.Unstructured, now time.Time) (*policy.Policy, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return policy.Parse("TagwardenPolicy", data, now)
}

func parseException(o *unstructured.Unstructured, under *policy.Policy, now time.Time) (*policy.Exception, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return under.ParseException("TagwardenException", data, now)
}

// oneLine is the first of several errors, without a place: in an object the keys
// say where it is.
func oneLine(err error) string {
	all, ok := errors.AsType[policy.Errors](err)
	if !ok {
		return err.Error()
	}
	s := all[0].Message
	if all[0].Path != "" {
		s = all[0].Path + ": " + s
	}
	if len(all) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(all)-1)
	}
	return s
}

// A condition is that an object counts, of the type Ready.
type condition struct{ status, reason, message string }

// report writes the condition into the status of an object that does not have
// it, and an event where it is to be seen by people.
func (c *Cluster) report(ctx context.Context, of schema.GroupVersionResource, o *unstructured.Unstructured, is condition, warn bool) {
	is.message = clip(is.message)
	since := metav1.NewTime(c.now()).UTC().Format(time.RFC3339)
	all, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // What is not there is written.
	for _, one := range all {
		had, ok := one.(map[string]any)
		if !ok || had["type"] != "Ready" {
			continue
		}
		generation, _ := had["observedGeneration"].(int64)
		if (condition{text(had, "status"), text(had, "reason"), text(had, "message")}) == is && generation == o.GetGeneration() {
			return
		}
		if t := text(had, "lastTransitionTime"); had["status"] == is.status && t != "" {
			since = t
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": o.GetGeneration(),
		"conditions": []any{map[string]any{
			"type": "Ready", "status": is.status, "reason": is.reason, "message": is.message,
			"observedGeneration": o.GetGeneration(), "lastTransitionTime": since,
		}},
	}})
	if err == nil {
		_, err = c.dynamic.Resource(of).Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		c.log.WarnContext(ctx, "status not written", "kind", o.GetKind(), "namespace", o.GetNamespace(), "name", o.GetName(), "error", err)
	}
	if warn {
		c.log.WarnContext(ctx, "object of the policy", "kind", o.GetKind(), "namespace", o.GetNamespace(), "name", o.GetName(), "reason", is.reason, "detail", is.message)
		c.warn(ctx, reference(o), is.reason, is.message)
	}
}

func reference(o *unstructured.Unstructured) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: "",
	}
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}
