package pushes_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
)

const (
	digest1 = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	digest2 = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// moment is when the samples say that it happened.
func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "hooks", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// headers makes headers of names and values.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestParse(t *testing.T) {
	t.Parallel()
	at := moment(t, "2026-11-20T08:15:30Z")
	plain := headers("Content-Type", "application/json; charset=utf-8")
	for _, test := range []struct {
		name, file string
		registry   string
		kind       pushes.Kind
		header     http.Header
		want       []pushes.Push
	}{
		{
			name: "distribution, with layers and a pull left out", file: "distribution.json",
			header: headers("Content-Type", "application/vnd.docker.distribution.events.v1+json"),
			want: []pushes.Push{
				{Repository: "registry.internal:5000/team/app", Tag: "1.4", Digest: digest1, At: at.Add(500 * time.Millisecond), By: "ci-robot", Addr: "10.1.2.3:41714", UserAgent: "docker/27.3.1 go/go1.23.2", Source: "distribution notification"},
				{Repository: "registry.internal:5000/team/app", Digest: digest2, At: at.Add(time.Second), Addr: "10.1.2.3:41716", UserAgent: "buildkit/v0.17", Source: "distribution notification"},
			},
		},
		{
			name: "distribution, whose host is known", file: "distribution.json", registry: "registry.example",
			header: headers("Content-Type", "application/vnd.docker.distribution.events.v2+json"),
			want: []pushes.Push{
				{Repository: "registry.example/team/app", Tag: "1.4", Digest: digest1, At: at.Add(500 * time.Millisecond), By: "ci-robot", Addr: "10.1.2.3:41714", UserAgent: "docker/27.3.1 go/go1.23.2", Source: "distribution notification"},
				{Repository: "registry.example/team/app", Digest: digest2, At: at.Add(time.Second), Addr: "10.1.2.3:41716", UserAgent: "buildkit/v0.17", Source: "distribution notification"},
			},
		},
		{
			name: "harbor", file: "harbor.json", header: plain,
			want: []pushes.Push{{Repository: "harbor.internal:8443/shop/web/api", Tag: "1.4", Digest: digest1, At: at, By: "alice", Source: "Harbor webhook"}},
		},
		{
			name: "harbor, a robot's push by digest", file: "harbor-robot.json", header: plain, registry: "harbor.example",
			want: []pushes.Push{{Repository: "harbor.example/shop/api", Digest: digest1, At: at, By: "robot$shop+ci", Source: "Harbor webhook"}},
		},
		{
			name: "harbor as a CloudEvent", file: "harbor-cloudevent.json", header: headers("Content-Type", "application/cloudevents+json"),
			want: []pushes.Push{{Repository: "harbor.internal/shop/api", Tag: "1.4", Digest: digest1, At: at, By: "alice", Source: "Harbor webhook"}},
		},
		{
			name: "harbor as a CloudEvent, named", file: "harbor-cloudevent.json", header: plain, kind: pushes.Harbor,
			want: []pushes.Push{{Repository: "harbor.internal/shop/api", Tag: "1.4", Digest: digest1, At: at, By: "alice", Source: "Harbor webhook"}},
		},
		{name: "harbor, no push", file: "harbor-scan.json", header: plain},
		{
			name: "quay", file: "quay.json", header: plain,
			want: []pushes.Push{
				{Repository: "quay.internal/shop/api", Tag: "1.4", Source: "Quay notification"},
				{Repository: "quay.internal/shop/api", Tag: "latest", Source: "Quay notification"},
			},
		},
		{
			name: "quay, the old form", file: "quay-old.json", header: plain,
			want: []pushes.Push{
				{Repository: "quay.io/shop/api", Tag: "1.4", Source: "Quay notification"},
				{Repository: "quay.io/shop/api", Tag: "stable", Source: "Quay notification"},
			},
		},
		{name: "quay, no push", file: "quay-build.json", header: plain},
		{
			name: "docker hub", file: "dockerhub.json", header: plain, registry: "harbor.example",
			want: []pushes.Push{{Repository: "docker.io/shop/api", Tag: "latest", At: at, By: "alice", Source: "Docker Hub webhook (unsigned)"}},
		},
		{
			name: "github", file: "github.json", header: headers("Content-Type", "application/json", "X-GitHub-Event", "registry_package"),
			want: []pushes.Push{{Repository: "ghcr.io/octo-shop/tools/api", Tag: "1.4", Digest: digest1, At: at.Add(time.Second), By: "alice-dev", Source: "GitHub webhook"}},
		},
		{name: "github, no container", file: "github-npm.json", header: headers("Content-Type", "application/json", "X-GitHub-Event", "package")},
		{name: "github, no package", file: "github-ping.json", header: headers("Content-Type", "application/json", "X-GitHub-Event", "ping")},
		{
			name: "zot, structured", file: "zot.json", header: headers("Content-Type", "application/cloudevents+json"),
			want: []pushes.Push{{Repository: "zot.internal:5000/team/app", Tag: "1.4", Digest: digest1, At: at.Add(250 * time.Millisecond), Source: "zot event"}},
		},
		{
			name: "zot, binary, with a prefix of its own", file: "zot-data.json", registry: "zot.example",
			header: headers("Content-Type", "application/json", "Ce-Type", "com.example.image.updated", "Ce-Source", "zotregistry.dev", "Ce-Time", "2026-11-20T08:15:30Z", "Ce-Specversion", "1.0"),
			want:   []pushes.Push{{Repository: "zot.example/team/app", Digest: digest1, At: at, Source: "zot event"}},
		},
		{
			name: "zot, another event", file: "zot-data.json",
			header: headers("Content-Type", "application/json", "Ce-Type", "zotregistry.image.deleted"),
		},
		{
			name: "azure", file: "azure.json", header: plain,
			want: []pushes.Push{{Repository: "shop.azurecr.io/team/app", Tag: "1.4", Digest: digest1, At: moment(t, "2026-11-20T08:15:30.6547131Z"), UserAgent: "docker/27.3.1", Source: "Azure webhook"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pushes.Parse(test.kind, test.registry, test.header, sample(t, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("pushes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseHostile(t *testing.T) {
	t.Parallel()
	event := func(repository, tag, digest string) string {
		return `{"action":"push","timestamp":"2026-11-20T08:15:30Z","target":{"repository":"` + repository + `","tag":"` + tag + `","digest":"` + digest + `"},"request":{"host":"r.example"}}`
	}
	for _, test := range []struct {
		name   string
		kind   pushes.Kind
		header http.Header
		body   string
		pushes int
		want   string // in the error
		is     error
	}{
		{name: "nothing", want: "not known", is: pushes.ErrUnknown},
		{name: "no JSON", body: "<html>", want: "not known", is: pushes.ErrUnknown},
		{name: "a list", body: "[1,2]", want: "not known", is: pushes.ErrUnknown},
		{name: "another form", body: `{"hello":"world"}`, want: "not known", is: pushes.ErrUnknown},
		{name: "a kind without webhooks", kind: pushes.GitLab, body: "{}", want: `"gitlab"`, is: pushes.ErrUnknown},
		{name: "no JSON of a known form", kind: pushes.Harbor, body: "{", want: "documented form"},
		{name: "texts where numbers are", body: `{"events":[{"action":7}]}`, want: "documented form"},
		{name: "an unending number", body: `{"push_data":{"tag":"1","pushed_at":1e400},"repository":{"repo_name":"a/b"}}`, want: "documented form"},
		{name: "a time of another age", body: `{"push_data":{"tag":"1","pushed_at":1e300},"repository":{"repo_name":"a/b"}}`, pushes: 1},
		{name: "a tag in the repository", body: `{"events":[` + event("app:evil", "1", digest1) + `]}`, want: "no repository"},
		{name: "a digest in the repository", body: `{"events":[` + event("app@"+digest1, "1", digest1) + `]}`, want: "no repository"},
		{name: "a path to elsewhere", body: `{"events":[` + event("../../etc", "1", digest1) + `]}`, want: "no repository"},
		{name: "control characters", body: `{"events":[` + event(`app\u001b[2J`, "1", digest1) + `]}`, want: `app\x1b[2J`},
		{name: "no such tag", body: `{"events":[` + event("app", "a b", digest1) + `]}`, want: "no tag"},
		{name: "no such digest", body: `{"events":[` + event("app", "1", "sha256:abc") + `]}`, want: "no digest"},
		{name: "a good one beside a bad one", body: `{"events":[` + event("app", "1", digest1) + `,` + event("App", "1", digest1) + `]}`, pushes: 1, want: "1 of its pushes left out"},
		{name: "neither tag nor digest", body: `{"docker_url":"quay.io/a/b","homepage":"","updated_tags":[""]}`, want: "neither a tag nor a digest"},
		{
			name: "zot without its host", header: headers("Ce-Type", "zotregistry.image.updated", "Ce-Source", "zotregistry.dev"),
			body: `{"name":"app","reference":"1","digest":"` + digest1 + `"}`, want: "name it",
		},
		{name: "CloudEvents, no list", header: headers("Content-Type", "application/cloudevents-batch+json"), body: "{}", want: "documented form"},
		{name: "CloudEvent without data", header: headers("Content-Type", "application/cloudevents+json"), body: `{"type":"zotregistry.image.updated"}`, want: "documented form"},
		{name: "no tags at all", body: `{"docker_url":"quay.io/a/b","homepage":"","updated_tags":7}`, want: "documented form"},
		{name: "deep", body: strings.Repeat(`{"events":[`, 20000), want: "not known", is: pushes.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pushes.Parse(test.kind, "", test.header, []byte(test.body))
			if len(got) != test.pushes {
				t.Errorf("got %d pushes, want %d: %v", len(got), test.pushes, got)
			}
			if test.want == "" && err == nil {
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || test.want == "" {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("the error is more than a line of text: %q", err)
			}
		})
	}
}

// What a pusher can choose freely, such as its user agent, comes out as one
// short line.
func TestParseCleansTexts(t *testing.T) {
	t.Parallel()
	body := `{"events":[{"action":"push","target":{"repository":"app","tag":"1","digest":"` + digest1 + `"},
		"request":{"host":"r.example","useragent":"\u001b[31mred\n` + strings.Repeat("é", 1000) + `"},"actor":{"name":"a\u202eb"}}]}`
	got, err := pushes.Parse("", "", nil, []byte(body))
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	if a := got[0].UserAgent; len(a) > 300 || strings.ContainsAny(a, "\x1b\n") || !utf8.ValidString(a) || !strings.HasSuffix(a, "é…") {
		t.Errorf("the user agent is %q", a)
	}
	if got[0].By != "a\ufffdb" {
		t.Errorf("by %q, want the mark that turns text round replaced", got[0].By)
	}
}

func FuzzParse(f *testing.F) {
	files, err := os.ReadDir(filepath.Join("testdata", "hooks"))
	if err != nil {
		f.Fatal(err)
	}
	types := []string{
		"application/json", "application/vnd.docker.distribution.events.v1+json",
		"application/cloudevents+json", "application/cloudevents-batch+json", "a;b=\"", "",
	}
	for _, file := range files {
		for i := range types {
			f.Add(uint8(i), "", "", sample(f, file.Name()))
			f.Add(uint8(i), "zotregistry.image.updated", "registry.example", sample(f, file.Name()))
		}
	}
	kinds := []pushes.Kind{"", pushes.Distribution, pushes.DockerHub, pushes.GitHub, pushes.Harbor, pushes.Quay, pushes.Zot, pushes.Azure}
	f.Fuzz(func(t *testing.T, content uint8, ceType, registry string, body []byte) {
		header := headers("Content-Type", types[int(content)%len(types)])
		if ceType != "" {
			header.Set("Ce-Type", ceType)
		}
		for _, kind := range kinds {
			got, err := pushes.Parse(kind, registry, header, body)
			for _, p := range got {
				checkPush(t, p)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("the error is more than a line of text: %q", err)
			}
		}
	})
}

// checkPush holds what callers may rely on, whatever came from outside.
func checkPush(t *testing.T, p pushes.Push) {
	t.Helper()
	text := p.Repository
	if p.Tag != "" {
		text += ":" + p.Tag
	}
	if p.Digest != "" {
		text += "@" + string(p.Digest)
	}
	ref, err := image.Parse(text)
	if err != nil || ref.Name() != p.Repository || ref.Tag() != p.Tag || ref.Digest() != p.Digest || p.Tag == "" && p.Digest == "" {
		t.Errorf("%q of %q is no reference: %v", text, p.Repository, err)
	}
	if p.Trust != pushes.Claimed || p.Confirmed || p.Source == "" {
		t.Errorf("a webhook is believed: %+v", p)
	}
	for _, s := range []string{p.By, p.Addr, p.UserAgent, p.Source} {
		if len(s) > 300 || strings.ContainsAny(s, "\n\r\x1b\x00") {
			t.Errorf("text %q", s)
		}
	}
	if !p.At.IsZero() && (p.At.Year() < 1 || p.At.Year() > 9999) {
		t.Errorf("a time that JSON cannot hold: %v", p.At)
	}
}
