package event_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
)

const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestAppendAndParse(t *testing.T) {
	t.Parallel()
	yes := true
	want := event.Start{
		Time: noon, Source: "kube", Existing: true, Node: "n1", Cluster: "x", Platform: "linux/amd64", Namespace: "shop", Pod: "web-1", PodUID: "u",
		PodLabels: map[string]string{"app": "web"}, Owner: &event.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "r"},
		Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, Revision: "5d8c",
		Deployment: &event.Deployment{Time: noon, By: "kubectl", Via: "Helm release web", Cause: "c"}, PullPolicy: "Always", PullSecrets: []string{"regcred"},
		Container: "c", Kind: event.Sidecar, ContainerID: "abc", Runtime: "containerd", RestartCount: 2,
		Reference: "nginx", Image: "docker.io/library/nginx:1.25.3", ImageID: "docker.io/library/nginx@" + digest, Digest: digest, DigestOf: "docker.io/library/nginx",
		Privileged: &yes, HostNetwork: &yes, HostPID: &yes, HostIPC: &yes,
	}
	for _, want := range []event.Event{
		&want,
		&event.Start{Time: noon, ContainerID: "a"},
		&event.End{Time: noon, Source: "kube", Cluster: "x", ContainerID: "abc"},
		&event.Synced{Time: noon, Source: "kube", Cluster: "x", Node: "n", Namespace: "shop"},
		&event.Node{Time: noon, Source: "kube", Name: "n1", Platform: "linux/amd64", Images: [][]string{{digest}}},
		&event.Push{
			Time: noon, Source: "registries", Cluster: "x", Repository: "docker.io/library/nginx", Tag: "1.25", Digest: digest, Pushed: noon, OfDigest: true,
			By: "ci-bot", Addr: "192.0.2.1:80", UserAgent: "docker/28", Told: "Harbor webhook", Trust: event.Recorded, Confirmed: true,
		},
		&event.Push{Time: noon, Repository: "quay.io/acme/api", Tag: "1", Trust: "publisher-claimed"},
	} {
		line, err := event.Append(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := event.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		``:     "EOF",
		`null`: `schema is ""`,
		`[]`:   "not an event",
		`{"schema":"tagwarden.event/v2","time":"2026-11-23T12:00:00Z"}`:                                                           `schema is "tagwarden.event/v2"`,
		`{"schema":"tagwarden.event/v1","type":"container_start","container":{"id":"a"}}`:                                         "time is missing",
		`{"schema":"tagwarden.event/v1","type":"container_start","time":"2026-11-23T12:00:00Z"}`:                                  "container.id is missing",
		`{"schema":"tagwarden.event/v1","type":"push","time":"2026-11-23T12:00:00Z"}`:                                             "push.repository is missing",
		`{"schema":"tagwarden.event/v1","type":"container_end","time":"2026-11-23T12:00:00Z","container":{"id":"containerd://"}}`: "container.id is missing",
		`{"schema":"tagwarden.event/v1","type":"node","time":"2026-11-23T12:00:00Z"}`:                                             "node is missing",
		`{"schema":"tagwarden.event/v1","type":"party","time":"2026-11-23T12:00:00Z"}`:                                            `unknown type "party"`,
		`{"schema":"tagwarden.event/v1","type":"container_start","time":"monday"}`:                                                "not an event",
		`{"schema":"tagwarden.event/v1","type":"container_start","time":"2026-11-23T12:00:00Z","container":{"id":"a"}} x`:         "text after the object",
	} {
		if _, err := event.Parse([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want …%s…", line, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":"tagwarden.event/v1","type":"container_start","time":"2026-11-23T12:00:00Z","source":"kube","container":{"id":"x://a"},"image":{"requested":"nginx"},"podLabels":{"a":"b"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := event.Parse(line)
		if err != nil {
			return
		}
		if s, ok := s.(*event.Start); ok {
			event.FieldsOf(s, false)
		}
		out, err := event.Append(nil, s)
		if err != nil {
			return // A year that JSON's times cannot have.
		}
		again, err := event.Parse(out)
		if err != nil {
			t.Fatalf("%s: written as %s: %v", line, out, err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("%s (-first +again):\n%s", line, diff)
		}
	})
}

// render asks for fields as an output does.
func render(t *testing.T, s event.Start, template string) string {
	t.Helper()
	cat, err := event.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	out, err := falco.ParseOutput(template, cat)
	if err != nil {
		t.Fatal(err)
	}
	return out.Render(event.FieldsOf(&s, true))
}

func TestFields(t *testing.T) {
	t.Parallel()
	const image = "%container.image|%container.image.repository|%container.image.tag|%container.image.digest"
	const own = "%tagwarden.reference|%tagwarden.class|%tagwarden.pinned"
	asked := func(reference string) event.Start {
		return event.Start{Time: noon, Source: "kube", ContainerID: "0123456789abcdef", Reference: reference, Image: "docker.io/library/nginx:1.25.3", Digest: digest}
	}
	node := event.Start{Time: noon, Source: "containerd", ContainerID: "0123456789abcdef", Image: "docker.io/library/nginx:1.25.3"}
	pod := asked("nginx")
	pod.Namespace, pod.Pod, pod.PodUID, pod.Node, pod.Container, pod.Kind = "shop", "web-1", "u1", "n1", "c", event.Init
	pod.PodLabels = map[string]string{"pod-template-hash": "5d8c", "app": "web"}
	pod.Workload, pod.Revision = event.Workload{Kind: "Deployment", Name: "web"}, "5d8c"
	for _, tc := range []struct {
		name     string
		s        event.Start
		template string
		want     string
	}{
		{"no tag is made up", asked("nginx"), image, "docker.io/library/nginx|docker.io/library/nginx||" + digest},
		{"tag", asked("nginx:latest"), image, "docker.io/library/nginx:latest|docker.io/library/nginx|latest|" + digest},
		{"digest", asked("nginx@" + digest), image, "docker.io/library/nginx@" + digest + "|docker.io/library/nginx||" + digest},
		{"what no runtime can pull is cut as Falco does", asked("h:1/A:b@x"), image, "h:1/A:b@x|h:1/A|b|" + digest},
		{"of that nothing is said to be pinned", asked("h:1/A:b@x"), own, "h:1/A:b@x|invalid|false"},
		{"own fields", asked("nginx@" + digest), own, "nginx@" + digest + "|digest|true"},
		{"a node without the reference has the runtime's name", node, image, "docker.io/library/nginx:1.25.3|docker.io/library/nginx|1.25.3|"},
		{"and our fields are null there", node, own, "<NA>|<NA>|<NA>"},
		{"ids", asked("nginx"), "%container.id|%container.full_id", "0123456789ab|0123456789abcdef"},
		{"event", asked("nginx"), "%evt.type|%evt.time|%evt.source", "container|12:00:00.000000000|syscall"},
		{"time", asked("nginx"), "%evt.time.s|%evt.datetime.s|%evt.time.iso8601|%evt.rawtime.ns|%evt.outputtime", "12:00:00|2026-11-23 12:00:00|2026-11-23T12:00:00.000000000+0000|0|12:00:00.000000000"},
		{"constants", asked("nginx"), "%evt.is_open_write|%evt.count|%evt.dir|%evt.latency.human|%evt.category|%evt.rawres", "false|1|>|0ns|other|<NA>"},
		{"pod", pod, "%k8s.ns.name|%k8s.pod.name|%k8s.pod.uid|%k8s.pod.label[app]|%k8s.pod.label[x]|%k8s.pod.labels", "shop|web-1|u1|web|<NA>|app:web, pod-template-hash:5d8c"},
		{"workload", pod, "%tagwarden.workload|%tagwarden.revision|%tagwarden.container.kind|%tagwarden.ephemeral|%tagwarden.production|%tagwarden.node", "Deployment/web|5d8c|init|false|true|n1"},
		{"no pod is null, not empty", node, "%k8s.ns.name|%k8s.pod.name|%tagwarden.production|%tagwarden.ephemeral|%container.privileged", "<NA>|<NA>|<NA>|<NA>|<NA>"},
	} {
		if got := render(t, tc.s, tc.template); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
}
