package imagediff_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// TestLimits: what is beyond a limit is reported, and the rest is told.
func TestLimits(t *testing.T) {
	t.Parallel()
	zeros := registrytest.Gzip(registrytest.Tar(file("zeros", strings.Repeat("\x00", 4<<20))))
	many := make([]entry, 0, 300)
	for i := range cap(many) {
		many = append(many, file(fmt.Sprintf("many/%d", i), ""))
	}
	packages := strings.Repeat("Package: a\nVersion: 1\n\n", 100)
	for name, test := range map[string]struct {
		limits imagediff.Limits
		layer  registrytest.Layer
		want   string
	}{
		"a bomb":              {imagediff.Limits{RatioFrom: 1 << 20}, zeros, "it unpacks to more than 400 times its size"},
		"a bomb of zstd":      {imagediff.Limits{RatioFrom: 1 << 20}, zstandard(t, registrytest.Tar(file("zeros", strings.Repeat("\x00", 4<<20)))), "it unpacks to more than 400 times its size"},
		"too many bytes":      {imagediff.Limits{Unpacked: 1 << 20}, zeros, "it unpacks to more than 1048576 bytes"},
		"too large a file":    {imagediff.Limits{Logical: 1 << 20}, zeros, "its files have more than 1048576 bytes"},
		"an endless hole":     {imagediff.Limits{}, plainLayer(sparse("hole", 1<<50)), "its files have more than 17179869184 bytes"},
		"too many files":      {imagediff.Limits{Nodes: 200}, gzipped(many)[0], "both images together have more than 200 files, folders and entries"},
		"too many folders":    {imagediff.Limits{Nodes: 200}, gzipped([]entry{file(strings.Repeat("d/", 300)+"f", "")})[0], "both images together have more than 200 files, folders and entries"},
		"too many names":      {imagediff.Limits{Names: 200}, gzipped(many)[0], "the names of files have more than 200 bytes"},
		"too long links":      {imagediff.Limits{Names: 200}, gzipped([]entry{symlink("l", strings.Repeat("x", 300))})[0], "the names of files have more than 200 bytes"},
		"too many attributes": {imagediff.Limits{Names: 200}, gzipped([]entry{xattr("f", "user.x", strings.Repeat("x", 100))})[0], "the names of files have more than 200 bytes"},
		"too many packages":   {imagediff.Limits{Packages: 50}, gzipped([]entry{file("var/lib/dpkg/status", packages)})[0], "the databases of packages have more than 50"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.New()
			reg.Layered("app", "a", map[string]any{"config": map[string]any{"User": "a"}}, gzipped([]entry{file("x", "1")})...)
			reg.Layered("app", "b", nil, test.layer)
			d := compare(t, reg, test.limits.With(imagediff.Options{}))
			if d.Complete || d.Same || !strings.Contains(unchecked(d), test.want) {
				t.Errorf("complete %t, same %t, %q; want %q", d.Complete, d.Same, unchecked(d), test.want)
			}
			if len(d.Platforms[0].Config) != 1 || len(d.Platforms[0].Files.List) != 0 {
				t.Errorf("config %v, files %v", d.Platforms[0].Config, changes(d))
			}
		})
	}

	t.Run("layers", func(t *testing.T) {
		t.Parallel()
		reg := registrytest.New()
		reg.Layered("app", "a", nil)
		reg.Layered("app", "b", nil, gzipped(many[:1], many[1:2], many[2:3])...)
		d := compare(t, reg, imagediff.Limits{Layers: 2}.With(imagediff.Options{}))
		if want := "it has 3 layers; more than 2 are not read"; !strings.Contains(unchecked(d), want) {
			t.Errorf("%q, want %q", unchecked(d), want)
		}
	})
	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		reg := registrytest.New()
		reg.Layered("app", "a", nil)
		reg.Layered("app", "b", nil, gzipped(append(many, registrytest.File("zz/last", 0o4755, "")))...)
		d := compare(t, reg, imagediff.Limits{Changes: 10}.With(imagediff.Options{}))
		f := d.Platforms[0].Files
		if len(f.List) != 10 || f.Added != 303 || f.Omitted != 293 || f.List[0].Path != "/zz/last" || !d.Complete {
			t.Errorf("%d listed, %d added, %d omitted, first %+v", len(f.List), f.Added, f.Omitted, f.List[0])
		}
	})
}

// TestDeep: folders in folders, by one name or through symlinks, cost no more
// than their limits.
func TestDeep(t *testing.T) {
	t.Parallel()
	var deeper []entry
	long := strings.Repeat("d/", 1000)
	for i := range 10 {
		// Each goes on where the one before ended.
		deeper = append(deeper, file(fmt.Sprintf("l%d/%sf", i, long), ""), symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d/%s", i, long)))
	}
	d := pair(t, nil, gzipped(deeper))
	if want := "a folder is deeper than 2048"; !strings.Contains(unchecked(d), want) {
		t.Errorf("%q, want %q", unchecked(d), want)
	}
	var wide []entry
	for i := range 20 {
		wide = append(wide, file(fmt.Sprintf("%d/%sf", i, long), ""))
	}
	reg := registrytest.New()
	reg.Layered("app", "a", nil)
	reg.Layered("app", "b", nil, gzipped(wide)...)
	d = compare(t, reg, imagediff.Limits{Names: 1 << 20}.With(imagediff.Options{}))
	if want := "the names of files have more than 1048576 bytes"; !strings.Contains(unchecked(d), want) {
		t.Errorf("%q, want %q", unchecked(d), want)
	}
}

// TestManyUnchecked: what cannot be compared is told a thousand times at most.
func TestManyUnchecked(t *testing.T) {
	t.Parallel()
	var old []entry
	for i := range 1100 {
		old = append(old, file(fmt.Sprintf("bin/%d", i), "\x7fELF            \xff Go "+string([]byte("buildinf:"))+"\x08\x00"+strings.Repeat("\x00", 16)))
	}
	d := pair(t, nil, gzipped(old))
	last := d.Unchecked[len(d.Unchecked)-1]
	if len(d.Unchecked) != 1001 || last.Reason != "only the first 1000 are told" {
		t.Errorf("%d, the last %+v", len(d.Unchecked), last)
	}
}

func plainLayer(plain []byte) registrytest.Layer {
	return registrytest.Layer{MediaType: registrytest.TypeLayer, Blob: plain, DiffID: registrytest.Digest(plain)}
}

func xattr(name, key, value string) entry {
	return header(tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr." + key: value}})
}

// sparse is an archive of one file that is a hole with a letter after it
// (GNU tar's "PAX Format, Version 1.0" of sparse files).
func sparse(name string, hole int64) []byte {
	record := func(key, value string) string {
		n := len(key) + len(value) + 3
		for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
			n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
		}
		return fmt.Sprintf("%d %s=%s\n", n, key, value)
	}
	block := func(name string, typeflag byte, size int) string {
		b := make([]byte, 512)
		copy(b, name)
		copy(b[100:], "0000644\x000000000\x000000000\x00"+fmt.Sprintf("%011o\x0000000000000\x00", size))
		b[156] = typeflag
		copy(b[257:], "ustar\x0000")
		copy(b[148:], "        ")
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		return string(b)
	}
	padded := func(s string) string { return s + strings.Repeat("\x00", (512-len(s)%512)%512) }
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", name) + record("GNU.sparse.realsize", fmt.Sprint(hole+1))
	body := padded(fmt.Sprintf("1\n%d\n1\n", hole)) + padded("x")
	return []byte(block("pax", 'x', len(pax)) + padded(pax) + block(name, '0', 513) + body + strings.Repeat("\x00", 1024))
}

// TestSparse: the holes of a file are zeros.
func TestSparse(t *testing.T) {
	t.Parallel()
	d := pair(t, gzipped([]entry{file("hole", strings.Repeat("\x00", 5000)+"x")}), []registrytest.Layer{plainLayer(sparse("hole", 5000))})
	if got := changes(d); len(got) != 0 || !d.Complete {
		t.Errorf("%q, %s", got, unchecked(d))
	}
}

// TestWrongBytes: a registry that gives other bytes than those that the digest
// is of is found out, though the config says that they are right.
func TestWrongBytes(t *testing.T) {
	t.Parallel()
	good, evil := gzipped([]entry{file("x", "2")})[0], gzipped([]entry{file("x", "3")})[0]
	if len(good.Blob) != len(evil.Blob) {
		t.Fatal("the layers are not what the test needs")
	}
	reg := registrytest.New()
	reg.Layered("app", "a", nil, gzipped([]entry{file("x", "1")})...)
	reg.Layered("app", "b", nil, good)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, registrytest.Digest(good.Blob)) {
			return false
		}
		_, _ = w.Write(evil.Blob)
		return true
	}
	d := compare(t, reg, imagediff.Options{})
	if want := "other bytes than the digest is of"; !strings.Contains(unchecked(d), want) {
		t.Errorf("%q, want %q", unchecked(d), want)
	}
	for _, line := range changes(d) {
		if strings.Contains(line, hash("3")) {
			t.Errorf("the wrong bytes are shown: %s", line)
		}
	}
}

// endless is the body of a layer without end.
type endless struct {
	*io.PipeReader

	closed *atomic.Bool
}

func (e endless) Close() error {
	e.closed.Store(true)
	return e.PipeReader.Close()
}

// TestEndless: a layer that never ends is given up, and let go of.
func TestEndless(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*tar.Writer, int) error{
		"entries": func(w *tar.Writer, i int) error {
			return w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d", i), Typeflag: tar.TypeReg})
		},
		"whiteouts": func(w *tar.Writer, i int) error {
			return w.WriteHeader(&tar.Header{Name: fmt.Sprintf("a/b/.wh.%d", i), Typeflag: tar.TypeReg})
		},
		"long PAX headers": func(w *tar.Writer, i int) error {
			return w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d-é", i), Typeflag: tar.TypeReg, PAXRecords: map[string]string{"X.x": strings.Repeat("x", 50<<10)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.New()
			reg.Layered("app", "a", nil)
			evil := plainLayer([]byte("evil " + name))
			evil.Size = 1 << 40
			reg.Layered("app", "b", nil, evil)
			var closed atomic.Bool
			c := client(t, streaming(reg, registrytest.Digest(evil.Blob), func() io.ReadCloser {
				r, w := io.Pipe()
				go func() {
					tw := tar.NewWriter(w)
					for i := 0; ; i++ {
						if write(tw, i) != nil {
							return
						}
					}
				}()
				return endless{r, &closed}
			}))
			limits := imagediff.Limits{Nodes: 500}
			d, err := imagediff.Compare(t.Context(), c, parse(t, "app:a"), parse(t, "app:b"), limits.With(imagediff.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			if want := "more than 500 files, folders and entries"; !strings.Contains(unchecked(d), want) || !closed.Load() {
				t.Errorf("closed %t, %q, want %q", closed.Load(), unchecked(d), want)
			}
		})
	}
}

// TestMemory: what is kept of an entry does not hold on to its header, which
// can have a megabyte. It is not parallel, since it measures.
func TestMemory(t *testing.T) {
	const entries, waste = 64, 512 << 10
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for i := range entries {
		err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d-é", i), Linkname: "é", Typeflag: tar.TypeSymlink, PAXRecords: map[string]string{"X.x": strings.Repeat("x", waste)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	reg := registrytest.New()
	reg.Layered("app", "a", nil)
	reg.Layered("app", "b", nil, registrytest.Gzip(plain.Bytes()))
	var before, during runtime.MemStats
	measured := false
	d := compare(t, reg, imagediff.Options{Progress: func(read, of int64) {
		switch {
		case before.HeapAlloc == 0:
			runtime.GC()
			runtime.ReadMemStats(&before)
		case read == of && !measured:
			measured = true
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
	}})
	if n := d.Platforms[0].Files.Added; n != entries || !measured {
		t.Fatalf("%d added, measured %t", n, measured)
	}
	if kept := int64(during.HeapAlloc) - int64(before.HeapAlloc); kept > entries*waste/4 {
		t.Errorf("%d bytes are kept of %d entries", kept, entries)
	}
}

// streaming is a registry with the blob of one digest as a stream, of which
// nobody knows the size before.
func streaming(reg *registrytest.Registry, digest string, open func() io.ReadCloser) transport {
	return func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, digest) {
			return reg.RoundTrip(r)
		}
		return &http.Response{StatusCode: http.StatusOK, Body: open(), ContentLength: -1, Request: r}, nil
	}
}
