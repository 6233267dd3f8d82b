package falco

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// startEvent is a container start as a program that embeds the engine has
// it: fields by number.
type startEvent struct {
	id, name, image, repository, tag, digest, namespace, pod string
}

const (
	_ = iota
	slotType
	slotID
	slotName
	slotImage
	slotRepository
	slotTag
	slotDigest
	slotNamespace
	slotPod
)

func (e *startEvent) Type() string { return "container" }

func (e *startEvent) Field(f *FieldRef) Value {
	switch f.Slot {
	case slotType:
		return StringValue("container")
	case slotID:
		return StringValue(e.id)
	case slotName:
		return StringValue(e.name)
	case slotImage:
		return StringValue(e.image)
	case slotRepository:
		return StringValue(e.repository)
	case slotTag:
		return StringValue(e.tag)
	case slotDigest:
		return StringValue(e.digest)
	case slotNamespace:
		return StringValue(e.namespace)
	case slotPod:
		return StringValue(e.pod)
	}
	return Value{}
}

// startCatalog has the slots of startEvent.
func startCatalog(t testing.TB) *Catalog {
	t.Helper()
	cat, err := DefaultCatalog().Bind(map[string]int{
		"evt.type": slotType, "container.id": slotID, "container.name": slotName, "container.image": slotImage,
		"container.image.repository": slotRepository, "container.image.tag": slotTag,
		"container.image.digest": slotDigest, "k8s.ns.name": slotNamespace, "k8s.pod.name": slotPod,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func newStart() *startEvent {
	return &startEvent{
		id: "3ad7b26ded6d", name: "web", image: "docker.io/library/nginx:1.25.3", repository: "docker.io/library/nginx", tag: "1.25.3",
		digest: "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1", namespace: "default", pod: "web-0",
	}
}

// slotEvent is an event of any type whose values stand in the order of their
// slots.
type slotEvent struct {
	typ    string
	values []Value
}

func (e *slotEvent) Type() string { return e.typ }

func (e *slotEvent) Field(f *FieldRef) Value {
	if f.Slot < len(e.values) {
		return e.values[f.Slot]
	}
	return Value{}
}

// newSlotEvent makes an event of values and a catalogue with its slots.
func newSlotEvent(t testing.TB, values mapEvent) (*slotEvent, *Catalog) {
	t.Helper()
	ev := &slotEvent{values["evt.type"].str, make([]Value, 1)}
	slots := map[string]int{}
	for name, v := range values {
		slots[name] = len(ev.values)
		ev.values = append(ev.values, v)
	}
	cat, err := DefaultCatalog().Bind(slots)
	if err != nil {
		t.Fatal(err)
	}
	return ev, cat
}

// lab010 are the rules of LAB-010 with what they leave undefined.
func lab010(t testing.TB) []File {
	t.Helper()
	data, err := os.ReadFile("testdata/lab-010.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return []File{{"defined.yaml", []byte(`
- macro: container
  condition: (container.id != host)
- list: known_debug_images
  items: [busybox, docker.io/library/busybox, nicolaka/netshoot, docker.io/nicolaka/netshoot]
`)}, {"lab-010.yaml", data}}
}

func benchmarkEvaluate(b *testing.B, files []File, cat *Catalog, ev Event) {
	b.Helper()
	set, results := Load(files, Options{Catalog: cat})
	if set == nil {
		b.Fatal(problems(results))
	}
	dst := make([]*Rule, 0, len(set.Rules()))
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		dst = set.Evaluate(dst[:0], ev)
	}
	if used := cpuTime(b) - before; used > 0 {
		b.ReportMetric(float64(b.N)/used.Seconds()/1e6, "Mevents/cpu-s")
	}
}

func BenchmarkPublishedRules(b *testing.B) {
	latest := newStart()
	latest.tag = "latest"
	production := newStart()
	production.namespace = "production"
	for name, ev := range map[string]*startEvent{"none": newStart(), "latest": latest, "production": production} {
		b.Run(name, func(b *testing.B) { benchmarkEvaluate(b, lab010(b), startCatalog(b), ev) })
	}
}

// BenchmarkFalcosRules takes Falco's own rules files, if they are there.
func BenchmarkFalcosRules(b *testing.B) {
	base := falcosFiles(b, "falco_rules.yaml")
	all := falcosFiles(b, "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
	exec, execCatalog := newSlotEvent(b, mapEvent{
		"evt.type": StringValue("execve"), "proc.name": StringValue("nginx"), "proc.pname": StringValue("containerd-shim"),
		"proc.exe": StringValue("/usr/sbin/nginx"), "proc.exepath": StringValue("/usr/sbin/nginx"), "proc.cmdline": StringValue("nginx -g daemon"),
		"container.id": StringValue("3ad7b26ded6d"), "container.image.repository": StringValue("docker.io/library/nginx"),
		"user.name": StringValue("root"), "user.uid": UintValue(0), "user.loginuid": IntValue(-1), "proc.tty": UintValue(0),
		"evt.rawres": IntValue(0), "k8s.ns.name": StringValue("default"), "proc.vpid": IntValue(1), "proc.args": ListValue(StringValue("-g"), StringValue("daemon")),
	})
	open, openCatalog := newSlotEvent(b, mapEvent{
		"evt.type": StringValue("openat"), "proc.name": StringValue("nginx"), "proc.pname": StringValue("containerd-shim"),
		"fd.name": StringValue("/usr/share/nginx/html/index.html"), "fd.num": IntValue(9), "fd.typechar": StringValue("f"),
		"fd.directory": StringValue("/usr/share/nginx/html"), "fd.filename": StringValue("index.html"),
		"evt.is_open_read": BoolValue(true), "evt.is_open_write": BoolValue(false), "evt.is_open_create": BoolValue(false), "evt.is_open_exec": BoolValue(false),
		"container.id": StringValue("3ad7b26ded6d"), "user.name": StringValue("root"), "user.uid": UintValue(0), "proc.exepath": StringValue("/usr/sbin/nginx"),
		"container.image.repository": StringValue("docker.io/library/nginx"), "proc.cmdline": StringValue("nginx -g daemon"),
	})
	for _, c := range []struct {
		name  string
		files []File
		cat   *Catalog
		ev    Event
	}{
		{"25/start", base, startCatalog(b), newStart()},
		{"25/execve", base, execCatalog, exec},
		{"25/openat", base, openCatalog, open},
		{"95/start", append(slices.Clone(all), lab010(b)[0], lab010(b)[1]), startCatalog(b), newStart()},
		{"93/execve", all, execCatalog, exec},
		{"93/openat", all, openCatalog, open},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkEvaluate(b, c.files, c.cat, c.ev) })
	}
}

func BenchmarkAlert(b *testing.B) {
	set, results := Load(lab010(b), Options{Catalog: startCatalog(b)})
	if set == nil {
		b.Fatal(problems(results))
	}
	ev, at := newStart(), time.Unix(1795417503, 42)
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = set.Rules()[0].Alert(ev, at, "node-1").AppendJSON(line[:0])
	}
}

func BenchmarkLoad(b *testing.B) {
	benchmarkLoad := func(b *testing.B, files []File) {
		b.Helper()
		b.ReportAllocs()
		before := cpuTime(b)
		for b.Loop() {
			if set, results := Load(files, Options{}); set == nil {
				b.Fatal(problems(results))
			}
		}
		b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
	}
	b.Run("2", func(b *testing.B) { benchmarkLoad(b, lab010(b)) })
	b.Run("generated/95", func(b *testing.B) { benchmarkLoad(b, generatedRules(95)) })
	b.Run("falco/93", func(b *testing.B) {
		benchmarkLoad(b, falcosFiles(b, "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"))
	})
}

// generatedRules are as many rules about container starts as a large rules file
// has: shared macros and lists, exceptions, and a few that need system calls.
func generatedRules(n int) []File {
	var b strings.Builder
	b.WriteString(`
- macro: container
  condition: (container.id != host)
- macro: started
  condition: (evt.type = container and container)
- list: trusted
  items: [docker.io/library/nginx, docker.io/library/redis, registry.k8s.io/pause, quay.io/prometheus/node-exporter]
- macro: trusted_image
  condition: (container.image.repository in (trusted) or container.image.repository startswith registry.example.com/)
- macro: production
  condition: (k8s.ns.name in (production, prod) or k8s.ns.name endswith -production)
`)
	conditions := []string{
		"started and not trusted_image and container.image.tag in (latest, edge, v%[1]d)",
		"started and production and container.image.repository = docker.io/shop/service-%[1]d",
		"started and container.image.repository in (docker.io/miner/m%[1]d, docker.io/miner/x%[1]d) and not production",
		"started and container.privileged = true and container.name = job-%[1]d and not trusted_image",
		"started and container.image.digest startswith sha256:%[1]d and production",
		"started and container.image regex '.*/shop-%[1]d[a-z]+:[0-9.]+' and not trusted_image",
		"started and (container.image.tag = rc%[1]d or container.image.tag endswith -rc%[1]d) and k8s.pod.name contains web",
		"evt.type = execve and container and proc.name in (sh, bash) and proc.pname = service-%[1]d",
	}
	for i := range n {
		fmt.Fprintf(&b, "- rule: Rule %d\n  desc: rule %[1]d\n  condition: "+conditions[i%len(conditions)]+
			"\n  output: started %%container.name of %%container.image in %%k8s.ns.name\n  priority: WARNING\n"+
			"  exceptions:\n  - {name: pods, fields: [k8s.ns.name, k8s.pod.name], values: [[tools, debug-%[1]d], [ci, job-%[1]d]]}\n", i)
	}
	return []File{{"generated.yaml", []byte(b.String())}}
}

// BenchmarkGeneratedRules: container starts that match nothing, and one that
// matches a rule.
func BenchmarkGeneratedRules(b *testing.B) {
	tagged := newStart()
	tagged.tag, tagged.repository, tagged.image = "edge", "docker.io/shop/service-1", "docker.io/shop/service-1:edge"
	for _, n := range []int{25, 95} {
		for name, ev := range map[string]*startEvent{"none": newStart(), "match": tagged} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) { benchmarkEvaluate(b, generatedRules(n), startCatalog(b), ev) })
		}
	}
}

// falcosFiles are rules files that come with Falco, if they are there.
func falcosFiles(tb testing.TB, names ...string) (files []File) {
	tb.Helper()
	for _, name := range names {
		data, err := os.ReadFile(conformance(tb, "rules", name))
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, File{name, data})
	}
	return files
}
