package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/when"
)

// storeFlag adds --store, whose default is $TAGWARDEN_STORE.
func storeFlag(cmd *cobra.Command, help string) *string {
	return cmd.Flags().String("store", os.Getenv("TAGWARDEN_STORE"), "history `file`"+help+" (default $TAGWARDEN_STORE)")
}

// readHistory opens a store for reading.
func readHistory(ctx context.Context, path string, log *console) (*store.Store, error) {
	if path == "" {
		return nil, usage("--store is missing; give the file that \"tagwarden watch --store\" writes")
	}
	return store.Open(ctx, path, store.Options{ReadOnly: true, Log: newLog(log)})
}

type historyFlags struct {
	store     *string
	at, since string
	cluster   string
	namespace string
	container string
	rollback  bool
	limit     int
	output    *string
}

func newHistory(env Env) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history [SUBJECT]",
		Short: "Say what ran when, and what to roll back to",
		Long: `History reads what "tagwarden watch --store FILE" kept: which digest each
container of a workload ran, from when until when, in which revision, on which
nodes, and what was found about it.

SUBJECT is one of
  deploy/api, shop/deploy/api   a workload, with its namespace or -n
  Kafka/events                  one of a custom resource, with its kind as it is
  pod/api-5d8c-x                a pod, by name or uid
  ns/shop                       a namespace
  image/nginx, ghcr.io/acme/api an image, by any spelling of its name
  sha256:…                      a digest: where has it ever run?
A word alone is the name of a workload. Without SUBJECT it is everything.

Times are written as people do: 3h, yesterday, last tuesday, "last tuesday
14:00", 2026-11-23, 2026-11-23T14:00:00Z. A day given to --at is all of it.

--rollback prints a script, of commands and a patch, that pins a workload to the
digests that it ran at that time; without --at, to those that it was to run before
its bytes changed. Nothing is changed until you run it.`,
		Example: `  tagwarden history deploy/api -n shop --store watch.db
  tagwarden history deploy/api --at "last tuesday"
  tagwarden history sha256:3d7a83bf6fd2bf9226dd53f57b16d83457e8a402741c9c93ed9d7f20dc5dbf84
  tagwarden history shop/deploy/api --at "yesterday 14:00" --rollback`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	f.store = storeFlag(cmd, "")
	flags.StringVar(&f.at, "at", "", "what ran at this `time`")
	flags.StringVar(&f.since, "since", "", "what ran since this `time`")
	flags.StringVar(&f.cluster, "cluster-name", "", "one cluster only")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "one namespace only")
	flags.StringVarP(&f.container, "container", "c", "", "one container only")
	flags.BoolVar(&f.rollback, "rollback", false, "print what pins the workload to the digests of that time")
	flags.IntVar(&f.limit, "limit", 1000, "the largest number of lines; 0 means all")
	f.output = outputFlag(cmd, "table", "json")
	cmd.MarkFlagsMutuallyExclusive("at", "since")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		q, err := f.query(args, env.Now())
		if err != nil {
			return err
		}
		s, err := readHistory(cmd.Context(), *f.store, newConsole(env))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if f.rollback {
			return rollBack(cmd.Context(), env, s, q, f.at != "", *f.output)
		}
		return printHistory(cmd.Context(), env, s, q, *f.output)
	}
	return cmd
}

// kinds are the names that kubectl takes for the kinds of workloads.
var kinds = map[string]string{
	"deploy": "Deployment", "deployment": "Deployment", "deployments": "Deployment",
	"sts": "StatefulSet", "statefulset": "StatefulSet", "statefulsets": "StatefulSet",
	"ds": "DaemonSet", "daemonset": "DaemonSet", "daemonsets": "DaemonSet",
	"rs": "ReplicaSet", "replicaset": "ReplicaSet", "replicasets": "ReplicaSet",
	"rc": "ReplicationController", "replicationcontroller": "ReplicationController", "replicationcontrollers": "ReplicationController",
	"job": "Job", "jobs": "Job", "cj": "CronJob", "cronjob": "CronJob", "cronjobs": "CronJob", "rollout": "Rollout", "rollouts": "Rollout",
}

// subjectQuery reads a subject as people write it.
func subjectQuery(text string) (history.Query, error) {
	var q history.Query
	first, rest, more := strings.Cut(text, "/")
	second, third, three := strings.Cut(rest, "/")
	lower := strings.ToLower(first)
	switch {
	case text == "":
	case image.Digest(text).Valid():
		q.Digest = text
	case !more:
		q.Workload = text
	case lower == "ns" || lower == "namespace":
		q.Namespace = rest
	case lower == "image":
		return imageQuery(rest)
	case !three && (lower == "pod" || lower == "po" || lower == "pods"):
		q.Pod = rest
	case !three && kinds[lower] != "":
		q.Workload = kinds[lower] + "/" + rest
	case three && kinds[strings.ToLower(second)] != "":
		q.Namespace, q.Workload = first, kinds[strings.ToLower(second)]+"/"+third
	case three && slices.Contains([]string{"pod", "po", "pods"}, strings.ToLower(second)):
		q.Namespace, q.Pod = first, third
	case !three && isKind(first):
		q.Workload = text
	case three && isKind(second):
		q.Namespace, q.Workload = first, rest
	default:
		return imageQuery(text)
	}
	return q, nil
}

// isKind reports whether a word is the kind of a custom resource: it begins with
// a capital, as no part of an image's name does.
func isKind(word string) bool { return word != "" && word[0] >= 'A' && word[0] <= 'Z' }

func imageQuery(name string) (history.Query, error) {
	ref, err := image.Parse(name)
	if err != nil {
		return history.Query{}, usage("%s: neither a workload nor an image: %w", name, err)
	}
	return history.Query{Repository: ref.Name(), Digest: ref.Digest().String()}, nil
}

func (f *historyFlags) query(args []string, now time.Time) (history.Query, error) {
	subject := ""
	if len(args) > 0 {
		subject = args[0]
	}
	q, err := subjectQuery(subject)
	if err != nil {
		return q, err
	}
	q.Cluster, q.Container, q.Limit = f.cluster, f.container, f.limit
	if f.namespace != "" {
		if q.Namespace != "" && q.Namespace != f.namespace {
			return q, usage("-n %s, but the subject is in %s", f.namespace, q.Namespace)
		}
		q.Namespace = f.namespace
	}
	switch {
	case f.at != "":
		span, err := when.Parse(f.at, now)
		if err != nil {
			return q, usage("--at: %w", err)
		}
		q.From, q.To = span.From, span.To
	case f.since != "":
		span, err := when.Parse(f.since, now)
		if err != nil {
			return q, usage("--since: %w", err)
		}
		q.From = span.From
	}
	return q, nil
}

// historyJSON is what "history -o json" prints.
type historyJSON struct {
	Schema    string            `json:"schema"`
	Intervals []intervalJSON    `json:"intervals"`
	Revisions []revisionJSON    `json:"revisions"`
	Findings  []finding.Finding `json:"findings"`
}

type intervalJSON struct {
	Cluster   string         `json:"cluster,omitempty"`
	Namespace string         `json:"namespace,omitempty"`
	Workload  event.Workload `json:"workload"`
	Container string         `json:"container"`
	Kind      event.Kind     `json:"kind,omitempty"`
	Revision  string         `json:"revision,omitempty"`
	Reference string         `json:"reference,omitempty"`
	Digest    string         `json:"digest,omitempty"`
	DigestOf  string         `json:"digestOf,omitempty"`
	Platform  string         `json:"platform,omitempty"`
	First     time.Time      `json:"first"`
	Last      time.Time      `json:"last"`
	Running   int            `json:"running"`
	Starts    int            `json:"starts"`
	Paused    bool           `json:"paused,omitempty"`
	Nodes     []string       `json:"nodes,omitempty"`
	FirstPod  string         `json:"firstPod,omitempty"`
}

type revisionJSON struct {
	Cluster    string            `json:"cluster,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Workload   event.Workload    `json:"workload"`
	Name       string            `json:"name"`
	First      time.Time         `json:"first"`
	Deployment *event.Deployment `json:"deployment,omitempty"`
	// ImagesChanged is whether it asks for other images than the revision
	// before it; absent where that is not known.
	ImagesChanged *bool             `json:"imagesChanged,omitempty"`
	Images        []imageChangeJSON `json:"images,omitempty"`
}

// imageChangeJSON is a reference that a revision asks for, and the one before.
type imageChangeJSON struct {
	Container string `json:"container"`
	From      string `json:"from,omitempty"`
	To        string `json:"to"`
}

// intervals reads the intervals of a query, the oldest last.
func intervals(ctx context.Context, s *store.Store, q history.Query) ([]history.Interval, error) {
	var all []history.Interval
	for i, err := range s.Intervals(ctx, q) {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

func printHistory(ctx context.Context, env Env, s *store.Store, q history.Query, output string) error {
	all, err := intervals(ctx, s, q)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b history.Interval) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload.String(), b.Workload.String()),
			cmp.Compare(a.Container, b.Container), a.First.Compare(b.First))
	})
	var revisions []history.Revision
	if q.Digest == "" && q.Repository == "" && q.Pod == "" {
		if revisions, err = s.Revisions(ctx, q); err != nil {
			return err
		}
	}
	deployments, err := deploymentsOf(ctx, s, all, revisions)
	if err != nil {
		return err
	}
	findings, err := findingsOf(ctx, s, all, q)
	if err != nil {
		return err
	}
	if output == "json" {
		return writeHistoryJSON(env.Stdout, all, deployments, findings)
	}
	if len(all) == 0 {
		say(env, "tagwarden: the history has nothing of that%s\n", elsewhere(q))
		return nil
	}
	if q.Limit > 0 && len(all) == q.Limit {
		say(env, "tagwarden: only the first %d lines; --limit 0 shows all\n", q.Limit)
	}
	// Who asks for a time wants the exact digests.
	return writeHistory(env.Stdout, all, deployments, findings, env.Now(), !q.To.IsZero())
}

// elsewhere is where to look when a query selects nothing.
func elsewhere(q history.Query) string {
	switch {
	case q.Pod != "":
		return "; of pods that are gone it keeps the first of each digest, so ask for the workload"
	case q.Repository != "":
		return "; it was taken for the image " + q.Repository + ", and a workload is written deploy/NAME or NAMESPACE/deploy/NAME"
	case q.Workload != "" && q.Namespace != "":
		return "; namespace " + q.Namespace + " alone: tagwarden history ns/" + q.Namespace
	}
	return ""
}

// deploymentsOf says of revisions whether they brought other images than those
// before them, or something else, as "kubectl rollout restart" does.
func deploymentsOf(ctx context.Context, s *store.Store, all []history.Interval, revisions []history.Revision) ([]revisionJSON, error) {
	type workload struct {
		cluster, namespace string
		event.Workload
	}
	asked := map[history.Subject]bool{}
	// What each container of a workload asked for, in the order of the time.
	requests := map[workload][]request{}
	for i := range all {
		of := all[i].Subject
		if asked[of] || all[i].Kind == event.Ephemeral || len(revisions) == 0 {
			continue
		}
		asked[of] = true
		seen, err := s.Seen(ctx, of)
		if err != nil {
			return nil, err
		}
		w := workload{of.Cluster, of.Namespace, of.Workload}
		for _, x := range seen {
			requests[w] = append(requests[w], request{of.Container, x.Revision, x.Reference, x.First})
		}
	}
	out := make([]revisionJSON, 0, len(revisions))
	for i := range revisions {
		r := &revisions[i]
		x := revisionJSON{Cluster: r.Cluster, Namespace: r.Namespace, Workload: r.Workload, Name: r.Name, First: r.First, Deployment: r.Deployment}
		x.Images, x.ImagesChanged = imagesOf(requests[workload{r.Cluster, r.Namespace, r.Workload}], r.Name)
		out = append(out, x)
	}
	return out, nil
}

// request is what a container of a revision asked for, since when.
type request struct {
	container, revision, reference string
	first                          time.Time
}

// imagesOf compares what a revision asks for with the revision before it. What
// is not known of either is left out; changed is nil where nothing is known.
func imagesOf(requests []request, revision string) (images []imageChangeJSON, changed *bool) {
	firsts := map[string]time.Time{}
	asks := map[string]map[string]string{}
	for _, r := range requests {
		if at, ok := firsts[r.revision]; !ok || r.first.Before(at) {
			firsts[r.revision] = r.first
		}
		if asks[r.revision] == nil {
			asks[r.revision] = map[string]string{}
		}
		asks[r.revision][r.container] = r.reference
	}
	before := ""
	for name, at := range firsts {
		if at.Before(firsts[revision]) && (before == "" || at.After(firsts[before])) {
			before = name
		}
	}
	if before == "" {
		return nil, nil
	}
	differs := false
	for _, container := range slices.Sorted(maps.Keys(asks[revision])) {
		was, now := asks[before][container], asks[revision][container]
		if was != now {
			differs = true
			images = append(images, imageChangeJSON{container, was, now})
		}
	}
	return images, &differs
}

// findingsOf are the findings about the subjects of intervals, within the time
// of the query.
func findingsOf(ctx context.Context, s *store.Store, all []history.Interval, q history.Query) ([]finding.Finding, error) {
	asked := map[history.Subject]bool{}
	out := []finding.Finding{}
	for i := range all {
		of := all[i].Subject
		if asked[of] {
			continue
		}
		asked[of] = true
		found, err := s.FindingsAbout(ctx, of)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if (q.From.IsZero() || !f.Time.Before(q.From)) && (q.To.IsZero() || !f.Time.After(q.To)) {
				out = append(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b finding.Finding) int { return a.Time.Compare(b.Time) })
	return out, nil
}

func writeHistoryJSON(w io.Writer, all []history.Interval, revisions []revisionJSON, findings []finding.Finding) error {
	out := historyJSON{Schema: "tagwarden.history/v1", Intervals: []intervalJSON{}, Revisions: revisions, Findings: findings}
	for i := range all {
		x := &all[i]
		out.Intervals = append(out.Intervals, intervalJSON{
			x.Cluster, x.Namespace, x.Workload, x.Container, x.Kind, x.Revision, x.Reference, x.Digest, x.DigestOf, x.Platform,
			x.First, x.Last, x.Running, x.Starts, x.Paused, x.Nodes, x.Pod,
		})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// stamp is a time as tables show it, in the reader's zone.
func stamp(t time.Time, in *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(in).Format("2006-01-02 15:04:05")
}

func writeHistory(w io.Writer, all []history.Interval, revisions []revisionJSON, findings []finding.Finding, now time.Time, exact bool) error {
	digest := drift.Short
	if exact {
		digest = func(d string) string { return d }
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAMESPACE\tWORKLOAD\tCONTAINER\tREVISION\tIMAGE\tDIGEST\tFROM\tUNTIL\tSTARTS")
	for i := range all {
		x := &all[i]
		until := stamp(x.Last, now.Location())
		if x.Running > 0 {
			until += fmt.Sprintf(" (%d running)", x.Running)
		}
		if x.Paused {
			until += " (with pauses)"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", x.Namespace, x.Workload, x.Container, x.Revision,
			cmp.Or(x.Reference, "-"), cmp.Or(digest(x.Digest), "-"), stamp(x.First, now.Location()), until, x.Starts)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	if len(revisions) > 0 {
		b.WriteString("\nDeployments\n")
		for i := range revisions {
			r := &revisions[i]
			at, by := r.First, ""
			if d := r.Deployment; d != nil {
				if !d.Time.IsZero() {
					at = d.Time
				}
				for _, part := range []string{prefixed("by ", d.By), prefixed("through ", d.Via), prefixed("because: ", d.Cause)} {
					by += part
				}
			}
			fmt.Fprintf(&b, "  %s  %s/%s  revision %s%s\n", stamp(at, now.Location()), r.Namespace, r.Workload, r.Name, by)
			switch {
			case r.ImagesChanged == nil:
			case !*r.ImagesChanged:
				b.WriteString("    the same image text as before: something else was changed, or it was a restart\n")
			default:
				for _, i := range r.Images {
					fmt.Fprintf(&b, "    %s: %s, before %s\n", i.Container, i.To, cmp.Or(i.From, "none"))
				}
			}
		}
	}
	if len(findings) > 0 {
		b.WriteString("\nFindings\n")
		for i := range findings {
			f := &findings[i]
			fmt.Fprintf(&b, "  %s  %s  %s\n", stamp(f.Time, now.Location()), f.ID, f.Severity)
			wrap(&b, "    ", 100, f.Message+".")
		}
	}
	if !exact {
		b.WriteString("\nDigests are cut short; --at and -o json have them whole.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return " " + prefix + text
}
