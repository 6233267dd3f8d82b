package image_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
)

var (
	amd64 = image.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = image.Platform{OS: "linux", Architecture: "arm64"}
	anyOS = image.Platform{}
	att   = image.Platform{OS: "unknown", Architecture: "unknown"}
)

// named makes a digest that a failed test shows by its name.
func named(name string) image.Digest {
	hex := fmt.Sprintf("%x", name)
	return image.Digest("sha256:" + hex + strings.Repeat("0", 64-len(hex)))
}

func config(name string, on image.Platform) image.Content {
	return image.Content{Digest: named(name), Kind: image.KindConfig, Platform: on}
}

func manifest(name, config string, on image.Platform) image.Content {
	return image.Content{Digest: named(name), Kind: image.KindManifest, Platform: on, Config: named(config)}
}

// index makes an index of manifests and their platforms in turns.
func index(name string, children ...any) image.Content {
	c := image.Content{Digest: named(name), Kind: image.KindIndex}
	for pair := range slices.Chunk(children, 2) {
		c.Children = append(c.Children, image.Child{Digest: named(pair[0].(string)), Platform: pair[1].(image.Platform)})
	}
	return c
}

// The image of two platforms that the tests speak of, and a later one of which
// only the image for amd64 is another.
var (
	multi  = []image.Content{index("X", "m-amd", amd64, "m-arm", arm64, "sbom", att), manifest("m-amd", "c-amd", amd64), manifest("m-arm", "c-arm", arm64)}
	evil   = []image.Content{index("E", "e-amd", amd64, "m-arm", arm64), manifest("e-amd", "e-config", amd64)}
	single = []image.Content{manifest("s", "c-amd", amd64)}
)

func TestCompare(t *testing.T) {
	t.Parallel()
	type same []string
	for _, tt := range []struct {
		name  string
		facts [][]image.Content
		same  map[image.Platform]same
		a, b  string
		on    image.Platform
		want  image.Relation
		why   string
	}{
		{name: "one digest, of which nothing is known", a: "a", b: "a", on: amd64, want: image.Same, why: "same digest"},
		{name: "nothing is known", a: "a", b: "b", on: amd64, want: image.CannotTell, why: "it is not known what sha256:610000000000 is"},
		{name: "one is not known", facts: [][]image.Content{multi}, a: "X", b: "b", on: amd64, want: image.CannotTell, why: "it is not known what sha256:62"},

		// Measured: the status of a container of a single manifest named the
		// index of another repository, which has the same manifest.
		{name: "index and its child", facts: [][]image.Content{multi}, a: "X", b: "m-amd", on: amd64, want: image.Same, why: "same config"},
		{name: "index and its child, contents of the child not known", facts: [][]image.Content{multi[:1]}, a: "X", b: "m-amd", on: amd64, want: image.Same, why: "a part of"},
		{name: "index and its child for another platform", facts: [][]image.Content{multi}, a: "X", b: "m-arm", on: amd64, want: image.Same, why: "a part of"},
		{name: "index and its child, no platform", facts: [][]image.Content{multi}, a: "X", b: "m-arm", want: image.Same, why: "a part of"},
		{name: "index and a manifest with its config", facts: [][]image.Content{multi, single}, a: "X", b: "s", on: amd64, want: image.Same, why: "same config"},
		{name: "index and a config in it", facts: [][]image.Content{multi}, a: "X", b: "c-amd", on: amd64, want: image.Same, why: "same config"},
		{name: "index and a config in it for another platform", facts: [][]image.Content{multi}, a: "X", b: "c-arm", on: amd64, want: image.Same, why: "a part of"},
		{name: "index and another manifest", facts: [][]image.Content{multi, evil}, a: "X", b: "e-amd", on: amd64, want: image.Different, why: "configs differ"},
		{name: "index and another manifest, child not known", facts: [][]image.Content{multi[:1], evil}, a: "X", b: "e-amd", on: amd64, want: image.CannotTell, why: "it is not known what sha256:6d2d616d64"},
		{name: "index and a manifest for another platform", facts: [][]image.Content{multi, {manifest("z", "c-z", arm64)}}, a: "X", b: "z", on: amd64, want: image.CannotTell, why: "no known index has both"},
		{name: "index and a manifest for no known platform", facts: [][]image.Content{multi, {manifest("z", "c-z", anyOS)}}, a: "X", b: "z", on: amd64, want: image.CannotTell, why: "which platform sha256:7a0000000000 is for"},
		{name: "index and its attestation", facts: [][]image.Content{multi}, a: "X", b: "sbom", on: amd64, want: image.CannotTell, why: "not known what"},
		{name: "index without the platform", facts: [][]image.Content{multi, evil}, a: "X", b: "E", on: image.Platform{OS: "linux", Architecture: "s390x"}, want: image.CannotTell, why: "has nothing for linux/s390x"},

		{name: "two indexes, another child", facts: [][]image.Content{multi, evil}, a: "X", b: "E", on: amd64, want: image.Different, why: "configs differ"},
		{name: "two indexes, one child", facts: [][]image.Content{multi, evil}, a: "X", b: "E", on: arm64, want: image.Same, why: "same config"},
		{name: "two indexes, one child, variant written", facts: [][]image.Content{multi, evil}, a: "X", b: "E", on: image.Platform{OS: "linux", Architecture: "aarch64", Variant: "v8"}, want: image.Same, why: "same config"},
		{name: "two indexes, no platform", facts: [][]image.Content{multi, evil}, a: "X", b: "E", want: image.CannotTell, why: "is for several platforms"},
		{name: "two indexes, manifests of one config", facts: [][]image.Content{multi, single, {index("Y", "s", amd64)}}, a: "X", b: "Y", on: amd64, want: image.Same, why: "same config"},
		{
			name: "two indexes of one platform, none asked for", facts: [][]image.Content{multi, evil, {index("Y", "m-amd", amd64), index("Z", "e-amd", amd64)}},
			a: "Y", b: "Z", want: image.Different, why: "configs differ",
		},

		{name: "two manifests of one config", facts: [][]image.Content{multi, single}, a: "m-amd", b: "s", on: amd64, want: image.Same, why: "same config"},
		{name: "two manifests", facts: [][]image.Content{multi, evil}, a: "m-amd", b: "e-amd", on: amd64, want: image.Different, why: "configs differ"},
		{name: "two manifests of one platform, no platform asked for", facts: [][]image.Content{multi, evil}, a: "m-amd", b: "e-amd", want: image.Different, why: "configs differ"},
		{name: "two platforms of one index", facts: [][]image.Content{multi}, a: "m-amd", b: "m-arm", on: arm64, want: image.Same, why: "parts of one index"},
		{name: "two platforms, by the configs", facts: [][]image.Content{multi}, a: "c-amd", b: "c-arm", on: arm64, want: image.Same, why: "parts of one index"},
		{name: "two platforms, no index", facts: [][]image.Content{multi[1:]}, a: "m-amd", b: "m-arm", on: arm64, want: image.CannotTell, why: "no known index has both"},
		{name: "two platforms that are not known", facts: [][]image.Content{{manifest("z", "c-z", anyOS)}, single}, a: "z", b: "s", on: amd64, want: image.CannotTell, why: "which platform"},
		{
			name: "two arms, the node's variant not known", facts: [][]image.Content{{
				index("X", "m6", image.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, "m7", image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}),
				manifest("m6", "c6", anyOS), manifest("m7", "c7", anyOS), index("Y", "m7", image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}),
			}}, a: "X", b: "Y", on: image.Platform{OS: "linux", Architecture: "arm"}, want: image.CannotTell, why: "more than one image for linux/arm",
		},
		{
			name: "an index that lies about the platform", facts: [][]image.Content{multi, evil[1:], {index("L", "m-amd", amd64, "e-amd", arm64)}},
			a: "L", b: "e-amd", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "siblings by a lie", facts: [][]image.Content{multi, evil[1:], {index("L", "m-amd", amd64, "e-amd", arm64)}},
			a: "m-amd", b: "e-amd", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "an index that may lie about the platform", facts: [][]image.Content{evil[1:], {index("L", "m-amd", amd64, "e-amd", arm64)}},
			a: "L", b: "e-amd", on: amd64, want: image.CannotTell, why: "it is not known what sha256:6d2d616d64",
		},
		{
			name: "siblings by what may be a lie", facts: [][]image.Content{evil[1:], {index("L", "m-amd", amd64, "e-amd", arm64)}},
			a: "m-amd", b: "e-amd", on: amd64, want: image.CannotTell, why: "it is not known what sha256:6d2d616d64",
		},
		{
			name: "an arm and an arm that is not known", facts: [][]image.Content{{
				index("X", "m7", image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}), manifest("m7", "c7", anyOS),
				manifest("z", "c-z", image.Platform{OS: "linux", Architecture: "arm"}),
			}}, a: "X", b: "z", on: image.Platform{OS: "linux", Architecture: "arm"}, want: image.CannotTell, why: "not known to be for one platform",
		},
		{
			name: "schema 1", facts: [][]image.Content{{{Digest: named("old"), Kind: image.KindManifest}}, multi},
			a: "old", b: "m-amd", on: amd64, want: image.CannotTell, why: "is of schema 1, which has no config",
		},
		{
			name: "an index in an index", facts: [][]image.Content{multi, {index("N", "X", amd64)}},
			a: "N", b: "m-amd", on: amd64, want: image.Same, why: "same config",
		},
		{
			name: "an index in itself", facts: [][]image.Content{{index("N", "N", amd64), index("O", "N", amd64)}},
			a: "N", b: "O", on: amd64, want: image.Same, why: "a part of",
		},
		{
			name: "a digest of two kinds", facts: [][]image.Content{multi, {config("m-amd", amd64)}},
			a: "m-amd", b: "X", on: amd64, want: image.CannotTell, why: "contradicts itself",
		},

		// Measured: one runtime lists every digest it ever saw for a config.
		{
			name: "names of one record, contents not known", same: map[image.Platform]same{amd64: {"multi", "nginx"}},
			a: "multi", b: "nginx", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "names of one record of a node of another platform", same: map[image.Platform]same{arm64: {"multi", "nginx"}},
			a: "multi", b: "nginx", on: amd64, want: image.CannotTell, why: "not known what",
		},
		{
			name: "names of one record of a node that is not known", same: map[image.Platform]same{anyOS: {"multi", "nginx"}},
			a: "multi", b: "nginx", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "two records with one name", same: map[image.Platform]same{amd64: {"a", "b"}, anyOS: {"b", "c"}},
			a: "a", b: "c", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "a name of an index that is known", facts: [][]image.Content{multi}, same: map[image.Platform]same{amd64: {"alias", "X"}},
			a: "alias", b: "m-amd", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "a name of an index, and another image", facts: [][]image.Content{multi, evil}, same: map[image.Platform]same{amd64: {"alias", "X"}},
			a: "alias", b: "E", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "a record, an index and another record", facts: [][]image.Content{multi[:1]}, same: map[image.Platform]same{amd64: {"alias", "X"}, anyOS: {"m-amd", "z"}},
			a: "alias", b: "z", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "contents go before the record of a node that is not known", facts: [][]image.Content{multi, evil}, same: map[image.Platform]same{anyOS: {"X", "E"}},
			a: "X", b: "E", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "a record that contradicts the contents", facts: [][]image.Content{multi, evil}, same: map[image.Platform]same{amd64: {"X", "E", "z"}},
			a: "z", b: "X", on: amd64, want: image.CannotTell, why: "contradicts itself",
		},
		{
			name: "contents go before a record that contradicts them", facts: [][]image.Content{multi, evil, {manifest("z", "c-z", amd64)}},
			same: map[image.Platform]same{anyOS: {"X", "E"}, amd64: {"alias", "z"}},
			a:    "X", b: "alias", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "an index that lists a child twice", facts: [][]image.Content{{index("X", "m", amd64, "m", amd64)}},
			same: map[image.Platform]same{amd64: {"alias", "X"}},
			a:    "alias", b: "m", on: amd64, want: image.Same, why: "a runtime has both",
		},
		{
			name: "records of two indexes of platforms that are not known", facts: [][]image.Content{{
				index("X", "x", anyOS), manifest("x", "c-x", anyOS), index("Y", "y", anyOS), manifest("y", "c-y", anyOS),
			}}, same: map[image.Platform]same{anyOS: {"alias", "X"}},
			a: "alias", b: "Y", want: image.CannotTell, why: "it is not known what",
		},
		{
			name: "two children that agree, and a record", facts: [][]image.Content{{
				index("X", "m6", image.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, "m7", image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}),
				manifest("m6", "c", anyOS), manifest("m7", "c", anyOS), manifest("m", "c", anyOS),
			}}, same: map[image.Platform]same{{OS: "linux", Architecture: "arm"}: {"alias", "m"}},
			a: "X", b: "alias", on: image.Platform{OS: "linux", Architecture: "arm"}, want: image.Same, why: "same config",
		},
		{
			name: "a node says which platform its images are for", facts: [][]image.Content{{config("c1", anyOS), config("c2", anyOS)}},
			same: map[image.Platform]same{amd64: {"c1", "alias"}, {OS: "linux", Architecture: "x86_64"}: {"c2", "alias2", "alias3"}},
			a:    "alias", b: "alias2", on: amd64, want: image.Different, why: "configs differ",
		},
		// Forms of imageID without a repository: the config is all there is.
		{
			name: "two configs", facts: [][]image.Content{{config("c1", amd64), config("c2", amd64)}},
			a: "c1", b: "c2", on: amd64, want: image.Different, why: "configs differ",
		},
		{
			name: "two configs of nodes that are not known", facts: [][]image.Content{{config("c1", anyOS), config("c2", anyOS)}},
			a: "c1", b: "c2", on: amd64, want: image.CannotTell, why: "which platform",
		},
		{
			name: "a config and a manifest with another", facts: [][]image.Content{single, {config("c2", amd64)}},
			a: "s", b: "c2", on: amd64, want: image.Different, why: "configs differ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ids := image.NewIdentities()
			for p, names := range tt.same {
				var digests []image.Digest
				for _, name := range names {
					digests = append(digests, named(name))
				}
				ids.AddSameOn(p, digests...)
			}
			for _, facts := range tt.facts {
				for _, c := range facts {
					ids.Add(c)
				}
			}
			got, why := ids.Compare(named(tt.a), named(tt.b), tt.on)
			if got != tt.want || !strings.Contains(why, tt.why) {
				t.Errorf("%s and %s on %s: got %s: %s, want %s: …%s…", tt.a, tt.b, tt.on, got, why, tt.want, tt.why)
			}
			if back, _ := ids.Compare(named(tt.b), named(tt.a), tt.on); back != got {
				t.Errorf("%s the other way round", back)
			}
		})
	}
	if got, why := image.NewIdentities().Compare("", "", amd64); got != image.CannotTell || why == "" {
		t.Errorf("no digests: got %s: %s, want cannot tell", got, why)
	}
}

// TestRecordsAdd: what one record says of a platform holds for all that later
// records add to it.
func TestRecordsAdd(t *testing.T) {
	t.Parallel()
	ids := image.NewIdentities()
	ids.AddSameOn(amd64, named("a"), named("b"))
	ids.AddSame(named("p"), named("q"), named("r"), named("s"))
	ids.AddSame(named("b"), named("p"))
	ids.Add(manifest("s", "c", anyOS))
	ids.Add(manifest("m", "other", amd64))
	if got, why := ids.Compare(named("a"), named("m"), amd64); got != image.Different {
		t.Errorf("got %s: %s, want different", got, why)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		facts [][]image.Content
		a, b  string
		on    image.Platform
		want  []string
	}{
		{name: "nothing is known", a: "a", b: "b", on: amd64, want: []string{"a", "b"}},
		{name: "one digest", a: "a", b: "a", on: amd64},
		{name: "it can be told", facts: [][]image.Content{multi, evil}, a: "X", b: "E", on: amd64},
		{name: "the child of an index", facts: [][]image.Content{multi[:1], evil}, a: "X", b: "E", on: amd64, want: []string{"m-amd"}},
		{name: "two children", facts: [][]image.Content{multi[:1], evil[:1]}, a: "X", b: "E", on: amd64, want: []string{"m-amd", "e-amd"}},
		{name: "an index without the platform", facts: [][]image.Content{multi}, a: "X", b: "b", on: image.Platform{OS: "plan9", Architecture: "386"}},
		{name: "no platform", facts: [][]image.Content{multi, evil}, a: "X", b: "E"},
		{name: "the platform of a manifest", facts: [][]image.Content{{manifest("z", "c-z", anyOS)}, single}, a: "z", b: "s", on: amd64, want: []string{"z"}},
		{name: "a config of a node that is not known", facts: [][]image.Content{{config("c", anyOS)}, single}, a: "c", b: "s", on: amd64},
		{name: "a config, and what may lead to it", facts: [][]image.Content{{config("c", amd64)}}, a: "c", b: "b", on: amd64, want: []string{"b"}},
		{name: "two platforms", facts: [][]image.Content{multi[1:]}, a: "m-amd", b: "m-arm", on: amd64},
		{name: "schema 1", facts: [][]image.Content{{{Digest: named("old"), Kind: image.KindManifest}}, single}, a: "old", b: "s", on: amd64},
		{name: "a digest of two kinds", facts: [][]image.Content{single, {config("s", amd64)}}, a: "s", b: "b", on: amd64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ids := image.NewIdentities()
			for _, facts := range tt.facts {
				for _, c := range facts {
					ids.Add(c)
				}
			}
			var want []image.Digest
			for _, name := range tt.want {
				want = append(want, named(name))
			}
			if diff := cmp.Diff(want, ids.Unknown(named(tt.a), named(tt.b), tt.on)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// What a runtime says is not asked for again.
	ids := image.NewIdentities()
	ids.AddSameOn(amd64, named("a"), named("c"))
	ids.Add(config("c", amd64))
	if diff := cmp.Diff([]image.Digest{named("b")}, ids.Unknown(named("a"), named("b"), amd64)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestContentOf(t *testing.T) {
	t.Parallel()
	ids := image.NewIdentities()
	ids.Add(manifest("m", "c", amd64))
	ids.Add(image.Content{Digest: named("m"), Kind: image.KindManifest})
	ids.Add(image.Content{Digest: named("m")})
	ids.AddSame(named("x"), named("y"))
	for name, want := range map[string]image.Content{"m": manifest("m", "c", amd64), "c": config("c", amd64)} {
		if got, ok := ids.Content(named(name)); !ok || !cmp.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"x", "z"} {
		if got, ok := ids.Content(named(name)); ok {
			t.Errorf("%s: got %v, want nothing", name, got)
		}
	}
}

func TestChildrenFor(t *testing.T) {
	t.Parallel()
	x := index("x", "a", amd64, "a3", image.Platform{OS: "linux", Architecture: "x86_64", Variant: "v3"}, "sbom", att,
		"6", image.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, "7", image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"})
	for on, want := range map[image.Platform][]image.Child{
		amd64: x.Children[:1],
		{OS: "linux", Architecture: "amd64", Variant: "v3"}: x.Children[1:2],
		{OS: "linux", Architecture: "arm"}:                  x.Children[3:],
		{OS: "linux", Architecture: "armhf"}:                x.Children[4:],
		arm64:                                               nil,
		anyOS:                                               {x.Children[0], x.Children[1], x.Children[3], x.Children[4]},
	} {
		if diff := cmp.Diff(want, x.ChildrenFor(on)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", on, diff)
		}
	}
}

func TestContentFromImageID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]image.Kind{
		"docker.io/library/nginx@" + sha256: image.KindUnknown,
		"docker-pullable://nginx@" + sha256: image.KindUnknown,
		"docker://" + sha256:                image.KindUnknown, // an index or a manifest in containerd's store
		sha256:                              image.KindConfig,
		hex64:                               image.KindConfig,
	} {
		c, ok := image.ContentFromImageID(in, arm64)
		if !ok || c.Digest.String() != sha256 || c.Kind != want || (c.Platform == arm64) != (want == image.KindConfig) {
			t.Errorf("%s: got %+v, %v, want a digest of kind %s", in, c, ok, want)
		}
	}
	if c, ok := image.ContentFromImageID("", amd64); ok {
		t.Errorf("got %+v for a container that waits", c)
	}
}

// registry is a made-up registry: what is true of every digest in it, and the
// facts that tell of it.
type registry struct {
	names []string
	// configs says to which config a digest leads on a platform.
	configs map[image.Platform]map[string]string
	// contents is what can be asked for.
	contents map[image.Digest]image.Content
	facts    []func(*image.Identities)
}

// madeUp makes a registry where images of few bytes have many digests.
func madeUp(r *rand.Rand) registry {
	platforms := []image.Platform{amd64, arm64, {OS: "linux", Architecture: "arm", Variant: "v7"}}
	reg := registry{configs: map[image.Platform]map[string]string{}, contents: map[image.Digest]image.Content{}}
	add := func(c image.Content) {
		if c.Kind != image.KindConfig {
			reg.contents[c.Digest] = c
		}
		reg.facts = append(reg.facts, func(ids *image.Identities) { ids.Add(c) })
	}
	manifests := map[image.Platform][]string{}
	for i, p := range platforms {
		reg.configs[p] = map[string]string{}
		for j := range 3 {
			c := fmt.Sprintf("c%d%d", i, j)
			reg.names = append(reg.names, c)
			reg.configs[p][c] = c
			if r.IntN(3) == 0 {
				add(config(c, p))
			}
			for k := range r.IntN(3) {
				m := fmt.Sprintf("m%d%d%d", i, j, k)
				reg.names = append(reg.names, m)
				reg.configs[p][m] = c
				manifests[p] = append(manifests[p], m)
				add(manifest(m, c, p))
			}
		}
	}
	for i := range 5 {
		x := fmt.Sprintf("x%d", i)
		content := image.Content{Digest: named(x), Kind: image.KindIndex}
		for _, p := range platforms {
			if len(manifests[p]) == 0 || r.IntN(4) == 0 {
				continue
			}
			m := manifests[p][r.IntN(len(manifests[p]))]
			reg.configs[p][x] = reg.configs[p][m]
			content.Children = append(content.Children, image.Child{Digest: named(m), Platform: p}, image.Child{Digest: named("att"), Platform: att})
		}
		reg.names = append(reg.names, x)
		if len(content.Children) > 0 {
			add(content)
		}
	}
	for p, configs := range reg.configs {
		for range 6 {
			a, b := reg.names[r.IntN(len(reg.names))], reg.names[r.IntN(len(reg.names))]
			if configs[a] != "" && configs[a] == configs[b] {
				reg.facts = append(reg.facts, func(ids *image.Identities) { ids.AddSameOn(p, named(a), named(b)) })
			}
		}
	}
	return reg
}

// TestCompareHolds adds the facts of made-up registries in any order.
func TestCompareHolds(t *testing.T) {
	t.Parallel()
	told := map[image.Relation]int{}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		reg := madeUp(r)
		type question struct {
			a, b string
			on   image.Platform
		}
		var final map[question]image.Relation
		for range 3 { // orders
			answers := map[question]image.Relation{}
			ids := image.NewIdentities()
			r.Shuffle(len(reg.facts), func(i, j int) { reg.facts[i], reg.facts[j] = reg.facts[j], reg.facts[i] })
			for step, fact := range append([]func(*image.Identities){func(*image.Identities) {}}, reg.facts...) {
				fact(ids)
				if step%4 != 0 && step != len(reg.facts) {
					continue
				}
				for _, on := range []image.Platform{amd64, arm64, {OS: "linux", Architecture: "arm"}, {}} {
					for i, a := range reg.names {
						for _, b := range reg.names[i:] {
							q := question{a, b, on}
							got, why := ids.Compare(named(a), named(b), on)
							back, _ := ids.Compare(named(b), named(a), on)
							switch before := answers[q]; {
							case got != back:
								t.Fatalf("seed %d: %s, %s on %s: %s, and %s the other way round", seed, a, b, on, got, back)
							case a == b && got != image.Same:
								t.Fatalf("seed %d: %s is not the same as itself: %s: %s", seed, a, got, why)
							case before != image.CannotTell && got != before:
								t.Fatalf("seed %d: %s, %s on %s: %s after %s: %s", seed, a, b, on, got, before, why)
							case got != image.CannotTell && len(ids.Unknown(named(a), named(b), on)) > 0:
								t.Fatalf("seed %d: %s, %s on %s: %s, and still to ask", seed, a, b, on, got)
							}
							if ca, cb := reg.configs[on][a], reg.configs[on][b]; ca != "" && cb != "" &&
								(got == image.Same && ca != cb || got == image.Different && ca == cb) {
								t.Fatalf("seed %d: %s, %s on %s: %s: %s; the configs are %s and %s", seed, a, b, on, got, why, ca, cb)
							}
							answers[q] = got
						}
					}
				}
			}
			if final == nil {
				final = answers
			}
			if diff := cmp.Diff(final, answers); diff != "" {
				t.Fatalf("seed %d: another order of the facts gives other answers (-first +now):\n%s", seed, diff)
			}
		}
		for q, got := range final {
			if q.a != q.b {
				told[got]++
			}
			// With all facts, what leads to a config on the platform is told.
			if ca, cb := reg.configs[q.on][q.a], reg.configs[q.on][q.b]; got == image.CannotTell && ca != "" && cb != "" &&
				q.a[0] != 'c' && q.b[0] != 'c' {
				t.Fatalf("seed %d: %s and %s on %s: cannot tell, with all facts known", seed, q.a, q.b, q.on)
			}
		}
	}
	if told[image.Same] < 500 || told[image.Different] < 500 || told[image.CannotTell] < 500 {
		t.Errorf("the registries were too simple: %v", told)
	}
}

// TestUnknownHelps asks made-up registries for what Unknown lists: after the
// answers, Compare can tell, and nothing is asked twice.
func TestUnknownHelps(t *testing.T) {
	t.Parallel()
	asked := 0
	for seed := range uint64(60) {
		reg := madeUp(rand.New(rand.NewPCG(seed, 2)))
		for on, configs := range reg.configs {
			for i, a := range reg.names {
				for _, b := range reg.names[i:] {
					if a[0] == 'c' || b[0] == 'c' || configs[a] == "" || configs[b] == "" {
						continue
					}
					ids, seen := image.NewIdentities(), map[image.Digest]bool{}
					for unknown := ids.Unknown(named(a), named(b), on); len(unknown) > 0; unknown = ids.Unknown(named(a), named(b), on) {
						for _, d := range unknown {
							if seen[d] {
								t.Fatalf("seed %d: %s, %s on %s: %s is asked for twice", seed, a, b, on, d)
							}
							seen[d] = true
							ids.Add(reg.contents[d])
							asked++
						}
					}
					want := image.Different
					if configs[a] == configs[b] {
						want = image.Same
					}
					if got, why := ids.Compare(named(a), named(b), on); got != want {
						t.Fatalf("seed %d: %s, %s on %s: got %s: %s, want %s", seed, a, b, on, got, why, want)
					}
				}
			}
		}
	}
	if asked < 5000 {
		t.Errorf("asked %d times only; the registries were too simple", asked)
	}
}

// TestIdentitiesForget: one that is full begins anew, rather than to learn
// nothing more.
func TestIdentitiesForget(t *testing.T) {
	t.Parallel()
	ids := image.NewIdentities()
	ids.SetRoom(100)
	for i := range 1000 {
		a, b := fmt.Sprint("a", i), fmt.Sprint("b", i)
		ids.Add(manifest(a, "same"+a, amd64))
		ids.Add(manifest(b, "same"+a, amd64))
		ids.AddSameOn(amd64, named(a), named("alias"+a))
		if got, why := ids.Compare(named(b), named("alias"+a), amd64); got == image.Different {
			t.Fatalf("%d: got %s: %s", i, got, why)
		}
		if ids.Len() > 110 {
			t.Fatalf("%d digests", ids.Len())
		}
	}
	ids.Add(manifest("x", "c", amd64))
	ids.Add(manifest("y", "c", amd64))
	if got, why := ids.Compare(named("x"), named("y"), amd64); got != image.Same {
		t.Errorf("got %s: %s, want same", got, why)
	}
}

func TestIdentitiesConcurrently(t *testing.T) {
	t.Parallel()
	ids := image.NewIdentities()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 200 {
				ids.Add(index(fmt.Sprint("x", j), fmt.Sprint("m", j), amd64))
				ids.Add(manifest(fmt.Sprint("m", j), fmt.Sprint("c", j), amd64))
				ids.AddSameOn(amd64, named(fmt.Sprint("x", j)), named(fmt.Sprint("alias", j)))
				ids.AddSame(named(fmt.Sprint("other", i)), named(fmt.Sprint("another", i)))
				if got, why := ids.Compare(named(fmt.Sprint("alias", j)), named(fmt.Sprint("c", j)), amd64); got != image.Same {
					t.Errorf("got %s: %s, want same", got, why)
				}
				ids.Unknown(named(fmt.Sprint("x", j)), named("z"), arm64)
				ids.Content(named(fmt.Sprint("x", j)))
			}
		})
	}
	group.Wait()
}

func BenchmarkCompare(b *testing.B) {
	ids := image.NewIdentities()
	for _, c := range slices.Concat(multi, evil, single) {
		ids.Add(c)
	}
	wide := index("wide")
	for i := range 16 {
		wide.Children = append(wide.Children, image.Child{Digest: named(fmt.Sprint("w", i)), Platform: image.Platform{OS: "linux", Architecture: fmt.Sprint("a", i)}})
	}
	wide.Children = append(wide.Children, image.Child{Digest: named("m-amd"), Platform: amd64})
	ids.Add(wide)
	ids.AddSameOn(amd64, named("alias"), named("X"))
	ids.AddSameOn(amd64, named("alias2"), named("alias"))
	for _, bb := range []struct {
		name, a, b string
		want       image.Relation
	}{
		{"indexes/same", "X", "wide", image.Same},
		{"indexes/different", "X", "E", image.Different},
		{"manifests/different", "m-amd", "e-amd", image.Different},
		{"manifests/siblings", "m-amd", "m-arm", image.Same},
		{"records/same", "alias", "alias2", image.Same},
		{"records/different", "alias2", "E", image.Different},
	} {
		b.Run(bb.name, func(b *testing.B) {
			x, y := named(bb.a), named(bb.b)
			b.ReportAllocs()
			for b.Loop() {
				if got, why := ids.Compare(x, y, amd64); got != bb.want {
					b.Fatalf("got %s: %s", got, why)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		got  fmt.Stringer
		want string
	}{
		{image.CannotTell, "cannot tell"},
		{image.Same, "same"},
		{image.Different, "different"},
		{image.KindUnknown, "unknown"},
		{image.KindIndex, "index"},
		{image.KindManifest, "manifest"},
		{image.KindConfig, "config"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
