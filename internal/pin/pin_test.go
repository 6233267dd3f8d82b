package pin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// digestOf is the digest that a reference gets in these tests.
func digestOf(follows string) string { return registrytest.Digest([]byte(follows)) }

func commitOf(follows string) string { return digestOf(follows)[len("sha256:"):][:40] }

// fill replaces «reference» by its digest, and «action» by its commit.
func fill(text string) string {
	for {
		start := strings.Index(text, "«")
		if start < 0 {
			return text
		}
		end := start + strings.Index(text[start:], "»")
		follows := text[start+len("«") : end]
		with := digestOf(follows)
		if strings.Contains(follows, "@") {
			with = commitOf(follows)
		}
		text = text[:start] + with + text[end+len("»"):]
	}
}

// decide gives everything its digest, and knows nothing of names with "none".
func decide(_ context.Context, a *pin.Asked) pin.Decision {
	switch {
	case a.Digest != "" || a.Follows == "":
		return pin.Decision{}
	case strings.Contains(a.Follows, "none"):
		return pin.Decision{Err: fmt.Errorf("nobody knows %s", a.Follows)}
	case a.Action:
		return pin.Decision{Digest: "git:" + commitOf(a.Follows), From: "test"}
	}
	return pin.Decision{Digest: digestOf(a.Follows), From: "test"}
}

func edit(t *testing.T, style pin.Style, name, text string) *pin.Edited {
	t.Helper()
	e := pin.Editor{Style: style, Decide: decide}
	got, err := e.Edit(t.Context(), name, manifest.Detect(name), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// reasons are those for which references were left.
func reasons(e *pin.Edited) []string {
	var all []string
	for i := range e.Items {
		if item := &e.Items[i]; item.Err != nil {
			all = append(all, fmt.Sprintf("%d: %s: %v", item.Line, item.Before, item.Err))
		}
	}
	for _, u := range e.Unscannable {
		all = append(all, u.Error())
	}
	return all
}

const (
	nginx  = "«docker.io/library/nginx:1.25»"
	latest = "«docker.io/library/nginx:latest»"
	head   = "apiVersion: v1\nkind: Pod\nspec:\n"
	images = "apiVersion: kustomize.config.k8s.io/v1beta1\nimages:\n"
)

// TestEdit: want is "" where nothing changes.
func TestEdit(t *testing.T) {
	t.Parallel()
	comments := pin.Style{Comment: true}
	renovate := pin.Style{Renovate: true}
	for _, tc := range []struct {
		why, file  string
		style      pin.Style
		text, want string
		left       []string
	}{
		{why: "plain", file: "a.yaml", text: head + "  containers:\n  - image: nginx:1.25\n", want: head + "  containers:\n  - image: nginx:1.25@" + nginx + "\n"},
		{why: "quotes stay", file: "a.yaml", text: head + "  containers:\n  - image: \"nginx:1.25\"\n  - image: 'nginx:1.25' # why\n", want: head + "  containers:\n  - image: \"nginx:1.25@" + nginx + "\"\n  - image: 'nginx:1.25@" + nginx + "' # why\n"},
		{why: "the name stays as it is spelt", file: "a.yaml", text: head + "  containers:\n  - image: docker.io/nginx:1.25\n", want: head + "  containers:\n  - image: docker.io/nginx:1.25@" + nginx + "\n"},
		{why: "no tag is latest", file: "a.yaml", text: head + "  containers: [{image: nginx}]\n", want: head + "  containers: [{image: nginx:latest@" + latest + "}]\n"},
		{why: "several on a line", file: "a.yaml", text: head + "  containers: [{image: nginx:1.25}, {image: \"nginx\"}]\n", want: head + "  containers: [{image: nginx:1.25@" + nginx + "}, {image: \"nginx:latest@" + latest + "\"}]\n"},
		{why: "folded", file: "a.yaml", text: head + "  containers:\n  - image: >-\n      nginx:1.25\n    name: a\n", want: head + "  containers:\n  - image: >-\n      nginx:1.25@" + nginx + "\n    name: a\n"},
		{why: "literal", file: "a.yaml", text: head + "  containers:\n  - image: |\n      nginx:1.25\n    name: a\n", want: head + "  containers:\n  - image: |\n      nginx:1.25@" + nginx + "\n    name: a\n"},
		{why: "an anchor is changed once", file: "a.yaml", text: head + "  containers:\n  - image: &i nginx:1.25\n  - image: *i\n", want: head + "  containers:\n  - image: &i nginx:1.25@" + nginx + "\n  - image: *i\n"},
		{why: "windows line ends and a byte order mark", file: "a.yaml", text: "\ufeff" + strings.ReplaceAll(head+"  containers:\n  - image: nginx:1.25\n", "\n", "\r\n"), want: "\ufeff" + strings.ReplaceAll(head+"  containers:\n  - image: nginx:1.25@"+nginx+"\n", "\n", "\r\n")},
		{why: "no line end at the end", file: "a.yaml", text: head + "  containers:\n  - image: nginx:1.25", want: head + "  containers:\n  - image: nginx:1.25@" + nginx},
		{why: "json", file: "a.json", text: "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"image\": \"nginx:1.25\"}]}\n}", style: comments, want: "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"image\": \"nginx:1.25@" + nginx + "\"}]}\n}"},
		{why: "it has a digest", file: "a.yaml", text: head + "  containers: [{image: 'nginx:1.25@" + nginx + "'}]\n"},
		{why: "one of two is not known", file: "a.yaml", text: head + "  containers:\n  - image: none:1\n  - image: nginx:1.25\n", want: head + "  containers:\n  - image: none:1\n  - image: nginx:1.25@" + nginx + "\n", left: []string{"5: none:1: nobody knows docker.io/library/none:1"}},
		{why: "a document that cannot be parsed costs no other", file: "a.yaml", text: head + "  containers: [{image: nginx:1.25}]\n---\n{{ if x }}\nimage: nginx:1.25\n", want: head + "  containers: [{image: nginx:1.25@" + nginx + "}]\n---\n{{ if x }}\nimage: nginx:1.25\n", left: []string{
			"7: nginx:1.25: its document cannot be parsed, so that nothing can be proven of a change",
			"line 5: a template; render it first, as with: helm template CHART | tagwarden scan -",
		}},
		{why: "not a reference", file: "a.yaml", text: head + "  containers: [{image: 'nginx:1:2'}]\n", left: []string{`4: nginx:1:2: not a reference: a second ':'; there is one tag, after the last '/'`}},

		{why: "a comment", file: "a.yaml", style: comments, text: head + "  containers:\n  - image: \"nginx:1.25\"\n  - image: nginx:1.25   # mine\n  - {image: nginx:1.25}\n", want: head + "  containers:\n  - image: \"nginx@" + nginx + "\" # 1.25\n  - image: nginx@" + nginx + " # 1.25   # mine\n  - {image: nginx:1.25@" + nginx + "}\n"},
		{why: "a comment with a tag that is a word", file: "a.yaml", style: comments, text: head + "  containers:\n  - image: nginx:stable\n", want: head + "  containers:\n  - image: nginx@«docker.io/library/nginx:stable» # tag=stable\n"},
		{why: "no comment in a Dockerfile", file: "Dockerfile", style: comments, text: "FROM nginx:1.25\n", want: "FROM nginx:1.25@" + nginx + "\n"},

		{why: "values", file: "values.yaml", text: "image:\n  repository: nginx\n  tag: 1.25\n", want: "image:\n  repository: nginx\n  tag: 1.25@" + nginx + "\n"},
		{why: "values with quotes", file: "values.yaml", text: "image: {repository: nginx, tag: \"1.25\"}\n", want: "image: {repository: nginx, tag: \"1.25@" + nginx + "\"}\n"},
		{why: "values with an empty digest", file: "values.yaml", text: "image:\n  repository: nginx\n  tag: 1.25\n  digest: \"\"\n", want: "image:\n  repository: nginx\n  tag: 1.25\n  digest: \"" + nginx + "\"\n"},
		{why: "values with no digest yet", file: "values.yaml", text: "image:\n  repository: nginx\n  digest: # of it\n  tag: 1.25\n", want: "image:\n  repository: nginx\n  digest: " + nginx + " # of it\n  tag: 1.25\n"},
		{why: "values with a null digest", file: "values.yaml", text: "image: {repository: nginx, digest: ~, tag: '1.25'}\n", want: "image: {repository: nginx, digest: " + nginx + ", tag: '1.25'}\n"},
		{why: "values with a digest", file: "values.yaml", text: "image: {repository: nginx, digest: '" + nginx + "', tag: '1.25'}\n"},
		{why: "values whose tag the chart knows", file: "values.yaml", text: "image:\n  repository: nginx\n  tag: \"\"\n", left: []string{"2: nginx: the tag is chosen elsewhere: the fields here have none"}},
		{why: "values in the old style", file: "values.yaml", text: "image: nginx\nimageTag: '1.25'\n", want: "image: nginx\nimageTag: '1.25@" + nginx + "'\n"},
		{why: "values with a name that a tag is put to", file: "values.yaml", text: "image: nginx\nrelease: '1.25'\n", left: []string{"1: nginx: it has no tag, and whoever reads the field may put one to it; write the tag"}},
		{why: "an operator that knows the version", file: "a.yaml", text: "apiVersion: x/v1\nkind: X\nspec: {image: nginx, version: '1'}\n", left: []string{"3: nginx: it has no tag, and whoever reads the field may put one to it; write the tag"}},
		{why: "a workflow runs it as it stands", file: "a.yaml", text: "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{container: {image: nginx}}]}\n", want: "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {templates: [{container: {image: nginx:latest@" + latest + "}}]}\n"},
		{why: "values that share a tag", file: "values.yaml", text: "t: &t v1\na: {image: {repository: nginx, tag: *t}}\nb: {image: {repository: redis, tag: *t}}\n", left: []string{
			"1: nginx:v1: a part of it has an anchor, by which it may stand elsewhere, too; write the fields out",
			"1: redis:v1: a part of it has an anchor, by which it may stand elsewhere, too; write the fields out",
		}},
		{why: "values that share a tag by a merge key", file: "values.yaml", text: "a: &a {repository: nginx, tag: v1}\nimage: {<<: *a, repository: redis}\n", left: []string{
			"1: nginx:v1: several references share these bytes and have different digests; write them apart",
			"1: redis:v1: several references share these bytes and have different digests; write them apart",
		}},

		{why: "kustomize", file: "kustomization.yaml", text: images + "- name: nginx\n  newTag: \"1.25\" # mine\n- newTag: '1.25'\n  name: nginx\n", want: images + "- name: nginx\n  newTag: \"1.25\" # mine\n  digest: " + nginx + "\n- newTag: '1.25'\n  digest: " + nginx + "\n  name: nginx\n"},
		{why: "kustomize at the end", file: "kustomization.yaml", text: images + "  - newTag: 1.25\n    newName: nginx\n  - name: x\n    newName: nginx\n    newTag: 1.25", want: images + "  - newTag: 1.25\n    digest: " + nginx + "\n    newName: nginx\n  - name: x\n    newName: nginx\n    newTag: 1.25\n    digest: " + nginx},
		{why: "kustomize with windows line ends", file: "kustomization.yaml", text: strings.ReplaceAll(images+"- name: nginx\n  newTag: 1.25\n", "\n", "\r\n"), want: strings.ReplaceAll(images+"- name: nginx\n  newTag: 1.25\n  digest: "+nginx+"\n", "\n", "\r\n")},
		{why: "kustomize in a line", file: "kustomization.yaml", text: "images: [{name: nginx, newTag: '1.25'}, {newTag: 1.25 , name: nginx}]\n", want: "images: [{name: nginx, newTag: '1.25', digest: " + nginx + "}, {newTag: 1.25, digest: " + nginx + " , name: nginx}]\n"},
		{why: "kustomize in several lines of braces", file: "kustomization.yaml", text: "images: [\n  {\n    name: nginx,\n    newTag: 1.25 # x\n  }\n]\n", want: "images: [\n  {\n    name: nginx,\n    newTag: 1.25, digest: " + nginx + " # x\n  }\n]\n"},
		{why: "kustomize as json", file: "kustomization.yaml", text: `{"images": [{"name": "nginx", "newTag": "1.25"}]}`, want: `{"images": [{"name": "nginx", "newTag": "1.25", "digest": "` + nginx + `"}]}`},
		{why: "kustomize with an empty digest", file: "kustomization.yaml", text: images + "- name: nginx\n  digest: ''\n  newTag: 1.25\n", want: images + "- name: nginx\n  digest: '" + nginx + "'\n  newTag: 1.25\n"},
		{why: "kustomize with a digest", file: "kustomization.yaml", text: images + "- name: nginx\n  digest: " + nginx + "\n  newTag: 1.25\n"},
		{why: "kustomize for renovate", file: "kustomization.yaml", style: renovate, text: images + "- name: nginx\n  newTag: \"1.25\"\n", want: images + "- name: nginx\n  newTag: \"1.25@" + nginx + "\"\n"},
		{why: "kustomize with newTag elsewhere", file: "kustomization.yaml", text: images + "- name: nginx\n  newTag:\n    1.25\n", left: []string{"5: nginx:1.25: newTag and its value are not on one line; write a digest beside it"}},
		{why: "kustomize with a tag in the name of an anchor", file: "kustomization.yaml", text: "t: &t 1.25\n" + images + "- {name: nginx, newTag: *t}\n", left: []string{"1: nginx:1.25: a part of it has an anchor, by which it may stand elsewhere, too; write the fields out"}},

		{why: "from", file: "Dockerfile", text: "FROM nginx:1.25 AS a\nCOPY --from=nginx /x /y\nFROM a\n", want: "FROM nginx:1.25@" + nginx + " AS a\nCOPY --from=nginx:latest@" + latest + " /x /y\nFROM a\n"},
		{why: "the whole default of an argument", file: "Dockerfile", text: "ARG BASE=\"nginx:1.25\"\nFROM $BASE\nLABEL base=$BASE\n", want: "ARG BASE=\"nginx:1.25@" + nginx + "\"\nFROM $BASE\nLABEL base=$BASE\n"},
		{why: "the tag in an argument", file: "Dockerfile", text: "ARG TAG=1.25\nFROM nginx:${TAG} AS a\nFROM nginx:$TAG\n", want: "ARG TAG=1.25@" + nginx + "\nFROM nginx:${TAG} AS a\nFROM nginx:$TAG\n"},
		{why: "an argument that is used otherwise, too", file: "Dockerfile", text: "ARG TAG=1.25\nFROM nginx:${TAG}\nARG TAG\nRUN fetch/$TAG\n", left: []string{"1: nginx:1.25: its variable TAG is used for other things, too; write the digest by hand"}},
		{why: "an argument of two images", file: "Dockerfile", text: "ARG TAG=1.25\nFROM nginx:${TAG}\nFROM redis:${TAG}\n", left: []string{
			"1: nginx:1.25: several references share these bytes and have different digests; write them apart",
			"1: redis:1.25: several references share these bytes and have different digests; write them apart",
		}},
		{why: "an argument that is a part of a tag", file: "Dockerfile", text: "ARG TAG=1.25\nFROM nginx:${TAG}-alpine\n", left: []string{"2: nginx:1.25-alpine: it is put together of several variables; write the digest into one of them"}},
		{why: "an argument that is a tag and a part of one", file: "Dockerfile", text: "ARG TAG=1.25\nFROM nginx:${TAG}\nFROM none:${TAG}-alpine\n", left: []string{
			"1: nginx:1.25: refused, since more than the reference would change: line 3: nothing is found as none:1.25-alpine",
			"3: none:1.25-alpine: nobody knows docker.io/library/none:1.25-alpine",
		}},
		{why: "the registry in an argument", file: "Dockerfile", text: "ARG REG=docker.io/library\nFROM ${REG}/nginx:1.25\n", want: "ARG REG=docker.io/library\nFROM ${REG}/nginx:1.25@" + nginx + "\n"},

		{why: "compose", file: "compose.yaml", text: "services: {a: {image: 'nginx:1.25'}, b: {image: 'nginx:${T:-1.25}'}}\n", want: "services: {a: {image: 'nginx:1.25@" + nginx + "'}, b: {image: 'nginx:${T:-1.25}'}}\n", left: []string{"1: nginx:1.25: a variable stands for a part of it; write the digest into its value"}},
		{why: "an action", file: ".github/workflows/a.yml", text: "jobs:\n  a:\n    steps:\n    - uses: actions/checkout@v4\n    - uses: \"a/b/c@v1.2\" # x\n    - uses: docker://nginx:1.25\n    - uses: ./mine\n", want: "jobs:\n  a:\n    steps:\n    - uses: actions/checkout@«actions/checkout@v4» # v4\n    - uses: \"a/b/c@«a/b@v1.2»\" # v1.2 # x\n    - uses: docker://nginx:1.25@" + nginx + "\n    - uses: ./mine\n"},
		{why: "an action in braces", file: ".github/workflows/a.yml", text: "jobs: {a: {steps: [{uses: actions/checkout@v4}]}}\n", left: []string{"1: actions/checkout@v4: there is no room for a comment with the tag on its line; write it on a line of its own"}},
		{why: "an action with a commit", file: ".github/workflows/a.yml", text: "jobs: {a: {steps: [{uses: actions/checkout@«actions/checkout@v4»}]}}\n"},
		{why: "terraform", file: "main.tf", text: "resource \"docker_image\" \"i\" {\n  name = \"nginx:1.25\" # x\n}\n", want: "resource \"docker_image\" \"i\" {\n  name = \"nginx:1.25@" + nginx + "\" # x\n}\n"},
		{why: "a development container", file: "devcontainer.json", text: "{\n\t// x\n\t\"image\": \"nginx:1.25\",\n\t\"features\": {\"ghcr.io/d/f/go:1\": {}}\n}", want: "{\n\t// x\n\t\"image\": \"nginx:1.25@" + nginx + "\",\n\t\"features\": {\"ghcr.io/d/f/go@«ghcr.io/d/f/go:1»\": {}}\n}"},
		{why: "what is built and what is no image", file: "skaffold.yaml", text: "build: {artifacts: [{image: a/b}]}\n"},
		{why: "gitlab", file: ".gitlab-ci.yml", text: "image: nginx:1.25\nb: {services: [nginx]}\n", want: "image: nginx:1.25@" + nginx + "\nb: {services: [nginx:latest@" + latest + "]}\n"},
		{why: "circle", file: ".circleci/config.yml", text: "jobs: {a: {docker: [{image: nginx:1.25}]}}\n", want: "jobs: {a: {docker: [{image: nginx:1.25@" + nginx + "}]}}\n"},
		{why: "a resource list", file: "a.yaml", text: "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {containers: [{image: nginx:1.25}]}\n", want: "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec: {containers: [{image: nginx:1.25@" + nginx + "}]}\n"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			text, want := fill(tc.text), fill(tc.want)
			if tc.want == "" {
				want = text
			}
			got := edit(t, tc.style, tc.file, text)
			if diff := cmp.Diff(want, string(got.Text)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			for i := range tc.left {
				tc.left[i] = fill(tc.left[i])
			}
			if diff := cmp.Diff(tc.left, reasons(got)); diff != "" {
				t.Errorf("left, -want +got\n%s", diff)
			}
			if got.Changed != (text != want) {
				t.Errorf("changed is %v", got.Changed)
			}
			// Again: nothing is left to do.
			again := edit(t, tc.style, tc.file, string(got.Text))
			if again.Changed || string(again.Text) != string(got.Text) {
				t.Errorf("a second time it became\n%s", again.Text)
			}
		})
	}
}

// TestFollows: what stands beside a digest says which tag it follows, or not.
func TestFollows(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		"1.25": "docker.io/library/nginx:1.25", "1.25 # mine": "docker.io/library/nginx:1.25", "latest": "docker.io/library/nginx:latest",
		"tag=stable": "docker.io/library/nginx:stable", "renovate: tag=v1": "docker.io/library/nginx:v1", "@v1": "docker.io/library/nginx:v1",
		"ratchet:nginx@1.25": "docker.io/library/nginx:1.25", "": "", "pinned": "", "pinned by 2 people": "", "tag=a b": "", "tag=a:b": "",
	} {
		text := head + "  containers:\n  - image: nginx@" + digestOf("x") + " # " + comment + "\n"
		if got := edit(t, pin.Style{}, "a.yaml", text).Items[0].Follows; got != want {
			t.Errorf("%q: got %q, want %q", comment, got, want)
		}
	}
}

// BenchmarkEdit pins a deployment of a few lines.
func BenchmarkEdit(b *testing.B) {
	text := []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, labels: {app: a}}\nspec:\n  template:\n    spec:\n      containers:\n" +
		"      - name: a\n        image: nginx:1.25 # x\n        args: [\"-v\"]\n      - {name: b, image: \"redis:7\"}\n")
	e := pin.Editor{Decide: decide}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := e.Edit(b.Context(), "a.yaml", manifest.Kubernetes, text)
		if err != nil || !got.Changed {
			b.Fatal(got, err)
		}
	}
}
