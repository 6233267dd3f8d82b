package cli

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/version"
)

// registryFlags say how registries are asked.
type registryFlags struct {
	mirrors   []string
	plainHTTP []string
}

func addRegistryFlags(cmd *cobra.Command) *registryFlags {
	var f registryFlags
	flags := cmd.Flags()
	flags.StringArrayVar(&f.mirrors, "registry-map", nil, "ask another host instead of a registry, as `FROM=TO`: docker.io=mirror.example:5000/hub (may repeat)")
	flags.StringArrayVar(&f.plainHTTP, "plain-http", nil, "`host` that does not speak TLS; loopback addresses need no flag (may repeat)")
	return &f
}

// client makes the one registry client of the process. Credentials are those of
// docker and podman, and of their credential helpers.
func (f *registryFlags) client(log *slog.Logger, cache registry.Cache) (*registry.Client, error) {
	mirrors := map[string]string{}
	for _, m := range f.mirrors {
		from, to, ok := strings.Cut(m, "=")
		if !ok || from == "" || to == "" {
			return nil, usage("--registry-map %s: want FROM=TO", m)
		}
		mirrors[from] = to
	}
	client, err := registry.New(registry.Config{
		Mirrors: mirrors, PlainHTTP: f.plainHTTP, Log: log, Cache: cache, UserAgent: "tagwarden/" + version.Get().Version,
		Keychain: registry.Files(registry.DefaultFiles(os.Getenv)...),
	})
	if err != nil {
		return nil, usage("%w", err)
	}
	return client, nil
}

// resolving is what the engine asks of a registry client.
type resolving struct{ *registry.Client }

func (r resolving) Resolve(ctx context.Context, ref image.Reference) (image.Digest, error) {
	got, err := r.Client.Resolve(ctx, ref)
	return got.Digest, err
}

// offlineFlag adds --offline.
func offlineFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("offline", false, "ask no registry; what cannot be told without one is reported as that")
}
