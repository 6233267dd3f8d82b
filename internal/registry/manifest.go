package registry

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// maxChildren is how many children an index may have. Those of base images
// have some twenty.
const maxChildren = 1024

// The media types that are asked for, best first (OCI image spec 1.1,
// "Media Types"; distribution's manifest-v2-1.md and manifest-v2-2.md).
const (
	typeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	typeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	typeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	typeSchema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	typeSchema1        = "application/vnd.docker.distribution.manifest.v1+json"
)

var accepted = strings.Join([]string{
	typeOCIIndex, typeDockerList, typeOCIManifest, typeDockerManifest,
	typeSchema1Signed + ";q=0.5", typeSchema1 + ";q=0.5",
}, ", ")

// manifest is what is read of an index or a manifest.
type manifest struct {
	content   image.Content
	mediaType string
	// configSize and configType are those of an image config, and empty for
	// any other config.
	configSize  int64
	configType  string
	layers      []Descriptor
	annotations map[string]string
}

type descriptor struct {
	MediaType string       `json:"mediaType"`
	Digest    image.Digest `json:"digest"`
	Size      int64        `json:"size"`
	Platform  *platform    `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

// parse reads an index or a manifest. What it is, its own fields say: they
// are what the digest is of, and the headers of the answer are not. A document
// that could be both is refused (CVE-2021-41190).
func parse(body []byte) (manifest, error) {
	var doc struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     *[]descriptor    `json:"manifests"`
		Config        *descriptor      `json:"config"`
		Layers        *json.RawMessage `json:"layers"`
		FSLayers      *json.RawMessage `json:"fsLayers"`
		Annotations   *json.RawMessage `json:"annotations"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return manifest{}, errors.New("it is no JSON of a manifest")
	}
	isIndex, isImage := doc.Manifests != nil, doc.Config != nil || doc.Layers != nil
	switch {
	case isIndex && (isImage || doc.FSLayers != nil), isImage && doc.FSLayers != nil:
		return manifest{}, errors.New("it could be an index and a manifest")
	case isIndex:
		return parseIndex(doc.MediaType, *doc.Manifests)
	case doc.Config != nil:
		m, err := parseImage(doc.MediaType, *doc.Config)
		if err != nil {
			return manifest{}, err
		}
		m.layers, m.annotations = parseLayers(doc.Layers), parseAnnotations(doc.Annotations)
		return m, nil
	case doc.SchemaVersion == 1 && doc.FSLayers != nil:
		return manifest{content: image.Content{Kind: image.KindManifest}, mediaType: typeSchema1}, nil
	}
	return manifest{}, errors.New("it has neither manifests nor a config")
}

func parseIndex(mediaType string, children []descriptor) (manifest, error) {
	if len(children) > maxChildren {
		return manifest{}, fmt.Errorf("an index of more than %d images", maxChildren)
	}
	if mediaType != typeDockerList {
		mediaType = typeOCIIndex
	}
	m := manifest{content: image.Content{Kind: image.KindIndex}, mediaType: mediaType}
	for _, d := range children {
		if !d.Digest.Valid() {
			return manifest{}, errors.New("an index with a digest that is none")
		}
		m.content.Children = append(m.content.Children, image.Child{Digest: d.Digest, Platform: d.Platform.image()})
	}
	return m, nil
}

func parseImage(mediaType string, config descriptor) (manifest, error) {
	if !config.Digest.Valid() {
		return manifest{}, errors.New("a manifest with a digest that is none")
	}
	if mediaType != typeDockerManifest {
		mediaType = typeOCIManifest
	}
	m := manifest{content: image.Content{Kind: image.KindManifest}, mediaType: mediaType}
	// The config of an artifact says nothing of its layers: many have the
	// empty one. It must not make them the same bytes.
	if config.MediaType == typeOCIConfig || config.MediaType == typeDockerConfig {
		m.content.Config, m.configSize, m.configType = config.Digest, config.Size, config.MediaType
	}
	return m, nil
}

// parseLayers reads the layers of a manifest. What is wrong with one stands in
// the way of reading that layer alone, so it is kept as it is: its digest may
// not be valid.
func parseLayers(raw *json.RawMessage) []Descriptor {
	var list []descriptor
	if raw == nil || json.Unmarshal(*raw, &list) != nil {
		return nil
	}
	layers := make([]Descriptor, 0, len(list))
	for _, d := range list {
		layers = append(layers, Descriptor{d.MediaType, d.Digest, d.Size})
	}
	return layers
}

// parseAnnotations reads the annotations of a manifest, which are texts by
// their names.
func parseAnnotations(raw *json.RawMessage) map[string]string {
	var found map[string]string
	if raw == nil || json.Unmarshal(*raw, &found) != nil {
		return nil
	}
	return found
}

// image is the platform, where it is one that can be.
func (p *platform) image() image.Platform {
	if p == nil || p.OS == "" || p.Architecture == "" {
		return image.Platform{}
	}
	found := image.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
	if parsed, err := image.ParsePlatform(found.String()); err != nil || parsed != found {
		return image.Platform{OS: "unknown", Architecture: "unknown"}
	}
	return found
}

// parsePlatform reads the platform of an image config (OCI image spec 1.1,
// config.md). It is zero where there is none.
func parsePlatform(config []byte) image.Platform {
	var p platform
	if json.Unmarshal(config, &p) != nil {
		return image.Platform{}
	}
	if found := p.image(); !strings.HasPrefix(found.String(), "unknown") {
		return found
	}
	return image.Platform{}
}

// payload is what d is the digest of: body, or body without its signatures.
// Nothing else of body may be used. ok is false where it is neither.
func payload(body []byte, d image.Digest) (proven []byte, ok bool) {
	if d == "" {
		return nil, false
	}
	if digestOf(body, d.Algorithm()) == d {
		return body, true
	}
	if proven = unsigned(body); proven != nil && digestOf(proven, d.Algorithm()) == d {
		return proven, true
	}
	return nil, false
}

func digestOf(body []byte, algorithm string) image.Digest {
	var sum []byte
	switch algorithm {
	case "sha256":
		s := sha256.Sum256(body)
		sum = s[:]
	case "sha384":
		s := sha512.Sum384(body)
		sum = s[:]
	case "sha512":
		s := sha512.Sum512(body)
		sum = s[:]
	default:
		return ""
	}
	return image.Digest(algorithm + ":" + hex.EncodeToString(sum))
}

// unsigned is a signed manifest of schema 1 without its signatures, which its
// digest is of (distribution's manifest-v2-1.md, "Signed Manifests"), and nil
// for anything else.
func unsigned(body []byte) []byte {
	var doc struct {
		Signatures []struct {
			Protected string `json:"protected"`
		} `json:"signatures"`
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Signatures) == 0 {
		return nil
	}
	header, err := base64.RawURLEncoding.DecodeString(doc.Signatures[0].Protected)
	if err != nil {
		return nil
	}
	var format struct {
		Length int    `json:"formatLength"`
		Tail   string `json:"formatTail"`
	}
	if json.Unmarshal(header, &format) != nil || format.Length < 0 || format.Length > len(body) {
		return nil
	}
	tail, err := base64.RawURLEncoding.DecodeString(format.Tail)
	if err != nil {
		return nil
	}
	return append(body[:format.Length:format.Length], tail...)
}
