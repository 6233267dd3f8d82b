package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/open-policy-agent/frameworks/constraint/pkg/client/reviews"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/util"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tagwarden/tagwarden/conformance"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// BenchmarkReview puts the same reviews to Tagwarden's webhook and to the engines
// that the policy is written for. "nothing" is a webhook that reads a review and
// allows it: what all have in common, and what this program weighs with all
// engines in it.
func BenchmarkReview(b *testing.B) {
	for _, engine := range []struct {
		name string
		hook func(*testing.B, *question) admissiontest.Hook
	}{
		{"nothing", nil},
		{"tagwarden", ourHook},
		{"vap", func(b *testing.B, q *question) admissiontest.Hook {
			policies, params := admissionPolicies(b, q)
			return celHook(policies, params)
		}},
		{"kyverno-clusterpolicy", func(b *testing.B, q *question) admissiontest.Hook { return celHook(clusterPolicies(b, q), nil) }},
		{"kyverno-validatingpolicy", func(b *testing.B, q *question) admissiontest.Hook { return celHook(validatingPolicies(b, q), nil) }},
		{"gatekeeper", gatekeeperHook},
	} {
		b.Run(engine.name, func(b *testing.B) {
			for name, text := range map[string]string{"default": "", "100-exceptions": admissiontest.Exceptions(100, now)} {
				for answer, pod := range map[string][2]string{
					"allow": {"shop", "ghcr.io/acme/web:1.2.3@sha256:" + digest},
					"deny":  {"production", "nginx:latest"},
				} {
					b.Run(name+"/"+answer, func(b *testing.B) {
						p, err := policy.Parse(name, []byte(text), now)
						if err != nil {
							b.Fatal(err)
						}
						body, err := admissiontest.Review(pod[0], pod[1])
						if err != nil {
							b.Fatal(err)
						}
						if engine.hook == nil {
							nothing := func(context.Context, *admissionv1.AdmissionRequest) ([]string, error) { return nil, nil }
							admissiontest.Measure(b, admissiontest.Webhook(nothing), body, true)
							return
						}
						admissiontest.Measure(b, engine.hook(b, &question{policy: p, exported: now}), body, answer == "allow")
					})
				}
			}
		})
	}
}
