package render_test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/render"
)

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: 'app:1.2.3'}]}\n"

func TestKustomize(t *testing.T) {
	t.Parallel()
	r := renderer(t)
	for _, test := range []struct {
		name, files string
		want        []string // images
		err         string   // a part of it
	}{
		{
			name:  "another name keeps the tag of the base",
			files: "-- over/kustomization.yaml --\nresources: [../base]\nimages: [{name: app, newName: reg.example/app}]\n-- base/kustomization.yml --\nresources: [p.yaml]\n-- base/p.yaml --\n" + pod,
			want:  []string{"reg.example/app:1.2.3"},
		},
		{
			name:  "a patch in place, and one in a file",
			files: "-- over/Kustomization --\nresources: [p.yaml]\npatches:\n- path: ../add.yaml\n- target: {kind: Pod}\n  patch: |-\n    - {op: replace, path: /spec/containers/0/image, value: 'patched:latest'}\n-- over/p.yaml --\n" + pod + "-- add.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {initContainers: [{name: i, image: 'init:2'}]}\n",
			want:  []string{"init:2", "patched:latest"},
		},
		{
			name:  "a component",
			files: "-- over/kustomization.yaml --\nresources: [p.yaml]\ncomponents: [../more]\n-- over/p.yaml --\n" + pod + "-- more/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: [{name: app, digest: 'sha256:1111111111111111111111111111111111111111111111111111111111111111'}]\n",
			want:  []string{"app@sha256:1111111111111111111111111111111111111111111111111111111111111111"},
		},
		{
			name:  "without anything that composes it is not rendered",
			files: "-- over/kustomization.yaml --\nresources: [p.yaml]\nimages: [{name: app, newTag: '2'}]\n-- over/p.yaml --\n" + pod,
		},
		{name: "a remote base", files: "-- over/kustomization.yaml --\nresources: ['https://example.com/x.yaml']\n", err: "https://example.com/x.yaml is remote"},
		{name: "a remote base without a scheme", files: "-- over/kustomization.yaml --\nresources: ['github.com/o/r//p?ref=v1']\n", err: "is remote"},
		{name: "git over ssh", files: "-- over/kustomization.yaml --\nbases: ['git@github.com:o/r.git']\n", err: "is remote"},
		{name: "in capital letters, which kustomize takes, too", files: "-- over/kustomization.yaml --\nResources: ['https://example.com/x.yaml']\n", err: "is remote"},
		{name: "in a base of a base", files: "-- over/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: ['https://example.com/x.yaml']\n", err: "is remote"},
		{name: "a remote patch", files: "-- over/kustomization.yaml --\nresources: [p.yaml]\npatches: [{path: 'https://example.com/p.yaml'}]\n-- over/p.yaml --\n" + pod, err: "is remote"},
		{name: "a remote file of a generator", files: "-- over/kustomization.yaml --\nconfigMapGenerator: [{name: a, files: ['k=https://example.com/p']}]\n", err: "is remote"},
		{name: "a folder that is called as a remote base", files: "-- over/kustomization.yaml --\nresources: [github.com/o/r]\nimages: [{name: a, newName: b}]\n-- over/github.com/o/r/kustomization.yaml --\nresources: []\n", err: "is remote, or may be"},
		{name: "a remote base with a line end", files: "-- over/kustomization.yaml --\nresources: [\"git@example.com:o/r\\n\"]\n", err: "is remote, or may be"},
		{name: "an address without slashes", files: "-- over/kustomization.yaml --\nresources: ['HTTPS:x']\n-- over/HTTPS:x --\n" + pod, err: "is remote, or may be"},
		{name: "a generator with a hidden address", files: "-- over/kustomization.yaml --\ngenerators: [g.yaml]\n-- over/g.yaml --\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [\"k=https\\x3a//example.com/p\"]\n", err: "not fetched"},
		{name: "generators in a folder", files: "-- over/kustomization.yaml --\ngenerators: [g]\n-- over/g/kustomization.yaml --\nresources: ['https://example.com/x']\n", err: "is remote"},
		{name: "a generator with an address", files: "-- over/kustomization.yaml --\ngenerators: [g.yaml]\n-- over/g.yaml --\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: ['k=https://example.com/p']\n", err: "not fetched"},
		{name: "one in place", files: "-- over/kustomization.yaml --\ngenerators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: g}\n  files: ['k=https://example.com/p']\n", err: "not fetched"},
		{name: "a Helm chart", files: "-- over/kustomization.yaml --\nhelmCharts: [{name: a, repo: 'https://example.com'}]\n", err: "inflates a Helm chart"},
		{name: "a program", files: "-- over/kustomization.yaml --\nresources: [p.yaml]\ntransformers: [t.yaml]\n-- over/t.yaml --\napiVersion: x/v1\nkind: T\nmetadata: {name: t, annotations: {config.kubernetes.io/function: 'exec: {path: ./x}'}}\n-- over/p.yaml --\n" + pod, err: "plugin"},
		{name: "outside of the tree", files: "-- over/kustomization.yaml --\nresources: [../../x]\n", err: "outside of what is scanned"},
		{name: "an absolute path", files: "-- over/kustomization.yaml --\nresources: [/etc]\n", err: "outside of what is scanned"},
		{name: "a circle", files: "-- over/kustomization.yaml --\nresources: [../b]\nimages: [{name: a, newName: b}]\n-- b/kustomization.yaml --\nresources: [../over]\n", err: "cycle"},
		{name: "no YAML", files: "-- over/kustomization.yaml --\nresources: [\n", err: "yaml"},
		{name: "an unknown field", files: "-- over/kustomization.yaml --\nresources: [p.yaml]\nnewNames: 1\n-- over/p.yaml --\n" + pod, err: "newNames"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			files := filesOf(test.files)
			read := func(name string) ([]byte, bool, error) {
				data, ok := files[path.Clean(name)]
				return data, ok, nil
			}
			got, err := r.Kustomize(t.Context(), read, "over")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want one line with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			images := imagesOf(render.Chart{Documents: []render.Document{{Data: got.Data}}})
			for i := range images {
				images[i] = strings.TrimSpace(images[i])
			}
			slices.Sort(images)
			if fmt.Sprint(images) != fmt.Sprint(test.want) {
				t.Errorf("images %q, want %q; made:\n%s", images, test.want, got.Data)
			}
		})
	}
}

func FuzzKustomize(f *testing.F) {
	f.Add("resources: [p.yaml]\nimages: [{name: app, newName: b}]\n")
	f.Add("resources: [p.yaml]\npatches: [{patch: '[]', target: {kind: Pod}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string][]byte{"over/kustomization.yaml": []byte(text), "over/p.yaml": []byte(pod)}
		found, _, err := render.GatherHere(func(name string) ([]byte, bool, error) {
			data, ok := files[path.Clean(name)]
			return data, ok, nil
		}, "over")
		// A plugin could fetch something, but for Serve.
		if err == nil && !regexp.MustCompile("(?i)generator|transformer|validator").MatchString(text) {
			_, _ = render.KustomizeHere(found.Files, "over")
		}
	})
}
