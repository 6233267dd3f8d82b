package image_test

import (
	"errors"
	"fmt"

	"github.com/tagwarden/tagwarden/image"
)

func ExampleParse() {
	r, err := image.Parse("localhost:5000/app:1.25")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("registry:  ", r.Registry())
	fmt.Println("repository:", r.Repository())
	fmt.Println("tag:       ", r.Tag())
	fmt.Println("pinned:    ", r.Pinned())
	// Output:
	// registry:   localhost:5000
	// repository: app
	// tag:        1.25
	// pinned:     false
}

func ExampleParse_shortName() {
	r, err := image.Parse("nginx")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s is %s with the tag %q\n", r.Original(), r, r.Tag())
	// Output: nginx is docker.io/library/nginx with the tag ""
}

func ExampleParseError() {
	_, err := image.Parse("nginx@sha256:abc")
	fmt.Println(err)
	if bad, ok := errors.AsType[*image.ParseError](err); ok {
		fmt.Printf("byte %d: %s\n", bad.Offset, bad.Reason)
	}
	// Output:
	// invalid image reference "nginx@sha256:abc": at "abc": the digest is too short: 3 digits instead of 64
	// byte 13: the digest is too short: 3 digits instead of 64
}

func ExampleReference_Class() {
	for _, s := range []string{"nginx", "nginx:1.25", "nginx:1.25.3", "nginx:1.25.3-SNAPSHOT"} {
		r, err := image.Parse(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		class, reason := r.Class()
		fmt.Printf("%s: %v: %s\n", s, class, reason)
	}
	// Output:
	// nginx: untagged: no tag, so the runtime takes "latest"
	// nginx:1.25: floating: the version is not complete, so the tag moves with each release of it
	// nginx:1.25.3: fixed: a full version; a registry may still let it be overwritten
	// nginx:1.25.3-SNAPSHOT: floating: the tag has a word that says it moves, such as latest, nightly or snapshot
}

func ExampleFromImageID() {
	const id = "docker-pullable://nginx@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	name, digest, ok := image.FromImageID(id)
	fmt.Println(name, digest.Algorithm(), digest.Hex()[:12], ok)
	// Output: nginx sha256 4bcff63911fc true
}

func ExampleIdentities() {
	const (
		index  = image.Digest("sha256:3dae000000000000000000000000000000000000000000000000000000000000")
		single = image.Digest("sha256:dae7000000000000000000000000000000000000000000000000000000000000")
		config = image.Digest("sha256:c0ff000000000000000000000000000000000000000000000000000000000000")
	)
	node := image.Platform{OS: "linux", Architecture: "amd64"}
	ids := image.NewIdentities()
	fmt.Println(ids.Compare(index, single, node))

	ids.Add(image.Content{Digest: index, Kind: image.KindIndex, Children: []image.Child{{Digest: single, Platform: node}}})
	ids.Add(image.Content{Digest: single, Kind: image.KindManifest, Platform: node, Config: config})
	fmt.Println(ids.Compare(index, single, node))
	// Output:
	// cannot tell it is not known what sha256:3dae00000000 is
	// same both have the same config
}
