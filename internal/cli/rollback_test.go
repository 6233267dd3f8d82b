package cli

import (
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

// TestRollbackByKind: a command that kubectl would refuse is none.
func TestRollbackByKind(t *testing.T) {
	t.Parallel()
	const image = "nginx:1.25@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	for _, tc := range []struct {
		kind, name, node string
		want             string // the command
		note, patch      string // what is said beside it
	}{
		{"Deployment", "api", "n1", "kubectl -n shop set image deployment/api web=" + image, "", "kubectl -n shop patch deployment/api --patch-file=/dev/stdin"},
		{"StatefulSet", "db", "n1", "kubectl -n shop set image statefulset/db web=" + image, "", "kubectl -n shop patch statefulset/db"},
		{"CronJob", "nightly", "n1", "kubectl -n shop set image cronjob/nightly web=" + image, "", "jobTemplate"},
		{"Pod", "web", "n1", "kubectl -n shop set image pod/web web=" + image, "", "kubectl -n shop patch pod/web"},
		{"Pod", "etcd-n1", "n1", "", "runs it from a file", "# in the manifest"},
		{"ReplicaSet", "alone", "n1", "kubectl -n shop set image replicaset/alone web=" + image, "until they are deleted", "kubectl -n shop patch"},
		{"Rollout", "api", "n1", "kubectl argo rollouts -n shop set image api web=" + image, "", "# in the manifest"},
		{"Job", "once", "n1", "", "cannot be changed", "# in the manifest"},
		{"Kafka", "events", "n1", "", "does not know the template of a Kafka", "# in the manifest"},
	} {
		of := history.Subject{Namespace: "shop", Workload: event.Workload{Kind: tc.kind, Name: tc.name}, Container: "web"}
		r := rollbackOf([]target{{Subject: of, kind: event.Container, node: tc.node, pinned: image, why: "ran then"}})
		if got := strings.Join(r.Commands, "\n"); got != tc.want {
			t.Errorf("%s/%s: got command %q, want %q", tc.kind, tc.name, got, tc.want)
		}
		if !strings.Contains(r.Note, tc.note) || (r.Note == "") != (tc.note == "") {
			t.Errorf("%s/%s: got note %q, want %q", tc.kind, tc.name, r.Note, tc.note)
		}
		var b strings.Builder
		if err := r.write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), tc.patch) {
			t.Errorf("%s/%s: got\n%swant %q in it", tc.kind, tc.name, b.String(), tc.patch)
		}
		// What is written is a script: each line is a comment, a command or a
		// part of its input.
		inside := false
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case inside:
				inside = line != "EOF"
			case strings.HasSuffix(line, "<<'EOF'"):
				inside = true
			case line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "kubectl "):
				t.Errorf("%s/%s: %q is no line of a script", tc.kind, tc.name, line)
			}
		}
	}
}
