package policy

import (
	"maps"
	"slices"

	"github.com/tagwarden/tagwarden/image"
)

// DebugImages returns every name of every debug image, sorted: the normalised
// ones and, for those of Docker Hub, the short ones that some container
// runtimes report (docker.io/library/busybox and busybox). It is made for the
// list known_debug_images of a Falco rules file.
func (p *Policy) DebugImages() []string {
	return slices.Sorted(maps.Keys(p.debugImages))
}

// ExplicitDebugImages reports whether the file says which images are for
// debugging. If not, [Policy.DebugImages] returns the default.
func (p *Policy) ExplicitDebugImages() bool { return p.debugImagesSet }

// ProductionNamespaces returns the names and the patterns of the production
// namespaces in the order of the file. Mind that the lists of Falco rules know
// no patterns.
func (p *Policy) ProductionNamespaces() []string { return p.production.patterns() }

// ExplicitProductionNamespaces reports whether the file says which namespaces
// are production. If not, [Policy.ProductionNamespaces] returns the default.
func (p *Policy) ExplicitProductionNamespaces() bool { return p.productionSet }

// InfrastructureImages returns the patterns over normalised repositories of the
// images that belong to the platform.
func (p *Policy) InfrastructureImages() []string { return p.infrastructure.patterns() }

// addDebugImage adds a repository under all its names.
func (p *Policy) addDebugImage(ref image.Reference) {
	p.debugImages[ref.Name()] = struct{}{}
	p.debugImages[ref.Familiar()] = struct{}{}
}
