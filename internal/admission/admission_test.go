package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/policy"
)

var today = time.Date(2026, 11, 23, 15, 4, 5, 0, time.UTC)

const (
	sha   = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	other = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// reviewer is one by the policy text, to which every tag stands for sha.
func reviewer(t testing.TB, text string) *admission.Reviewer {
	t.Helper()
	p, err := policy.Parse("tagwarden.yaml", []byte(text), today)
	if err != nil {
		t.Fatal(err)
	}
	return &admission.Reviewer{
		Policy: func() *policy.Policy { return p },
		Now:    func() time.Time { return today },
		Log:    slog.New(slog.DiscardHandler),
		Resolve: func(context.Context, image.Reference, string, []string) (image.Digest, error) {
			return sha, nil
		},
	}
}

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002"

// request asks about an object, in the namespace that it has.
func request(t testing.TB, op admissionv1.Operation, object, old string) *admissionv1.AdmissionRequest {
	t.Helper()
	var o struct {
		Metadata struct{ Namespace string }
	}
	if err := json.Unmarshal([]byte(object), &o); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	req := &admissionv1.AdmissionRequest{UID: uid, Operation: op, Namespace: o.Metadata.Namespace, Object: runtime.RawExtension{Raw: []byte(object)}}
	if old != "" {
		req.OldObject.Raw = []byte(old)
	}
	return req
}

func pod(namespace, img string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"` + namespace + `"},"spec":{"containers":[{"name":"web","image":"` + img + `"}]}}`
}

// inTemplate is an object whose pods ask for the image.
func inTemplate(kind, img string) string {
	spec := `{"spec":{"containers":[{"name":"web","image":"` + img + `"}]}}`
	head := func(apiVersion string) string {
		return `{"apiVersion":"` + apiVersion + `","kind":"` + kind + `","metadata":{"name":"web","namespace":"production"},`
	}
	switch kind {
	case "CronJob":
		return head("batch/v1") + `"spec":{"jobTemplate":{"spec":{"template":` + spec + `}}}}`
	case "Job":
		return head("batch/v1") + `"spec":{"template":` + spec + `}}`
	case "PodTemplate":
		return head("v1") + `"template":` + spec + `}`
	case "ReplicationController":
		return head("v1") + `"spec":{"template":` + spec + `}}`
	case "Rollout":
		return head("argoproj.io/v1alpha1") + `"spec":{"template":` + spec + `}}`
	}
	return head("apps/v1") + `"spec":{"template":` + spec + `}}`
}

// said is an answer in one line.
func said(resp *admissionv1.AdmissionResponse) string {
	switch {
	case !resp.Allowed:
		return "deny: " + resp.Result.Message
	case len(resp.Warnings) > 0:
		return "warn: " + strings.Join(resp.Warnings, " | ")
	}
	return "allow"
}

func validate(t *testing.T, r *admission.Reviewer, req *admissionv1.AdmissionRequest, want ...string) {
	t.Helper()
	resp := r.Validate(t.Context(), req)
	got := said(resp)
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s\ngot %s\nwant %s", req.Object.Raw, got, w)
		}
	}
	if want[0] == "allow" && got != "allow" {
		t.Errorf("%s\ngot %s\nwant allow", req.Object.Raw, got)
	}
	if resp.UID != uid || resp.Patch != nil {
		t.Errorf("UID %q, patch %s", resp.UID, resp.Patch)
	}
	if !resp.Allowed && (resp.Result.Code != http.StatusForbidden || resp.Result.Reason != metav1.StatusReasonForbidden) {
		t.Errorf("status %+v", resp.Result)
	}
}

func TestValidatePods(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	for _, test := range []struct{ namespace, image, want string }{
		{"production", "nginx:latest", "deny: tagwarden: not let into namespace production: container web: nginx:latest is mutable: \"latest\" is moved with every release (F-01); write nginx:VERSION@sha256:DIGEST"},
		{"production", "nginx", "deny: "},
		{"production", "nginx:1.25.3", "warn: tagwarden: nginx:1.25.3 is not pinned to a digest"},
		{"production", "nginx@sha256:abc", "deny: "},
		{"production", "nginx:1.25.3@" + sha, "allow"},
		{"production", "busybox", "allow"},
		{"shop", "nginx:latest", "warn: tagwarden: nginx:latest is mutable"},
		{"shop", "nginx:1.25.3", "allow"},
		{"dev", "nginx:latest", "allow"},
		{"dev", "nginx@sha256:abc", "warn: "},
	} {
		validate(t, r, request(t, admissionv1.Create, pod(test.namespace, test.image), ""), test.want)
	}
}

// Everything with the template of a pod is looked at, by its shape.
func TestValidateTemplates(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "PodTemplate", "Rollout"} {
		validate(t, r, request(t, admissionv1.Create, inTemplate(kind, "nginx"), ""), "deny: ", "(F-01)")
		validate(t, r, request(t, admissionv1.Create, inTemplate(kind, "nginx@"+sha), ""), "allow")
	}
	for _, object := range []string{
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"production"},"data":{"image":"nginx"}}`,
		`{"apiVersion":"example.org/v1","kind":"Image","metadata":{"namespace":"production"},"spec":{"containers":[{"image":"nginx"}]}}`,
		`{}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"production"},"spec":{"template":{"spec":{"containers":[{"name":"web"}]}}}}`,
	} {
		validate(t, r, request(t, admissionv1.Create, object, ""), "allow")
	}
	// One that nobody can read is let in, and not in silence.
	validate(t, r, request(t, admissionv1.Create, `{"apiVersion":"example.org/v1","kind":"A","spec":{"template":"text"}}`, ""), "warn: tagwarden: let in without a review")
}

func TestValidateContainers(t *testing.T) {
	t.Parallel()
	object := `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-","namespace":"production"},"spec":{
		"initContainers":[{"name":"i","image":"init"},{"name":"s","image":"sidecar","restartPolicy":"Always"}],
		"containers":[{"name":"c","image":"main"}],
		"ephemeralContainers":[{"name":"e","image":"debug"}],
		"volumes":[{"name":"v","image":{"reference":"data"}},{"name":"w","emptyDir":{}}]}}`
	validate(t, reviewer(t, ""), request(t, admissionv1.Create, object, ""),
		"deny: ", "init i: init is mutable", "sidecar s: sidecar is", "container c: main is", "volume v: data is")
	if got := said(reviewer(t, "").Validate(t.Context(), request(t, admissionv1.Create, object, ""))); strings.Contains(got, "debug is") {
		t.Errorf("an ephemeral container is denied: %s", got)
	}
	validate(t, reviewer(t, "ephemeralContainers: alert"), request(t, admissionv1.Create, object, ""), "ephemeral e: debug is mutable")
}

// kubectl debug changes a running pod, whatever that runs.
func TestDebugOfARunningPod(t *testing.T) {
	t.Parallel()
	before := pod("production", "nginx:latest")
	after := strings.Replace(before, `"spec":{`, `"spec":{"ephemeralContainers":[{"name":"debugger","image":"alpine"}],`, 1)
	req := request(t, admissionv1.Update, after, before)
	req.SubResource = "ephemeralcontainers"
	validate(t, reviewer(t, ""), req, "allow")
	mutated := reviewer(t, "").Mutate(t.Context(), req)
	if !mutated.Allowed || mutated.Patch != nil {
		t.Errorf("mutate: %s, patch %s", said(mutated), mutated.Patch)
	}
	validate(t, reviewer(t, "ephemeralContainers: alert"), req, "deny: ", "ephemeral debugger")
}

// An update that asks for no other image is not about images: a finalizer can
// always be taken off.
func TestUpdate(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	validate(t, r, request(t, admissionv1.Update, pod("production", "nginx"), pod("production", "nginx")), "allow")
	validate(t, r, request(t, admissionv1.Update, pod("production", "nginx:latest"), pod("production", "nginx")), "deny: ")
	validate(t, r, request(t, admissionv1.Update, inTemplate("Deployment", "nginx"), inTemplate("Deployment", "nginx:1.25.3")), "deny: ")
	validate(t, r, request(t, admissionv1.Update, inTemplate("Deployment", "nginx"), inTemplate("Deployment", "nginx")), "allow")
	for _, op := range []admissionv1.Operation{admissionv1.Delete, admissionv1.Connect} {
		validate(t, r, request(t, op, pod("production", "nginx"), ""), "allow")
	}
}

// A pod that comes back because its node failed is no new decision.
func TestControllers(t *testing.T) {
	t.Parallel()
	req := request(t, admissionv1.Create, pod("production", "nginx"), "")
	req.UserInfo.Username = "system:serviceaccount:kube-system:replicaset-controller"
	validate(t, reviewer(t, ""), req, "warn: ", "nginx is mutable")
	validate(t, reviewer(t, "admission: {controllers: deny}"), req, "deny: ")
	for _, user := range []string{"anna", "system:serviceaccount:shop:replicaset-controller", "system:node:a"} {
		req.UserInfo.Username = user
		validate(t, reviewer(t, ""), req, "deny: ")
	}
	owned := strings.Replace(pod("production", "nginx"), `"name":"web",`, `"name":"web","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","controller":true}],`, 1)
	validate(t, reviewer(t, ""), request(t, admissionv1.Create, owned, ""), "deny: ")

	mirror := strings.Replace(pod("production", "nginx"), `"name":"web",`, `"name":"web","annotations":{"kubernetes.io/config.mirror":"a"},`, 1)
	req = request(t, admissionv1.Create, mirror, "")
	validate(t, reviewer(t, ""), req, "deny: ")
	req.UserInfo.Username = "system:node:a"
	validate(t, reviewer(t, ""), req, "warn: ")
	if resp := reviewer(t, "").Mutate(t.Context(), req); resp.Patch != nil {
		t.Errorf("a mirror pod is changed: %s", resp.Patch)
	}
}

const excepted = "exceptions: [{finding: F-01, workload: Deployment/web, owner: web, ticket: A-1, reason: later, expires: %s}]"

func TestExceptions(t *testing.T) {
	t.Parallel()
	holds, expired := reviewer(t, fmt.Sprintf(excepted, "2026-12-01")), reviewer(t, fmt.Sprintf(excepted, "2026-11-22"))
	validate(t, holds, request(t, admissionv1.Create, inTemplate("Deployment", "nginx"), ""), "allow")
	validate(t, holds, request(t, admissionv1.Create, inTemplate("StatefulSet", "nginx"), ""), "deny: ")
	validate(t, expired, request(t, admissionv1.Create, inTemplate("Deployment", "nginx"), ""), "deny: ", "the exception of web (A-1) expired after 2026-11-22")
	// The pods of the Deployment are covered, too.
	owned := strings.Replace(pod("production", "nginx"), `"name":"web",`, `"generateName":"web-7d9-","labels":{"pod-template-hash":"7d9"},
		"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d9","controller":true}],`, 1)
	validate(t, holds, request(t, admissionv1.Create, owned, ""), "allow")
}

func TestNamespaceLabels(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "namespaces: {productionLabels: [environment=production]}")
	r.NamespaceLabels = func(name string) map[string]string {
		if name == "shop" {
			return map[string]string{"environment": "production"}
		}
		return nil
	}
	validate(t, r, request(t, admissionv1.Create, pod("shop", "nginx"), ""), "deny: ")
	validate(t, r, request(t, admissionv1.Create, pod("unknown", "nginx"), ""), "warn: ")
}

// mutate asks, and returns the object as the API server would store it.
func mutate(t *testing.T, r *admission.Reviewer, req *admissionv1.AdmissionRequest) (object string, resp *admissionv1.AdmissionResponse) {
	t.Helper()
	resp = r.Mutate(t.Context(), req)
	if resp.UID != uid || (resp.Patch != nil) != (resp.PatchType != nil) {
		t.Errorf("answer %+v", resp)
	}
	if resp.Patch == nil {
		return string(req.Object.Raw), resp
	}
	patch, err := jsonpatch.DecodePatch(resp.Patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(req.Object.Raw)
	if err != nil {
		t.Fatalf("%s\n%s\n%v", req.Object.Raw, resp.Patch, err)
	}
	return string(after), resp
}

type stored struct {
	Metadata struct{ Annotations map[string]string }
	Spec     struct {
		Containers []struct{ Name, Image string }
	}
}

func read(t *testing.T, object string) (s stored) {
	t.Helper()
	if err := json.Unmarshal([]byte(object), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPin(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	for _, test := range []struct{ namespace, image, want string }{
		{"shop", "nginx:latest", "nginx:latest@" + sha},
		{"shop", "nginx", "nginx@" + sha},
		{"production", "nginx:1.25.3", "nginx:1.25.3@" + sha},
		{"production", "nginx:latest", "nginx:latest"}, // To be denied, with its own name.
		{"dev", "nginx:latest", "nginx:latest"},        // Of no interest.
		{"shop", "nginx@" + other, "nginx@" + other},
		{"shop", "nginx@sha256:abc", "nginx@sha256:abc"},
		{"shop", "busybox", "busybox"},
	} {
		object, resp := mutate(t, r, request(t, admissionv1.Create, pod(test.namespace, test.image), ""))
		got := read(t, object)
		if got.Spec.Containers[0].Image != test.want {
			t.Errorf("%s in %s: got %s, want %s", test.image, test.namespace, got.Spec.Containers[0].Image, test.want)
		}
		want := map[string]string{"tagwarden.dev/reviewed": "true"}
		if test.image != test.want {
			want["original-image.tagwarden.dev/web"] = test.image
		}
		if diff := cmp.Diff(want, got.Metadata.Annotations); diff != "" {
			t.Errorf("%s in %s: annotations (-want +got):\n%s", test.image, test.namespace, diff)
		}
		if warned := len(resp.Warnings) > 0; warned != (test.image != test.want) {
			t.Errorf("%s in %s: warnings %q", test.image, test.namespace, resp.Warnings)
		}
	}
}

// What was let in is never pinned twice, and what was pinned is valid.
func TestPinIsIdempotent(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	once, _ := mutate(t, r, request(t, admissionv1.Create, pod("shop", "nginx"), ""))
	again := r.Mutate(t.Context(), request(t, admissionv1.Create, once, ""))
	if again.Patch != nil {
		t.Errorf("pinned again: %s", again.Patch)
	}
	validate(t, r, request(t, admissionv1.Create, once, ""), "allow")
	if update := r.Mutate(t.Context(), request(t, admissionv1.Update, once, once)); update.Patch != nil {
		t.Errorf("an update without a change is changed: %s", update.Patch)
	}
}

// The same manifest applied again gives the same object, even if the tag has
// moved, and whether or not the annotations are sent along.
func TestApplyAgain(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	first, _ := mutate(t, r, request(t, admissionv1.Create, pod("shop", "nginx"), ""))
	moved := reviewer(t, "")
	moved.Resolve = func(context.Context, image.Reference, string, []string) (image.Digest, error) { return other, nil }

	merged := strings.Replace(first, "nginx@"+sha, "nginx", 1) // Server-side apply keeps the annotations.
	for name, object := range map[string]string{"apply": merged, "replace": strings.Replace(pod("shop", "nginx"), `"name":"web",`, `"name":"web","annotations":{"tagwarden.dev/reviewed":"true"},`, 1)} {
		req := request(t, admissionv1.Update, object, first)
		again, resp := mutate(t, moved, req)
		if diff := cmp.Diff(read(t, first), read(t, again)); diff != "" {
			t.Errorf("%s (-first +again):\n%s", name, diff)
		}
		if len(resp.Warnings) > 0 {
			t.Errorf("%s: %q", name, resp.Warnings)
		}
		dry := true
		req.DryRun = &dry
		if dried := moved.Mutate(t.Context(), req); !bytes.Equal(dried.Patch, resp.Patch) {
			t.Errorf("%s: a dry run gives another patch: %s", name, dried.Patch)
		}
		validate(t, moved, request(t, admissionv1.Update, again, first), "allow")
	}
	// Another tag is another decision.
	next, _ := mutate(t, moved, request(t, admissionv1.Update, strings.Replace(first, "nginx@"+sha, "nginx:1.27.1", 1), first))
	if got := read(t, next); got.Spec.Containers[0].Image != "nginx:1.27.1@"+other || got.Metadata.Annotations["original-image.tagwarden.dev/web"] != "nginx:1.27.1" {
		t.Errorf("another tag: %s", next)
	}
	// So is a digest that somebody writes: what another was pinned from is
	// forgotten.
	next, _ = mutate(t, moved, request(t, admissionv1.Update, strings.Replace(first, "nginx@"+sha, "nginx:1.27.1@"+other, 1), first))
	if got := read(t, next); got.Spec.Containers[0].Image != "nginx:1.27.1@"+other || len(got.Metadata.Annotations) != 1 {
		t.Errorf("a digest: %s", next)
	}
}

// The annotation is anybody's to write. It leads to no other image.
func TestForgedAnnotation(t *testing.T) {
	t.Parallel()
	old := strings.Replace(pod("production", "evil/app@"+other), `"name":"web",`, `"name":"web","annotations":{"original-image.tagwarden.dev/web":"nginx:latest"},`, 1)
	object := strings.Replace(old, "evil/app@"+other, "nginx:latest", 1)
	req := request(t, admissionv1.Update, object, old)
	validate(t, reviewer(t, ""), req, "deny: ")
	if after, _ := mutate(t, reviewer(t, ""), req); strings.Contains(after, "evil") {
		t.Errorf("restored: %s", after)
	}
}

func TestTemplatesArePinnedOnRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy, kind, user string
		want               bool
	}{
		{"", "Deployment", "anna", false},
		{"", "ReplicaSet", "anna", false},
		{"", "Job", "anna", false},
		{"admission: {pin: templates}", "Deployment", "anna", true},
		{"admission: {pin: templates}", "CronJob", "anna", true},
		{"admission: {pin: templates}", "ReplicaSet", "system:kube-controller-manager", false},
		{"admission: {pin: 'off'}", "Deployment", "anna", false},
	} {
		req := request(t, admissionv1.Create, inTemplate(test.kind, "nginx:1.25.3"), "")
		req.UserInfo.Username = test.user
		object, _ := mutate(t, reviewer(t, test.policy), req)
		if got := strings.Contains(object, "nginx:1.25.3@"+sha); got != test.want {
			t.Errorf("%+v: %s", test, object)
		}
	}
	// Pods are marked whatever is pinned.
	object, _ := mutate(t, reviewer(t, "admission: {pin: 'off'}"), request(t, admissionv1.Create, pod("shop", "nginx"), ""))
	if got := read(t, object); got.Spec.Containers[0].Image != "nginx" || got.Metadata.Annotations["tagwarden.dev/reviewed"] != "true" {
		t.Errorf("off: %s", object)
	}
}

func TestUnresolved(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ policy, namespace, want string }{
		{"", "production", "warn: tagwarden: container web: nginx:1.25.3 is not pinned, because its digest could not be had: no answer"},
		{"admission: {unresolved: allow}", "production", "allow"},
		{"admission: {unresolved: deny}", "production", "deny: tagwarden: not let into namespace production: container web: nginx:1.25.3 is not pinned"},
		{"admission: {unresolved: deny}", "shop", "warn: "},
	} {
		r := reviewer(t, test.policy)
		r.Resolve = func(context.Context, image.Reference, string, []string) (image.Digest, error) {
			return "", errors.New("no answer")
		}
		resp := r.Mutate(t.Context(), request(t, admissionv1.Create, pod(test.namespace, "nginx:1.25.3"), ""))
		if got := said(resp); !strings.Contains(got, test.want) {
			t.Errorf("%s in %s: got %s, want %s", test.policy, test.namespace, got, test.want)
		}
		if strings.Contains(string(resp.Patch), sha) {
			t.Errorf("patch %s", resp.Patch)
		}
	}
}

// A registry that does not answer holds a review up for the time limit only,
// however many images there are.
func TestResolveTimeout(t *testing.T) {
	t.Parallel()
	r := reviewer(t, "")
	r.ResolveTimeout = time.Millisecond
	var asked atomic.Int64
	r.Resolve = func(ctx context.Context, _ image.Reference, namespace string, secrets []string) (image.Digest, error) {
		asked.Add(1)
		if namespace != "shop" || !slices.Equal(secrets, []string{"pull"}) {
			t.Errorf("asked for %s with %v", namespace, secrets)
		}
		<-ctx.Done()
		return "", ctx.Err()
	}
	object := `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop"},"spec":{"imagePullSecrets":[{"name":"pull"}],
		"containers":[{"name":"a","image":"a"},{"name":"b","image":"b"},{"name":"c","image":"c"}]}}`
	resp := r.Mutate(t.Context(), request(t, admissionv1.Create, object, ""))
	if !resp.Allowed || len(resp.Warnings) != 3 || asked.Load() != 3 {
		t.Errorf("%s, %d asked", said(resp), asked.Load())
	}
}

func review(t testing.TB, req *admissionv1.AdmissionRequest) []byte {
	t.Helper()
	data, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	notReady := errors.New("the policy is not loaded")
	ready := &atomic.Bool{}
	srv := httptest.NewServer(reviewer(t, "").Handler(func() error {
		if !ready.Load() {
			return notReady
		}
		return nil
	}, admission.Gauge{Name: "exceptions_expiring", Help: "Exceptions that end.", Value: func() float64 { return 2 }}))
	t.Cleanup(srv.Close)
	do := func(method, path, kind string, body io.Reader) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	const kind = "application/json"
	deny := review(t, request(t, admissionv1.Create, pod("production", "nginx"), ""))
	status, body := do(http.MethodPost, "/validate", kind+"; charset=utf-8", bytes.NewReader(deny))
	if status != http.StatusOK || !strings.HasPrefix(body, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"`+uid+`","allowed":false,`) {
		t.Errorf("validate: %d %s", status, body)
	}
	pin := review(t, request(t, admissionv1.Create, pod("shop", "nginx"), ""))
	status, body = do(http.MethodPost, "/mutate", kind, bytes.NewReader(pin))
	if status != http.StatusOK || !strings.Contains(body, `"patchType":"JSONPatch"`) {
		t.Errorf("mutate: %d %s", status, body)
	}
	// A version that is not understood is answered in its own words.
	beta := bytes.Replace(deny, []byte("admission.k8s.io/v1"), []byte("admission.k8s.io/v1beta1"), 1)
	status, body = do(http.MethodPost, "/validate", kind, bytes.NewReader(beta))
	if status != http.StatusOK || !strings.Contains(body, `"apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"`+uid+`","allowed":true,"warnings":["tagwarden: let in without a review`) {
		t.Errorf("another version: %d %s", status, body)
	}
	for _, test := range []struct {
		name, method, path, kind string
		body                     io.Reader
		status                   int
	}{
		{"no JSON", http.MethodPost, "/validate", kind, strings.NewReader("text"), http.StatusBadRequest},
		{"no request", http.MethodPost, "/validate", kind, strings.NewReader("{}"), http.StatusBadRequest},
		{"another type", http.MethodPost, "/validate", "text/yaml", bytes.NewReader(deny), http.StatusUnsupportedMediaType},
		{"no type", http.MethodPost, "/validate", "", bytes.NewReader(deny), http.StatusUnsupportedMediaType},
		{"another method", http.MethodGet, "/validate", kind, nil, http.StatusMethodNotAllowed},
		{"another path", http.MethodPost, "/", kind, bytes.NewReader(deny), http.StatusNotFound},
		{"too large", http.MethodPost, "/mutate", kind, bytes.NewReader(make([]byte, 8<<20+1)), http.StatusRequestEntityTooLarge},
		{"endless", http.MethodPost, "/mutate", kind, io.LimitReader(spaces{}, 100<<20), http.StatusRequestEntityTooLarge},
		{"not ready", http.MethodGet, "/readyz", "", nil, http.StatusServiceUnavailable},
		{"alive", http.MethodGet, "/healthz", "", nil, http.StatusOK},
	} {
		if status, body := do(test.method, test.path, test.kind, test.body); status != test.status {
			t.Errorf("%s: got %d %s, want %d", test.name, status, body, test.status)
		}
	}
	ready.Store(true)
	if status, _ := do(http.MethodGet, "/readyz", "", nil); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	_, body = do(http.MethodGet, "/metrics", "", nil)
	for _, want := range []string{
		`tagwarden_admission_reviews_total{webhook="validate",allowed="false"} 1`,
		`tagwarden_admission_reviews_total{webhook="mutate",allowed="true"} 1`,
		`tagwarden_admission_findings_total{finding="F-01",effect="deny"} 1`,
		`tagwarden_admission_pinned_total 1`,
		`tagwarden_admission_unreviewed_total 1`,
		`tagwarden_admission_exceptions_expiring 2`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s:\n%s", want, body)
		}
	}
}

// What a review took is counted by how long that was, the registry's part
// included.
func TestReviewSeconds(t *testing.T) {
	t.Parallel()
	clock := today
	r := reviewer(t, "")
	r.Now = func() time.Time { return clock }
	took := []time.Duration{3 * time.Millisecond, 5 * time.Millisecond, 6 * time.Second}
	for _, d := range took {
		r.Resolve = func(context.Context, image.Reference, string, []string) (image.Digest, error) {
			clock = clock.Add(d)
			return sha, nil
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate",
			bytes.NewReader(review(t, request(t, admissionv1.Create, pod("shop", "nginx:1.25"), ""))))
		req.Header.Set("Content-Type", "application/json")
		r.Handler(func() error { return nil }).ServeHTTP(httptest.NewRecorder(), req)
	}
	w := httptest.NewRecorder()
	r.Handler(func() error { return nil }).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`tagwarden_admission_review_seconds_bucket{webhook="mutate",le="0.002"} 0`,
		`tagwarden_admission_review_seconds_bucket{webhook="mutate",le="0.005"} 2`,
		`tagwarden_admission_review_seconds_bucket{webhook="mutate",le="5"} 2`,
		`tagwarden_admission_review_seconds_bucket{webhook="mutate",le="+Inf"} 3`,
		`tagwarden_admission_review_seconds_sum{webhook="mutate"} 6.008`,
		`tagwarden_admission_review_seconds_count{webhook="mutate"} 3`,
		`tagwarden_admission_review_seconds_count{webhook="validate"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("metrics lack %s:\n%s", want, w.Body)
		}
	}
}

// spaces never end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Whatever the body, an answer has the UID of the request, its patch can be
// applied, and what comes out is not changed again.
func FuzzReview(f *testing.F) {
	for _, object := range []string{
		pod("shop", "nginx"), pod("production", "nginx:1.25.3"), inTemplate("CronJob", "a"), inTemplate("Rollout", "a"), "{}", "[]", "null",
		`{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"a/b~":""}},"spec":{"volumes":[{"name":"v/~","image":{"reference":"a"}}]}}`,
	} {
		req := &admissionv1.AdmissionRequest{UID: "a", Operation: admissionv1.Create, Namespace: "shop", Object: runtime.RawExtension{Raw: []byte(object)}}
		f.Add(review(f, req))
		req.Operation, req.OldObject.Raw = admissionv1.Update, []byte(pod("shop", "b"))
		f.Add(review(f, req))
	}
	f.Add([]byte(`{"request":{"uid":"a"}}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v2","request":{"uid":"a"}}`))
	r := reviewer(f, "admission: {pin: templates}")
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, hook := range map[string]func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse{"validate": r.Validate, "mutate": r.Mutate} {
			var in admissionv1.AdmissionReview
			known := json.Unmarshal(body, &in) == nil && in.Request != nil && in.Request.UID != ""
			out, err := r.Review(t.Context(), body, hook)
			if (err == nil) != known {
				t.Fatalf("%s: error %v, request %t", name, err, known)
			}
			if err != nil {
				continue
			}
			if out.Response == nil || out.Response.UID != in.Request.UID {
				t.Fatalf("%s: answer %+v", name, out.Response)
			}
		}
		// The API server writes each key once.
		req := once(body)
		if req == nil {
			return
		}
		resp := r.Mutate(t.Context(), req)
		if resp.Patch == nil {
			return
		}
		patch, err := jsonpatch.DecodePatch(resp.Patch)
		if err != nil {
			t.Fatal(err)
		}
		after, err := patch.Apply(req.Object.Raw)
		if err != nil {
			t.Fatalf("%s to %s: %v", resp.Patch, req.Object.Raw, err)
		}
		req.Object.Raw = after
		if again := r.Mutate(t.Context(), req); again.Patch != nil {
			t.Fatalf("%s is changed again: %s", after, again.Patch)
		}
	})
}

// once is the request of a review, whose objects have each key once; nil if
// there is none.
func once(body []byte) *admissionv1.AdmissionRequest {
	var in admissionv1.AdmissionReview
	if json.Unmarshal(body, &in) != nil || in.Request == nil {
		return nil
	}
	for _, raw := range []*[]byte{&in.Request.Object.Raw, &in.Request.OldObject.Raw} {
		var v any
		if json.Unmarshal(*raw, &v) != nil {
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			return nil
		}
		*raw = data
	}
	return in.Request
}
