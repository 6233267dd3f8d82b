package registrytest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"maps"
)

// The media types of layers.
const (
	TypeLayer     = "application/vnd.oci.image.layer.v1.tar"
	TypeLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
	TypeLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
)

// Entry is an entry of a layer. A Typeflag of 0 is a file, or a folder if the
// name ends in a slash; a Mode of 0 is 0644, or 0755 for a folder.
type Entry struct {
	tar.Header

	Body string
}

// File is the Entry of a file.
func File(name string, mode int64, body string) Entry {
	return Entry{tar.Header{Name: name, Mode: mode}, body}
}

// Tar is a layer with entries, not compressed.
func Tar(entries ...Entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		folder := h.Name != "" && h.Name[len(h.Name)-1] == '/'
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if folder {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if folder {
				h.Mode = 0o755
			}
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.Body))
		}
		must(w.WriteHeader(&h))
		_, err := w.Write([]byte(e.Body))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Layer is a layer as a manifest and a config name it.
type Layer struct {
	MediaType string
	// Blob is what is pushed; DiffID is what the config says of it.
	Blob   []byte
	DiffID string
	// Size is what the manifest says it is; 0 is the truth.
	Size int64
}

// Gzip is a tar as a layer that is compressed with gzip.
func Gzip(plain []byte) Layer {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(plain)
	must(err)
	must(z.Close())
	return Layer{MediaType: TypeLayerGzip, Blob: b.Bytes(), DiffID: Digest(plain)}
}

// Layered pushes an image of layers. What config has is added to one for
// linux/amd64, or goes before it; a list of diffIDs is made of the layers
// unless it has rootfs. tag can be "".
func (r *Registry) Layered(repository, tag string, config map[string]any, layers ...Layer) Pushed {
	descriptors, diffIDs := []any{}, []string{}
	for _, l := range layers {
		r.Blob(repository, l.Blob)
		descriptors = append(descriptors, map[string]any{"mediaType": l.MediaType, "digest": Digest(l.Blob), "size": cmp.Or(l.Size, int64(len(l.Blob)))})
		diffIDs = append(diffIDs, l.DiffID)
	}
	whole := map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}}
	maps.Copy(whole, config)
	body := encode(whole)
	r.Blob(repository, body)
	p := Pushed{Config: Digest(body), Platform: map[string]string{}}
	for _, key := range []string{"os", "architecture", "variant"} {
		if s, ok := whole[key].(string); ok {
			p.Platform[key] = s
		}
	}
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": TypeManifest, "layers": descriptors,
		"config": map[string]any{"mediaType": TypeConfig, "digest": p.Config, "size": len(body)},
	})
	p.Digest, p.Size = r.Manifest(repository, tag, TypeManifest, manifest), len(manifest)
	return p
}

func must(err error) {
	if err != nil {
		panic(err) // It writes to memory.
	}
}
