package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/proc"
)

const killSignal = syscall.SIGKILL

// Stop kills one part without a warning, as a crash would. Its data stay.
func (d Driver) Stop(ctx context.Context, s *State, name string) error {
	if _, err := s.part(name); err != nil {
		return err
	}
	rec, ok := proc.Read(s.pidFile(name))
	if !ok || !rec.Alive() {
		return fmt.Errorf("%s does not run", name)
	}
	if err := rec.Kill(ctx); err != nil {
		return err
	}
	d.Out.Step("%s killed", name)
	return nil
}

// Start starts a part that was stopped, with the same data.
func (d Driver) Start(ctx context.Context, s *State, name string) error {
	if err := d.StartParts(ctx, s, name); err != nil {
		return err
	}
	if name == "registry" {
		return d.pushStandard(ctx, s)
	}
	return nil
}

// Push stores an image under a reference, in place of what was there: what
// somebody with write access to the registry does.
func (d Driver) Push(ctx context.Context, s *State, ref, content string) (digest string, err error) {
	return images.Push(ctx, s.Registry(), s.Program, images.Image{References: []string{ref}, Args: []string{"serve"}, Content: content})
}

// PushAs is [Driver.Push] by an account of the registry that knows who pushes. The
// image has the content in the file /content, too.
func (d Driver) PushAs(ctx context.Context, s *State, account, ref, content string) (digest string, err error) {
	img := images.Image{References: []string{ref}, Args: []string{"serve"}, Content: content, File: "content"}
	return images.PushAs(ctx, s.AccountsRegistry(), s.Program, img, &authn.Basic{Username: account, Password: password(account)})
}

// PushIndex stores an index of two platforms under a reference; see
// [images.PushIndex].
func (d Driver) PushIndex(ctx context.Context, s *State, ref, content, otherContent string) (index, manifest string, err error) {
	return images.PushIndex(ctx, s.Registry(), s.Program, ref, images.Image{Args: []string{"serve"}, Content: content}, otherContent)
}

// A PartStatus is one line of [State.Status].
type PartStatus struct {
	Name  string
	Alive bool
	PID   int
	RSS   int64 // bytes; 0 when it is not known
}

// Status returns what runs.
func (s *State) Status() []PartStatus {
	var all []PartStatus
	for _, p := range s.Parts {
		line := PartStatus{Name: p.Name}
		if rec, ok := proc.Read(s.pidFile(p.Name)); ok && rec.Alive() {
			line.Alive, line.PID, line.RSS = true, rec.PID, residentMemory(rec.PID)
		}
		all = append(all, line)
	}
	return all
}

func (s *State) allAlive() bool {
	for _, p := range s.Status() {
		if !p.Alive {
			return false
		}
	}
	return len(s.Parts) > 0
}

// residentMemory reads the resident set of a process where there is a /proc.
func residentMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
