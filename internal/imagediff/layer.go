package imagediff

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
)

// limits bound what is taken from a pair of images for one platform. What is
// beyond one is in [Diff.Unchecked].
type limits struct {
	// layers is for one image. Overlay mounts have at most some 500.
	layers int
	// config is how many bytes a config may have.
	config int64
	// unpacked is how many bytes one layer may unpack to, and logical how many
	// its files may have, holes of sparse files included.
	unpacked, logical int64
	// ratio is how many times as large as the blob a layer may be once it has
	// more than ratioFrom bytes. Deflate cannot do more than 1032.
	ratio, ratioFrom int64
	// nodes is how many files, folders and entries of layers there may be in
	// both images together; names how many bytes their names and attributes
	// may have.
	nodes int
	names int64
	// packages is how many there may be in all databases of packages.
	packages int
	// changes is how many changed files are listed.
	changes int
}

var defaultLimits = limits{
	layers: 512, config: 4 << 20,
	unpacked: 16 << 30, logical: 16 << 30, ratio: 400, ratioFrom: 256 << 20,
	nodes: 2 << 20, names: 128 << 20,
	packages: 200_000, changes: 100_000,
}

const (
	// maxName is how long a path can be on Linux.
	maxName = 4096
	// maxXattrs is how many bytes of extended attributes are kept as they
	// are; more are kept as their hash.
	maxXattrs = 256
	// maxWindow is how much memory the zstd of a layer may take.
	maxWindow = 64 << 20
	// maxOddities is how many oddities of a layer are told one by one.
	maxOddities = 3
)

// budget is what is left of the limits of a pair.
type budget struct {
	nodes    int
	names    int64
	packages int
}

// errBudget is that a limit was met.
type errBudget struct{ what string }

func (e errBudget) Error() string { return e.what }

func (b *budget) node(l *limits) error {
	if b.nodes++; b.nodes > l.nodes {
		return errBudget{fmt.Sprintf("both images together have more than %d files, folders and entries", l.nodes)}
	}
	return nil
}

func (b *budget) name(l *limits, n int) error {
	if b.names += int64(n); b.names > l.names {
		return errBudget{fmt.Sprintf("the names of files have more than %d bytes", l.names)}
	}
	return nil
}

// inode is what a path leads to.
type inode struct {
	typ      byte // one of the types below
	elf      bool
	layer    int16
	mode     uint32 // permissions, set-user-ID, set-group-ID, sticky
	uid, gid int
	size     int64
	sum      [sha256.Size]byte
	text     string // the target of a symlink, the numbers of a device
	xattrs   string
	content  *content // what was read of the file besides
}

const (
	typeFile    = 'f'
	typeDir     = 'd'
	typeSymlink = 'l'
	typeChar    = 'c'
	typeBlock   = 'b'
	typeFifo    = 'p'
)

// record is one entry of a layer.
type record struct {
	kind recordKind
	name string // cleaned, without a leading slash; "" is the root
	// ino is what is put there; of a hard link, its mode and owner alone.
	ino    *inode
	target string // of a hard link, cleaned
}

type recordKind uint8

const (
	put recordKind = iota
	hardlink
	whiteout // name is not in layers below
	opaque   // nothing in the folder is from layers below
)

// layer is what was read of a layer: nothing unless it is what its digest and
// its diffID say.
type layer struct {
	records  []record
	oddities []string
}

// The media types of layers (OCI image spec 1.1, layer.md; distribution's
// manifest-v2-2.md). Which compression a blob has, its first bytes say, as for
// containerd.
var layerTypes = []string{
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.diff.tar.gzip",
}

// unreadable is why a layer of a media type cannot be read at all, or "".
func unreadable(mediaType string) string {
	switch {
	case strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.diff.tar"),
		strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.v1.tar"):
		return "a foreign layer: it is kept elsewhere than in the registry"
	case strings.HasSuffix(mediaType, "+encrypted"):
		return "an encrypted layer"
	}
	for _, t := range layerTypes {
		rest, ok := strings.CutPrefix(mediaType, t)
		if ok && (rest == "" || rest == "+gzip" || rest == "+zstd" || rest == ".gzip" || rest == ".zstd") {
			return ""
		}
	}
	return "not a layer of files: its media type is " + strconv.Quote(clip(mediaType, 80))
}

// layerReader reads layers within the limits of a pair.
type layerReader struct {
	reg      Registry
	limits   *limits
	spent    *budget
	progress func(n int)
	buf      []byte
	program  *bufio.Reader // of an executable
}

// read reads a layer whole; number is its place in the image. Nothing of it is
// returned with an error.
func (r *layerReader) read(ctx context.Context, ref image.Reference, of registry.Descriptor, diffID image.Digest, number int) (*layer, error) {
	if why := unreadable(of.MediaType); why != "" {
		return nil, errors.New(why)
	}
	sum := newHash(diffID)
	if sum == nil {
		return nil, errors.New("the config has no diffID for it")
	}
	body, err := r.reg.Blob(ctx, ref, of)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	blob := &source{r: body, progress: r.progress}
	found, err := r.blob(ctx, blob, sum, number)
	switch {
	case blob.err != nil: // why the rest could not be read
		return nil, blob.err
	case err != nil:
		return nil, err
	}
	if got := diffID.Algorithm() + ":" + hex.EncodeToString(sum.Sum(nil)); got != diffID.String() {
		return nil, fmt.Errorf("unpacked, it has not the diffID of the config but %s; no runtime would unpack it", got)
	}
	return found, nil
}

// blob reads a layer as it is stored.
func (r *layerReader) blob(ctx context.Context, blob *source, sum hash.Hash, number int) (*layer, error) {
	packed := bufio.NewReaderSize(blob, 64<<10)
	plain, done, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	defer done()
	unpacked := &bounded{r: plain, blob: blob, sum: sum, limits: r.limits}
	found, err := r.tar(ctx, unpacked, number)
	if err != nil {
		return nil, err
	}
	// What comes after the end of the archive is in the digests, too.
	if _, err := io.CopyBuffer(onlyWriter{io.Discard}, unpacked, r.buf); err != nil {
		return nil, err
	}
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, packed, r.buf)
	return found, err
}

// unpack undoes the compression that the first bytes tell of.
func unpack(packed *bufio.Reader) (plain io.Reader, done func(), err error) {
	magic, err := packed.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, nil, fmt.Errorf("not gzip: %w", err)
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("not zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return packed, func() {}, nil
}

// tar reads the entries of a layer.
func (r *layerReader) tar(ctx context.Context, plain io.Reader, number int) (*layer, error) {
	found := &layer{}
	odd := map[string]int{}
	tr := tar.NewReader(plain)
	var logical int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, malformed(err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // Runtimes ignore it.
		}
		name, odds := cleanName(h.Name)
		if odds == "" && len(h.Linkname) > maxName {
			odds = "the target of a link is longer than 4096 bytes, at"
		}
		if odds != "" {
			if odd[odds]++; odd[odds] <= maxOddities {
				found.oddities = append(found.oddities, odds+" "+clip(h.Name, 120))
			}
			if len(h.Name) > maxName || len(h.Linkname) > maxName {
				return nil, errors.New(found.oddities[len(found.oddities)-1])
			}
		}
		rec := record{name: name}
		if kind, target, ok := whiteoutOf(name); ok {
			rec.kind, rec.name = kind, target
			if target == "" && kind == whiteout {
				continue // Of the storage driver aufs, which nobody reads.
			}
		} else if err := r.entry(tr, h, &rec, &logical, number); err != nil {
			return nil, err
		}
		if rec.kind == put && rec.ino == nil {
			odds := "an entry of the unknown type " + strconv.QuoteRune(rune(h.Typeflag))
			if odd[odds]++; odd[odds] <= maxOddities {
				found.oddities = append(found.oddities, odds+" "+clip(h.Name, 120))
			}
			continue
		}
		if err := r.spent.node(r.limits); err != nil {
			return nil, err
		}
		if err := r.spent.name(r.limits, len(rec.name)+len(rec.target)); err != nil {
			return nil, err
		}
		if rec.ino != nil {
			if err := r.spent.name(r.limits, len(rec.ino.text)+len(rec.ino.xattrs)); err != nil {
				return nil, err
			}
		}
		found.records = append(found.records, rec)
	}
	return found, nil
}

// malformed says of an error of the archive that it is one.
func malformed(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("not a whole tar archive: %w", err)
	}
	return err
}

// entry reads an entry that is not a whiteout. rec has no inode after it if it
// is of a type that is not known. What is kept of the header is copied: its
// texts can share memory with a record of a megabyte.
func (r *layerReader) entry(tr *tar.Reader, h *tar.Header, rec *record, logical *int64, number int) error {
	ino := &inode{mode: uint32(h.Mode & 0o7777), uid: h.Uid, gid: h.Gid, layer: int16(number), xattrs: xattrs(h.PAXRecords)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if *logical += h.Size; h.Size < 0 || *logical < 0 || *logical > r.limits.logical {
			return errBudget{fmt.Sprintf("its files have more than %d bytes", r.limits.logical)}
		}
		ino.typ, ino.size = typeFile, h.Size
		if err := r.file(tr, rec.name, ino); err != nil {
			return malformed(err)
		}
	case tar.TypeLink:
		rec.kind = hardlink
		rec.target, _ = cleanName(h.Linkname)
	case tar.TypeDir:
		ino.typ = typeDir
	case tar.TypeSymlink:
		ino.typ, ino.text, ino.mode = typeSymlink, strings.Clone(h.Linkname), 0o777
	case tar.TypeChar, tar.TypeBlock:
		ino.typ, ino.text = typeChar, fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		if h.Typeflag == tar.TypeBlock {
			ino.typ = typeBlock
		}
	case tar.TypeFifo:
		ino.typ = typeFifo
	default:
		return nil
	}
	rec.ino = ino
	return nil
}

// file reads a file once: its hash, what kind it is, and what is in it if it
// is a database of packages, a Go program or an os-release file.
func (r *layerReader) file(tr io.Reader, name string, ino *inode) error {
	sum := sha256.New()
	var head [4]byte
	n, err := io.ReadFull(tr, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if int64(n) != min(ino.size, int64(len(head))) {
		return io.ErrUnexpectedEOF
	}
	ino.elf = string(head[:n]) == "\x7fELF"
	hashed := io.TeeReader(io.MultiReader(bytes.NewReader(head[:n]), tr), sum)
	if ino.content, err = r.content(hashed, name, ino); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(onlyWriter{io.Discard}, hashed, r.buf); err != nil {
		return err
	}
	sum.Sum(ino.sum[:0])
	return nil
}

// cleanName is a name as it is under the root, as runtimes take it; odd says
// what is odd about it, or is "".
func cleanName(name string) (clean, odd string) {
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				odd = "a name leaves the root and was taken from there on:"
			}
		default:
			depth++
		}
	}
	if len(name) > maxName {
		odd = "a name is longer than 4096 bytes:"
	}
	return path.Clean("/" + name)[1:], odd
}

// whiteoutOf tells what a whiteout hides (OCI image spec 1.1, layer.md,
// "Whiteouts"). The names that aufs keeps for itself hide "".
func whiteoutOf(name string) (kind recordKind, target string, ok bool) {
	dir, base := path.Split(name)
	switch hidden, is := strings.CutPrefix(base, ".wh."); {
	case base == ".wh..wh..opq":
		return opaque, strings.TrimSuffix(dir, "/"), true
	case strings.HasPrefix(name, ".wh..wh."):
		return whiteout, "", true
	case is && hidden != "" && hidden != "." && hidden != "..":
		return whiteout, dir + hidden, true
	}
	return put, "", false
}

// xattrs are the extended attributes of an entry as one text.
func xattrs(records map[string]string) string {
	var list []string
	for key, value := range records {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if ok {
			list = append(list, name+"="+hex.EncodeToString([]byte(value)))
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	all := strings.Join(list, " ")
	if len(all) > maxXattrs {
		sum := sha256.Sum256([]byte(all))
		kept := "sha256=" + hex.EncodeToString(sum[:])
		if strings.Contains(all, capability+"=") {
			kept = capability + " " + kept
		}
		return kept
	}
	return all
}

// capability is the attribute of programs with capabilities (capabilities(7),
// "File capabilities").
const capability = "security.capability"

// source is a blob as it is stored. It counts, and keeps why it ended.
type source struct {
	r        io.Reader
	n        int64
	err      error
	progress func(n int)
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.progress != nil {
		s.progress(n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// bounded is an unpacked layer within its limits.
type bounded struct {
	r      io.Reader
	blob   *source
	sum    hash.Hash
	n      int64
	limits *limits
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.sum.Write(p[:n])
	switch {
	case b.n > b.limits.unpacked:
		return 0, errBudget{fmt.Sprintf("it unpacks to more than %d bytes", b.limits.unpacked)}
	case b.n > b.limits.ratioFrom && b.n/b.limits.ratio > b.blob.n:
		return 0, errBudget{fmt.Sprintf("it unpacks to more than %d times its size", b.limits.ratio)}
	}
	return n, err
}

// onlyWriter hides that a writer can read by itself, with a buffer of its own.
type onlyWriter struct{ io.Writer }

// newHash is for a digest, or nil where that is none.
func newHash(d image.Digest) hash.Hash {
	if !d.Valid() {
		return nil
	}
	switch d.Algorithm() {
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return sha256.New()
}
