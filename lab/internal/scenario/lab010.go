package scenario

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// attackPod is one command of the attack.
type attackPod struct {
	name, image string
	alert       bool // the name can come to mean other bytes
}

var attackPods = []attackPod{
	{"lab010", "nginx:latest", true},
	{"lab010b", "nginx", true},
	{"lab010c", "nginx:1.25.3", false},
}

// mutableTags is the attack as its description has it, in namespace default.
func mutableTags(ctx context.Context, on *Stage) ([]verdict.Expect, error) {
	var expects []verdict.Expect
	for _, p := range attackPods {
		if err := on.kubectlRun(ctx, p); err != nil {
			return nil, err
		}
		e, err := on.expect(ctx, "default", p.name, verdict.Expect{Image: p.image, Kind: "container", Starts: 1, Alert: p.alert})
		if err != nil {
			return nil, err
		}
		expects = append(expects, e)
	}
	var pods []kube.Pod
	for i, p := range attackPods {
		pod, err := on.awaitPod(ctx, "default", p.name, running)
		if err != nil {
			return nil, err
		}
		id, err := containerID(pod, p.name)
		if err != nil {
			return nil, err
		}
		expects[i].IDs = []string{id}
		pods = append(pods, pod)
	}
	on.Driver.Out.Step("all %d pods run%s", len(pods), on.State.Label())
	printPods(on.Out, pods, on.State.Label())
	return expects, on.askImage(ctx, attackPods[0].name)
}

// kubectlRun starts a pod with kubectl where it is installed, else with the
// same request through the API.
func (on *Stage) kubectlRun(ctx context.Context, p attackPod) error {
	args := []string{"run", p.name, "--image=" + p.image, "--restart=Never"}
	if kubectl, err := exec.LookPath("kubectl"); err == nil {
		fmt.Fprintf(on.Out, "$ kubectl %s\n", strings.Join(args, " "))
		return on.kubectl(ctx, kubectl, args...)
	}
	fmt.Fprintf(on.Out, "# kubectl is not installed; through the API: kubectl %s\n", strings.Join(args, " "))
	_, err := on.Kube.CreatePod(ctx, kube.Pod{
		Metadata: kube.Metadata{Name: p.name, Namespace: "default", Labels: map[string]string{"run": p.name}},
		Spec:     kube.PodSpec{RestartPolicy: "Never", Containers: []kube.Container{{Name: p.name, Image: p.image}}},
	})
	return err
}

func (on *Stage) kubectl(ctx context.Context, kubectl string, args ...string) error {
	all := append([]string{"--kubeconfig=" + on.State.Kubeconfig(), "--namespace=default"}, args...)
	text, err := exec.CommandContext(ctx, kubectl, all...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(text)))
	}
	fmt.Fprintln(on.Out, strings.TrimSpace(string(text)))
	return nil
}

// askImage checks what image runs, the way the description does: it asks what
// was asked for, and so cannot tell whether the bytes changed.
func (on *Stage) askImage(ctx context.Context, pod string) error {
	const path = "{.spec.containers[0].image}"
	if kubectl, err := exec.LookPath("kubectl"); err == nil {
		fmt.Fprintf(on.Out, "$ kubectl get pod %s -o jsonpath='%s'\n", pod, path)
		return on.kubectl(ctx, kubectl, "get", "pod", pod, "-o", "jsonpath="+path)
	}
	got, err := on.Kube.Pod(ctx, "default", pod)
	if err != nil {
		return err
	}
	fmt.Fprintf(on.Out, "# through the API: kubectl get pod %s -o jsonpath='%s'\n%s\n", pod, path, got.Spec.Containers[0].Image)
	return nil
}

// printPods writes what was asked for beside what the node reports: they are
// not the same, and only the first says whether there was a tag.
func printPods(out io.Writer, pods []kube.Pod, label string) {
	rows := [][]string{{"POD", "PHASE", "ASKED FOR", "STATUS SAYS", "RUNS" + label}}
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			rows = append(rows, []string{p.Metadata.Name, p.Status.Phase, p.Spec.Containers[0].Image, c.Image, c.ImageID})
		}
	}
	fmt.Fprint(out, verdict.Table(rows))
}
