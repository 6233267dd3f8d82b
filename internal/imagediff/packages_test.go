package imagediff_test

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// packages are the packages that differ as lines such as "changed deb a 1 2".
func packages(d *imagediff.Diff) []string {
	var list []string
	for _, p := range d.Platforms {
		for _, c := range p.Packages {
			line := fmt.Sprintf("%s %s %s", c.Change, c.Type, c.Name)
			for _, s := range []string{c.A, c.B, c.File} {
				if s != "" {
					line += " " + s
				}
			}
			list = append(list, line)
		}
	}
	return list
}

// rpmSQLite is a database that rpm 4.18 made with --justdb of seven packages
// whose descriptions are of 400 to 19,600 bytes.
func rpmSQLite(t testing.TB) string {
	t.Helper()
	packed, err := os.ReadFile("testdata/rpmdb.sqlite.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	db, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(db)
}

// rpmHeader is the header of a package as rpm keeps it.
func rpmHeader(name, version string, epoch uint32, padding int) []byte {
	data := []byte(name + "\x00" + version + "\x00" + "1\x00x86_64\x00")
	var index []byte
	add := func(tag, kind uint32, offset int) {
		for _, v := range []uint32{tag, kind, uint32(offset), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
	}
	add(1000, 6, 0)
	add(1001, 6, len(name)+1)
	add(1002, 6, len(name)+len(version)+2)
	add(1022, 6, len(name)+len(version)+4)
	add(1003, 4, len(data))
	data = binary.BigEndian.AppendUint32(data, epoch)
	data = append(data, make([]byte, padding)...)
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(index)/16)), uint32(len(data)))
	return append(append(head, index...), data...)
}

// rpmNDB is rpm's own database with one page of slots.
func rpmNDB(headers ...[]byte) string {
	const page = 4096
	db := make([]byte, page)
	copy(db, "RpmP")
	binary.LittleEndian.PutUint32(db[12:], 1)
	for at := 32; at < page; at += 16 {
		copy(db[at:], "Slot")
	}
	for i, h := range headers {
		slot := db[32+16*i:]
		binary.LittleEndian.PutUint32(slot[4:], uint32(i+1))
		binary.LittleEndian.PutUint32(slot[8:], uint32(len(db)/16))
		blob := binary.LittleEndian.AppendUint32([]byte("BlbS"), uint32(i+1))
		blob = binary.LittleEndian.AppendUint32(append(blob, 0, 0, 0, 0), uint32(len(h)))
		blob = append(blob, h...)
		db = append(append(db, blob...), make([]byte, (16-len(blob)%16)%16)...)
	}
	return string(db)
}

// rpmBerkeley is a hash of Berkeley DB: the page that describes it, a page of
// keys and values, and the pages of long values.
func rpmBerkeley(order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}, headers ...[]byte,
) string {
	const size, head = 512, 26
	meta, hash := make([]byte, size), make([]byte, size)
	order.PutUint32(meta[12:], 0x00061561)
	order.PutUint32(meta[20:], size)
	meta[25], hash[25] = 8, 13
	db := append(meta, hash...)
	end, items := size, 0
	item := func(b []byte) {
		end -= len(b)
		copy(db[size+end:], b)
		order.PutUint16(db[size+head+2*items:], uint16(end))
		items++
	}
	item([]byte{1, 0, 0, 0, 0}) // the number of the last package
	item([]byte{1, 9, 0, 0, 0})
	for i, h := range headers {
		item([]byte{1, byte(i + 1), 0, 0, 0})
		if len(h) < 100 {
			item(append([]byte{1}, h...))
			continue
		}
		item(order.AppendUint32(order.AppendUint32([]byte{3, 0, 0, 0}, uint32(len(db)/size)), uint32(len(h))))
		for len(h) > 0 {
			n := min(len(h), size-head)
			page := make([]byte, size)
			copy(page[head:], h[:n])
			page[25] = 7
			order.PutUint16(page[22:], uint16(n))
			if h = h[n:]; len(h) > 0 {
				order.PutUint32(page[16:], uint32(len(db)/size+1))
			}
			db = append(db, page...)
		}
	}
	order.PutUint16(db[size+20:], uint16(items))
	return string(db)
}

func TestPackages(t *testing.T) {
	t.Parallel()
	const status = "var/lib/dpkg/status"
	deb := func(name, version, state string) string {
		s := "Package: " + name + "\nDescription: one\n two: three\n .\n"
		if state != "" {
			s += "Status: install ok " + state + "\n"
		}
		return s + "Version: " + version + "\n\n"
	}
	ndb := rpmNDB(rpmHeader("bash", "5.2", 0, 10), rpmHeader("glibc", "2.38", 1, 5000))
	for name, test := range map[string]struct {
		a, b []entry
		want []string
	}{
		"dpkg": {
			[]entry{file(status, deb("a", "1", "installed")+deb("b", "1", "installed")+deb("c", "1", "installed"))},
			[]entry{file(status, deb("a", "1", "installed")+deb("b", "2", "installed")+deb("d", "1", "installed"))},
			[]string{"changed deb b 1 2", "removed deb c 1", "added deb d 1"},
		},
		"dpkg, not installed": {
			[]entry{file(status, deb("a", "1", "config-files"))},
			[]entry{file(status, deb("a", "1", "half-configured")+deb("b", "1", "not-installed"))},
			[]string{"added deb a 1"},
		},
		"dpkg, two architectures": {
			[]entry{file(status, deb("a", "1", "installed"))},
			[]entry{file(status, deb("a", "1", "installed")+deb("a", "2", "installed"))},
			[]string{"changed deb a 1 1, 2"},
		},
		"dpkg, no blank line at the end": {[]entry{file(status, "")}, []entry{file(status, "Package: a\nVersion: 1")}, []string{"added deb a 1"}},
		"dpkg, a long line": {
			[]entry{file(status, "")},
			[]entry{file(status, "Package: a\nX: "+strings.Repeat("x", 300<<10)+"\nVersion: 1\n\nPackage: b\nVersion: 1")},
			[]string{"added deb a 1", "added deb b 1"},
		},
		"distroless": {
			[]entry{file("var/lib/dpkg/status.d/base", deb("base", "1", "")), file("var/lib/dpkg/status.d/libc", deb("libc", "1", ""))},
			[]entry{file("var/lib/dpkg/status.d/base", deb("base", "2", "")), file("var/lib/dpkg/status.d/base.md5sums", deb("x", "2", "")), file("var/lib/dpkg/status.d/new", deb("libc", "1", ""))},
			[]string{"changed deb base 1 2"},
		},
		"apk": {
			[]entry{file("lib/apk/db/installed", "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1-r0\n\n")},
			[]entry{file("lib/apk/db/installed", "C:Q1\nP:musl\nV:1.2.5-r1\nA:x86_64\n\n")},
			[]string{"changed apk musl 1.2.5-r0 1.2.5-r1", "removed apk zlib 1-r0"},
		},
		"apk behind a symlink": {
			[]entry{symlink("lib", "usr/lib"), file("usr/lib/apk/db/installed", "P:musl\nV:1\n")},
			[]entry{symlink("lib", "usr/lib"), file("lib/apk/db/installed", "P:musl\nV:2\n")},
			[]string{"changed apk musl 1 2"},
		},
		"rpm, SQLite": {
			nil,
			[]entry{file("var/lib/rpm/rpmdb.sqlite", rpmSQLite(t))},
			[]string{"added rpm lib1 1.1-1.noarch", "added rpm lib2 2:1.2-1.noarch", "added rpm lib3 1.3-1.noarch", "added rpm lib4 1.4-1.noarch", "added rpm lib5 1.5-1.noarch", "added rpm lib6 1.6-1.noarch", "added rpm lib7 1.7-1.noarch"},
		},
		"rpm, ndb": {
			[]entry{file("usr/lib/sysimage/rpm/Packages.db", ndb)},
			[]entry{file("usr/lib/sysimage/rpm/Packages.db", rpmNDB(rpmHeader("bash", "5.3", 0, 0)))},
			[]string{"changed rpm bash 0:5.2-1.x86_64 0:5.3-1.x86_64", "removed rpm glibc 1:2.38-1.x86_64"},
		},
		"rpm, Berkeley DB": {
			[]entry{file("var/lib/rpm/Packages", rpmBerkeley(binary.LittleEndian, rpmHeader("bash", "5", 0, 0), rpmHeader("glibc", "2", 1, 5000)))},
			[]entry{file("var/lib/rpm/Packages", rpmBerkeley(binary.BigEndian, rpmHeader("bash", "6", 0, 400)))},
			[]string{"changed rpm bash 0:5-1.x86_64 0:6-1.x86_64", "removed rpm glibc 1:2-1.x86_64"},
		},
		"rpm, another format of the same": {[]entry{file("var/lib/rpm/Packages", rpmBerkeley(binary.LittleEndian, rpmHeader("bash", "5", 0, 0)))}, []entry{file("var/lib/rpm/rpmdb.sqlite", ""), file("var/lib/rpm/Packages", rpmNDB(rpmHeader("bash", "5", 0, 0)))}, nil},
		"what does not print":             {nil, []entry{file(status, "Package: a\x1b[31m\nVersion: \u202e\n")}, []string{`added deb a\x1b[31m \u202e`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pair(t, gzipped(test.a), gzipped(test.b))
			if diff := cmp.Diff(test.want, packages(d)); diff != "" || !d.Complete {
				t.Errorf("%s%s", diff, unchecked(d))
			}
		})
	}
}

// TestPackagesNotRead: a database that cannot be read is reported, unless it
// is the same in both images.
func TestPackagesNotRead(t *testing.T) {
	t.Parallel()
	good := rpmSQLite(t)
	cut := good[:len(good)/2]
	endless := []byte(rpmBerkeley(binary.LittleEndian, rpmHeader("bash", "5", 0, 5000)))
	binary.LittleEndian.PutUint32(endless[3*512+16:], 2) // The second page of the value leads back to the first.
	looped := []byte(good)
	looped[16], looped[17] = 0, 0
	for name, test := range map[string]struct{ path, body, want string }{
		"cut off":              {"var/lib/rpm/rpmdb.sqlite", cut, "the rpm database is damaged"},
		"no size of a page":    {"var/lib/rpm/rpmdb.sqlite", string(looped), "the rpm database is damaged"},
		"pages in a circle":    {"var/lib/rpm/Packages", string(endless), "the rpm database is damaged"},
		"an unknown format":    {"var/lib/rpm/Packages", strings.Repeat("x", 5000), "the rpm database is of an unknown format"},
		"slots beyond the end": {"var/lib/rpm/Packages.db", "RpmP" + strings.Repeat("\x00", 8) + "\xff\xff\xff\xff" + strings.Repeat("\x00", 64), "the rpm database is damaged"},
	} {
		d := pair(t, nil, gzipped([]entry{file(test.path, test.body)}))
		if want := "b packages of /" + test.path + ": " + test.want; d.Complete || unchecked(d) != want {
			t.Errorf("%s: %q, want %q", name, unchecked(d), want)
		}
		same := pair(t, gzipped([]entry{file(test.path, test.body)}), gzipped([]entry{file(test.path, test.body), file("x", "")}))
		if !same.Complete {
			t.Errorf("%s in both: %s", name, unchecked(same))
		}
	}
	// What is in the log of a database is not in its file.
	d := pair(t, nil, gzipped([]entry{file("var/lib/rpm/rpmdb.sqlite", good), file("var/lib/rpm/rpmdb.sqlite-wal", "x")}))
	if want := "b packages of /var/lib/rpm/rpmdb.sqlite: its write-ahead log is not read"; unchecked(d) != want {
		t.Errorf("a log: %q, want %q", unchecked(d), want)
	}
}

// program is this test, a Go program in the format of Linux.
func program(t testing.TB) []byte {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this test is no program of Linux")
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGoModules(t *testing.T) {
	t.Parallel()
	self := program(t)
	info, err := buildinfo.Read(bytes.NewReader(self))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"added go stdlib " + info.GoVersion + " /app"}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != "" {
			want = append(want, strings.TrimSpace("added go "+m.Path+" "+strings.TrimSpace(m.Version+" "+m.Sum))+" /app")
		}
	}
	app := func(body []byte) []registrytest.Layer {
		return []registrytest.Layer{plainLayer(registrytest.Tar(registrytest.File("app", 0o755, string(body))))}
	}
	d := pair(t, nil, app(self))
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(packages(d)))); diff != "" || !d.Complete {
		t.Errorf("%s%s", diff, unchecked(d))
	}
	newer := "go1.9" + info.GoVersion[5:]
	d = pair(t, app(self), app(bytes.ReplaceAll(self, []byte(info.GoVersion), []byte(newer))))
	if got := packages(d); !slices.Equal(got, []string{"changed go stdlib " + info.GoVersion + " " + newer + " /app"}) {
		t.Errorf("another Go: %q", got)
	}

	// Not a constant, or this test would have several build infos.
	magic := "\xff Go " + string([]byte("buildinf:"))
	const aligned = "\x7fELF            "
	inline := magic + "\x08\x02" + strings.Repeat("\x00", 16)
	for name, test := range map[string]struct{ body, want string }{
		"before Go 1.18": {magic + "\x08\x00" + strings.Repeat("\x00", 64), "the build info of Go before 1.18 is not read"},
		"decoys":         {strings.Repeat(inline+"\x00\x00"+strings.Repeat("\x00", 14), 100), "it has more than one build info"},
		"two":            {inline + "\x06go1.98\x00" + strings.Repeat("\x00", 8) + inline + "\x06go1.99\x00", "it has more than one build info"},
		"damaged":        {inline + "\x06go1.99\x26" + strings.Repeat("x", 16) + "dep\tx\n" + strings.Repeat("y", 16), "its build info cannot be read"},
		"a text alone":   {"is " + magic + " a text", ""},
		"at the end":     {strings.Repeat("x", 64<<10-7-16) + magic[:13], ""},
	} {
		d := pair(t, nil, gzipped([]entry{registrytest.File("app", 0o755, aligned+test.body)}))
		want := ""
		if test.want != "" {
			want = "b packages of /app: " + test.want
		}
		if got := unchecked(d); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// The modules, one of them replaced.
	mod := "path\tapp\nmod\tapp\t(devel)\t\ndep\ta.example/x\tv1.0.0\th1:x=\ndep\ta.example/y\tv1.1.0\n=>\tb.example/y\tv9.0.0\th1:y=\n"
	mod = strings.Repeat("<", 16) + mod + strings.Repeat(">", 16)
	whole := aligned + inline + "\x06go1.99" + string(binary.AppendUvarint(nil, uint64(len(mod)))) + mod
	want = []string{"added go a.example/x v1.0.0 h1:x= /app", "added go a.example/y v1.1.0 => b.example/y v9.0.0 h1:y= /app", "added go app (devel) /app", "added go stdlib go1.99 /app"}
	if diff := cmp.Diff(want, packages(pair(t, nil, gzipped([]entry{registrytest.File("app", 0o755, whole)})))); diff != "" {
		t.Error(diff)
	}
	// The build info is found wherever it begins.
	for _, n := range []int{0, 64<<10 - 32, 64<<10 - 16, 64 << 10, 1<<20 - 16, 1 << 20} {
		body := aligned + strings.Repeat("x", n) + inline + "\x06go1.99\x00"
		d := pair(t, nil, gzipped([]entry{registrytest.File("app", 0o755, body)}))
		if diff := cmp.Diff([]string{"added go stdlib go1.99 /app"}, packages(d)); diff != "" {
			t.Errorf("after %d bytes: %s", n, diff)
		}
	}
}
