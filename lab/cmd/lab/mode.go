package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/progress"
)

// chooseMode decides whether this machine can run a real node, after it has
// installed what is missing where that is allowed.
func chooseMode(ctx context.Context, out *progress.Printer, o *options) (cluster.Mode, error) {
	if o.simulated {
		out.Step("SIMULATED NODE, as asked for: control plane only, no container runs")
		return cluster.Simulated, nil
	}
	var why string
	switch {
	case runtime.GOOS != "linux":
		why = "a real node needs Linux, this is " + runtime.GOOS
	case os.Geteuid() != 0:
		why = "a real node needs root"
	default:
		var err error
		if why, err = installMissing(ctx, out, o.noInstall); err != nil {
			return "", err
		}
	}
	if why == "" {
		return cluster.Real, nil
	}
	out.Step("SIMULATED NODE: %s, so the control plane runs alone and no container runs", why)
	return cluster.Simulated, nil
}

// installMissing installs the programs that a node needs, and returns what is
// still missing as a reason.
func installMissing(ctx context.Context, out *progress.Printer, forbidden bool) (string, error) {
	names, packages := cluster.MissingTools()
	packages = append(packages, cluster.OptionalPackages()...)
	if len(packages) == 0 {
		return "", nil
	}
	missing := ""
	if len(names) > 0 {
		missing = "missing: " + strings.Join(names, ", ")
	}
	if aptGet, _ := exec.LookPath("apt-get"); aptGet == "" || forbidden {
		return missing, nil
	}
	out.Step("installing %s with apt-get", strings.Join(packages, " "))
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	for _, args := range [][]string{{"update"}, install} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// The packages must not start services: the lab runs its own. The
		// first of the two is for systemd, the other for what was before it.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1", "RUNLEVEL=1")
		if text, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			out.Step("apt-get %s: %v: %s", args[0], err, lastLine(string(text)))
			break // what is missing then is told below
		}
	}
	if names, _ := cluster.MissingTools(); len(names) > 0 {
		return "missing: " + strings.Join(names, ", "), nil
	}
	if len(cluster.OptionalPackages()) == 0 {
		out.Step("installed %s", strings.Join(packages, " "))
	}
	return "", nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
