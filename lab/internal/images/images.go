// Package images builds the lab's container images on the spot and serves
// the registry they are pulled from.
package images

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
)

// Pause is the image of the sandbox container of every pod.
const Pause = "registry.k8s.io/pause:3.10"

// An Image is one image of the lab: the same program in another role.
type Image struct {
	// References are as a pod writes them; all name the same bytes.
	References []string
	// Args is the entrypoint after the program itself.
	Args []string
	// Content makes images of the same role differ in their bytes.
	Content string
	// File is a file that has the content, too, if it is not empty.
	File string
}

// Standard returns the images every lab starts with. nginx:latest and
// nginx:1.25.3 are the same bytes, as they were when 1.25.3 was the latest.
func Standard() []Image {
	return []Image{
		{References: []string{Pause}, Args: []string{"pause"}},
		{References: []string{"nginx:latest", "nginx:1.25.3"}, Args: []string{"serve"}, Content: "1.25.3"},
		{References: []string{"nginx:1.25.4"}, Args: []string{"serve"}, Content: "1.25.4"},
		{References: []string{"busybox:latest", "busybox:1.36.1"}, Args: []string{"sleep"}, Content: "busybox"},
		{References: []string{"crash:latest", "crash:1.0.0"}, Args: []string{"crash"}},
		{References: []string{"init:1.0.0", "init:latest"}, Args: []string{"true"}},
	}
}

// Program compiles the program of all images into dir and returns its path.
func Program(ctx context.Context, source, dir string) (string, error) {
	out := filepath.Join(dir, "program")
	return out, gobuild.Quick(ctx, source, "./program", out, "CGO_ENABLED=0", "GOOS=linux")
}

// Push builds the image around the program and stores it in the registry at
// addr under all its references. It returns the digest of its manifest.
func Push(ctx context.Context, addr, program string, img Image) (string, error) {
	return PushAs(ctx, addr, program, img, authn.Anonymous)
}

// PushAs is [Push] for a registry that wants to know who pushes.
func PushAs(ctx context.Context, addr, program string, img Image, who authn.Authenticator) (string, error) {
	built, err := build(program, img)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", img.References[0], err)
	}
	for _, r := range img.References {
		local, err := localName(addr, r)
		if err != nil {
			return "", err
		}
		if err := remote.Write(local, built, remote.WithContext(ctx), remote.WithAuth(who)); err != nil {
			return "", fmt.Errorf("push %s: %w", r, err)
		}
	}
	digest, err := built.Digest()
	return digest.String(), err
}

// PushIndex stores an index in the registry at addr: the image for this
// machine, and one for another architecture that differs by otherContent. It
// returns the digests of the index and of this machine's manifest.
func PushIndex(ctx context.Context, addr, program, ref string, img Image, otherContent string) (index, manifest string, err error) {
	own, err := build(program, img)
	if err != nil {
		return "", "", fmt.Errorf("build %s: %w", ref, err)
	}
	img.Content = otherContent
	other, err := build(program, img)
	if err != nil {
		return "", "", fmt.Errorf("build %s: %w", ref, err)
	}
	const elsewhere = "s390x"
	file, err := other.ConfigFile()
	if err != nil {
		return "", "", err
	}
	file = file.DeepCopy()
	file.Architecture = elsewhere
	if other, err = mutate.ConfigFile(other, file); err != nil {
		return "", "", err
	}
	entry := func(i v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: i, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}}
	}
	built := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), entry(own, runtime.GOARCH), entry(other, elsewhere))
	local, err := localName(addr, ref)
	if err != nil {
		return "", "", err
	}
	if err := remote.WriteIndex(local, built, remote.WithContext(ctx)); err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	d, err := built.Digest()
	if err != nil {
		return "", "", err
	}
	m, err := own.Digest()
	return d.String(), m.String(), err
}

// localName returns where the lab's registry keeps what the node knows as
// ref. The registry plays every registry, so only the host changes.
func localName(addr, ref string) (name.Reference, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	repo := addr + "/" + parsed.Context().RepositoryStr()
	return name.ParseReference(repo+":"+parsed.Identifier(), name.Insecure)
}

func build(program string, img Image) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return programTar(program) })
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{layer}
	if img.File != "" {
		content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return fileTar(img.File, 0o644, []byte(img.Content)) })
		if err != nil {
			return nil, err
		}
		layers = append(layers, content)
	}
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	built, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return nil, err
	}
	file, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Entrypoint = append([]string{"/program"}, img.Args...)
	file.Config.Env = []string{"PATH=/", "LAB_CONTENT=" + img.Content}
	return mutate.ConfigFile(built, file)
}

func programTar(program string) (io.ReadCloser, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return fileTar("program", 0o755, data)
}

// fileTar is an archive of one file.
func fileTar(name string, mode int64, data []byte) (io.ReadCloser, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&buf), nil
}

// Digest asks the registry at addr what ref resolves to.
func Digest(ctx context.Context, addr, ref string) (string, error) {
	local, err := localName(addr, ref)
	if err != nil {
		return "", err
	}
	desc, err := remote.Head(local, remote.WithContext(ctx))
	if err != nil {
		return "", err
	}
	return desc.Digest.String(), nil
}

// hosts are the registries the lab's registry plays for the node.
var hosts = []string{"docker.io", "registry.k8s.io", "mirror.example"}

// Hosts are the registries that the lab's registry plays.
func Hosts() []string { return slices.Clone(hosts) }

// Accounts is the registry that knows who pushes.
const Accounts = "accounts.example"

// WriteLogin writes the containerd configuration that sends pulls from a registry
// to addr, with a login in the form of Basic.
func WriteLogin(dir, host, addr, login string) error {
	if err := os.MkdirAll(filepath.Join(dir, host), 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  [host.\"http://%[1]s\".header]\n    Authorization = [\"Basic %[2]s\"]\n", addr, login)
	return os.WriteFile(filepath.Join(dir, host, "hosts.toml"), []byte(text), 0o600)
}

// WriteHosts writes the containerd configuration that sends pulls from the
// public registries to addr.
func WriteHosts(dir, addr string) error {
	for _, h := range hosts {
		if err := os.MkdirAll(filepath.Join(dir, h), 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf("server = \"http://%[1]s\"\n\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", addr)
		if err := os.WriteFile(filepath.Join(dir, h, "hosts.toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// listen is http.Serve with the timeouts a server should have.
func listen(addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// Short returns the first digits of a digest, enough to tell two apart.
func Short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return hex[:12]
}
