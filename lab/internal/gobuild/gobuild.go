// Package gobuild compiles the binaries of the lab from source, and shows how
// far it is: the Kubernetes parts take minutes the first time.
package gobuild

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/progress"
)

// KubernetesVersion is what the parts report as their version. It follows the
// k8s.io/kubernetes line of go.mod.
const KubernetesVersion = "v1.37.2"

// Quick builds pkg of the module in dir into out. It is for packages that
// compile in seconds.
func Quick(ctx context.Context, dir, pkg, out string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, bytes.TrimSpace(text))
	}
	return nil
}

// Install builds pkg@version, which is not part of any module here, into out.
func Install(ctx context.Context, pkg, out string) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".install-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", pkg, err, bytes.TrimSpace(text))
	}
	name, _, _ := strings.Cut(filepath.Base(pkg), "@")
	return os.Rename(filepath.Join(dir, name), out)
}

// Bin is the folder beside the source for what was built from it.
func Bin(source string) string { return filepath.Join(source, "bin") }

// Node returns the path of the binary with all Kubernetes parts and etcd. One
// that was built from the same source is used from dir, or from [Bin] when
// somebody else has built it there; else it is built into dir.
func Node(ctx context.Context, source, dir string, p *progress.Printer) (string, error) {
	const file, stampFile = "node", "node.stamp"
	stamp, err := stampOf(source)
	if err != nil {
		return "", err
	}
	for _, d := range []string{dir, Bin(source)} {
		old, err := os.ReadFile(filepath.Join(d, stampFile))
		if err != nil || string(old) != stamp {
			continue
		}
		if _, err := os.Stat(filepath.Join(d, file)); err == nil {
			return filepath.Join(d, file), nil
		}
	}
	out := filepath.Join(dir, file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	p.Step("building etcd and Kubernetes %s from source: once, some minutes", KubernetesVersion)
	if err := compile(ctx, source, out, p); err != nil {
		return "", err
	}
	p.Step("built etcd and Kubernetes %s", KubernetesVersion)
	return out, os.WriteFile(filepath.Join(dir, stampFile), []byte(stamp), 0o644)
}

// linkerFlags sets the version the parts report: without it clients cannot
// parse what the API server answers.
func linkerFlags() string {
	const pkg = "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(KubernetesVersion, "v"), ".", 3)
	return fmt.Sprintf("-s -w -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean",
		pkg, KubernetesVersion, parts[0], parts[1])
}

// stampOf names everything the node binary is made from.
func stampOf(source string) (string, error) {
	h := sha256.New()
	files, err := filepath.Glob(filepath.Join(source, "node", "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(source, "go.mod"))
	slices.Sort(files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(file), len(data), data)
	}
	fmt.Fprintf(h, "%s %s %s %s", linkerFlags(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return hex.EncodeToString(h.Sum(nil)), nil
}

func compile(ctx context.Context, source, out string, p *progress.Printer) error {
	total, err := countPackages(ctx, source)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-buildvcs=false", "-trimpath", "-ldflags="+linkerFlags(), "-o", out, "./node")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	talk := follow(stderr, total, p)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("go build ./node: %w\n%s", err, talk)
	}
	return nil
}

// follow shows the progress of "go build -v" and returns what it said apart
// from names of packages.
func follow(r io.Reader, total int, p *progress.Printer) string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	var talk strings.Builder
	compiled, fetched := 0, 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case line, ok := <-lines:
			switch {
			case !ok:
				return strings.TrimSpace(talk.String())
			case strings.HasPrefix(line, "go: downloading "):
				fetched++
			case strings.ContainsAny(line, " :#"):
				fmt.Fprintln(&talk, line)
			default:
				compiled++
			}
		case <-tick.C:
			switch {
			case compiled == 0 && fetched > 0:
				p.Status("downloading: %d modules", fetched)
			default:
				p.Status("compiling: %d of at most %d packages", compiled, total)
			}
		}
	}
}

// countPackages returns how many packages the node binary is made of. Those
// in Go's build cache are not compiled again, so it is an upper bound.
func countPackages(ctx context.Context, source string) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "./node")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return 0, fmt.Errorf("go list ./node: %w\n%s", err, bytes.TrimSpace(exit.Stderr))
		}
		return 0, err
	}
	return bytes.Count(out, []byte("\n")), nil
}
