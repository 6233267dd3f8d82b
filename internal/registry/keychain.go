package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// maxConfigFile is the most that a file or a secret with credentials may
	// have. A Kubernetes Secret has at most 1 MiB.
	maxConfigFile = 1 << 20
	// maxHelperOutput is the most that a credential helper may say.
	maxHelperOutput = 64 << 10
	// helperTimeout is how long a credential helper may take.
	helperTimeout = 30 * time.Second
)

// Credential is what proves to a registry who asks: a user and a password, or
// a token. The zero Credential is to ask as nobody. It does not show its
// secrets when it is printed or logged.
type Credential struct {
	Username, Password string
	// IdentityToken is changed for an access token at the registry's token
	// service (Docker's "identitytoken").
	IdentityToken string
	// AccessToken is given to the registry as it is (Docker's
	// "registrytoken").
	AccessToken string
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

// A Keychain finds the credential for a repository of a registry, such as
// docker.io and library/nginx. It is asked when a registry wants to know who
// asks, not before. The zero Credential means that it has none. Its error must
// have no secrets.
type Keychain func(ctx context.Context, registry, repository string) (Credential, error)

// Chain asks keychains in turn; the first that has a credential is believed.
// An error counts only if no other has one.
func Chain(keychains ...Keychain) Keychain {
	return func(ctx context.Context, registry, repository string) (Credential, error) {
		var failed error
		for _, k := range keychains {
			c, err := k(ctx, registry, repository)
			if err == nil && c != (Credential{}) {
				return c, nil
			}
			failed = errors.Join(failed, err)
		}
		return Credential{}, failed
	}
}

// keychainError is an error of a Keychain, so that it is not taken for one of
// the network.
type keychainError struct{ err error }

func (e *keychainError) Error() string {
	return strings.ReplaceAll(e.err.Error(), "\n", "; ")
}

func (e *keychainError) Unwrap() error { return e.err }

// DefaultFiles lists the files that hold the credentials of this user, in the
// order in which they count: those of Docker ($DOCKER_CONFIG/config.json,
// ~/.docker/config.json), then those of Podman and its kin
// ($REGISTRY_AUTH_FILE, or $XDG_RUNTIME_DIR/containers/auth.json and
// ~/.config/containers/auth.json). env looks up a variable of the environment.
func DefaultFiles(env func(string) string) []string {
	var files []string
	home := env("HOME")
	if home == "" {
		home = env("USERPROFILE")
	}
	in := func(dir string, parts ...string) {
		if dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, parts...)...))
		}
	}
	if dir := env("DOCKER_CONFIG"); dir != "" {
		in(dir, "config.json")
	} else {
		in(home, ".docker", "config.json")
	}
	if file := env("REGISTRY_AUTH_FILE"); file != "" {
		return append(files, file)
	}
	in(env("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if dir := env("XDG_CONFIG_HOME"); dir != "" {
		in(dir, "containers", "auth.json")
	} else {
		in(home, ".config", "containers", "auth.json")
	}
	return files
}

// Files makes a Keychain from files in the format of Docker's config.json,
// with credential helpers. A file is read when it is needed, so that a login
// and a changed mount are seen. A file that is not there is passed over.
func Files(files ...string) Keychain {
	chain := make([]Keychain, 0, len(files))
	for _, file := range files {
		chain = append(chain, func(ctx context.Context, registry, repository string) (Credential, error) {
			config, err := readConfig(file)
			if errors.Is(err, fs.ErrNotExist) {
				return Credential{}, nil
			}
			if err != nil {
				return Credential{}, err
			}
			c, err := config.find(ctx, registry, repository)
			if err != nil {
				return Credential{}, fmt.Errorf("%s: %w", file, err)
			}
			return c, nil
		})
	}
	return Chain(chain...)
}

func readConfig(file string) (*dockerConfig, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return config, nil
}

// The types of Kubernetes Secrets that have credentials for registries, and
// the keys of their data.
const (
	SecretDockerConfigJSON = "kubernetes.io/dockerconfigjson" //nolint:gosec // a type; its key is .dockerconfigjson
	SecretDockercfg        = "kubernetes.io/dockercfg"        //nolint:gosec // a type; its key is .dockercfg
)

// FromSecret makes a Keychain from the data of an image pull secret: the value
// of the key that belongs to its type. It never runs a credential helper,
// since the secret comes from a user of the cluster. An error says nothing of
// what is in the data.
func FromSecret(secretType string, data []byte) (Keychain, error) {
	var config *dockerConfig
	var err error
	switch secretType {
	case SecretDockerConfigJSON:
		config, err = parseConfig(data)
	case SecretDockercfg:
		config, err = parseAuths(data)
	default:
		return nil, fmt.Errorf("a secret of type %s has no credentials for registries; want %s or %s", quoted(secretType), SecretDockerConfigJSON, SecretDockercfg)
	}
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, registry, repository string) (Credential, error) {
		return config.match(registry, repository), nil
	}, nil
}

// dockerConfig is what Docker's config.json says of registries.
type dockerConfig struct {
	auths   []login // the one that counts first
	helpers map[string]string
	store   string
}

// login is a credential and where it is for.
type login struct {
	host, path string
	credential Credential
}

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// parseConfig reads config.json, auth.json or .dockerconfigjson.
func parseConfig(data []byte) (*dockerConfig, error) {
	var file struct {
		Auths       map[string]authEntry `json:"auths"`
		CredHelpers map[string]string    `json:"credHelpers"`
		CredsStore  string               `json:"credsStore"`
	}
	if err := parseJSON(data, &file); err != nil {
		return nil, err
	}
	config, err := newConfig(file.Auths)
	if err != nil {
		return nil, err
	}
	config.store = file.CredsStore
	config.helpers = map[string]string{}
	for key, helper := range file.CredHelpers {
		host, _ := splitKey(key)
		config.helpers[host] = helper
	}
	return config, nil
}

// parseAuths reads .dockercfg, which is the auths of config.json alone.
func parseAuths(data []byte) (*dockerConfig, error) {
	var auths map[string]authEntry
	if err := parseJSON(data, &auths); err != nil {
		return nil, err
	}
	return newConfig(auths)
}

// parseJSON gives errors that say nothing of what is in the data.
func parseJSON(data []byte, into any) error {
	if len(data) > maxConfigFile {
		return fmt.Errorf("the credentials are larger than %d MiB", maxConfigFile>>20)
	}
	if err := json.Unmarshal(data, into); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("the credentials are no JSON, at byte %d", syntax.Offset)
		}
		return errors.New("the credentials are not in the format of Docker's config.json")
	}
	return nil
}

func newConfig(auths map[string]authEntry) (*dockerConfig, error) {
	config := &dockerConfig{}
	for key, entry := range auths {
		a := login{credential: Credential{
			Username: entry.Username, Password: entry.Password,
			IdentityToken: entry.IdentityToken, AccessToken: entry.RegistryToken,
		}}
		a.host, a.path = splitKey(key)
		if entry.Auth != "" {
			decoded, err := base64.StdEncoding.DecodeString(entry.Auth)
			user, password, found := strings.Cut(string(decoded), ":")
			if err != nil || !found {
				return nil, fmt.Errorf(`the "auth" for %s is not the base64 of USER:PASSWORD`, quoted(key))
			}
			a.credential.Username, a.credential.Password = user, strings.Trim(password, "\x00")
		}
		if a.credential != (Credential{}) { // Docker writes {} where a store has it.
			config.auths = append(config.auths, a)
		}
	}
	// The longest path counts first, then a host without wildcards.
	slices.SortFunc(config.auths, func(a, b login) int {
		switch wildA, wildB := isWild(a.host), isWild(b.host); {
		case len(a.path) != len(b.path):
			return len(b.path) - len(a.path)
		case wildA != wildB && wildA:
			return 1
		case wildA != wildB:
			return -1
		}
		return strings.Compare(b.host+b.path, a.host+a.path)
	})
	return config, nil
}

func isWild(host string) bool { return strings.ContainsAny(host, `*?[\`) }

// splitKey reads the key of a credential: a host, with a port, a path, a
// scheme and an API version or not. The names of Docker Hub are made one.
func splitKey(key string) (host, path string) {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ = strings.Cut(key, "/")
	if path == "v1" || path == "v2" || strings.HasPrefix(path, "v1/") || strings.HasPrefix(path, "v2/") {
		path = strings.TrimPrefix(path[2:], "/")
	}
	return hubAsOne(host), strings.Trim(path, "/")
}

func hubAsOne(host string) string {
	switch host {
	case "index.docker.io", hubHost:
		return hub
	}
	return host
}

// match finds a credential as the kubelet does
// (https://kubernetes.io/docs/concepts/containers/images/#config-json): the
// host's parts match one by one and can have wildcards, the port is the same,
// and the path is a prefix of the repository.
func (d *dockerConfig) match(registry, repository string) Credential {
	registry = hubAsOne(registry)
	for _, a := range d.auths {
		if hostMatches(a.host, registry) && strings.HasPrefix(repository, a.path) {
			return a.credential
		}
	}
	return Credential{}
}

func hostMatches(pattern, host string) bool {
	if pattern == host {
		return true
	}
	pattern, patternPort := splitPort(pattern)
	host, port := splitPort(host)
	wanted, parts := strings.Split(pattern, "."), strings.Split(host, ".")
	if patternPort != port || len(wanted) != len(parts) {
		return false
	}
	for i := range wanted {
		if ok, err := path.Match(wanted[i], parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func splitPort(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, ""
	}
	return host, port
}

// find is match with credential helpers, in Docker's order: the helper of the
// registry, what is in the file, the store for all others.
func (d *dockerConfig) find(ctx context.Context, registry, repository string) (Credential, error) {
	registry = hubAsOne(registry)
	if helper := d.helpers[registry]; helper != "" {
		return askHelper(ctx, helper, registry)
	}
	if c := d.match(registry, repository); c != (Credential{}) || d.store == "" {
		return c, nil
	}
	return askHelper(ctx, d.store, registry)
}

// askHelper runs docker-credential-NAME
// (https://docs.docker.com/reference/cli/docker/login/#credential-helper-protocol).
// What it writes to stderr is not passed on.
func askHelper(ctx context.Context, name, registry string) (Credential, error) {
	program := "docker-credential-" + name
	if name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
		return Credential{}, fmt.Errorf("credential helper %s: its name has a path in it", quoted(name))
	}
	server := registry
	if registry == hub {
		server = "https://index.docker.io/v1/"
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	out := &limitedBuffer{left: maxHelperOutput}
	cmd := exec.CommandContext(ctx, program, "get") //nolint:gosec // the user's own file names it, as for Docker
	cmd.Stdin, cmd.Stdout = strings.NewReader(server), out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		switch said := string(out.taken); {
		case strings.Contains(said, "credentials not found"):
			return Credential{}, nil
		case errors.Is(err, exec.ErrNotFound):
			return Credential{}, fmt.Errorf("credential helper %s is not installed", program)
		case ctx.Err() != nil:
			return Credential{}, fmt.Errorf("credential helper %s took too long", program)
		}
		return Credential{}, fmt.Errorf("credential helper %s failed: run it yourself to see why", program)
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out.taken, &answer) != nil {
		return Credential{}, fmt.Errorf("credential helper %s gave no JSON", program)
	}
	if answer.Username == "<token>" {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// limitedBuffer takes so much and lets the rest go. It is no bytes.Buffer,
// which has more ways in than Write.
type limitedBuffer struct {
	taken []byte
	left  int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.taken = append(b.taken, p[:n]...)
	return len(p), nil
}
