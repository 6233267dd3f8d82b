package imagediff_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// checkDiff checks what holds of any comparison of two images that are not
// one.
func checkDiff(t *testing.T, d *imagediff.Diff) {
	t.Helper()
	body, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	checkPrintable(t, value)
	if d.Complete != (len(d.Unchecked) == 0) || d.Same && !d.Complete {
		t.Errorf("complete %t, same %t: %s", d.Complete, d.Same, unchecked(d))
	}
	for _, h := range d.Highlight(0) {
		if m := h.Markdown(); strings.Count(m, "`")%2 != 0 || strings.ContainsAny(m, "\r\n") {
			t.Errorf("Markdown %q", m)
		}
	}
	for _, p := range d.Platforms {
		if n := p.Files.Added + p.Files.Changed + p.Files.Removed; n != len(p.Files.List)+p.Files.Omitted {
			t.Errorf("%d files, %d listed, %d not", n, len(p.Files.List), p.Files.Omitted)
		}
		for _, f := range p.Files.List {
			if !strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path, "/../") || f.A == nil && f.B == nil {
				t.Errorf("%+v", f)
			}
		}
	}
}

func checkPrintable(t *testing.T, value any) {
	t.Helper()
	switch v := value.(type) {
	case string:
		for _, r := range v {
			if !strconv.IsPrint(r) {
				t.Errorf("%q has %U", v, r)
			}
		}
	case []any:
		for _, e := range v {
			checkPrintable(t, e)
		}
	case map[string]any:
		for _, e := range v {
			checkPrintable(t, e)
		}
	}
}

// small are limits that keep a fuzzer fast.
var small = imagediff.Limits{Nodes: 5000, Names: 1 << 20, Unpacked: 8 << 20, Logical: 8 << 20, Packages: 1000}

// memory has two images. A fuzzer needs an answer without goroutines, which
// the real registry and its client have: else it takes their order for new
// coverage.
type memory struct {
	manifests map[image.Digest]registry.Manifest
	blobs     map[image.Digest][]byte
	tags      map[string]image.Digest
}

func (m *memory) Resolve(_ context.Context, ref image.Reference) (registry.Resolved, error) {
	return registry.Resolved{Digest: m.tags[ref.Tag()]}, nil
}

func (m *memory) Manifest(_ context.Context, _ image.Reference, d image.Digest) (registry.Manifest, error) {
	return m.manifests[d], nil
}

func (m *memory) Blob(_ context.Context, _ image.Reference, of registry.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.blobs[of.Digest])), nil
}

func (m *memory) add(mediaType string, blob []byte) registry.Descriptor {
	d := image.Digest(registrytest.Digest(blob))
	m.blobs[d] = blob
	return registry.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(blob))}
}

// push makes an image of a config, or one for its layers where that is nil.
func (m *memory) push(t *testing.T, tag string, config []byte, layers ...[]byte) {
	t.Helper()
	found := registry.Manifest{}
	diffIDs := []string{}
	for _, blob := range layers {
		found.Layers = append(found.Layers, m.add(registrytest.TypeLayer, blob))
		diffIDs = append(diffIDs, registrytest.Digest(unpacked(blob)))
	}
	if config == nil {
		var err error
		config, err = json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "author": tag, "rootfs": map[string]any{"diff_ids": diffIDs}})
		if err != nil {
			t.Fatal(err)
		}
	}
	found.Config = m.add(registrytest.TypeConfig, config)
	digest := image.Digest(registrytest.Digest([]byte(tag)))
	found.Content = image.Content{Digest: digest, Kind: image.KindManifest, Config: found.Config.Digest}
	m.manifests[digest], m.tags[tag] = found, digest
}

// compare compares the images of two tags.
func (m *memory) compare(t *testing.T, a, b string) *imagediff.Diff {
	t.Helper()
	d, err := imagediff.Compare(t.Context(), m, parse(t, "app:"+a), parse(t, "app:"+b), small.With(imagediff.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newMemory() *memory {
	return &memory{map[image.Digest]registry.Manifest{}, map[image.Digest][]byte{}, map[string]image.Digest{}}
}

// unpacked is a layer without its compression, as far as that goes.
func unpacked(blob []byte) []byte {
	var plain io.Reader
	if z, err := gzip.NewReader(bytes.NewReader(blob)); err == nil {
		plain = z
	} else if z, err := zstd.NewReader(bytes.NewReader(blob), zstd.WithDecoderMaxWindow(8<<20)); err == nil && bytes.HasPrefix(blob, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		defer z.Close()
		plain = z
	} else {
		return blob
	}
	body, _ := io.ReadAll(io.LimitReader(plain, 16<<20))
	return body
}

// FuzzLayer: whatever two layers above a base are, they are compared, and the
// other way round with the same result.
func FuzzLayer(f *testing.F) {
	for _, entries := range [][]entry{
		{file("etc/passwd", "x"), file("etc/.wh.one", ""), file("d/.wh..wh..opq", "")},
		{symlink("l", "../etc"), link("h", "l/one", 0o4755), registrytest.File("l/x", 0o755, "#!/bin/sh")},
		{xattr("f", "security.capability", "\x01"), folder("etc")},
	} {
		plain := registrytest.Tar(entries...)
		f.Add(plain, registrytest.Gzip(plain).Blob)
	}
	f.Add(sparse("hole", 9000), []byte{0x28, 0xb5, 0x2f, 0xfd})
	base := registrytest.Tar(folder("etc"), file("etc/one", "1"), symlink("lib", "usr/lib"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := newMemory()
		m.push(t, "a", nil, base, a)
		m.push(t, "b", nil, base, b)
		d, back := m.compare(t, "a", "b"), m.compare(t, "b", "a")
		checkDiff(t, d)
		x, y := d.Platforms[0].Files, back.Platforms[0].Files
		if d.Complete && back.Complete && (x.Added != y.Removed || x.Removed != y.Added || x.Changed != y.Changed) {
			t.Errorf("%+v the other way round is %+v", x, y)
		}
	})
}

// FuzzDatabase: whatever a database of packages is, it is read or reported.
func FuzzDatabase(f *testing.F) {
	paths := []string{"var/lib/dpkg/status", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite", "etc/os-release", "bin/app"}
	f.Add(uint8(0), []byte("Package: a\nVersion: 1\nStatus: install ok installed\n\n"))
	f.Add(uint8(1), []byte("P:musl\nV:1\n\n"))
	f.Add(uint8(2), []byte(rpmNDB(rpmHeader("bash", "5", 1, 10))))
	f.Add(uint8(2), []byte(rpmBerkeley(binary.LittleEndian, rpmHeader("bash", "5", 1, 600), rpmHeader("a", "5", 1, 0))))
	f.Add(uint8(2), []byte(rpmSQLite(f)))
	f.Add(uint8(3), []byte("PRETTY_NAME=\"x\"\n"))
	f.Add(uint8(4), []byte("\x7fELF            \xff Go build"+string([]byte("inf:"))+"\x08\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06go1.99\x00"))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		plain := registrytest.Tar(registrytest.File(paths[int(which)%len(paths)], 0o755, string(body)))
		m := newMemory()
		m.push(t, "a", nil)
		m.push(t, "b", nil, plain)
		d := m.compare(t, "a", "b")
		checkDiff(t, d)
		for _, u := range d.Unchecked {
			if !strings.HasPrefix(u.What, "packages of /") && u.What != "files" {
				t.Errorf("%+v", u)
			}
		}
	})
}

// FuzzConfig: whatever two configs are, they are compared or reported.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Env":["A=b"],"Labels":{"a":"b"}},"rootfs":{"diff_ids":[]}}`), []byte(`{"config":{"env":[1,null],"Labels":["x"],"X\u001b":{"a":1}},"history":[{"created_by":"\u202e"}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := newMemory()
		m.push(t, "a", append([]byte{}, a...))
		m.push(t, "b", append([]byte{}, b...))
		checkDiff(t, m.compare(t, "a", "b"))
	})
}
