package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
)

// filePolicy is what the webhooks of the test begin with.
const filePolicy = `findings:
  F-01: {production: deny, elsewhere: warn, development: "off"}
`

// TestAdmission installs the webhooks by the manifests that Tagwarden prints, on
// the real API server, and asks it about the pods of the lab. The server runs as
// the service account of the manifests, with no more than their RBAC.
func TestAdmission(t *testing.T) {
	on, tagwarden := startLab(t)
	a := install(t, on, tagwarden)
	a.start(t)

	for _, ns := range []string{"production", "shop", "dev", "apply"} {
		if err := on.Kube.CreateNamespace(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
		await(t, "the namespace "+ns, func() error { return on.Kube.ServiceAccountReady(t.Context(), ns) })
	}
	digest, err := images.Digest(t.Context(), on.State.Registry(), "nginx:1.25.3")
	if err != nil {
		t.Fatal(err)
	}

	t.Run("the seed's pods", func(t *testing.T) {
		for _, test := range []struct{ namespace, pod, image, want string }{
			{"production", "lab010", "nginx:latest", "denied"},
			{"production", "lab010b", "nginx", "denied"},
			{"production", "lab010c", "nginx:1.25.3", "nginx:1.25.3@" + digest},
			{"shop", "lab010", "nginx:latest", "nginx:latest@" + digest},
			{"shop", "lab010b", "nginx", "nginx@" + digest},
			{"shop", "lab010c", "nginx:1.25.3", "nginx:1.25.3@" + digest},
			{"dev", "lab010", "nginx:latest", "nginx:latest"},
			{"dev", "lab010b", "nginx", "nginx"},
		} {
			pod, err := a.run(t, test.namespace, test.pod, test.image)
			if test.want == "denied" {
				if !denied(err, test.image+" is mutable") {
					t.Errorf("%s in %s: %v", test.image, test.namespace, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s in %s: %v", test.image, test.namespace, err)
				continue
			}
			if got := pod.Spec.Containers[0].Image; got != test.want {
				t.Errorf("%s in %s: got %s, want %s", test.image, test.namespace, got, test.want)
			}
			await(t, "pod "+test.namespace+"/"+test.pod, func() error {
				p, err := on.Kube.Pod(t.Context(), test.namespace, test.pod)
				if err == nil && p.Status.Phase != "Running" {
					err = errors.New(p.Status.Phase)
				}
				return err
			})
		}
	})

	t.Run("controllers", func(t *testing.T) {
		spec := kube.PodSpec{Containers: []kube.Container{{Name: "web", Image: "nginx:latest"}}}
		if err := on.Kube.CreateDeployment(t.Context(), "production", "mutable", 1, spec); !denied(err, "nginx:latest is mutable") {
			t.Errorf("a deployment of nginx:latest in production: %v", err)
		}
		spec.Containers[0].Image = "nginx:1.25.3"
		if err := on.Kube.CreateDeployment(t.Context(), "production", "fixed", 1, spec); err != nil {
			t.Fatal(err)
		}
		// The pod is pinned, and what GitOps compares is not touched.
		await(t, "the pinned pod of the deployment", func() error {
			pods, err := on.Kube.Pods(t.Context(), "production")
			if err != nil {
				return err
			}
			for _, p := range pods {
				if strings.HasPrefix(p.Metadata.Name, "fixed-") && p.Spec.Containers[0].Image == "nginx:1.25.3@"+digest {
					return nil
				}
			}
			return errors.New("there is none")
		})
		var d kube.Deployment
		if err := on.Kube.Get(t.Context(), "/apis/apps/v1/namespaces/production/deployments/fixed", &d); err != nil {
			t.Fatal(err)
		}
		if got := d.Spec.Template.Spec.Containers[0].Image; got != "nginx:1.25.3" {
			t.Errorf("the template of the deployment says %s", got)
		}
	})

	t.Run("kubectl debug", func(t *testing.T) {
		if err := on.Kube.Debug(t.Context(), "production", "lab010c", kube.Container{Name: "debugger", Image: "crash"}); err != nil {
			t.Errorf("an ephemeral container in production: %v", err)
		}
	})

	t.Run("server-side apply twice", func(t *testing.T) { a.applyTwice(t, digest) })
	t.Run("exceptions", func(t *testing.T) { a.exceptions(t) })
	t.Run("policy object", func(t *testing.T) { a.policyObject(t) })
	t.Run("certificate", func(t *testing.T) { a.renewed(t) })
	t.Run("killed", func(t *testing.T) { a.killed(t) })
	t.Run("in the cluster", func(t *testing.T) { a.inCluster(t) })

	said, err := os.ReadFile(a.log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(said), "forbidden") || strings.Contains(string(said), "panic") {
		t.Error("the service account may not do what it must, or worse")
	}
	if t.Failed() {
		t.Logf("tagwarden admission said:\n%s", said)
	}
}

// webhook is a server of the webhooks, outside of the cluster.
type webhook struct {
	on         *scenario.Stage
	tagwarden  string
	addr       string
	kubeconfig string
	policy     string
	log        string
	cmd        *exec.Cmd
}

// install applies what "admission manifests" prints.
func install(t *testing.T, on *scenario.Stage, tagwarden string) *webhook {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	a := &webhook{
		on: on, tagwarden: tagwarden, addr: addr,
		kubeconfig: filepath.Join(dir, "kubeconfig"), policy: filepath.Join(dir, "tagwarden.yaml"), log: filepath.Join(dir, "log"),
	}
	admin, err := os.ReadFile(on.State.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	as := strings.Replace(string(admin), "  user:\n", "  user:\n    as: system:serviceaccount:tagwarden:tagwarden\n", 1)
	if err := errors.Join(os.WriteFile(a.kubeconfig, []byte(as), 0o600), os.WriteFile(a.policy, []byte(filePolicy), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tagwarden, "admission", "manifests", "--url", "https://"+addr, "--policy", a.policy, "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Items {
		if _, err := a.apply(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, plural := range []string{"tagwardenpolicies", "tagwardenexceptions"} {
		await(t, plural, func() error { return on.Kube.Get(t.Context(), "/apis/tagwarden.dev/v1/"+plural, &struct{}{}) })
	}
	return a
}

// resources are the paths of the kinds that are applied.
var resources = map[string]string{
	"CustomResourceDefinition": "customresourcedefinitions", "Namespace": "namespaces", "ServiceAccount": "serviceaccounts",
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings",
	"Secret": "secrets", "ConfigMap": "configmaps", "Pod": "pods", "Deployment": "deployments",
	"Service": "services", "PodDisruptionBudget": "poddisruptionbudgets",
	"MutatingWebhookConfiguration": "mutatingwebhookconfigurations", "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
	"TagwardenPolicy": "tagwardenpolicies", "TagwardenException": "tagwardenexceptions",
}

func path(o map[string]any) string {
	meta := o["metadata"].(map[string]any)
	p := "/apis/" + o["apiVersion"].(string)
	if o["apiVersion"] == "v1" {
		p = "/api/v1"
	}
	if ns, ok := meta["namespace"].(string); ok {
		p += "/namespaces/" + ns
	}
	return p + "/" + resources[o["kind"].(string)] + "/" + meta["name"].(string)
}

// applied is what the test reads of an object.
type applied struct {
	Metadata struct {
		ResourceVersion, UID string
		Annotations          map[string]string
	}
	Spec   kube.PodSpec
	Status struct {
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

// apply is what "kubectl apply --server-side" does.
func (a *webhook) apply(ctx context.Context, o map[string]any) (got applied, err error) {
	err = a.on.Kube.Do(ctx, http.MethodPatch, path(o)+"?fieldManager=e2e&force=true", "application/apply-patch+yaml", o, &got)
	return got, err
}

// start runs the server and returns when the API server asks it.
func (a *webhook) start(t *testing.T) {
	t.Helper()
	args := []string{
		"admission", "--kubeconfig", a.kubeconfig, "--namespace", "tagwarden", "--listen", a.addr,
		"--tls-secret", "tagwarden-admission-tls", "--tls-host", "127.0.0.1", "--policy", a.policy,
	}
	for _, host := range images.Hosts() {
		args = append(args, "--registry-map", host+"="+a.on.State.Registry())
	}
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a.cmd = exec.CommandContext(t.Context(), a.tagwarden, args...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := a.cmd
	t.Cleanup(func() { a.end(cmd) })
	// Namespaces that are not looked at cannot show it, so default does.
	await(t, "the first answer of the webhook", func() error {
		pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "probe", "namespace": "default"}, "spec": spec("nginx:1.25.3")}
		var got applied
		err := a.on.Kube.Do(t.Context(), http.MethodPost, "/api/v1/namespaces/default/pods?dryRun=All", "application/json", pod, &got)
		if err == nil && got.Metadata.Annotations["tagwarden.dev/reviewed"] == "" {
			err = errors.New("the pod was not reviewed")
		}
		return err
	})
}

func (a *webhook) end(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
}

func spec(image string) map[string]any {
	return map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}, "terminationGracePeriodSeconds": 0}
}

func (a *webhook) run(t *testing.T, namespace, name, image string) (kube.Pod, error) {
	t.Helper()
	return a.on.Kube.CreatePod(t.Context(), kube.Pod{
		Metadata: kube.Metadata{Name: name, Namespace: namespace}, Spec: kube.PodSpec{Containers: []kube.Container{{Name: "web", Image: image}}},
	})
}

// denied reports whether the API server refused, with the text.
func denied(err error, text string) bool {
	var status *kube.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden && strings.Contains(status.Message, "tagwarden: ") && strings.Contains(status.Message, text)
}

// applyTwice applies the same manifests again: nothing may be written, though
// the pod was pinned.
func (a *webhook) applyTwice(t *testing.T, digest string) {
	for _, o := range []map[string]any{
		{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "web", "namespace": "apply"}, "spec": spec("nginx:1.25.3")},
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "apply"}, "spec": map[string]any{
			"replicas": 0, "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
			"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": spec("nginx:1.25.3")},
		}},
	} {
		first, err := a.apply(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if o["kind"] == "Pod" {
			if first.Spec.Containers[0].Image != "nginx:1.25.3@"+digest || first.Metadata.Annotations["original-image.tagwarden.dev/web"] != "nginx:1.25.3" {
				t.Errorf("the pod is %+v", first)
			}
		}
		// Others write the status meanwhile, which is no part of what is applied.
		same := func(got applied, err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
				return
			}
			if len(got.Spec.Containers) > 0 && got.Spec.Containers[0].Image != first.Spec.Containers[0].Image {
				t.Errorf("%s: %s became %s", o["kind"], first.Spec.Containers[0].Image, got.Spec.Containers[0].Image)
			}
			var now applied
			if err := a.on.Kube.Get(t.Context(), path(o), &now); err != nil {
				t.Error(err)
			}
		}
		await(t, "the object at rest", func() error {
			var before, after applied
			if err := a.on.Kube.Get(t.Context(), path(o), &before); err != nil {
				return err
			}
			got, err := a.apply(t.Context(), o)
			same(got, err)
			if err := a.on.Kube.Get(t.Context(), path(o), &after); err != nil {
				return err
			}
			if before.Metadata.ResourceVersion != after.Metadata.ResourceVersion {
				return fmt.Errorf("applied again, version %s became %s", before.Metadata.ResourceVersion, after.Metadata.ResourceVersion)
			}
			return nil
		})
		var dry applied
		err = a.on.Kube.Do(t.Context(), http.MethodPatch, path(o)+"?fieldManager=e2e&force=true&dryRun=All", "application/apply-patch+yaml", o, &dry)
		same(dry, err)
	}
}

func exception(expires string) map[string]any {
	return map[string]any{
		"apiVersion": "tagwarden.dev/v1", "kind": "TagwardenException", "metadata": map[string]any{"name": "legacy", "namespace": "production"},
		"spec": map[string]any{"finding": "F-01", "image": "nginx", "owner": "web", "ticket": "WEB-1", "reason": "a contract change is under way", "expires": expires},
	}
}

// exceptions lets one hold, and then end.
func (a *webhook) exceptions(t *testing.T) {
	day := func(n int) string { return time.Now().UTC().AddDate(0, 0, n).Format(time.DateOnly) }
	if _, err := a.apply(t.Context(), exception(day(30))); err != nil {
		t.Fatal(err)
	}
	await(t, "the exception to hold", func() error {
		_, err := a.run(t, "production", "excepted", "nginx:latest")
		return err
	})
	a.condition(t, exception(day(30)), "True", "Holds")
	if _, err := a.apply(t.Context(), exception(day(-1))); err != nil {
		t.Fatal(err)
	}
	await(t, "the exception to end", func() error {
		_, err := a.run(t, "production", "after", "nginx:latest")
		if denied(err, "the exception of web (WEB-1) expired after "+day(-1)) {
			return nil
		}
		if err == nil {
			_ = a.on.Kube.DeletePod(t.Context(), "production", "after")
		}
		return fmt.Errorf("got %w", err)
	})
	a.condition(t, exception(day(-1)), "False", "Expired")
}

// condition waits for the condition Ready of an object.
func (a *webhook) condition(t *testing.T, o map[string]any, status, reason string) {
	t.Helper()
	await(t, "condition "+reason, func() error {
		var got applied
		if err := a.on.Kube.Get(t.Context(), path(o), &got); err != nil {
			return err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == "Ready" && c.Status == status && c.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", got.Status.Conditions)
	})
}

func (a *webhook) event(t *testing.T, namespace, reason, of string) {
	t.Helper()
	await(t, "event "+reason+" of "+of, func() error {
		var list struct {
			Items []struct {
				Reason, Type, Message string
				InvolvedObject        struct{ Kind, Name string }
			}
		}
		if err := a.on.Kube.Get(t.Context(), "/api/v1/namespaces/"+namespace+"/events", &list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == reason && e.Type == "Warning" && e.InvolvedObject.Name == of {
				return nil
			}
		}
		return fmt.Errorf("not among %d events", len(list.Items))
	})
}

// policyObject changes the policy while the server runs, first well and then
// badly.
func (a *webhook) policyObject(t *testing.T) {
	object := func(spec map[string]any) map[string]any {
		return map[string]any{"apiVersion": "tagwarden.dev/v1", "kind": "TagwardenPolicy", "metadata": map[string]any{"name": "tagwarden"}, "spec": spec}
	}
	good := object(map[string]any{"findings": map[string]any{"F-01": map[string]any{"elsewhere": "deny"}}})
	if _, err := a.apply(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	shop := func(name string) func() error {
		return func() error {
			_, err := a.run(t, "shop", name, "nginx:latest")
			if denied(err, "nginx:latest is mutable") {
				return nil
			}
			if err == nil {
				_ = a.on.Kube.DeletePod(t.Context(), "shop", name)
			}
			return fmt.Errorf("got %w", err)
		}
	}
	await(t, "the new policy", shop("strict"))
	a.condition(t, good, "True", "InEffect")
	// The schema refuses what it can tell, so that nobody gets that far.
	wrong := object(map[string]any{"findings": map[string]any{"F-01": map[string]any{"elsewhere": "block"}}})
	if _, err := a.apply(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "block") {
		t.Errorf("a word that is none: %v", err)
	}
	bad := object(map[string]any{"debugImages": []any{"acme/*"}})
	if _, err := a.apply(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	a.condition(t, bad, "False", "Invalid")
	a.event(t, "default", "Invalid", "tagwarden")
	if err := shop("still-strict")(); err != nil {
		t.Errorf("the last good policy is not in effect: %v", err)
	}
	if err := a.on.Kube.Do(t.Context(), http.MethodDelete, path(bad), "application/json", nil, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the policy of the file", func() error {
		pod, err := a.run(t, "shop", "lenient", "nginx:latest")
		if err == nil && !strings.Contains(pod.Spec.Containers[0].Image, "@sha256:") {
			// The policy changed between the two webhooks.
			_ = a.on.Kube.DeletePod(t.Context(), "shop", "lenient")
			err = errors.New("not pinned")
		}
		return err
	})
}

// renewed takes the certificate away: the server makes another, has the API
// server trust it, and goes on answering.
func (a *webhook) renewed(t *testing.T) {
	serial := func() (string, error) {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", a.addr)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	before, err := serial()
	if err != nil {
		t.Fatal(err)
	}
	const secret = "/api/v1/namespaces/tagwarden/secrets/tagwarden-admission-tls"
	none := map[string]any{"data": map[string]any{"tls.crt": nil, "tls.key": nil}}
	if err := a.on.Kube.Do(t.Context(), http.MethodPatch, secret, "application/merge-patch+json", none, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "another certificate", func() error {
		after, err := serial()
		if err == nil && after == before {
			err = errors.New("it is the same")
		}
		return err
	})
	if _, err := a.metrics(t.Context()); err != nil {
		t.Errorf("with the trust that the API server has: %v", err)
	}
	if _, err := a.run(t, "production", "renewed", "nginx:latest"); !denied(err, "mutable") {
		t.Errorf("with another certificate: %v", err)
	}
}

// inCluster asks the API server whether it would take what a server in the
// cluster needs: Deployment, Service, PodDisruptionBudget and webhooks.
func (a *webhook) inCluster(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), a.tagwarden, "admission", "manifests", "-o", "json",
		"--image", "registry.example/tagwarden@sha256:"+strings.Repeat("a", 64)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, o := range list.Items {
		kinds[o["kind"].(string)] = true
		err := a.on.Kube.Do(t.Context(), http.MethodPatch, path(o)+"?fieldManager=e2e&force=true&dryRun=All&fieldValidation=Strict", "application/apply-patch+yaml", o, nil)
		if err != nil {
			t.Error(err)
		}
	}
	if !kinds["Deployment"] || !kinds["Service"] || !kinds["PodDisruptionBudget"] {
		t.Errorf("kinds %v", kinds)
	}
}

// killed lets the server die: the cluster goes on, and what came in meanwhile is
// found out afterwards.
func (a *webhook) killed(t *testing.T) {
	a.end(a.cmd)
	if _, err := a.run(t, "production", "unseen", "nginx:latest"); err != nil {
		t.Fatalf("with the webhook killed: %v", err)
	}
	await(t, "the pod to run", func() error {
		p, err := a.on.Kube.Pod(t.Context(), "production", "unseen")
		if err == nil && p.Status.Phase != "Running" {
			err = errors.New(p.Status.Phase)
		}
		return err
	})
	a.start(t)
	a.event(t, "production", "NotReviewed", "unseen")
	await(t, "the metric of pods that were not reviewed", func() error {
		text, err := a.metrics(t.Context())
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "tagwarden_admission_unreviewed_pods" {
				if n, err := strconv.ParseFloat(value, 64); err != nil || n != 1 {
					return fmt.Errorf("%s pods, want 1", value)
				}
				return nil
			}
		}
		return errors.New("there is none")
	})
	if _, err := a.run(t, "production", "seen", "nginx:latest"); !denied(err, "mutable") {
		t.Errorf("with the webhook back: %v", err)
	}
}

// metrics are read as the API server asks: with the trust that it was given.
func (a *webhook) metrics(ctx context.Context) (string, error) {
	var config struct {
		Webhooks []struct {
			ClientConfig struct{ CABundle []byte }
		}
	}
	if err := a.on.Kube.Get(ctx, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/tagwarden", &config); err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.addr+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// await polls until check returns nil.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := cluster.Poll(ctx, 100*time.Millisecond, func(context.Context) error { return check() }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
