package pin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/lockfile"
)

// A Forge asks git what the revisions of actions stand for.
type Forge struct {
	// Mirror is a folder with repositories as OWNER/REPOSITORY or
	// OWNER/REPOSITORY.git; "" asks Server.
	Mirror string
	// Server is where the repositories are: https://github.com.
	Server string
	// slots bounds how many are asked at a time.
	slots chan struct{}
}

// NewForge makes a Forge.
func NewForge(mirror, server string) *Forge {
	const atOnce = 4
	return &Forge{Mirror: mirror, Server: strings.TrimSuffix(server, "/"), slots: make(chan struct{}, atOnce)}
}

// Commit finds the commit of a tag, or else of a branch.
func (f *Forge) Commit(ctx context.Context, repository, revision string) (Answer, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	where, from, err := f.where(repository)
	if err != nil {
		return Answer{}, err
	}
	tag, branch := "refs/tags/"+revision, "refs/heads/"+revision
	refs, err := lsRemote(ctx, where, tag, tag+"^{}", branch)
	if err != nil {
		return Answer{}, fmt.Errorf("%s@%s: %w", repository, revision, err)
	}
	// A tag with a text of its own is an object; what it names is behind ^{}.
	for _, name := range []string{tag + "^{}", tag, branch} {
		if id := refs[name]; commit.MatchString(id) {
			return Answer{Digest: git + id, Platforms: lockfile.Commit, From: from}, nil
		}
	}
	return Answer{}, fmt.Errorf("%s has no tag and no branch %s", repository, revision)
}

// where is the address of a repository, and what a lock file says of it.
func (f *Forge) where(repository string) (address, from string, err error) {
	if f.Mirror == "" {
		host := strings.TrimPrefix(strings.TrimPrefix(f.Server, "https://"), "http://")
		return f.Server + "/" + repository, "git:" + host, nil
	}
	folder := filepath.Join(f.Mirror, filepath.FromSlash(repository))
	for _, name := range []string{folder, folder + ".git"} {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return name, "git:mirror", nil
		}
	}
	return "", "", fmt.Errorf("%s is not in the mirror %s", repository, f.Mirror)
}

// lsRemote asks a repository for some of its refs. Nobody is asked for a password.
func lsRemote(ctx context.Context, where string, refs ...string) (map[string]string, error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	//nolint:gosec // The address is a folder or a server of the caller, with a checked name.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "credential.interactive=false", "ls-remote", "--", where}, refs...)...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "SSH_ASKPASS=true", "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			first, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
			if first != "" {
				return nil, fmt.Errorf("git: %.200q", first)
			}
		}
		return nil, fmt.Errorf("git: %w", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			found[name] = id
		}
	}
	return found, nil
}
