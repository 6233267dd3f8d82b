package pin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tagwarden/tagwarden/internal/manifest"
)

// A Source is a file as it was read, to be replaced later.
type Source struct {
	// Data is what is in it.
	Data []byte
	path string // with links followed
	info fs.FileInfo
}

// Read reads a file. A link is followed: what it leads to is replaced later, and
// the link stays.
func Read(name string) (*Source, error) {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	// A pipe would keep whoever opens it until somebody writes.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info, err = in.Stat(); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, manifest.MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > manifest.MaxSize {
		return nil, fmt.Errorf("larger than %d MiB", manifest.MaxSize>>20)
	}
	return &Source{data, path, info}, nil
}

// Replace puts another text in the place of a file, all at once: whoever reads it
// finds the old one or the new one, and so does everybody after a crash. Mode and
// owner stay. It does not replace a file that somebody else changed since it was
// read, nor one that has several names, which would part.
func (s *Source) Replace(data []byte) (err error) {
	if n := links(s.info); n > 1 {
		return fmt.Errorf("it has %d names (hard links), which would part if one was replaced", n)
	}
	if err := s.unchanged(); err != nil {
		return err
	}
	return writeFile(s.path, data, s.info, s.unchanged)
}

func (s *Source) unchanged() error {
	now, err := os.Lstat(s.path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, s.info) || now.Size() != s.info.Size() || !now.ModTime().Equal(s.info.ModTime()) {
		return errors.New("somebody else changed it meanwhile; try again")
	}
	return nil
}

// WriteFile writes a file all at once. One that is there keeps its mode and owner,
// and a link to it stays.
func WriteFile(name string, data []byte) error {
	path, err := filepath.EvalSymlinks(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeFile(name, data, nil, nil)
	case err != nil:
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "write", Path: name, Err: errors.New("not a regular file")}
	}
	return writeFile(path, data, info, nil)
}

// writeFile writes beside the file and renames. like is the file that is there, or
// nil; last is asked right before it is replaced.
func writeFile(path string, data []byte, like fs.FileInfo, last func() error) (err error) {
	out, err := os.CreateTemp(filepath.Dir(path), ".tagwarden-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(out.Close()), os.Remove(out.Name()))
		}
	}()
	const modeOfNew = 0o644
	mode := fs.FileMode(modeOfNew)
	if like != nil {
		if err := keepOwner(out, like); err != nil {
			return fmt.Errorf("its owner cannot be kept: %w", err)
		}
		mode = like.Mode().Perm() | like.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		return err
	}
	// On the disk before the name is: a crash must not leave an empty file.
	if err := out.Sync(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if last != nil {
		if err := last(); err != nil {
			return err
		}
	}
	return os.Rename(out.Name(), path)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
