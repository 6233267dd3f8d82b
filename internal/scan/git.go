package scan

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tagwarden/tagwarden/internal/manifest"
)

// git asks git, in a folder; "" is the working directory. The error is what git
// says itself.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	if folder != "" {
		args = append([]string{"-C", folder}, args...)
	}
	out, err := exec.CommandContext(ctx, "git", args...).Output() //nolint:gosec // Revisions are checked to be no options.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if said := strings.TrimSpace(string(exit.Stderr)); said != "" {
			err = errors.New(said)
		}
	}
	if err != nil {
		return "", fmt.Errorf("git: %w", err)
	}
	return string(out), nil
}

func checkRevision(rev string) error {
	if rev == "" || strings.HasPrefix(rev, "-") {
		return fmt.Errorf("%q is no revision", rev)
	}
	return nil
}

// ChangedSince asks git which files differ from a revision, those that it does
// not know yet included. The names are absolute.
func ChangedSince(ctx context.Context, rev string) (map[string]bool, error) {
	if err := checkRevision(rev); err != nil {
		return nil, err
	}
	top, err := git(ctx, "", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	top = strings.TrimRight(top, "\r\n")
	diff, err := git(ctx, top, "diff", "--name-only", "-z", "--diff-filter=d", rev, "--")
	if err != nil {
		return nil, err
	}
	untracked, err := git(ctx, top, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for name := range strings.SplitSeq(diff+untracked, "\x00") {
		if name != "" {
			all[filepath.Join(top, filepath.FromSlash(name))] = true
		}
	}
	return all, nil
}

// Dirty asks git which files below some paths have changes that are not
// committed, those that it does not know yet included.
func Dirty(ctx context.Context, paths []string) ([]string, error) {
	out, err := git(ctx, "", append([]string{"status", "--porcelain=v1", "-z", "--"}, paths...)...)
	if err != nil {
		return nil, err
	}
	var all []string
	entries := strings.Split(out, "\x00")
	for i := 0; i < len(entries); i++ {
		const state = 3 // "XY ", and then the name.
		if len(entries[i]) <= state {
			continue
		}
		all = append(all, entries[i][state:])
		if entries[i][0] == 'R' || entries[i][0] == 'C' {
			i++ // What it was called before.
		}
	}
	return all, nil
}

// Revision are the files of a revision in the git repository of the working
// directory, as far as references can be in them, below a folder or all of
// them. Nothing is checked out.
func Revision(ctx context.Context, rev, folder string) (iter.Seq[File], error) {
	if err := checkRevision(rev); err != nil {
		return nil, err
	}
	args := []string{"ls-tree", "-r", "-z", "--full-tree", rev, "--"}
	if folder != "" {
		args = append(args, folder)
	}
	list, err := git(ctx, "", args...)
	if err != nil {
		return nil, err
	}
	return func(yield func(File) bool) {
		blobs := &blobs{ctx: ctx}
		defer blobs.close()
		tree := &revisionTree{ctx: ctx, list: list}
		for entry := range strings.SplitSeq(list, "\x00") {
			// 100644 blob 83baae61804e65cc73a7201a7252750c76066a30<tab>name
			meta, name, ok := strings.Cut(entry, "\t")
			words := strings.Fields(meta)
			if !ok || len(words) != 3 || words[1] != "blob" || words[0] == linkMode || manifest.Detect(name) == "" || inSkipped(name) {
				continue
			}
			data, err := blobs.read(words[2])
			f := File{Name: name, Open: func() (io.ReadCloser, error) {
				if err != nil {
					return nil, err
				}
				return io.NopCloser(bytes.NewReader(data)), nil
			}, Tree: tree, Path: name}
			if !yield(f) {
				return
			}
		}
	}, nil
}

// linkMode is how a tree of git marks symbolic links.
const linkMode = "120000"

func inSkipped(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if skipped[path.Base(dir)] {
			return true
		}
	}
	return false
}

// blobs reads objects by one "git cat-file --batch".
type blobs struct {
	ctx context.Context //nolint:containedctx // It lives as long as one scan.
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err error
}

func (b *blobs) start() error {
	b.cmd = exec.CommandContext(b.ctx, "git", "cat-file", "--batch")
	in, err := b.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	b.in, b.out = in, bufio.NewReader(out)
	return b.cmd.Start()
}

// read returns the content of an object, and one byte more than is looked at of
// a larger one.
func (b *blobs) read(object string) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	data, err := b.ask(object)
	if err != nil {
		b.err = fmt.Errorf("git cat-file: %w", err)
	}
	return data, b.err
}

func (b *blobs) ask(object string) ([]byte, error) {
	if b.cmd == nil {
		if err := b.start(); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(b.in, object+"\n"); err != nil {
		return nil, err
	}
	head, err := b.out.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(head)
	if len(words) != 3 || words[1] != "blob" {
		return nil, fmt.Errorf("%s: %s", object, strings.TrimSpace(head))
	}
	size, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("%s: %s", object, strings.TrimSpace(head))
	}
	data := make([]byte, min(size, manifest.MaxSize+1))
	if _, err := io.ReadFull(b.out, data); err != nil {
		return nil, err
	}
	_, err = io.CopyN(io.Discard, b.out, size-int64(len(data))+1) // And the line end.
	return data, err
}

func (b *blobs) close() {
	if b.cmd == nil {
		return
	}
	_ = b.in.Close()
	_ = b.cmd.Wait() // What it said was read, or nobody wants it.
}
