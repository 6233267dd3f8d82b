package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/proc"
	"github.com/tagwarden/tagwarden/lab/internal/progress"
	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

// A Driver brings labs up and down.
type Driver struct {
	Source string // folder of the lab's Go module
	Bin    string // folder for compiled binaries
	Self   string // the lab's own binary, for the parts it plays itself
	Out    *progress.Printer
}

// ErrUp tells that the lab in the folder is running already.
var ErrUp = errors.New("the lab is up already")

// partTimeout is how long one part may take to become ready. A loaded machine
// takes some seconds.
const partTimeout = 2 * time.Minute

// Up starts every part and returns when a pod can run. What an earlier lab in
// the same folder left behind is cleaned up first. When Up fails, the parts it
// started still run: call [Driver.Down].
func (d Driver) Up(ctx context.Context, dir string, mode Mode) (*State, error) {
	if old, err := Load(dir); err == nil && old.Up && old.allAlive() {
		return old, ErrUp
	}
	if left, err := d.Down(ctx, dir); err != nil {
		return nil, err
	} else if left {
		d.Out.Step("cleaned up what an earlier lab left in %s", dir)
	}
	node, err := gobuild.Node(ctx, d.Source, d.Bin, d.Out)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := newState(ctx, dir, mode)
	if err != nil {
		return nil, err
	}
	return s, d.start(ctx, s, node)
}

func (d Driver) start(ctx context.Context, s *State, node string) error {
	for _, sub := range []string{"run", "log", "conf"} {
		if err := os.MkdirAll(s.path(sub), 0o755); err != nil {
			return err
		}
	}
	if err := s.writeIdentities(); err != nil {
		return err
	}
	s.Parts = append(s.Parts, Part{
		Name:  "registry",
		Args:  []string{d.Self, "_registry", s.Registry()},
		Ready: Probe{"http", "http://" + s.Registry() + "/v2/"},
	})
	s.Parts = append(s.Parts, s.controlPlane(node)...)
	workers := []string{"kubelet"}
	switch s.Mode {
	case Real:
		if err := s.prepareNode(ctx); err != nil {
			return err
		}
		s.Parts = append(s.Parts, s.nodeParts(d.Self, node)...)
		if len(OptionalPackages()) == 0 {
			s.Parts = append(s.Parts, s.accountsPart())
		}
	case Simulated:
		workers = []string{"kwok"}
		part, err := d.simulatedPart(ctx, s)
		if err != nil {
			return err
		}
		s.Parts = append(s.Parts, part)
	}
	// From here on whatever runs can be found and ended by a later command.
	if err := s.save(); err != nil {
		return err
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.fillRegistry(gctx, s) })
	if s.Mode == Real {
		if s.Accounts() {
			g.Go(func() error { return d.StartParts(gctx, s, "accounts") })
		}
		g.Go(func() error { return d.StartParts(gctx, s, "sandbox", "containerd") })
	}
	g.Go(func() error { return d.StartParts(gctx, s, "etcd", "apiserver") })
	if err := g.Wait(); err != nil {
		return err
	}
	if s.Mode == Simulated {
		if err := s.createSimulatedNode(ctx); err != nil {
			return err
		}
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, name := range append(workers, "controller-manager", "scheduler") {
		g.Go(func() error { return d.StartParts(gctx, s, name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := d.waitForNode(ctx, s); err != nil {
		return err
	}
	s.Up = true
	return s.save()
}

// prepareNode makes what a node needs outside the state folder. What it makes
// is noted in s, so that Down can take it back.
func (s *State) prepareNode(ctx context.Context) error {
	if err := s.writeNodeConfig(); err != nil {
		return err
	}
	// Saved before it exists: a name that leads nowhere is harmless, a bridge
	// that nobody knows is not.
	if err := s.save(); err != nil {
		return err
	}
	if err := sandbox.MakeCgroup(s.Name); err != nil {
		return err
	}
	if err := s.Network.Up(ctx); err != nil {
		return err
	}
	var err error
	s.MadeDirs, err = sandbox.MakeMountPoints()
	return err
}

func (d Driver) fillRegistry(ctx context.Context, s *State) error {
	program, err := images.Program(ctx, d.Source, d.Bin)
	if err != nil {
		return err
	}
	s.Program = program
	if err := d.StartParts(ctx, s, "registry"); err != nil {
		return err
	}
	return d.pushStandard(ctx, s)
}

func (d Driver) pushStandard(ctx context.Context, s *State) error {
	count := 0
	for _, img := range images.Standard() {
		if _, err := images.Push(ctx, s.Registry(), s.Program, img); err != nil {
			return err
		}
		count += len(img.References)
	}
	d.Out.Step("registry holds %d images", count)
	return nil
}

// waitForNode returns when a pod of the default namespace could run.
func (d Driver) waitForNode(ctx context.Context, s *State) error {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	client, err := s.Kube()
	if err != nil {
		return err
	}
	const often = 100 * time.Millisecond
	if err := Poll(ctx, often, func(ctx context.Context) error { return client.NodeReady(ctx, NodeName) }); err != nil {
		return err
	}
	d.Out.Step("node %s ready%s", NodeName, s.Label())
	return Poll(ctx, often, func(ctx context.Context) error { return client.ServiceAccountReady(ctx, "default") })
}

// Label is what every table and summary of a lab without a real node says.
func (s *State) Label() string {
	if s.Mode == Simulated {
		return " (SIMULATED NODE)"
	}
	return ""
}

// Kube returns a client that may do everything in the cluster.
func (s *State) Kube() (*kube.Client, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	return kube.New(s.Server(), client), nil
}

// StartParts starts the named parts one after the other, each when the one
// before is ready. A part that runs already is left alone.
func (d Driver) StartParts(ctx context.Context, s *State, names ...string) error {
	for _, name := range names {
		part, err := s.part(name)
		if err != nil {
			return err
		}
		if err := d.startPart(ctx, s, part); err != nil {
			return err
		}
	}
	return nil
}

func (d Driver) startPart(ctx context.Context, s *State, part Part) error {
	if rec, ok := proc.Read(s.pidFile(part.Name)); ok && rec.Alive() {
		return nil
	}
	began := time.Now()
	rec, err := d.spawn(s, part)
	if err != nil {
		return fmt.Errorf("start %s: %w; the end of %s:\n%s", part.Name, err, s.LogFile(part.Name), logTail(s.LogFile(part.Name), 8))
	}
	client, err := s.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	err = Poll(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		err := part.Ready.check(ctx, client)
		if err != nil && !rec.Alive() {
			return Final(fmt.Errorf("it ended; the end of %s:\n%s", s.LogFile(part.Name), logTail(s.LogFile(part.Name), 8)))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", part.Name, err)
	}
	d.Out.Step("%s ready, %.1f s", part.Name, time.Since(began).Seconds())
	return nil
}

func (d Driver) spawn(s *State, part Part) (proc.Record, error) {
	logFile, err := os.OpenFile(s.LogFile(part.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return proc.Record{}, err
	}
	defer logFile.Close()
	args := part.Args
	if part.Sandboxed {
		holder, ok := proc.Read(s.pidFile("sandbox"))
		if !ok || !holder.Alive() {
			return proc.Record{}, errors.New("the sandbox does not run")
		}
		args = append([]string{d.Self, "_enter", strconv.Itoa(holder.PID)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // a part outlives the command that starts it
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if part.Name == "sandbox" {
		_ = os.Remove(part.Ready.Target)
		sandbox.Unshare(cmd)
	}
	// A socket of a killed process would look like a ready one for a moment.
	if part.Ready.Kind == "unix" {
		if err := os.Remove(part.Ready.Target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return proc.Record{}, err
		}
	}
	return proc.Start(cmd, s.pidFile(part.Name))
}
