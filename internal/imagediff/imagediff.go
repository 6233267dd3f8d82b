// Package imagediff says what changed between two images, platform by
// platform: the config, the layers, the files, the packages.
//
// Both images are the enemy's. Blobs are verified by their digests and layers
// by their diffIDs, nothing is unpacked to disk, and whatever an image claims,
// memory and time have limits. What could not be compared is listed, never
// passed over: see [Diff.Unchecked].
package imagediff

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
)

// Schema names the JSON form of a [Diff].
const Schema = "tagwarden.imagediff/v1"

// Registry is who has the images. [registry.Client] is one. What it gives is
// verified by its digest.
type Registry interface {
	Resolve(ctx context.Context, ref image.Reference) (registry.Resolved, error)
	Manifest(ctx context.Context, repository image.Reference, digest image.Digest) (registry.Manifest, error)
	Blob(ctx context.Context, repository image.Reference, of registry.Descriptor) (io.ReadCloser, error)
}

// Options are how images are compared. The zero Options compare all platforms.
type Options struct {
	// Platform is the only one to be compared, unless it is zero.
	Platform image.Platform
	// Progress, where it is set, is told what is read: the bytes of layers as
	// they are stored, of how many. It is called often, by one goroutine.
	Progress func(read, of int64)

	limits *limits // nil is the default, for tests
}

// Diff is what differs between two images, A and B. Every text in it is
// printable and one line: what an image has to say is escaped as in Go, with
// \n, \x1b and \u202e, and \\ for a backslash.
type Diff struct {
	Schema string `json:"schema"`
	A      Side   `json:"a"`
	B      Side   `json:"b"`
	// Same is whether both are known to be the same content on every platform.
	Same bool `json:"same"`
	// Complete is whether all was compared: there is nothing in Unchecked.
	Complete bool `json:"complete"`
	// Highlights are the most telling differences; see [Diff.Highlight].
	Highlights []string   `json:"highlights"`
	Platforms  []Platform `json:"platforms"`
	// Unchecked is what could not be compared, and why.
	Unchecked []Unchecked `json:"unchecked"`
}

// Side is one of the images.
type Side struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	// Kind is index or manifest; empty where that was not asked for.
	Kind string `json:"kind,omitempty"`
}

// Unchecked is something that could not be compared.
type Unchecked struct {
	// Platform is empty where it is about all of them.
	Platform string `json:"platform,omitempty"`
	// Image is a or b, or empty for both.
	Image  string `json:"image,omitempty"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Platform is what differs on one platform.
type Platform struct {
	Platform string `json:"platform"`
	// In is both, or the only image that has the platform: a or b.
	In       string `json:"in"`
	Same     bool   `json:"same"`
	Complete bool   `json:"complete"`
	// A and B are nil where the image does not have the platform.
	A *Manifest `json:"a,omitempty"`
	B *Manifest `json:"b,omitempty"`

	Config  []ConfigChange `json:"config"`
	History History        `json:"history"`
	// SharedLayers is how many layers, from the bottom up, both have.
	SharedLayers int `json:"sharedLayers"`
	// SharedRead is whether those had to be read, too: only then is it known
	// what a file of a layer above has replaced. They need not be where the
	// layers above have the same paths in both images.
	SharedRead bool            `json:"sharedRead"`
	Files      Files           `json:"files"`
	Packages   []PackageChange `json:"packages"`
	// Notes are what is odd and was compared all the same.
	Notes []string `json:"notes,omitempty"`
}

// Manifest is one image for one platform.
type Manifest struct {
	Digest string `json:"digest"`
	// Config is the config's digest.
	Config string  `json:"config,omitempty"`
	Layers []Layer `json:"layers"`
	Base   Base    `json:"base"`
}

// Layer is one layer of an image.
type Layer struct {
	Digest    string `json:"digest"`
	DiffID    string `json:"diffID,omitempty"`
	MediaType string `json:"mediaType,omitempty"`
	// Size is that of the blob, in bytes, as the manifest says.
	Size int64 `json:"size"`
	// Shared is whether the other image has the same layer, at any place.
	Shared bool `json:"shared"`
	// CreatedBy is the line of the history that made it, as that says.
	CreatedBy string `json:"createdBy,omitempty"`
}

// Kinds of changes.
const (
	Added   = "added"   // in B alone
	Removed = "removed" // in A alone
	Changed = "changed"
)

// Files are the files that differ. The time of a file is no difference.
type Files struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	// Complete is whether all layers were read that had to be. Else what is
	// added or removed may be in one that was not.
	Complete bool `json:"complete"`
	// Omitted is how many are counted and not in List.
	Omitted int `json:"omitted"`
	// List has those that matter most first, then by path.
	List []FileChange `json:"list"`
}

// FileChange is a path that is not the same in both images.
type FileChange struct {
	Path   string `json:"path"`
	Change string `json:"change"`
	// Marks say why it matters, the weightiest first; see docs/image.md.
	Marks []string `json:"marks,omitempty"`
	A     *File    `json:"a,omitempty"`
	B     *File    `json:"b,omitempty"`

	rank int
}

// File is what is at a path.
type File struct {
	// Type is file, dir, symlink, char, block or fifo. A hard link is a file.
	Type string `json:"type"`
	// Mode is four octal digits.
	Mode string `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Size is in bytes and SHA256 in hex, of a file.
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Target is that of a symlink, or the numbers of a device.
	Target string `json:"target,omitempty"`
	// Xattrs are the extended attributes, file capabilities among them.
	Xattrs string `json:"xattrs,omitempty"`
	// Layer is the place of its layer in the image, from 1 at the bottom; 0
	// for a directory that no layer names.
	Layer int `json:"layer,omitempty"`
}

// PackageChange is a package whose versions differ.
type PackageChange struct {
	// Type is deb, apk, rpm or go.
	Type   string `json:"type"`
	Name   string `json:"name"`
	Change string `json:"change"`
	// A and B are the versions, several with commas between them.
	A string `json:"a,omitempty"`
	B string `json:"b,omitempty"`
	// File is the executable that a Go module is in.
	File string `json:"file,omitempty"`
}

// Compare says what differs between a and b. Each is resolved to its digest
// first; one without a tag and a digest means latest.
//
// Where the digests are the same, nothing else is asked for, and where the
// configs are, no layer is: a config lists its layers by their bytes. An error
// means that one of the images could not be found at all; whatever else stands
// in the way is in [Diff.Unchecked], the end of ctx, too: memory has limits of
// its own, the time has that one.
func Compare(ctx context.Context, reg Registry, a, b image.Reference, opt Options) (*Diff, error) {
	c := &comparer{reg: reg, opt: opt, limits: defaultLimits, diff: &Diff{Schema: Schema}}
	if opt.limits != nil {
		c.limits = *opt.limits
	}
	d := c.diff
	var err error
	if d.A, err = c.side(ctx, a); err != nil {
		return nil, err
	}
	if d.B, err = c.side(ctx, b); err != nil {
		return nil, err
	}
	if d.A.Digest != d.B.Digest {
		if err := c.compare(ctx, a, b); err != nil {
			return nil, err
		}
	}
	d.Same = true
	for i := range d.Platforms {
		d.Same = d.Same && d.Platforms[i].Same
	}
	d.Complete = len(d.Unchecked) == 0
	d.Same = d.Same && d.Complete
	for _, h := range d.Highlight(maxHighlights) {
		d.Highlights = append(d.Highlights, h.String())
	}
	d.fill()
	return d, nil
}

// fill makes lists of what is nil, for JSON.
func (d *Diff) fill() {
	d.Highlights = append([]string{}, d.Highlights...)
	d.Platforms = append([]Platform{}, d.Platforms...)
	d.Unchecked = append([]Unchecked{}, d.Unchecked...)
	for i := range d.Platforms {
		p := &d.Platforms[i]
		p.Config = append([]ConfigChange{}, p.Config...)
		p.History.Removed = append([]HistoryEntry{}, p.History.Removed...)
		p.History.Added = append([]HistoryEntry{}, p.History.Added...)
		p.Files.List = append([]FileChange{}, p.Files.List...)
		p.Packages = append([]PackageChange{}, p.Packages...)
	}
}

// comparer compares two images once.
type comparer struct {
	reg    Registry
	opt    Options
	limits limits
	diff   *Diff

	read, toRead int64 // of layers, for Progress
}

func (c *comparer) side(ctx context.Context, ref image.Reference) (Side, error) {
	s := Side{Reference: ref.String(), Digest: ref.Digest().String()}
	resolved, err := c.reg.Resolve(ctx, ref)
	switch {
	case err != nil:
		return Side{}, err
	case resolved.Digest.Valid():
		s.Digest = resolved.Digest.String()
	}
	return s, nil
}

// one is an image for one platform that is to be compared.
type one struct {
	name     string // a or b
	ref      image.Reference
	digest   image.Digest
	platform image.Platform
	// manifest and config are those that were read before their platform was
	// known; the manifest has no digest where it was not.
	manifest registry.Manifest
	config   *config
}

func (c *comparer) compare(ctx context.Context, a, b image.Reference) error {
	left, indexA, err := c.images(ctx, "a", a, &c.diff.A)
	if err != nil {
		return err
	}
	right, indexB, err := c.images(ctx, "b", b, &c.diff.B)
	if err != nil {
		return err
	}
	if len(left)+len(right) == 0 {
		reason := "neither image has any"
		if c.opt.Platform != (image.Platform{}) {
			reason = "neither image has one for " + c.opt.Platform.String()
		}
		c.unchecked(Unchecked{What: "platforms", Reason: reason})
		return nil
	}
	if !indexA && !indexB && len(left) == 1 && len(right) == 1 {
		c.pair(ctx, &left[0], &right[0])
		return nil
	}
	for i := range left {
		l := &left[i]
		// Two for one platform differ in what an index says besides: the same
		// bytes first, then the first that is left.
		at := slices.IndexFunc(right, func(r one) bool { return r.digest == l.digest && samePlatform(&r, l) })
		if at < 0 {
			at = slices.IndexFunc(right, func(r one) bool {
				return samePlatform(&r, l) && !slices.ContainsFunc(left[i+1:], func(o one) bool { return o.digest == r.digest })
			})
		}
		if at < 0 {
			c.pair(ctx, l, nil)
			continue
		}
		r := right[at]
		right = slices.Delete(right, at, at+1)
		c.pair(ctx, l, &r)
	}
	for i := range right {
		c.pair(ctx, nil, &right[i])
	}
	slices.SortStableFunc(c.diff.Platforms, func(x, y Platform) int { return strings.Compare(x.Platform, y.Platform) })
	return nil
}

// samePlatform is whether two images are for one platform. One that is not
// known is no other's.
func samePlatform(x, y *one) bool {
	return x.platform == y.platform ||
		x.platform != image.Platform{} && y.platform != image.Platform{} && x.platform.Match(y.platform)
}

// images lists the images for platforms that a digest stands for.
func (c *comparer) images(ctx context.Context, name string, ref image.Reference, side *Side) (found []one, index bool, err error) {
	digest := image.Digest(side.Digest)
	m, err := c.reg.Manifest(ctx, ref, digest)
	if err != nil {
		return nil, false, err
	}
	side.Kind = m.Content.Kind.String()
	if m.Content.Kind == image.KindManifest {
		o := one{name: name, ref: ref, digest: digest, manifest: m}
		if m.Config.Digest != "" {
			if o.config, err = c.config(ctx, ref, m.Config); err == nil {
				o.platform = o.config.platform()
			}
		}
		if c.opt.Platform != (image.Platform{}) && o.platform != (image.Platform{}) && !o.platform.Match(c.opt.Platform) {
			return nil, false, nil
		}
		return []one{o}, false, nil
	}
	for _, child := range m.Content.ChildrenFor(c.opt.Platform) {
		found = append(found, one{name: name, ref: ref, digest: child.Digest, platform: child.Platform})
	}
	return found, true, nil
}

// maxUnchecked is how many things that could not be compared are told.
const maxUnchecked = 1000

func (c *comparer) unchecked(u Unchecked) {
	u.What, u.Reason = printable(u.What), printable(u.Reason)
	switch n := len(c.diff.Unchecked); {
	case n > maxUnchecked || slices.Contains(c.diff.Unchecked, u):
		return
	case n == maxUnchecked:
		u = Unchecked{What: "more", Reason: fmt.Sprintf("only the first %d are told", maxUnchecked)}
	}
	c.diff.Unchecked = append(c.diff.Unchecked, u)
}

// pair compares two images for one platform, of which one may be nil.
func (c *comparer) pair(ctx context.Context, a, b *one) {
	first := cmp.Or(a, b)
	p := Platform{Platform: printable(first.platform.String()), In: "both"}
	before := len(c.diff.Unchecked)
	defer func() {
		p.Complete = len(c.diff.Unchecked) == before
		p.Same = p.Same && p.Complete
		p.Files.Complete = p.Files.Complete || p.Same
		c.diff.Platforms = append(c.diff.Platforms, p)
	}()
	switch {
	case b == nil || a == nil:
		if first.platform == (image.Platform{}) {
			c.unchecked(Unchecked{"", first.name, "manifest " + first.digest.String(), "it is not known which platform it is for"})
		}
	}
	switch {
	case b == nil:
		p.In, p.A = "a", &Manifest{Digest: a.digest.String(), Layers: []Layer{}}
		return
	case a == nil:
		p.In, p.B = "b", &Manifest{Digest: b.digest.String(), Layers: []Layer{}}
		return
	}
	p.A, p.B = &Manifest{Digest: a.digest.String(), Layers: []Layer{}}, &Manifest{Digest: b.digest.String(), Layers: []Layer{}}
	if a.digest == b.digest {
		p.Same = true
		return
	}
	okA, okB := c.load(ctx, &p, a), c.load(ctx, &p, b)
	if !okA || !okB {
		return
	}
	p.A.Config, p.B.Config = a.manifest.Config.Digest.String(), b.manifest.Config.Digest.String()
	p.A.Layers, p.B.Layers = layersOf(a, b), layersOf(b, a)
	p.A.Base, p.B.Base = a.config.base(a.manifest.Annotations), b.config.base(b.manifest.Annotations)
	p.Config = annotationChanges(a.manifest.Annotations, b.manifest.Annotations)
	if a.manifest.Config.Digest == b.manifest.Config.Digest {
		// The same list of layers by their bytes, however they are packed.
		p.Same, p.SharedLayers = true, len(a.config.RootFS.DiffIDs)
		return
	}
	p.Config = append(configChanges(a.config, b.config), p.Config...)
	p.History = historyChanges(a.config.History, b.config.History)
	c.files(ctx, &p, a, b)
}

// load reads the manifest and the config of an image; it reports false, and
// says why, where they are not those of an image.
func (c *comparer) load(ctx context.Context, p *Platform, o *one) bool {
	not := func(what, reason string) bool {
		c.unchecked(Unchecked{p.Platform, o.name, what, reason})
		return false
	}
	if o.manifest.Content.Digest == "" {
		m, err := c.reg.Manifest(ctx, o.ref, o.digest)
		if err != nil {
			return not("manifest "+o.digest.String(), err.Error())
		}
		o.manifest = m
	}
	switch {
	case o.manifest.Content.Kind == image.KindIndex:
		return not("manifest "+o.digest.String(), "it is an index inside an index")
	case o.manifest.Config.Digest == "" && len(o.manifest.Layers) == 0:
		return not("manifest "+o.digest.String(), "it is of Docker's schema 1, or an artifact: it has no config of an image")
	case o.manifest.Config.Digest == "":
		return not("manifest "+o.digest.String(), "it is an artifact: its config is not that of an image")
	case len(o.manifest.Layers) > c.limits.layers:
		return not("manifest "+o.digest.String(), fmt.Sprintf("it has %d layers; more than %d are not read", len(o.manifest.Layers), c.limits.layers))
	}
	if o.config == nil {
		found, err := c.config(ctx, o.ref, o.manifest.Config)
		if err != nil {
			return not("config "+o.manifest.Config.Digest.String(), err.Error())
		}
		o.config = found
	}
	if n := len(o.config.RootFS.DiffIDs); n != len(o.manifest.Layers) {
		return not("layers", fmt.Sprintf("the config lists %d and the manifest %d", n, len(o.manifest.Layers)))
	}
	return true
}

// layersOf lists the layers of an image beside another.
func layersOf(o, other *one) []Layer {
	layers := []Layer{}
	made := o.config.madeBy()
	for i, l := range o.manifest.Layers {
		diffID := o.config.RootFS.DiffIDs[i]
		layer := Layer{
			Digest: printable(l.Digest.String()), DiffID: printable(diffID.String()), MediaType: printable(l.MediaType), Size: l.Size,
			Shared: slices.Contains(other.config.RootFS.DiffIDs, diffID),
		}
		if len(made) == len(o.manifest.Layers) {
			layer.CreatedBy = printable(made[i])
		}
		layers = append(layers, layer)
	}
	return layers
}
