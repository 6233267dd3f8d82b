package imagediff

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// files compares the files of two images for one platform and what is known
// from them: packages, and what the base is.
//
// The layers above the shared ones are read first. The shared ones are read
// only if it depends on them what has changed: see needsBelow.
func (c *comparer) files(ctx context.Context, p *Platform, a, b *one) {
	for p.SharedLayers < min(len(p.A.Layers), len(p.B.Layers)) &&
		a.config.RootFS.DiffIDs[p.SharedLayers] == b.config.RootFS.DiffIDs[p.SharedLayers] {
		p.SharedLayers++
	}
	shared := p.SharedLayers
	r := &layerReader{reg: c.reg, limits: &c.limits, spent: &budget{}, buf: make([]byte, 64<<10)}
	c.read, c.toRead = 0, 0
	r.progress = func(n int) {
		if c.read += int64(n); c.opt.Progress != nil {
			c.opt.Progress(c.read, max(c.read, c.toRead))
		}
	}
	j := &job{comparer: c, p: p, r: r}
	above, below := j.read(ctx, a, shared, len(p.A.Layers)), j.read(ctx, b, shared, len(p.B.Layers))
	base := newTree(&c.limits, r.spent)
	if j.stopped == "" && shared > 0 && needsBelow(above, below) {
		p.SharedRead = true
		from := *a
		from.name = "" // they are both's
		for i := range shared {
			if one := j.read(ctx, &from, i, i+1); j.stopped == "" {
				j.apply(ctx, base, &from, i, one)
			}
		}
	}
	left, right := base.fork(), base.fork()
	j.apply(ctx, left, a, shared, above)
	j.apply(ctx, right, b, shared, below)
	if j.stopped == "" {
		all, err := differences(ctx, left, right)
		if err != nil {
			j.stop("", err)
		} else {
			p.Files = c.list(all)
			p.Files.Complete = !j.missing
			j.packages(left, right, all)
			p.A.Base.OS, p.B.Base.OS = osOf(left), osOf(right)
		}
	}
	if j.stopped != "" {
		c.unchecked(Unchecked{p.Platform, "", "files", j.stopped})
	}
}

// job is the comparison of the files for one platform.
type job struct {
	*comparer

	p *Platform
	r *layerReader
	// stopped is why it was given up, or "".
	stopped string
	// missing is whether a layer, or an entry of one, is not in the trees.
	missing bool
}

// stop gives up where going on makes no sense: at the end of the time or of
// the memory. It reports whether it did.
func (j *job) stop(what string, err error) bool {
	_, full := errors.AsType[errBudget](err)
	if !full && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if j.stopped == "" {
		j.stopped = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			j.stopped = "the time was up: " + j.stopped
		}
		if what != "" {
			j.stopped = what + ": " + j.stopped
		}
	}
	return true
}

// read reads the layers of an image from one on to before another. A layer
// that cannot be read is reported, and has no records.
func (j *job) read(ctx context.Context, o *one, from, to int) [][]record {
	layers := make([][]record, 0, to-from)
	for i := from; i < to; i++ {
		j.toRead += max(0, o.manifest.Layers[i].Size)
	}
	for i := from; i < to && j.stopped == ""; i++ {
		of := o.manifest.Layers[i]
		what := fmt.Sprintf("layer %d, %s", i+1, of.Digest)
		found, err := j.r.read(ctx, o.ref, of, o.config.RootFS.DiffIDs[i], i+1)
		if err != nil {
			if !j.stop(what, err) {
				j.missing = true
				j.unchecked(Unchecked{j.p.Platform, o.name, what, err.Error()})
			}
			layers = append(layers, nil)
			continue
		}
		for _, odd := range found.oddities {
			j.note(o, i, odd)
		}
		layers = append(layers, found.records)
	}
	return layers
}

func (j *job) note(o *one, i int, text string) {
	who := map[string]string{"a": "A, ", "b": "B, "}[o.name]
	text = printable(fmt.Sprintf("%slayer %d: %s", who, i+1, text))
	if !slices.Contains(j.p.Notes, text) {
		j.p.Notes = append(j.p.Notes, text)
	}
}

// apply puts layers onto a tree, and lets go of them.
func (j *job) apply(ctx context.Context, t *tree, o *one, from int, layers [][]record) {
	for i := range layers {
		if j.stopped != "" {
			return
		}
		odd, err := t.apply(ctx, layers[i])
		layers[i] = nil
		if err != nil {
			if !j.stop("", err) {
				j.unchecked(Unchecked{j.p.Platform, o.name, fmt.Sprintf("layer %d", from+i+1), err.Error()})
			}
			return
		}
		for _, text := range odd {
			j.missing = true
			j.unchecked(Unchecked{j.p.Platform, o.name, fmt.Sprintf("layer %d", from+i+1), text})
		}
		for _, name := range t.followed {
			j.note(o, from+i, "/"+clip(name, 120)+" goes through a symlink; it was taken as containerd does, Docker may replace the symlink")
		}
	}
}

// list makes the list of changed files, what matters most first.
func (c *comparer) list(all []found) Files {
	type ranked struct {
		*found
		rank  int
		marks []string
	}
	var files Files
	list := make([]ranked, 0, len(all))
	for i := range all {
		f := &all[i]
		r := ranked{found: f}
		var a, b *inode
		if f.a != nil {
			a = f.a.inode()
		}
		if f.b != nil {
			b = f.b.inode()
		}
		r.marks, r.rank = marksOf(f.path, a, b)
		switch {
		case f.a == nil:
			files.Added++
		case f.b == nil:
			files.Removed++
		default:
			files.Changed++
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(x, y ranked) int { return cmp.Or(cmp.Compare(x.rank, y.rank), strings.Compare(x.path, y.path)) })
	if len(list) > c.limits.changes {
		files.Omitted = len(list) - c.limits.changes
		list = list[:c.limits.changes]
	}
	for _, r := range list {
		change := FileChange{Path: printable(r.path), Change: Changed, Marks: r.marks, rank: r.rank, A: fileOf(r.a), B: fileOf(r.b)}
		switch {
		case r.a == nil:
			change.Change = Added
		case r.b == nil:
			change.Change = Removed
		}
		files.List = append(files.List, change)
	}
	return files
}

var typeNames = map[byte]string{
	typeFile: "file", typeDir: "dir", typeSymlink: "symlink", typeChar: "char", typeBlock: "block", typeFifo: "fifo",
}

func fileOf(n *node) *File {
	if n == nil {
		return nil
	}
	i := n.inode()
	f := &File{
		Type: typeNames[i.typ], Mode: fmt.Sprintf("%04o", i.mode), UID: i.uid, GID: i.gid,
		Size: i.size, Target: printable(i.text), Xattrs: printable(i.xattrs), Layer: int(i.layer),
	}
	if i.typ == typeFile {
		f.SHA256 = hex.EncodeToString(i.sum[:])
	}
	return f
}

// osOf is the name of the distribution, or "" where it is not known.
func osOf(t *tree) string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if n := t.lookup(name); n != nil && n.ino != nil && n.ino.content != nil {
			return printable(n.ino.content.os)
		}
	}
	return ""
}

// packages compares the databases of packages, and the modules of the Go
// programs that changed.
func (j *job) packages(a, b *tree, all []found) {
	for _, name := range slices.Concat([]string{dpkgStatus}, apkInstalled, rpmDatabases()) {
		j.databases([]*node{a.lookup(name)}, []*node{b.lookup(name)}, name)
	}
	for who, t := range map[string]*tree{"a": a, "b": b} {
		for _, folder := range rpmFolders {
			name := path.Join(folder, "rpmdb.sqlite")
			if wal := t.lookup(name + "-wal"); wal != nil && wal.inode().size > 0 && contentOf(t.lookup(name)).kind != "" {
				j.unread(name, &content{unread: "its write-ahead log is not read"}, who)
			}
		}
	}
	j.databases(a.below(dpkgFolder), b.below(dpkgFolder), dpkgFolder)
	for i := range all {
		f := &all[i]
		if x, y := contentOf(f.a), contentOf(f.b); x.kind == "go" || y.kind == "go" {
			j.changed("go", printable(f.path), []*content{x}, []*content{y})
			j.unread(f.path, x, "a")
			j.unread(f.path, y, "b")
		}
	}
	// A package can be in two databases that are one by a symlink.
	slices.SortFunc(j.p.Packages, func(x, y PackageChange) int {
		return cmp.Or(strings.Compare(x.Type, y.Type), strings.Compare(x.File, y.File), strings.Compare(x.Name, y.Name), strings.Compare(x.A, y.A), strings.Compare(x.B, y.B))
	})
	j.p.Packages = slices.Compact(j.p.Packages)
}

// below are the nodes of a folder.
func (t *tree) below(name string) []*node {
	dir, _, err := t.folder(name, look)
	if err != nil {
		return nil
	}
	return slices.Collect(maps.Values(dir.children))
}

// databases compares databases of one kind that are at one place.
func (j *job) databases(a, b []*node, name string) {
	read := func(nodes []*node, who string) (list []*content) {
		for _, n := range nodes {
			if c := contentOf(n); c.kind != "" && c.kind != "go" {
				list = append(list, c)
				if c.unread != "" && !slices.ContainsFunc(slices.Concat(a, b), func(o *node) bool { return o != n && o != nil && equal(o, n) }) {
					j.unread(name, c, who)
				}
			}
		}
		return list
	}
	x, y := read(a, "a"), read(b, "b")
	for _, kind := range []string{"deb", "apk", "rpm"} {
		j.changed(kind, "", only(x, kind), only(y, kind))
	}
}

func only(list []*content, kind string) []*content {
	return slices.DeleteFunc(slices.Clone(list), func(c *content) bool { return c.kind != kind })
}

func (j *job) unread(name string, c *content, who string) {
	if c.unread != "" {
		j.unchecked(Unchecked{j.p.Platform, who, "packages of /" + strings.TrimPrefix(name, "/"), c.unread})
	}
}

// contentOf is what was read of a node's file; it is empty where nothing was.
func contentOf(n *node) *content {
	if n == nil || n.ino == nil || n.ino.content == nil {
		return &content{}
	}
	return n.ino.content
}

// changed notes the packages of a kind whose versions differ.
func (j *job) changed(kind, file string, a, b []*content) {
	x, y := versions(a), versions(b)
	for _, name := range keys(x, y) {
		s, t := strings.Join(x[name], ", "), strings.Join(y[name], ", ")
		if s == t && len(x[name]) == len(y[name]) {
			continue
		}
		change := PackageChange{Type: kind, Name: printable(name), Change: Changed, A: printable(s), B: printable(t), File: file}
		switch {
		case len(x[name]) == 0:
			change.Change = Added
		case len(y[name]) == 0:
			change.Change = Removed
		}
		j.p.Packages = append(j.p.Packages, change)
	}
}

// versions are the versions of each package.
func versions(list []*content) map[string][]string {
	found := map[string][]string{}
	for _, c := range list {
		for _, p := range c.packages {
			found[p.name] = append(found[p.name], p.version)
		}
	}
	for name, v := range found {
		slices.Sort(v)
		found[name] = slices.Compact(v)
	}
	return found
}

func rpmDatabases() []string {
	var names []string
	for _, folder := range rpmFolders {
		for _, n := range rpmNames {
			names = append(names, path.Join(folder, n))
		}
	}
	return names
}
