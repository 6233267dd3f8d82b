// Package proc starts processes that outlive the program that started them,
// and finds and ends exactly those processes later.
//
// A process id alone may belong to somebody else by the time it is used.
// A [Record] therefore keeps the start time of the process too, and nothing
// is signalled unless both agree.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Record names one process for as long as the machine runs.
type Record struct {
	PID int `json:"pid"`
	// Started is the start time of the process as the system tells it. It is
	// compared, never calculated with.
	Started string `json:"started"`
}

// A Process is what [Find] shows of a process.
type Process struct {
	Record
	Args   []string // command line
	Cgroup string   // content of /proc/PID/cgroup
}

// Start runs the command in a session of its own, so that a Ctrl-C for the
// caller does not reach it, and writes a Record to pidFile. The caller does
// not have to wait for it: an ended child is collected in the background.
func Start(cmd *exec.Cmd, pidFile string) (Record, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return Record{}, err
	}
	// Without a Wait the ended child would stay a zombie while we live.
	go func() { _ = cmd.Wait() }()
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return Record{}, fmt.Errorf("%s: ended at once", filepath.Base(cmd.Path))
	}
	rec := Record{PID: cmd.Process.Pid, Started: started}
	return rec, rec.Write(pidFile)
}

// Write stores the record. The file appears whole or not at all.
func (r Record) Write(file string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Read returns the record in file. ok is false when there is none, or when it
// is not one.
func Read(file string) (rec Record, ok bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Record{}, false
	}
	if err := json.Unmarshal(data, &rec); err != nil || rec.PID <= 1 || rec.Started == "" {
		return Record{}, false
	}
	return rec, true
}

// ReadAll returns the records of all *.pid files in dir, by name without the
// suffix.
func ReadAll(dir string) (map[string]Record, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records := map[string]Record{}
	for _, e := range entries {
		name, isPid := strings.CutSuffix(e.Name(), ".pid")
		if !isPid {
			continue
		}
		if rec, ok := Read(filepath.Join(dir, e.Name())); ok {
			records[name] = rec
		}
	}
	return records, nil
}

// Alive reports whether this very process still runs. A zombie does not.
func (r Record) Alive() bool {
	if r.PID <= 1 {
		return false
	}
	started, err := startTime(r.PID)
	return err == nil && started == r.Started
}

// Signal sends sig if the process still runs.
func (r Record) Signal(sig syscall.Signal) {
	if r.Alive() {
		_ = syscall.Kill(r.PID, sig)
	}
}

// Kill ends the process at once and waits until it is gone.
func (r Record) Kill(ctx context.Context) error { return r.end(ctx, syscall.SIGKILL, 0) }

// End asks the process to end, kills it after the grace time, and waits until
// it is gone.
func (r Record) End(ctx context.Context, grace time.Duration) error {
	return r.end(ctx, syscall.SIGTERM, grace)
}

func (r Record) end(ctx context.Context, sig syscall.Signal, grace time.Duration) error {
	r.Signal(sig)
	killAt := time.Now().Add(grace)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.Alive() {
		if sig != syscall.SIGKILL && time.Now().After(killAt) {
			sig = syscall.SIGKILL
			r.Signal(sig)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end process %d: %w", r.PID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
