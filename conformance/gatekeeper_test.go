package conformance_test

import (
	"strings"
	"testing"

	templatesv1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	constraint "github.com/open-policy-agent/frameworks/constraint/pkg/client"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/reviews"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/util"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tagwarden/tagwarden/conformance"
)

// Gatekeeper's template and constraints, by the library that gator and its
// webhook are made of.
func TestGatekeeper(t *testing.T) {
	t.Parallel()
	each(t, constraints)
}

// gatekeeper is its engine with the template and the constraints.
func gatekeeper(t testing.TB, q *question) *constraint.Client {
	t.Helper()
	driver, err := rego.New()
	if err != nil {
		t.Fatal(err)
	}
	client, err := constraint.NewClient(
		constraint.Targets(&target.K8sValidationTarget{}), constraint.Driver(driver),
		constraint.EnforcementPoints(util.WebhookEnforcementPoint),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range q.written(t, "gatekeeper", "gatekeeper-template.yaml") {
		if o.GetKind() != "ConstraintTemplate" {
			continue // The SyncSet is for Gatekeeper's controller.
		}
		var written templatesv1.ConstraintTemplate
		decode(t, o.Object, &written)
		template, err := written.ToVersionless()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.AddTemplate(t.Context(), template); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range q.written(t, "gatekeeper", "gatekeeper-constraints.yaml") {
		if _, err := client.AddConstraint(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

func constraints(t *testing.T, q *question) func(*conformance.Case) []string {
	t.Helper()
	client := gatekeeper(t, q)
	return func(c *conformance.Case) []string {
		// What the SyncSet has Gatekeeper do.
		if _, err := client.AddData(t.Context(), synced(t, c.Namespace)); err != nil {
			t.Fatal(err)
		}
		response, err := client.Review(t.Context(), review(t, c), reviews.EnforcementPoint(util.WebhookEnforcementPoint))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, r := range response.Results() {
			effect := strings.TrimPrefix(r.Constraint.GetName(), "tagwarden-")
			said = append(said, messages(effect, r.Msg)...)
			if want := map[string]string{"deny": "deny", "warn": "warn", "audit": "dryrun"}[effect]; r.EnforcementAction != want {
				t.Fatalf("%s is enforced by %s", effect, r.EnforcementAction)
			}
		}
		return said
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: conformance.NamespaceLabels(name)},
	}
}

// synced is a namespace as the SyncSet hands it on.
func synced(t testing.TB, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(namespace(name))
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: o}
}

// review is a case as Gatekeeper's webhook hands it on.
func review(t *testing.T, c *conformance.Case) *target.AugmentedReview {
	t.Helper()
	object, before := c.Object(now)
	raw := func(o map[string]any) runtime.RawExtension {
		if o == nil {
			return runtime.RawExtension{}
		}
		b, err := (&unstructured.Unstructured{Object: o}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: b}
	}
	o := &unstructured.Unstructured{Object: object}
	kind := o.GroupVersionKind()
	request := &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(kind), Namespace: c.Namespace, Name: o.GetName(), Operation: admissionv1.Create, Object: raw(object),
		UserInfo: authenticationv1.UserInfo{Username: c.User},
	}
	if before != nil {
		request.Operation, request.OldObject = admissionv1.Update, raw(before)
	}
	return &target.AugmentedReview{
		Namespace:        namespace(c.Namespace),
		AdmissionRequest: request,
	}
}
