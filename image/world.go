package image

// world is a union-find over the digests that are the same bytes on one
// platform, from the contents and from the words of runtimes.
type world struct {
	on    Platform
	nodes map[Digest]*node
}

// node is a digest in a world. Its parent is nearer to the root of its class.
type node struct {
	parent *node
	size   int
	// Of a root: the config of the class.
	config Digest
	// Of a root: the class is known to have that config on the world's
	// platform, and not only as a manifest for another.
	certain bool
	// Of a root: the class has two configs, so that a fact is wrong.
	contradicts bool
}

func newWorld() *world { return &world{nodes: map[Digest]*node{}} }

// node finds or makes the node of d.
func (w *world) node(d Digest) *node {
	n := w.nodes[d]
	if n == nil {
		n = &node{size: 1}
		w.nodes[d] = n
	}
	return n
}

// root does not shorten the path, so that readers can share the world; joining
// by size keeps it short.
func (n *node) root() *node {
	for n.parent != nil {
		n = n.parent
	}
	return n
}

// join makes one class of those of a and b.
func (w *world) join(a, b *node) {
	a, b = a.root(), b.root()
	if a == b {
		return
	}
	if a.size < b.size {
		a, b = b, a
	}
	b.parent = a
	a.size += b.size
	a.certain = a.certain || b.certain
	a.contradicts = a.contradicts || b.contradicts || a.config != "" && b.config != "" && a.config != b.config
	if a.config == "" {
		a.config = b.config
	}
}

// class is the root of the class of d; nil where the world does not know d.
func (w *world) class(d Digest) *node {
	if w == nil || w.nodes[d] == nil {
		return nil
	}
	return w.nodes[d].root()
}

// compare judges by classes; ra and rb are what the contents say.
func (w *world) compare(a, b Digest, ra, rb *resolved) (Relation, string) {
	na, nb := w.class(a), w.class(b)
	switch {
	case na == nil && nb == nil:
		return CannotTell, ""
	case na == nb && na.contradicts:
		return CannotTell, whyContradicts
	case na == nb:
		return Same, whyOneRecord
	}
	configA, certainA := na.leadsTo(ra, w.on)
	configB, certainB := nb.leadsTo(rb, w.on)
	switch {
	case configA == "" || configB == "":
		return CannotTell, ""
	case configA == configB:
		return Same, whyOneConfig
	case certainA && certainB:
		return Different, whyConfigs
	}
	return CannotTell, ""
}

// leadsTo is the config that the contents, or else the class, have for the
// platform, and whether it is certain that it is the one there.
func (n *node) leadsTo(r *resolved, on Platform) (config Digest, certain bool) {
	switch {
	case r.config != "" && r.isFor(on), n == nil:
		return r.config, r.isFor(on)
	case n.contradicts:
		return "", false
	case n.config != "":
		return n.config, n.certain
	}
	return r.config, false
}

// learn adds what e says to a world.
func (w *world) learn(e *entry) {
	own := resolved{platforms: [2][]Platform{e.platforms}}
	certain := own.isFor(w.on)
	switch {
	case e.disputed:
		w.node(e.Digest).root().contradicts = true
		return
	case e.Kind == KindConfig:
		root := w.node(e.Digest).root()
		root.contradicts = root.contradicts || root.config != "" && root.config != e.Digest
		root.config = e.Digest
	case e.Kind == KindManifest && e.Config != "":
		w.join(w.node(e.Digest), w.node(e.Config))
	case e.Kind == KindIndex:
		only, _ := e.onlyChild(w.on)
		if only == "" {
			return
		}
		w.join(w.node(e.Digest), w.node(only))
		certain = w.on.OS != "" && w.on.Architecture != ""
	default:
		return
	}
	root := w.node(e.Digest).root()
	root.certain = root.certain || certain
}

// learn adds what e says to every world.
func (s *Identities) learn(e *entry) {
	for _, w := range s.worlds {
		w.learn(e)
	}
}

// world finds or makes the world of a platform; nil if there is no room.
func (s *Identities) world(on Platform) *world {
	w := s.worlds[on]
	if w != nil || len(s.worlds) >= maxWorlds {
		return w
	}
	w = newWorld()
	w.on = on
	for _, e := range s.entries {
		w.learn(e)
	}
	first := map[*node]*node{} // of each class of anywhere, a node in w
	for d, n := range s.anywhere.nodes {
		root := n.root()
		if first[root] == nil {
			first[root] = w.node(d)
		}
		w.join(first[root], w.node(d))
	}
	s.worlds[on] = w
	return w
}
