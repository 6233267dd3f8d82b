package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// target is what a container is to go back to.
type target struct {
	history.Subject
	kind   event.Kind
	node   string
	from   string // the digest that is left
	pinned string // the reference to pin to, or "" where there is none
	why    string
}

// rollBack prints what pins a workload to the digests of a time.
func rollBack(ctx context.Context, env Env, s *store.Store, q history.Query, timed bool, output string) error {
	if q.Workload == "" && q.Pod == "" {
		return usage("--rollback needs a workload, such as deploy/api")
	}
	all, err := intervals(ctx, s, q)
	if err != nil {
		return err
	}
	var targets []target
	if timed {
		targets = ranThen(all)
	} else if targets, err = expected(ctx, s, all); err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("the history has nothing to roll back to: nothing of that ran, or its bytes never changed; say --at TIME")
	}
	if n := workloads(targets); n > 1 {
		return usage("that is %d workloads; name one, with its namespace", n)
	}
	of := targets[0].Subject
	// Who manages it is what the newest deployment said.
	revisions, err := s.Revisions(ctx, history.Query{Cluster: of.Cluster, Namespace: of.Namespace, Workload: of.Workload.String()})
	if err != nil {
		return err
	}
	r := rollbackOf(targets)
	if n := len(revisions); n > 0 && revisions[n-1].Deployment != nil {
		r.ManagedBy = revisions[n-1].Deployment.Via
	}
	if output == "json" {
		err = writeJSON(env.Stdout, r)
	} else {
		err = r.write(env.Stdout)
	}
	if err == nil && len(r.Missing) > 0 {
		err = fmt.Errorf("the runtime gave no digest that can be pulled for %s; look for the image by its tag and config digest in the registry", strings.Join(r.Missing, ", "))
	}
	return err
}

func workloads(targets []target) int {
	all := map[string]bool{}
	for _, t := range targets {
		all[t.Cluster+" "+t.Namespace+" "+t.Workload.String()] = true
	}
	return len(all)
}

// ranThen are the digests that ran at a time. Where there were several, it is
// the one that ran longest: the others are named.
func ranThen(all []history.Interval) []target {
	byContainer := map[history.Subject][]history.Interval{}
	for _, i := range all {
		if i.Kind != event.Ephemeral && i.Digest != "" {
			byContainer[i.Subject] = append(byContainer[i.Subject], i)
		}
	}
	var out []target
	for of, then := range byContainer {
		slices.SortFunc(then, func(a, b history.Interval) int { return a.First.Compare(b.First) })
		t := target{Subject: of, kind: then[0].Kind, node: then[0].Node, why: "ran then"}
		t.pinned = then[0].Pinned()
		if len(then) > 1 {
			t.why = "the oldest of those that ran then; also: "
			for _, i := range then[1:] {
				t.why += drift.Short(i.Digest) + " "
			}
		}
		out = append(out, t)
	}
	sortTargets(out)
	return out
}

// expected are the digests that containers were to run before their bytes
// changed.
func expected(ctx context.Context, s *store.Store, all []history.Interval) ([]target, error) {
	var out []target
	done := map[history.Subject]bool{}
	for _, i := range all {
		if done[i.Subject] {
			continue
		}
		done[i.Subject] = true
		found, err := s.FindingsAbout(ctx, i.Subject)
		if err != nil {
			return nil, err
		}
		seen, err := s.Seen(ctx, i.Subject)
		if err != nil {
			return nil, err
		}
		for k := len(found) - 1; k >= 0; k-- {
			f := &found[k]
			from := slices.IndexFunc(seen, func(x history.Seen) bool { return x.Digest == f.Fact(drift.From) })
			if (f.ID != finding.TW04 && f.ID != finding.TW03) || f.Form == drift.FormMoved || from < 0 {
				continue
			}
			out = append(out, target{
				Subject: i.Subject, kind: i.Kind, node: i.Node, from: f.Fact(drift.To), pinned: seen[from].Pinned(),
				why: fmt.Sprintf("what ran before %s at %s", f.ID, f.Time.UTC().Format("2006-01-02T15:04:05Z")),
			})
			break
		}
	}
	sortTargets(out)
	return out, nil
}

func sortTargets(all []target) {
	slices.SortFunc(all, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload.String(), b.Workload.String()), cmp.Compare(a.Container, b.Container))
	})
}

// rollback is "history --rollback -o json", a published format.
type rollback struct {
	Schema     string              `json:"schema"`
	Cluster    string              `json:"cluster,omitempty"`
	Namespace  string              `json:"namespace"`
	Workload   event.Workload      `json:"workload"`
	ManagedBy  string              `json:"managedBy,omitempty"`
	Containers []rollbackContainer `json:"containers"`
	// Commands are ready to run, Patch is for who keeps manifests.
	Commands []string `json:"commands"`
	Patch    any      `json:"patch,omitempty"`
	// Note says what the commands do not do.
	Note string `json:"note,omitempty"`
	// Missing are containers without a digest that can be pulled.
	Missing []string `json:"missing,omitempty"`
}

type rollbackContainer struct {
	Name  string     `json:"name"`
	Kind  event.Kind `json:"kind,omitempty"`
	From  string     `json:"from,omitempty"`
	Image string     `json:"image,omitempty"`
	Why   string     `json:"why"`
}

// rollbackOf makes the commands for the targets, which are of one workload.
func rollbackOf(targets []target) *rollback {
	of := targets[0].Subject
	r := &rollback{
		Schema: "tagwarden.rollback/v1", Cluster: of.Cluster, Namespace: of.Namespace, Workload: of.Workload, Commands: []string{},
	}
	var set strings.Builder
	type container struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}
	spec := map[string]any{}
	static := of.Workload.Kind == "Pod"
	for _, t := range targets {
		r.Containers = append(r.Containers, rollbackContainer{t.Container, t.kind, t.from, t.pinned, strings.TrimSpace(t.why)})
		static = static && t.node != "" && strings.HasSuffix(t.Workload.Name, "-"+t.node)
		if t.pinned == "" {
			r.Missing = append(r.Missing, t.Container)
			continue
		}
		set.WriteString(" " + t.Container + "=" + t.pinned)
		list := "containers"
		if t.kind == event.Init || t.kind == event.Sidecar {
			list = "initContainers"
		}
		all, _ := spec[list].([]container)
		spec[list] = append(all, container{t.Container, t.pinned})
	}
	if set.Len() == 0 {
		return r
	}
	name := strings.ToLower(of.Workload.Kind) + "/" + of.Workload.Name
	kubectl := func(text string) string { return "kubectl -n " + of.Namespace + " " + text }
	patch := map[string]any{"spec": spec}
	switch kind := of.Workload.Kind; kind {
	case "Pod":
	case "CronJob":
		patch = under(patch, "spec", "jobTemplate", "spec", "template")
	default:
		patch = under(patch, "spec", "template")
	}
	r.Patch = patch
	switch kind := of.Workload.Kind; {
	case static:
		r.Note = "the kubelet of " + targets[0].node + " runs it from a file: write the images into that"
	case kind == "Deployment", kind == "StatefulSet", kind == "DaemonSet", kind == "CronJob", kind == "Pod":
		r.Commands = append(r.Commands, kubectl("set image "+name+set.String()))
	case kind == "ReplicaSet", kind == "ReplicationController":
		r.Commands = append(r.Commands, kubectl("set image "+name+set.String()))
		r.Note = "its pods keep the old image until they are deleted"
	case kind == "Rollout":
		r.Commands = append(r.Commands, "kubectl argo rollouts -n "+of.Namespace+" set image "+of.Workload.Name+set.String())
	case kind == "Job":
		r.Note = "the template of a Job cannot be changed: delete it, and apply its manifest with these images"
	default:
		r.Note = "kubectl does not know the template of a " + kind + ": write the images into its manifest"
	}
	return r
}

// under puts a patch below keys, the outermost first.
func under(patch map[string]any, keys ...string) map[string]any {
	for _, key := range slices.Backward(keys) {
		patch = map[string]any{key: patch}
	}
	return patch
}

// patches reports whether kubectl can merge a patch into the containers of a
// kind by their names; of custom resources it would replace the whole list.
func (r *rollback) patches() bool { return len(r.Commands) > 0 && r.Workload.Kind != "Rollout" }

// write writes a script: what is no command is a comment.
func (r *rollback) write(w io.Writer) error {
	var b strings.Builder
	if r.Cluster != "" {
		fmt.Fprintf(&b, "# cluster %s\n", r.Cluster)
	}
	for _, c := range r.Containers {
		fmt.Fprintf(&b, "# %s: %s, %s\n", c.Name, cmp.Or(c.Image, "no digest that can be pulled"), c.Why)
	}
	if r.ManagedBy != "" {
		fmt.Fprintf(&b, "# %s manages it: change its source too, or it is set back\n", r.ManagedBy)
	}
	if r.Note != "" {
		fmt.Fprintf(&b, "# %s\n", r.Note)
	}
	for _, c := range r.Commands {
		b.WriteString(c + "\n")
	}
	if r.Patch != nil {
		var text strings.Builder
		enc := yaml.NewEncoder(&text)
		enc.SetIndent(2)
		if err := errors.Join(enc.Encode(r.Patch), enc.Close()); err != nil {
			return fmt.Errorf("encode patch: %w", err)
		}
		if r.patches() {
			fmt.Fprintf(&b, "\n# the same as a patch\nkubectl -n %s patch %s/%s --patch-file=/dev/stdin <<'EOF'\n%sEOF\n",
				r.Namespace, strings.ToLower(r.Workload.Kind), r.Workload.Name, text.String())
		} else {
			fmt.Fprintf(&b, "\n# in the manifest\n# %s\n", strings.ReplaceAll(strings.TrimSuffix(text.String(), "\n"), "\n", "\n# "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
