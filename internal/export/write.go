package export

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrForeign says that a file is there which was not written by this package.
var ErrForeign = errors.New("it was not written by tagwarden export")

// Write writes the files into a folder, which it makes if need be. A file that
// is there and does not say that it was written here stops it before anything
// is written, with ErrForeign, unless force is set. Each file is written beside
// its place and moved there in one step, so that nobody reads half of one.
func (o *Output) Write(folder string, force bool) error {
	const listable = 0o755 // As the files in it, for others to apply.
	if err := os.MkdirAll(folder, listable); err != nil {
		return err
	}
	if !force {
		for _, f := range o.Files {
			path := filepath.Join(folder, f.Name)
			ours, err := isOurs(path)
			if err != nil {
				return err
			}
			if !ours {
				return fmt.Errorf("%s is there already: %w", path, ErrForeign)
			}
		}
	}
	for _, f := range o.Files {
		if err := replace(folder, f); err != nil {
			return err
		}
	}
	return nil
}

// isOurs reports whether the file at path may be written over: it is not there,
// or its first line says that it comes from here.
func isOurs(path string) (ours bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, 2*width)
	n, err := f.Read(head)
	if n == 0 && err != nil {
		return false, nil // An empty file is somebody's, too; a folder is no file.
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return bytes.Contains(line, []byte(mark)), nil
}

func replace(folder string, f File) (err error) {
	tmp, err := os.CreateTemp(folder, "."+f.Name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	const public = 0o644 // They are policies, to be applied by others.
	_, err = tmp.Write(f.Data)
	if err = errors.Join(err, tmp.Chmod(public), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(folder, f.Name))
}
