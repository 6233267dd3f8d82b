package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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
	from   string // the digest that is left
	pinned string // the reference to pin to, or "" where there is none
	why    string
}

// rollBack prints what pins a workload to the digests of a time.
func rollBack(ctx context.Context, env Env, s *store.Store, q history.Query, timed bool) error {
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
	return writeRollback(env.Stdout, targets)
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
		t := target{Subject: of, kind: then[0].Kind, why: "ran then"}
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
				Subject: i.Subject, kind: i.Kind, from: f.Fact(drift.To), pinned: seen[from].Pinned(),
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

func writeRollback(w io.Writer, targets []target) error {
	first := targets[0]
	var set, patch strings.Builder
	var gaps []string
	lists := map[string][]target{}
	for _, t := range targets {
		fmt.Fprintf(w, "# %s: %s, %s\n", t.Container, cmp.Or(t.pinned, "no digest that can be pulled"), strings.TrimSpace(t.why))
		if t.pinned == "" {
			gaps = append(gaps, t.Container)
			continue
		}
		set.WriteString(" " + t.Container + "=" + t.pinned)
		list := "containers"
		if t.kind == event.Init || t.kind == event.Sidecar {
			list = "initContainers"
		}
		lists[list] = append(lists[list], t)
	}
	name := strings.ToLower(first.Workload.Kind) + "/" + first.Workload.Name
	if set.Len() > 0 {
		fmt.Fprintf(w, "kubectl -n %s set image %s%s\n", first.Namespace, name, set.String())
		head, indent := patchHead(first.Workload.Kind)
		for _, list := range []string{"containers", "initContainers"} {
			if len(lists[list]) == 0 {
				continue
			}
			fmt.Fprintf(&patch, "%s%s:\n", indent, list)
			for _, t := range lists[list] {
				fmt.Fprintf(&patch, "%s- name: %s\n%s  image: %s\n", indent, t.Container, indent, t.pinned)
			}
		}
		fmt.Fprintf(w, "\n# or as a patch: kubectl -n %s patch %s --patch-file FILE\n%s%s", first.Namespace, name, head, patch.String())
	}
	if len(gaps) > 0 {
		return fmt.Errorf("the runtime gave no digest that can be pulled for %s; look for the image by its tag and config digest in the registry", strings.Join(gaps, ", "))
	}
	return nil
}

// patchHead is what stands above the containers in a patch, and how deep they
// stand.
func patchHead(kind string) (head, indent string) {
	switch kind {
	case "Pod":
		return "spec:\n", "  "
	case "CronJob":
		return "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n", "          "
	}
	return "spec:\n  template:\n    spec:\n", "      "
}
