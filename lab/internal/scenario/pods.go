package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// misleadingStatus starts a pod without a tag when the node knows the same
// bytes by a full version already. Whoever reads the tag from the status, or
// from the runtime's record, takes the mutable reference for a fixed one.
func misleadingStatus(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	const ns, fixed, untagged = "misleading-status", "nginx:1.25.3", "nginx"
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	var expects []verdict.Expect
	for _, e := range []verdict.Expect{
		{Pod: "fixed", Image: fixed},
		{Pod: "untagged", Image: untagged, Alert: true},
	} {
		pod, err := on.run(ctx, ns, e.Pod, kube.PodSpec{Containers: []kube.Container{{Name: e.Pod, Image: e.Image}}})
		if err != nil {
			return nil, err
		}
		status := pod.Status.ContainerStatuses[0]
		fmt.Fprintf(on.Out, "# %s asks for %s; its status says %s\n", e.Pod, e.Image, status.Image)
		if !strings.HasSuffix(status.Image, "/"+fixed) {
			return nil, fmt.Errorf("pod %s: status says %s, so it does not mislead; want %s", e.Pod, status.Image, fixed)
		}
		id, err := containerID(pod, e.Pod)
		if err != nil {
			return nil, err
		}
		e.Kind, e.Starts, e.IDs = "container", 1, []string{id}
		if e, err = on.expect(ctx, ns, e.Pod, e); err != nil {
			return nil, err
		}
		expects = append(expects, e)
	}
	return expects, nil
}

// kinds starts one container of each kind in one pod.
func kinds(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	const ns, pod = "kinds", "mixed"
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	_, err := on.run(ctx, ns, pod, kube.PodSpec{
		InitContainers: []kube.Container{
			{Name: "setup", Image: "init:1.0.0"},
			{Name: "proxy", Image: "nginx:latest", RestartPolicy: "Always"},
		},
		Containers: []kube.Container{{Name: "web", Image: "nginx:1.25.3"}},
	})
	if err != nil {
		return nil, err
	}
	if err := on.Kube.Debug(ctx, ns, pod, kube.Container{Name: "debugger", Image: "nginx"}); err != nil {
		return nil, err
	}
	got, err := on.awaitPod(ctx, ns, pod, func(p kube.Pod) error {
		for _, c := range p.Status.EphemeralContainerStatuses {
			if c.State.Running != nil {
				return nil
			}
		}
		return fmt.Errorf("the ephemeral container does not run: %s", describe(p))
	})
	if err != nil {
		return nil, err
	}
	var expects []verdict.Expect
	for _, e := range []verdict.Expect{
		{Container: "setup", Image: "init:1.0.0", Kind: "init"},
		{Container: "proxy", Image: "nginx:latest", Kind: "sidecar", Alert: true},
		{Container: "web", Image: "nginx:1.25.3", Kind: "container"},
		// The default policy lets people debug from any image. Only the API
		// server says that a container is ephemeral.
		{Container: "debugger", Image: "nginx", Kind: "ephemeral", Alert: true, Muted: []string{"kube"}},
	} {
		id, err := containerID(got, e.Container)
		if err != nil {
			return nil, err
		}
		e.Starts, e.IDs = 1, []string{id}
		if e, err = on.expect(ctx, ns, pod, e); err != nil {
			return nil, err
		}
		expects = append(expects, e)
	}
	return expects, nil
}

// restarts runs a program that fails twice before it succeeds.
func restarts(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	const ns, pod, image, starts = "restarts", "flaky", "crash:latest", 3
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	_, err := on.create(ctx, ns, pod, kube.PodSpec{
		RestartPolicy: "OnFailure",
		Containers: []kube.Container{{
			Name: pod, Image: image, Command: []string{"/program", "flaky", strconv.Itoa(starts)},
			Mounts: []kube.Mount{{Name: "data", Path: "/data"}},
		}},
		Volumes: []kube.Volume{{Name: "data"}},
	})
	if err != nil {
		return nil, err
	}
	got, err := on.awaitPod(ctx, ns, pod, func(p kube.Pod) error {
		if p.Status.Phase != "Succeeded" {
			return fmt.Errorf("pod %s: %s", pod, describe(p))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := got.Status.ContainerStatuses[0].RestartCount; n != starts-1 {
		return nil, fmt.Errorf("pod %s: %d restarts, want %d", pod, n, starts-1)
	}
	id, err := containerID(got, pod)
	if err != nil {
		return nil, err
	}
	e, err := on.expect(ctx, ns, pod, verdict.Expect{Image: image, Kind: "container", Starts: starts, IDs: []string{id}, Alert: true})
	return []verdict.Expect{e}, err
}

// noStart asks for images that cannot be started.
func noStart(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	const ns = "no-start"
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	notThere := []string{"ErrImagePull", "ImagePullBackOff"} // in turns
	tries := []struct {
		pod, image string
		reasons    []string
	}{
		{"invalid", "nginx:::bad", []string{"InvalidImageName"}},
		{"absent", "nginx:9.9.9", notThere},
		{"absent-latest", "nowhere", notThere},
	}
	for _, t := range tries {
		if _, err := on.create(ctx, ns, t.pod, kube.PodSpec{Containers: []kube.Container{{Name: t.pod, Image: t.image}}}); err != nil {
			return nil, err
		}
	}
	var expects []verdict.Expect
	for _, t := range tries {
		_, err := on.awaitPod(ctx, ns, t.pod, func(p kube.Pod) error {
			for _, c := range p.Status.ContainerStatuses {
				if c.State.Waiting != nil && slices.Contains(t.reasons, c.State.Waiting.Reason) {
					return nil
				}
			}
			return fmt.Errorf("pod %s: %s, want %s", t.pod, describe(p), t.reasons[0])
		})
		if err != nil {
			return nil, err
		}
		e, err := on.expect(ctx, ns, t.pod, verdict.Expect{Image: t.image})
		if err != nil {
			return nil, err
		}
		expects = append(expects, e)
	}
	return expects, nil
}

// replaced overwrites a tag between the starts of two pods.
func replaced(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	const ns, image = "replaced", "api:1"
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	var expects []verdict.Expect
	for _, pod := range []string{"before", "after"} {
		digest, err := on.Driver.Push(ctx, on.State, image, pod)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(on.Out, "# %s is now %s\n", image, digest)
		got, err := on.run(ctx, ns, pod, kube.PodSpec{
			Containers: []kube.Container{{Name: pod, Image: image, ImagePullPolicy: "Always"}},
		})
		if err != nil {
			return nil, err
		}
		id, err := containerID(got, pod)
		if err != nil {
			return nil, err
		}
		e, err := on.expect(ctx, ns, pod, verdict.Expect{Image: image, Kind: "container", Digest: digest, Starts: 1, IDs: []string{id}, Alert: floating})
		if err != nil {
			return nil, err
		}
		expects = append(expects, e)
	}
	return expects, nil
}

// floating is whether a tag such as "1" is worth an alert.
const floating = true
