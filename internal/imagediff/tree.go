package imagediff

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

const (
	// maxHops is how many symlinks Linux follows in one path.
	maxHops = 40
	// maxDepth is how deep a folder can be. A name alone cannot be deeper;
	// names through symlinks could, without end.
	maxDepth = maxName / 2
)

// tree is the files of an image as its layers make them, from the bottom up.
// Trees that were forked share what neither has changed.
type tree struct {
	root   *node
	limits *limits
	spent  *budget
	// followed are the first names of a layer that go through a symlink.
	followed []string
}

// node is a file or a folder. Only its owner may change it.
type node struct {
	owner    *tree
	ino      *inode // nil for a folder that no layer names
	children map[string]*node
}

func (n *node) dir() bool { return n.ino == nil || n.ino.typ == typeDir }

func newTree(l *limits, spent *budget) *tree {
	t := &tree{limits: l, spent: spent}
	t.root = &node{owner: t}
	return t
}

// fork makes a tree that starts as t, which must not change any more.
func (t *tree) fork() *tree {
	return &tree{root: t.root, limits: t.limits, spent: t.spent}
}

// own makes a node that may be changed of the child called name, or of the
// root where parent is nil.
func (t *tree) own(parent *node, name string, n *node) (*node, error) {
	if n.owner == t {
		return n, nil
	}
	for range n.children {
		if err := t.spent.node(t.limits); err != nil {
			return nil, err
		}
	}
	mine := &node{owner: t, ino: n.ino, children: maps.Clone(n.children)}
	if parent == nil {
		t.root = mine
	} else {
		parent.children[name] = mine
	}
	return mine, nil
}

// How a path is walked.
type walk uint8

const (
	look   walk = iota // change nothing
	change             // the folder on the way may be changed
	create             // and is made where it is missing
)

var (
	errMissing = errors.New("not there")
	errLoop    = errors.New("symlinks lead in a circle")
	errDeep    = errors.New("a folder is deeper than 2048")
)

// parent finds the folder that a name is in. Symlinks on the way are followed
// inside the root, also where they are of another layer: containerd does so
// when it unpacks a layer. followed is whether there was one.
func (t *tree) parent(name string, how walk) (dir *node, base string, followed bool, err error) {
	dirname := ""
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		dirname, name = name[:at], name[at+1:]
	}
	dir, followed, err = t.folder(dirname, how)
	return dir, name, followed, err
}

// folder finds a folder by its path.
func (t *tree) folder(name string, how walk) (dir *node, followed bool, err error) {
	root := t.root
	if how != look {
		if root, err = t.own(nil, "", root); err != nil {
			return nil, false, err
		}
	}
	way := []*node{root}
	hops, rest := 0, name
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		at := way[len(way)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(way) > 1 {
				way = way[:len(way)-1]
			}
			continue
		}
		next := at.children[part]
		switch {
		case next != nil && next.ino != nil && next.ino.typ == typeSymlink:
			if hops++; hops > maxHops {
				return nil, true, errLoop
			}
			followed = true
			if strings.HasPrefix(next.ino.text, "/") {
				way = way[:1]
			}
			rest = next.ino.text + "/" + rest
			continue
		case next == nil || !next.dir():
			if how != create {
				return nil, followed, errMissing
			}
			if next, err = t.put(at, part, nil); err != nil {
				return nil, followed, err
			}
		case how != look:
			if next, err = t.own(at, part, next); err != nil {
				return nil, followed, err
			}
		}
		if way = append(way, next); len(way) > maxDepth {
			return nil, followed, errDeep
		}
	}
	return way[len(way)-1], followed, nil
}

// put puts a new node into a folder that t owns.
func (t *tree) put(dir *node, name string, ino *inode) (*node, error) {
	if err := t.spent.node(t.limits); err != nil {
		return nil, err
	}
	n := &node{owner: t, ino: ino}
	if dir.children == nil {
		dir.children = map[string]*node{}
	}
	dir.children[name] = n
	return n, nil
}

// lookup finds what a path leads to, the last symlink followed, too; nil where
// that is nothing.
func (t *tree) lookup(name string) *node {
	for range maxHops {
		dir, base, _, err := t.parent(name, look)
		if err != nil {
			return nil
		}
		n := dir.children[base]
		if n == nil || n.ino == nil || n.ino.typ != typeSymlink {
			return n
		}
		if target := n.ino.text; strings.HasPrefix(target, "/") {
			name = strings.TrimLeft(target, "/")
		} else {
			name = name[:len(name)-len(base)] + target
		}
	}
	return nil
}

// apply puts a layer onto the tree. Whiteouts come first: they are for the
// layers below alone, wherever they stand (OCI image spec 1.1, layer.md,
// "Whiteouts"). It tells the oddities it met.
func (t *tree) apply(ctx context.Context, records []record) (odd []string, err error) {
	t.followed = nil
	for i := range records {
		if i%1024 == 0 && ctx.Err() != nil {
			return odd, ctx.Err()
		}
		r := &records[i]
		switch r.kind {
		case whiteout:
			dir, base, _, err := t.parent(r.name, change)
			if err == nil {
				delete(dir.children, base)
			} else if !odds(err) {
				return odd, err
			}
		case opaque:
			dir, _, err := t.folder(r.name, change)
			if err == nil {
				dir.children = nil
			} else if !odds(err) {
				return odd, err
			}
		}
	}
	for i := range records {
		if i%1024 == 0 && ctx.Err() != nil {
			return odd, ctx.Err()
		}
		r := &records[i]
		if r.kind != put && r.kind != hardlink {
			continue
		}
		if err := t.add(r); odds(err) {
			if len(odd) < maxOddities {
				odd = append(odd, clip(r.name, 120)+": "+r.why(err))
			}
		} else if err != nil {
			return odd, err
		}
	}
	return odd, nil
}

// odds is whether an error is about one entry, and not about all.
func odds(err error) bool {
	return errors.Is(err, errMissing) || errors.Is(err, errLoop) || errors.Is(err, errDeep)
}

func (r *record) why(err error) string {
	if errors.Is(err, errMissing) {
		return "a hard link to " + clip(r.target, 120) + ", which is not there"
	}
	return err.Error()
}

// add puts one entry into the tree.
func (t *tree) add(r *record) error {
	if r.name == "" {
		if r.kind != put || r.ino.typ != typeDir {
			return nil // The root stays a folder.
		}
		root, err := t.own(nil, "", t.root)
		if err == nil {
			root.ino = r.ino
		}
		return err
	}
	ino := r.ino
	if r.kind == hardlink {
		target, err := t.linked(r)
		if err != nil {
			return err
		}
		ino = target
	}
	dir, base, followed, err := t.parent(r.name, create)
	if err != nil {
		return err
	}
	if followed && len(t.followed) < maxOddities {
		t.followed = append(t.followed, r.name)
	}
	if now := dir.children[base]; now != nil && now.dir() && ino.typ == typeDir {
		if now, err = t.own(dir, base, now); err != nil {
			return err
		}
		now.ino = ino
		return nil
	}
	_, err = t.put(dir, base, ino)
	return err
}

// linked is what a hard link leads to. A link and its target are one file, so
// the mode and the owner that the link's entry has become those of both. A
// file of a layer below is copied up first, and its other links stay.
func (t *tree) linked(r *record) (*inode, error) {
	dir, base, _, err := t.parent(r.target, change)
	if err != nil {
		return nil, err
	}
	target := dir.children[base]
	if target == nil || target.dir() {
		return nil, errMissing
	}
	ino := target.ino
	if ino.typ == typeSymlink || ino.mode == r.ino.mode && ino.uid == r.ino.uid && ino.gid == r.ino.gid {
		return ino, nil
	}
	if ino.layer != r.ino.layer {
		copied := *ino
		copied.layer = r.ino.layer
		if target, err = t.own(dir, base, target); err != nil {
			return nil, err
		}
		target.ino, ino = &copied, &copied
	}
	ino.mode, ino.uid, ino.gid = r.ino.mode, r.ino.uid, r.ino.gid
	return ino, nil
}

// found is a path at which two trees differ.
type found struct {
	path string
	a, b *node // nil where there is nothing
}

// differences lists the paths at which two trees differ, in no order. The
// paths of folders in folders can have far more bytes than the names that they
// are made of, so they have a limit of their own.
func differences(ctx context.Context, a, b *tree) ([]found, error) {
	var all []found
	var paths budget
	limits := a.limits
	steps := 0
	var visit func(path []byte, a, b *node) error
	visit = func(path []byte, a, b *node) error {
		if a == b {
			return nil
		}
		if steps++; steps%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(path) > 0 && !equal(a, b) {
			if err := paths.name(limits, len(path)); err != nil {
				return err
			}
			all = append(all, found{string(path), a, b})
		}
		var left, right map[string]*node
		if a != nil {
			left = a.children
		}
		if b != nil {
			right = b.children
		}
		below := func(name string, a, b *node) error {
			return visit(append(append(path, '/'), name...), a, b)
		}
		for name, n := range left {
			if err := below(name, n, right[name]); err != nil {
				return err
			}
		}
		for name, n := range right {
			if left[name] == nil {
				if err := below(name, nil, n); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if !equal(a.root, b.root) {
		all = append(all, found{"/", a.root, b.root})
	}
	err := visit(make([]byte, 0, maxName), a.root, b.root)
	return all, err
}

// implied is a folder that no layer names, as runtimes make it.
var implied = inode{typ: typeDir, mode: 0o755}

func (n *node) inode() *inode {
	if n.ino == nil {
		return &implied
	}
	return n.ino
}

// equal is whether two nodes are the same but for what is in a folder and the
// times.
func equal(a, b *node) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := a.inode(), b.inode()
	return x == y || x.typ == y.typ && x.mode == y.mode && x.uid == y.uid && x.gid == y.gid &&
		x.size == y.size && x.sum == y.sum && x.text == y.text && x.xattrs == y.xattrs
}

// needsBelow is whether the layers below must be known to tell what differs
// between two lists of layers above them. They need not be where both put and
// hide the same paths: then what was there before is the same for both.
func needsBelow(a, b [][]record) bool {
	const folder, other, hides, clears = 1, 2, 4, 8
	seen := map[string]uint8{}
	note := func(layers [][]record, shift uint) (links []string) {
		for _, records := range layers {
			for i := range records {
				r := &records[i]
				bit := uint8(other)
				switch {
				case r.kind == whiteout:
					bit = hides
				case r.kind == opaque:
					bit = clears
				case r.kind == hardlink:
					links = append(links, r.target)
				case r.ino.typ == typeDir:
					bit = folder
				}
				seen[r.name] |= bit << shift
			}
		}
		return links
	}
	links := slices.Concat(note(a, 0), note(b, 4))
	for name, bits := range seen {
		if bits&0xf != bits>>4 {
			return true
		}
		// A symlink on the way can lead anywhere.
		for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
			if seen[name[:at]]&(other|other<<4) != 0 {
				return true
			}
		}
	}
	for _, target := range links {
		if seen[target]&(other|other<<4) == 0 {
			return true
		}
	}
	return false
}
