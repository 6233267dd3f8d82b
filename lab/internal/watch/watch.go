// Package watch runs Tagwarden against the lab and collects what it reports.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/proc"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// Sources returns the sources Tagwarden can use in the lab: without a real
// node there is no containerd.
func Sources(s *cluster.State) []string {
	if s.Mode == cluster.Real {
		return []string{"kube", "containerd"}
	}
	return []string{"kube"}
}

// Watchers are two runs of "tagwarden watch" for each source: one that writes
// alerts, and one that writes every start.
type Watchers struct {
	Sources []string
	dir     string
	program string
	policy  string
	running map[string]proc.Record
}

// formats are Tagwarden's outputs that the lab reads.
var formats = []string{"json", "events"}

// A Program is Tagwarden as it is to be run.
type Program struct {
	Path string
	// Rules are files with Falco rules; none means those that come with it.
	Rules []string
}

// Start runs the watchers and returns when all of them say that they watch.
// There can be one set of watchers in a lab at a time.
func Start(ctx context.Context, s *cluster.State, p Program) (*Watchers, error) {
	w := &Watchers{Sources: Sources(s), dir: filepath.Join(s.Dir, "watch"), running: map[string]proc.Record{}}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	w.program, w.policy = p.Path, filepath.Join(w.dir, "policy.yaml")
	if err := os.WriteFile(w.policy, []byte(policyText()), 0o600); err != nil {
		return nil, err
	}
	for _, source := range w.Sources {
		for _, format := range formats {
			if err := w.start(s, p, source, format); err != nil {
				return w, fmt.Errorf("tagwarden watch --source %s -o %s: %w", source, format, err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return w, cluster.Poll(ctx, 50*time.Millisecond, func(context.Context) error {
		if err := w.Alive(); err != nil {
			return cluster.Final(err)
		}
		for name := range w.running {
			said, err := os.ReadFile(w.file(name, "stderr"))
			if err != nil || !strings.Contains(string(said), "watching") {
				return fmt.Errorf("tagwarden (%s) does not say that it watches", name)
			}
		}
		return nil
	})
}

func name(source, format string) string { return source + "-" + format }

func (w *Watchers) file(name, kind string) string { return filepath.Join(w.dir, name+"."+kind) }

// Store is the history that a watcher of the source keeps.
func (w *Watchers) Store(source string) string { return w.file(name(source, "json"), "db") }

// Recording is the file with all starts that a source reported.
func (w *Watchers) Recording(source string) string { return w.file(name(source, "events"), "stdout") }

func (w *Watchers) start(s *cluster.State, p Program, source, format string) error {
	args := []string{"watch", "--source", source, "-o", format}
	switch source {
	case "kube":
		args = append(args, "--kubeconfig", s.Kubeconfig())
		if format == "json" {
			args = append(args, "--store", w.Store(source), "--policy", w.policy)
			if s.Mode == cluster.Real {
				args = append(args, "--listen-pushes", s.PushesAddress(), "--push-token-file", s.PushToken())
			}
		}
	case "containerd":
		args = append(args, "--containerd-address", s.ContainerdSocket(), "--node-name", cluster.NodeName)
	}
	registries, env := access(s)
	args = append(args, registries...)
	for _, file := range p.Rules {
		args = append(args, "-r", file)
	}
	n := name(source, format)
	// Each set of watchers begins a history of its own.
	for _, file := range []string{"db", "db-wal", "db-shm"} {
		if err := os.Remove(w.file(n, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	stdout, err := os.Create(w.file(n, "stdout"))
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := os.Create(w.file(n, "stderr"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(p.Path, args...) //nolint:noctx // ended by Stop, the way Ctrl-C would
	cmd.Dir = w.dir                      // no policy file of the caller's working folder
	cmd.Env = append(cmd.Environ(), env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// With a pid file in the state folder, "lab down" ends it after a crash.
	rec, err := proc.Start(cmd, filepath.Join(s.Dir, "run", "watch-"+n+".pid"))
	if err != nil {
		return err
	}
	w.running[n] = rec
	return nil
}

// Alive returns an error with the last words of a watcher that has ended.
func (w *Watchers) Alive() error {
	for n, rec := range w.running {
		if !rec.Alive() {
			said, _ := os.ReadFile(w.file(n, "stderr"))
			return fmt.Errorf("tagwarden (%s) has ended: %s", n, strings.TrimSpace(string(said)))
		}
	}
	return nil
}

// Reports returns what every source has reported up to now.
func (w *Watchers) Reports() ([]verdict.Reports, error) {
	var all []verdict.Reports
	for _, source := range w.Sources {
		starts, err := read(w.file(name(source, "events"), "stdout"), verdict.Starts)
		if err != nil {
			return nil, err
		}
		alerts, err := read(w.file(name(source, "json"), "stdout"), verdict.Lines[verdict.Alert])
		if err != nil {
			return nil, err
		}
		all = append(all, verdict.Reports{Source: source, Starts: starts, Alerts: alerts})
	}
	return all, nil
}

func read[T any](file string, decode func([]byte) ([]T, error)) ([]T, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return lines, nil
}

// within is a context with a time limit that needs no cancelling.
func within(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// Stop ends the watchers the way Ctrl-C does and returns what they said on
// stderr, by name.
func (w *Watchers) Stop(ctx context.Context) map[string]string {
	ctx = context.WithoutCancel(ctx)
	for _, rec := range w.running {
		rec.Signal(syscall.SIGINT)
	}
	said := map[string]string{}
	for n, rec := range w.running {
		hung := cluster.Poll(within(ctx, 5*time.Second), 50*time.Millisecond, func(context.Context) error {
			if rec.Alive() {
				return errors.New("it runs still")
			}
			return nil
		})
		if hung != nil {
			rec.Signal(syscall.SIGQUIT) // It says on stderr where it hangs.
		}
		_ = rec.End(ctx, time.Second)
		text, _ := os.ReadFile(w.file(n, "stderr"))
		said[n] = strings.TrimSpace(string(text))
	}
	return said
}
