package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/scan"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/when"
)

// ranFlags say where what ran is known.
type ranFlags struct {
	store               *string
	at                  string
	kubeconfig, context string
	name, namespace     string
}

func (f *ranFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.store = storeFlag(cmd, " for --from-history")
	flags.StringVar(&f.at, "at", "", "what ran at this `time`, for --from-history; otherwise what the newest revision ran first")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` for --from-cluster and --pull-secret (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.name, "cluster-name", "", "`name` of the cluster: in the lock file, or to select in the history")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "what runs in one namespace only")
}

func (f *ranFlags) valid(history, cluster, secrets bool) error {
	switch {
	case f.at != "" && !history:
		return usage("--at is for --from-history")
	case (f.kubeconfig != "" || f.context != "") && !cluster && !secrets:
		return usage("--kubeconfig and --context are for --from-cluster and --pull-secret")
	case (f.name != "" || f.namespace != "") && !history && !cluster:
		return usage("--cluster-name and -n are for --from-history and --from-cluster")
	}
	return nil
}

// ran is what a container ran.
type ran struct {
	namespace, workload, container string // the workload as Kind/name
	digest                         string
	err                            error // why it cannot be relied on
}

// proof finds what was proven to run.
type proof struct {
	*pinRun
	from string
	// ran lists what ran for a reference.
	ran func(ctx context.Context, a *pin.Asked) ([]ran, error)
}

func (f *ranFlags) start(ctx context.Context, r *pinRun) error {
	p := &proof{pinRun: r}
	if r.fromHistory {
		h := &ranHistory{flags: f, repositories: map[string][]history.Interval{}}
		if f.at != "" {
			span, err := when.Parse(f.at, r.env.Now())
			if err != nil {
				return usage("--at: %w", err)
			}
			h.at = span
		}
		s, err := readHistory(ctx, *f.store, r.con)
		if err != nil {
			return err
		}
		h.store, r.close = s, s.Close
		p.from, p.ran = "history", h.list
	} else {
		src, err := kube.New(kube.Config{Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, Cluster: f.name, Log: newLog(r.con)})
		if err != nil {
			return err
		}
		list, err := listCluster(ctx, r.env, src)
		if err != nil {
			return err
		}
		p.from, p.ran = "cluster:"+src.Cluster(), list
	}
	r.resolver.Ran = p.find
	return nil
}

// find is what was proven to run for a reference: of its own workload and
// container, or else of whatever runs it, if that is one digest.
func (p *proof) find(ctx context.Context, a *pin.Asked) (pin.Answer, error) {
	if a.Action {
		return pin.Answer{}, errors.New("an action does not run in a cluster; pin it without --from-history and --from-cluster")
	}
	all, err := p.ran(ctx, a)
	if err != nil {
		return pin.Answer{}, err
	}
	if own := ofObject(all, a); len(own) > 0 {
		all = own
	}
	if len(all) == 0 {
		return pin.Answer{}, fmt.Errorf("%s was never seen to run; pin it without --from-history and --from-cluster", a.Follows)
	}
	digest := all[0].digest
	for i := range all {
		switch x := &all[i]; {
		case x.err != nil:
			return pin.Answer{}, fmt.Errorf("%s/%s, container %s: %w", x.namespace, x.workload, x.container, x.err)
		case x.digest != digest:
			return pin.Answer{}, fmt.Errorf("different digests ran: %s (%s/%s), %s (%s/%s); say which with --at, or \"tagwarden baseline approve\"",
				drift.Short(digest), all[0].namespace, all[0].workload, drift.Short(x.digest), x.namespace, x.workload)
		}
	}
	answer := pin.Answer{Digest: digest, From: p.from}
	return p.confirm(ctx, a, answer)
}

// ofObject are those of the workload and the container that a reference is in.
func ofObject(all []ran, a *pin.Asked) []ran {
	o := a.Object
	if o.Kind == "" || o.Name == "" {
		return nil
	}
	var own []ran
	for _, x := range all {
		if strings.EqualFold(x.workload, o.Kind+"/"+o.Name) && (o.Namespace == "" || o.Namespace == x.namespace) && (a.Container == "" || a.Container == x.container) {
			own = append(own, x)
		}
	}
	return own
}

// confirm asks whether the registry still has what ran, and whether the tag still
// leads there.
func (p *proof) confirm(ctx context.Context, a *pin.Asked, answer pin.Answer) (pin.Answer, error) {
	if *p.offline {
		return answer, nil
	}
	// Within one run, the registry is asked once.
	const same = time.Hour
	exact, err := image.Parse(a.Name + "@" + answer.Digest)
	if err != nil {
		return pin.Answer{}, err
	}
	got, err := p.client.ResolveWithin(ctx, exact, same)
	if errors.Is(err, registry.ErrNotFound) {
		return pin.Answer{}, fmt.Errorf("%s is what ran, and %s no longer has it", answer.Digest, a.Image.Registry())
	}
	if err != nil {
		return pin.Answer{}, err
	}
	answer.Platforms = pin.KindOf(got.MediaType)
	tag, err := image.Parse(a.Follows)
	if err != nil {
		return pin.Answer{}, err
	}
	now, err := p.client.ResolveWithin(ctx, tag, same)
	switch {
	case err != nil:
		answer.Warnings = append(answer.Warnings, "pinned to what ran; where the tag leads now is not known: "+err.Error())
	case now.Digest.String() != answer.Digest:
		answer.Warnings = append(answer.Warnings, fmt.Sprintf("%s: the tag leads to %s now, and %s is what ran; pinned to what ran%s",
			finding.TW03, now.Digest, answer.Digest, p.contains(ctx, tag, now.Digest, answer.Digest)))
	}
	return answer, nil
}

// contains says if an index has what ran as the image of one platform.
func (p *proof) contains(ctx context.Context, tag image.Reference, index image.Digest, digest string) string {
	contents, err := p.client.Content(ctx, tag, index, image.Platform{})
	if err != nil || len(contents) == 0 {
		return ""
	}
	for _, child := range contents[0].Children {
		if child.Digest.String() == digest {
			return ", which is the image for " + child.Platform.String() + " in it"
		}
	}
	return ""
}

// listCluster reads what pods run.
func listCluster(ctx context.Context, env Env, src *kube.Source) (func(context.Context, *pin.Asked) ([]ran, error), error) {
	cluster := &scan.Cluster{Name: src.Cluster()}
	err := src.Pages(ctx, "", func(k kube.Kind, page []byte) error {
		return cluster.Add(k.Name, k.APIVersion, page)
	}, func(what string, reason error) { cluster.Gap(what, reason.Error()) })
	if err != nil {
		return nil, err
	}
	runs, gaps := cluster.Runs()
	for _, gap := range gaps {
		say(env, "tagwarden: warning: not all that runs is known: %s\n", inLine(placed(gap)))
	}
	byReference := map[string][]ran{}
	for i := range runs {
		run := &runs[i]
		ref, err := image.Parse(run.Image)
		if err != nil || ref.Pinned() {
			continue
		}
		key := ref.Name() + ":" + cmp.Or(ref.Tag(), "latest")
		x := ran{namespace: run.Namespace, workload: run.Workload, container: run.Container}
		switch {
		case run.Local:
			x.err = errors.New("the runtime gave an image id, which no registry has")
		case len(run.Digests) > 1:
			x.err = fmt.Errorf("its pods run %d different digests, see: tagwarden drift -n %s", len(run.Digests), run.Namespace)
		}
		for digest := range run.Digests {
			x.digest = digest
		}
		byReference[key] = append(byReference[key], x)
	}
	return func(_ context.Context, a *pin.Asked) ([]ran, error) { return byReference[a.Follows], nil }, nil
}

// ranHistory finds what ran in a store.
type ranHistory struct {
	flags *ranFlags
	store *store.Store
	at    when.Span

	mu           sync.Mutex
	repositories map[string][]history.Interval
}

// list is what each container ran for a reference: what was approved, or else what
// its newest revision ran first; with --at, what it ran then.
func (h *ranHistory) list(ctx context.Context, a *pin.Asked) ([]ran, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, known := h.repositories[a.Name]
	if !known {
		var err error
		all, err = intervals(ctx, h.store, history.Query{
			Cluster: h.flags.name, Namespace: h.flags.namespace, Repository: a.Name, From: h.at.From, To: h.at.To,
		})
		if err != nil {
			return nil, err
		}
		h.repositories[a.Name] = all
	}
	bySubject := map[history.Subject][]history.Interval{}
	for _, i := range all {
		ref, err := image.Parse(i.Reference)
		if err != nil || i.Kind == event.Ephemeral || ref.Pinned() || ref.Name()+":"+cmp.Or(ref.Tag(), "latest") != a.Follows {
			continue
		}
		bySubject[i.Subject] = append(bySubject[i.Subject], i)
	}
	var out []ran
	for subject, of := range bySubject {
		x := ran{namespace: subject.Namespace, workload: subject.Workload.Kind + "/" + subject.Workload.Name, container: subject.Container}
		x.digest, x.err = h.one(ctx, subject, of)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b ran) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.workload, b.workload), cmp.Compare(a.container, b.container))
	})
	return out, nil
}

// one is what one container is to run.
func (h *ranHistory) one(ctx context.Context, subject history.Subject, of []history.Interval) (string, error) {
	slices.SortFunc(of, func(a, b history.Interval) int { return a.First.Compare(b.First) })
	if h.at != (when.Span{}) {
		return pullable(of[0])
	}
	approved, err := h.store.Approved(ctx, subject, of[0].Reference)
	switch {
	case err != nil:
		return "", err
	case len(approved) == 1:
		return approved[0], nil
	case len(approved) > 1:
		return "", fmt.Errorf("%d digests are approved; see: tagwarden baseline list", len(approved))
	}
	// The newest revision is the one whose first start is the latest.
	first := map[string]history.Interval{}
	var newest history.Interval
	for _, i := range of {
		if _, ok := first[i.Revision]; !ok {
			first[i.Revision], newest = i, i
		}
	}
	found, err := h.store.FindingsAbout(ctx, subject)
	if err != nil {
		return "", err
	}
	for i := range found {
		f := &found[i]
		if (f.ID == finding.TW03 || f.ID == finding.TW04) && f.Form != drift.FormMoved && f.Fact(drift.To) == newest.Digest {
			return "", fmt.Errorf("it ran %s, and %s since (%s at %s); say which with --at, or \"tagwarden baseline approve\"",
				drift.Short(f.Fact(drift.From)), drift.Short(newest.Digest), f.ID, f.Time.UTC().Format(time.RFC3339))
		}
	}
	return pullable(newest)
}

// pullable is the digest of an interval, if a registry can have it.
func pullable(i history.Interval) (string, error) {
	if i.Digest == "" || i.DigestOf == "" {
		return "", errors.New("the runtime gave no digest that can be pulled")
	}
	return i.Digest, nil
}

// function pins the items of a ResourceList
// (https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md).
func (f *pinFlags) function(cmd *cobra.Command, env Env) error {
	if f.write || f.diff || f.check {
		return usage("--krm writes a ResourceList to stdout; leave out --write, --diff and --check")
	}
	ctx := cmd.Context()
	first := &pinRun{pinFlags: f, env: env, con: newConsole(env)}
	data, err := first.stdin(ctx)
	if err != nil {
		return err
	}
	list, err := manifest.ParseResourceList(data)
	if err != nil {
		return fmt.Errorf("--krm: stdin: %w", err)
	}
	for name, value := range list.Config {
		if !slices.Contains(functionFlags, name) {
			return usage("functionConfig: data.%s is none of %s", name, strings.Join(functionFlags, ", "))
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return usage("functionConfig: data.%s: %w", name, err)
		}
	}
	f.lockSet = cmd.Flags().Changed("lock")
	if err := f.valid([]string{"-"}); err != nil {
		return err
	}
	r, err := f.start(ctx, env)
	if err != nil {
		return err
	}
	p := &pinnedFile{name: "ResourceList"}
	edited := r.edit(ctx, r.editor(), p, manifest.Kubernetes, data)
	if err := errors.Join(p.err, r.close()); err != nil {
		return err
	}
	total := &pinTotal{}
	total.add(p)
	var results []manifest.FunctionResult
	for i := range p.items {
		item := &p.items[i]
		about := manifest.FunctionResult{Object: item.Object, Path: item.Path}
		if item.State == pin.Left {
			about.Severity, about.Message = "error", item.Before+" is not pinned: "+item.Err.Error()
			results = append(results, about)
		}
		for _, w := range item.Warnings {
			about.Severity, about.Message = "warning", item.Before+": "+w
			results = append(results, about)
		}
	}
	for _, u := range p.unscannable {
		results = append(results, manifest.FunctionResult{Severity: "error", Message: u.Error()})
	}
	text, err := list.WithResults(edited.Text, results)
	if err != nil {
		return fmt.Errorf("--krm: %w", err)
	}
	r.diff = true // What was left is said on stderr, too.
	r.say(p)
	if _, err := env.Stdout.Write(text); err != nil {
		return err
	}
	return f.status(total)
}

// functionFlags are what a functionConfig can set.
var functionFlags = []string{"style", "renovate", "platform", "lock", "locked", "offline", "registry-map", "plain-http", "allow-unpinned"}
