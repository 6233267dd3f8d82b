package containerd

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"k8s.io/utils/dump"

	"github.com/tagwarden/tagwarden/image"
)

// provenReference finds the reference as the user wrote it, where the runtime
// does not keep it. Since Kubernetes 1.31 the kubelet's container hash covers
// the container's name and its image text and nothing else, so a spelling of
// one of the image's names that gives the same hash is what the pod spec says:
// a wrong one agrees once in four thousand million. When no spelling agrees,
// as with an older kubelet, the reference is not known and the answer is "".
func provenReference(container, hash string, names []image.Reference) string {
	want, err := strconv.ParseUint(hash, 16, 32)
	if err != nil {
		return ""
	}
	for _, text := range spellings(names) {
		if containerHash(container, text) == uint32(want) {
			return text
		}
	}
	return ""
}

// containerHash is the kubelet's HashContainer
// (k8s.io/kubernetes pkg/kubelet/container/helpers.go, since 1.31).
func containerHash(container, reference string) uint32 {
	text, err := json.Marshal(map[string]string{"name": container, "image": reference})
	if err != nil {
		return 0 // A map of strings always encodes.
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(text))
	return h.Sum32()
}

// spellings are the ways to write the given references that mean the same:
// with and without Docker Hub's host and "library/", with and without
// "latest", and with any digest behind any tag.
func spellings(names []image.Reference) []string {
	var all []string
	add := func(ref image.Reference, suffix string) {
		all = append(all, ref.Name()+suffix)
		if ref.Registry() != "docker.io" {
			return
		}
		all = append(all,
			ref.Repository()+suffix,
			ref.Familiar()+suffix,
			"docker.io/"+ref.Familiar()+suffix,
			"index.docker.io/"+ref.Familiar()+suffix,
			"index.docker.io/"+ref.Repository()+suffix,
		)
	}
	for _, ref := range names {
		tag, digest := ref.Tag(), ref.Digest().String()
		if tag != "" {
			add(ref, ":"+tag)
		}
		if tag == "latest" {
			add(ref, "")
		}
		if digest != "" {
			add(ref, "@"+digest)
			for _, other := range names {
				if other.Tag() != "" && other.Name() == ref.Name() {
					add(ref, ":"+other.Tag()+"@"+digest)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
