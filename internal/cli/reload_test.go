package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/internal/cli"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await polls for a text: the files are looked at once a second.
func await(t *testing.T, b *buffer, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(b.String(), text) {
			return
		}
	}
	t.Fatalf("no %q in\n%s", text, b.String())
}

// TestWatchTakesUpChangedRules: the rules change, then they break, and the watch
// goes on with the last that loaded. Containers start all the time meanwhile, and
// each of them is judged once.
func TestWatchTakesUpChangedRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) {
		// As editors do it: a new file takes the place of the old one.
		tmp := filepath.Join(t.TempDir(), "new")
		if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "rules.yaml")); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(output string) string {
		return "- {rule: R, desc: d, condition: evt.type = container, output: " + output + ", priority: WARNING}\n"
	}
	write(rule("one"))
	stdin, events := io.Pipe()
	var stdout, stderr buffer
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(t.Context(), []string{
			"watch", "--source", "replay", "--events", "-", "-r", filepath.Join(dir, "rules.yaml"), "--policy", filepath.Join(dir, "policy.yaml"),
		}, cli.Env{Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Now: time.Now})
	}()
	var sent atomic.Int64
	start := func(id string) {
		sent.Add(1)
		if _, err := io.WriteString(events, `{"schema":"tagwarden.event/v1","time":"2026-11-23T12:00:00Z","type":"container_start","container":{"id":"`+id+`"}}`+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	judged := func() int { return strings.Count(stdout.String(), ": Warning ") }
	var others sync.WaitGroup
	others.Go(func() {
		for i := 0; !strings.Contains(stderr.String(), "do not load") && !t.Failed(); i++ {
			start(fmt.Sprintf("other-%d", i))
			for want := i / 2; judged() < want && !t.Failed(); time.Sleep(time.Millisecond) {
			}
		}
	})
	start("a")
	await(t, &stdout, "Warning one")
	write(rule("two"))
	await(t, &stderr, "changed files loaded")
	start("b")
	await(t, &stdout, "Warning two")
	write("- rule: [")
	await(t, &stderr, "changed files do not load, the old ones stay in use")
	others.Wait()
	start("c")
	events.Close()
	status := <-done
	if out := stdout.String(); status != 0 || judged() != int(sent.Load()) || !strings.HasSuffix(out, "Warning two\n") {
		t.Errorf("exit status %d, %d starts, %d alerts, stderr:\n%s", status, sent.Load(), judged(), stderr.String())
	}
}
