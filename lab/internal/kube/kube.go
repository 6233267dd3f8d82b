// Package kube is the little of the Kubernetes API that the lab itself needs,
// over plain HTTP: so the driver compiles in seconds on any machine.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// A Pod is the part of a pod that the lab reads or writes.
type Pod struct {
	APIVersion string    `json:"apiVersion,omitempty"`
	Kind       string    `json:"kind,omitempty"`
	Metadata   Metadata  `json:"metadata"`
	Spec       PodSpec   `json:"spec"`
	Status     PodStatus `json:"status,omitzero"`
}

// Metadata names an object.
type Metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitempty"`
	UID       string            `json:"uid,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// DeletionTimestamp is set while the object is being deleted.
	DeletionTimestamp string `json:"deletionTimestamp,omitempty"`
}

// A Deployment is the part of a Deployment that the lab writes.
type Deployment struct {
	APIVersion string         `json:"apiVersion,omitempty"`
	Kind       string         `json:"kind,omitempty"`
	Metadata   Metadata       `json:"metadata"`
	Spec       DeploymentSpec `json:"spec"`
}

// DeploymentSpec asks for replicas of a pod.
type DeploymentSpec struct {
	Replicas int            `json:"replicas"`
	Selector map[string]any `json:"selector"`
	Template struct {
		Metadata Metadata `json:"metadata"`
		Spec     PodSpec  `json:"spec"`
	} `json:"template"`
}

// PodSpec is what was asked for.
type PodSpec struct {
	RestartPolicy                 string      `json:"restartPolicy,omitempty"`
	TerminationGracePeriodSeconds *int        `json:"terminationGracePeriodSeconds,omitempty"`
	InitContainers                []Container `json:"initContainers,omitempty"`
	Containers                    []Container `json:"containers"`
	EphemeralContainers           []Container `json:"ephemeralContainers,omitempty"`
	Volumes                       []Volume    `json:"volumes,omitempty"`
}

// A Volume is an empty folder that lives as long as its pod.
type Volume struct {
	Name     string   `json:"name"`
	EmptyDir struct{} `json:"emptyDir"`
}

// A Mount puts a [Volume] into a container.
type Mount struct {
	Name string `json:"name"`
	Path string `json:"mountPath"`
}

// A Container is a container of any kind in a [PodSpec].
type Container struct {
	Name            string   `json:"name"`
	Image           string   `json:"image"`
	Command         []string `json:"command,omitempty"`
	Mounts          []Mount  `json:"volumeMounts,omitempty"`
	ImagePullPolicy string   `json:"imagePullPolicy,omitempty"`
	// RestartPolicy Always makes an init container a sidecar.
	RestartPolicy string `json:"restartPolicy,omitempty"`
}

// PodStatus is what the node reports.
type PodStatus struct {
	Phase                      string            `json:"phase,omitempty"`
	InitContainerStatuses      []ContainerStatus `json:"initContainerStatuses,omitempty"`
	ContainerStatuses          []ContainerStatus `json:"containerStatuses,omitempty"`
	EphemeralContainerStatuses []ContainerStatus `json:"ephemeralContainerStatuses,omitempty"`
}

// All returns the statuses of containers of every kind.
func (s PodStatus) All() []ContainerStatus {
	var all []ContainerStatus
	all = append(all, s.InitContainerStatuses...)
	all = append(all, s.ContainerStatuses...)
	return append(all, s.EphemeralContainerStatuses...)
}

// ContainerStatus is what the node reports of one container.
type ContainerStatus struct {
	Name         string         `json:"name"`
	Image        string         `json:"image"`
	ImageID      string         `json:"imageID"`
	ContainerID  string         `json:"containerID"`
	RestartCount int            `json:"restartCount"`
	State        ContainerState `json:"state"`
}

// ContainerState has one of its fields set.
type ContainerState struct {
	Waiting    *Waiting    `json:"waiting,omitempty"`
	Running    *Running    `json:"running,omitempty"`
	Terminated *Terminated `json:"terminated,omitempty"`
}

// Waiting is the state of a container that was not started.
type Waiting struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Running is the state of a container that runs.
type Running struct {
	StartedAt string `json:"startedAt"`
}

// Terminated is the state of a container that has ended.
type Terminated struct {
	ExitCode    int    `json:"exitCode"`
	Reason      string `json:"reason"`
	ContainerID string `json:"containerID"`
}

// A Client speaks to one API server.
type Client struct {
	server string
	http   *http.Client
}

// New returns a client for the server, such as https://127.0.0.1:6443.
func New(server string, client *http.Client) *Client { return &Client{server, client} }

// A StatusError is an answer that is not a success.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// IsNotFound reports whether the server answered that there is no such thing.
func IsNotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// IsConflict reports whether the server answered that there is one already.
func IsConflict(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusConflict
}

// Do sends one request. in is sent as JSON unless it is nil, or as it is where it
// has the type []byte; the answer is stored in out unless that is nil.
func (c *Client) Do(ctx context.Context, method, path, contentType string, in, out any) error {
	_, err := c.do(ctx, method, path, contentType, in, out)
	return err
}

// DryRun asks what would come of a request, and returns the server's warnings
// (RFC 9111, section 5.5), also where it refuses.
func (c *Client) DryRun(ctx context.Context, method, path, contentType string, in any) (warnings []string, err error) {
	head, err := c.do(ctx, method, path+"?dryRun=All", contentType, in, nil)
	for _, w := range head.Values("Warning") {
		// 299 - "text", where the text has \ before quotes.
		if _, text, ok := strings.Cut(w, ` - `); ok {
			if plain, err := strconv.Unquote(text); err == nil {
				text = plain
			}
			warnings = append(warnings, text)
		}
	}
	return warnings, err
}

func (c *Client) do(ctx context.Context, method, path, contentType string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		data, ok := in.([]byte)
		if !ok {
			var err error
			if data, err = json.Marshal(in); err != nil {
				return nil, err
			}
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.Header, err
	}
	if resp.StatusCode >= 300 {
		status := struct {
			Message string `json:"message"`
		}{Message: strings.TrimSpace(string(data))}
		_ = json.Unmarshal(data, &status)
		return resp.Header, fmt.Errorf("%s %s: %w", strings.ToLower(method), path, &StatusError{resp.StatusCode, status.Message})
	}
	if out == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(data, out)
}

const jsonType = "application/json"

func podPath(namespace, name string) string {
	path := "/api/v1/namespaces/" + namespace + "/pods"
	if name != "" {
		path += "/" + name
	}
	return path
}

// Get fetches any object by its path.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, jsonType, nil, out)
}

// Pod returns one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (Pod, error) {
	var p Pod
	return p, c.Get(ctx, podPath(namespace, name), &p)
}

// Pods returns all pods of a namespace.
func (c *Client) Pods(ctx context.Context, namespace string) ([]Pod, error) {
	var list struct {
		Items []Pod `json:"items"`
	}
	return list.Items, c.Get(ctx, podPath(namespace, ""), &list)
}

// CreatePod creates the pod in its namespace, default when it names none.
func (c *Client) CreatePod(ctx context.Context, p Pod) (Pod, error) {
	p.APIVersion, p.Kind = "v1", "Pod"
	if p.Metadata.Namespace == "" {
		p.Metadata.Namespace = "default"
	}
	var made Pod
	return made, c.Do(ctx, http.MethodPost, podPath(p.Metadata.Namespace, ""), jsonType, p, &made)
}

// DeletePod deletes a pod at once, without the time it may take to end.
func (c *Client) DeletePod(ctx context.Context, namespace, name string) error {
	return c.Do(ctx, http.MethodDelete, podPath(namespace, name)+"?gracePeriodSeconds=0", jsonType, nil, nil)
}

// CreateNamespace creates a namespace.
func (c *Client) CreateNamespace(ctx context.Context, name string) error {
	in := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
	return c.Do(ctx, http.MethodPost, "/api/v1/namespaces", jsonType, in, nil)
}

// Debug adds an ephemeral container to a running pod, as kubectl debug does.
func (c *Client) Debug(ctx context.Context, namespace, name string, container Container) error {
	patch := map[string]any{"spec": map[string]any{"ephemeralContainers": []Container{container}}}
	return c.Do(ctx, http.MethodPatch, podPath(namespace, name)+"/ephemeralcontainers", "application/strategic-merge-patch+json", patch, nil)
}

func deploymentPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + namespace + "/deployments" + name
}

// CreateDeployment creates replicas of a pod.
func (c *Client) CreateDeployment(ctx context.Context, namespace, name string, replicas int, spec PodSpec) error {
	labels := map[string]string{"app": name}
	d := Deployment{APIVersion: "apps/v1", Kind: "Deployment", Metadata: Metadata{Name: name, Namespace: namespace}}
	d.Spec.Replicas, d.Spec.Selector = replicas, map[string]any{"matchLabels": labels}
	d.Spec.Template.Metadata.Labels, d.Spec.Template.Spec = labels, spec
	return c.Do(ctx, http.MethodPost, deploymentPath(namespace, ""), jsonType, d, nil)
}

// PatchDeployment changes a Deployment by a strategic merge patch.
func (c *Client) PatchDeployment(ctx context.Context, namespace, name string, patch map[string]any) error {
	return c.Do(ctx, http.MethodPatch, deploymentPath(namespace, "/"+name), "application/strategic-merge-patch+json", patch, nil)
}

// NodeReady returns an error that says why the node cannot take pods yet.
func (c *Client) NodeReady(ctx context.Context, name string) error {
	var node struct {
		Spec struct {
			Taints []struct {
				Key string `json:"key"`
			} `json:"taints"`
		} `json:"spec"`
		Status struct {
			Conditions []struct {
				Type, Status, Message string
			} `json:"conditions"`
		} `json:"status"`
	}
	if err := c.Get(ctx, "/api/v1/nodes/"+name, &node); err != nil {
		return err
	}
	for _, t := range node.Spec.Taints {
		return fmt.Errorf("node %s: taint %s", name, t.Key)
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type != "Ready" {
			continue
		}
		if cond.Status == "True" {
			return nil
		}
		return fmt.Errorf("node %s: not ready: %s", name, cond.Message)
	}
	return fmt.Errorf("node %s: has not reported yet", name)
}

// ServiceAccountReady returns an error until pods can be created in the
// namespace.
func (c *Client) ServiceAccountReady(ctx context.Context, namespace string) error {
	if err := c.Get(ctx, "/api/v1/namespaces/"+namespace+"/serviceaccounts/default", nil); err != nil {
		return err
	}
	return c.Get(ctx, "/api/v1/namespaces/"+namespace+"/configmaps/kube-root-ca.crt", nil)
}
