package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	tail := " 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3"
	tests := []struct {
		name, stat, want string
		fails            bool
	}{
		{name: "plain", stat: "42 (etcd) S" + tail, want: "987654"},
		{name: "brackets and blanks in the name", stat: "42 (a) S (b c)) R" + tail, want: "987654"},
		{name: "zombie", stat: "42 (etcd) Z" + tail, fails: true},
		{name: "zombie with a living thread", stat: "42 (etcd) Z 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 2 0 987654 1 2 3", want: "987654"},
		{name: "dead", stat: "42 (etcd) X" + tail, fails: true},
		{name: "short", stat: "42 (etcd) S 1 2 3", fails: true},
		{name: "empty", stat: "", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat(tt.stat)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("parseStat(%q) = %q, %v; want %q, fails %t", tt.stat, got, err, tt.want, tt.fails)
			}
		})
	}
}

func TestStartedProcessIsFoundAndEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run", "sleep.pid")
	rec, err := Start(exec.Command("sleep", "1000"), file)
	if err != nil {
		t.Fatal(err)
	}
	again, ok := Read(file)
	if !ok || again != rec || !again.Alive() {
		t.Fatalf("Read = %+v, %t, alive %t; want %+v alive", again, ok, again.Alive(), rec)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := again.End(ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	if rec.Alive() {
		t.Error("alive after End")
	}
}

// A pid file that outlived its process may name a process of somebody else.
func TestReusedPIDIsNotSignalled(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	stale := Record{PID: cmd.Process.Pid, Started: "1"}
	if stale.Alive() {
		t.Error("a record with another start time counts as alive")
	}
	if err := stale.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(cmd.Process.Pid); err != nil {
		t.Error("the other process was killed")
	}
}

func TestReadAllSkipsWhatIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.pid": `{"pid":4242,"started":"17"}`, "torn.pid": `{"pid":42`, "init.pid": `{"pid":1,"started":"1"}`,
		"empty.pid": "", "other.txt": `{"pid":4242,"started":"17"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadAll(dir)
	if err != nil || len(got) != 1 || got["good"] != (Record{PID: 4242, Started: "17"}) {
		t.Errorf("ReadAll = %v, %v; want the good one", got, err)
	}
	if got, err := ReadAll(filepath.Join(dir, "none")); err != nil || len(got) != 0 {
		t.Errorf("ReadAll of no folder = %v, %v", got, err)
	}
}
