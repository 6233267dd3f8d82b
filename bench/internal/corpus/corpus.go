// Package corpus writes manifests as varied as those of real repositories, and
// knows which image references are in them: the truth comes from what it wrote,
// not from any parser.
package corpus

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// A Class says how a reference is wrong, or that it is not.
type Class string

// The classes, in the words of Tagwarden.
const (
	Untagged Class = "untagged"
	Latest   Class = "latest"
	Floating Class = "floating"
	Fixed    Class = "fixed"
	Pinned   Class = "digest"
	Invalid  Class = "invalid"
)

// A Reference is an image reference in a file.
type Reference struct {
	Line  int
	Text  string
	Class Class
	// Core is set for a regular or init container in a pod template of one of
	// Kubernetes' own kinds, where every scanner looks.
	Core bool
}

// A File is a file that was written.
type File struct {
	Name       string // below the folder, with slashes
	References []Reference
}

// Write writes n files below dir, the same for the same seed.
func Write(dir string, n int, seed uint64) ([]File, error) {
	files := make([]File, n)
	for i := range n {
		// Each file has its own source of chance: the corpus with fewer files is
		// the beginning of the one with more.
		g := &generator{rand: rand.New(rand.NewPCG(seed, uint64(i))), number: i}
		text := g.file()
		name := fmt.Sprintf("team-%02d/app-%03d/%05d%s", i%37, i%211, i, g.ext())
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		files[i] = File{name, g.references}
	}
	return files, nil
}

type generator struct {
	rand       *rand.Rand
	number     int
	b          strings.Builder
	references []Reference
	line       int
	json       bool
}

func (g *generator) ext() string {
	if g.json {
		return ".json"
	}
	return ".yaml"
}

// put writes a line, indented by depth.
func (g *generator) put(depth int, format string, args ...any) {
	g.line++
	g.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&g.b, format, args...)
	g.b.WriteByte('\n')
}

// note remembers a reference on the line that was written last.
func (g *generator) note(text string, class Class, core bool) {
	g.references = append(g.references, Reference{g.line, text, class, core})
}

func (g *generator) one(in int) bool { return g.rand.IntN(in) == 0 }

func pick[T any](g *generator, of ...T) T { return of[g.rand.IntN(len(of))] }

func (g *generator) hex(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte("0123456789abcdef"[g.rand.IntN(16)])
	}
	return b.String()
}

// image makes a reference.
func (g *generator) image() (text string, class Class) {
	name := pick(g, "nginx", "redis", "library/postgres", "quay.io/team/api", "ghcr.io/acme/web", "localhost:5000/app",
		"registry.example.com:443/shop/cart", "10.0.0.5:5000/job", "gcr.io/p/q/r", fmt.Sprintf("r%d.example/app", g.rand.IntN(50)))
	switch k := g.rand.IntN(100); {
	case k < 18:
		return name, Untagged
	case k < 32:
		return name + ":latest", Latest
	case k < 62:
		return name + ":" + pick(g, "1", "1.25", "16-alpine", "stable", "main", "v2", "nightly", "3.9-slim"), Floating
	case k < 88:
		return name + fmt.Sprintf(":%d.%d.%d", g.rand.IntN(9), g.rand.IntN(30), g.rand.IntN(30)), Fixed
	case k < 97:
		return name + "@sha256:" + g.hex(64), Pinned
	default:
		return name + pick(g, "@sha256:abc", "@md5:"+g.hex(32), "@latest", "@sha256:"+strings.ToUpper(g.hex(63))+"F"), Invalid
	}
}

// file writes one file. About 60 of 100 have no image.
func (g *generator) file() string {
	switch k := g.rand.IntN(100); {
	case k < 60:
		g.without()
	case k < 64:
		g.jsonPod()
	default:
		for range 1 + g.rand.IntN(2)*g.rand.IntN(3) {
			if g.line > 0 {
				g.put(0, "---")
			}
			g.with()
		}
	}
	text := g.b.String()
	if !g.json && g.one(60) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	if !g.json && g.one(80) {
		text = "\ufeff" + text
	}
	return text
}

func (g *generator) head(apiVersion, kind string) {
	if g.one(4) {
		g.put(0, "# image: not-a-reference:latest")
	}
	g.put(0, "apiVersion: %s", apiVersion)
	g.put(0, "kind: %s", kind)
	g.put(0, "metadata:")
	g.put(1, "name: app-%d", g.number)
	if g.one(2) {
		g.put(1, "namespace: %s", pick(g, "shop", "default", "kube-system", "dev"))
	}
	if g.one(2) {
		g.put(1, "labels: {app: app-%d, tier: %s}", g.number, pick(g, "web", "db"))
	}
	if g.one(3) {
		g.put(1, "annotations:")
		for i := range 1 + g.rand.IntN(4) {
			g.put(2, "example.com/note-%d: \"%s\"", i, strings.Repeat("words and words ", 1+g.rand.IntN(12)))
		}
	}
}

// without writes an object that has no image.
func (g *generator) without() {
	for range 1 + g.rand.IntN(3) {
		if g.line > 0 {
			g.put(0, "---")
		}
		switch g.rand.IntN(5) {
		case 0:
			g.head("v1", "Service")
			g.put(0, "spec:")
			g.put(1, "selector: {app: app-%d}", g.number)
			g.put(1, "ports:")
			g.put(1, "- {name: http, port: 80, targetPort: 8080}")
		case 1:
			g.head("v1", "ConfigMap")
			g.put(0, "data:")
			for i := range 1 + g.rand.IntN(8) {
				g.put(1, "file-%d.conf: |", i)
				for range 2 + g.rand.IntN(30) {
					g.put(2, "setting_%d = \"%s\"", g.rand.IntN(100), g.hex(20))
				}
			}
		case 2:
			g.head("rbac.authorization.k8s.io/v1", "ClusterRole")
			g.put(0, "rules:")
			for range 1 + g.rand.IntN(10) {
				g.put(0, "- apiGroups: [\"\", apps]")
				g.put(1, "resources: [pods, deployments]")
				g.put(1, "verbs: [get, list, watch]")
			}
		case 3:
			g.head("networking.k8s.io/v1", "Ingress")
			g.put(0, "spec:")
			g.put(1, "rules:")
			for i := range 1 + g.rand.IntN(5) {
				g.put(1, "- host: h%d.example.com", i)
				g.put(2, "http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}")
			}
		default:
			g.head("apiextensions.k8s.io/v1", "CustomResourceDefinition")
			g.put(0, "spec:")
			g.put(1, "group: example.com")
			g.put(1, "versions:")
			g.put(1, "- name: v1")
			g.put(2, "schema:")
			g.put(3, "openAPIV3Schema:")
			g.put(4, "properties:")
			for i := range 5 + g.rand.IntN(60) {
				g.put(5, "field%d:", i)
				g.put(6, "description: >-")
				g.put(7, "What the field means, on a line")
				g.put(7, "and on another line.")
				g.put(6, "type: string")
			}
		}
	}
}

// with writes an object that has images.
func (g *generator) with() {
	switch k := g.rand.IntN(20); {
	case k < 7:
		g.workload("apps/v1", pick(g, "Deployment", "Deployment", "StatefulSet", "DaemonSet"))
	case k < 9:
		g.workload("batch/v1", "Job")
	case k < 10:
		g.head("batch/v1", "CronJob")
		g.put(0, "spec:")
		g.put(1, "schedule: \"0 * * * *\"")
		g.put(1, "jobTemplate:")
		g.put(2, "spec:")
		g.put(3, "template:")
		g.put(4, "spec:")
		g.podSpec(5, true)
	case k < 12:
		g.head("v1", "Pod")
		g.put(0, "spec:")
		g.podSpec(1, true)
	case k < 13:
		g.head("argoproj.io/v1alpha1", "Rollout")
		g.put(0, "spec:")
		g.put(1, "template:")
		g.put(2, "spec:")
		g.podSpec(3, false)
	case k < 14:
		g.head("argoproj.io/v1alpha1", "Workflow")
		g.put(0, "spec:")
		g.put(1, "templates:")
		for i := range 1 + g.rand.IntN(4) {
			g.put(1, "- name: step-%d", i)
			g.put(2, "container:")
			g.imageLine(3, "", false)
			g.put(3, "command: [sh, -c]")
		}
	case k < 15:
		g.head("tekton.dev/v1", "Task")
		g.put(0, "spec:")
		g.put(1, "steps:")
		for i := range 1 + g.rand.IntN(4) {
			g.put(1, "- name: step-%d", i)
			g.imageLine(2, "", false)
			g.put(2, "script: |")
			g.put(3, "set -e")
			g.put(3, "echo \"image: no:latest\"")
		}
	case k < 16:
		g.head("monitoring.coreos.com/v1", "Prometheus")
		g.put(0, "spec:")
		g.imageLine(1, "", false)
		g.put(1, "replicas: 2")
	case k < 17:
		g.head("serving.knative.dev/v1", "Service")
		g.put(0, "spec:")
		g.put(1, "template:")
		g.put(2, "spec:")
		g.podSpec(3, false)
	case k < 18:
		g.put(0, "apiVersion: v1")
		g.put(0, "kind: List")
		g.put(0, "items:")
		for range 1 + g.rand.IntN(3) {
			g.put(0, "- apiVersion: v1")
			g.put(1, "kind: Pod")
			g.put(1, "metadata: {name: p%d}", g.rand.IntN(1000))
			g.put(1, "spec:")
			g.podSpec(2, false)
		}
	case k < 19:
		g.head("apps/v1", "Deployment")
		g.anchors()
	default:
		g.put(0, "apiVersion: apps/v1")
		g.put(0, "kind: DeploymentList")
		g.put(0, "items:")
		g.put(0, "- metadata: {name: d%d}", g.number)
		g.put(1, "spec:")
		g.put(2, "template:")
		g.put(3, "spec:")
		g.podSpec(4, false)
	}
}

func (g *generator) workload(apiVersion, kind string) {
	g.head(apiVersion, kind)
	g.put(0, "spec:")
	if kind != "Job" {
		g.put(1, "selector: {matchLabels: {app: app-%d}}", g.number)
	}
	g.put(1, "template:")
	g.put(2, "metadata:")
	g.put(3, "labels: {app: app-%d}", g.number)
	g.put(2, "spec:")
	g.podSpec(3, true)
}

// anchors writes containers that share a part.
func (g *generator) anchors() {
	g.put(0, "spec:")
	g.put(1, "template:")
	g.put(2, "spec:")
	g.put(3, "containers:")
	g.put(3, "- &first")
	g.put(4, "name: a")
	text, class := g.image()
	g.put(4, "image: &image %s", text)
	g.note(text, class, true)
	g.put(4, "env: [{name: A, value: b}]")
	g.put(3, "- <<: *first")
	g.put(4, "name: b")
	text, class = g.image()
	g.put(4, "image: %s", text)
	g.note(text, class, true)
	g.put(3, "- {name: c, image: *image}")
}

func (g *generator) podSpec(depth int, core bool) {
	if g.one(5) {
		g.put(depth, "initContainers:")
		g.container(depth, core)
		if g.one(3) {
			if g.container(depth, core) {
				g.put(depth+1, "restartPolicy: Always")
			}
		}
	}
	g.put(depth, "containers:")
	for range 1 + g.rand.IntN(2)*g.rand.IntN(3) {
		g.container(depth, core)
	}
	if g.one(25) {
		g.put(depth, "ephemeralContainers:")
		g.container(depth, false)
	}
	if g.one(20) {
		g.put(depth, "volumes:")
		g.put(depth, "- name: data")
		g.put(depth+1, "image:")
		text, class := g.image()
		g.put(depth+2, "reference: %s", text)
		g.note(text, class, false)
	}
	if g.one(3) {
		g.put(depth, "imagePullSecrets: [{name: pull}]")
	}
}

// container writes a member of a list of containers, and reports whether it can
// be gone on with.
func (g *generator) container(depth int, core bool) bool {
	if g.one(10) {
		text, class := g.image()
		g.put(depth, "- {name: c%d, image: \"%s\", imagePullPolicy: Always}", g.rand.IntN(100), text)
		g.note(text, class, core)
		return false
	}
	g.put(depth, "- name: c%d", g.rand.IntN(1000))
	g.imageLine(depth+1, pick(g, "", "", "", " # image: other:latest", " # pinned by hand"), core)
	if g.one(2) {
		g.put(depth+1, "args: [\"--image=not:this\", --verbose]")
	}
	if g.one(2) {
		g.put(depth+1, "env:")
		for i := range 1 + g.rand.IntN(6)*g.rand.IntN(8) {
			g.put(depth+1, "- name: VARIABLE_%d", i)
			g.put(depth+2, "value: \"%s\"", g.hex(1+g.rand.IntN(40)))
		}
	}
	if g.one(3) {
		g.put(depth+1, "command:")
		g.put(depth+1, "- sh")
		g.put(depth+1, "- -c")
		g.put(depth+1, "- |")
		for range 2 + g.rand.IntN(20) {
			g.put(depth+2, "echo \"step %d\" && image: x", g.rand.IntN(100))
		}
	}
	if g.one(2) {
		g.put(depth+1, "resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}")
	}
	if g.one(3) {
		g.put(depth+1, "ports:")
		g.put(depth+1, "- containerPort: 8080")
		g.put(depth+2, "name: http")
	}
	return true
}

// imageLine writes an image in one of the styles of YAML.
func (g *generator) imageLine(depth int, comment string, core bool) {
	text, class := g.image()
	switch g.rand.IntN(12) {
	case 0:
		g.put(depth, "image: '%s'%s", text, comment)
	case 1, 2, 3:
		g.put(depth, "image: \"%s\"%s", text, comment)
	case 4:
		g.put(depth, "image: >-")
		g.put(depth+1, "%s", text)
	case 5:
		g.put(depth, "\"image\":   %s%s", text, comment)
	default:
		g.put(depth, "image: %s%s", text, comment)
	}
	g.note(text, class, core)
}

func (g *generator) jsonPod() {
	g.json = true
	g.put(0, "{")
	g.put(1, "\"apiVersion\": \"v1\", \"kind\": \"Pod\",")
	g.put(1, "\"metadata\": {\"name\": \"p%d\"},", g.number)
	g.put(1, "\"spec\": {\"containers\": [")
	n := 1 + g.rand.IntN(3)
	for i := range n {
		text, class := g.image()
		end := ","
		if i == n-1 {
			end = ""
		}
		g.put(2, "{\"name\": \"c%d\", \"image\": \"%s\"}%s", i, text, end)
		g.note(text, class, true)
	}
	g.put(1, "]}")
	g.put(0, "}")
}
