package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/source/containerd"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/source/replay"
	"github.com/tagwarden/tagwarden/internal/store"
	"github.com/tagwarden/tagwarden/internal/when"
)

// policyFile is read from the working directory when --policy is not given.
const policyFile = "tagwarden.yaml"

// watchFlags are the flags of "watch".
type watchFlags struct {
	sources    []string
	rules      []string
	policy     string
	matching   *string
	output     *string
	failOn     *string
	selection  *ruleSelection
	kubeconfig string
	context    string
	cluster    string
	namespace  string
	address    string
	ctrdNS     string
	node       string
	events     []string
	pace       float64
	quiet      bool
	store      *string
	checkTags  time.Duration
	registry   *registryFlags
	offline    *bool
	secrets    *bool
	retain     string
	alerts     []string
	falcoAddr  string
	falcoToken string
	pushAddr   string
	pushToken  string
}

func newWatch(env Env) *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Alert on container starts as they happen",
		Long: `Watch sees every container start and evaluates Falco rules over it. What
already runs when the watch begins is judged, too.

Sources, of which several may be given; a start that two of them see counts
once:
  kube        the pods of a cluster, through its API (needs get, list and watch
              on pods)
  containerd  the containers of this node, through containerd's socket; what a
              node cannot know stays empty
  falco       the containers that alerts of a Falco tell of, which runs already:
              from files or stdin, or sent by its http_output or by falcosidekick
  replay      container starts from files or stdin, as "-o events" writes them

Output formats:
  text    one line an alert, as Falco prints it
  json    one JSON object an alert, as "falco -o json_output=true" prints it and
          falcosidekick reads it
  events  one JSON object a container start, for --source replay

--listen-pushes takes webhooks of registries, asks the registry whether each is so,
and alerts when somebody pushed whom knownPushers of the policy does not name
(TW-07). Send them to http://ADDRESS/HOST, HOST being the registry as it is written
in image names; "tagwarden triage" reads what --store keeps of them.

Without -r the rules that come with Tagwarden are used. The policy is
tagwarden.yaml of the working directory, if there is one: which namespaces are
production, which images are for debugging, and who accepts what until when.
Rules files and policy are read again when they change; if they do not load,
the old ones stay in use, and a line on stderr says so.

Ctrl-C ends the watch with a summary on stderr.`,
		Example: `  tagwarden watch
  tagwarden watch --source kube --context staging -n shop -o json
  sudo tagwarden watch --source containerd -r my_rules.yaml
  tagwarden watch -o events > monday.jsonl
  tagwarden watch --source replay --events monday.jsonl`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.sources, "source", []string{"kube"}, "where starts come from: kube, containerd, falco, replay (may repeat)")
	complete(cmd, "source", "kube", "containerd", "falco", "replay")
	flags.StringArrayVarP(&f.rules, "rules", "r", nil, "Falco rules `file`, or a folder of them, instead of the built-in rules (may repeat)")
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	f.matching = choiceFlag(cmd, "rule-matching", "alert on the first rule that matches a start, or on all", "first", "all")
	f.output = outputFlag(cmd, "text", "json", "events")
	f.failOn = failOnFlag(cmd)
	f.selection = selectionFlags(cmd)
	f.store = storeFlag(cmd, "; it is made where there is none")
	flags.StringVar(&f.retain, "retain", "", "drop history that ended longer ago than this `time`, such as 90d; what still runs is kept (default: keep all)")
	flags.DurationVar(&f.checkTags, "check-tags", time.Hour, "how often the references that run are resolved anew, to find tags that moved; 0 never")
	f.registry, f.offline, f.secrets = addRegistryFlags(cmd), offlineFlag(cmd), pullSecretsFlag(cmd)
	flags.StringArrayVar(&f.alerts, "falco-alerts", nil, "`file` of Falco's alerts as JSON lines for the falco source, - for stdin (may repeat)")
	flags.StringVar(&f.falcoAddr, "listen-falco", "", "take Falco's alerts at this `address`, such as 127.0.0.1:2802, for the falco source")
	flags.StringVar(&f.falcoToken, "falco-token-file", "", "`file` with the token that alerts must have (default $TAGWARDEN_FALCO_TOKEN)")
	flags.StringVar(&f.pushAddr, "listen-pushes", "", "take registries' webhooks at this `address`, such as 127.0.0.1:2801")
	flags.StringVar(&f.pushToken, "push-token-file", "", "`file` with the token that webhooks must have (default $TAGWARDEN_PUSH_TOKEN)")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no status line and no summary")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.cluster, "cluster-name", "", "`name` of the cluster in events and history (default: the one in the kubeconfig)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "watch one namespace only")
	flags.StringVar(&f.address, "containerd-address", containerd.DefaultAddress, "containerd's socket")
	flags.StringVar(&f.ctrdNS, "containerd-namespace", containerd.DefaultNamespace, "containerd's namespace")
	flags.StringVar(&f.node, "node-name", os.Getenv("NODE_NAME"), "this node's name in events of the containerd source (default $NODE_NAME, or the host name)")
	flags.StringArrayVar(&f.events, "events", nil, "recording `file` for the replay source, - for stdin (may repeat)")
	flags.Float64Var(&f.pace, "pace", 0, "speed of a replay: 1 as recorded, 2 twice as fast, 0 without pauses")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.run(cmd.Context(), env)
	}
	return cmd
}

func (f *watchFlags) run(ctx context.Context, env Env) (err error) {
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	opt, err := f.selection.options()
	if err != nil {
		return err
	}
	rules, err := loadRules(f.rules, pol, opt)
	if err != nil {
		return err
	}
	if err := f.selection.check(rules); err != nil {
		return err
	}
	con := newConsole(env)
	log := newLog(con)
	for _, r := range rules.Unavailable() {
		log.WarnContext(ctx, "rule not evaluated here", "rule", r.Rule.Name, "reason", r.Reason)
	}
	for _, f := range pol.Expiring(env.Now()) {
		log.WarnContext(ctx, "exception ends or has ended", "finding", f.ID, "detail", f.Message)
	}
	sources, err := f.open(ctx, env, log)
	if err != nil {
		return err
	}

	sink := newSink(*f.output, con.over(env.Stdout))
	e := &engine.Engine{
		Sources: sources, Rules: rules, Policy: pol, Sink: sink, Log: log, Cluster: clusterOf(sources, f.cluster),
		Now: env.Now, Hostname: hostname(), AllMatches: *f.matching == "all", CheckTags: f.checkTags,
	}
	var cache registry.Cache
	var kept *store.Store
	if _, err := when.Parse(cmp.Or(f.retain, "now"), env.Now()); err != nil {
		return usage("--retain: %w", err)
	}
	if *f.store != "" {
		h, err := openStore(ctx, *f.store, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Close()) }()
		e.History, cache, kept = h.History(e.Cluster), facts{h}, h
	}
	if !*f.offline {
		client, err := f.registry.client(log, cache)
		if err != nil {
			return err
		}
		e.Resolver = resolving{Client: client, cluster: secretsOf(sources, *f.secrets), log: log}
	}
	if err := f.listenPushes(ctx, e, log); err != nil {
		return err
	}
	watched, stopReload := context.WithCancel(ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() {
		reload(watched, append(slices.Clone(f.rules), cmp.Or(f.policy, policyFile)), func() { f.reload(ctx, env, e, log, opt) })
	})
	if kept != nil && f.retain != "" {
		reloading.Go(func() { retain(watched, kept, f.retain, env.Now, log) })
	}
	defer reloading.Wait()
	defer stopReload()
	stop := func() {}
	if !f.quiet {
		var names []string
		for _, s := range append(slices.Clone(sources), e.Pushes...) {
			names = append(names, s.String())
		}
		say(env, "tagwarden: watching %s with %d rules; Ctrl-C ends it\n", strings.Join(names, ", "), len(rules.Rules()))
		stop = con.every(time.Second, func() string { return statusLine(e.Stats()) })
	}
	err = e.Run(ctx)
	stop()
	if !f.quiet {
		say(env, "tagwarden: %s\n", summary(e.Stats()))
	}
	if err != nil {
		return err
	}
	if sink.failed(*f.failOn) {
		return &statusError{status: exitFindings}
	}
	return nil
}

// listenPushes adds the source of webhooks.
func (f *watchFlags) listenPushes(ctx context.Context, e *engine.Engine, log *slog.Logger) error {
	if f.pushAddr == "" {
		if f.pushToken != "" {
			return usage("--push-token-file is for --listen-pushes")
		}
		return nil
	}
	token, err := readToken("--push-token-file", f.pushToken, "TAGWARDEN_PUSH_TOKEN")
	if err != nil {
		return err
	}
	l, err := listen(ctx, "--listen-pushes", f.pushAddr, token)
	if err != nil {
		return err
	}
	h := &hooks{at: l, token: token, log: log, now: e.Now}
	if e.Resolver != nil {
		h.resolve = e.Resolver.Resolve
	}
	e.Pushes = []engine.Source{h}
	return nil
}

// retainEvery is how often old history is dropped.
const retainEvery = time.Hour

// retain drops old history, at once and then every hour.
func retain(ctx context.Context, s *store.Store, age string, now func() time.Time, log *slog.Logger) {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		span, err := when.Parse(age, now())
		if err == nil {
			var n int
			if n, err = s.Retain(ctx, span.From); n > 0 {
				log.InfoContext(ctx, "old history dropped", "intervals", n, "before", span.From.UTC())
			}
		}
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "old history not dropped", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// secretsOf is the source that reads pull secrets, or nil.
func secretsOf(sources []engine.Source, use bool) pullSecrets {
	for _, s := range sources {
		if k, ok := s.(pullSecrets); ok && use {
			return k
		}
	}
	return nil
}

// clusterOf is the name of the cluster that sources see.
func clusterOf(sources []engine.Source, name string) string {
	for _, s := range sources {
		if k, ok := s.(interface{ Cluster() string }); ok && name == "" {
			return k.Cluster()
		}
	}
	return name
}

// reload takes up changed rules files and a changed policy. What does not load
// leaves everything as it was.
func (f *watchFlags) reload(ctx context.Context, env Env, e *engine.Engine, log *slog.Logger, opt falco.Options) {
	pol, err := loadPolicy(f.policy, env.Now())
	var set *falco.Ruleset
	if err == nil {
		set, err = loadRules(f.rules, pol, opt)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			log.WarnContext(ctx, "changed files do not load, the old ones stay in use", "error", strings.TrimSpace(line))
		}
		return
	}
	e.Replace(set, pol)
	log.InfoContext(ctx, "changed files loaded", "rules", len(set.Rules()))
}

// open makes the sources that were asked for.
func (f *watchFlags) open(ctx context.Context, env Env, log *slog.Logger) ([]engine.Source, error) {
	names := slices.Clone(f.sources)
	slices.Sort(names)
	if again := slices.Compact(slices.Clone(names)); len(again) != len(names) {
		return nil, usage("a source is given twice in --source %s", strings.Join(f.sources, " --source "))
	}
	if len(f.events) > 0 && !slices.Contains(names, "replay") {
		return nil, usage("--events is for --source replay")
	}
	if (len(f.alerts) > 0 || f.falcoAddr != "") && !slices.Contains(names, "falco") {
		return nil, usage("--falco-alerts and --listen-falco are for --source falco")
	}
	if f.pace < 0 {
		return nil, usage("--pace %v: want 0 or more", f.pace)
	}
	var all []engine.Source
	for _, name := range f.sources {
		switch name {
		case "kube":
			src, err := kube.New(kube.Config{
				Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, Cluster: f.cluster, Log: log,
			})
			if err != nil {
				return nil, err
			}
			all = append(all, src)
		case "containerd":
			all = append(all, containerd.New(containerd.Config{
				Address: f.address, Namespace: f.ctrdNS, Node: cmp.Or(f.node, hostname()), Log: log,
			}))
		case "replay":
			if len(f.events) == 0 {
				return nil, usage("--source replay needs --events FILE, or --events - for stdin")
			}
			for _, file := range f.events {
				all = append(all, replaySource(env, file, f.pace))
			}
		case "falco":
			from, err := f.falcoSources(ctx, env, log)
			if err != nil {
				return nil, err
			}
			all = append(all, from...)
		default:
			return nil, usage("unknown source %q; want kube, containerd, falco or replay", name)
		}
	}
	return all, nil
}

// failOnFlag adds --fail-on for alerts.
func failOnFlag(cmd *cobra.Command) *string {
	return choiceFlag(cmd, "fail-on", "least priority of an alert that makes the exit status 1",
		"none", "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
}

func replaySource(env Env, file string, pace float64) *replay.Source {
	if file == "-" {
		return replay.New("stdin", pace, func() (io.ReadCloser, error) { return interruptible(env.Stdin), nil })
	}
	return replay.New(file, pace, func() (io.ReadCloser, error) { return os.Open(file) })
}

// interruptible makes a reader whose Close ends a waiting Read: that of a
// terminal would go on until the next line.
func interruptible(r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		// Ends with the input, or with the first write after Close. A read
		// that never returns is left to the end of the process.
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	return pr
}

// loadPolicy reads file, or tagwarden.yaml if there is one, or takes the
// default.
func loadPolicy(file string, now time.Time) (*policy.Policy, error) {
	if file != "" {
		return policy.Load(file, now)
	}
	pol, err := policy.Load(policyFile, now)
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Default(), nil
	}
	return pol, err
}

// statusLine is what a terminal shows while the watch runs.
func statusLine(s engine.Stats) string {
	line := fmt.Sprintf("%d starts  %d alerts", s.Starts, s.Alerts)
	if s.Muted > 0 {
		line += fmt.Sprintf("  %d muted", s.Muted)
	}
	if s.Starts > s.Existing {
		line += fmt.Sprintf("  lag %.1fs", s.Lag.Seconds())
	}
	return line
}

// summary is the last line of a watch.
func summary(s engine.Stats) string {
	line := plural(s.Starts, "container start")
	if s.Existing > 0 {
		line += fmt.Sprintf(" (%d ran before)", s.Existing)
	}
	line += ", " + plural(s.Alerts, "alert")
	if s.Lowered > 0 {
		line += fmt.Sprintf(" (%d lowered to notice by the policy)", s.Lowered)
	}
	if s.Muted > 0 {
		line += fmt.Sprintf(", %d muted by the policy", s.Muted)
	}
	return line
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// watchSink writes starts or alerts, a line each, at once.
type watchSink struct {
	w      io.Writer
	format string
	buf    []byte
	// worst is the most urgent priority of an alert so far.
	worst   falco.Priority
	alerted bool
}

func newSink(format string, w io.Writer) *watchSink { return &watchSink{w: w, format: format} }

func (s *watchSink) Event(e event.Event) error {
	if s.format != "events" {
		return nil
	}
	var err error
	if s.buf, err = event.Append(s.buf[:0], e); err != nil {
		return err
	}
	_, err = s.w.Write(s.buf)
	return err
}

func (s *watchSink) Alert(_ *event.Start, alert falco.Alert) error {
	if !s.alerted || alert.Priority < s.worst {
		s.worst, s.alerted = alert.Priority, true
	}
	switch s.format {
	case "text":
		s.buf = alert.AppendText(s.buf[:0])
	case "json":
		s.buf = alert.AppendJSON(s.buf[:0])
	default:
		return nil
	}
	s.buf = append(s.buf, '\n')
	_, err := s.w.Write(s.buf)
	return err
}

// failed reports whether an alert of the given priority or a more urgent one
// was written.
func (s *watchSink) failed(failOn string) bool {
	if !s.alerted || failOn == "none" {
		return false
	}
	least, err := falco.ParsePriority(failOn)
	return err == nil && s.worst <= least
}
