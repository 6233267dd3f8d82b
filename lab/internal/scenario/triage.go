package scenario

import (
	"context"
	"fmt"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
)

// triageScenarios ask what an alert means, with a registry that knows who pushes.
func triageScenarios() []Scenario {
	return []Scenario{
		{Name: "attack-with-unknown-pusher", Story: "Somebody whom nobody expects overwrites a tag, and a replica comes back with other bytes: escalate", Real: true, Drift: unknownPusher, Triage: triageUnknown},
		{Name: "attack-with-known-pusher", Story: "The account of the pipeline overwrites a tag, and a replica comes back with other bytes: escalate", Real: true, Drift: knownPusher, Triage: triageKnown},
		{Name: "legit-push-and-rollout", Story: "The pipeline pushes a new version, and somebody deploys it: expected", Real: true, Drift: pushAndRollout, Triage: triageRollout},
		{Name: "hygiene-with-ticket", Story: "A floating tag with a tracked exception, and nothing else: hygiene, closed", Real: true, Drift: ticket, Triage: triageTicket},
	}
}

// pushAs overwrites a tag of the registry that knows who pushes.
func (on *Stage) pushAs(ctx context.Context, account, ns, ref, content string) (string, error) {
	digest, err := on.Driver.PushAs(ctx, on.State, account, ref, ns+" "+content)
	if err == nil {
		fmt.Fprintf(on.Out, "# %s pushed %s: %s\n", account, ref, digest)
	}
	return digest, err
}

// attack lets somebody overwrite a tag, and a replica come back.
func (on *Stage) attack(ctx context.Context, account, ns string) (evil string, err error) {
	image := images.Accounts + "/" + ns + ":latest"
	if _, err := on.pushAs(ctx, cluster.Builder, ns, image, "good"); err != nil {
		return "", err
	}
	pods, err := on.deploy(ctx, ns, 2, apiSpec(image))
	if err != nil {
		return "", err
	}
	if evil, err = on.pushAs(ctx, account, ns, image, "evil"); err != nil {
		return "", err
	}
	if err := nextSecond(ctx); err != nil {
		return "", err
	}
	return evil, on.replace(ctx, ns, pods[0], 2)
}

func unknownPusher(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	evil, err := on.attack(ctx, cluster.Intruder, ns)
	return []verdict.Drift{
		found("TW-07", "unknown-pusher", evil), found("TW-03", "moved", evil), found("TW-04", "new-pod", evil), found("TW-05", "skew", evil),
	}, err
}

func knownPusher(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	evil, err := on.attack(ctx, cluster.Builder, ns)
	return []verdict.Drift{found("TW-03", "moved", evil), found("TW-04", "new-pod", evil), found("TW-05", "skew", evil)}, err
}

func pushAndRollout(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	repo := images.Accounts + "/" + ns
	for _, tag := range []string{"1.0.0", "1.1.0"} {
		if _, err := on.pushAs(ctx, cluster.Builder, ns, repo+":"+tag, tag); err != nil {
			return nil, err
		}
	}
	if _, err := on.deploy(ctx, ns, 2, apiSpec(repo+":1.0.0")); err != nil {
		return nil, err
	}
	return nil, on.setImage(ctx, ns, repo+":1.1.0", 2)
}

func ticket(ctx context.Context, on *Stage, ns string) ([]verdict.Drift, error) {
	image := images.Accounts + "/" + ns + ":latest"
	if _, err := on.pushAs(ctx, cluster.Builder, ns, image, "good"); err != nil {
		return nil, err
	}
	_, err := on.deploy(ctx, ns, 1, apiSpec(image))
	return nil, err
}

// attackEvidence is what the triage of an attack must say, whoever pushed.
func attackEvidence(account, word string) map[string][]string {
	return map[string][]string{
		"pusher":     {word + " by " + account + " from 127.0.0.1:", "distribution notification registry-recorded"},
		"digest":     {"changed sha256:"},
		"baseline":   {"sha256:"},
		"pulled":     {"Successfully pulled image", "containerd image record"},
		"deployment": {"none between that and the"},
		"replicas":   {"differ"},
		"change":     {"/content changed"},
		"started":    {"pod api-"},
		"elsewhere":  {"now: nowhere else", "ever: attack-with-"},
	}
}

func triageUnknown(ns string) verdict.Triage {
	return verdict.Triage{
		Of: "TW-04", Workload: ns + "/deploy/" + api, Verdict: "escalate", Status: 1, Says: attackEvidence(cluster.Intruder, "unknown"),
		Next: "quarantine rollback cordon",
	}
}

func triageKnown(ns string) verdict.Triage {
	return verdict.Triage{
		Of: "TW-04", Workload: ns + "/deploy/" + api, Verdict: "escalate", Status: 1, Says: attackEvidence(cluster.Builder, "known"),
		Next: "quarantine rollback cordon",
	}
}

func triageRollout(ns string) verdict.Triage {
	return verdict.Triage{
		Workload: ns + "/deploy/" + api, Verdict: "expected",
		Says: map[string][]string{"pusher": {"known by " + cluster.Builder}, "digest": {"deployed sha256:"}, "tag": {"what runs"}, "reference": {"fixed"}},
	}
}

func triageTicket(ns string) verdict.Triage {
	return verdict.Triage{
		Workload: ns + "/deploy/" + api, Verdict: "hygiene", Next: "pin",
		Says: map[string][]string{"exception": {"LAB-10"}, "pusher": {"known by " + cluster.Builder}, "reference": {"mutable"}, "digest": {"deployed sha256:"}},
	}
}
