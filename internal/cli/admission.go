package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/cluster"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/source/kube"
)

// admissionFlags are the flags of "admission".
type admissionFlags struct {
	listen         string
	policy         string
	kubeconfig     string
	context        string
	namespace      string
	pod            string
	standalone     bool
	cert, key      string
	secret         string
	hosts          []string
	resolveTimeout time.Duration
	digestAge      time.Duration
	registry       *registryFlags
	offline        *bool
	secrets        *bool
}

func newAdmission(env Env) *cobra.Command {
	var f admissionFlags
	cmd := &cobra.Command{
		Use:   "admission",
		Short: "Answer the API server whether an image may be let in",
		Long: `Admission serves the webhooks of Kubernetes' API server:

  /validate  lets pods, and everything with the template of one, in, warns, or
             denies, by the policy (tagwarden policy explain says what it means)
  /mutate    pins the tags of pods to the digests that they stand for, and keeps
             what was asked for in an annotation
  /healthz, /readyz, /metrics

The policy is a file, which is read again when it changes, or the object
TagwardenPolicy named tagwarden, together with all objects TagwardenException. A
policy that is wrong changes nothing: the last good one stays in effect, and a
condition and an event say why.

The certificate is kept and renewed in a Secret that all replicas share
(--tls-secret), or comes as files that somebody else renews (--tls-cert and
--tls-key; cert-manager). "admission manifests" prints all that is to be applied.

The webhook fails open: while no replica answers, pods are let in. Each of them is
found out afterwards, by the annotation that it lacks: as a warning in the log, an
event NotReviewed of the pod, and the metric
tagwarden_admission_unreviewed_pods.`,
		Example: `  tagwarden admission manifests --image IMAGE@sha256:… | kubectl apply --server-side -f -
  tagwarden admission --listen :8443 --tls-secret tagwarden-admission-tls
  tagwarden admission --standalone --policy tagwarden.yaml   # HTTP on loopback, to try it out`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8443", "`address` to listen on")
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVarP(&f.namespace, "namespace", "n", cmp.Or(os.Getenv("POD_NAMESPACE"), cluster.Name), "`namespace` that the server runs in (default $POD_NAMESPACE)")
	flags.StringVar(&f.pod, "pod-name", os.Getenv("POD_NAME"), "`name` of the pod that the server runs in, for events about a wrong file (default $POD_NAME)")
	flags.BoolVar(&f.standalone, "standalone", false, "use no cluster: the policy is the file alone, labels of namespaces are not known, nobody looks for pods that were not reviewed")
	flags.StringVar(&f.cert, "tls-cert", "", "`file` with the certificate; it is read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "`file` with its key")
	flags.StringVar(&f.secret, "tls-secret", "", "`name` of the Secret to keep a certificate of our own in")
	flags.StringArrayVar(&f.hosts, "tls-host", nil, "`name` or address that the API server calls, for --tls-secret (default: the Service's; may repeat)")
	flags.DurationVar(&f.resolveTimeout, "resolve-timeout", 2*time.Second, "how long registries may take for one object")
	flags.DurationVar(&f.digestAge, "digest-age", time.Minute, "how old the digest of a tag may be")
	f.registry, f.offline, f.secrets = addRegistryFlags(cmd), offlineFlag(cmd), pullSecretsFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), env) }
	cmd.AddCommand(newAdmissionManifests(env))
	return cmd
}

// check says what is wrong with the flags.
func (f *admissionFlags) check() error {
	switch {
	case (f.cert == "") != (f.key == ""):
		return usage("--tls-cert and --tls-key go together")
	case f.secret != "" && f.cert != "":
		return usage("--tls-secret and --tls-cert: give one of them")
	case f.secret != "" && f.standalone:
		return usage("--tls-secret is in a cluster, and --standalone uses none")
	case *f.secrets && f.standalone:
		return usage("--pull-secrets are in a cluster, and --standalone uses none")
	case f.resolveTimeout <= 0 || f.digestAge < 0:
		return usage("--resolve-timeout %s, --digest-age %s: want more than nothing", f.resolveTimeout, f.digestAge)
	}
	if f.secret == "" && f.cert == "" {
		host, _, err := net.SplitHostPort(f.listen)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return usage("--listen %s: give --tls-secret or --tls-cert; without, only loopback addresses are served", f.listen)
		}
	}
	return nil
}

// An admissionServer is one run of "admission".
type admissionServer struct {
	*admissionFlags
	env Env
	log *slog.Logger

	file    atomic.Pointer[policy.Policy] // of the file
	policy  atomic.Pointer[policy.Policy] // in effect
	cert    atomic.Pointer[tls.Certificate]
	cluster *cluster.Cluster // nil if there is none
	changed chan struct{}    // the file
}

func (f *admissionFlags) run(ctx context.Context, env Env) error {
	if err := f.check(); err != nil {
		return err
	}
	log := newLog(newConsole(env))
	s := &admissionServer{admissionFlags: f, env: env, log: log, changed: make(chan struct{}, 1)}
	pol, err := s.load()
	if err != nil {
		return err
	}
	s.file.Store(pol)
	s.policy.Store(pol)
	for _, x := range pol.Expiring(env.Now()) {
		log.WarnContext(ctx, "exception ends or has ended", "finding", x.ID, "detail", x.Message)
	}
	r := &admission.Reviewer{
		Policy: s.policy.Load, Now: env.Now, Log: log, ResolveTimeout: f.resolveTimeout,
	}
	if !*f.offline {
		client, err := s.registry.client(s.log, nil)
		if err != nil {
			return err
		}
		if r.Resolve, err = s.resolver(client); err != nil {
			return err
		}
		r.Known = func(ref image.Reference) (image.Digest, bool) {
			got, ok := client.Known(ref, s.digestAge)
			return got.Digest, ok
		}
	}
	if f.cert != "" {
		if err := s.loadCertificate(); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	ready := func() error { return s.ready(nil) }
	gauges := []admission.Gauge{{
		Name: "exceptions_ending", Help: "Exceptions that have expired or will within two weeks (TW-10).",
		Value: func() float64 { return float64(len(s.policy.Load().Expiring(env.Now()))) },
	}}
	if !f.standalone {
		if s.cluster, err = cluster.Connect(f.kubeconfig, f.context, env.Now, log); err != nil {
			return err
		}
		names, err := s.cluster.Namespaces()
		if err != nil {
			return err
		}
		r.NamespaceLabels = names.Labels
		ready = func() error { return s.ready(names) }
		unreviewed := &cluster.Unreviewed{Webhook: cluster.Name, Annotation: admission.AnnotationReviewed, Namespaces: names}
		gauges = append(gauges, admission.Gauge{
			Name: "unreviewed_pods", Help: "Pods that were let in without a review, because the webhook did not answer.",
			Value: func() float64 { return float64(unreviewed.Count()) },
		})
		s.follow(ctx, &group, names, unreviewed)
	}
	group.Go(func() { reload(ctx, []string{cmp.Or(f.policy, policyFile)}, func() { s.reloadPolicy(ctx) }) })
	if f.cert != "" {
		group.Go(func() {
			reload(ctx, []string{f.cert, f.key}, func() {
				if err := s.loadCertificate(); err != nil {
					log.WarnContext(ctx, "changed certificate does not load, the old one stays in use", "error", err)
					return
				}
				log.InfoContext(ctx, "certificate in use", "file", f.cert)
			})
		})
	}
	return s.serve(ctx, r.Handler(ready, gauges...))
}

// load reads the policy of the file. One that was asked for and is not there is
// the default: a ConfigMap may be made later.
func (s *admissionServer) load() (*policy.Policy, error) {
	pol, err := loadPolicy(s.admissionFlags.policy, s.env.Now())
	if errors.Is(err, os.ErrNotExist) {
		return policy.Default(), nil
	}
	return pol, err
}

// reloadPolicy takes up a changed file.
func (s *admissionServer) reloadPolicy(ctx context.Context) {
	pol, err := s.load()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			s.log.WarnContext(ctx, "changed policy does not load, the old one stays in use", "error", strings.TrimSpace(line))
		}
		if s.cluster != nil && s.pod != "" {
			s.cluster.WarnPod(ctx, s.namespace, s.pod, "PolicyInvalid", "the last good policy stays in effect: "+err.Error())
		}
		return
	}
	s.file.Store(pol)
	if s.cluster == nil {
		s.use(pol)
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// use puts a policy into effect.
func (s *admissionServer) use(pol *policy.Policy) {
	s.policy.Store(pol)
	s.log.Info("policy in effect", "exceptions", len(pol.Exceptions()))
}

// follow starts all that is asked of the cluster.
func (s *admissionServer) follow(ctx context.Context, group *sync.WaitGroup, names *cluster.Namespaces, unreviewed *cluster.Unreviewed) {
	group.Go(func() { names.Run(ctx) })
	pol := &cluster.Policy{File: s.file.Load, Use: s.use}
	group.Go(func() { pol.Run(ctx, s.cluster, s.changed) })
	group.Go(func() { unreviewed.Run(ctx, s.cluster) })
	if s.secret != "" {
		hosts := s.hosts
		if len(hosts) == 0 {
			hosts = cluster.Hosts(s.namespace)
		}
		trust := &cluster.Trust{
			Namespace: s.namespace, Secret: s.secret, Hosts: hosts, Webhooks: cluster.Name,
			Use: func(c tls.Certificate) { s.cert.Store(&c) },
		}
		group.Go(func() { trust.Run(ctx, s.cluster) })
	}
}

// ready says why reviews cannot be answered yet.
func (s *admissionServer) ready(names *cluster.Namespaces) error {
	switch {
	case s.secret != "" && s.cert.Load() == nil:
		return errors.New("there is no certificate yet")
	case names != nil && s.policy.Load().UsesLabels() && !names.Synced():
		return errors.New("the labels of namespaces are not known yet")
	}
	return nil
}

func (s *admissionServer) loadCertificate() error {
	pair, err := tls.LoadX509KeyPair(s.admissionFlags.cert, s.key)
	if err != nil {
		return fmt.Errorf("load certificate %s: %w", s.admissionFlags.cert, err)
	}
	s.cert.Store(&pair)
	return nil
}

// resolver asks registries, with the pull secrets of pods if that is allowed.
func (s *admissionServer) resolver(client *registry.Client) (func(context.Context, image.Reference, string, []string) (image.Digest, error), error) {
	asking := resolving{Client: client, log: s.log}
	if *s.secrets {
		var err error
		if asking.cluster, err = kube.New(kube.Config{Kubeconfig: s.kubeconfig, Context: s.context, Log: s.log}); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, ref image.Reference, namespace string, secrets []string) (image.Digest, error) {
		r := asking
		if len(secrets) > 0 {
			r.of = &event.Start{Namespace: namespace, PullSecrets: secrets}
		}
		got, err := r.ResolveWithin(r.as(ctx), ref, s.digestAge)
		return got.Digest, err
	}, nil
}

// Limits of the server. The API server waits 30 seconds at most.
const (
	headerTimeout   = 5 * time.Second
	requestTimeout  = 35 * time.Second
	idleTimeout     = 3 * time.Minute
	shutdownTimeout = 10 * time.Second
)

// serve answers until ctx ends, and then what was asked before.
func (s *admissionServer) serve(ctx context.Context, h http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	scheme := "http"
	if s.secret != "" || s.admissionFlags.cert != "" {
		scheme = "https"
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if c := s.cert.Load(); c != nil {
					return c, nil
				}
				return nil, errors.New("there is no certificate yet")
			},
		})
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	say(s.env, "tagwarden: answering on %s://%s; Ctrl-C ends it\n", scheme, listener.Addr())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", s.listen, err)
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(stop)
	}
}
