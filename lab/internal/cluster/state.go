// Package cluster runs a whole Kubernetes cluster of one node on this
// machine: etcd, API server, controller manager, scheduler, containerd,
// kubelet and a registry, each a process of its own on loopback, all with
// their files in one folder.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

// A Mode says what runs the pods.
type Mode string

const (
	// Real is a kubelet with containerd: pods are processes.
	Real Mode = "real"
	// Simulated is kwok: it only writes the status that a node would write.
	Simulated Mode = "simulated"
)

// NodeName is the name of the one node.
const NodeName = "lab-node"

// State is everything that is known about one lab. It is stored in its
// folder, so that a later command, or one after a crash, can go on from it.
type State struct {
	Dir     string          `json:"-"`
	Mode    Mode            `json:"mode"`
	Name    string          `json:"name"` // of its control group, and of whatever else needs a name
	Up      bool            `json:"up"`   // every part was ready once
	Ports   map[string]int  `json:"ports"`
	Network sandbox.Network `json:"network"`
	Parts   []Part          `json:"parts"`
	// MadeDirs are the folders outside Dir that did not exist before.
	MadeDirs []string `json:"madeDirs,omitempty"`
	// Program is the binary inside all images.
	Program string `json:"program"`
}

// A Part is one process of the lab.
type Part struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	// Sandboxed parts run in the node's private mount namespace.
	Sandboxed bool  `json:"sandboxed,omitempty"`
	Ready     Probe `json:"ready"`
}

// maxDir is the longest path for a state folder: a socket in it has some more
// characters, and the system allows 107.
const maxDir = 70

func newState(ctx context.Context, dir string, mode Mode) (*State, error) {
	if len(dir) > maxDir {
		return nil, fmt.Errorf("state folder %s: %d characters, at most %d fit into the name of a socket", dir, len(dir), maxDir)
	}
	sum := sha256.Sum256([]byte(dir))
	id := hex.EncodeToString(sum[:3])
	s := &State{Dir: dir, Mode: mode, Name: "twlab-" + id}
	var err error
	if s.Ports, err = freePorts(ctx, "etcd", "etcd-peer", "apiserver", "controller-manager", "scheduler", "kubelet", "kubelet-health", "registry", "accounts", "pushes", "kwok"); err != nil {
		return nil, err
	}
	if mode == Real {
		s.Network, err = sandbox.NewNetwork("twlab"+id, dir)
	}
	return s, err
}

// Load returns the stored state of the lab in dir. The error is
// [fs.ErrNotExist] when there is none.
func Load(dir string) (*State, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	s := &State{Dir: dir}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

const stateFile = "state.json"

func (s *State) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	file := s.path(stateFile)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func (s *State) path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

func (s *State) pidFile(part string) string { return s.path("run", part+".pid") }

// LogFile returns where a part writes what it has to say.
func (s *State) LogFile(part string) string { return s.path("log", part+".log") }

func (s *State) cert(name string) string { return s.path("pki", name+".crt") }
func (s *State) key(name string) string  { return s.path("pki", name+".key") }

// Kubeconfig is the file for a user who may do everything.
func (s *State) Kubeconfig() string { return s.path("kubeconfig") }

// ContainerdSocket is the address of the node's container runtime.
func (s *State) ContainerdSocket() string { return s.path("containerd", "containerd.sock") }

// Registry is the address of the registry that plays all public ones.
func (s *State) Registry() string { return s.addr("registry") }

// Server is the address of the API server.
func (s *State) Server() string { return "https://" + s.addr("apiserver") }

func (s *State) addr(port string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Ports[port]))
}

// freePorts finds a free loopback port for each name. It looks below the
// range the system takes the ports of outgoing connections from: a port from
// there could be gone again before its part listens on it.
func freePorts(ctx context.Context, names ...string) (map[string]int, error) {
	const low, high, tries = 20000, 30000, 1000
	ports, taken := map[string]int{}, map[int]bool{}
	for range tries {
		if len(ports) == len(names) {
			return ports, nil
		}
		port := low + rand.IntN(high-low)
		if taken[port] {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		taken[port] = true
		ports[names[len(ports)]] = port
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

func (s *State) part(name string) (Part, error) {
	for _, p := range s.Parts {
		if p.Name == name {
			return p, nil
		}
	}
	return Part{}, fmt.Errorf("part %q: %w", name, fs.ErrNotExist)
}
