package image

import (
	"slices"
	"sync"
)

// Kind is what a digest is the digest of.
type Kind uint8

// The kinds. An index has children, a manifest has a config, and a config
// lists the layers: it decides which bytes run.
const (
	KindUnknown  Kind = iota
	KindIndex         // OCI image index, Docker manifest list
	KindManifest      // OCI image manifest, Docker manifest of schema 1 or 2
	KindConfig        // OCI image config, Docker image id
)

// String is unknown, index, manifest or config.
func (k Kind) String() string {
	switch k {
	case KindIndex:
		return "index"
	case KindManifest:
		return "manifest"
	case KindConfig:
		return "config"
	}
	return "unknown"
}

// Child is what an index lists: mostly a manifest, with the platform that the
// index says it is for. The attestations that BuildKit puts beside the images
// have the platform unknown/unknown; they are kept and never matched.
type Child struct {
	Digest   Digest
	Platform Platform
}

// Content is what is known of one digest.
type Content struct {
	Digest Digest
	Kind   Kind
	// Platform is that of a manifest or a config. Without it, a manifest or
	// config can be found to be the same as another and never to be
	// different: it may be the same image for another platform.
	Platform Platform
	// Config is the config of a manifest. A manifest of schema 1 has none.
	Config Digest
	// Children are those of an index, in its order.
	Children []Child
}

// ChildrenFor lists the children of an index that a runtime on a platform may
// take: those for the very platform, or else those that match it. On a node
// whose variant is not known, that can be several. The zero Platform has all
// but the attestations.
func (c Content) ChildrenFor(on Platform) []Child {
	on = on.normal()
	children := normalised(c.Children)
	exact := hasExactly(children, on)
	var list []Child
	for i := range children {
		if children[i].isFor(on, exact) {
			list = append(list, c.Children[i])
		}
	}
	return list
}

// normalised is a copy of children with their platforms in one spelling.
func normalised(children []Child) []Child {
	list := slices.Clone(children)
	for i := range list {
		list[i].Platform = list[i].Platform.normal()
	}
	return list
}

// Relation is the answer to whether two digests stand for the same bytes.
type Relation uint8

// The answers. CannotTell is not a finding, and not a clean bill either.
const (
	CannotTell Relation = iota
	Same
	Different
)

// String is "cannot tell", "same" or "different".
func (r Relation) String() string {
	switch r {
	case Same:
		return "same"
	case Different:
		return "different"
	}
	return "cannot tell"
}

const (
	// maxDigests is how many digests an Identities holds, those of children
	// and configs included: some 130 MB, more than run in a large cluster.
	maxDigests = 1 << 18
	// maxWorlds is how many platforms the words of runtimes are kept for.
	maxWorlds = 32
	// maxDepth is how many steps there are from an index to a config. Indexes
	// of indexes are allowed, and nobody makes more than two.
	maxDepth = 4
)

// Identities knows which digests stand for the same bytes. One image has
// several: of an index, of a manifest for each platform, of a config. Two
// digests are the same bytes on a platform exactly when they lead to the same
// config there.
//
// Facts come from registries ([Identities.Add]) and from container runtimes
// ([Identities.AddSameOn]). The answer depends on the facts and not on their
// order, and a fact that does not contradict the others only turns
// [CannotTell] into another answer.
//
// An Identities is safe for concurrent use. It takes some 400 bytes for each
// digest, and 100 more for each platform that runtimes named. With a quarter
// of a million digests it is full: then it forgets all of them and begins
// anew, so that one that lives long learns of new images. What it cannot tell
// afterwards, [Identities.Unknown] lists again.
type Identities struct {
	mu sync.RWMutex
	// room is how many digests there may be.
	room int
	// entries has every digest that a fact names.
	entries map[Digest]*entry
	// anywhere are the words of runtimes whose platform is not known.
	anywhere *world
	// worlds have the words of runtimes and the contents together, for each
	// platform that a runtime spoke for or a comparison needed.
	worlds map[Platform]*world
}

// entry is what is known of a digest.
type entry struct {
	Content
	// platforms has more than Content.Platform where one manifest is for
	// several platforms. These and those of the children are in one spelling.
	platforms []Platform
	children  []Child
	// above are the indexes that list it, and the manifests whose config it
	// is.
	above []*entry
	// disputed is set when two facts cannot both be true.
	disputed bool
}

// NewIdentities makes an Identities that knows nothing.
func NewIdentities() *Identities {
	s := &Identities{room: maxDigests}
	s.forget()
	return s
}

func (s *Identities) forget() {
	s.entries, s.anywhere, s.worlds = map[Digest]*entry{}, newWorld(), map[Platform]*world{}
}

// makeRoom is called before facts are added. The facts of one call can go
// beyond the limit.
func (s *Identities) makeRoom() {
	if len(s.entries) >= s.room {
		s.forget()
	}
}

// Add takes what is known of one digest, as a registry or a file has it, with
// the digest verified. Fields that are not known take nothing away from what
// is. Two kinds, configs or lists of children for one digest contradict each
// other, which no verified contents can do: from then on nothing is told of
// that digest. Several platforms do not contradict each other.
func (s *Identities) Add(c Content) {
	if c.Kind == KindUnknown {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	e := s.entry(c.Digest)
	if e == nil {
		return
	}
	had := len(e.children)
	e.merge(c)
	if e.Kind == KindIndex && had == 0 {
		for _, child := range e.children {
			if !child.Platform.nowhere() {
				s.entry(child.Digest).isIn(e)
			}
		}
	}
	if below := s.entry(e.Config); below != nil {
		below.merge(Content{Kind: KindConfig, Platform: c.Platform})
		below.isIn(e)
		s.learn(below)
	}
	s.learn(e)
}

// entry finds or makes the entry of d; nil if d is empty.
func (s *Identities) entry(d Digest) *entry {
	e := s.entries[d]
	if e == nil && d != "" {
		e = &entry{Content: Content{Digest: d}}
		s.entries[d] = e
	}
	return e
}

// isIn notes that up lists e, or has it as its config.
func (e *entry) isIn(up *entry) {
	if e != nil && !slices.Contains(e.above, up) {
		e.above = append(e.above, up)
	}
}

// merge adds the fields of c to e.
func (e *entry) merge(c Content) {
	if e.Kind == KindUnknown {
		e.Kind = c.Kind
	}
	if e.Kind != c.Kind {
		e.disputed = true
		return
	}
	if p := c.Platform.normal(); p != (Platform{}) && !slices.Contains(e.platforms, p) {
		if len(e.platforms) == 0 {
			e.Platform = c.Platform
		}
		e.platforms = append(e.platforms, p)
	}
	switch {
	case e.Kind == KindManifest && e.Config == "":
		e.Config = c.Config
	case e.Kind == KindManifest && c.Config != "" && c.Config != e.Config:
		e.disputed = true
	case e.Kind == KindIndex && len(e.Children) == 0:
		e.Children = slices.Clone(c.Children)
		e.children = normalised(c.Children)
	case e.Kind == KindIndex && len(c.Children) > 0 && !slices.Equal(e.Children, c.Children):
		e.disputed = true
	}
}

// AddSame takes the names that one runtime has for one image, such as those of
// node.status.images[].names, where the node's platform is not known. It is
// taken to hold on every platform, which is wrong in a cluster of several:
// two indexes can have the same image for one and not for the other. What the
// contents of the two say about a platform goes before it. Use
// [Identities.AddSameOn] where the node is known.
func (s *Identities) AddSame(digests ...Digest) { s.AddSameOn(Platform{}, digests...) }

// AddSameOn takes the names that the runtime of one node has for one image: a
// CRI image record, or an entry of node.status.images. On the node's platform
// on, these digests stand for the same bytes.
func (s *Identities) AddSameOn(on Platform, digests ...Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	on = on.normal()
	if on == (Platform{}) {
		s.same(s.anywhere, digests, false)
		for _, w := range s.worlds {
			s.same(w, digests, false)
		}
		return
	}
	if w := s.world(on); w != nil {
		s.same(w, digests, true)
	}
}

func (s *Identities) same(w *world, digests []Digest, certain bool) {
	var first *node
	for _, d := range digests {
		if s.entry(d) == nil {
			continue
		}
		n := w.node(d)
		if first == nil {
			first = n
		}
		w.join(first, n)
	}
	if first != nil && certain {
		first.root().certain = true
	}
}

// Content is what is known of d. ok is false where no fact says what it is.
// The caller must not change the children.
func (s *Identities) Content(d Digest) (c Content, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[d]
	if e == nil || e.Kind == KindUnknown {
		return Content{}, false
	}
	return e.Content, true
}

// The reasons that need no digest in them.
const (
	whyOneDigest   = "it is the same digest"
	whyOneConfig   = "both have the same config"
	whyOneRecord   = "a runtime has both as names of one image"
	whyPart        = "one is a part of the other"
	whyOneIndex    = "both are parts of one index, for different platforms"
	whyConfigs     = "their configs differ"
	whyNoDigest    = "there is no digest to compare"
	whyContradicts = "what is known of them contradicts itself"
	whyPlatforms   = "they are not known to be for one platform, and no known index has both"
)

// Compare says whether a and b stand for the same bytes on the platform of the
// node that runs b, and why, in a clause for people. a and b can be told apart
// only by what they hold for one platform:
//
//   - an index stands for its child for the platform on; an index that has
//     none, or several with different configs, for nothing that can be told;
//   - a manifest and a config stand for themselves. Two of them are different
//     if both are for one platform; of two platforms they are the same where
//     an index has both, else it cannot be told;
//   - an index and a manifest or config in it are the same, whatever on is,
//     unless the index says that it is for another platform than it is.
//
// For the zero Platform, and for one of which too little is known (a "linux"
// alone), only what holds on every platform is told. Compare(a, b, on) equals
// Compare(b, a, on). It does not allocate memory where it can tell.
func (s *Identities) Compare(a, b Digest, on Platform) (Relation, string) {
	switch {
	case a == "" || b == "":
		return CannotTell, whyNoDigest
	case a == b:
		return Same, whyOneDigest
	}
	on = on.normal()
	s.mu.RLock()
	answer, why, build := s.compare(a, b, on)
	s.mu.RUnlock()
	if !build {
		return answer, why
	}
	s.mu.Lock()
	s.world(on)
	s.mu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	answer, why, _ = s.compare(a, b, on)
	return answer, why
}

// compare judges by what is known. build means that the world of the platform
// has to be made first.
func (s *Identities) compare(a, b Digest, on Platform) (answer Relation, why string, build bool) {
	ea, eb := s.entries[a], s.entries[b]
	if ea == nil || eb == nil {
		return CannotTell, s.explain(a, b, on), false
	}
	if ea.disputed || eb.disputed {
		return CannotTell, whyContradicts, false
	}
	// What the contents say goes before what runtimes say: digests prove it.
	ra, rb := s.resolve(ea, on, maxDepth), s.resolve(eb, on, maxDepth)
	switch {
	case ra.config == "" || rb.config == "":
	case ra.config == rb.config:
		return Same, whyOneConfig, false
	case ra.comparable(&rb):
		return Different, whyConfigs, false
	}
	w := s.worlds[on]
	if w == nil && len(s.anywhere.nodes) > 0 && len(s.worlds) < maxWorlds {
		return CannotTell, "", true
	}
	answer, why = w.compare(a, b, &ra, &rb)
	switch {
	case answer != CannotTell:
	case isPart(ea, eb, maxDepth) || isPart(eb, ea, maxDepth):
		return Same, whyPart, false
	case areSiblings(ea, eb):
		return Same, whyOneIndex, false
	case why == "":
		why = s.explain(a, b, on)
	}
	return answer, why, false
}

// resolved is what a digest leads to on a platform.
type resolved struct {
	config Digest
	// here is set when it leads there on the platform that was asked for, as
	// an index says. Else platforms has those of the manifest and the config.
	here      bool
	on        Platform
	platforms [2][]Platform
}

// comparable reports whether r and q lead to their configs on one platform.
func (r *resolved) comparable(q *resolved) bool {
	switch {
	case r.here && q.here:
		return true
	case r.here:
		return q.isFor(r.on)
	case q.here:
		return r.isFor(q.on)
	}
	for _, list := range r.platforms {
		if slices.ContainsFunc(list, q.isFor) {
			return true
		}
	}
	return false
}

// isFor reports whether r leads to its config on the platform p.
func (r *resolved) isFor(p Platform) bool {
	return r.here && r.on == p || p.exact() && (slices.Contains(r.platforms[0], p) || slices.Contains(r.platforms[1], p))
}

// resolve follows contents from e to the config on a platform.
func (s *Identities) resolve(e *entry, on Platform, depth int) resolved {
	if e == nil || e.disputed || depth == 0 {
		return resolved{}
	}
	switch e.Kind {
	case KindConfig:
		return resolved{config: e.Digest, platforms: [2][]Platform{e.platforms}}
	case KindManifest:
		r := resolved{config: e.Config, platforms: [2][]Platform{e.platforms}}
		if below := s.entries[e.Config]; below != nil {
			r.platforms[1] = below.platforms
		}
		return r
	case KindIndex:
		return s.resolveIndex(e, on, depth)
	case KindUnknown:
	}
	return resolved{}
}

// resolveIndex takes what all children for the platform agree on.
func (s *Identities) resolveIndex(e *entry, on Platform, depth int) resolved {
	var all resolved
	exact := hasExactly(e.children, on)
	for i := range e.children {
		if !e.children[i].isFor(on, exact) {
			continue
		}
		r := s.resolve(s.entries[e.children[i].Digest], on, depth-1)
		if r.config == "" || all.config != "" && r.config != all.config {
			return resolved{}
		}
		all = r
	}
	if all.config != "" && on.OS != "" && on.Architecture != "" {
		all.here, all.on = true, on
	}
	return all
}

// hasExactly reports whether there is a child for the very platform, so that
// those for another variant are not meant.
func hasExactly(children []Child, on Platform) bool {
	if !on.exact() {
		return false
	}
	for i := range children {
		if children[i].Platform == on {
			return true
		}
	}
	return false
}

// isFor reports whether a runtime on the platform may take the child. Both
// platforms are in one spelling.
func (c *Child) isFor(on Platform, exact bool) bool {
	return c.Platform == on || !exact && c.Platform.matches(on)
}

// onlyChild is the child that is for the platform, if there is just one, and
// found reports whether there is any.
func (e *entry) onlyChild(on Platform) (only Digest, found bool) {
	exact := hasExactly(e.children, on)
	for i := range e.children {
		c := &e.children[i]
		switch {
		case !c.isFor(on, exact) || c.Digest == only:
		case only != "":
			return "", true
		default:
			only = c.Digest
		}
	}
	return only, only != ""
}

// isPart reports whether part is in the index whole, or is the config of
// something in it.
func isPart(part, whole *entry, depth int) bool {
	if whole.Kind != KindIndex || depth == 0 {
		return false
	}
	for _, up := range part.above {
		if up.disputed {
			continue
		}
		if up == whole && labelled(part, whole) || isPart(up, whole, depth-1) {
			return true
		}
	}
	return false
}

// labelled reports whether the index does not lie about the platform of a
// child of it.
func labelled(child, index *entry) bool {
	if len(child.platforms) == 0 {
		return true
	}
	for i := range index.children {
		c := &index.children[i]
		if c.Digest == child.Digest && slices.ContainsFunc(child.platforms, c.Platform.matches) {
			return true
		}
	}
	return false
}

// areSiblings reports whether one index has both, for different platforms.
func areSiblings(a, b *entry) bool {
	return anyManifest(a, func(ma *entry) bool {
		return anyManifest(b, func(mb *entry) bool {
			for _, index := range ma.above {
				if index.Kind == KindIndex && !index.disputed && labelled(ma, index) && labelled(mb, index) &&
					apart(index, ma.Digest, mb.Digest) {
					return true
				}
			}
			return false
		})
	})
}

// anyManifest asks about e, or about the manifests of the config e.
func anyManifest(e *entry, ask func(*entry) bool) bool {
	if e.Kind == KindConfig {
		return slices.ContainsFunc(e.above, ask)
	}
	return ask(e)
}

// apart reports whether the index lists both digests, for platforms that are
// not the same.
func apart(index *entry, a, b Digest) bool {
	for i := range index.children {
		ca := &index.children[i]
		if ca.Digest != a {
			continue
		}
		for j := range index.children {
			cb := &index.children[j]
			if cb.Digest == b && !ca.Platform.nowhere() && !cb.Platform.nowhere() && !ca.Platform.matches(cb.Platform) {
				return true
			}
		}
	}
	return false
}

// explain says why a and b cannot be compared.
func (s *Identities) explain(a, b Digest, on Platform) string {
	for _, d := range [...]Digest{a, b} {
		if why := s.obstacle(d, on, maxDepth); why != "" {
			return why
		}
	}
	for _, d := range [...]Digest{a, b} {
		if r := s.resolve(s.entries[d], on, maxDepth); r.hasNoPlatform() {
			return "it is not known which platform " + short(d) + " is for"
		}
	}
	return whyPlatforms
}

func (r *resolved) hasNoPlatform() bool {
	return !r.here && len(r.platforms[0]) == 0 && len(r.platforms[1]) == 0
}

// obstacle is why d does not lead to a config, or "" where it does.
func (s *Identities) obstacle(d Digest, on Platform, depth int) string {
	e := s.entries[d]
	switch {
	case e == nil || e.Kind == KindUnknown:
		return "it is not known what " + short(d) + " is"
	case e.disputed:
		return whyContradicts
	case s.resolve(e, on, depth).config != "":
		return ""
	case e.Kind == KindManifest:
		return "manifest " + short(d) + " is of schema 1, which has no config"
	case depth == 0:
		return "index " + short(d) + " is too deep in other indexes"
	}
	switch only, found := e.onlyChild(on); {
	case only != "":
		return s.obstacle(only, on, depth-1)
	case !found:
		return "index " + short(d) + " has nothing for " + on.String()
	case on == Platform{}:
		return "index " + short(d) + " is for several platforms, and the node's is not known"
	}
	return "index " + short(d) + " has more than one image for " + on.String()
}

// short is a digest as people tell it from others.
func short(d Digest) string {
	if hex := d.Hex(); len(hex) > 12 {
		return d.Algorithm() + ":" + hex[:12]
	}
	return shortened(string(d), 20)
}

// Unknown lists the digests that a registry should be asked about so that
// [Identities.Compare] can tell about a and b. It is empty where Compare can
// tell, and where no registry has what is missing: nobody can be asked about a
// config by its digest alone, and an index without the platform stays so.
func (s *Identities) Unknown(a, b Digest, on Platform) []Digest {
	if answer, _ := s.Compare(a, b, on); answer != CannotTell || a == "" || b == "" {
		return nil
	}
	on = on.normal()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var missing []Digest
	for _, d := range [...]Digest{a, b} {
		found, hopeless := s.missing(d, on, maxDepth)
		if hopeless {
			return nil
		}
		for _, d := range found {
			if !slices.Contains(missing, d) {
				missing = append(missing, d)
			}
		}
	}
	return missing
}

// missing lists what is not known of d and below it. hopeless means that
// nothing can be told about d, whatever is learnt.
func (s *Identities) missing(d Digest, on Platform, depth int) (found []Digest, hopeless bool) {
	if class := s.worlds[on].class(d); class != nil {
		switch {
		case class.contradicts:
			return nil, true
		case class.config != "" && class.certain:
			return nil, false
		}
	}
	e := s.entries[d]
	if e == nil || e.Kind == KindUnknown {
		return []Digest{d}, false
	}
	if e.disputed || depth == 0 {
		return nil, true
	}
	r := s.resolve(e, on, depth)
	switch {
	case r.config != "":
		// The registry has the config, and the config has the platform.
		if e.Kind == KindManifest && r.hasNoPlatform() {
			found = []Digest{d}
		}
		return found, false
	case e.Kind != KindIndex:
		return nil, false
	}
	exact := hasExactly(e.children, on)
	for i := range e.children {
		if c := &e.children[i]; c.isFor(on, exact) {
			more, _ := s.missing(c.Digest, on, depth-1)
			found = append(found, more...)
		}
	}
	return found, len(found) == 0
}
