package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// driftScenarios ask whether bytes changed without a deployment: what must be
// found, and what must not.
func driftScenarios() []Scenario {
	return []Scenario{
		{Name: "silent-replacement", Story: "A tag is overwritten, and one of two replicas comes back with other bytes", Real: true, Drift: silentReplacement},
		{Name: "in-place-restart", Story: "A tag is overwritten, and a container that crashes comes back in its pod with other bytes", Real: true, Drift: inPlaceRestart},
		{Name: "rollout-restart", Story: "A tag is overwritten, and somebody restarts the deployment: the tag moved at a restart", Real: true, Drift: rolloutRestart},
		{Name: "legit-rollout", Story: "A new tag is deployed, and then another one by its digest: nothing is wrong", Real: true, Drift: legitRollout},
		{Name: "scale-up", Story: "Replicas are added before and after a tag is overwritten", Real: true, Drift: scaleUp},
		{Name: "rollback", Story: "A deployment goes back to its old revision, once to the same bytes and once to others", Real: true, Drift: rollback},
		{Name: "two-tags-same-bytes", Story: "The runtime names one image by another repository and another kind of digest: nothing is wrong", Real: true, Drift: twoTags},
		{Name: "multi-arch-index", Story: "An index is overwritten, and only another platform's image differs: nothing is wrong", Real: true, Drift: multiArch},
		{Name: "bare-pod", Story: "A pod without a controller is made anew from the same file, once with the same bytes and once with others", Real: true, Drift: barePod},
		{Name: "mirror", Story: "The same bytes are pulled through another registry: nothing is wrong", Real: true, Drift: mirror},
		{Name: "registry-down", Story: "Bytes change while no registry answers: found by the node's own list of images, or said to be unknown", Real: true, Drift: registryDown, MayDoubt: true},
	}
}

// PlayDrift plays a scenario about changed bytes in a namespace of its own.
func (on *Stage) PlayDrift(ctx context.Context, sc Scenario) ([]verdict.Drift, error) {
	if err := on.namespace(ctx, sc.Name); err != nil {
		return nil, err
	}
	return sc.Drift(ctx, on, sc.Name)
}

// api is the name of the deployment and its container in these scenarios.
const api = "api"

func apiSpec(image string) kube.PodSpec {
	grace := 1
	return kube.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []kube.Container{{Name: api, Image: image, ImagePullPolicy: "Always"}},
	}
}

// deploy makes the deployment and returns its pods when they run.
func (on *Stage) deploy(ctx context.Context, ns string, replicas int, spec kube.PodSpec) ([]kube.Pod, error) {
	if err := on.Kube.CreateDeployment(ctx, ns, api, replicas, spec); err != nil {
		return nil, err
	}
	return on.awaitReplicas(ctx, ns, replicas, spec.Containers[0].Image)
}

// awaitReplicas returns the pods of the deployment when there are as many as
// asked for, all of them run the image that is asked for, and all others are
// gone.
func (on *Stage) awaitReplicas(ctx context.Context, ns string, replicas int, image string) (pods []kube.Pod, err error) {
	err = await(ctx, func(ctx context.Context) error {
		all, err := on.Kube.Pods(ctx, ns)
		if err != nil {
			return err
		}
		pods = pods[:0]
		for _, p := range all {
			if p.Metadata.Labels["app"] == api {
				pods = append(pods, p)
			}
		}
		if len(pods) != replicas {
			return fmt.Errorf("%d pods in %s, want %d", len(pods), ns, replicas)
		}
		for _, p := range pods {
			if p.Metadata.DeletionTimestamp != "" || p.Spec.Containers[0].Image != image {
				return fmt.Errorf("pod %s is on its way out", p.Metadata.Name)
			}
			if err := running(p); err != nil {
				return err
			}
		}
		return nil
	})
	return pods, err
}

// push overwrites a tag. No two scenarios have the same bytes, or one could learn
// of them from another.
func (on *Stage) push(ctx context.Context, ns, ref, content string) (string, error) {
	digest, err := on.Driver.Push(ctx, on.State, ref, ns+" "+content)
	if err == nil {
		fmt.Fprintf(on.Out, "# %s is now %s\n", ref, digest)
	}
	return digest, err
}

// replace deletes a pod and waits for the one that takes its place.
func (on *Stage) replace(ctx context.Context, ns string, pod kube.Pod, replicas int) error {
	fmt.Fprintf(on.Out, "$ kubectl -n %s delete pod %s\n", ns, pod.Metadata.Name)
	if err := on.Kube.DeletePod(ctx, ns, pod.Metadata.Name); err != nil {
		return err
	}
	pods, err := on.awaitReplicas(ctx, ns, replicas, pod.Spec.Containers[0].Image)
	if err != nil {
		return err
	}
	for _, p := range pods {
		fmt.Fprintf(on.Out, "# pod %s runs %s\n", p.Metadata.Name, p.Status.ContainerStatuses[0].ImageID)
	}
	return nil
}

// Apply gives the deployment of a scenario an image, and waits until its two pods
// run it.
func (on *Stage) Apply(ctx context.Context, ns, image string) error {
	return on.setImage(ctx, ns, image, 2)
}

// Digest is what the registry says that a tag is now.
func (on *Stage) Digest(ctx context.Context, image string) (string, error) {
	return on.digest(ctx, image)
}

// setImage deploys another image.
func (on *Stage) setImage(ctx context.Context, ns, image string, replicas int) error {
	fmt.Fprintf(on.Out, "$ kubectl -n %s set image deployment/%s %s=%s\n", ns, api, api, image)
	err := on.Kube.PatchDeployment(ctx, ns, api, map[string]any{"spec": map[string]any{"template": map[string]any{
		"spec": map[string]any{"containers": []map[string]any{{"name": api, "image": image}}},
	}}})
	if err != nil {
		return err
	}
	_, err = on.awaitReplicas(ctx, ns, replicas, image)
	return err
}

func (on *Stage) scale(ctx context.Context, ns string, replicas int, image string) error {
	fmt.Fprintf(on.Out, "$ kubectl -n %s scale deployment/%s --replicas %d\n", ns, api, replicas)
	if err := on.Kube.PatchDeployment(ctx, ns, api, map[string]any{"spec": map[string]any{"replicas": replicas}}); err != nil {
		return err
	}
	_, err := on.awaitReplicas(ctx, ns, replicas, image)
	return err
}

// found is a finding about the deployment.
func found(id, form, to string) verdict.Drift {
	return verdict.Drift{ID: id, Form: form, Workload: "Deployment/" + api, To: to}
}

func silentReplacement(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	pods, err := on.deploy(ctx, ns, 2, apiSpec(image))
	if err != nil {
		return nil, err
	}
	evil, err := on.push(ctx, ns, image, "evil")
	if err != nil {
		return nil, err
	}
	if err := nextSecond(ctx); err != nil {
		return nil, err
	}
	return []verdict.Drift{found("TW-04", "new-pod", evil), found("TW-05", "skew", evil)}, on.replace(ctx, ns, pods[0], 2)
}

// nextSecond waits until the clock shows another second. Kubernetes gives the
// time of a start in whole ones: what starts before and after it can be told
// apart.
func nextSecond(ctx context.Context) error {
	now := time.Now()
	select {
	case <-time.After(now.Truncate(time.Second).Add(time.Second).Sub(now)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func inPlaceRestart(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	pods, err := on.deploy(ctx, ns, 1, apiSpec(image))
	if err != nil {
		return nil, err
	}
	id, err := containerID(pods[0], api)
	if err != nil {
		return nil, err
	}
	evil, err := on.push(ctx, ns, image, "evil")
	if err != nil {
		return nil, err
	}
	if err := on.kill(ctx, pods[0].Metadata.UID, id); err != nil {
		return nil, err
	}
	_, err = on.awaitOther(ctx, pods[0].Metadata.UID, id)
	return []verdict.Drift{found("TW-04", "in-place", evil)}, err
}

func rolloutRestart(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	before, err := on.deploy(ctx, ns, 1, apiSpec(image))
	if err != nil {
		return nil, err
	}
	other, err := on.push(ctx, ns, image, "other")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(on.Out, "$ kubectl -n %s rollout restart deployment/%s\n", ns, api)
	err = on.Kube.PatchDeployment(ctx, ns, api, map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339)}},
	}}})
	if err != nil {
		return nil, err
	}
	err = await(ctx, func(ctx context.Context) error {
		pods, err := on.awaitReplicas(ctx, ns, 1, image)
		if err == nil && pods[0].Metadata.UID == before[0].Metadata.UID {
			err = errors.New("the old pod runs still")
		}
		return err
	})
	return []verdict.Drift{found("TW-03", "restart", other)}, err
}

func legitRollout(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	repo := "lab/" + ns
	if _, err := on.push(ctx, ns, repo+":1.0.0", "one"); err != nil {
		return nil, err
	}
	digest, err := on.push(ctx, ns, repo+":1.1.0", "two")
	if err != nil {
		return nil, err
	}
	if _, err := on.deploy(ctx, ns, 2, apiSpec(repo+":1.0.0")); err != nil {
		return nil, err
	}
	if err := on.setImage(ctx, ns, repo+":1.1.0", 2); err != nil {
		return nil, err
	}
	return nil, on.setImage(ctx, ns, repo+"@"+digest, 2)
}

func scaleUp(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	if _, err := on.deploy(ctx, ns, 1, apiSpec(image)); err != nil {
		return nil, err
	}
	if err := on.scale(ctx, ns, 3, image); err != nil {
		return nil, err
	}
	evil, err := on.push(ctx, ns, image, "evil")
	if err != nil {
		return nil, err
	}
	return []verdict.Drift{found("TW-04", "new-pod", evil), found("TW-05", "skew", evil)}, on.scale(ctx, ns, 4, image)
}

func rollback(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	one, two := "lab/"+ns+":1.0.0", "lab/"+ns+":2.0.0"
	if _, err := on.push(ctx, ns, one, "one"); err != nil {
		return nil, err
	}
	if _, err := on.push(ctx, ns, two, "two"); err != nil {
		return nil, err
	}
	if _, err := on.deploy(ctx, ns, 1, apiSpec(one)); err != nil {
		return nil, err
	}
	for _, image := range []string{two, one, two} {
		if err := on.setImage(ctx, ns, image, 1); err != nil {
			return nil, err
		}
	}
	evil, err := on.push(ctx, ns, one, "evil")
	if err != nil {
		return nil, err
	}
	return []verdict.Drift{found("TW-04", "rollback", evil)}, on.setImage(ctx, ns, one, 1)
}

func twoTags(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image, other := "lab/"+ns+":latest", "lab/"+ns+"-multi:1.0.0"
	if _, err := on.push(ctx, ns, image, "same"); err != nil {
		return nil, err
	}
	pods, err := on.deploy(ctx, ns, 2, apiSpec(image))
	if err != nil {
		return nil, err
	}
	// An index in another repository has the very manifest as an entry.
	if _, _, err := on.Driver.PushIndex(ctx, on.State, other, ns+" same", "elsewhere"); err != nil {
		return nil, err
	}
	if _, err := on.run(ctx, ns, "other", apiSpec(other)); err != nil {
		return nil, err
	}
	return nil, on.replace(ctx, ns, pods[0], 2)
}

func multiArch(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, _, err := on.Driver.PushIndex(ctx, on.State, image, ns+" same", "one"); err != nil {
		return nil, err
	}
	pods, err := on.deploy(ctx, ns, 2, apiSpec(image))
	if err != nil {
		return nil, err
	}
	if _, _, err := on.Driver.PushIndex(ctx, on.State, image, ns+" same", "two"); err != nil {
		return nil, err
	}
	if err := on.replace(ctx, ns, pods[0], 2); err != nil {
		return nil, err
	}
	// The manifest for this platform, without an index around it.
	if _, err := on.push(ctx, ns, image, "same"); err != nil {
		return nil, err
	}
	return nil, on.replace(ctx, ns, pods[1], 2)
}

func barePod(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	anew := func(name string) error {
		if err := on.Kube.DeletePod(ctx, ns, name); err != nil {
			return err
		}
		err := await(ctx, func(ctx context.Context) error {
			if _, err := on.Kube.Pod(ctx, ns, name); !kube.IsNotFound(err) {
				return errors.Join(errors.New("the old pod is still there"), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		_, err = on.run(ctx, ns, name, apiSpec(image))
		return err
	}
	for _, name := range []string{"same", "changed"} {
		if _, err := on.run(ctx, ns, name, apiSpec(image)); err != nil {
			return nil, err
		}
	}
	if err := anew("same"); err != nil {
		return nil, err
	}
	evil, err := on.push(ctx, ns, image, "evil")
	if err != nil {
		return nil, err
	}
	return []verdict.Drift{{ID: "TW-04", Form: "recreated", Workload: "Pod/changed", To: evil}}, anew("changed")
}

func mirror(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "same"); err != nil {
		return nil, err
	}
	pods, err := on.deploy(ctx, ns, 2, apiSpec(image))
	if err != nil {
		return nil, err
	}
	if _, err := on.run(ctx, ns, "through", apiSpec("mirror.example/"+image)); err != nil {
		return nil, err
	}
	return nil, on.replace(ctx, ns, pods[0], 2)
}

// registryDown lets the node have the new bytes by another pod, so that a
// replica starts from them when no registry can be asked any more.
func registryDown(ctx context.Context, on *Stage, ns string) (expects []verdict.Drift, err error) {
	image := "lab/" + ns + ":latest"
	if _, err := on.push(ctx, ns, image, "good"); err != nil {
		return nil, err
	}
	spec := apiSpec(image)
	spec.Containers[0].ImagePullPolicy = "IfNotPresent"
	pods, err := on.deploy(ctx, ns, 2, spec)
	if err != nil {
		return nil, err
	}
	// The same bytes need nobody to be asked.
	if err := on.replace(ctx, ns, pods[0], 2); err != nil {
		return nil, err
	}
	evil, err := on.push(ctx, ns, image, "evil")
	if err != nil {
		return nil, err
	}
	if _, err := on.run(ctx, ns, "puller", apiSpec(image)); err != nil {
		return nil, err
	}
	if err := on.Driver.Stop(ctx, on.State, "registry"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, on.Driver.Start(context.WithoutCancel(ctx), on.State, "registry")) }()
	if err := on.replace(ctx, ns, pods[1], 2); err != nil {
		return nil, err
	}
	// The kubelet tells of the images on its node every few seconds; then it
	// is known that they are two.
	err = await(ctx, func(ctx context.Context) error { return on.imagesListed(ctx, evil) })
	return []verdict.Drift{found("TW-04", "new-pod", evil), found("TW-05", "skew", evil)}, err
}

// imagesListed returns an error until a node's status names a digest.
func (on *Stage) imagesListed(ctx context.Context, digest string) error {
	var list struct {
		Items []struct {
			Status struct {
				Images []struct{ Names []string }
			}
		}
	}
	if err := on.Kube.Get(ctx, "/api/v1/nodes", &list); err != nil {
		return err
	}
	for _, n := range list.Items {
		for _, i := range n.Status.Images {
			for _, name := range i.Names {
				if strings.HasSuffix(name, "@"+digest) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("no node tells of %s yet", digest)
}
