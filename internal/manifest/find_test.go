package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/manifest"
)

const pinned = "nginx@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

// pod is a pod with the given lines in its spec.
func pod(spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nspec:\n" + spec
}

// found is what a file has, a line each: text, kind and name of the container,
// and path; "!" before what could not be read.
func found(t *testing.T, name, text string) []string {
	t.Helper()
	data := []byte(text)
	r := manifest.Find(manifest.Detect(name), data)
	var got []string
	for _, ref := range r.References {
		if ref.Split == nil && !ref.Derived && string(data[ref.Span.Start:ref.Span.End]) != ref.Text {
			t.Errorf("%s: the bytes of %s are %q", name, ref.Text, data[ref.Span.Start:ref.Span.End])
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", ref.Text, ref.ContainerKind, ref.Path)))
	}
	for _, u := range r.Unscannable {
		got = append(got, fmt.Sprintf("!%d", u.Line))
	}
	return got
}

// TestFind: each case says why it is here.
func TestFind(t *testing.T) {
	t.Parallel()
	const c0 = "spec.containers[0].image"
	for _, tc := range []struct {
		why, file, text string
		want            []string
	}{
		{"plain", "a.yaml", pod("  containers:\n  - name: c\n    image: nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"double quotes", "a.yaml", pod("  containers:\n  - {name: c, image: \"nginx:1\"}\n"), []string{"nginx:1 container " + c0}},
		{"single quotes", "a.yaml", pod("  containers:\n  - {name: c, image: 'nginx:1'}\n"), []string{"nginx:1 container " + c0}},
		{"two blanks behind the colon", "a.yaml", pod("  containers:\n  - image:  nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"a quoted key", "a.yaml", pod("  containers:\n  - \"image\": nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"folded", "a.yaml", pod("  containers:\n  - image: >-\n      nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"literal", "a.yaml", pod("  containers:\n  - image: |\n      nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"a port is no tag", "a.yaml", pod("  containers:\n  - image: localhost:5000/app\n"), []string{"localhost:5000/app container " + c0}},
		{"a digest", "a.yaml", pod("  containers:\n  - image: " + pinned + "\n"), []string{pinned + " container " + c0}},
		{"not a digest", "a.yaml", pod("  containers:\n  - image: nginx@sha256:abc\n"), []string{"nginx@sha256:abc container " + c0}},
		{"an empty image", "a.yaml", pod("  containers:\n  - image: \"\"\n"), []string{"container " + c0}},
		{"no image", "a.yaml", pod("  containers:\n  - name: image\n"), nil},
		{"null", "a.yaml", pod("  containers:\n  - image: ~\n"), nil},
		{"windows line ends", "a.yaml", strings.ReplaceAll(pod("  containers:\n  - image: nginx:1\n"), "\n", "\r\n"), []string{"nginx:1 container " + c0}},
		{"a byte order mark", "a.yaml", "\ufeff" + pod("  containers:\n  - image: nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"a byte order mark on the line itself", "a.yaml", "\ufeff{apiVersion: v1, kind: Pod, spec: {containers: [{image: nginx:1}]}}", []string{"nginx:1 container " + c0}},
		{"no line end at the end", "a.yaml", pod("  containers:\n  - image: nginx:1"), []string{"nginx:1 container " + c0}},
		{"characters of several bytes before it", "a.yaml", pod("  containers: [{name: \"häß€😀\", image: nginx:1}]\n"), []string{"nginx:1 container " + c0}},
		{"a comment behind it", "a.yaml", pod("  containers:\n  - image: nginx:1 # image: other:2\n"), []string{"nginx:1 container " + c0}},
		{"a comment is no reference", "a.yaml", pod("  containers: []\n# image: nginx:1\n"), nil},
		{"init and sidecar", "a.yaml", pod("  initContainers:\n  - image: a:1\n  - {image: b:1, restartPolicy: Always}\n"), []string{"a:1 init spec.initContainers[0].image", "b:1 sidecar spec.initContainers[1].image"}},
		{"ephemeral", "a.yaml", pod("  ephemeralContainers:\n  - image: busybox\n"), []string{"busybox ephemeral spec.ephemeralContainers[0].image"}},
		{"an image volume", "a.yaml", pod("  volumes:\n  - name: v\n    image: {reference: data:1}\n"), []string{"data:1 volume spec.volumes[0].image.reference"}},
		{"an anchor is reported once, where it stands", "a.yaml", pod("  containers:\n  - image: &i nginx:1\n  - image: *i\n"), []string{"nginx:1 container " + c0}},
		{"an anchor outside", "a.yaml", "x: &i nginx:1\n" + pod("  containers:\n  - image: *i\n"), []string{"nginx:1 container " + c0}},
		{"a merge key", "a.yaml", "base: &b\n  image: nginx:1\n" + pod("  containers:\n  - <<: *b\n    name: c\n"), []string{"nginx:1 other base.image"}},
		{"an anchor with a quoted value", "a.yaml", pod("  containers:\n  - image: &i \"nginx:1\"\n"), []string{"nginx:1 container " + c0}},
		{"a tag on the value", "a.yaml", pod("  containers:\n  - image: !!str nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"deployment", "a.yaml", "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"cron job", "a.yaml", "apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a:1}]}}}}}", []string{"a:1 container spec.jobTemplate.spec.template.spec.containers[0].image"}},
		{"pod template", "a.yaml", "apiVersion: v1\nkind: PodTemplate\ntemplate: {spec: {containers: [{image: a:1}]}}", []string{"a:1 container template.spec.containers[0].image"}},
		{"list", "a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {containers: [{image: a:1}]}\n", []string{"a:1 container items[0].spec.containers[0].image"}},
		{"list of one kind", "a.yaml", "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- spec: {template: {spec: {containers: [{image: a:1}]}}}\n", []string{"a:1 container items[0].spec.template.spec.containers[0].image"}},
		{"argo rollout", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"argo workflow", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  templates:\n  - container: {image: a:1}\n  - script: {image: b:1}\n", []string{"a:1 other spec.templates[0].container.image", "b:1 other spec.templates[1].script.image"}},
		{"knative", "a.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"tekton", "a.yaml", "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  stepTemplate: {image: t:1}\n  steps: [{image: a:1}]\n  sidecars: [{image: b:1}]\n", []string{"t:1 other spec.stepTemplate.image", "a:1 other spec.steps[0].image", "b:1 other spec.sidecars[0].image"}},
		{"prometheus", "a.yaml", "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec: {image: quay.io/p/p:v2}", []string{"quay.io/p/p:v2 other spec.image"}},
		{"kubevirt", "a.yaml", "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nspec: {template: {spec: {volumes: [{containerDisk: {image: q/f:1}}]}}}", []string{"q/f:1 other spec.template.spec.volumes[0].containerDisk.image"}},
		{"crossplane", "a.yaml", "apiVersion: pkg.crossplane.io/v1\nkind: Provider\nspec: {package: xpkg.example/p:v1}", []string{"xpkg.example/p:v1 other spec.package"}},
		{"flux values", "a.yaml", "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {values: {image: {repository: a/b, tag: v1}}}", []string{"a/b:v1 other spec.values.image"}},
		{"a field that ends with Image", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {proxyImage: 'a/b:1', osImage: cos}", []string{"a/b:1 other spec.proxyImage"}},
		{"a picture is no image", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: logo.png, bannerImage: 'https://x/y.svg'}", nil},
		{"a schema is no image", "a.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {image: a:1}", nil},
		{"a config map is text", "a.yaml", "apiVersion: v1\nkind: ConfigMap\ndata: {image: a:1}", nil},
		{"no kubernetes object, and a reference without doubt", "a.yaml", "image: nginx:1\n", []string{"nginx:1 other image"}},
		{"no kubernetes object, and a word", "a.yaml", "image: nginx\nheroImage: a/b\n", nil},
		{"several documents", "a.yaml", pod("  containers: [{image: a:1}]\n") + "---\n" + pod("  containers: [{image: b:1}]\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a broken document costs no other", "a.yaml", "image: [\n---\n" + pod("  containers: [{image: b:1}]\n") + "---\n\timage: x\n", []string{"b:1 container " + c0, "x other image", "!1", "!8"}},
		{"a marker in a text ends the document all the same", "a.yaml", pod("  containers: [{image: a:1}]\n") + "--- # next\n" + pod("  containers: [{image: b:1}]\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a template", "a.yaml", pod("  containers:\n  - image: {{ .Values.image }}\n"), []string{"!6"}},
		{"a template that is no yaml; what a line shows is not lost", "a.yaml", "{{- if .x }}\n" + pod("  containers:\n  - image: nginx:1\n  - image: {{ .y }}\n{{- end }}\n"), []string{"nginx:1 other image", "!1"}},
		{"a template in quotes is a reference that nobody can pull", "a.yaml", pod("  containers:\n  - image: \"{{ .Values.image }}\"\n"), []string{"{{ .Values.image }} container " + c0}},
		{"so is a variable", "a.yaml", pod("  containers:\n  - image: ${IMAGE}\n"), []string{"${IMAGE} container " + c0}},
		{"escapes", "a.yaml", pod("  containers:\n  - image: \"ngin\\x78:1\"\n"), []string{"nginx:1 container " + c0}},
		{"a quote within quotes", "a.yaml", pod("  containers:\n  - image: 'a''b'\n"), []string{"a'b container " + c0}},
		{"quotes over two lines", "a.yaml", pod("  containers:\n  - image: \"nginx\n      :1\"\n"), []string{"nginx :1 container " + c0}},
		{"several lines", "a.yaml", pod("  containers:\n  - image: >-\n      nginx\n      :1\n"), []string{"nginx :1 container " + c0}},
		{"json", "a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","image":"nginx:1"}]}}`, []string{"nginx:1 container " + c0}},
		{"json with tabs", "a.json", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\t\"image\":\t\"nginx:1\"}]}\n}", []string{"nginx:1 container " + c0}},
		{"json with a tab in a string", "a.json", "{\"x\":\"a\\tb\",\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":\"nginx:1\"}]}}", []string{"nginx:1 container " + c0}},
		{"an array of objects", "a.json", `[{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx:1"}]}}]`, []string{"nginx:1 container " + c0}},
		{"binary with what can be an image", "a.yaml", "image: \x00\x01", []string{"!0"}},
		{"binary", "a.json", "\x00\x01", nil},
		{"UTF-16, which kubectl reads", "a.yaml", "\xff\xfei\x00m\x00a\x00g\x00e\x00:\x00 \x00a\x00", []string{"!0"}},
		{"UTF-16 of the other kind", "Dockerfile", "\xfe\xff\x00F\x00R\x00O\x00M\x00 \x00a", []string{"!0"}},
		{"empty", "a.yaml", "", nil},

		{"values", "values.yaml", "image: nginx:1\n", []string{"nginx:1 other image"}},
		{"values in fields", "values.yaml", "image:\n  registry: ghcr.io\n  repository: a/b\n  tag: \"1\"\n", []string{"ghcr.io/a/b:1 other image"}},
		{"values with a digest", "prod-values.yaml", "x:\n  image: {repository: a/b, tag: v1, digest: 'sha256:abc'}\n", []string{"a/b:v1@sha256:abc other x.image"}},
		{"values without a tag", "values.yaml", "image:\n  repository: a/b\n  tag: \"\"\n", []string{"a/b other image"}},
		{"values under another name", "values.yaml", "web:\n  repository: a/b\n  tag: v1\n", []string{"a/b:v1 other web"}},
		{"a repository that is no image", "values.yaml", "git:\n  repository: https://x/y\nimage: z:1\n", []string{"z:1 other image"}},
		{"kustomize", "kustomization.yaml", "images:\n- name: a\n  newName: b/c\n  newTag: v1\n- name: d\n- {name: e, digest: 'sha256:x', newTag: v1}\n", []string{"b/c:v1 other images[0]", "e@sha256:x other images[2]"}},
		{"compose", "docker-compose.yml", "services:\n  web: {image: nginx}\n  own: {build: ., image: mine}\n  db: {image: 'postgres:16'}\n", []string{"nginx other services.web.image", "postgres:16 other services.db.image"}},
		{"github workflow", ".github/workflows/ci.yml", "on: push\njobs:\n  a:\n    container: node:20\n    services: {db: {image: postgres}}\n    steps:\n    - uses: docker://alpine:3.20\n    - uses: actions/checkout@v4\n  b:\n    container: {image: golang}\n", []string{"node:20 other jobs.a.container", "postgres other jobs.a.services.db.image", "alpine:3.20 other jobs.a.steps[0].uses", "actions/checkout@v4 other jobs.a.steps[1].uses", "golang other jobs.b.container.image"}},
		{"a github action", "x/action.yml", "runs: {using: docker, image: 'docker://a:1'}\n", []string{"a:1 other runs.image"}},
		{"an action of a Dockerfile", "action.yml", "runs: {using: docker, image: Dockerfile}\n", nil},
		{"gitlab", ".gitlab-ci.yml", "image: ruby:3\nservices: [redis]\ntest:\n  image: {name: go:1}\n  services: [{name: pg:16}]\n", []string{"ruby:3 other image", "redis other services[0]", "go:1 other test.image.name", "pg:16 other test.services[0].name"}},
		{"circle", ".circleci/config.yml", "jobs:\n  a: {docker: [{image: cimg/go:1}, {image: pg}]}\nexecutors: {e: {docker: [{image: x:1}]}}\n", []string{"cimg/go:1 other jobs.a.docker[0].image", "pg other jobs.a.docker[1].image", "x:1 other executors.e.docker[0].image"}},
		{"a comment between key and value lines", "a.yaml", pod("  containers:\n  # image: no:1\n  - name: c\n    # image: no:2\n    image: nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"an image in an annotation is text", "a.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    last: '{\"spec\":{\"containers\":[{\"image\":\"x:1\"}]}}'\nspec: {containers: [{image: a:1}]}\n", []string{"a:1 container " + c0}},
		{"an image in the environment is text", "a.yaml", pod("  containers:\n  - env: [{name: IMAGE, value: x:1}]\n    image: a:1\n"), []string{"a:1 container " + c0}},
		{"a label called image is text", "a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {labels: {image: web}, annotations: {appImage: 'a:1'}}\nspec: {selector: {matchLabels: {image: x}}}\n", nil},
		{"a node is selected by a label", "a.yaml", pod("  nodeSelector: {image: x}\n  containers: [{image: a:1}]\n"), []string{"a:1 container " + c0}},
		{"the status says it again", "a.yaml", pod("  containers: [{image: a:1}]\nstatus: {containerStatuses: [{image: 'docker.io/library/a:1'}]}\n"), []string{"a:1 container " + c0}},
		{"the status of an item", "a.yaml", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(pod("  containers: [{image: a:1}]\nstatus: {containerStatuses: [{image: 'x:1'}]}\n")), "\n", "\n  ") + "\n", []string{"a:1 container items[0]." + c0}},
		{"a config map in a list is text", "a.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, data: {image: a:1}}]\n", nil},
		{"args that look like a reference", "a.yaml", pod("  containers:\n  - args: [--image=x:1]\n    image: a:1\n"), []string{"a:1 container " + c0}},
		{"pull secrets and policy are no images", "a.yaml", pod("  imagePullSecrets: [{name: x}]\n  containers:\n  - {image: a:1, imagePullPolicy: Always}\n"), []string{"a:1 container " + c0}},
		{"blanks at the end of the line", "a.yaml", pod("  containers:\n  - image: nginx:1   \n"), []string{"nginx:1 container " + c0}},
		{"a blank inside the quotes is part of it", "a.yaml", pod("  containers:\n  - image: \"nginx:1 \"\n"), []string{"nginx:1  container " + c0}},
		{"a number as an image", "a.yaml", pod("  containers:\n  - image: 123\n"), []string{"123 container " + c0}},
		{"an address with a port and no tag", "a.yaml", pod("  containers:\n  - image: 10.0.0.5:5000/app\n"), []string{"10.0.0.5:5000/app container " + c0}},
		{"an IPv6 registry", "a.yaml", pod("  containers:\n  - image: \"[::1]:5000/app:1\"\n"), []string{"[::1]:5000/app:1 container " + c0}},
		{"an IPv6 registry without quotes is no YAML", "a.yaml", pod("  containers:\n  - image: [::1]:5000/app\n"), []string{"[::1]:5000/app other image", "!1"}},
		{"flow style over several lines", "a.yaml", pod("  containers: [\n    {name: c,\n     image: nginx:1}\n  ]\n"), []string{"nginx:1 container " + c0}},
		{"a flow key without a blank", "a.yaml", pod("  containers: [{\"image\":\"nginx:1\"}]\n"), []string{"nginx:1 container " + c0}},
		{"a key with a question mark", "a.yaml", pod("  containers:\n  - ? image\n    : nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"the value on the next line", "a.yaml", pod("  containers:\n  - image:\n      nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"a literal with windows line ends", "a.yaml", strings.ReplaceAll(pod("  containers:\n  - image: >-\n      nginx:1\n"), "\n", "\r\n"), []string{"nginx:1 container " + c0}},
		{"a literal with a comment behind its mark", "a.yaml", pod("  containers:\n  - image: >- # c\n      nginx:1\n"), []string{"nginx:1 container " + c0}},
		{"a key that comes twice", "a.yaml", pod("  containers:\n  - image: a:1\n    image: b:1\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a tab in a string", "a.yaml", pod("  containers:\n  - image: nginx:1\n    command: [\"a\tb\"]\n"), []string{"nginx:1 container " + c0}},
		{"a tab behind the colon", "a.yaml", pod("  containers:\n  - image:\tnginx:1\n"), []string{"nginx:1 container " + c0}},
		{"an indentation by tabs is no YAML, the line is seen all the same", "a.yaml", "apiVersion: v1\nkind: Pod\nspec:\n\tcontainers:\n\t- image: nginx:1\n", []string{"nginx:1 other image", "!1"}},
		{"a line of a million characters", "a.yaml", pod("  containers:\n  - {env: [{value: \"" + strings.Repeat("x", 1_000_000) + "\"}], image: nginx:1}\n"), []string{"nginx:1 container " + c0}},
		{"a document end", "a.yaml", pod("  containers: [{image: a:1}]\n...\n"), []string{"a:1 container " + c0}},
		{"a directive", "a.yaml", "%YAML 1.2\n---\n" + pod("  containers: [{image: a:1}]\n"), []string{"a:1 container " + c0}},
		{"a document that begins on the line of its mark", "a.yaml", "--- {apiVersion: v1, kind: Pod, spec: {containers: [{image: a:1}]}}\n", []string{"a:1 container " + c0}},
		{"windows line ends and several documents", "a.yaml", strings.ReplaceAll(pod("  containers: [{image: a:1}]\n")+"---\n"+pod("  containers: [{image: b:1}]\n"), "\n", "\r\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"only comments between marks", "a.yaml", "---\n# image: x\n---\n" + pod("  containers: [{image: a:1}]\n"), []string{"a:1 container " + c0}},
		{"four dashes are no mark", "a.yaml", pod("  containers: [{image: a:1}]\n") + "----: x\n", []string{"a:1 container " + c0}},
		{"a mark inside a literal that is not indented", "a.yaml", "apiVersion: v1\nkind: X\ntext: |\n  a\n---\n" + pod("  containers: [{image: b:1}]\n"), []string{"b:1 container " + c0}},
		{"an image inside a literal is text", "a.yaml", "apiVersion: v1\nkind: X\ntext: |\n  image: a:1\n  b: c\nimage: z:1\n", []string{"z:1 other image"}},
		{"a merge key over a merge key", "a.yaml", "apiVersion: v1\nkind: Pod\nx: &x {image: a:1}\ny: &y {<<: *x}\nspec: {containers: [{<<: *y}]}\n", []string{"a:1 other x.image"}},
		{"an alias for a whole container", "a.yaml", pod("  containers:\n  - &c {image: a:1}\n  initContainers:\n  - *c\n"), []string{"a:1 container " + c0}},
		{"stateful set", "a.yaml", "apiVersion: apps/v1\nkind: StatefulSet\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"daemon set", "a.yaml", "apiVersion: apps/v1\nkind: DaemonSet\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"job", "a.yaml", "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"replica set", "a.yaml", "apiVersion: apps/v1\nkind: ReplicaSet\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"replication controller", "a.yaml", "apiVersion: v1\nkind: ReplicationController\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"deployment config of OpenShift", "a.yaml", "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"clone set of OpenKruise", "a.yaml", "apiVersion: apps.kruise.io/v1alpha1\nkind: CloneSet\nspec: {template: {spec: {containers: [{image: a:1}]}}}", []string{"a:1 container spec.template.spec.containers[0].image"}},
		{"sidecar set of OpenKruise", "a.yaml", "apiVersion: apps.kruise.io/v1alpha1\nkind: SidecarSet\nspec: {containers: [{name: s, image: a:1}]}", []string{"a:1 container spec.containers[0].image"}},
		{"cron workflow", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nspec: {workflowSpec: {templates: [{container: {image: a:1}}]}}", []string{"a:1 other spec.workflowSpec.templates[0].container.image"}},
		{"init containers of a workflow", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{initContainers: [{image: a:1}]}]}", []string{"a:1 init spec.templates[0].initContainers[0].image"}},
		{"a pipeline run with a task in it", "a.yaml", "apiVersion: tekton.dev/v1\nkind: PipelineRun\nspec: {pipelineSpec: {tasks: [{taskSpec: {steps: [{image: a:1}]}}]}}", []string{"a:1 other spec.pipelineSpec.tasks[0].taskSpec.steps[0].image"}},
		{"a bundle of tasks", "a.yaml", "apiVersion: tekton.dev/v1beta1\nkind: TaskRun\nspec: {taskRef: {name: t, bundle: 'r.example/b:1'}}", []string{"r.example/b:1 other spec.taskRef.bundle"}},
		{"the resolver of bundles", "a.yaml", "apiVersion: tekton.dev/v1\nkind: TaskRun\nspec:\n  taskRef:\n    resolver: bundles\n    params:\n    - {name: bundle, value: 'r.example/b:1'}\n    - {name: name, value: t}\n", []string{"r.example/b:1 other spec.taskRef.params[0].value"}},
		{"alertmanager", "a.yaml", "apiVersion: monitoring.coreos.com/v1\nkind: Alertmanager\nspec: {image: 'quay.io/p/a', containers: [{name: x, image: 'b:1'}]}", []string{"quay.io/p/a other spec.image", "b:1 container spec.containers[0].image"}},
		{"an operator's cluster", "a.yaml", "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nspec: {imageName: 'ghcr.io/x/pg:16'}", []string{"ghcr.io/x/pg:16 other spec.imageName"}},
		{"rook's image in a mapping", "a.yaml", "apiVersion: ceph.rook.io/v1\nkind: CephCluster\nspec: {cephVersion: {image: 'quay.io/ceph/ceph:v18'}}", []string{"quay.io/ceph/ceph:v18 other spec.cephVersion.image"}},
		{"a rollout of many containers", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {initContainers: [{image: a:1}], containers: [{image: b:1}, {image: c:1}]}}}", []string{"a:1 init spec.template.spec.initContainers[0].image", "b:1 container spec.template.spec.containers[0].image", "c:1 container spec.template.spec.containers[1].image"}},
		{"a list in a list", "a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: Pod, spec: {containers: [{image: a:1}]}}]\n", []string{"a:1 container items[0].items[0].spec.containers[0].image"}},
		{"a pod list", "a.yaml", "apiVersion: v1\nkind: PodList\nitems:\n- spec: {containers: [{image: a:1}]}\n", []string{"a:1 container items[0].spec.containers[0].image"}},
		{"an empty list", "a.yaml", "apiVersion: v1\nkind: List\nitems: [] # image\n", nil},
		{"an object without a kind", "a.yaml", "apiVersion: v1\nspec: {containers: [{image: a}]}\n", []string{"a container " + c0}},
		{"a secret is text", "a.yaml", "apiVersion: v1\nkind: Secret\nstringData: {image: a:1}", nil},
		{"a volume that is a disk image", "a.yaml", pod("  volumes:\n  - {name: v, rbd: {image: disk, pool: p}}\n  containers: [{image: a:1}]\n"), []string{"a:1 container " + c0}},
		{"an image volume without a reference", "a.yaml", pod("  volumes:\n  - {name: v, image: {pullPolicy: Always}}\n  containers: [{image: a:1}]\n"), []string{"a:1 container " + c0}},
		{"an image that is a mapping", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: {name: a, tag: b}}", []string{"a:b other spec.image"}},
		{"an image that is a list", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: [a, b]}", nil},
		{"repository and tag in a custom resource", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: {repository: a/b, tag: v1}}", []string{"a/b:v1 other spec.image"}},
		{"repository alone in a custom resource", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: {repository: a/b}}", []string{"a/b other spec.image"}},
		{"json with windows line ends", "a.json", "{\r\n\"apiVersion\":\"v1\",\r\n\"kind\":\"Pod\",\r\n\"spec\":{\"containers\":[{\"image\":\"nginx:1\"}]}}", []string{"nginx:1 container " + c0}},
		{"json with an escaped slash", "a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"a\/b:1"}]}}`, []string{"a/b:1 container " + c0}},
		{"json objects, a line each, as jq writes them", "a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"a:1"}]}}` + "\n" + `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"}{\"}"},"spec":{"containers":[{"image":"b:1"}]}}`, []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"json objects without anything between", "a.json", `{"x":["image"]}{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"b:1"}]}}`, []string{"b:1 container " + c0}},
		{"json that ends too soon", "a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx:1"}]`, []string{"!1"}},
		{"a package file", "package.json", `{"name":"x","image":"y.png","dependencies":{}}`, nil},
		{"json of several documents", "a.json", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":\"a:1\"}]}}\n---\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":\"b:1\"}]}}\n", []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a yaml file of JSON", "a.yaml", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\"image\": \"nginx:1\"}]}\n}\n", []string{"nginx:1 container " + c0}},

		{"values of a list", "values.yaml", "sidecars:\n- image: a:1\n- image: {repository: b, tag: '2'}\n", []string{"a:1 other sidecars[0].image", "b:2 other sidecars[1].image"}},
		{"values with an empty registry", "values.yaml", "image: {registry: '', repository: a/b, tag: v1}\n", []string{"a/b:v1 other image"}},
		{"values with a null tag", "values.yaml", "image:\n  repository: a/b\n  tag:\n", []string{"a/b other image"}},
		{"values with a tag that is a number", "values.yaml", "image: {repository: a/b, tag: 1.20}\n", []string{"a/b:1.20 other image"}},
		{"values with an anchor for the tag", "values.yaml", "x: &t v1\nimage: {repository: a/b, tag: *t}\nimage2: {repository: a/c, tag: *t}\n", []string{"a/b:v1 other image", "a/c:v1 other image2"}},
		{"values under a key that ends with Image", "values.yaml", "initImage: {repository: a/b, tag: v1}\n", []string{"a/b:v1 other initImage"}},
		{"values whose image is a picture", "values.yaml", "logo: {image: x.svg}\n", nil},
		{"values with a template", "values.yaml", "image: '{{ .Values.x }}'\n", []string{"!1"}},
		{"values of a subchart", "values.yaml", "sub:\n  image: {registry: r.example, repository: a, tag: latest}\n", []string{"r.example/a:latest other sub.image"}},
		{"kustomize with a digest alone", "kustomization.yml", "images: [{name: a, digest: 'sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1'}]\n", []string{"a@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1 other images[0]"}},
		{"kustomize with a tag that is a number", "kustomization.yaml", "images:\n- name: a\n  newTag: 1.20\n", []string{"a:1.20 other images[0]"}},
		{"compose with a default", "compose.yaml", "services: {a: {image: 'nginx:${TAG:-1.25}'}}\n", []string{"nginx:1.25 other services.a.image"}},
		{"compose with a variable", "compose.yaml", "services: {a: {image: 'nginx:${TAG}'}}\n", []string{"!1"}},
		{"compose with a variable without braces", "compose.yaml", "services: {a: {image: $IMAGE}}\n", []string{"!1"}},
		{"compose with an extension", "compose.yaml", "x-base: &b {image: a:1}\nservices:\n  w: {<<: *b}\n", []string{"a:1 other services.w.image"}},
		{"compose with a platform file", "docker-compose.prod.yml", "services: {a: {image: b}}\n", []string{"b other services.a.image"}},
		{"compose without services", "compose.yaml", "volumes: {image: {}}\n", nil},
		{"a called workflow", ".github/workflows/a.yml", "jobs: {a: {uses: org/repo/.github/workflows/x.yml@main}}\n", []string{"org/repo/.github/workflows/x.yml@main other jobs.a.uses"}},
		{"an action of this repository", ".github/workflows/a.yml", "jobs: {a: {steps: [{uses: ./act}]}}\n", nil},
		{"a container that is an expression", ".github/workflows/a.yml", "jobs: {a: {container: '${{ matrix.image }}'}}\n", []string{"!1"}},
		{"steps of an action", "action.yaml", "runs: {using: composite, steps: [{uses: docker://a:1}]}\n", []string{"a:1 other runs.steps[0].uses"}},
		{"a workflow elsewhere is no workflow", "x/ci.yml", "jobs: {a: {container: node:20}}\n", nil},
		{"gitlab default", ".gitlab-ci.yml", "default: {image: a:1}\n", []string{"a:1 other default.image"}},
		{"gitlab with a variable", ".gitlab-ci.yml", "image: $CI_REGISTRY_IMAGE:latest\n", []string{"!1"}},
		{"gitlab in a folder", "ci/build.gitlab-ci.yml", "b: {image: a:1}\n", []string{"a:1 other b.image"}},
		{"gitlab references", ".gitlab-ci.yml", ".x: &x {image: a:1}\nj: {<<: *x, script: [y]}\n", []string{"a:1 other .x.image"}},
		{"gitlab with a tag of its own", ".gitlab-ci.yml", "j:\n  image: a:1\n  script:\n  - !reference [.x, script]\n", []string{"a:1 other j.image"}},
		{"circle with a parameter", ".circleci/config.yml", "jobs: {a: {docker: [{image: 'x:<< parameters.t >>'}]}}\n", []string{"!1"}},
		{"a development container", ".devcontainer/devcontainer.json", "{\n\t// image: no\n\t\"image\": \"mcr.example/base:1\", /* image */\n\t\"features\": {\n\t\t\"ghcr.io/d/features/go:1\": {},\n\t\t\"./local\": {},\n\t},\n}\n", []string{"mcr.example/base:1 other image", "ghcr.io/d/features/go:1 other features"}},
		{"a development container with slashes in a string", ".devcontainer.json", `{"x": "http://y", "image": "a:1"}`, []string{"a:1 other image"}},
		{"terraform", "main.tf", "resource \"kubernetes_deployment\" \"d\" {\n  spec {\n    template {\n      spec {\n        container {\n          name  = \"c\"\n          image = \"nginx:1\"\n        }\n      }\n    }\n  }\n}\n", []string{"nginx:1 other spec[0].template[0].spec[0].container[0].image"}},
		{"terraform of a container service", "main.tf", "resource \"aws_ecs_task_definition\" \"t\" {\n  container_definitions = jsonencode([{ name = \"c\", image = \"nginx\" }])\n}\n", []string{"nginx other container_definitions[0].image"}},
		{"terraform of a machine is no container", "main.tf", "resource \"google_compute_instance\" \"i\" {\n  boot_disk {\n    initialize_params {\n      image = \"debian-cloud/debian-11\"\n    }\n  }\n}\n", nil},
		{"terraform of Docker", "main.tf", "resource \"docker_image\" \"i\" {\n  name = \"nginx:1\"\n}\nresource \"docker_container\" \"c\" {\n  name  = \"n\"\n  image = docker_image.i.image_id\n}\n", []string{"nginx:1 other name"}},
		{"terraform with a variable", "main.tf", "resource \"google_cloud_run_service\" \"s\" {\n  image = var.image\n}\nvariable \"image\" {\n  default = \"a/b:1\"\n}\n", []string{"a/b:1 other image"}},
		{"terraform with a variable of another file", "main.tf", "resource \"google_cloud_run_service\" \"s\" {\n  image = var.image\n}\n", []string{"!2"}},
		{"terraform with a local value in quotes", "main.tf", "locals {\n  img = \"a\"\n}\nresource \"kubernetes_pod\" \"s\" {\n  image = \"${local.img}\"\n}\n", []string{"a other image"}},
		{"terraform with local values in a circle", "main.tf", "locals {\n  a = x ? local.b : local.b\n  b = x ? local.a : local.a\n}\nresource \"kubernetes_pod\" \"s\" {\n  image = local.a\n}\n", nil},
		{"terraform with a function", "main.tf", "resource \"kubernetes_pod\" \"s\" {\n  image = format(\"a:%s\", x)\n}\n", []string{"!2"}},
		{"terraform with JSON in a heredoc", "main.tf", "resource \"aws_ecs_task_definition\" \"t\" {\n  container_definitions = <<EOF\n[{\"name\": \"é\", \"cpu\": ${var.cpu}, \"image\": \"nginx\"},\n {\"image\": \"x:${var.t}\"}]\nEOF\n}\n", []string{"nginx other [0].image", "!4"}},
		{"terraform with YAML in a heredoc", "main.tf", "resource \"kubernetes_manifest\" \"t\" {\n  manifest = yamldecode(<<-EOF\n    kind: Pod\n    spec: {containers: [{image: nginx}]}\n    EOF\n  )\n}\n", []string{"nginx container spec.containers[0].image"}},
		{"terraform with JSON in quotes", "main.tf", "resource \"aws_ecs_task_definition\" \"t\" {\n  container_definitions = \"[{\\\"image\\\": \\\"nginx\\\"}]\"\n}\n", []string{"nginx other [0].image"}},
		{"terraform with values of a chart", "main.tf", "resource \"helm_release\" \"h\" {\n  values = [yamlencode({ image = { repository = \"a/b\", tag = \"v1\" } })]\n}\n", []string{"a/b:v1 other values[0].image"}},
		{"values of terraform variables", "prod.tfvars", "app_image = \"a/b:1\"\nimage_count = 3\n", []string{"a/b:1 other app_image"}},
		{"terraform of a machine with an alias", "main.tf", "resource \"lxd_instance\" \"i\" {\n  image = \"ubuntu:22.04\"\n}\n", nil},
		{"terraform made of parts", "main.tf", "resource \"kubernetes_pod\" \"s\" {\n  image = \"a:${var.tag}\"\n}\n", []string{"!2"}},
		{"terraform of a module", "main.tf", "module \"m\" {\n  container_image = \"a/b:1\"\n  image = \"debian-cloud/debian-11\"\n}\n", []string{"a/b:1 other container_image"}},
		{"terraform that is broken", "main.tf", "resource \"kubernetes_pod\" \"s\" {\n  image = \n", []string{"!2"}},
		{"a manifest in terraform", "main.tf", "resource \"kubernetes_manifest\" \"m\" {\n  manifest = {\n    \"spec\" = { \"containers\" = [{ \"image\" = \"a:1\" }] }\n  }\n}\n", []string{"a:1 other manifest.spec.containers[0].image"}},
		{"terraform of an unknown kind, and a reference without doubt", "main.tf", "resource \"x_y\" \"z\" {\n  image = \"a:1\"\n}\n", []string{"a:1 other image"}},
		{"terraform of an unknown kind", "main.tf", "resource \"x_y\" \"z\" {\n  image = \"a\"\n}\n", nil},
		{"skaffold with a tag", "skaffold.yaml", "verify: [{container: {image: a:1}}]\n", []string{"a:1 other verify[0].container.image"}},
		{"skaffold builds it", "skaffold.yaml", "build: {artifacts: [{image: a/b, requires: [{image: c/d}]}]}\nprofiles: [{build: {artifacts: [{image: e/f}]}}]\ntest: [{image: a/b}]\n", nil},
		{"skaffold builds with it", "skaffold.yaml", "build: {artifacts: [{image: a/b, buildpacks: {builder: 'b/c:v1', runImage: 'r:1'}}], cluster: {}}\n", []string{"b/c:v1 other build.artifacts[0].buildpacks.builder", "r:1 other build.artifacts[0].buildpacks.runImage"}},

		{"flux replaces an image", "a.yaml", "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec: {images: [{name: a, newName: b/c, newTag: edge}, {name: x}]}", []string{"b/c:edge other spec.images[0]"}},
		{"argo replaces an image", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec: {source: {kustomize: {images: ['a/b:1', 'old=c/d:edge', 'e=f']}}}", []string{"a/b:1 other spec.source.kustomize.images[0]", "c/d:edge other spec.source.kustomize.images[1]"}},
		{"images to pull", "a.yaml", "apiVersion: apps.kruise.io/v1beta1\nkind: ImageListPullJob\nspec: {images: ['a:1', 'b/c:2']}", []string{"a:1 other spec.images[0]", "b/c:2 other spec.images[1]"}},
		{"flux lists the tags of a repository", "a.yaml", "apiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImageRepository\nspec: {image: ghcr.io/a/b}", nil},
		{"an image of an operator", "a.yaml", pod("  containers:\n  - image: a:1\n    env: [{name: RELATED_IMAGE_DB, value: 'q.example/db:2'}, {name: RELATED_IMAGE_X, value: none}]\n"), []string{"a:1 container " + c0, "q.example/db:2 other spec.containers[0].env[0].value"}},
		{"an image of a virtual machine", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: projects/p/global/images/u}", nil},
		{"a switch called image", "a.yaml", "apiVersion: x/v1\nkind: X\nspec: {image: true, a: {image: 5}}", nil},
		{"a pattern of a policy", "a.yaml", "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: {rules: [{validate: {pattern: {spec: {containers: [{image: '!*:latest'}]}}}}]}", nil},
		{"what a policy adds", "a.yaml", "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: {rules: [{mutate: {patchStrategicMerge: {spec: {containers: [{image: a:1}, {image: '{{x}}'}]}}}}]}", []string{"a:1 container spec.rules[0].mutate.patchStrategicMerge.spec.containers[0].image"}},
		{"a tekton parameter", "a.yaml", "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  params: [{name: img, default: 'a:1'}, {name: none}]\n  steps: [{image: $(params.img)}, {image: '$(params[\"img\"])'}, {image: $(params.none)}]\n", []string{"a:1 other spec.steps[0].image", "!5"}},
		{"a tekton parameter for a part", "a.yaml", "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  params: [{name: t, default: '1.2'}]\n  steps: [{image: 'a:$(params.t)'}]\n", []string{"a:1.2 other spec.steps[0].image"}},
		{"an argo parameter", "a.yaml", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  arguments: {parameters: [{name: img, value: 'a:1'}]}\n  templates: [{container: {image: '{{workflow.parameters.img}}'}}, {container: {image: '{{inputs.parameters.x}}'}}]\n", []string{"a:1 other spec.templates[0].container.image", "!5"}},
		{"an openshift template", "a.yaml", "apiVersion: template.openshift.io/v1\nkind: Template\nobjects: [{apiVersion: v1, kind: Pod, spec: {containers: [{image: '${I}:${T}'}]}}]\nparameters: [{name: I, value: a/b}, {name: T, value: latest}]\n", []string{"a/b:latest container objects[0].spec.containers[0].image"}},
		{"a patch of operations", "a.yaml", "- {op: replace, path: /spec/template/spec/containers/0/image, value: 'a:1'}\n- {op: add, path: /spec/template/spec/initContainers/-, value: {image: b}}\n- {op: remove, path: /image}\n- {op: add, path: /metadata/labels/app, value: image}\n", []string{"a:1 other [0].value", "b init [1].value.image"}},
		{"a play with a manifest in it", "a.yaml", "- hosts: all\n  tasks:\n  - kubernetes.core.k8s:\n      definition: {apiVersion: v1, kind: Pod, spec: {containers: [{image: a}]}}\n", []string{"a container [0].tasks[0].kubernetes.core.k8s.definition.spec.containers[0].image"}},
		{"a task of Amazon's ECS", "task.json", `{"family":"x","containerDefinitions":[{"name":"c","image":"nginx"}]}`, []string{"nginx container containerDefinitions[0].image"}},
		{"compose under another name", "stack.yml", "services: {a: {image: nginx}}\n", []string{"nginx other services.a.image"}},
		{"a sequence that has itself", "a.yaml", "apiVersion: x/v1\nkind: X\na: &a [*a, *a]\nimage: b:1\n", []string{"b:1 other image"}},
		{"a list that has itself", "a.yaml", "apiVersion: v1\nkind: List\nitems: &a\n- {apiVersion: v1, kind: List, items: *a}\n- {apiVersion: v1, kind: X, image: 'b:1'}\n", []string{"b:1 other items[1].image"}},

		{"values with a name and a tag", "values.yaml", "a: {image: {name: a/b, tag: v1}}\nb: {image: {registry: r.example, image: c, tag: v2}}\n", []string{"a/b:v1 other a.image", "r.example/c:v2 other b.image"}},
		{"values with the tag beside the image", "values.yaml", "a: {image: a/b, tag: 1.2.3, side: {image: c}}\nb: {hub: r.example/x, image: d, tag: v1}\n", []string{"a/b:1.2.3 other a", "c other a.side.image", "r.example/x/d:v1 other b"}},
		{"values in the old style", "values.yaml", "imageRepository: a/b\nimageTag: v1\n", []string{"a/b:v1 other"}},
		{"values with more below a reference", "values.yaml", "web: {repository: a/b, tag: v1, side: {image: c}}\n", []string{"a/b:v1 other web", "c other web.side.image"}},
		{"values with a digest as hex", "values.yaml", "image: {repository: a, tag: v1, sha: '4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1'}\n", []string{"a:v1@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1 other image"}},
		{"values of a git repository", "values.yaml", "git: {repository: 'https://x/y', tag: v1}\nimage: a:1\n", []string{"a:1 other image"}},
		{"values with a list of images", "values.yaml", "images: {app: 'a/b:1', pullPolicy: Always}\n", []string{"a/b:1 other images.app"}},
		{"compose with defaults in defaults", "compose.yaml", "services: {a: {image: '${A:-r.example/${B:-app}}:1'}}\n", []string{"r.example/app:1 other services.a.image"}},
		{"compose with a dollar", "compose.yaml", "services: {a: {image: 'a$$b'}}\n", []string{"a$b other services.a.image"}},
		{"compose with what must be set", "compose.yaml", "services: {a: {image: '${A:?set A}'}}\n", []string{"!1"}},
		{"compose with what depends on a variable", "compose.yaml", "services: {a: {image: 'a${A:+:1}'}}\n", []string{"!1"}},
		{"compose that builds, and pulls", "compose.yaml", "services: {a: {image: 'a:1', build: ., pull_policy: always}, b: {image: 'b:1', build: ., pull_policy: build}}\n", []string{"a:1 other services.a.image"}},
		{"compose of the first version", "docker-compose.yml", "web: {image: a}\n", []string{"a other services.web.image"}},
		{"compose with images in other places", "compose.yaml", "services:\n  a:\n    volumes: [{type: image, source: 'v:1'}, {type: bind, source: ./image}]\n    build:\n      additional_contexts: [x=docker-image://c:1, y=./dir]\n      dockerfile_inline: |\n        FROM d:1 AS b\n        FROM b\n", []string{"v:1 other services.a.volumes[0].source", "c:1 other services.a.build.additional_contexts[0]", "d:1 other services.a.build.dockerfile_inline"}},
		{"a matrix of images", ".github/workflows/a.yml", "jobs:\n  a:\n    strategy: {matrix: {img: ['a:1', 'b:2'], include: [{img: 'c:3'}]}}\n    container: ${{ matrix.img }}\n    services: {d: {image: 'd:${{ matrix.none }}'}}\n", []string{"a:1 other jobs.a.container", "b:2 other jobs.a.container", "c:3 other jobs.a.container", "!5"}},
		{"a matrix of tags", ".github/workflows/a.yml", "jobs:\n  a:\n    strategy: {matrix: {v: [16, 17]}}\n    container: {image: 'pg:${{ matrix.v }}'}\n", []string{"pg:16 other jobs.a.container.image", "pg:17 other jobs.a.container.image"}},
		{"a workflow of Forgejo", ".forgejo/workflows/a.yml", "jobs: {a: {container: node}}\n", []string{"node other jobs.a.container"}},
		{"gitlab with variables of the file", ".gitlab-ci.yml", "variables: {I: 'a:1', T: {value: '2', description: x}}\na: {image: $I}\nb: {image: '${I}'}\nc: {image: 'c:$T'}\nd: {image: $I, variables: {I: 'd:1'}}\n", []string{"a:1 other a.image", "c:2 other c.image", "d:1 other d.image"}},
		{"circle with a default", ".circleci/config.yml", "parameters: {i: {default: 'a:1'}}\njobs:\n  a: {docker: [{image: << pipeline.parameters.i >>}]}\n  b: {docker: [{image: 'b:<< parameters.t >>'}], parameters: {t: {default: '2'}}}\n", []string{"a:1 other jobs.a.docker[0].image", "b:2 other jobs.b.docker[0].image"}},
		{"a machine of circle is no container", ".circleci/config.yml", "jobs: {a: {machine: {image: 'ubuntu-2204:current'}}}\n", nil},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, found(t, tc.file, tc.text)); diff != "" {
				t.Errorf("%s (-want +got):\n%s\n%s", tc.file, diff, tc.text)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]manifest.Format{
		"Dockerfile": manifest.Dockerfile, "api.Dockerfile": manifest.Dockerfile, "Dockerfile.dev": manifest.Dockerfile, "Containerfile": manifest.Dockerfile,
		"Dockerfile.go": manifest.Dockerfile, "dockerfile.go": "", "dockerfile_test.go": "", "Dockerfile.md": "", "Dockerfile.dockerignore": "", "Dockerfile-dev": manifest.Dockerfile,
		"Dockerfile.yaml": manifest.Kubernetes, "deploy/main.tf": manifest.Terraform, ".devcontainer/go/devcontainer.json": manifest.Devcontainer, "Dockerfile-1.2": manifest.Dockerfile,
		"kustomization.yml": manifest.Kustomization, "a/.gitlab-ci.yml": manifest.GitLabCI, ".circleci/config.yml": manifest.CircleCI, "skaffold.yaml": manifest.Skaffold,
		".dockerignore": "", "README.md": "", "a/b.yaml": manifest.Kubernetes, "x.json": manifest.Kubernetes, "chart/values-prod.yml": manifest.HelmValues,
		"compose.yaml": manifest.Compose, ".github/workflows/a.yaml": manifest.GitHubActions, ".github/dependabot.yml": manifest.Kubernetes,
	} {
		if got := manifest.Detect(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	if r := manifest.Find(manifest.Kubernetes, make([]byte, manifest.MaxSize+1)); len(r.Unscannable) != 1 {
		t.Errorf("got %+v, want one that is too large", r)
	}
}

// TestAliasesAreBounded: a few lines of aliases that stand for billions.
func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: X\na0: &a0 {image: a:1}\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	manifest.Find(manifest.Kubernetes, []byte(b.String()))
}

func FuzzFind(f *testing.F) {
	f.Add("a.yaml", pod("  containers:\n  - image: &i \"nginx:1\"\n  - image: *i\n"))
	f.Add("values.yaml", "image:\n  repository: a\n  tag: >-\n    1\n")
	f.Add("kustomization.yaml", "images: [{name: a, newTag: 'b'}]")
	f.Add(".gitlab-ci.yml", "image: {name: a}")
	f.Add("a.json", "\ufeff{\t\"kind\":\"x\"}")
	f.Add("a.json", "{\"image\":\"a:1\"}{\"image\":\"b\\/c:1\"}")
	f.Add("main.tf", "resource \"kubernetes_pod\" \"p\" {\n  image = var.image\n  m = <<-EOT\n    image: \"a:${var.x}\"\n    EOT\n}\n")
	f.Add("main.tf", "resource \"kubernetes_pod\" \"p\" {\n  m = \"%{ if x }image: a${b}%{ endif }\"\n  image = { repository = \"a\", tag = \"b\" }\n}\n")
	f.Add("compose.yaml", "services: {a: {image: '${A:-b}', build: {dockerfile_inline: \"FROM x\\n\"}}}")
	f.Add(".circleci/config.yml", "jobs: {a: {docker: [{image: << parameters.i >>}], parameters: {i: {default: b}}}}")
	f.Add("a.yaml", "apiVersion: tekton.dev/v1\nkind: T\nparams: [{name: a, default: $(params.a)}]\nimage: x$(params.a)\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		format := manifest.Detect(name)
		if format == "" {
			return
		}
		data := []byte(text)
		for _, r := range manifest.Find(format, data).References {
			s := r.Span
			if s.Start < 0 || s.End < s.Start || s.End > len(data) || s.Line < 1 || s.Column < 1 {
				t.Fatalf("%q: span %+v of %q", text, s, r.Text)
			}
			if r.Split == nil && !r.Derived && format != manifest.Dockerfile && string(data[s.Start:s.End]) != r.Text {
				t.Fatalf("%q: the bytes of %q are %q", text, r.Text, data[s.Start:s.End])
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	data := []byte(pod("  containers:\n  - name: c\n    image: nginx:1\n    ports: [{containerPort: 80}]\n    env: [{name: A, value: b}]\n"))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var f manifest.Finder
	for b.Loop() {
		if r := f.Find(manifest.Kubernetes, data); len(r.References) != 1 {
			b.Fatal(r)
		}
	}
}
