package containerd

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/images/v1"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
)

// Labels and annotations that the kubelet and containerd's CRI plugin set
// (k8s.io/kubernetes pkg/kubelet/types/labels.go and
// pkg/kubelet/kuberuntime/labels.go; containerd internal/cri/labels).
const (
	labelKind      = "io.cri-containerd.kind"
	labelNamespace = "io.kubernetes.pod.namespace"
	labelPod       = "io.kubernetes.pod.name"
	labelPodUID    = "io.kubernetes.pod.uid"
	labelContainer = "io.kubernetes.container.name"

	annotationHash     = "io.kubernetes.container.hash"
	annotationRestarts = "io.kubernetes.container.restartCount"

	// extensionMetadata is where the CRI plugin keeps a container's config.
	extensionMetadata = "io.cri-containerd.container.metadata"
)

// criMetadata is the part that we read of the CRI plugin's record of a
// container (containerd internal/cri/store/container/metadata.go).
type criMetadata struct {
	Metadata struct {
		SandboxID string
		// ImageRef is the image's id: the digest of its config.
		ImageRef string
		Config   struct {
			Image struct {
				// UserSpecifiedImage is the reference in the pod spec, byte
				// for byte; containerd 1.6 drops it, 2.0 keeps it.
				UserSpecifiedImage string `json:"user_specified_image"`
			} `json:"image"`
			Annotations map[string]string `json:"annotations"`
		}
	}
}

// metadataOf reads the CRI plugin's record. It is empty for a container that
// was not made through CRI.
func metadataOf(c *containers.Container) criMetadata {
	var m criMetadata
	if ext := c.GetExtensions()[extensionMetadata]; ext != nil {
		// A record of another form is as good as none.
		if json.Unmarshal(ext.GetValue(), &m) != nil {
			return criMetadata{}
		}
	}
	return m
}

func sandboxOf(c *containers.Container) string { return metadataOf(c).Metadata.SandboxID }

// podLabels are the labels that the user gave the pod.
func podLabels(sandbox map[string]string) map[string]string {
	labels := map[string]string{}
	for k, v := range sandbox {
		if !strings.HasPrefix(k, "io.kubernetes.pod.") && !strings.HasPrefix(k, "io.cri-containerd.") {
			labels[k] = v
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return labels
}

// describe fills in what the node knows of the container.
func describe(s *event.Start, c *containers.Container, list *imageList) {
	labels, meta := c.GetLabels(), metadataOf(c).Metadata
	s.Namespace, s.Pod, s.PodUID = labels[labelNamespace], labels[labelPod], labels[labelPodUID]
	s.Container = labels[labelContainer]
	s.Image = c.GetImage()
	s.ImageID = meta.ImageRef
	if n, err := strconv.ParseInt(meta.Config.Annotations[annotationRestarts], 10, 32); err == nil {
		s.RestartCount = int32(n)
	}
	s.Digest = list.digest(c, meta.ImageRef)
	s.Reference = meta.Config.Image.UserSpecifiedImage
	if hash := meta.Config.Annotations[annotationHash]; s.Reference == "" && hash != "" {
		s.Reference = provenReference(s.Container, hash, list.names(s.Image, s.Digest))
	}
}

// imageList is what the image service knew at one moment.
type imageList struct {
	byName map[string]*images.Image
}

func (s *Source) imageList(ctx context.Context) (*imageList, error) {
	answer, err := s.images.List(ctx, &images.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	l := &imageList{byName: make(map[string]*images.Image, len(answer.GetImages()))}
	for _, img := range answer.GetImages() {
		l.byName[img.GetName()] = img
	}
	return l, nil
}

// digest is the digest of the image that container c was made of. The CRI
// plugin keeps a name for every image id, and that name cannot move to other
// bytes. A tag can: it counts only when it was last set before the container
// was made.
func (l *imageList) digest(c *containers.Container, imageID string) string {
	if img := l.byName[imageID]; img != nil && imageID != "" {
		return img.GetTarget().GetDigest()
	}
	img := l.byName[c.GetImage()]
	if img == nil || img.GetUpdatedAt().AsTime().After(c.GetCreatedAt().AsTime()) {
		return ""
	}
	return img.GetTarget().GetDigest()
}

// names are the references that could have led to the image: all names in the
// repositories that the image is known by. A tag that has moved on since is
// still among them.
func (l *imageList) names(runtimeName, digest string) []image.Reference {
	var all []image.Reference
	repositories := map[string]bool{}
	add := func(name string, is bool) {
		// Image ids are names, too.
		if ref, err := image.Parse(name); err == nil {
			all = append(all, ref)
			if is {
				repositories[ref.Name()] = true
			}
		}
	}
	add(runtimeName, true)
	for name, img := range l.byName {
		add(name, digest != "" && img.GetTarget().GetDigest() == digest)
	}
	kept := all[:0]
	for _, ref := range all {
		if repositories[ref.Name()] {
			kept = append(kept, ref)
		}
	}
	return kept
}
