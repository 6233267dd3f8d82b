package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tagwarden/tagwarden/internal/render"
)

var errLarge = fmt.Errorf("it has more than %d files or %d MiB", render.MaxFiles, render.MaxSize>>20)

// folderTree is the tree of a folder. Its paths cannot leave the folder.
type folderTree string

func (t folderTree) File(name string) (data []byte, ok bool, err error) {
	root, err := os.OpenRoot(string(t))
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	return readRegular(root, name)
}

// readRegular reads a file that is no link and nothing special.
func readRegular(root *os.Root, name string) (data []byte, ok bool, err error) {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir():
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("%s is a link or no plain file, which is not followed", name)
	}
	in, err := root.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer in.Close()
	data, err = io.ReadAll(io.LimitReader(in, render.MaxSize+1))
	if err == nil && len(data) > render.MaxSize {
		err = errLarge
	}
	return data, err == nil, err
}

func (t folderTree) Folder(name string, keep func(string) bool) (files map[string][]byte, ignored map[string]bool, err error) {
	root, err := os.OpenRoot(string(t))
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	ignore := newIgnore(filepath.Join(string(t), filepath.FromSlash(name)))
	size := 0
	files, ignored = map[string][]byte{}, map[string]bool{}
	left := map[string]bool{} // Folders that git leaves out.
	err = fs.WalkDir(root.FS(), name, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && at != name && skipped[d.Name()]:
			return fs.SkipDir
		}
		below := strings.TrimPrefix(strings.TrimPrefix(at, name), "/")
		if name == "." {
			below = at
		}
		out := left[path.Dir(below)] || at != name && ignore.matches(below, d.IsDir())
		if d.IsDir() {
			left[path.Clean(below)] = out
			ignore.read(filepath.Join(string(t), filepath.FromSlash(at)), path.Clean(below))
			return nil
		}
		if !d.Type().IsRegular() || !keep(below) {
			return nil
		}
		ignored[below] = out
		data, ok, err := readRegular(root, at)
		if err != nil || !ok {
			return err
		}
		if size += len(data); size > render.MaxSize || len(files) >= render.MaxFiles {
			return errLarge
		}
		files[below] = data
		return nil
	})
	return files, ignored, err
}

func (t folderTree) Place(name string) string {
	return filepath.Join(string(t), filepath.FromSlash(name))
}

// revisionTree is the tree of a revision in git.
type revisionTree struct {
	ctx  context.Context //nolint:containedctx // It lives as long as one scan.
	list string          // of git ls-tree

	mu      sync.Mutex // One question at a time.
	objects map[string]string
}

// find makes the list a map when it is first asked for.
func (t *revisionTree) find() map[string]string {
	if t.objects == nil {
		t.objects = map[string]string{}
		for entry := range strings.SplitSeq(t.list, "\x00") {
			meta, name, ok := strings.Cut(entry, "\t")
			words := strings.Fields(meta)
			if ok && len(words) == 3 && words[1] == "blob" && words[0] != linkMode {
				t.objects[name] = words[2]
			}
		}
	}
	return t.objects
}

func (t *revisionTree) File(name string) (data []byte, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	object, ok := t.find()[name]
	if !ok {
		return nil, false, nil
	}
	blobs := &blobs{ctx: t.ctx}
	defer blobs.close()
	data, err = blobs.read(object)
	return data, err == nil, err
}

func (t *revisionTree) Place(name string) string { return name }

func (t *revisionTree) Folder(name string, keep func(string) bool) (files map[string][]byte, ignored map[string]bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	blobs := &blobs{ctx: t.ctx}
	defer blobs.close()
	size := 0
	files = map[string][]byte{}
	for at, object := range t.find() {
		below, ok := strings.CutPrefix(at, name+"/")
		if name == "." {
			below, ok = at, true
		}
		if !ok || inSkipped(at) || !keep(below) {
			continue
		}
		data, err := blobs.read(object)
		if err != nil {
			return nil, nil, err
		}
		if size += len(data); size > render.MaxSize || len(files) >= render.MaxFiles {
			return nil, nil, errLarge
		}
		files[below] = data
	}
	return files, nil, nil
}
