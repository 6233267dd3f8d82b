package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/source/kube"
	"github.com/tagwarden/tagwarden/internal/version"
)

// registryFlags say how registries are asked.
type registryFlags struct {
	mirrors   []string
	plainHTTP []string
	secrets   []string
	all       *pflag.FlagSet
}

func addRegistryFlags(cmd *cobra.Command) *registryFlags {
	flags := cmd.Flags()
	f := registryFlags{all: flags}
	flags.StringArrayVar(&f.mirrors, "registry-map", nil, "ask another host instead of a registry, as `FROM=TO`: docker.io=mirror.example:5000/hub (may repeat)")
	flags.StringArrayVar(&f.plainHTTP, "plain-http", nil, "`host` that does not speak TLS; loopback addresses need no flag (may repeat)")
	flags.StringArrayVar(&f.secrets, "pull-secret", nil, "log in to registries with this pull secret of the cluster, as `NAMESPACE/NAME` (may repeat)")
	return &f
}

// client makes the one registry client of the process. Credentials are those of
// pods where they are asked for, of --pull-secret, and of docker and podman with
// their credential helpers.
func (f *registryFlags) client(log *slog.Logger, cache registry.Cache) (*registry.Client, error) {
	mirrors := map[string]string{}
	for _, m := range f.mirrors {
		from, to, ok := strings.Cut(m, "=")
		if !ok || from == "" || to == "" {
			return nil, usage("--registry-map %s: want FROM=TO", m)
		}
		mirrors[from] = to
	}
	keychains := []registry.Keychain{registry.FromContext}
	for _, name := range f.secrets {
		k, err := f.pullSecret(name, log)
		if err != nil {
			return nil, err
		}
		keychains = append(keychains, k)
	}
	keychains = append(keychains, registry.Files(registry.DefaultFiles(os.Getenv)...))
	client, err := registry.New(registry.Config{
		Mirrors: mirrors, PlainHTTP: f.plainHTTP, Log: log, Cache: cache, UserAgent: "tagwarden/" + version.Get().Version,
		Keychain: registry.Chain(keychains...),
	})
	if err != nil {
		return nil, usage("%w", err)
	}
	return client, nil
}

// pullSecret is a pull secret of the cluster that the command is about, or else of
// the default kubeconfig. It is read when a registry wants to know who asks.
func (f *registryFlags) pullSecret(name string, log *slog.Logger) (registry.Keychain, error) {
	namespace, secret, ok := strings.Cut(name, "/")
	if !ok || namespace == "" || secret == "" || strings.Contains(secret, "/") {
		return nil, usage("--pull-secret %s: want NAMESPACE/NAME", name)
	}
	config := kube.Config{Log: log}
	if flag := f.all.Lookup("kubeconfig"); flag != nil {
		config.Kubeconfig = flag.Value.String()
	}
	if flag := f.all.Lookup("context"); flag != nil {
		config.Context = flag.Value.String()
	}
	cluster, err := kube.New(config)
	if err != nil {
		return nil, fmt.Errorf("--pull-secret %s: %w", name, err)
	}
	return func(ctx context.Context, host, repository string) (registry.Credential, error) {
		got, err := cluster.PullSecrets(ctx, namespace, []string{secret})
		if err != nil {
			return registry.Credential{}, err
		}
		k, err := registry.FromSecret(got[0].Type, got[0].Data)
		if err != nil {
			return registry.Credential{}, fmt.Errorf("pull secret %s: %w", name, err)
		}
		return k(ctx, host, repository)
	}, nil
}

// resolving is what the engine asks of a registry client.
type resolving struct {
	*registry.Client
	// cluster gives the pull secrets of pods; nil gives none.
	cluster pullSecrets
	log     *slog.Logger
	// of is the pod that is asked for, or nil.
	of *event.Start
}

// pullSecrets reads the pull secrets of pods.
type pullSecrets interface {
	PullSecrets(ctx context.Context, namespace string, names []string) ([]kube.PullSecret, error)
}

// For asks with the pull secrets of a pod.
func (r resolving) For(s *event.Start) engine.Resolver {
	r.of = s
	return r
}

// as is a context with the credentials of the pod.
func (r resolving) as(ctx context.Context) context.Context {
	if r.cluster == nil || r.of == nil || len(r.of.PullSecrets) == 0 {
		return ctx
	}
	of := r.of
	return registry.WithKeychain(ctx, func(ctx context.Context, host, repository string) (registry.Credential, error) {
		secrets, err := r.cluster.PullSecrets(ctx, of.Namespace, of.PullSecrets)
		if err != nil {
			r.log.WarnContext(ctx, "pull secret not used", "error", err)
		}
		for _, secret := range secrets {
			k, err := registry.FromSecret(secret.Type, secret.Data)
			if err != nil {
				r.log.WarnContext(ctx, "pull secret not used", "namespace", of.Namespace, "error", err)
				continue
			}
			if c, err := k(ctx, host, repository); err == nil && c != (registry.Credential{}) {
				return c, nil
			}
		}
		return registry.Credential{}, nil
	})
}

func (r resolving) Resolve(ctx context.Context, ref image.Reference) (image.Digest, error) {
	got, err := r.Client.Resolve(r.as(ctx), ref)
	return got.Digest, err
}

// Content asks what stands behind a digest; see [registry.Client.Content].
func (r resolving) Content(ctx context.Context, repository image.Reference, d image.Digest, on image.Platform) ([]image.Content, error) {
	return r.Client.Content(r.as(ctx), repository, d, on)
}

// pullSecretsFlag adds --pull-secrets.
func pullSecretsFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("pull-secrets", false, "log in to registries with the pods' own pull secrets (needs get on secrets)")
}

// offlineFlag adds --offline.
func offlineFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("offline", false, "ask no registry; what cannot be told without one is reported as that")
}
