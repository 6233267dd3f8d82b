package pushes

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// A Source asks the API of one registry. It is safe for concurrent use. Nothing
// is kept, and nothing is tried again: who asks often has to remember answers,
// and to heed [Error.RetryAt].
type Source interface {
	// Pushes asks for the pushes of a reference's tag, the newest first; one
	// without a tag and a digest means the tag latest. How far back they go
	// depends on the registry: Quay keeps a history, most know the last push
	// alone. With an error, which is an *[Error], come the pushes that could
	// be learnt.
	Pushes(ctx context.Context, ref image.Reference) ([]Push, error)
	// Writers asks who may push to the repository of a reference, in the order
	// of their names. Who is allowed by something above it, such as the
	// administrators of a registry, is mostly not among them. With an error,
	// which is an *[Error], come the writers that could be learnt.
	Writers(ctx context.Context, ref image.Reference) ([]Writer, error)
}

// Credential is what proves to an API who asks. The zero Credential is to ask
// as nobody. It does not show its secrets when it is printed or logged.
type Credential struct {
	// Username and Password are as for logging in to the registry. For AWS
	// they are the id of an access key and its secret.
	Username, Password string
	// Token is for the API alone, and is used instead of the password where
	// there is one. For AWS it is the session token beside the access key.
	Token string
}

// String says only whether there is one.
func (c Credential) String() string {
	if c == (Credential{}) {
		return "no credential"
	}
	return "a credential"
}

// GoString is String, so that %#v shows no secrets.
func (c Credential) GoString() string { return c.String() }

// LogValue is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// bearer is what goes after Bearer.
func (c Credential) bearer() string {
	if c.Token != "" {
		return c.Token
	}
	return c.Password
}

// Credentials finds the credential for a repository of a registry, such as
// docker.io and library/nginx. The zero Credential means that there is none.
// An error must have no secrets; its text becomes part of an [Error].
type Credentials func(ctx context.Context, registry, repository string) (Credential, error)

// Config is how registries are asked. The zero Config asks the public services
// as nobody.
type Config struct {
	// Transport sends the requests; nil is [http.DefaultTransport].
	Transport http.RoundTripper
	// Kinds says what self-hosted registries are, by their hosts with their
	// ports: "harbor.example:8443" is Harbor.
	Kinds map[string]Kind
	// APIs says where the API of a registry is if not where its kind has it:
	// an address by host, such as "https://gitlab.example" for
	// "registry.gitlab.example:5050". A self-hosted GitLab needs it.
	APIs map[string]string
	// Credentials finds the credentials; nil has none.
	Credentials Credentials
	// Env looks up a variable of the environment, as os.Getenv does. With it,
	// AWS and Google are asked with what their own tools would take if
	// Credentials has nothing: AWS_ACCESS_KEY_ID and its kin, and Google's
	// application default credentials, for which their library reads files
	// and asks the metadata server of a machine in the cloud. nil asks nobody.
	Env func(string) string
	// UserAgent is who the client says it is; "" is tagwarden.
	UserAgent string
}

// For makes the Source for the registry of a reference. ok is false where it
// is not known what the registry is. A registry that only tells by webhooks
// has a Source that says so with [ErrUnsupported].
func For(ref image.Reference, config Config) (s Source, ok bool) {
	kind, ok := config.Kinds[ref.Registry()]
	if !ok {
		if kind = kindOf(ref.Registry()); kind == "" {
			return nil, false
		}
	}
	a := &api{config: config, kind: kind, registry: ref.Registry(), base: strings.TrimSuffix(config.APIs[ref.Registry()], "/")}
	if a.base == "" {
		a.base = baseOf(kind, ref.Registry())
	}
	u, err := url.Parse(a.base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return noSource{a: a, why: "the address of its API is not one; write https://HOST"}, true
	}
	// A user and a password in the address would get into messages.
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return noSource{a: a, why: "the address of its API has more than a host and a path"}, true
	}
	a.host = u.Host
	switch kind {
	case DockerHub:
		return &dockerHub{a}, true
	case GitHub:
		return &github{a}, true
	case GitLab:
		return &gitlab{a}, true
	case Harbor:
		return &harbor{a}, true
	case Quay:
		return &quay{a}, true
	case ECR:
		if _, known := parseECR(a.registry); !known {
			return noSource{a: a, why: "its host does not say the account and the region"}, true
		}
		return &ecr{a}, true
	case Google:
		return &google{a}, true
	case Azure:
		return &azure{a}, true
	case Distribution, Zot:
		return noSource{a: a, why: "it tells of pushes only by webhook"}, true
	}
	return nil, false
}

// kindOf knows the services by their hosts.
func kindOf(host string) Kind {
	switch {
	case host == "docker.io":
		return DockerHub
	case host == "ghcr.io":
		return GitHub
	case host == "quay.io":
		return Quay
	case host == "registry.gitlab.com":
		return GitLab
	case strings.HasSuffix(host, ".azurecr.io"):
		return Azure
	case strings.HasSuffix(host, "-docker.pkg.dev"), host == "gcr.io", strings.HasSuffix(host, ".gcr.io"):
		return Google
	}
	if _, ok := parseECR(host); ok {
		return ECR
	}
	return ""
}

// baseOf is where the API of a registry is, unless it is named.
func baseOf(kind Kind, registry string) string {
	switch {
	case kind == DockerHub:
		return "https://hub.docker.com"
	case kind == GitHub:
		return "https://api.github.com"
	case kind == GitLab && registry == "registry.gitlab.com":
		return "https://gitlab.com"
	case kind == Google:
		return "https://artifactregistry.googleapis.com"
	case kind == ECR:
		if r, ok := parseECR(registry); ok {
			return r.api()
		}
	}
	return "https://" + registry
}

// noSource is the Source of what cannot be asked.
type noSource struct {
	a   *api
	why string
}

func (n noSource) Pushes(_ context.Context, ref image.Reference) ([]Push, error) {
	return nil, n.a.unsupported("pushes of "+ref.String(), n.why)
}

func (n noSource) Writers(_ context.Context, ref image.Reference) ([]Writer, error) {
	return nil, n.a.unsupported("writers of "+ref.Name(), n.why)
}
