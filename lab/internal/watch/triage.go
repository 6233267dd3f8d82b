package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// policy is what the lab's team says: who pushes, and which floating tag has a
// ticket.
const policy = `knownPushers:
  - image: ` + images.Accounts + `/**
    names: [` + cluster.Builder + `]
exceptions:
  - finding: F-01
    namespace: hygiene-with-ticket
    owner: team-lab
    ticket: LAB-10
    reason: the tag floats until the next release
    expires: %s
`

// policyText is the policy with an exception that holds.
func policyText() string {
	return fmt.Sprintf(policy, time.Now().AddDate(0, 1, 0).Format(time.DateOnly))
}

// access is how the lab's registries are asked, and as whom.
func access(s *cluster.State) (args, env []string) {
	for _, host := range images.Hosts() {
		args = append(args, "--registry-map", host+"="+s.Registry())
	}
	if s.Mode == cluster.Real {
		args = append(args, "--registry-map", images.Accounts+"="+s.AccountsRegistry())
		env = append(env, "DOCKER_CONFIG="+s.DockerConfig())
	}
	return args, env
}

// Triage runs "tagwarden triage" about a subject and returns its only report, and
// the exit status.
func (w *Watchers) Triage(ctx context.Context, s *cluster.State, subject string, more ...string) (verdict.Report, int, error) {
	args, env := access(s)
	args = append([]string{
		"triage", subject, "--store", w.Store("kube"), "--kubeconfig", s.Kubeconfig(), "--policy", w.policy, "--timeout", "30s", "-o", "json",
		"--containerd-address", s.ContainerdSocket(),
	}, append(args, more...)...)
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir, cmd.Env = w.dir, append(cmd.Environ(), env...)
	out, err := cmd.Output()
	ended, isExit := errors.AsType[*exec.ExitError](err)
	if err != nil && !isExit {
		return verdict.Report{}, 0, err
	}
	var all struct{ Reports []verdict.Report }
	if bad := json.Unmarshal(out, &all); bad != nil || len(all.Reports) != 1 {
		said := ""
		if ended != nil {
			said = string(ended.Stderr)
		}
		return verdict.Report{}, 0, fmt.Errorf("tagwarden triage %s: %d reports, want 1: %s", subject, len(all.Reports), said)
	}
	return all.Reports[0], cmd.ProcessState.ExitCode(), nil
}
