package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// An outage scenario has three pods: one that nothing happens to, one whose
// container dies while a part of the cluster is down, and one that starts
// when the part is back.
const (
	calm   = "calm"
	victim = "victim"
	late   = "late"
)

func (on *Stage) outageSpec(name, image string) kube.PodSpec {
	return kube.PodSpec{Containers: []kube.Container{{Name: name, Image: image}}}
}

// apiserverKilled restarts a container twice while nobody can tell the API.
// The status of a container names the one that runs and the one before, so
// two restarts are the most that can be seen afterwards.
func apiserverKilled(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	return on.outage(ctx, "apiserver-killed", "apiserver", func(ctx context.Context, uid, old string) ([]string, error) {
		if err := on.kill(ctx, uid, old); err != nil {
			return nil, err
		}
		// The kubelet needs no API server to restart a container.
		between, err := on.awaitOther(ctx, uid, old)
		if err != nil {
			return nil, err
		}
		if err := on.kill(ctx, uid, between); err != nil {
			return nil, err
		}
		_, err = on.awaitOther(ctx, uid, old, between)
		return []string{old, between}, err
	})
}

// containerdKilled lets a container die while the kubelet cannot restart it.
func containerdKilled(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	return on.outage(ctx, "containerd-killed", "containerd", func(ctx context.Context, uid, old string) ([]string, error) {
		return []string{old}, on.kill(ctx, uid, old)
	})
}

// outage kills the part, lets meanwhile happen to the victim's container, and
// brings the part back. meanwhile returns the containers that have ended.
func (on *Stage) outage(ctx context.Context, ns, part string, meanwhile func(ctx context.Context, uid, id string) ([]string, error)) ([]verdict.Expect, error) {
	if err := on.namespace(ctx, ns); err != nil {
		return nil, err
	}
	first, err := on.run(ctx, ns, calm, on.outageSpec(calm, "nginx:1.25.3"))
	if err != nil {
		return nil, err
	}
	hit, err := on.run(ctx, ns, victim, on.outageSpec(victim, "nginx:latest"))
	if err != nil {
		return nil, err
	}
	oldID, err := containerID(hit, victim)
	if err != nil {
		return nil, err
	}
	uid := hit.Metadata.UID

	if err := on.Driver.Stop(ctx, on.State, part); err != nil {
		return nil, err
	}
	ended, err := meanwhile(ctx, uid, oldID)
	if err != nil {
		return nil, err
	}
	if err := on.Driver.Start(ctx, on.State, part); err != nil {
		return nil, err
	}

	newID, err := on.awaitOther(ctx, uid, ended...)
	if err != nil {
		return nil, err
	}
	// The API server is asked only when it knows the new container.
	if _, err := on.awaitPod(ctx, ns, victim, func(p kube.Pod) error {
		if id, err := containerID(p, victim); err != nil || id != newID {
			return errors.New("the pod's status does not know the new container")
		}
		return running(p)
	}); err != nil {
		return nil, err
	}
	last, err := on.run(ctx, ns, late, on.outageSpec(late, "nginx"))
	if err != nil {
		return nil, err
	}

	firstID, err := containerID(first, calm)
	if err != nil {
		return nil, err
	}
	lastID, err := containerID(last, late)
	if err != nil {
		return nil, err
	}
	expects := []verdict.Expect{
		{Pod: calm, Image: "nginx:1.25.3", Starts: 1, IDs: []string{firstID}},
		{Pod: victim, Image: "nginx:latest", Starts: len(ended) + 1, IDs: append(ended, newID), Gone: ended[1:], Alert: true},
		{Pod: late, Image: "nginx", Starts: 1, IDs: []string{lastID}, Alert: true},
	}
	for i, e := range expects {
		e.Kind = "container"
		if expects[i], err = on.expect(ctx, ns, e.Pod, e); err != nil {
			return nil, err
		}
	}
	return expects, nil
}

// kill ends the process of a container, as a crash would.
func (on *Stage) kill(ctx context.Context, uid, id string) error {
	rec, ok := on.State.Containers(uid)[id]
	if !ok {
		return fmt.Errorf("no process in container %.12s", id)
	}
	return rec.Kill(ctx)
}

// awaitOther returns the running container of a pod of one container that is
// none of the old ones.
func (on *Stage) awaitOther(ctx context.Context, uid string, old ...string) (id string, err error) {
	err = await(ctx, func(context.Context) error {
		ids := slices.DeleteFunc(slices.Collect(maps.Keys(on.State.Containers(uid))), func(id string) bool { return slices.Contains(old, id) })
		if len(ids) != 1 {
			return fmt.Errorf("%d new containers in pod %s", len(ids), uid)
		}
		id = ids[0]
		return nil
	})
	return id, err
}
