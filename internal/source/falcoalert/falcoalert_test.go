package falcoalert_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/source/falcoalert"
)

const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

// The forms are those of the two senders: falco/userspace/engine/formats.cpp and
// falcosidekick's types.FalcoPayload.
const (
	falco = `{"hostname":"n1","output":"12:00:00.000000000: Warning Container started with mutable image tag (container=api)",
		"output_fields":{"container.id":"0123456789ab","container.full_id":null,"container.name":"api","container.image.repository":"docker.io/acme/api",
		"container.image.tag":"1.25.3","container.image.digest":"` + digest + `","evt.time":1795435200000000000,"k8s.ns.name":"shop","k8s.pod.name":"api-1"},
		"priority":"Warning","rule":"Container Started with Mutable Image Tag","source":"syscall","tags":["T1525"],"time":"2026-11-23T12:00:00.000000000Z"}`
	sidekick = `{"uuid":"0e11-22","output":"o","priority":"Warning","rule":"r","time":"2026-11-23T12:00:00Z","hostname":"n1","source":"syscall",
		"output_fields":{"container.full_id":"0123456789abcdef","container.name":"k8s_api_api-1_shop_uid-1_0","container.image":"nginx:1.25","proc.pid":4711},
		"tags":[],"extra":{}}`
	host = `{"rule":"r","output":"o","time":"2026-11-23T12:00:00Z","output_fields":{"container.id":"host","container.name":"host","container.image.tag":"<NA>"}}`
)

func TestParse(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, text string
		want       falcoalert.Alert
		start      *event.Start
	}{
		{"Falco", falco, falcoalert.Alert{
			Time: noon, Rule: "Container Started with Mutable Image Tag", Priority: "Warning", Hostname: "n1",
			Output:    "12:00:00.000000000: Warning Container started with mutable image tag (container=api)",
			Namespace: "shop", Pod: "api-1", Container: "api", ContainerID: "0123456789ab", Repository: "docker.io/acme/api", Tag: "1.25.3", Digest: digest,
		}, &event.Start{
			Time: noon, Source: "falco", Existing: true, Node: "n1", Namespace: "shop", Pod: "api-1", Container: "api", ContainerID: "0123456789ab",
			Image: "docker.io/acme/api:1.25.3", Digest: digest, DigestOf: "docker.io/acme/api",
		}},
		{"falcosidekick, with Docker", sidekick, falcoalert.Alert{
			Time: noon, Rule: "r", Priority: "Warning", Hostname: "n1", Output: "o", Namespace: "shop", Pod: "api-1", PodUID: "uid-1",
			Container: "api", ContainerID: "0123456789abcdef", Repository: "docker.io/library/nginx", Tag: "1.25",
		}, &event.Start{
			Time: noon, Source: "falco", Existing: true, Node: "n1", Namespace: "shop", Pod: "api-1", PodUID: "uid-1", Container: "api",
			ContainerID: "0123456789abcdef", Image: "docker.io/library/nginx:1.25",
		}},
		{"the host", host, falcoalert.Alert{Time: noon, Rule: "r", Output: "o"}, nil},
		{"control characters", `{"rule":"a\nb\u001b[2J","output_fields":{}}`, falcoalert.Alert{Rule: "a b\ufffd[2J"}, nil},
	} {
		got, err := falcoalert.Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if diff := cmp.Diff(test.start, got.Start()); diff != "" {
			t.Errorf("%s: start (-want +got):\n%s", test.name, diff)
		}
	}
	for _, text := range []string{"", "null", "[]", "12:00:00: Warning text", `{"rule":"r"}`, `{"output_fields":{}}`, falco + falco} {
		if _, err := falcoalert.Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "not an alert of Falco") {
			t.Errorf("%.40q: got %v", text, err)
		}
	}
}

// A container is told of once, however many alerts there are about it.
func TestStarts(t *testing.T) {
	t.Parallel()
	s := falcoalert.Starts{Now: time.Now}
	for _, test := range []struct {
		text string
		told bool
	}{{falco, true}, {falco, false}, {sidekick, true}, {host, false}, {falco, false}} {
		e, err := s.Event([]byte(test.text))
		if err != nil || (e != nil) != test.told {
			t.Errorf("%.60s: got %v, %v", test.text, e, err)
		}
	}
	for n := range 1<<16 + 1 {
		text := fmt.Sprintf(`{"rule":"r","output_fields":{"container.id":"c%d"}}`, n)
		if e, err := s.Event([]byte(text)); e == nil || err != nil || e.At().IsZero() {
			t.Fatalf("%s: got %v, %v", text, e, err)
		}
	}
	if e, _ := s.Event([]byte(falco)); e == nil {
		t.Error("what is long ago is still remembered")
	}
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(&falcoalert.Receiver{Token: "secret", Sink: func(data []byte) error {
		_, err := falcoalert.Parse(data)
		if err == nil {
			got = append(got, string(data))
		}
		return err
	}})
	defer server.Close()
	for _, test := range []struct {
		method, query, auth, body string
		status                    int
	}{
		{http.MethodPost, "", "Bearer secret", falco + "\n", http.StatusNoContent},
		{http.MethodPost, "?token=secret", "", sidekick, http.StatusNoContent},
		{http.MethodPost, "", "", falco, http.StatusUnauthorized},
		{http.MethodPost, "?token=wrong", "Bearer wrong", falco, http.StatusUnauthorized},
		{http.MethodGet, "", "Bearer secret", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "", "Bearer secret", "hello", http.StatusBadRequest},
		{http.MethodPost, "", "Bearer secret", strings.Repeat(" ", 1<<20+1), http.StatusRequestEntityTooLarge},
	} {
		req, err := http.NewRequest(test.method, server.URL+"/"+test.query, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", test.auth)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status {
			t.Errorf("%s %s %q: status %d, want %d", test.method, test.query, test.auth, resp.StatusCode, test.status)
		}
	}
	if diff := cmp.Diff([]string{falco, sidekick}, got); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}

// Whatever comes, Parse gives an alert of single lines, or an error.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{falco, sidekick, host, "", "{}", `{"rule":"r","output_fields":{"container.image":"nginx@sha256:x","container.name":"k8s_____"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := falcoalert.Parse(data)
		if err != nil {
			return
		}
		if text := a.Output + a.Rule + a.Pod + a.Namespace + a.Container + a.Repository; strings.ContainsAny(text, "\n\r\x1b") {
			t.Fatalf("more than a line: %q", text)
		}
		if s := a.Start(); s != nil && s.Digest != "" && len(s.Digest) < 10 {
			t.Fatalf("no digest: %q", s.Digest)
		}
	})
}
