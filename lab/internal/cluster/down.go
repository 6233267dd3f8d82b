package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/proc"
	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

// downTimeout bounds the whole of [Driver.Down].
const downTimeout = 60 * time.Second

// Down ends everything that belongs to the lab in dir and removes the folder.
// It needs nothing but the folder, so it works after a crash as well. found is
// false when there was nothing.
func (d Driver) Down(ctx context.Context, dir string) (found bool, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	if len(entries) == 0 {
		return false, os.Remove(dir)
	}
	if !isStateDir(entries) {
		return false, fmt.Errorf("%s: not the folder of a lab, so it is left alone", dir)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	s, err := Load(dir)
	if err != nil {
		// Torn or never written: nothing was started before it was.
		s = &State{Dir: dir}
	}
	if err := s.endAll(ctx); err != nil {
		return true, err
	}
	return true, s.remove(ctx)
}

// isStateDir guards against the removal of a folder that a mistyped --state
// points to.
func isStateDir(entries []fs.DirEntry) bool {
	known := []string{stateFile, stateFile + ".new", "run", "log", "conf", "pki"}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(known, e.Name()) })
}

// endAll kills every process of the lab: first those that could start others.
func (s *State) endAll(ctx context.Context) error {
	records, err := proc.ReadAll(s.path("run"))
	if err != nil {
		return err
	}
	for _, rec := range records {
		rec.Signal(killSignal)
	}
	for _, rec := range records {
		if err := rec.Kill(ctx); err != nil {
			return err
		}
	}
	return Poll(ctx, 20*time.Millisecond, func(context.Context) error {
		left := s.strays()
		for _, p := range left {
			p.Signal(killSignal)
		}
		if len(left) > 0 {
			return fmt.Errorf("%d processes of the lab still run, the first is %d: %s", len(left), left[0].PID, strings.Join(left[0].Args, " "))
		}
		return nil
	})
}

// strays returns the processes of the lab that have no pid file: the shims of
// containerd, and the containers.
func (s *State) strays() []proc.Process {
	if s.Name == "" {
		return nil
	}
	return proc.Find(func(p proc.Process) bool {
		return sandbox.InCgroup(p.Cgroup, s.Name) || isShim(p.Args, s.ContainerdSocket())
	})
}

// isShim reports whether a command line is that of a containerd shim which
// reports to the socket.
func isShim(args []string, socket string) bool {
	if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") {
		return false
	}
	i := slices.Index(args, "-address")
	return i >= 0 && i+1 < len(args) && args[i+1] == socket
}

// remove takes back everything that is not a process.
func (s *State) remove(ctx context.Context) error {
	// The mounts went with the last process of the sandbox; these would be
	// left only by a kernel or a driver that kept the namespace.
	if err := sandbox.UnmountBelow(s.Dir); err != nil {
		return err
	}
	if s.Mode == Real {
		if err := s.Network.Down(ctx); err != nil {
			return err
		}
		// A control group is busy for a moment after its last process.
		if err := Poll(ctx, 20*time.Millisecond, func(context.Context) error { return sandbox.RemoveCgroup(s.Name) }); err != nil {
			return err
		}
		sandbox.RemoveMountPoints(s.MadeDirs)
	}
	return Poll(ctx, 50*time.Millisecond, func(context.Context) error { return os.RemoveAll(s.Dir) })
}
