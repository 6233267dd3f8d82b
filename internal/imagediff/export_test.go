package imagediff

// Limits are the limits of a comparison, for tests.
type Limits struct {
	Layers, Nodes, Packages, Changes           int
	Unpacked, Logical, Ratio, RatioFrom, Names int64
}

// With is opt with other limits where they are not 0.
func (l Limits) With(opt Options) Options {
	all := defaultLimits
	for _, f := range []struct {
		of *int
		is int
	}{{&all.layers, l.Layers}, {&all.nodes, l.Nodes}, {&all.packages, l.Packages}, {&all.changes, l.Changes}} {
		if f.is != 0 {
			*f.of = f.is
		}
	}
	for _, f := range []struct {
		of *int64
		is int64
	}{{&all.unpacked, l.Unpacked}, {&all.logical, l.Logical}, {&all.ratio, l.Ratio}, {&all.ratioFrom, l.RatioFrom}, {&all.names, l.Names}} {
		if f.is != 0 {
			*f.of = f.is
		}
	}
	opt.limits = &all
	return opt
}
