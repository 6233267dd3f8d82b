package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
	"github.com/tagwarden/tagwarden/lab/internal/progress"
)

// options are the flags that several commands share.
type options struct {
	state     string
	simulated bool
	noInstall bool
}

const modulePath = "github.com/tagwarden/tagwarden/lab"

// driver finds the lab's source and its state folder.
func (o *options) driver() (cluster.Driver, string, error) {
	source, err := findSource()
	if err != nil {
		return cluster.Driver{}, "", err
	}
	bin, err := binDir(source)
	if err != nil {
		return cluster.Driver{}, "", err
	}
	self, err := os.Executable()
	if err != nil {
		return cluster.Driver{}, "", err
	}
	state, err := o.stateDir(source)
	if err != nil {
		return cluster.Driver{}, "", err
	}
	return cluster.Driver{Source: source, Bin: bin, Self: self, Out: progress.New(os.Stderr)}, state, nil
}

// stateDir returns the folder for everything a lab writes: the one asked for,
// .lab in the repository, or one of the user where the repository may not be
// written.
func (o *options) stateDir(source string) (string, error) {
	if o.state != "" {
		return filepath.Abs(o.state)
	}
	repository := filepath.Dir(source)
	if writable(repository) {
		return filepath.Join(repository, ".lab"), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "tagwarden-lab"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "tagwarden-lab"), err
}

// writable reports whether files can be created in dir.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".lab-probe-*")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

// loaded is for commands that need a lab that is up.
func (o *options) loaded() (cluster.Driver, *cluster.State, error) {
	d, dir, err := o.driver()
	if err != nil {
		return d, nil, err
	}
	s, err := cluster.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil, fmt.Errorf("no lab in %s: start one with lab up", dir)
	}
	return d, s, err
}

// findSource looks for the lab's module upwards from the working folder, and
// in a lab folder beside each of those.
func findSource() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "lab")} {
			data, err := os.ReadFile(filepath.Join(candidate, "go.mod"))
			if err == nil && strings.HasPrefix(string(data), "module "+modulePath+"\n") {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("the source of the lab is not in %s or above: run it in a checkout", wd)
		}
	}
}

// binDir returns where compiled binaries are kept between labs: beside the
// source when that may be written, else in the user's cache.
func binDir(source string) (string, error) {
	bin := gobuild.Bin(source)
	if err := os.MkdirAll(bin, 0o755); err == nil && writable(bin) {
		return bin, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	bin = filepath.Join(cache, "tagwarden-lab")
	return bin, os.MkdirAll(bin, 0o755)
}
