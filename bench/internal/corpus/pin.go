package corpus

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An Image is a reference that a registry has, and its digest.
type Image struct {
	// Name is HOST/REPOSITORY, Tag the tag.
	Name, Tag, Digest string
}

// A PinFile is a file that was written to be pinned.
type PinFile struct {
	Name string // below the folder, with slashes
	// Before is what was written, and After what it is to be.
	Before, After string
	// Digests are those of its references, once for each.
	Digests []string
}

// WritePin writes n files of 25 kinds below dir, with references to images; the
// same for the same seed.
func WritePin(dir string, n int, images []Image, seed uint64) ([]PinFile, error) {
	files := make([]PinFile, n)
	for i := range n {
		p := &pinner{rand: rand.New(rand.NewPCG(seed, uint64(i))), images: images, number: i}
		kind := pinKinds[i%len(pinKinds)]
		kind.write(p)
		before, after := p.before.String(), p.after.String()
		if strings.HasSuffix(kind.name, ".yaml") {
			switch p.rand.IntN(40) {
			case 0:
				before, after = strings.ReplaceAll(before, "\n", "\r\n"), strings.ReplaceAll(after, "\n", "\r\n")
			case 1:
				before, after = "\ufeff"+before, "\ufeff"+after
			case 2:
				before, after = strings.TrimSuffix(before, "\n"), strings.TrimSuffix(after, "\n")
			}
		}
		name := fmt.Sprintf("team-%02d/app-%04d/", i%37, i) + strings.ReplaceAll(kind.name, "%d", strconv.Itoa(i))
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			return nil, err
		}
		files[i] = PinFile{name, before, after, p.digests}
	}
	return files, nil
}

type pinner struct {
	rand          *rand.Rand
	images        []Image
	number        int
	before, after strings.Builder
	digests       []string
}

func (p *pinner) put(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.before.WriteString(text)
	p.after.WriteString(text)
}

// ref writes a reference.
func (p *pinner) ref() {
	i := p.images[p.rand.IntN(len(p.images))]
	p.before.WriteString(i.Name + ":" + i.Tag)
	p.after.WriteString(i.Name + ":" + i.Tag + "@" + i.Digest)
	p.digests = append(p.digests, i.Digest)
}

// line is text with references in the places of §.
func (p *pinner) lines(text string) {
	for i, part := range strings.Split(text, "§") {
		if i > 0 {
			p.ref()
		}
		p.put("%s", part)
	}
}

func (p *pinner) one(of ...string) string { return of[p.rand.IntN(len(of))] }

// image is a value in one of the styles of YAML, on the line of its key.
func (p *pinner) image(indent string) string {
	return p.one("image: §\n", "image: §\n", "image: \"§\"\n", "image: '§'\n", "image:  §\n", "\"image\": §\n",
		"image: § # chosen by hand\n", "image: >-\n"+indent+"  §\n", "image: |-\n"+indent+"  §\n")
}

func (p *pinner) head(apiVersion, kind string) {
	p.put("# What %s %d is for. image: not/this:1\napiVersion: %s\nkind: %s\nmetadata:\n  name: app-%d # the name\n", kind, p.number, apiVersion, kind, p.number)
}

// containers is a list below a key at some depth.
func (p *pinner) containers(indent, key string, n int) {
	p.put("%s%s:\n", indent, key)
	for i := range n {
		p.put("%s- name: c%d # first\n", indent, i)
		p.lines(indent + "  " + p.image(indent+"  "))
		p.put("%s  args: [\"--image=not/this\", '-v'] # flow\n", indent)
	}
}

func (p *pinner) template(apiVersion, kind, indent, path string) {
	p.head(apiVersion, kind)
	p.put("%s", path)
	if p.rand.IntN(3) == 0 {
		p.containers(indent, "initContainers", 1)
	}
	p.containers(indent, "containers", 1+p.rand.IntN(3))
}

const template = "spec:\n  template:\n    spec:\n"

// pinKinds are the kinds of files. %d in a name is the number of the file.
var pinKinds = []struct {
	name  string
	write func(*pinner)
}{
	{"pod-%d.yaml", func(p *pinner) { p.template("v1", "Pod", "  ", "spec:\n") }},
	{"deploy-%d.yaml", func(p *pinner) { p.template("apps/v1", "Deployment", "      ", template) }},
	{"sts-%d.yaml", func(p *pinner) { p.template("apps/v1", "StatefulSet", "      ", template) }},
	{"ds-%d.yaml", func(p *pinner) { p.template("apps/v1", "DaemonSet", "      ", template) }},
	{"job-%d.yaml", func(p *pinner) { p.template("batch/v1", "Job", "      ", template) }},
	{"cron-%d.yaml", func(p *pinner) {
		p.template("batch/v1", "CronJob", "          ", "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n")
	}},
	{"debug-%d.yaml", func(p *pinner) {
		p.template("v1", "Pod", "  ", "spec:\n")
		p.containers("  ", "ephemeralContainers", 1)
	}},
	{"volume-%d.yaml", func(p *pinner) {
		p.template("v1", "Pod", "  ", "spec:\n")
		p.lines("  volumes:\n  - name: data\n    image:\n      reference: § # data\n")
	}},
	{"list-%d.yaml", func(p *pinner) {
		p.put("apiVersion: v1\nkind: List\nitems:\n")
		for i := range 2 {
			p.put("- apiVersion: v1\n  kind: Pod\n  metadata: {name: p%d}\n  spec:\n", i)
			p.containers("    ", "containers", 1)
		}
	}},
	{"flow-%d.yaml", func(p *pinner) {
		p.head("v1", "Pod")
		p.lines("spec: {containers: [{name: a, image: §}, {name: b, image: \"§\", env: [{name: X, value: 'not/this:1'}]}]} # one line\n")
	}},
	{"anchor-%d.yaml", func(p *pinner) {
		p.head("v1", "Pod")
		p.lines("spec:\n  containers:\n  - name: a\n    image: &img §\n  - name: b\n    image: *img # the same\n  - {name: c, image: *img}\n")
	}},
	{"many-%d.yaml", func(p *pinner) {
		p.template("v1", "Pod", "  ", "spec:\n")
		p.put("---\n# the second\n")
		p.template("apps/v1", "Deployment", "      ", template)
	}},
	{"rollout-%d.yaml", func(p *pinner) { p.template("argoproj.io/v1alpha1", "Rollout", "      ", template) }},
	{"workflow-%d.yaml", func(p *pinner) {
		p.head("argoproj.io/v1alpha1", "Workflow")
		p.lines("spec:\n  templates:\n  - name: a\n    container:\n      " + p.image("      ") + "      command: [sh]\n  - name: b\n    script:\n      image: §\n      source: |\n        echo image: not/this:1\n")
	}},
	{"task-%d.yaml", func(p *pinner) {
		p.head("tekton.dev/v1", "Task")
		p.lines("spec:\n  steps:\n  - name: a\n    " + p.image("    ") + "    script: |\n      # image: not/this:1\n      true\n")
	}},
	{"prometheus-%d.yaml", func(p *pinner) {
		p.head("monitoring.coreos.com/v1", "Prometheus")
		p.lines("spec:\n  " + p.image("  ") + "  replicas: 2\n")
	}},
	{"knative-%d.yaml", func(p *pinner) { p.template("serving.knative.dev/v1", "Service", "      ", template) }},
	{"pod-%d.json", func(p *pinner) {
		p.lines("{\n\t\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [\n\t\t{\"name\": \"a\", \"image\": \"§\"},\n\t\t{\"name\": \"b\", \"image\": \"§\"}\n\t]}\n}\n")
	}},
	{"values-%d.yaml", func(p *pinner) {
		for i := range 2 {
			x := p.images[p.rand.IntN(len(p.images))]
			p.digests = append(p.digests, x.Digest)
			p.put("part%d: # of the chart\n  image:\n    repository: %s\n    tag: \"", i, x.Name)
			p.before.WriteString(x.Tag)
			p.after.WriteString(x.Tag + "@" + x.Digest)
			p.put("\" # its tag\n    pullPolicy: Always\n")
		}
	}},
	{"kustomization.yaml", func(p *pinner) {
		p.put("resources: [deploy.yaml]\nimages: # overrides\n")
		for i := range 2 {
			x := p.images[p.rand.IntN(len(p.images))]
			p.digests = append(p.digests, x.Digest)
			p.put("- name: app%d\n  newName: %s\n  newTag: \"%s\" # why", i, x.Name, x.Tag)
			p.after.WriteString("\n  digest: " + x.Digest)
			p.put("\n")
		}
	}},
	{"Dockerfile", func(p *pinner) {
		p.lines("# escape=\\\nARG BASE=§\nFROM ${BASE} AS build\nRUN echo image: not/this:1 \\\n  && true\nFROM § AS final\nCOPY --from=build /a /b\nCOPY --from=§ /c /d\n")
	}},
	{"compose.yaml", func(p *pinner) {
		p.lines("services: # all\n  web:\n    " + p.image("    ") + "    ports: [\"80:80\"]\n  db: {image: '§', restart: always}\n")
	}},
	{".gitlab-ci.yml", func(p *pinner) {
		p.lines("image: § # for all\ntest:\n  services: [§]\n  script:\n  - docker run not/this:1\n")
	}},
	{"config-%d.tf", func(p *pinner) {
		p.lines("# image = \"not/this:1\"\nresource \"docker_image\" \"i\" {\n  name = \"§\" # the image\n}\n")
	}},
	{".github/workflows/ci.yml", func(p *pinner) {
		p.lines("on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    container: § # tests\n    services:\n      db:\n        image: \"§\"\n    steps:\n    - uses: docker://§\n      with: {args: not/this:1}\n")
	}},
}
