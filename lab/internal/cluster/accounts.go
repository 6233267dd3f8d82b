package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/tagwarden/tagwarden/lab/internal/images"
)

// The accounts of the registry that knows who pushes. Their passwords are no
// secrets: the registry listens on loopback, for the life of the lab.
const (
	Builder  = "ci-bot"  // who is expected to push
	Intruder = "mallory" // who is not
	puller   = "node"    // who pulls, and asks
)

// password is that of an account.
func password(account string) string { return "password-of-" + account }

// registryProgram is CNCF Distribution as Debian calls it.
const registryProgram = "docker-registry"

// Accounts reports whether the lab has the registry that knows who pushes.
func (s *State) Accounts() bool {
	_, err := s.part("accounts")
	return err == nil
}

// AccountsRegistry is the address of the registry that wants to know who pushes,
// CNCF Distribution. It plays [images.Accounts].
func (s *State) AccountsRegistry() string { return s.addr("accounts") }

// PushesAddress is where that registry tells of pushes, if somebody listens.
func (s *State) PushesAddress() string { return s.addr("pushes") }

// PushToken is a file with the token that it tells of pushes with.
func (s *State) PushToken() string { return s.path("conf", "push-token") }

// DockerConfig is a folder with the login of somebody who may pull.
func (s *State) DockerConfig() string { return s.path("conf", "docker") }

// accountsPart is the registry that knows who pushes.
func (s *State) accountsPart() Part {
	return Part{
		Name: "accounts", Args: []string{registryProgram, "serve", s.path("conf", "accounts.yml")},
		Ready: Probe{"tcp", s.AccountsRegistry()},
	}
}

// writeAccounts writes what that registry reads, and what those who pull need.
func (s *State) writeAccounts() error {
	var users strings.Builder
	for _, account := range []string{Builder, Intruder, puller} {
		hash, err := bcrypt.GenerateFromPassword([]byte(password(account)), bcrypt.MinCost)
		if err != nil {
			return err
		}
		users.WriteString(account + ":" + string(hash) + "\n")
	}
	const token = "token-of-the-webhook"
	login := base64.StdEncoding.EncodeToString([]byte(puller + ":" + password(puller)))
	docker, err := json.Marshal(map[string]any{"auths": map[string]any{s.AccountsRegistry(): map[string]string{"auth": login}}})
	if err != nil {
		return err
	}
	files := map[string]string{
		s.path("conf", "htpasswd"): users.String(),
		s.PushToken():              token,
		filepath.Join(s.DockerConfig(), "config.json"): string(docker),
		s.path("conf", "accounts.yml"): fmt.Sprintf(`version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q}
auth: {htpasswd: {realm: lab, path: %q}}
notifications:
  endpoints:
    - name: tagwarden
      url: http://%s/%s
      headers: {Authorization: [Bearer %s]}
      timeout: 5s
      threshold: 5
      backoff: 1s
`, s.path("accounts"), s.AccountsRegistry(), s.path("conf", "htpasswd"), s.PushesAddress(), images.Accounts, token),
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(files[name]), 0o600); err != nil {
			return err
		}
	}
	return images.WriteLogin(s.path("conf", "hosts"), images.Accounts, s.AccountsRegistry(), login)
}
