package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/evidence"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/source/containerd"
	"github.com/tagwarden/tagwarden/internal/source/falcoalert"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/triage"
	"github.com/tagwarden/tagwarden/internal/version"
)

type triageFlags struct {
	store      *string
	from       []string
	kubeconfig string
	context    string
	cluster    string
	namespace  string
	container  string
	policy     string
	node       string
	nodeNS     string
	timeout    time.Duration
	explain    bool
	apply      []string
	yes        bool
	kinds      []string
	apis       []string
	output     *string
	failOn     *string
	registry   *registryFlags
	offline    *bool
	secrets    *bool
}

// The words of triage's --fail-on.
const (
	failNone    = "none"
	failHygiene = "hygiene"
	failUrgent  = "urgent"
	failTriage  = "escalate"
)

func newTriage(env Env) *cobra.Command {
	var f triageFlags
	cmd := &cobra.Command{
		Use:   "triage SUBJECT",
		Short: "Decide what an alert means, with the evidence",
		Long: `Triage asks the cluster, the history, the registries and the policy all at once
what is known of a container, and decides: escalate (an incident), hygiene (not an
incident; something to mend), expected, or undecided, with what is missing. The
report has the order of the triage guide: namespace, pull, registry, digest. What
could not be learnt is said, and never counts as good.

SUBJECT is one of
  3d7a83bf6fd2…                 an alert: the fingerprint of a finding in --store, or
                                its first 8 digits or more
  shop/api-5d8c-x[/api]         a pod, and maybe one of its containers
  deploy/api, shop/deploy/api   a workload, with its namespace or -n
  image/nginx, sha256:…         all that runs an image or a digest
  -                             alerts of Falco or of "tagwarden watch -o json" on
                                stdin, as JSON

What runs is asked of the cluster (get and list on pods, nodes, workloads and
events), of saved answers with --from, or without a cluster of --store alone. With
--store it is known what ran before, and what registries told of pushes (see
"tagwarden watch --listen-pushes").

Nothing is changed. --apply does one of the next steps, after asking.

Exit status: 0 expected, or a verdict below --fail-on; 1 one at or above it; 3 if it
is undecided, or could not be asked. Hygiene with a tracked exception is always 0.`,
		Example: `  tagwarden triage shop/api-5d8c-x --store watch.db
  tagwarden triage 3d7a83bf --store watch.db -o markdown > incident.md
  tagwarden triage shop/deploy/api --explain
  falco -o json_output=true … | tagwarden triage -
  tagwarden triage shop/deploy/api --apply rollback`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	f.store = storeFlag(cmd, ": what ran before, and what registries told")
	flags.StringArrayVar(&f.from, "from", nil, "saved answers of \"kubectl get -o json\" instead of a cluster; - for stdin (may repeat)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.cluster, "cluster-name", "", "`name` of the cluster in the history (default: the one in the kubeconfig)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "the namespace of SUBJECT")
	flags.StringVar(&f.node, "containerd-address", "", "containerd's `socket`, if this is the node that runs SUBJECT: when its image came")
	flags.StringVar(&f.nodeNS, "containerd-namespace", containerd.DefaultNamespace, "containerd's namespace")
	flags.StringVarP(&f.container, "container", "c", "", "one container only")
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.DurationVar(&f.timeout, "timeout", evidence.DefaultTimeout, "how long everything together may take")
	flags.BoolVar(&f.explain, "explain", false, "show each row of the table, and which one decided")
	flags.StringSliceVar(&f.apply, "apply", nil, "do these of the next steps: quarantine, rollback, cordon, pin")
	complete(cmd, "apply", string(triage.Quarantine), string(triage.Rollback), string(triage.Cordon), string(triage.Pin))
	flags.BoolVar(&f.yes, "yes", false, "do not ask before --apply")
	flags.StringArrayVar(&f.kinds, "registry-kind", nil, "what a self-hosted registry is, as `HOST=KIND`: harbor, quay, gitlab, distribution, zot (may repeat)")
	flags.StringArrayVar(&f.apis, "registry-api", nil, "where the API of a registry is, as `HOST=ADDRESS` (may repeat)")
	f.failOn = choiceFlag(cmd, "fail-on", "least verdict that makes the exit status 1", failUrgent, failNone, failHygiene, failTriage)
	f.registry, f.offline, f.secrets = addRegistryFlags(cmd), offlineFlag(cmd), pullSecretsFlag(cmd)
	f.output = outputFlag(cmd, "table", "json", "markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), env, args[0]) }
	return cmd
}

func (f *triageFlags) run(ctx context.Context, env Env, subject string) (err error) {
	if err := f.check(subject, env); err != nil {
		return err
	}
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	con := newConsole(env)
	g := &evidence.Gatherer{Policy: pol, Now: env.Now, Timeout: f.timeout, Cluster: f.cluster, Log: newLog(con)}
	if *f.store != "" {
		s, err := readHistory(ctx, *f.store, con)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		g.History = s
	}
	if f.node != "" {
		g.Images = containerd.New(containerd.Config{Address: f.node, Namespace: f.nodeNS, Log: newLog(con)}).Images
	}
	cluster, err := f.look(env, con, g, subject)
	if err != nil {
		return err
	}
	if err := f.ask(g, con, cluster); err != nil {
		return err
	}
	questions, err := f.questions(ctx, env, subject, g.History)
	if err != nil {
		return err
	}
	var reports []triage.Report
	var failed []error
	for _, q := range questions {
		all, err := g.Gather(ctx, q)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, evidence.ErrNothing):
			failed = append(failed, fmt.Errorf("%s: %w; a pod that is gone is found by its workload, or in a history with --store", subject, err))
		case err != nil:
			failed = append(failed, err)
		}
		reports = append(reports, all...)
	}
	if len(reports) > 0 {
		if err := f.print(env, reports); err != nil {
			return err
		}
	}
	if err := f.applyTo(ctx, env, cluster, reports); err != nil {
		return err
	}
	return f.status(reports, errors.Join(failed...))
}

func (f *triageFlags) check(subject string, env Env) error {
	known := []string{string(triage.Quarantine), string(triage.Rollback), string(triage.Cordon), string(triage.Pin)}
	for _, a := range f.apply {
		if !slices.Contains(known, a) {
			return usage("--apply %s: want one of %s", a, strings.Join(known, ", "))
		}
	}
	switch {
	case f.timeout <= 0:
		return usage("--timeout %s: want more than 0", f.timeout)
	case subject == "-" && slices.Contains(f.from, "-"):
		return usage("SUBJECT and --from cannot both be stdin")
	case len(f.apply) > 0 && len(f.from) > 0:
		return usage("--apply is for a cluster, not for saved answers")
	case len(f.apply) > 0 && !f.yes && (subject == "-" || !isTerminal(env.Stdin)):
		return usage("--apply asks before it changes anything, and there is no terminal to ask on; give --yes if you mean it")
	}
	return nil
}

// look opens what says what runs now. The cluster is nil where there is none.
func (f *triageFlags) look(env Env, con *console, g *evidence.Gatherer, subject string) (*kube.Source, error) {
	if len(f.from) > 0 {
		d := dump(env, f.from, f.cluster)
		g.Look, g.Whole = func(string) (engine.Source, error) { return d, nil }, true
		return nil, nil //nolint:nilnil // no cluster is one of the answers
	}
	config := kube.Config{Kubeconfig: f.kubeconfig, Context: f.context, Cluster: f.cluster, Log: newLog(con)}
	src, err := kube.New(config)
	if err != nil {
		// The history is enough, or what an alert itself says.
		if *f.store == "" && subject != "-" || f.kubeconfig != "" || f.context != "" || len(f.apply) > 0 {
			return nil, fmt.Errorf("%w; or saved answers with --from, or a history with --store", err)
		}
		return nil, nil //nolint:nilnil // no cluster is one of the answers
	}
	if g.Cluster == "" {
		g.Cluster = src.Cluster()
	}
	g.Pulls = src.Pulls
	g.Look = func(namespace string) (engine.Source, error) {
		config := config
		config.Namespace = namespace
		in, err := kube.New(config)
		if err != nil {
			return nil, err
		}
		return kube.Look{Source: in}, nil
	}
	return src, nil
}

// ask says how registries are asked.
func (f *triageFlags) ask(g *evidence.Gatherer, con *console, cluster *kube.Source) error {
	config := pushes.Config{Kinds: map[string]pushes.Kind{}, APIs: map[string]string{}, UserAgent: "tagwarden/" + version.Get().Version, Env: os.Getenv}
	for _, k := range f.kinds {
		host, kind, ok := strings.Cut(k, "=")
		if !ok || !slices.Contains([]pushes.Kind{pushes.Harbor, pushes.Quay, pushes.GitLab, pushes.Distribution, pushes.Zot}, pushes.Kind(kind)) {
			return usage("--registry-kind %s: want HOST=KIND, KIND being harbor, quay, gitlab, distribution or zot", k)
		}
		config.Kinds[host] = pushes.Kind(kind)
	}
	for _, a := range f.apis {
		host, address, ok := strings.Cut(a, "=")
		if !ok || !strings.Contains(address, "://") {
			return usage("--registry-api %s: want HOST=ADDRESS, such as gitlab.example:5050=https://gitlab.example", a)
		}
		config.APIs[host] = address
	}
	if *f.offline {
		return nil
	}
	var cache registry.Cache
	client, err := f.registry.client(newLog(con), cache)
	if err != nil {
		return err
	}
	asks := resolving{Client: client, log: newLog(con)}
	if cluster != nil && *f.secrets {
		asks.cluster = cluster
	}
	keys := registry.Chain(registry.Files(registry.DefaultFiles(os.Getenv)...))
	config.Credentials = func(ctx context.Context, host, repository string) (pushes.Credential, error) {
		c, err := keys(ctx, host, repository)
		return pushes.Credential{Username: c.Username, Password: c.Password, Token: cmp.Or(c.AccessToken, c.IdentityToken)}, err
	}
	g.Resolver = asks
	g.Config = func(ctx context.Context, repository image.Reference, d image.Digest) ([]byte, error) {
		return imageConfig(ctx, client, repository, d)
	}
	g.Diff = func(ctx context.Context, from, to image.Reference, on image.Platform) (string, error) {
		return whatChanged(ctx, client, from, to, on)
	}
	g.Pushes = func(ref image.Reference) (pushes.Source, bool) { return pushes.For(ref, config) }
	return nil
}

// maxChanges is how many differences a report has, and maxFiles how many files it
// names besides.
const maxChanges, maxFiles = 6, 3

// whatChanged says in a line what differs between two images.
func whatChanged(ctx context.Context, client *registry.Client, from, to image.Reference, on image.Platform) (string, error) {
	diff, err := imagediff.Compare(ctx, client, from, to, imagediff.Options{Platform: on})
	if err != nil {
		return "", err
	}
	var changes []string
	told := map[string]bool{}
	for _, h := range diff.Highlight(maxChanges) {
		changes, told[h.Subject] = append(changes, h.String()), true
	}
	// The first files by their names, also those that have no mark.
	files := 0
	for i := range diff.Platforms {
		for _, file := range diff.Platforms[i].Files.List {
			if files < maxFiles && !told[file.Path] {
				changes, told[file.Path] = append(changes, file.Path+" "+file.Change), true
				files++
			}
		}
	}
	switch {
	case len(changes) > 0:
		return strings.Join(changes, "; "), nil
	case diff.Same:
		return "nothing", nil
	}
	return "nothing that could be told; see tagwarden image diff", nil
}

// maxConfig is the largest config of an image that is read, in bytes.
const maxConfig = 4 << 20

// imageConfig reads the config of a manifest.
func imageConfig(ctx context.Context, client *registry.Client, repository image.Reference, d image.Digest) ([]byte, error) {
	m, err := client.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	if m.Config.Digest == "" || m.Config.Size > maxConfig {
		return nil, fmt.Errorf("%s@%s has no config of up to %d MiB", repository.Name(), d, maxConfig>>20)
	}
	blob, err := client.Blob(ctx, repository, m.Config)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(io.LimitReader(blob, maxConfig+1))
}

// fingerprints are how alerts are named: at least the beginning.
var fingerprints = regexp.MustCompile(`^[0-9a-f]{8,32}$`)

// questions says what is to be triaged.
func (f *triageFlags) questions(ctx context.Context, env Env, subject string, s *store.Store) ([]evidence.Question, error) {
	if subject == "-" {
		return f.alerts(ctx, env, s)
	}
	if fingerprints.MatchString(subject) {
		if s == nil {
			return nil, usage("%s: an alert is looked for in the history; give --store, or name a pod or a workload", subject)
		}
		q, err := f.alert(ctx, s, subject)
		return []evidence.Question{q}, err
	}
	q, err := triageSubject(subject)
	if err != nil {
		return nil, err
	}
	if f.namespace != "" {
		if q.Namespace != "" && q.Namespace != f.namespace {
			return nil, usage("-n %s, but the subject is in %s", f.namespace, q.Namespace)
		}
		q.Namespace = f.namespace
	}
	if f.container != "" {
		q.Container = f.container
	}
	return []evidence.Question{q}, nil
}

// triageSubject reads a subject: namespace/pod[/container], or what history
// takes.
func triageSubject(text string) (evidence.Question, error) {
	parts := strings.Split(text, "/")
	kindly := func(s string) bool {
		s = strings.ToLower(s)
		return kinds[s] != "" || slices.Contains([]string{"ns", "namespace", "image", "pod", "po", "pods"}, s)
	}
	capital := len(parts) == 2 && parts[0] != "" && parts[0][0] >= 'A' && parts[0][0] <= 'Z'
	other := kindly(parts[0]) || len(parts) == 3 && kindly(parts[1]) || capital || strings.ContainsAny(text, ":@") || slices.Contains(parts, "")
	switch {
	case other:
	case len(parts) == 2:
		return evidence.Question{Namespace: parts[0], Pod: parts[1]}, nil
	case len(parts) == 3:
		return evidence.Question{Namespace: parts[0], Pod: parts[1], Container: parts[2]}, nil
	}
	q, err := subjectQuery(text)
	return evidence.Question{
		Namespace: q.Namespace, Workload: q.Workload, Pod: q.Pod, Repository: q.Repository, Digest: q.Digest,
	}, err
}

// alert finds a finding by its fingerprint.
func (f *triageFlags) alert(ctx context.Context, s *store.Store, fingerprint string) (evidence.Question, error) {
	var found []finding.Finding
	for r, err := range s.Findings(ctx, history.Query{Cluster: f.cluster}) {
		if err != nil {
			return evidence.Question{}, err
		}
		if strings.HasPrefix(r.Fingerprint(), fingerprint) {
			found = append(found, r.Finding)
		}
	}
	switch len(found) {
	case 0:
		return evidence.Question{}, fmt.Errorf("no alert %s in %s; its fingerprint is in the field tagwarden.fingerprint", fingerprint, *f.store)
	case 1:
		return about(&found[0]), nil
	}
	return evidence.Question{}, usage("%s begins the fingerprints of %d alerts; give more digits", fingerprint, len(found))
}

// about is the question that a finding puts. Its pod may be gone, its workload
// is there longer.
func about(x *finding.Finding) evidence.Question {
	q := evidence.Question{Namespace: x.Subject.Namespace, Workload: x.Subject.Workload, Container: x.Subject.Container, Finding: x}
	if q.Workload == "" {
		if ref, err := image.Parse(x.Image); err == nil {
			q.Repository = ref.Name()
		}
	}
	return q
}

const (
	// maxAlerts is how many alerts one run takes from stdin, and maxAlertBytes
	// how much of it is read.
	maxAlerts, maxAlertBytes = 20, 16 << 20
)

// alerts reads alerts from stdin, one JSON object after the other.
func (f *triageFlags) alerts(ctx context.Context, env Env, s *store.Store) ([]evidence.Question, error) {
	in := interruptible(env.Stdin)
	defer context.AfterFunc(ctx, func() { in.Close() })()
	dec := json.NewDecoder(io.LimitReader(in, maxAlertBytes))
	var all []evidence.Question
	for n := 1; ; n++ {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("stdin: alert %d: not JSON; set json_output: true in Falco", n)
		}
		if n > maxAlerts {
			return nil, fmt.Errorf("stdin: more than %d alerts; triage them in parts", maxAlerts)
		}
		a, err := falcoalert.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("stdin: alert %d: %w", n, err)
		}
		q, err := f.falco(ctx, s, &a)
		if err != nil {
			return nil, fmt.Errorf("stdin: alert %d: %w", n, err)
		}
		all = append(all, q)
	}
	if len(all) == 0 {
		return nil, errors.New("stdin: no alert")
	}
	return all, nil
}

// falco is the question that an alert of Falco puts. One of our own names its
// finding.
func (f *triageFlags) falco(ctx context.Context, s *store.Store, a *falcoalert.Alert) (evidence.Question, error) {
	if s != nil && a.Fingerprint != "" {
		if q, err := f.alert(ctx, s, a.Fingerprint); err == nil {
			return q, nil
		}
	}
	q := evidence.Question{
		Namespace: cmp.Or(a.Namespace, f.namespace), Pod: a.Pod, Container: cmp.Or(f.container, a.Container),
		Falco: &evidence.Falco{Time: a.Time, Rule: a.Rule, Output: a.Output, Repository: a.Repository, Tag: a.Tag, Digest: a.Digest},
	}
	if q.Pod == "" {
		// Without the pod, the name of a container is one of many.
		q.Container, q.ContainerID = "", a.ContainerID
	}
	if q.Pod == "" && q.ContainerID == "" {
		return q, errors.New("it names neither a pod nor a container; add k8s.pod.name to the output of the rule")
	}
	return q, nil
}

// status is the exit status.
func (f *triageFlags) status(reports []triage.Report, failed error) error {
	undecided := 0
	for i := range reports {
		r := &reports[i]
		if r.Verdict == triage.Undecided {
			undecided++
		}
		if f.fails(r) {
			return errors.Join(failed, &statusError{status: exitFindings})
		}
	}
	switch {
	case failed != nil:
		return failed
	case undecided > 0:
		return &statusError{exitFailed, fmt.Errorf("%s undecided; the report says what is missing", plural(undecided, "container"))}
	}
	return nil
}

// fails reports whether a verdict is at or above --fail-on.
func (f *triageFlags) fails(r *triage.Report) bool {
	switch *f.failOn {
	case failHygiene:
		return r.Verdict == triage.Escalate || r.Verdict == triage.Hygiene && !r.Closed()
	case failUrgent:
		return r.Verdict == triage.Escalate || r.Urgent
	case failTriage:
		return r.Verdict == triage.Escalate
	}
	return false
}

// applyTo does the steps that were asked for, after asking back.
func (f *triageFlags) applyTo(ctx context.Context, env Env, cluster *kube.Source, reports []triage.Report) error {
	if len(f.apply) == 0 {
		return nil
	}
	if len(reports) != 1 {
		return usage("--apply is for one container, and the report is about %d; name a pod or a workload, and -c CONTAINER", len(reports))
	}
	r := &reports[0]
	for _, a := range f.apply {
		i := slices.IndexFunc(r.Next, func(s triage.Step) bool { return string(s.Action) == a })
		if i < 0 {
			return fmt.Errorf("--apply %s: it is none of the next steps of this report; nothing was changed", a)
		}
		step := &r.Next[i]
		if !f.yes && !confirmed(env, fmt.Sprintf("%s:\n%s\nDo it? Write yes: ", step.What, step.Command)) {
			return fmt.Errorf("--apply %s: not confirmed; nothing was changed by it", a)
		}
		if err := do(ctx, cluster, r, step); err != nil {
			return fmt.Errorf("--apply %s: %w", a, err)
		}
		say(env, "tagwarden: done: %s\n", step.What)
	}
	return nil
}

// confirmed asks on the terminal.
func confirmed(env Env, question string) bool {
	say(env, "%s", question)
	line, _ := bufio.NewReader(io.LimitReader(env.Stdin, 100)).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

// applyTimeout is how long a change of the cluster may take.
const applyTimeout = 15 * time.Second

func do(ctx context.Context, cluster *kube.Source, r *triage.Report, step *triage.Step) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	s := r.Subject
	kind, name, _ := strings.Cut(s.Workload, "/")
	switch step.Action {
	case triage.Quarantine:
		return cluster.Quarantine(ctx, s.Namespace, s.Pod, triage.QuarantineLabel, triage.QuarantineName, triage.NetworkPolicy(s.Namespace))
	case triage.Cordon:
		return cluster.Cordon(ctx, s.Node)
	case triage.Rollback, triage.Pin:
		return cluster.SetImage(ctx, s.Namespace, kind, name, s.Container, s.Kind == "init" || s.Kind == "sidecar", step.Image)
	}
	return fmt.Errorf("unknown step %s", step.Action)
}
