package kyverno

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	policiesv1beta1 "github.com/kyverno/api/api/policies.kyverno.io/v1beta1"
	"github.com/kyverno/kyverno/pkg/cel/engine"
	"github.com/kyverno/kyverno/pkg/cel/libs"
	"github.com/kyverno/kyverno/pkg/cel/matching"
	"github.com/kyverno/kyverno/pkg/cel/policies/vpol/compiler"
	vpol "github.com/kyverno/kyverno/pkg/cel/policies/vpol/engine"
	engineapi "github.com/kyverno/kyverno/pkg/engine/api"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
	"github.com/tagwarden/tagwarden/internal/export"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// BenchmarkReview puts the reviews to the engine of Kyverno's webhook for
// ValidatingPolicies, with the policies that are exported for it. What the
// webhook does afterwards, events and reports, is not in it.
func BenchmarkReview(b *testing.B) {
	now := time.Now()
	cases, err := admissiontest.Cases(now)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range cases {
		b.Run("kyverno/"+c.Name, func(b *testing.B) {
			hook, err := hook(c, now)
			if err != nil {
				b.Fatal(err)
			}
			admissiontest.Measure(b, hook, c.Review, c.Allowed)
		})
	}
}

func hook(c admissiontest.Case, now time.Time) (admissiontest.Hook, error) {
	policies, err := exported(c, now)
	if err != nil {
		return nil, err
	}
	provider, err := vpol.NewProvider(compiler.NewCompiler(), policies, nil)
	if err != nil {
		return nil, err
	}
	namespace := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}}}
	}
	kyverno := vpol.NewEngine(provider, namespace, matching.NewMatcher())
	library := libs.NewFakeContextProvider() // The policies ask it nothing.
	return admissiontest.Webhook(func(ctx context.Context, request *admissionv1.AdmissionRequest) ([]string, error) {
		response, err := kyverno.Handle(ctx, engine.RequestFromAdmission(library, *request), nil)
		if err != nil {
			return nil, err
		}
		var denied []string
		for _, p := range response.Policies {
			for _, rule := range p.Rules {
				switch rule.Status() {
				case engineapi.RuleStatusError:
					return nil, errors.New(rule.Message())
				case engineapi.RuleStatusFail:
					if p.Actions.Has(admissionregistrationv1.Deny) {
						denied = append(denied, rule.Message())
					}
				}
			}
		}
		return denied, nil
	}), nil
}

// exported is what "tagwarden export kyverno" writes of ValidatingPolicies.
func exported(c admissiontest.Case, now time.Time) ([]policiesv1beta1.ValidatingPolicyLike, error) {
	p, err := policy.Parse(c.Name, []byte(c.Policy), now)
	if err != nil {
		return nil, err
	}
	out, err := export.Export("kyverno", p, now)
	if err != nil {
		return nil, err
	}
	var all []policiesv1beta1.ValidatingPolicyLike
	for _, f := range out.Files {
		if f.Name != "kyverno-validatingpolicy.yaml" {
			continue
		}
		for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(string(f.Data)), 4096); ; {
			var one policiesv1beta1.ValidatingPolicy
			if err := d.Decode(&one); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if one.Name != "" {
				all = append(all, &one)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no ValidatingPolicies were exported")
	}
	return all, nil
}
