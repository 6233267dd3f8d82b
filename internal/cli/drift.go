package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/source/kube"
)

type driftFlags struct {
	from                []string
	kubeconfig, context string
	cluster, namespace  string
	policy              string
	live, preview       bool
	pod, node           string
	failOn              *string
	output              *string
	registry            *registryFlags
	offline             *bool
	secrets             *bool
}

func newDrift(env Env) *cobra.Command {
	var f driftFlags
	cmd := &cobra.Command{
		Use:   "drift [--cluster | --from FILE...]",
		Short: "Look once whether what runs is still what was deployed",
		Long: `Drift looks at the pods of a cluster, or at saved answers of kubectl, and
reports revisions whose pods run different bytes, and bytes that changed without
a deployment. The oldest container of a revision is the measure for the others.
It reads only. What nobody can tell is reported, too.

With --from it needs no access to the cluster:
  kubectl get pods,replicasets,deployments,statefulsets,daemonsets,jobs,cronjobs,nodes -A -o json > dump.json

--preview asks the registries what each tag means now, looks at what the nodes
keep under it, and says by the pull policy which containers would come back with
other bytes if they, their pod or their node died now. --pod and --node choose.

Exit status 1 when something at or above --fail-on was found, 3 when something
could not be told.`,
		Example: `  tagwarden drift
  tagwarden drift --from dump.json -o json
  tagwarden drift --preview -n shop
  tagwarden drift --preview --node worker-3`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && len(f.from) == 0 {
				return usage("%s: drift takes files with --from only", args[0])
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.from, "from", nil, "saved answers of \"kubectl get -o json\" instead of a cluster; - for stdin (may repeat)")
	flags.BoolVar(&f.live, "cluster", false, "look at the cluster of the kubeconfig (the default)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.cluster, "cluster-name", "", "`name` of the cluster in findings (default: the one in the kubeconfig)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "one namespace only")
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.BoolVar(&f.preview, "preview", false, "what would come back different at the next start?")
	flags.StringVar(&f.pod, "pod", "", "preview this `pod` alone: NAME or NAMESPACE/NAME")
	flags.StringVar(&f.node, "node", "", "preview what runs on this `node` alone")
	f.failOn = choiceFlag(cmd, "fail-on", "least severity that makes the exit status 1", "low", "none", "info", "medium", "high", "critical")
	f.registry, f.offline, f.secrets = addRegistryFlags(cmd), offlineFlag(cmd), pullSecretsFlag(cmd)
	f.output = outputFlag(cmd, "table", "json")
	cmd.MarkFlagsMutuallyExclusive("cluster", "from")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.from = append(f.from, args...)
		return f.run(cmd.Context(), env)
	}
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
	switch {
	case f.preview && *f.offline:
		return usage("--preview asks registries; leave out --offline")
	case !f.preview && f.pod+f.node != "":
		return usage("--pod and --node choose what --preview shows; give that, too")
	}
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
		if err := seen.preview(ctx, f, asks, pol); err != nil {
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
	starts   []*event.Start
	nodes    map[string]*event.Node
	findings []finding.Finding
	// next is what --preview shows, nil without it.
	next      []nextJSON
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
	switch e := e.(type) {
	case *event.Start:
		d.starts = append(d.starts, e)
		if d.workloads == nil {
			d.workloads = map[string]bool{}
		}
		d.workloads[e.Namespace+" "+history.SubjectOf(e).Workload.String()] = true
	case *event.Node:
		if d.nodes == nil {
			d.nodes = map[string]*event.Node{}
		}
		d.nodes[e.Name] = e
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

func (d *driftSink) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Schema    string            `json:"schema"`
		Findings  []finding.Finding `json:"findings"`
		Undecided []undecidedJSON   `json:"undecided"`
		Preview   []nextJSON        `json:"preview,omitempty"`
		Summary   map[string]int    `json:"summary"`
	}{
		"tagwarden.drift/v1", append([]finding.Finding{}, d.findings...), append([]undecidedJSON{}, d.undecided...), d.next,
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
	if err := d.nextTable(&b); err != nil {
		return err
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
