package conformance_test

import (
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tagwarden/tagwarden/conformance"
)

// Kyverno's ClusterPolicies. Kyverno evaluates validate.cel with the API
// server's library, and so does this test.
func TestKyvernoClusterPolicy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *question) func(*conformance.Case) []string {
		policies := clusterPolicies(t, q)
		return func(c *conformance.Case) []string { return ask(t, policies, nil, c) }
	})
}

func clusterPolicies(t testing.TB, q *question) []celPolicy {
	t.Helper()
	var policies []celPolicy
	for _, o := range q.written(t, "kyverno", "kyverno-clusterpolicy.yaml") {
		var p struct {
			APIVersion string `json:"apiVersion"`
			Spec       struct {
				EmitWarning bool `json:"emitWarning"`
				Rules       []struct {
					Validate struct {
						FailureAction string
						CEL           struct {
							Variables   []admissionregistrationv1.Variable
							Expressions []admissionregistrationv1.Validation
						}
					}
				}
			}
		}
		into(t, o.Object, &p)
		rule := p.Spec.Rules[0].Validate
		effect := "audit"
		switch {
		case rule.FailureAction == "Enforce":
			effect = "deny"
		case p.Spec.EmitWarning:
			effect = "warn"
		}
		policies = append(policies, compile(t, effect, &admissionregistrationv1.ValidatingAdmissionPolicySpec{
			Variables: rule.CEL.Variables, Validations: rule.CEL.Expressions,
		}, celEnvironment()))
	}
	return policies
}

// Kyverno's ValidatingPolicies, by the API server's library with the one
// function of Kyverno's that they use.
func TestKyvernoValidatingPolicy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *question) func(*conformance.Case) []string {
		policies := validatingPolicies(t, q)
		return func(c *conformance.Case) []string { return ask(t, policies, nil, c) }
	})
}

func validatingPolicies(t testing.TB, q *question) []celPolicy {
	t.Helper()
	env, err := celEnvironment().Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions: []cel.EnvOption{
			// As github.com/kyverno/sdk has it in cel/libs/time.
			cel.Function("time.now", cel.Overload("time_now", nil, types.TimestampType,
				cel.FunctionBinding(func(...ref.Val) ref.Val { return types.Timestamp{Time: now} }))),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var policies []celPolicy
	for _, o := range q.written(t, "kyverno", "kyverno-validatingpolicy.yaml") {
		var p struct {
			Spec struct {
				ValidationActions []string
				admissionregistrationv1.ValidatingAdmissionPolicySpec
			}
		}
		into(t, o.Object, &p)
		policies = append(policies, compile(t, p.Spec.ValidationActions[0], &p.Spec.ValidatingAdmissionPolicySpec, env))
	}
	return policies
}
