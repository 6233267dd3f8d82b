// Package attack plays the lab's scenario: pods that start from mutable image
// tags, beside one that does not.
package attack

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/kube"
)

// Namespace is where the pods of the attack run.
const Namespace = "default"

// A Pod is one step of the attack and what must come of it.
type Pod struct {
	Name  string
	Image string
	Alert bool // the image can change under its name, so its start is an alert
}

// Pods are the three of the lab's description.
func Pods() []Pod {
	return []Pod{
		{Name: "lab010", Image: "nginx:latest", Alert: true},
		{Name: "lab010b", Image: "nginx", Alert: true},
		{Name: "lab010c", Image: "nginx:1.25.3"},
	}
}

// startTimeout is how long a pod may take to run.
const startTimeout = 60 * time.Second

// Start creates the pods, with kubectl where it is installed, and tells on
// out what it does.
func Start(ctx context.Context, s *cluster.State, pods []Pod, out io.Writer) error {
	for _, p := range pods {
		args := []string{"run", p.Name, "--image=" + p.Image, "--restart=Never"}
		if kubectl, err := exec.LookPath("kubectl"); err == nil {
			fmt.Fprintf(out, "$ kubectl %s\n", strings.Join(args, " "))
			if err := run(ctx, out, s, kubectl, args...); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "# kubectl is not installed; through the API: kubectl %s\n", strings.Join(args, " "))
		if err := create(ctx, s, p); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, out io.Writer, s *cluster.State, kubectl string, args ...string) error {
	args = append([]string{"--kubeconfig=" + s.Kubeconfig(), "--namespace=" + Namespace}, args...)
	cmd := exec.CommandContext(ctx, kubectl, args...)
	text, err := cmd.CombinedOutput()
	out.Write(text)
	if err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[2:], " "), err, strings.TrimSpace(string(text)))
	}
	return nil
}

func create(ctx context.Context, s *cluster.State, p Pod) error {
	client, err := s.Kube()
	if err != nil {
		return err
	}
	_, err = client.CreatePod(ctx, kube.Pod{
		Metadata: kube.Metadata{Name: p.Name, Namespace: Namespace, Labels: map[string]string{"run": p.Name}},
		Spec:     kube.PodSpec{RestartPolicy: "Never", Containers: []kube.Container{{Name: p.Name, Image: p.Image}}},
	})
	return err
}

// WaitRunning returns the pods as soon as all of them run.
func WaitRunning(ctx context.Context, s *cluster.State, pods []Pod) ([]kube.Pod, error) {
	client, err := s.Kube()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	running := make([]kube.Pod, len(pods))
	err = cluster.Poll(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		for i, p := range pods {
			pod, err := client.Pod(ctx, Namespace, p.Name)
			if err != nil {
				return err
			}
			if pod.Status.Phase != "Running" {
				return fmt.Errorf("pod %s: %s", p.Name, describe(pod))
			}
			running[i] = pod
		}
		return nil
	})
	return running, err
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

// PrintPods writes what was asked for beside what the node reports: they are
// not the same, and only the first says whether there was a tag.
func PrintPods(out io.Writer, pods []kube.Pod, label string) {
	fmt.Fprintf(out, "%-10s %-8s %-14s %-36s %s%s\n", "POD", "PHASE", "ASKED FOR", "STATUS SAYS", "RUNS", label)
	for _, p := range pods {
		for i, c := range p.Status.ContainerStatuses {
			fmt.Fprintf(out, "%-10s %-8s %-14s %-36s %s\n", p.Metadata.Name, p.Status.Phase, p.Spec.Containers[i].Image, c.Image, c.ImageID)
		}
	}
}

// Check asks what the first pod runs, the way the lab's description does.
func Check(ctx context.Context, s *cluster.State, pod Pod, out io.Writer) error {
	args := []string{"get", "pod", pod.Name, "-o", "jsonpath={.spec.containers[0].image}"}
	shown := fmt.Sprintf("kubectl get pod %s -o jsonpath='{.spec.containers[0].image}'", pod.Name)
	if kubectl, err := exec.LookPath("kubectl"); err == nil {
		fmt.Fprintf(out, "$ %s\n", shown)
		defer fmt.Fprintln(out)
		return run(ctx, out, s, kubectl, args...)
	}
	client, err := s.Kube()
	if err != nil {
		return err
	}
	got, err := client.Pod(ctx, Namespace, pod.Name)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "# through the API: %s\n%s\n", shown, got.Spec.Containers[0].Image)
	return nil
}
