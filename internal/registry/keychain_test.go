package registry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/registry"
)

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// show makes the secrets of a credential visible for a diff.
func show(c registry.Credential) string {
	return strings.Join([]string{c.Username, c.Password, c.IdentityToken, c.AccessToken}, " ")
}

func TestFromSecret(t *testing.T) {
	t.Parallel()
	entries := fmt.Sprintf(`{
		"https://index.docker.io/v1/": {"auth": %q},
		"quay.io": {"username": "quay", "password": "1"},
		"quay.io/team": {"username": "team", "password": "2"},
		"quay.io/team/app": {"username": "app", "password": "3"},
		"*.example.com": {"username": "wild", "password": "4"},
		"a.example.com": {"username": "a", "password": "5"},
		"*.example.com:5000": {"username": "port", "password": "6"},
		"https://old.example/v2/team": {"username": "old", "password": "7"},
		"azure.example": {"auth": %q, "identitytoken": "refresh"},
		"token.example": {"registrytoken": "access"},
		"empty.example": {}
	}`, basic("hub", "pass:word\x00"), basic("00000000-0000-0000-0000-000000000000", ""))
	for secretType, data := range map[string]string{
		registry.SecretDockerConfigJSON: `{"auths": ` + entries + `, "credHelpers": {"quay.io": "never-run"}, "credsStore": "never-run"}`,
		registry.SecretDockercfg:        entries,
	} {
		keychain, err := registry.FromSecret(secretType, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct{ registry, repository, want string }{
			{"docker.io", "library/nginx", "hub pass:word  "},
			{"index.docker.io", "library/nginx", "hub pass:word  "},
			{"registry-1.docker.io", "library/nginx", "hub pass:word  "},
			{"quay.io", "other/app", "quay 1  "},
			{"quay.io", "team/web", "team 2  "},
			{"quay.io", "team/app", "app 3  "},
			{"b.example.com", "x", "wild 4  "},
			{"a.example.com", "x", "a 5  "},
			{"a.b.example.com", "x", "   "},
			{"example.com", "x", "   "},
			{"a.example.com:5000", "x", "port 6  "},
			{"a.example.com:6000", "x", "   "},
			{"old.example", "team/app", "old 7  "},
			{"old.example", "app", "   "},
			{"azure.example", "x", "00000000-0000-0000-0000-000000000000  refresh "},
			{"token.example", "x", "   access"},
			{"empty.example", "x", "   "},
			{"nowhere.example", "x", "   "},
		} {
			got, err := keychain(t.Context(), tt.registry, tt.repository)
			if err != nil || show(got) != tt.want {
				t.Errorf("%s: %s/%s: got %q, %v, want %q", secretType, tt.registry, tt.repository, show(got), err, tt.want)
			}
		}
	}
}

func TestFromSecretErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ secretType, data, want string }{
		{"Opaque", "{}", `a secret of type "Opaque" has no credentials`},
		{registry.SecretDockerConfigJSON, "", "no JSON, at byte 0"},
		{registry.SecretDockerConfigJSON, `{"auths":{"x":{"password":"s3cret"]`, "no JSON, at byte"},
		{registry.SecretDockerConfigJSON, `{"auths":"s3cret"}`, "not in the format"},
		{registry.SecretDockercfg, `["s3cret"]`, "not in the format"},
		{registry.SecretDockercfg, `{"x":{"auth":"s3cret"}}`, `the "auth" for "x" is not the base64`},
		{registry.SecretDockercfg, `{"x":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("s3cret")) + `"}}`, `is not the base64 of USER:PASSWORD`},
		{registry.SecretDockercfg, strings.Repeat(" ", 2<<20), "larger than 1 MiB"},
	} {
		k, err := registry.FromSecret(tt.secretType, []byte(tt.data))
		if err == nil || k != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %.40q: got error %v, want …%s…", tt.secretType, tt.data, err, tt.want)
		}
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	none := func(context.Context, string, string) (registry.Credential, error) {
		return registry.Credential{}, nil
	}
	fails := func(context.Context, string, string) (registry.Credential, error) {
		return registry.Credential{}, errors.New("broken")
	}
	has := func(user string) registry.Keychain {
		return func(context.Context, string, string) (registry.Credential, error) {
			return registry.Credential{Username: user}, nil
		}
	}
	for name, tt := range map[string]struct {
		chain registry.Keychain
		want  string
		err   bool
	}{
		"empty":              {registry.Chain(), "", false},
		"nobody":             {registry.Chain(none, none), "", false},
		"the first that has": {registry.Chain(none, has("a"), has("b")), "a", false},
		"behind a failure":   {registry.Chain(fails, has("b")), "b", false},
		"a failure":          {registry.Chain(none, fails), "", true},
	} {
		got, err := tt.chain(t.Context(), "x", "y")
		if got.Username != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %q, %v, want %q", name, got.Username, err, tt.want)
		}
	}
}

func TestDefaultFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{}, nil},
		{map[string]string{"HOME": "/h"}, []string{"/h/.docker/config.json", "/h/.config/containers/auth.json"}},
		{map[string]string{"USERPROFILE": "/h"}, []string{"/h/.docker/config.json", "/h/.config/containers/auth.json"}},
		{
			map[string]string{"HOME": "/h", "DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/run/user/1", "XDG_CONFIG_HOME": "/c"},
			[]string{"/d/config.json", "/run/user/1/containers/auth.json", "/c/containers/auth.json"},
		},
		{map[string]string{"HOME": "/h", "REGISTRY_AUTH_FILE": "/a.json"}, []string{"/h/.docker/config.json", "/a.json"}},
	} {
		var want []string
		for _, file := range tt.want {
			want = append(want, filepath.FromSlash(file))
		}
		if diff := cmp.Diff(want, registry.DefaultFiles(func(name string) string { return tt.env[name] })); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.env, diff)
		}
	}
}

// TestFiles needs programs on the PATH, so it is not parallel.
func TestFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the helpers are shell scripts")
	}
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("docker-credential-good", "#!/bin/sh\nread -r server\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"helper-of-%s\",\"Secret\":\"1\"}' \"$server\" \"$server\"\n", 0o700)
	write("docker-credential-token", "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'\n", 0o700)
	write("docker-credential-none", "#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n", 0o700)
	write("docker-credential-bad", "#!/bin/sh\necho 's3cret on stdout'\necho 's3cret on stderr' >&2\nexit 1\n", 0o700)
	write("docker-credential-nonsense", "#!/bin/sh\necho s3cret\n", 0o700)
	write("docker-credential-endless", "#!/bin/sh\nhead -c 10000000 /dev/zero | tr '\\0' ' '\necho '{\"Username\":\"u\",\"Secret\":\"1\"}'\n", 0o700)
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))

	first := write("config.json", `{
		"auths": {"file.example": {"username": "file", "password": "1"}, "stored.example": {}, "team.example/a": {"username": "a", "password": "2"}},
		"credHelpers": {"helped.example": "good", "https://index.docker.io/v1/": "good", "token.example": "token", "bad.example": "bad",
			"nonsense.example": "nonsense", "endless.example": "endless", "missing.example": "missing", "path.example": "../x"},
		"credsStore": "none"
	}`, 0o600)
	second := write("auth.json", `{"auths": {"file.example": {"username": "second", "password": "1"}, "podman.example": {"username": "podman", "password": "1"}}}`, 0o600)
	keychain := registry.Files(filepath.Join(dir, "nothing.json"), first, second)
	for _, tt := range []struct{ registry, repository, want, err string }{
		{"file.example", "x", "file 1  ", ""},
		{"podman.example", "x", "podman 1  ", ""},
		{"team.example", "a/b", "a 2  ", ""},
		{"team.example", "b", "   ", ""},
		{"helped.example", "x", "helper-of-helped.example 1  ", ""},
		{"docker.io", "library/nginx", "helper-of-https://index.docker.io/v1/ 1  ", ""},
		{"token.example", "x", "  refresh ", ""},
		{"stored.example", "x", "   ", ""},
		{"bad.example", "x", "   ", "config.json: credential helper docker-credential-bad failed"},
		{"nonsense.example", "x", "   ", "docker-credential-nonsense gave no JSON"},
		{"endless.example", "x", "   ", "docker-credential-endless gave no JSON"},
		{"missing.example", "x", "   ", "docker-credential-missing is not installed"},
		{"path.example", "x", "   ", `credential helper "../x": its name has a path in it`},
	} {
		got, err := keychain(t.Context(), tt.registry, tt.repository)
		if show(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s/%s: got %q, error %v, want %q, …%s…", tt.registry, tt.repository, show(got), err, tt.want, tt.err)
		}
	}
	if _, err := registry.Files(write("broken.json", "{", 0o600))(t.Context(), "x", "y"); err == nil || !strings.Contains(err.Error(), "broken.json: the credentials are no JSON") {
		t.Errorf("got error %v", err)
	}
	// What is written after the keychain was made counts.
	write("auth.json", `{"auths": {"podman.example": {"username": "changed", "password": "1"}}}`, 0o600)
	if got, err := keychain(t.Context(), "podman.example", "x"); err != nil || got.Username != "changed" {
		t.Errorf("got %s, %v, want the changed file", show(got), err)
	}
}

func TestCredentialShowsNothing(t *testing.T) {
	t.Parallel()
	c := registry.Credential{Username: "s3cret", Password: "s3cret", IdentityToken: "s3cret", AccessToken: "s3cret"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "credential", c, "in", []registry.Credential{c})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprint(struct{ C registry.Credential }{c}), log.String()} {
		if strings.Contains(s, "s3cret") {
			t.Errorf("shows a secret: %s", s)
		}
	}
}

func FuzzFromSecret(f *testing.F) {
	f.Add(`{"auths":{"quay.io/a":{"auth":"YTpi"},"*.x:5":{"username":"u"}}}`, "quay.io", "a/b")
	f.Add(`{"https://[::1]:5000/v2/x":{"auth":"YTpi"},"[":{"password":"p"}}`, "[::1]:5000", "x")
	f.Add(`{"auths":null}`, "", "")
	f.Fuzz(func(t *testing.T, data, host, repository string) {
		for _, secretType := range []string{registry.SecretDockerConfigJSON, registry.SecretDockercfg} {
			k, err := registry.FromSecret(secretType, []byte(data))
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Fatalf("%q: not one line: %v", data, err)
				}
				continue
			}
			if _, err := k(t.Context(), host, repository); err != nil {
				t.Fatalf("%q for %q: %v", data, host, err)
			}
		}
	})
}
