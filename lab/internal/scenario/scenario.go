// Package scenario is what can be played in a lab: each scenario does
// something to the cluster and says what a watcher must have seen of it.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// A Scenario is one story.
type Scenario struct {
	Name  string
	Story string // one sentence
	// Real scenarios need a node whose containers are processes.
	Real bool
	// Play does it. It returns when everything it started has started.
	Play func(ctx context.Context, on *Stage) ([]verdict.Expect, error)
	// Drift is played instead of Play where the question is whether bytes
	// changed without a deployment. It plays in the namespace that the
	// scenario's name is, and returns the findings that must follow.
	Drift func(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error)
	// Triage is what "tagwarden triage" must say when Drift has been reported.
	Triage func(ns string) verdict.Triage
	// MayDoubt allows Tagwarden to say that it cannot tell.
	MayDoubt bool
}

// A Stage is the cluster a scenario is played in.
type Stage struct {
	Driver cluster.Driver
	State  *cluster.State
	Kube   *kube.Client
	Out    io.Writer // commands and what they print
}

// NewStage returns a stage in a lab that is up.
func NewStage(d cluster.Driver, s *cluster.State, out io.Writer) (*Stage, error) {
	client, err := s.Kube()
	if err != nil {
		return nil, err
	}
	return &Stage{Driver: d, State: s, Kube: client, Out: out}, nil
}

// All returns every scenario, the lab's own attack first.
func All() []Scenario {
	return append([]Scenario{
		{Name: "lab010", Story: "Three pods run the same bytes: asked for by latest, by no tag, and by a full version", Play: mutableTags},
		{Name: "misleading-status", Story: "A pod asks for no tag, and its status names a full version", Real: true, Play: misleadingStatus},
		{Name: "kinds", Story: "An init container, a sidecar, a regular and an ephemeral container in one pod", Real: true, Play: kinds},
		{Name: "restarts", Story: "A program fails twice, and each restart in place is a start", Real: true, Play: restarts},
		{Name: "no-start", Story: "A reference that cannot be one and an image that is not there never start", Real: true, Play: noStart},
		{Name: "replaced", Story: "A tag is overwritten between two starts, and each start shows its own bytes", Real: true, Play: replaced},
		{Name: "apiserver-killed", Story: "The API server is killed, a container restarts twice meanwhile, and another starts afterwards", Real: true, Play: apiserverKilled},
		{Name: "containerd-killed", Story: "containerd is killed, a container dies meanwhile, and another starts afterwards", Real: true, Play: containerdKilled},
	}, append(driftScenarios(), triageScenarios()...)...)
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	var names []string
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(names, ", "))
}

// startTimeout is how long anything may take to start. A loaded machine takes
// some seconds.
const startTimeout = 90 * time.Second

const pollEvery = 100 * time.Millisecond

// await polls until check returns nil, for as long as a start may take.
func await(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return cluster.Poll(ctx, pollEvery, check)
}

// namespace creates a namespace in which pods can be created.
func (on *Stage) namespace(ctx context.Context, name string) error {
	if err := on.Kube.CreateNamespace(ctx, name); err != nil {
		return err
	}
	return await(ctx, func(ctx context.Context) error { return on.Kube.ServiceAccountReady(ctx, name) })
}

// run creates a pod and returns it when it runs.
func (on *Stage) run(ctx context.Context, namespace, name string, spec kube.PodSpec) (kube.Pod, error) {
	if _, err := on.create(ctx, namespace, name, spec); err != nil {
		return kube.Pod{}, err
	}
	return on.awaitPod(ctx, namespace, name, running)
}

func (on *Stage) create(ctx context.Context, namespace, name string, spec kube.PodSpec) (kube.Pod, error) {
	return on.Kube.CreatePod(ctx, kube.Pod{Metadata: kube.Metadata{Name: name, Namespace: namespace}, Spec: spec})
}

// awaitPod returns the pod as soon as ok does not complain any more.
func (on *Stage) awaitPod(ctx context.Context, namespace, name string, ok func(kube.Pod) error) (pod kube.Pod, err error) {
	err = await(ctx, func(ctx context.Context) (err error) {
		if pod, err = on.Kube.Pod(ctx, namespace, name); err != nil {
			return err
		}
		return ok(pod)
	})
	return pod, err
}

// running complains until every regular container of the pod runs.
func running(p kube.Pod) error {
	if p.Status.Phase != "Running" || len(p.Status.ContainerStatuses) < len(p.Spec.Containers) {
		return fmt.Errorf("pod %s: %s", p.Metadata.Name, describe(p))
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running == nil {
			return fmt.Errorf("pod %s: %s", p.Metadata.Name, describe(p))
		}
	}
	return nil
}

// describe says why a pod does not run yet.
func describe(p kube.Pod) string {
	for _, c := range p.Status.All() {
		if c.State.Waiting != nil && c.State.Waiting.Reason != "" {
			return strings.TrimSpace(c.State.Waiting.Reason + " " + c.State.Waiting.Message)
		}
	}
	return p.Status.Phase
}

// digest is what the registry says an image is now. A simulated node pulls
// nothing, so there the digest does not matter.
func (on *Stage) digest(ctx context.Context, image string) (string, error) {
	if on.State.Mode != cluster.Real {
		return "", nil
	}
	return images.Digest(ctx, on.State.Registry(), image)
}

// expect fills in what every expectation of a pod shares.
func (on *Stage) expect(ctx context.Context, namespace, pod string, e verdict.Expect) (verdict.Expect, error) {
	e.Namespace, e.Pod = namespace, pod
	if e.Container == "" {
		e.Container = pod
	}
	if e.Starts == 0 {
		return e, nil
	}
	var err error
	if e.Digest == "" {
		e.Digest, err = on.digest(ctx, e.Image)
	}
	return e, err
}

// containerID returns the id of the container of that name without the name
// of its runtime.
func containerID(p kube.Pod, container string) (string, error) {
	for _, c := range p.Status.All() {
		if c.Name == container && c.ContainerID != "" {
			_, id, _ := strings.Cut(c.ContainerID, "://")
			return id, nil
		}
	}
	return "", errors.New("container " + container + " has no id")
}
