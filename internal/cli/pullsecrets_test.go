package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
	"github.com/tagwarden/tagwarden/internal/source/kube"
)

// oneSecret is a cluster with a pull secret in the namespace shop.
type oneSecret struct{ host string }

func (o oneSecret) PullSecrets(_ context.Context, namespace string, _ []string) ([]kube.PullSecret, error) {
	if namespace != "shop" {
		return nil, nil
	}
	return []kube.PullSecret{{
		Type: registry.SecretDockerConfigJSON,
		Data: fmt.Appendf(nil, `{"auths":{%q:{"username":"robot","password":"s3cret"}}}`, o.host),
	}}, nil
}

// closedRegistry is a registry that wants the login of robot, and its image.
func closedRegistry(t *testing.T) (host string, ref image.Reference) {
	t.Helper()
	reg := registrytest.New()
	reg.Image("api", "1", "linux", "amd64", "x")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "robot" && password == "s3cret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	server := httptest.NewServer(reg)
	t.Cleanup(server.Close)
	host = server.Listener.Addr().String()
	ref, err := image.Parse(host + "/api:1")
	if err != nil {
		t.Fatal(err)
	}
	return host, ref
}

// TestPullSecrets: a registry that wants a login is asked with that of the pod,
// and with that of no other.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
	host, ref := closedRegistry(t)
	for namespace, ok := range map[string]bool{"shop": true, "elsewhere": false} {
		client, err := registry.New(registry.Config{Keychain: registry.FromContext})
		if err != nil {
			t.Fatal(err)
		}
		r := resolving{Client: client, cluster: oneSecret{host}, log: slog.New(slog.DiscardHandler)}
		_, err = r.For(&event.Start{Namespace: namespace, PullSecrets: []string{"regcred"}}).Resolve(t.Context(), ref)
		if (err == nil) != ok {
			t.Errorf("a pod in %s: error %v, want a digest: %v", namespace, err, ok)
		}
	}
}

// TestPullSecretFlag: --pull-secret reads a secret as the API gives it, and says
// what is wrong with one that cannot be read.
func TestPullSecretFlag(t *testing.T) {
	t.Parallel()
	host, ref := closedRegistry(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/shop/secrets/regcred" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
			return
		}
		config := fmt.Appendf(nil, `{"auths":{%q:{"username":"robot","password":"s3cret"}}}`, host)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": registry.SecretDockerConfigJSON,
			"data": map[string][]byte{".dockerconfigjson": config},
		})
	}))
	t.Cleanup(api.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, cluster: {server: %q}}]}`, api.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]string{
		"shop/regcred": "",
		"shop/other":   "pull secret shop/other: not allowed; the user needs get on secrets",
		"regcred":      "--pull-secret regcred: want NAMESPACE/NAME",
		"a/b/c":        "--pull-secret a/b/c: want NAMESPACE/NAME",
	} {
		cmd := &cobra.Command{}
		f := addRegistryFlags(cmd)
		cmd.Flags().String("kubeconfig", kubeconfig, "")
		if err := cmd.Flags().Set("pull-secret", secret); err != nil {
			t.Fatal(err)
		}
		client, err := f.client(slog.New(slog.DiscardHandler), nil)
		if err == nil {
			_, err = client.Resolve(t.Context(), ref)
		}
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("--pull-secret %s: error %v, want %q", secret, err, want)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("--pull-secret %s: the error has the password: %v", secret, err)
		}
	}
}
