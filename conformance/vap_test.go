package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tagwarden/tagwarden/conformance"
)

// A celPolicy is one of those that the API server evaluates.
type celPolicy struct {
	effect    string
	validator validating.Validator
}

// compile does what the API server does with a ValidatingAdmissionPolicy
// (k8s.io/apiserver, plugin/policy/validating, compilePolicy, which it keeps to
// itself).
func compile(t testing.TB, effect string, spec *admissionregistrationv1.ValidatingAdmissionPolicySpec, env *environment.EnvSet) celPolicy {
	t.Helper()
	compiler, err := cel.NewCompositedCompiler(env)
	if err != nil {
		t.Fatal(err)
	}
	options := cel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true}
	for _, v := range spec.Variables {
		if r := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, environment.NewExpressions); r.Error != nil {
			t.Fatalf("%s: variable %s: %v", effect, v.Name, r.Error)
		}
	}
	var validations, says []cel.ExpressionAccessor
	for _, v := range spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason})
		says = append(says, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
	}
	return celPolicy{effect, validating.NewValidator(
		compiler.CompileCondition(validations, options, environment.NewExpressions), nil,
		compiler.CompileCondition(nil, options, environment.NewExpressions),
		compiler.CompileCondition(says, options, environment.NewExpressions),
		spec.FailurePolicy, nil,
	)}
}

func celEnvironment() *environment.EnvSet {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
}

// decode makes the typed object of one that was written, and knows all its
// fields.
func decode(t testing.TB, from, to any) {
	t.Helper()
	fields, ok := from.(map[string]any)
	if !ok {
		t.Fatalf("found %T", from)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, to, true); err != nil {
		t.Fatal(err)
	}
}

// ask returns what the policies say of a case, as the API server would.
func ask(t testing.TB, policies []celPolicy, params runtime.Object, c *conformance.Case) []string {
	t.Helper()
	object, before := c.Object(now)
	return askAbout(t, policies, params, c, object, before)
}

func askAbout(t testing.TB, policies []celPolicy, params runtime.Object, c *conformance.Case, object, before map[string]any) []string {
	t.Helper()
	decisions, err := evaluate(t.Context(), policies, params, object, before, namespace(c.Namespace), c.User)
	if err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	var said []string
	for _, d := range decisions {
		said = append(said, messages(d.effect, d.message)...)
	}
	return said
}

// A decision is what a policy has against an object.
type decision struct{ effect, message string }

// evaluate does what the API server does with an object that it has decoded.
func evaluate(ctx context.Context, policies []celPolicy, params runtime.Object, object, before map[string]any, ns *corev1.Namespace, username string) ([]decision, error) {
	o := &unstructured.Unstructured{Object: object}
	operation, old := admission.Create, runtime.Object(nil)
	if before != nil {
		operation, old = admission.Update, &unstructured.Unstructured{Object: before}
	}
	kind := o.GroupVersionKind()
	resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
	attributes := admission.NewAttributesRecord(o, old, kind, ns.Name, o.GetName(), resource, "", operation, nil, false, &user.DefaultInfo{Name: username})
	versioned, err := admission.NewVersionedAttributes(attributes, kind, admission.NewObjectInterfacesFromScheme(runtime.NewScheme()))
	if err != nil {
		return nil, err
	}
	var all []decision
	for _, p := range policies {
		result := p.validator.Validate(ctx, resource, versioned, params, ns, celconfig.RuntimeCELCostBudget, nil)
		for _, d := range result.Decisions {
			if d.Evaluation == validating.EvalError {
				return nil, fmt.Errorf("%s: %s", p.effect, d.Message)
			}
			if d.Action == validating.ActionDeny {
				all = append(all, decision{p.effect, d.Message})
			}
		}
	}
	return all, nil
}

// ValidatingAdmissionPolicies, by the API server's own library.
func TestValidatingAdmissionPolicy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, q *question) func(*conformance.Case) []string {
		policies, params := admissionPolicies(t, q)
		return func(c *conformance.Case) []string { return ask(t, policies, params, c) }
	})
}

func admissionPolicies(t testing.TB, q *question) ([]celPolicy, *corev1.ConfigMap) {
	t.Helper()
	var policies []celPolicy
	var params *corev1.ConfigMap
	actions := map[string]string{}
	for _, o := range q.written(t, "vap", "validatingadmissionpolicy.yaml") {
		switch o.GetKind() {
		case "ConfigMap":
			params = &corev1.ConfigMap{}
			decode(t, o.Object, params)
		case "ValidatingAdmissionPolicy":
			var p admissionregistrationv1.ValidatingAdmissionPolicy
			decode(t, o.Object, &p)
			policies = append(policies, compile(t, p.Name, &p.Spec, celEnvironment()))
		case "ValidatingAdmissionPolicyBinding":
			var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
			decode(t, o.Object, &b)
			actions[b.Spec.PolicyName] = string(b.Spec.ValidationActions[0])
		}
	}
	for i, p := range policies {
		policies[i].effect = actions[p.effect]
	}
	return policies, params
}

// A pod of more containers than any has in practice, with the longest
// references, is within the budget that the API server gives an expression.
func TestBudget(t *testing.T) {
	t.Parallel()
	q := questions(t)["table"]
	policies, params := admissionPolicies(t, &q)
	c := q.cases[0]
	object, _ := c.Object(now)
	var containers []any
	for range 100 {
		containers = append(containers, map[string]any{
			"name": "c", "image": "localhost:5000/" + strings.Repeat("a/", 90) + "a:" + strings.Repeat("main-", 25),
		})
	}
	spec, _ := object["spec"].(map[string]any)
	spec["containers"] = containers
	said := askAbout(t, policies, params, &c, object, nil)
	if len(said) == 0 || said[0] == "" {
		t.Errorf("got %q", said)
	}
}
