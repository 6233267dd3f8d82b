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
		if ref.Split == nil && ref.Style == manifest.Plain && string(data[ref.Span.Start:ref.Span.End]) != ref.Text {
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
		{"no kubernetes object", "a.yaml", "image: nginx:1\n", nil},
		{"several documents", "a.yaml", pod("  containers: [{image: a:1}]\n") + "---\n" + pod("  containers: [{image: b:1}]\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a broken document costs no other", "a.yaml", "image: [\n---\n" + pod("  containers: [{image: b:1}]\n") + "---\n\timage: x\n", []string{"b:1 container " + c0, "x other image", "!1", "!8"}},
		{"a marker in a text ends the document all the same", "a.yaml", pod("  containers: [{image: a:1}]\n") + "--- # next\n" + pod("  containers: [{image: b:1}]\n"), []string{"a:1 container " + c0, "b:1 container " + c0}},
		{"a template", "a.yaml", pod("  containers:\n  - image: {{ .Values.image }}\n"), []string{"!6"}},
		{"a template that is no yaml; what a line shows is not lost", "a.yaml", "{{- if .x }}\n" + pod("  containers:\n  - image: nginx:1\n  - image: {{ .y }}\n{{- end }}\n"), []string{"nginx:1 other image", "!1"}},
		{"a template in quotes", "a.yaml", pod("  containers:\n  - image: \"{{ .Values.image }}\"\n"), []string{"!6"}},
		{"a variable", "a.yaml", pod("  containers:\n  - image: ${IMAGE}\n"), []string{"!6"}},
		{"escapes", "a.yaml", pod("  containers:\n  - image: \"ngin\\x78:1\"\n"), []string{"!6"}},
		{"several lines", "a.yaml", pod("  containers:\n  - image: >-\n      nginx\n      :1\n"), []string{"!6"}},
		{"json", "a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","image":"nginx:1"}]}}`, []string{"nginx:1 container " + c0}},
		{"json with tabs", "a.json", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\t\"image\":\t\"nginx:1\"}]}\n}", []string{"nginx:1 container " + c0}},
		{"json with a tab in a string", "a.json", "{\"x\":\"a\\tb\",\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":\"nginx:1\"}]}}", []string{"nginx:1 container " + c0}},
		{"an array of objects", "a.json", `[{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx:1"}]}}]`, []string{"nginx:1 container " + c0}},
		{"binary", "a.yaml", "image: \x00\x01", nil},
		{"empty", "a.yaml", "", nil},

		{"values", "values.yaml", "image: nginx:1\n", []string{"nginx:1 other image"}},
		{"values in fields", "values.yaml", "image:\n  registry: ghcr.io\n  repository: a/b\n  tag: \"1\"\n", []string{"ghcr.io/a/b:1 other image"}},
		{"values with a digest", "prod-values.yaml", "x:\n  image: {repository: a/b, tag: v1, digest: 'sha256:abc'}\n", []string{"a/b:v1@sha256:abc other x.image"}},
		{"values without a tag", "values.yaml", "image:\n  repository: a/b\n  tag: \"\"\n", []string{"a/b other image"}},
		{"values under another name", "values.yaml", "web:\n  repository: a/b\n  tag: v1\n", []string{"a/b:v1 other web"}},
		{"a repository that is no image", "values.yaml", "git:\n  repository: https://x/y\nimage: z:1\n", []string{"z:1 other image"}},
		{"kustomize", "kustomization.yaml", "images:\n- name: a\n  newName: b/c\n  newTag: v1\n- name: d\n- {name: e, digest: 'sha256:x', newTag: v1}\n", []string{"b/c:v1 other images[0]", "e@sha256:x other images[2]"}},
		{"compose", "docker-compose.yml", "services:\n  web: {image: nginx}\n  own: {build: ., image: mine}\n  db: {image: 'postgres:16'}\n", []string{"nginx other services.web.image", "postgres:16 other services.db.image"}},
		{"github workflow", ".github/workflows/ci.yml", "on: push\njobs:\n  a:\n    container: node:20\n    services: {db: {image: postgres}}\n    steps:\n    - uses: docker://alpine:3.20\n    - uses: actions/checkout@v4\n  b:\n    container: {image: golang}\n", []string{"node:20 other jobs.a.container", "postgres other jobs.a.services.db.image", "alpine:3.20 other jobs.a.steps[0].uses", "golang other jobs.b.container.image"}},
		{"a github action", "x/action.yml", "runs: {using: docker, image: 'docker://a:1'}\n", []string{"a:1 other runs.image"}},
		{"an action of a Dockerfile", "action.yml", "runs: {using: docker, image: Dockerfile}\n", nil},
		{"gitlab", ".gitlab-ci.yml", "image: ruby:3\nservices: [redis]\ntest:\n  image: {name: go:1}\n  services: [{name: pg:16}]\n", []string{"ruby:3 other image", "redis other services[0]", "go:1 other test.image.name", "pg:16 other test.services[0].name"}},
		{"circle", ".circleci/config.yml", "jobs:\n  a: {docker: [{image: cimg/go:1}, {image: pg}]}\nexecutors: {e: {docker: [{image: x:1}]}}\n", []string{"cimg/go:1 other jobs.a.docker[0].image", "pg other jobs.a.docker[1].image", "x:1 other executors.e.docker[0].image"}},
		{"skaffold", "skaffold.yaml", "build: {artifacts: [{image: a/b}]}\n", []string{"a/b other build.artifacts[0].image"}},
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
			if r.Split == nil && format != manifest.Dockerfile && string(data[s.Start:s.End]) != r.Text {
				t.Fatalf("%q: the bytes of %q are %q", text, r.Text, data[s.Start:s.End])
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	data := []byte(pod("  containers:\n  - name: c\n    image: nginx:1\n    ports: [{containerPort: 80}]\n    env: [{name: A, value: b}]\n"))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if r := manifest.Find(manifest.Kubernetes, data); len(r.References) != 1 {
			b.Fatal(r)
		}
	}
}
