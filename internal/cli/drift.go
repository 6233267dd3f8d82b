package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/source/kube"
)

type driftFlags struct {
	from                []string
	kubeconfig, context string
	cluster, namespace  string
	policy              string
	preview             bool
	failOn              *string
	output              *string
	registry            *registryFlags
	offline             *bool
	secrets             *bool
}

func newDrift(env Env) *cobra.Command {
	var f driftFlags
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Look once whether what runs is still what was deployed",
		Long: `Drift looks at the pods of a cluster, or at saved answers of kubectl, and
reports revisions whose pods run different bytes, and bytes that changed without
a deployment. The oldest container of a revision is the measure for the others.
It reads only. What nobody can tell is reported, too.

With --from it needs no access to the cluster:
  kubectl get pods,replicasets,deployments,statefulsets,daemonsets,jobs,cronjobs,nodes -A -o json > dump.json

--preview asks the registries what each tag means now, and says which containers
would come back with other bytes if their pod were started again.

Exit status 1 when something at or above --fail-on was found, 3 when something
could not be told.`,
		Example: `  tagwarden drift
  tagwarden drift --from dump.json -o json
  tagwarden drift --preview -n shop`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.from, "from", nil, "saved answers of \"kubectl get -o json\" instead of a cluster; - for stdin (may repeat)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.cluster, "cluster-name", "", "`name` of the cluster in findings (default: the one in the kubeconfig)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "one namespace only")
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.BoolVar(&f.preview, "preview", false, "what would come back different at the next start?")
	f.failOn = choiceFlag(cmd, "fail-on", "least severity that makes the exit status 1", "low", "none", "info", "medium", "high", "critical")
	f.registry, f.offline, f.secrets = addRegistryFlags(cmd), offlineFlag(cmd), pullSecretsFlag(cmd)
	f.output = outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), env) }
	return cmd
}

// source is what is looked at.
func (f *driftFlags) source(env Env, con *console) (engine.Source, error) {
	if len(f.from) == 0 {
		src, err := kube.New(kube.Config{
			Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, Cluster: f.cluster, Log: newLog(con),
		})
		if err != nil {
			return nil, err
		}
		return kube.Look{Source: src}, nil
	}
	if f.namespace != "" {
		return nil, usage("-n is for a cluster; a dump is looked at whole")
	}
	return dump(env, f.from, f.cluster), nil
}

// dump is a source over saved answers of kubectl.
func dump(env Env, files []string, cluster string) *kube.Dump {
	d := &kube.Dump{Cluster: cluster}
	for _, name := range files {
		open := func() (io.ReadCloser, error) { return os.Open(name) }
		if name == "-" {
			open = func() (io.ReadCloser, error) { return interruptible(env.Stdin), nil }
		}
		d.Files = append(d.Files, kube.DumpFile{Name: name, Open: open})
	}
	return d
}

func (f *driftFlags) run(ctx context.Context, env Env) error {
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	con := newConsole(env)
	src, err := f.source(env, con)
	if err != nil {
		return err
	}
	seen := &driftSink{}
	e := &engine.Engine{
		Sources: []engine.Source{src}, Rules: &falco.Ruleset{}, Policy: pol, Sink: seen, Now: env.Now, Hostname: hostname(),
		Log: newLog(con), Cluster: f.cluster, OnFinding: func(x finding.Finding) { seen.findings = append(seen.findings, x) },
	}
	var asks resolving
	if !*f.offline {
		client, err := f.registry.client(newLog(con), nil)
		if err != nil {
			return err
		}
		asks = resolving{Client: client, cluster: secretsOf(e.Sources, *f.secrets), log: newLog(con)}
		e.Resolver = asks
	}
	if err := e.Run(ctx); err != nil {
		return err
	}
	if f.preview {
		if *f.offline {
			return usage("--preview asks registries; leave out --offline")
		}
		if err := seen.preview(ctx, asks, pol); err != nil {
			return err
		}
	}
	slices.SortStableFunc(seen.findings, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Subject.Namespace, b.Subject.Namespace),
			cmp.Compare(a.Subject.Workload, b.Subject.Workload), cmp.Compare(a.Subject.Container, b.Subject.Container))
	})
	if *f.output == "json" {
		err = seen.json(env.Stdout)
	} else {
		err = seen.table(env.Stdout)
	}
	if err != nil {
		return err
	}
	return f.status(seen)
}

// status is the exit status.
func (f *driftFlags) status(seen *driftSink) error {
	if n := len(seen.undecided); n > 0 {
		return &statusError{exitFailed, fmt.Errorf("of %s it could not be told; see above", plural(n, "container"))}
	}
	if *f.failOn == "none" {
		return nil
	}
	least, err := finding.ParseSeverity(*f.failOn)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(seen.findings, func(x finding.Finding) bool { return x.Severity >= least }) {
		return &statusError{status: exitFindings}
	}
	return nil
}

// driftSink collects what one look found.
type driftSink struct {
	starts    []*event.Start
	findings  []finding.Finding
	undecided []undecidedJSON
	workloads map[string]bool
}

// undecidedJSON is a container of which nobody can tell.
type undecidedJSON struct {
	Namespace string `json:"namespace"`
	Workload  string `json:"workload"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Image     string `json:"image"`
	Digest    string `json:"digest,omitempty"`
	Reason    string `json:"reason"`
}

func (d *driftSink) Event(e event.Event) error {
	if s, ok := e.(*event.Start); ok {
		d.starts = append(d.starts, s)
		if d.workloads == nil {
			d.workloads = map[string]bool{}
		}
		d.workloads[s.Namespace+" "+history.SubjectOf(s).Workload.String()] = true
	}
	return nil
}

func (d *driftSink) Alert(s *event.Start, a falco.Alert) error {
	if a.Rule == engine.UndecidedRule {
		d.undecided = append(d.undecided, undecidedJSON{
			s.Namespace, s.Workload.String(), s.Pod, s.Container, s.Reference, s.Digest, fmt.Sprint(a.Fields["tagwarden.drift.reason"]),
		})
	}
	return nil
}

// previewAtOnce is how many references are resolved at a time; the client has
// limits for each registry.
const previewAtOnce = 16

// preview finds the tags that moved away from what runs.
func (d *driftSink) preview(ctx context.Context, asks resolving, pol *policy.Policy) error {
	type group struct {
		history.Subject
		reference, digest, platform string
	}
	groups := map[group]*event.Start{}
	refs, sample := map[string]image.Reference{}, map[string]*event.Start{}
	for _, s := range d.starts {
		ref, known, err := s.Requested()
		if err != nil || !known || ref.Pinned() || s.Digest == "" {
			continue
		}
		refs[s.Reference], sample[s.Reference] = ref, s
		groups[group{history.SubjectOf(s), s.Reference, s.Digest, s.Platform}] = s
	}
	now := make(map[string]image.Digest, len(refs))
	failed := map[string]error{}
	names := make([]string, 0, len(refs))
	for name := range refs {
		names = append(names, name)
	}
	slices.Sort(names)
	got := make([]image.Digest, len(names))
	errs := make([]error, len(names))
	var all errgroup.Group
	all.SetLimit(previewAtOnce)
	for i, name := range names {
		all.Go(func() error {
			got[i], errs[i] = asks.For(sample[name]).Resolve(ctx, refs[name])
			return nil
		})
	}
	_ = all.Wait() // The errors are kept one by one.
	for i, name := range names {
		now[name], failed[name] = got[i], errs[i]
	}
	ids := image.NewIdentities()
	for g, s := range groups {
		gap := func(reason error) {
			d.undecided = append(d.undecided, undecidedJSON{s.Namespace, s.Workload.String(), s.Pod, s.Container, s.Reference, s.Digest, reason.Error()})
		}
		if err := failed[g.reference]; err != nil {
			gap(err)
			continue
		}
		to, on := now[g.reference], platformOf(s)
		running, err := image.ParseDigest(s.Digest)
		if err != nil {
			gap(err)
			continue
		}
		var learn error
		for _, ask := range ids.Unknown(running, to, on) {
			contents, err := asks.For(s).Content(ctx, refs[g.reference], ask, on)
			for _, c := range contents {
				ids.Add(c)
			}
			learn = errors.Join(learn, err)
		}
		f, relation := drift.TagMoved(s, to.String(), []string{s.Pod}, pol.Production(s.Namespace), ids)
		switch relation {
		case image.Different:
			d.findings = append(d.findings, f)
		case image.CannotTell:
			gap(fmt.Errorf("the tag is %s now, and it cannot be told whether these are other bytes: %w", drift.Short(to.String()), cmp.Or(learn, errors.New("nobody knows the digests"))))
		}
	}
	slices.SortFunc(d.undecided, func(a, b undecidedJSON) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Pod, b.Pod))
	})
	return ctx.Err()
}

func platformOf(s *event.Start) image.Platform {
	p, err := image.ParsePlatform(s.Platform)
	if err != nil {
		return image.Platform{}
	}
	return p
}

func (d *driftSink) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Schema    string            `json:"schema"`
		Findings  []finding.Finding `json:"findings"`
		Undecided []undecidedJSON   `json:"undecided"`
		Summary   map[string]int    `json:"summary"`
	}{
		"tagwarden.drift/v1", append([]finding.Finding{}, d.findings...), append([]undecidedJSON{}, d.undecided...),
		map[string]int{"workloads": len(d.workloads), "containers": len(d.starts), "findings": len(d.findings), "undecided": len(d.undecided)},
	})
}

func (d *driftSink) table(w io.Writer) error {
	if len(d.findings) > 0 {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "FINDING\tSEVERITY\tFORM\tNAMESPACE\tWORKLOAD\tCONTAINER\tREVISION\tIMAGE\tFROM\tTO")
		for i := range d.findings {
			f := &d.findings[i]
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Severity, f.Form, f.Subject.Namespace, f.Subject.Workload,
				f.Subject.Container, f.Subject.Revision, f.Image, drift.Short(f.Fact(drift.From)), drift.Short(f.Fact(drift.To)))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	var b strings.Builder
	for i := range d.findings {
		f := &d.findings[i]
		fmt.Fprintf(&b, "\n%s  %s\n", f.ID, f.ID.Title())
		wrap(&b, "  ", 100, f.Message+".")
		wrap(&b, "  ", 100, "To do: "+f.Fix)
	}
	for _, u := range d.undecided {
		fmt.Fprintf(&b, "\nnot known  %s/%s, container %s, pod %s, image %s\n", u.Namespace, u.Workload, u.Container, u.Pod, u.Image)
		wrap(&b, "  ", 100, u.Reason)
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s of %s looked at: %s, %d not known\n", plural(len(d.starts), "container"), plural(len(d.workloads), "workload"),
		plural(len(d.findings), "finding"), len(d.undecided))
	_, err := io.WriteString(w, b.String())
	return err
}
