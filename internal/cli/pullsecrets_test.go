package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

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

// TestPullSecrets: a registry that wants a login is asked with that of the pod,
// and with that of no other.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
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
	defer server.Close()
	host := server.Listener.Addr().String()
	ref, err := image.Parse(host + "/api:1")
	if err != nil {
		t.Fatal(err)
	}
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
