package imagediff

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
)

// content is what was read of a file besides its bytes.
type content struct {
	// packages are those of a database of packages, or the modules of a Go
	// program.
	packages []pkg
	kind     string // of the packages: deb, apk, rpm, go; "" for none
	unread   string // why they could not be read
	os       string // of an os-release file
}

// pkg is a package in a version.
type pkg struct{ name, version string }

const (
	// maxLine is how long a line of a database may be; what is longer is cut.
	maxLine = 64 << 10
	// maxField is how long the name or the version of a package may be.
	maxField = 256
	// maxBuildInfo is how many bytes the build info of a Go program may have.
	maxBuildInfo = 1 << 20
	// programWindow is how much of a program is looked at at a time.
	programWindow = 64 << 10
	// maxDecoys is how many build infos are looked at in a program.
	maxDecoys = 16
	// maxOSRelease is how much of an os-release file is read.
	maxOSRelease = 16 << 10
)

// content reads a file if it is one of those that have packages. The error is
// one of reading, or of a limit.
func (r *layerReader) content(file io.Reader, name string, ino *inode) (*content, error) {
	found := &content{kind: databaseOf(name)}
	var err error
	switch {
	case found.kind == "deb":
		err = r.fields(file, found, "Package", "Version", "Status")
	case found.kind == "apk":
		err = r.fields(file, found, "P", "V", "")
	case found.kind == "rpm":
		err = r.rpm(file, ino.size, found)
	case name == "etc/os-release" || name == "usr/lib/os-release":
		found.os, err = osRelease(file)
	case ino.elf:
		if err = r.modules(file, found); found.kind == "" && err == nil {
			return nil, nil
		}
	default:
		return nil, nil
	}
	return found, err
}

// The databases of packages: dpkg(1), "/var/lib/dpkg/status", and the folder
// that distroless images have instead; apk-installed(5); rpm's %_dbpath of the
// distributions.
const (
	dpkgStatus = "var/lib/dpkg/status"
	dpkgFolder = "var/lib/dpkg/status.d"
)

var (
	apkInstalled = []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"}
	rpmFolders   = []string{"var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"}
	rpmNames     = []string{"rpmdb.sqlite", "Packages.db", "Packages"}
)

// databaseOf is the kind of packages that a file lists, or "".
func databaseOf(name string) string {
	if name == dpkgStatus {
		return "deb"
	}
	if base, ok := strings.CutPrefix(name, dpkgFolder+"/"); ok && !strings.Contains(base, "/") && !strings.HasSuffix(base, ".md5sums") {
		return "deb"
	}
	if slices.Contains(apkInstalled, name) {
		return "apk"
	}
	for _, folder := range rpmFolders {
		for _, n := range rpmNames {
			if name == folder+"/"+n {
				return "rpm"
			}
		}
	}
	return ""
}

// add notes a package, within the limits.
func (r *layerReader) add(c *content, name, version string) error {
	if r.spent.packages++; r.spent.packages > r.limits.packages {
		return errBudget{fmt.Sprintf("the databases of packages have more than %d", r.limits.packages)}
	}
	name, version = clip(name, maxField), clip(version, maxField)
	if err := r.spent.name(r.limits, len(name)+len(version)); err != nil {
		return err
	}
	c.packages = append(c.packages, pkg{strings.Clone(name), strings.Clone(version)})
	return nil
}

// fields reads paragraphs of "Name: value" lines (deb-control(5)), as dpkg
// and apk keep them. With a field for the status, a package counts unless that
// says that it is not installed.
func (r *layerReader) fields(file io.Reader, into *content, nameField, versionField, statusField string) error {
	var name, version string
	installed := true
	end := func() error {
		defer func() { name, version, installed = "", "", true }()
		if name == "" || !installed {
			return nil
		}
		return r.add(into, name, version)
	}
	lines := bufio.NewReaderSize(file, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !long && !errors.Is(err, io.EOF) {
			return err
		}
		field, value, ok := strings.Cut(string(bytes.TrimRight(line[:min(len(line), 4*maxField)], "\r\n")), ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok && field == "" && len(line) > 0:
			if err := end(); err != nil {
				return err
			}
		case !ok:
		case field == nameField:
			name = value
		case field == versionField:
			version = value
		case statusField != "" && field == statusField:
			// The third word is the state (dpkg(1), "Package states").
			words := strings.Fields(value)
			installed = len(words) < 3 || words[2] != "not-installed" && words[2] != "config-files"
		}
		for long { // the rest of the line
			_, err = lines.ReadSlice('\n')
			long = errors.Is(err, bufio.ErrBufferFull)
		}
		if errors.Is(err, io.EOF) {
			return end()
		}
		if err != nil {
			return err
		}
	}
}

// osRelease is PRETTY_NAME of an os-release file (os-release(5)).
func osRelease(file io.Reader) (string, error) {
	body, err := io.ReadAll(io.LimitReader(file, maxOSRelease))
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return clip(strings.Trim(strings.TrimSpace(value), `"'`), maxField), err
		}
	}
	return "", err
}

// buildInfo begins what the Go linker writes into a program; two texts with
// their lengths follow after 32 bytes if bit 1 of the flags is set, as since Go
// 1.18 (the standard library's debug/buildinfo).
var buildInfo = []byte("\xff Go buildinf:")

const (
	buildInfoHeader = 32
	buildInfoInline = 2
)

// modules finds the build info of a Go program. debug/buildinfo wants to read
// a file at any place, so that it would have to be kept; this reads it once,
// as it comes. It cannot see which of several is in the section that counts:
// then it says that there are several.
func (r *layerReader) modules(file io.Reader, into *content) error {
	if r.program == nil {
		r.program = bufio.NewReaderSize(file, maxBuildInfo)
	}
	in := r.program
	in.Reset(file)
	read := 0
	skip := func(n int) error {
		n, err := in.Discard(n)
		read += n
		return err
	}
	for tries := 0; ; {
		window, err := in.Peek(programWindow)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at := bytes.Index(window, buildInfo)
		if at < 0 && len(window) < programWindow {
			return nil // It was the last.
		}
		if at < 0 {
			if err := skip(len(window) - len(buildInfo) + 1); err != nil {
				return err
			}
			continue
		}
		if err := skip(at); err != nil {
			return err
		}
		header, err := in.Peek(buildInfoHeader)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		// The linker puts it at a multiple of 16.
		if read%16 == 0 && len(header) == buildInfoHeader && (header[14] == 4 || header[14] == 8) && header[15] < 4 {
			old := header[15]&buildInfoInline == 0
			if old && into.kind == "" {
				into.kind, into.unread = "go", "the build info of Go before 1.18 is not read"
			}
			if !old {
				info, err := in.Peek(maxBuildInfo)
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if err := r.buildInfo(info[buildInfoHeader:], into); err != nil {
					return err
				}
				tries++
			}
			if tries > maxDecoys || len(into.packages) > 0 && into.unread == severalBuildInfos {
				into.kind, into.packages, into.unread = "go", nil, severalBuildInfos
				return nil
			}
		}
		if err := skip(len(buildInfo)); err != nil {
			return err
		}
	}
}

const severalBuildInfos = "it has more than one build info"

// buildInfo reads the two texts of a build info, if it is one.
func (r *layerReader) buildInfo(b []byte, into *content) error {
	text := func() (string, bool) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return "", false
		}
		s := string(b[size : size+int(n)])
		b = b[size+int(n):]
		return s, true
	}
	version, ok := text()
	if !ok || len(version) > maxField || !strings.HasPrefix(version, "go1") && !strings.HasPrefix(version, "devel") {
		return nil
	}
	// The text stands between two marks of 16 bytes each.
	mod, ok := text()
	framed := len(mod) >= 33 && mod[len(mod)-17] == '\n'
	if !ok || mod != "" && !framed {
		return nil
	}
	if len(into.packages) > 0 {
		into.unread = severalBuildInfos
		return nil
	}
	into.kind, into.unread = "go", ""
	if err := r.add(into, "stdlib", version); err != nil {
		return err
	}
	if !framed {
		return nil
	}
	info, err := debug.ParseBuildInfo(mod[16 : len(mod)-16])
	if err != nil {
		into.unread = "its build info cannot be read"
		return nil //nolint:nilerr // It is told with the program.
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m == nil || m.Path == "" {
			continue
		}
		version := m.Version
		if m.Replace != nil {
			version += " => " + m.Replace.Path + " " + m.Replace.Version
			m = &debug.Module{Path: m.Path, Sum: m.Replace.Sum}
		}
		if m.Sum != "" {
			// It tells a module that was swapped under its version.
			version += " " + m.Sum
		}
		if err := r.add(into, m.Path, version); err != nil {
			return err
		}
	}
	return nil
}
