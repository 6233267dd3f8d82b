package imagediff_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

type entry = registrytest.Entry

func file(name, body string) entry { return registrytest.File(name, 0o644, body) }

func header(h tar.Header) entry { return entry{Header: h} }

func folder(name string) entry { return header(tar.Header{Name: name + "/"}) }

func symlink(name, target string) entry {
	return header(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target})
}

func link(name, target string, mode int64) entry {
	return header(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: mode})
}

// gzipped are layers of entries.
func gzipped(layers ...[]entry) []registrytest.Layer {
	var list []registrytest.Layer
	for _, l := range layers {
		list = append(list, registrytest.Gzip(registrytest.Tar(l...)))
	}
	return list
}

func client(t testing.TB, reg http.RoundTripper) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{Transport: reg})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, s string) image.Reference {
	t.Helper()
	ref, err := image.Parse("registry.example/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// compare compares app:a and app:b of a registry.
func compare(t testing.TB, reg *registrytest.Registry, opt imagediff.Options) *imagediff.Diff {
	t.Helper()
	d, err := imagediff.Compare(t.Context(), client(t, reg), parse(t, "app:a"), parse(t, "app:b"), opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pair compares two images for one platform that are made of layers.
func pair(t testing.TB, a, b []registrytest.Layer) *imagediff.Diff {
	t.Helper()
	reg := registrytest.New()
	reg.Layered("app", "a", nil, a...)
	reg.Layered("app", "b", nil, b...)
	return compare(t, reg, imagediff.Options{})
}

// changes are the changed files as lines such as
// "changed /bin/app file 0755 0:0 one -> file 0755 0:0 two".
func changes(d *imagediff.Diff) []string {
	of := func(f *imagediff.File) string {
		if f == nil {
			return ""
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %d:%d %.6s%s", f.Type, f.Mode, f.UID, f.GID, f.SHA256, f.Target))
	}
	var list []string
	for _, p := range d.Platforms {
		for _, f := range p.Files.List {
			if f.Change == imagediff.Changed {
				list = append(list, fmt.Sprintf("changed %s %s -> %s", f.Path, of(f.A), of(f.B)))
			} else {
				list = append(list, f.Change+" "+f.Path+" "+of(f.A)+of(f.B))
			}
		}
	}
	return list
}

func unchecked(d *imagediff.Diff) string {
	var list []string
	for _, u := range d.Unchecked {
		list = append(list, u.Image+" "+u.What+": "+u.Reason)
	}
	return strings.Join(list, "\n")
}

// hash is how [changes] writes the hash of a file.
func hash(body string) string {
	return strings.TrimPrefix(registrytest.Digest([]byte(body)), "sha256:")[:6]
}

// TestFiles: what layers make of a path, as the OCI image spec and containerd
// say.
func TestFiles(t *testing.T) {
	t.Parallel()
	base := []entry{folder("etc"), file("etc/one", "1"), file("etc/two", "2"), file("keep", "k"), symlink("lib", "usr/lib"), folder("usr/lib")}
	one := " file 0644 0:0 " + hash("1")
	two := " file 0644 0:0 " + hash("2")
	for name, test := range map[string]struct {
		a, b [][]entry
		want []string
	}{
		"a file of the base is changed": {
			[][]entry{base},
			[][]entry{base, {file("etc/one", "2")}},
			[]string{"changed /etc/one" + one + " ->" + two},
		},
		"the same bytes again are no change": {[][]entry{base}, [][]entry{base, {folder("etc"), file("etc/one", "1")}}, nil},
		"a new file":                         {[][]entry{base}, [][]entry{base, {file("etc/new", "1")}}, []string{"added /etc/new" + one}},
		"the mode":                           {[][]entry{base}, [][]entry{base, {registrytest.File("etc/one", 0o600, "1")}}, []string{"changed /etc/one" + one + " -> file 0600 0:0 " + hash("1")}},
		"the owner":                          {[][]entry{base}, [][]entry{base, {header(tar.Header{Name: "keep/", Uid: 7})}}, []string{"changed /keep file 0644 0:0 " + hash("k") + " -> dir 0755 7:0"}},
		"a whiteout":                         {[][]entry{base}, [][]entry{base, {file("etc/.wh.one", "")}}, []string{"removed /etc/one" + one}},
		"a whiteout of a folder": {
			[][]entry{base},
			[][]entry{base, {file(".wh.etc", "")}},
			[]string{"removed /etc/one" + one, "removed /etc/two" + two, "removed /etc dir 0755 0:0"},
		},
		"a whiteout is for the layers below alone": {
			[][]entry{base},
			[][]entry{base, {file("etc/one", "2"), file("etc/.wh.one", "")}},
			[]string{"changed /etc/one" + one + " ->" + two},
		},
		"an opaque folder":             {[][]entry{base}, [][]entry{base, {file("etc/three", "1"), file("etc/.wh..wh..opq", "")}}, []string{"removed /etc/one" + one, "added /etc/three" + one, "removed /etc/two" + two}},
		"a whiteout of nothing":        {[][]entry{base}, [][]entry{base, {file("etc/.wh.none", ""), file("no/.wh.none", ""), file("x/.wh..wh..opq", "")}}, nil},
		"the names of aufs":            {[][]entry{base}, [][]entry{base, {file(".wh..wh.plnk/1", ""), file(".wh..wh.aufs", "")}}, nil},
		"a folder becomes a file":      {[][]entry{base}, [][]entry{base, {file("etc", "1")}}, []string{"changed /etc dir 0755 0:0 ->" + one, "removed /etc/one" + one, "removed /etc/two" + two}},
		"a name that leaves the root":  {[][]entry{base}, [][]entry{base, {file("../../etc/one", "2")}}, []string{"changed /etc/one" + one + " ->" + two}},
		"an absolute name":             {[][]entry{base}, [][]entry{base, {file("/etc/./one", "2")}}, []string{"changed /etc/one" + one + " ->" + two}},
		"a name through a symlink":     {[][]entry{base}, [][]entry{base, {file("lib/x", "1")}}, []string{"added /usr/lib/x" + one}},
		"a symlink that leaves":        {[][]entry{base}, [][]entry{base, {symlink("up", "../../../etc"), file("up/one", "2")}}, []string{"changed /etc/one" + one + " ->" + two, "added /up symlink 0777 0:0 ../../../etc"}},
		"a symlink to an absolute one": {[][]entry{base}, [][]entry{base, {symlink("abs", "/lib"), file("abs/x", "1")}}, []string{"added /abs symlink 0777 0:0 /lib", "added /usr/lib/x" + one}},
		"a symlink becomes a folder":   {[][]entry{base}, [][]entry{base, {folder("lib")}}, []string{"changed /lib symlink 0777 0:0 usr/lib -> dir 0755 0:0"}},
		"a hard link is a file":        {[][]entry{base}, [][]entry{base, {link("hard", "etc/one", 0o644)}}, []string{"added /hard" + one}},
		"a hard link's mode is its target's": {
			[][]entry{base},
			[][]entry{base, {link("hard", "etc/one", 0o4755)}},
			[]string{"changed /etc/one" + one + " -> file 4755 0:0 " + hash("1"), "added /hard file 4755 0:0 " + hash("1")},
		},
		"a hard link in its own layer": {
			[][]entry{base},
			[][]entry{base, {file("x", "1"), link("y", "x", 0o644), link("z", "x", 0o4755)}},
			[]string{"added /x file 4755 0:0 " + hash("1"), "added /y file 4755 0:0 " + hash("1"), "added /z file 4755 0:0 " + hash("1")},
		},
		"a device": {
			[][]entry{base},
			[][]entry{base, {header(tar.Header{Typeflag: tar.TypeBlock, Name: "dev/sda", Devmajor: 8, Mode: 0o666}), header(tar.Header{Typeflag: tar.TypeFifo, Name: "dev/fifo"})}},
			[]string{"added /dev/sda block 0666 0:0 8:0", "added /dev/fifo fifo 0644 0:0", "added /dev dir 0755 0:0"},
		},
		"long names": {
			[][]entry{base},
			[][]entry{base, {file("long/"+strings.Repeat("x/", 300)+"f", "1")}},
			func() []string {
				list := []string{"added /long/" + strings.Repeat("x/", 300) + "f" + one}
				for i := range 301 {
					list = append(list, "added /long"+strings.Repeat("/x", i)+" dir 0755 0:0")
				}
				return list
			}(),
		},
		"names that do not print":     {[][]entry{base}, [][]entry{base, {file("a\x1b[31m\n\\\u202e\xff", "1")}}, []string{`added /a\x1b[31m\n\\\u202e\xff` + one}},
		"the same paths above a base": {[][]entry{base, {file("app", "1")}}, [][]entry{base, {file("app", "2")}}, []string{"changed /app" + one + " ->" + two}},
		"no base":                     {[][]entry{{file("app", "1")}}, [][]entry{{file("app", "2"), file("new", "1")}}, []string{"changed /app" + one + " ->" + two, "added /new" + one}},
		"no layers":                   {nil, [][]entry{{file("app", "1")}}, []string{"added /app" + one}},
		"a layer that says nothing":   {[][]entry{base}, [][]entry{base, {}}, nil},
		"the root":                    {[][]entry{base}, [][]entry{base, {header(tar.Header{Name: "./", Mode: 0o777})}}, []string{"changed / dir 0755 0:0 -> dir 0777 0:0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pair(t, gzipped(test.a...), gzipped(test.b...))
			if diff := cmp.Diff(test.want, changes(d)); diff != "" {
				t.Error(diff)
			}
			if !d.Complete || d.Same {
				t.Errorf("complete %t, same %t: %s", d.Complete, d.Same, unchecked(d))
			}
			// The other way round, what was added is removed.
			back := pair(t, gzipped(test.b...), gzipped(test.a...))
			f, g := d.Platforms[0].Files, back.Platforms[0].Files
			if f.Added != g.Removed || f.Removed != g.Added || f.Changed != g.Changed {
				t.Errorf("%+v the other way round is %+v", f, g)
			}
		})
	}
}

// TestShared: shared layers are read only if it depends on them what changed,
// and nothing is read of the same content.
func TestShared(t *testing.T) {
	t.Parallel()
	base := []entry{file("etc/one", "1")}
	blobs := func(reg *registrytest.Registry) int {
		return len(slices.DeleteFunc(reg.Requests(), func(s string) bool { return !strings.Contains(s, "/blobs/") || strings.HasPrefix(s, "POST") }))
	}
	for name, test := range map[string]struct {
		a, b [][]entry
		read bool
		// blobs are how many were asked for, the two configs included.
		blobs int
	}{
		"the same paths":                  {[][]entry{base, {file("app", "1")}}, [][]entry{base, {file("app", "2")}}, false, 4},
		"another path":                    {[][]entry{base, {file("app", "1")}}, [][]entry{base, {file("app", "2"), file("x", "")}}, true, 5},
		"only in one":                     {[][]entry{base}, [][]entry{base, {file("x", "")}}, true, 4},
		"a link into the base":            {[][]entry{base, {link("x", "etc/one", 0o644)}}, [][]entry{base, {link("x", "etc/one", 0o600)}}, true, 5},
		"a folder and a file":             {[][]entry{base, {file("etc", "1")}}, [][]entry{base, {folder("etc")}}, true, 5},
		"a symlink above a path":          {[][]entry{base, {symlink("l", "etc"), file("l/one", "2")}}, [][]entry{base, {symlink("l", "etc"), file("l/one", "1")}}, true, 5},
		"the same whiteouts":              {[][]entry{base, {file("etc/.wh.one", ""), file("app", "1")}}, [][]entry{base, {file("etc/.wh.one", ""), file("app", "2")}}, false, 4},
		"a whiteout and a file":           {[][]entry{base, {file("etc/.wh.one", "")}}, [][]entry{base, {file("etc/one", "1")}}, true, 5},
		"shared, but not from the bottom": {[][]entry{{file("x", "1")}, base}, [][]entry{{file("x", "2")}, base}, false, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.New()
			reg.Layered("app", "a", nil, gzipped(test.a...)...)
			reg.Layered("app", "b", nil, gzipped(test.b...)...)
			reg.Forget()
			d := compare(t, reg, imagediff.Options{})
			if p := d.Platforms[0]; p.SharedRead != test.read || !d.Complete {
				t.Errorf("shared layers read: %t, want %t; %s", p.SharedRead, test.read, unchecked(d))
			}
			if got := blobs(reg); got != test.blobs {
				t.Errorf("%d blobs, want %d: %q", got, test.blobs, reg.Requests())
			}
		})
	}

	t.Run("one digest", func(t *testing.T) {
		t.Parallel()
		reg := registrytest.New()
		reg.Layered("app", "a", nil, gzipped(base)...)
		reg.Layered("app", "b", nil, gzipped(base)...)
		reg.Forget()
		d := compare(t, reg, imagediff.Options{})
		if !d.Same || len(reg.Requests()) != 2 {
			t.Errorf("same %t after %q", d.Same, reg.Requests())
		}
	})
	t.Run("one config", func(t *testing.T) {
		t.Parallel()
		reg := registrytest.New()
		packed := gzipped(base)[0]
		plain := registrytest.Layer{MediaType: registrytest.TypeLayer, Blob: registrytest.Tar(base...), DiffID: packed.DiffID}
		a := reg.Layered("app", "a", nil, packed)
		b := reg.Layered("app", "b", nil, plain)
		reg.Forget()
		d := compare(t, reg, imagediff.Options{})
		if a.Digest == b.Digest || a.Config != b.Config {
			t.Fatal("the images are not what the test needs")
		}
		if !d.Same || blobs(reg) != 2 {
			t.Errorf("same %t after %q", d.Same, reg.Requests())
		}
	})
}

// TestPlatforms: an index is compared child by child.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	for tag, arm := range map[string]string{"a": "1", "b": "evil"} {
		platform := func(architecture, body string) registrytest.Pushed {
			return reg.Layered("app", "", map[string]any{"architecture": architecture}, gzipped([]entry{registrytest.File("bin/app", 0o755, body)})...)
		}
		children := []registrytest.Pushed{platform("amd64", "1"), platform("arm64", arm), platform(map[string]string{"a": "s390x", "b": "riscv64"}[tag], "1")}
		children = append(children, reg.Image("app", "", "unknown", "unknown", "attestation"+tag))
		reg.Index("app", tag, children...)
		reg.Manifest("app", "arm-"+tag, registrytest.TypeManifest, manifestOf(t, reg, children[1].Digest))
	}
	d := compare(t, reg, imagediff.Options{})
	var got []string
	for _, p := range d.Platforms {
		got = append(got, fmt.Sprintf("%s %s %t", p.Platform, p.In, p.Same))
	}
	want := []string{"linux/amd64 both true", "linux/arm64 both false", "linux/riscv64 b false", "linux/s390x a false"}
	if diff := cmp.Diff(want, got); diff != "" || d.Same || !d.Complete {
		t.Errorf("same %t, complete %t: %s", d.Same, d.Complete, diff)
	}
	wantLines := []string{"linux/riscv64 is only in B", "linux/s390x is only in A", "/bin/app changed (executable), on linux/arm64"}
	if diff := cmp.Diff(wantLines, d.Highlights); diff != "" {
		t.Error(diff)
	}
	if one := compare(t, reg, imagediff.Options{Platform: image.Platform{OS: "linux", Architecture: "amd64"}}); !one.Same || len(one.Platforms) != 1 {
		t.Errorf("amd64 alone: same %t, %d platforms", one.Same, len(one.Platforms))
	}
	none := compare(t, reg, imagediff.Options{Platform: image.Platform{OS: "windows", Architecture: "amd64"}})
	if none.Same || none.Complete || unchecked(none) != " platforms: neither image has one for windows/amd64" {
		t.Errorf("windows: %+v", none)
	}
	// An image without an index beside an index.
	mixed, err := imagediff.Compare(t.Context(), client(t, reg), parse(t, "app:a"), parse(t, "app:arm-b"), imagediff.Options{})
	if err != nil || len(mixed.Platforms) != 3 || mixed.Platforms[1].In != "both" || mixed.Platforms[1].Files.Changed != 1 {
		t.Errorf("index and manifest: %+v, %v", mixed, err)
	}
}

func manifestOf(t *testing.T, reg *registrytest.Registry, digest string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.example/v2/app/manifests/"+digest, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := reg.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func zstandard(t *testing.T, plain []byte) registrytest.Layer {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(plain)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return registrytest.Layer{MediaType: registrytest.TypeLayerZstd, Blob: b.Bytes(), DiffID: registrytest.Digest(plain)}
}

// TestCompression: a layer is read however it is packed.
func TestCompression(t *testing.T) {
	t.Parallel()
	a := gzipped([]entry{file("x", "1")})
	plain := registrytest.Tar(file("x", "2"))
	for name, b := range map[string]registrytest.Layer{
		"gzip": registrytest.Gzip(plain), "zstd": zstandard(t, plain),
		"not at all":  {MediaType: registrytest.TypeLayer, Blob: plain, DiffID: registrytest.Digest(plain)},
		"Docker's":    {MediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", Blob: registrytest.Gzip(plain).Blob, DiffID: registrytest.Digest(plain)},
		"named wrong": {MediaType: registrytest.TypeLayerGzip, Blob: plain, DiffID: registrytest.Digest(plain)},
	} {
		d := pair(t, a, []registrytest.Layer{b})
		if got := changes(d); len(got) != 1 || !d.Complete {
			t.Errorf("%s: %q, %s", name, got, unchecked(d))
		}
	}
}

// TestNotRead: what cannot be read is reported and never the same.
func TestNotRead(t *testing.T) {
	t.Parallel()
	good := gzipped([]entry{file("x", "1")})[0]
	plain := registrytest.Tar(file("x", "2"))
	packed := registrytest.Gzip(plain).Blob
	diffID := registrytest.Digest(plain)
	for name, test := range map[string]struct {
		layer registrytest.Layer
		want  string
	}{
		"foreign":            {registrytest.Layer{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Blob: packed, DiffID: diffID}, "a foreign layer"},
		"nondistributable":   {registrytest.Layer{MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Blob: packed, DiffID: diffID}, "a foreign layer"},
		"encrypted":          {registrytest.Layer{MediaType: registrytest.TypeLayerGzip + "+encrypted", Blob: packed, DiffID: diffID}, "an encrypted layer"},
		"no layer":           {registrytest.Layer{MediaType: "application/x\x1b[2J", Blob: packed, DiffID: diffID}, `not a layer of files: its media type is "application/x\\x1b[2J"`},
		"wrong diffID":       {registrytest.Layer{MediaType: registrytest.TypeLayerGzip, Blob: packed, DiffID: registrytest.Digest([]byte("other"))}, "it has not the diffID of the config but sha256:"},
		"no diffID":          {registrytest.Layer{MediaType: registrytest.TypeLayerGzip, Blob: packed, DiffID: "x"}, "the config has no diffID for it"},
		"truncated gzip":     {registrytest.Layer{MediaType: registrytest.TypeLayerGzip, Blob: packed[:len(packed)-9], DiffID: diffID}, "unexpected EOF"},
		"truncated tar":      {registrytest.Layer{MediaType: registrytest.TypeLayer, Blob: plain[:512], DiffID: registrytest.Digest(plain[:512])}, "not a whole tar archive"},
		"no archive":         {registrytest.Layer{MediaType: registrytest.TypeLayer, Blob: bytes.Repeat([]byte("x"), 2000), DiffID: diffID}, "not a whole tar archive"},
		"a broken link":      {gzipped([]entry{link("x", "none", 0)})[0], "x: a hard link to none, which is not there"},
		"a link to a folder": {gzipped([]entry{folder("d"), link("x", "d", 0)})[0], "x: a hard link to d, which is not there"},
		"links in a circle":  {gzipped([]entry{symlink("p", "q"), symlink("q", "p"), file("p/x", "")})[0], "p/x: symlinks lead in a circle"},
		"an endless name":    {gzipped([]entry{file(strings.Repeat("x/", 3000), "")})[0], "a name is longer than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pair(t, []registrytest.Layer{good}, []registrytest.Layer{test.layer})
			if d.Complete || d.Same || !strings.Contains(unchecked(d), test.want) {
				t.Errorf("complete %t, same %t, %q; want %q", d.Complete, d.Same, unchecked(d), test.want)
			}
			if !strings.Contains(d.Highlights[0], "could not be compared") {
				t.Errorf("highlights %q", d.Highlights)
			}
			if d.Platforms[0].Files.Complete {
				t.Error("the files are said to be all")
			}
		})
	}
}

// TestNotAnImage: schema 1, artifacts and configs that are none.
func TestNotAnImage(t *testing.T) {
	t.Parallel()
	config := []byte("{")
	for name, test := range map[string]struct{ manifest, want string }{
		"schema 1":   {`{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		"artifact":   {`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + registrytest.Digest(config) + `","size":1},"layers":[{"mediaType":"x","digest":"` + registrytest.Digest(config) + `","size":1}]}`, "it is an artifact"},
		"no JSON":    {`{"schemaVersion":2,"config":{"mediaType":"` + registrytest.TypeConfig + `","digest":"` + registrytest.Digest(config) + `","size":1},"layers":[]}`, "it is no JSON of a config"},
		"lying size": {`{"schemaVersion":2,"config":{"mediaType":"` + registrytest.TypeConfig + `","digest":"` + registrytest.Digest(config) + `","size":7},"layers":[]}`, "they are 1, not 7"},
		"huge":       {`{"schemaVersion":2,"config":{"mediaType":"` + registrytest.TypeConfig + `","digest":"` + registrytest.Digest(config) + `","size":9000000},"layers":[]}`, "it is larger than 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.New()
			reg.Blob("app", config)
			reg.Layered("app", "a", nil, gzipped([]entry{file("x", "1")})...)
			reg.Manifest("app", "b", registrytest.TypeManifest, []byte(test.manifest))
			d := compare(t, reg, imagediff.Options{})
			if d.Complete || d.Same || !strings.Contains(unchecked(d), test.want) {
				t.Errorf("complete %t, same %t, %q; want %q", d.Complete, d.Same, unchecked(d), test.want)
			}
		})
	}
	reg := registrytest.New()
	reg.Layered("app", "a", nil)
	_, err := imagediff.Compare(t.Context(), client(t, reg), parse(t, "app:a"), parse(t, "app:none"), imagediff.Options{})
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}

// TestTime: a registry that gives a layer byte by byte does not keep the
// comparison longer than its context.
func TestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := registrytest.New()
		reg.Layered("app", "a", nil, gzipped([]entry{file("x", "1")})...)
		slow := gzipped([]entry{file("x", "2")})[0]
		reg.Layered("app", "b", nil, slow)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c := client(t, transport(func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(r.URL.Path, registrytest.Digest(slow.Blob)) {
				return reg.RoundTrip(r)
			}
			body := &dripping{r.Context(), bytes.NewReader(slow.Blob)}
			return &http.Response{StatusCode: http.StatusOK, Body: body, ContentLength: int64(len(slow.Blob)), Request: r}, nil
		}))
		start := time.Now()
		d, err := imagediff.Compare(ctx, c, parse(t, "app:a"), parse(t, "app:b"), imagediff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Complete || !strings.Contains(unchecked(d), "the time was up") || time.Since(start) > 6*time.Second {
			t.Errorf("after %s: %s", time.Since(start), unchecked(d))
		}
		// What was learnt before is told.
		if len(d.Platforms) != 1 || len(d.Platforms[0].B.Layers) != 1 {
			t.Errorf("%+v", d.Platforms)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// dripping gives a byte a second.
type dripping struct {
	ctx context.Context
	r   io.Reader
}

func (d *dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return d.r.Read(p[:1])
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (d *dripping) Close() error { return nil }
