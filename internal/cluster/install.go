package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/tagwarden/tagwarden/internal/policy"
)

// The names of what is installed.
const (
	// Name is that of the Deployment, the Service, and both webhook
	// configurations.
	Name = "tagwarden"
	// SecretName is that of the Secret with the certificate.
	SecretName = "tagwarden-admission-tls"
	// ConfigName is that of the ConfigMap with tagwarden.yaml.
	ConfigName = "tagwarden-policy"
	// Port is where the server listens.
	Port = 8443
	// LabelIgnore with the value LabelIgnoreValue takes a namespace out.
	LabelIgnore      = "tagwarden.dev/admission"
	LabelIgnoreValue = "ignore"
)

// An Install says what is to be installed.
type Install struct {
	// Namespace is where the server runs, and Image what it runs.
	Namespace, Image string
	Replicas         int32
	// FailClosed denies what is asked while the server does not answer.
	FailClosed bool
	// TimeoutSeconds is how long the API server waits for an answer.
	TimeoutSeconds int32
	// URL is where the server listens outside of the cluster, such as
	// https://127.0.0.1:8443. Then there is no Deployment and no Service.
	URL string
	// CertManager has the certificate made by cert-manager.
	CertManager bool
	// PullSecrets lets the server read the secrets that pods pull with.
	PullSecrets bool
	// PinTemplates has the mutating webhook asked about templates as well, for a
	// policy that pins them.
	PinTemplates bool
	// Policy is the text of tagwarden.yaml, or nil for none.
	Policy []byte
	// Exclude are more namespaces that are not looked at.
	Exclude []string
}

// excluded are the namespaces that are never looked at, so that the cluster can
// always be mended: without them, neither the network nor we could start.
func (in *Install) excluded() []string {
	return append([]string{metav1.NamespaceSystem, "kube-node-lease", in.Namespace}, in.Exclude...)
}

// Hosts are the names that the API server calls the Service by.
func Hosts(namespace string) []string {
	return []string{Name + "." + namespace + ".svc", Name + "." + namespace + ".svc.cluster.local"}
}

// Objects returns everything, in an order in which it can be applied: the
// webhooks come last.
func (in *Install) Objects() ([]map[string]any, error) {
	var typed []any
	for _, crd := range policy.CRDs() {
		typed = append(typed, crd)
	}
	typed = append(typed, in.namespace(), in.serviceAccount())
	typed = append(typed, in.rbac()...)
	if !in.CertManager {
		typed = append(typed, in.secret())
	}
	if in.Policy != nil {
		typed = append(typed, in.config())
	}
	if in.URL == "" {
		if in.CertManager {
			typed = append(typed, in.certManager()...)
		}
		typed = append(typed, in.service(), in.budget(), in.deployment())
	}
	typed = append(typed, in.mutating(), in.validating())
	all := make([]map[string]any, len(typed))
	for i, o := range typed {
		var err error
		if all[i], err = plain(o); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// YAML returns [Install.Objects] as one stream of documents.
func (in *Install) YAML() ([]byte, error) {
	all, err := in.Objects()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, o := range all {
		data, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("write manifest: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(data)
	}
	return out.Bytes(), nil
}

// plain is an object without what only a cluster fills in.
func plain(o any) (m map[string]any, err error) {
	data, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	delete(m, "status")
	prune(m)
	return m, nil
}

// empty are the keys that Kubernetes' types write though nothing is in them.
// Elsewhere an empty mapping says something: the status of a CRD is served.
var empty = map[string]bool{"strategy": true, "spec": true, "resources": true}

func prune(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			prune(value)
			if m, ok := value.(map[string]any); key == "creationTimestamp" && value == nil || ok && len(m) == 0 && empty[key] {
				delete(v, key)
			}
		}
	case []any:
		for _, value := range v {
			prune(value)
		}
	}
}

func ourLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": Name, "app.kubernetes.io/component": "admission"}
}

func (in *Install) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: in.Namespace, Labels: ourLabels()}
}

func clusterMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: ourLabels()}
}

func kind(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func (in *Install) namespace() any {
	m := clusterMeta(in.Namespace)
	m.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	return corev1.Namespace{TypeMeta: kind("v1", "Namespace"), ObjectMeta: m}
}

func (in *Install) serviceAccount() any {
	return corev1.ServiceAccount{TypeMeta: kind("v1", "ServiceAccount"), ObjectMeta: in.meta(Name)}
}

// rbac is the least that the server needs. What it changes has a name; nothing
// of what it reads is secret, unless it is told to use pull secrets.
func (in *Install) rbac() []any {
	const registration = "admissionregistration.k8s.io"
	role := rbacv1.ClusterRole{
		TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "ClusterRole"), ObjectMeta: clusterMeta(Name),
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"namespaces", "pods"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create"}},
			{APIGroups: []string{policy.Group}, Resources: []string{policy.PoliciesResource, policy.ExceptionsPlural}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{policy.Group}, Resources: []string{policy.PoliciesResource + "/status", policy.ExceptionsPlural + "/status"}, Verbs: []string{"patch"}},
		},
	}
	verbs := []string{"get", "patch"}
	if in.CertManager {
		verbs = verbs[:1] // cert-manager writes whom to trust.
	}
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{registration}, Resources: webhookKinds, ResourceNames: []string{Name}, Verbs: verbs})
	if in.PullSecrets {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}})
	}
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: Name, Namespace: in.Namespace}}
	all := []any{role, rbacv1.ClusterRoleBinding{
		TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "ClusterRoleBinding"), ObjectMeta: clusterMeta(Name),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: Name}, Subjects: account,
	}}
	if !in.CertManager {
		all = append(all, rbacv1.Role{
			TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: in.meta(Name),
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{SecretName}, Verbs: []string{"get", "update"}}},
		}, rbacv1.RoleBinding{
			TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: in.meta(Name),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: Name}, Subjects: account,
		})
	}
	return all
}

// secret is empty: so the server needs to change one Secret only, and to make
// none. Applied again, it keeps what is in it.
func (in *Install) secret() any {
	return corev1.Secret{TypeMeta: kind("v1", "Secret"), ObjectMeta: in.meta(SecretName), Type: corev1.SecretTypeOpaque}
}

func (in *Install) config() any {
	return corev1.ConfigMap{TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: in.meta(ConfigName), Data: map[string]string{"tagwarden.yaml": string(in.Policy)}}
}

// certManager are an issuer and a certificate (cert-manager.io/v1).
func (in *Install) certManager() []any {
	object := func(kind, name string, spec map[string]any) any {
		return map[string]any{
			"apiVersion": "cert-manager.io/v1", "kind": kind, "spec": spec,
			"metadata": map[string]any{"name": name, "namespace": in.Namespace, "labels": ourLabels()},
		}
	}
	return []any{
		object("Issuer", Name, map[string]any{"selfSigned": map[string]any{}}),
		object("Certificate", Name, map[string]any{
			"secretName": SecretName, "dnsNames": Hosts(in.Namespace),
			"issuerRef": map[string]any{"kind": "Issuer", "name": Name},
		}),
	}
}

func (in *Install) service() any {
	return corev1.Service{
		TypeMeta: kind("v1", "Service"), ObjectMeta: in.meta(Name),
		Spec: corev1.ServiceSpec{
			Selector: ourLabels(),
			Ports:    []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromString("https")}},
		},
	}
}

func (in *Install) budget() any {
	one := intstr.FromInt32(1)
	return policyv1.PodDisruptionBudget{
		TypeMeta: kind(policyv1.SchemeGroupVersion.String(), "PodDisruptionBudget"), ObjectMeta: in.meta(Name),
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: ourLabels()}},
	}
}

func (in *Install) deployment() any {
	yes, no := true, false
	user := int64(65532)
	optional := &yes
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	args := []string{"admission", fmt.Sprintf("--listen=:%d", Port), "--policy=/etc/tagwarden/tagwarden.yaml"}
	volumes := []corev1.Volume{{Name: "policy", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: ConfigName}, Optional: optional,
	}}}}
	mounts := []corev1.VolumeMount{{Name: "policy", MountPath: "/etc/tagwarden", ReadOnly: true}}
	if in.CertManager {
		args = append(args, "--tls-cert=/etc/tagwarden-tls/tls.crt", "--tls-key=/etc/tagwarden-tls/tls.key")
		volumes = append(volumes, corev1.Volume{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: SecretName}}})
		mounts = append(mounts, corev1.VolumeMount{Name: "tls", MountPath: "/etc/tagwarden-tls", ReadOnly: true})
	} else {
		args = append(args, "--tls-secret="+SecretName)
	}
	if in.PullSecrets {
		args = append(args, "--pull-secrets")
	}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("https"), Scheme: corev1.URISchemeHTTPS}}}
	}
	return appsv1.Deployment{
		TypeMeta: kind(appsv1.SchemeGroupVersion.String(), "Deployment"), ObjectMeta: in.meta(Name),
		Spec: appsv1.DeploymentSpec{
			Replicas: &in.Replicas, Selector: &metav1.LabelSelector{MatchLabels: ourLabels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: ourLabels()},
				Spec: corev1.PodSpec{
					ServiceAccountName: Name, EnableServiceLinks: &no,
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
						MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
						LabelSelector: &metav1.LabelSelector{MatchLabels: ourLabels()},
					}},
					Volumes: volumes,
					Containers: []corev1.Container{{
						Name: "admission", Image: in.Image, Args: args,
						Env:   []corev1.EnvVar{field("POD_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name"), {Name: "GOMEMLIMIT", Value: "100MiB"}},
						Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: Port}},
						Resources: corev1.ResourceRequirements{
							Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
							Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
						},
						LivenessProbe: probe("/healthz"), ReadinessProbe: probe("/readyz"), VolumeMounts: mounts,
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
					}},
				},
			},
		},
	}
}

// specChanged keeps updates that do not touch the spec away from us: a label, a
// finalizer. Ephemeral containers are a part of the spec.
const specChanged = `request.operation == "CREATE" || !has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec`

// rules are what is looked at: pods, their ephemeral containers, and, with
// templates, everything of Kubernetes with the template of a pod.
func rules(templates bool) []admissionv1.RuleWithOperations {
	scope := admissionv1.NamespacedScope
	all := []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}
	rule := func(group, version string, resources ...string) admissionv1.RuleWithOperations {
		return admissionv1.RuleWithOperations{
			Operations: all, Rule: admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources, Scope: &scope},
		}
	}
	if !templates {
		return []admissionv1.RuleWithOperations{rule("", "v1", "pods", "pods/ephemeralcontainers")}
	}
	return []admissionv1.RuleWithOperations{
		rule("", "v1", "pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"),
		rule("apps", "v1", "deployments", "statefulsets", "daemonsets", "replicasets"),
		rule("batch", "v1", "jobs", "cronjobs"),
	}
}

func (in *Install) failurePolicy() *admissionv1.FailurePolicyType {
	f := admissionv1.Ignore
	if in.FailClosed {
		f = admissionv1.Fail
	}
	return &f
}

func (in *Install) clientConfig(path string) admissionv1.WebhookClientConfig {
	if in.URL != "" {
		url := strings.TrimSuffix(in.URL, "/") + path
		return admissionv1.WebhookClientConfig{URL: &url}
	}
	return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Name: Name, Namespace: in.Namespace, Path: &path}}
}

func (in *Install) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: in.excluded()},
		{Key: LabelIgnore, Operator: metav1.LabelSelectorOpNotIn, Values: []string{LabelIgnoreValue}},
	}}
}

func (in *Install) webhookMeta() metav1.ObjectMeta {
	m := clusterMeta(Name)
	if in.CertManager {
		m.Annotations = map[string]string{"cert-manager.io/inject-ca-from": in.Namespace + "/" + Name}
	}
	return m
}

func (in *Install) mutating() any {
	none, equivalent, ifNeeded := admissionv1.SideEffectClassNone, admissionv1.Equivalent, admissionv1.IfNeededReinvocationPolicy
	return admissionv1.MutatingWebhookConfiguration{
		TypeMeta: kind(admissionv1.SchemeGroupVersion.String(), "MutatingWebhookConfiguration"), ObjectMeta: in.webhookMeta(),
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "mutate.tagwarden.dev", ClientConfig: in.clientConfig("/mutate"), Rules: rules(in.PinTemplates),
			FailurePolicy: in.failurePolicy(), MatchPolicy: &equivalent, NamespaceSelector: in.selector(), SideEffects: &none,
			TimeoutSeconds: &in.TimeoutSeconds, AdmissionReviewVersions: []string{"v1"},
			// Another webhook may put in a container after us.
			ReinvocationPolicy: &ifNeeded,
			MatchConditions:    []admissionv1.MatchCondition{{Name: "spec-changed", Expression: specChanged}},
		}},
	}
}

func (in *Install) validating() any {
	none, equivalent := admissionv1.SideEffectClassNone, admissionv1.Equivalent
	return admissionv1.ValidatingWebhookConfiguration{
		TypeMeta: kind(admissionv1.SchemeGroupVersion.String(), "ValidatingWebhookConfiguration"), ObjectMeta: in.webhookMeta(),
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "validate.tagwarden.dev", ClientConfig: in.clientConfig("/validate"), Rules: rules(true),
			FailurePolicy: in.failurePolicy(), MatchPolicy: &equivalent, NamespaceSelector: in.selector(), SideEffects: &none,
			TimeoutSeconds: &in.TimeoutSeconds, AdmissionReviewVersions: []string{"v1"},
			MatchConditions: []admissionv1.MatchCondition{{Name: "spec-changed", Expression: specChanged}},
		}},
	}
}
