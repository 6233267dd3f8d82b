package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/frameworks/constraint/pkg/client/reviews"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/util"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tagwarden/tagwarden/conformance"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// BenchmarkReview puts the same reviews to Tagwarden's webhook and to the engines
// that the policy is written for. What "nothing" takes, every webhook does; and
// this program has all engines in it, whichever is used.
func BenchmarkReview(b *testing.B) {
	cases, err := admissiontest.Cases(now)
	if err != nil {
		b.Fatal(err)
	}
	for _, engine := range []struct {
		name string
		hook func(*testing.B, *question) admissiontest.Hook
	}{
		{"nothing", nothingHook},
		{"tagwarden", tagwardenHook},
		{"validatingadmissionpolicy", func(b *testing.B, q *question) admissiontest.Hook {
			b.Helper()
			policies, params := admissionPolicies(b, q)
			return celHook(policies, params)
		}},
		{"kyverno-clusterpolicy-cel", func(b *testing.B, q *question) admissiontest.Hook {
			b.Helper()
			return celHook(clusterPolicies(b, q), nil)
		}},
		{"kyverno-validatingpolicy-cel", func(b *testing.B, q *question) admissiontest.Hook {
			b.Helper()
			return celHook(validatingPolicies(b, q), nil)
		}},
		{"gatekeeper", gatekeeperHook},
	} {
		b.Run(engine.name, func(b *testing.B) {
			for _, c := range cases {
				b.Run(c.Name, func(b *testing.B) {
					p, err := policy.Parse(c.Name, []byte(c.Policy), now)
					if err != nil {
						b.Fatal(err)
					}
					admissiontest.Measure(b, engine.hook(b, &question{policy: p, exported: now}), c.Review, c.Allowed || engine.name == "nothing")
				})
			}
		})
	}
}

func nothingHook(*testing.B, *question) admissiontest.Hook {
	return admissiontest.Webhook(func(context.Context, *admissionv1.AdmissionRequest) ([]string, error) { return nil, nil })
}

// tagwardenHook is our own handler, HTTP included.
func tagwardenHook(_ *testing.B, q *question) admissiontest.Hook {
	reviewer := admission.Reviewer{
		Policy: func() *policy.Policy { return q.policy }, NamespaceLabels: conformance.NamespaceLabels,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	handler := reviewer.Handler(func() error { return nil })
	return func(ctx context.Context, body []byte) ([]byte, error) {
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/validate", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			return nil, fmt.Errorf("answered with %d: %s", w.Code, w.Body)
		}
		return w.Body.Bytes(), nil
	}
}

// celHook evaluates policies of CEL, with nothing around it but what every
// webhook does.
func celHook(policies []celPolicy, params runtime.Object) admissiontest.Hook {
	return admissiontest.Webhook(func(ctx context.Context, request *admissionv1.AdmissionRequest) ([]string, error) {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(request.Object.Raw); err != nil {
			return nil, err
		}
		decisions, err := evaluate(ctx, policies, params, object.Object, nil, namespace(request.Namespace), request.UserInfo.Username)
		if err != nil {
			return nil, err
		}
		var denied []string
		for _, d := range decisions {
			if strings.EqualFold(d.effect, "deny") {
				denied = append(denied, d.message)
			}
		}
		return denied, nil
	})
}

func gatekeeperHook(b *testing.B, q *question) admissiontest.Hook {
	b.Helper()
	client := gatekeeper(b, q)
	for _, name := range []string{"shop", "production"} {
		if _, err := client.AddData(b.Context(), synced(b, name)); err != nil {
			b.Fatal(err)
		}
	}
	return admissiontest.Webhook(func(ctx context.Context, request *admissionv1.AdmissionRequest) ([]string, error) {
		review := &target.AugmentedReview{Namespace: namespace(request.Namespace), AdmissionRequest: request}
		response, err := client.Review(ctx, review, reviews.EnforcementPoint(util.WebhookEnforcementPoint))
		if err != nil {
			return nil, err
		}
		var denied []string
		for _, r := range response.Results() {
			if r.EnforcementAction == "deny" {
				denied = append(denied, r.Msg)
			}
		}
		return denied, nil
	})
}
