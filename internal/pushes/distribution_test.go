package pushes_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// The registry of Debian's docker-registry runs for real, with a user, and
// tells a Receiver of a push. What it says is what the tests of Parse have
// by heart.
func TestRealDistribution(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("SKIPPED, nothing was tested: there is no docker-registry; apt-get install docker-registry")
	}
	told := make(chan []pushes.Push, 10)
	receiver := httptest.NewServer(&pushes.Receiver{
		Registry: "registry.example:5000", Token: "the-token-of-the-webhook",
		Sink: func(_ context.Context, p []pushes.Push) error { told <- p; return nil },
	})
	t.Cleanup(receiver.Close)
	address := startDistribution(t, binary, receiver.URL, "the-token-of-the-webhook")

	before := time.Now().Add(-time.Minute)
	digest := pushImage(t, "http://"+address, "team/app", "1.4", "ci-robot", "secret-of-ci")
	// Layers come first, as events that are not for us.
	got := next(t, told)
	if len(got) != 1 {
		t.Fatalf("%d pushes, want 1: %+v", len(got), got)
	}
	p := got[0]
	want := pushes.Push{
		Repository: "registry.example:5000/team/app", Tag: "1.4", Digest: image.Digest(digest), By: "ci-robot",
		At: p.At, Addr: p.Addr, UserAgent: "pusher/1.0", Source: "distribution notification", Trust: pushes.Recorded,
	}
	if p != want {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	if p.At.Before(before) || p.At.After(time.Now().Add(time.Minute)) {
		t.Errorf("pushed at %s, and it was just now", p.At)
	}
	if host, _, err := net.SplitHostPort(p.Addr); err != nil || host != "127.0.0.1" {
		t.Errorf("pushed from %q, want a port of 127.0.0.1", p.Addr)
	}
	// A tag that is put on the same digest is told, too.
	digest2 := pushImage(t, "http://"+address, "team/app", "latest", "ci-robot", "secret-of-ci")
	if got := next(t, told); len(got) != 1 || got[0].Tag != "latest" || string(got[0].Digest) != digest2 || digest2 != digest {
		t.Errorf("after the second push got %+v, want latest on %s", got, digest)
	}
	t.Logf("docker-registry said: %s", p.String())
}

// next waits for what is told.
func next(t *testing.T, told <-chan []pushes.Push) []pushes.Push {
	t.Helper()
	select {
	case p := <-told:
		return p
	case <-time.After(time.Minute):
		t.Fatal("nothing was told within a minute")
		return nil
	}
}

// startDistribution starts a registry on a port of its own, and waits for it.
func startDistribution(t *testing.T, binary, endpoint, token string) (address string) {
	t.Helper()
	dir := t.TempDir()
	// The user ci-robot, password secret-of-ci, as htpasswd -B writes it.
	const htpasswd = "ci-robot:$2b$04$abcdefghijklmnopqrstuuZBY/ZgWzjAFBtTbcBHZMBUzdPwUPOge\n"
	config := fmt.Sprintf(`version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: '127.0.0.1:0'}
auth: {htpasswd: {realm: test, path: %s}}
notifications:
  endpoints:
    - name: tagwarden
      url: %s
      headers: {Authorization: [Bearer %s]}
      timeout: 10s
      threshold: 5
      backoff: 1s
`, filepath.Join(dir, "data"), filepath.Join(dir, "htpasswd"), endpoint, token)
	for name, text := range map[string]string{"config.yml": config, "htpasswd": htpasswd} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// It ends with the test, before its folder is removed.
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "serve", filepath.Join(dir, "config.yml"))
	cmd.Stdout = io.Discard
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	listens, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				listens <- m[1]
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if t.Failed() {
			t.Logf("docker-registry said:\n%s", said.String())
		}
	})
	select {
	case address = <-listens:
	case <-ended:
		t.Fatal("docker-registry ended")
	case <-time.After(time.Minute):
		t.Fatal("docker-registry did not listen within a minute")
	}
	return address
}

// listening is what docker-registry logs when it serves.
var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// pushImage pushes an image of no layers, and returns its digest.
func pushImage(t *testing.T, base, repository, tag, user, password string) (digest string) {
	t.Helper()
	// A server of another test that ends closes connections of the shared one.
	transport := &http.Transport{DisableKeepAlives: true}
	send := func(method, url, contentType string, body []byte, want int) http.Header {
		t.Helper()
		req, err := http.NewRequest(method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(user, password)
		req.Header.Set("User-Agent", "pusher/1.0")
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if said, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
			t.Fatalf("%s %s: status %d, want %d: %s", method, url, resp.StatusCode, want, said)
		}
		return resp.Header
	}
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	upload := send(http.MethodPost, base+"/v2/"+repository+"/blobs/uploads/", "", nil, http.StatusAccepted)
	place, sep := upload.Get("Location"), "?"
	if strings.Contains(place, "?") {
		sep = "&"
	}
	send(http.MethodPut, place+sep+"digest="+registrytest.Digest(config), "application/octet-stream", config, http.StatusCreated)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"size":%d,"digest":%q},"layers":[]}`,
		registrytest.TypeManifest, registrytest.TypeConfig, len(config), registrytest.Digest(config))
	send(http.MethodPut, base+"/v2/"+repository+"/manifests/"+tag, registrytest.TypeManifest, manifest, http.StatusCreated)
	return registrytest.Digest(manifest)
}
