package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// fieldManager is who the API server is told that changes come from.
const fieldManager = "tagwarden"

// SetImage pins a container of a workload, which makes a new revision of it.
// init is for init containers.
func (s *Source) SetImage(ctx context.Context, namespace, kind, name, container string, init bool, reference string) error {
	list := "containers"
	if init {
		list = "initContainers"
	}
	// A strategic merge patch finds the container by its name.
	spec := map[string]any{list: []map[string]string{{"name": container, "image": reference}}}
	if kind != "Pod" {
		spec = map[string]any{"template": map[string]any{"spec": spec}}
	}
	if kind == "CronJob" {
		spec = map[string]any{"jobTemplate": map[string]any{"spec": spec}}
	}
	for _, k := range kinds {
		if k.Name == kind {
			path := fmt.Sprintf(k.resource, "namespaces/"+namespace) + "/" + name
			return s.patch(ctx, types.StrategicMergePatchType, path, map[string]any{"spec": spec})
		}
	}
	return fmt.Errorf("set the image of %s/%s: workloads of the kind %s are not known; run the command by hand", kind, name, kind)
}

// Cordon lets no new pod onto a node.
func (s *Source) Cordon(ctx context.Context, node string) error {
	return s.patch(ctx, types.StrategicMergePatchType, "api/v1/nodes/"+node, map[string]any{"spec": map[string]any{"unschedulable": true}})
}

// Quarantine labels a pod and applies the network policy for that label.
// networkPolicy is its manifest, name its name.
func (s *Source) Quarantine(ctx context.Context, namespace, pod, label, name, networkPolicy string) error {
	err := s.client.CoreV1().RESTClient().Patch(types.ApplyPatchType).
		AbsPath("apis/networking.k8s.io/v1/namespaces/"+namespace+"/networkpolicies/"+name).
		Param("fieldManager", fieldManager).Body([]byte(networkPolicy)).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("apply network policy %s/%s: %w", namespace, name, err)
	}
	return s.patch(ctx, types.MergePatchType, "api/v1/namespaces/"+namespace+"/pods/"+pod,
		map[string]any{"metadata": map[string]any{"labels": map[string]string{label: "true"}}})
}

func (s *Source) patch(ctx context.Context, form types.PatchType, path string, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	err = s.client.CoreV1().RESTClient().Patch(form).AbsPath(path).Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("change %s: %w", path[strings.LastIndexByte(path, '/')+1:], err)
	}
	return nil
}
