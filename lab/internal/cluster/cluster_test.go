package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/progress"
	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

func testState() *State {
	return &State{
		Dir: "/s", Mode: Real, Name: "twlab-0a1b2c",
		Ports:   map[string]int{"etcd": 1, "etcd-peer": 2, "apiserver": 3, "kubelet": 4, "kubelet-health": 5, "registry": 6},
		Network: sandbox.Network{Bridge: "twlab0a1b2c", Subnet: netip.MustParsePrefix("10.213.7.0/24"), Gateway: netip.MustParseAddr("10.213.7.1")},
	}
}

func TestContainerdConfigKeepsToItsFolder(t *testing.T) {
	s := testState()
	got := s.containerdConfig("/usr/lib/cni", "/s/conf/cni", "overlayfs")
	for _, want := range []string{
		`root = "/s/containerd/root"`, `state = "/s/containerd/state"`, `address = "/s/containerd/containerd.sock"`,
		`config_path = "/s/conf/hosts"`, `restrict_oom_score_adj = true`, `netns_mounts_under_state_dir = true`,
		`snapshotter = "overlayfs"`, `bin_dir = "/usr/lib/cni"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestCNIConfigIsJSON(t *testing.T) {
	var conf struct {
		Name    string
		Plugins []struct {
			Bridge string
			IPMasq bool
			IPAM   struct {
				Ranges [][]struct{ Subnet, Gateway string }
			}
		}
	}
	text := testState().cniConfig()
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	p := conf.Plugins[0]
	if p.Bridge != "twlab0a1b2c" || p.IPAM.Ranges[0][0].Subnet != "10.213.7.0/24" || p.IPAM.Ranges[0][0].Gateway != "10.213.7.1" {
		t.Errorf("got %+v", conf)
	}
	if p.IPMasq {
		t.Error("masquerading would change the machine's iptables")
	}
}

func TestKubeletIsAGuest(t *testing.T) {
	got := testState().kubeletConfig()
	for _, want := range []string{
		"address: 10.213.7.1\n", "healthzPort: 5\n", "cgroupRoot: /twlab-0a1b2c\n", "makeIPTablesUtilChains: false\n",
		"enforceNodeAllocatable: []\n", "unix:///s/containerd/containerd.sock\n", `nodefs.available: "0%"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestControlPlaneListensOnLoopbackOnly(t *testing.T) {
	for _, part := range testState().controlPlane("/bin/node") {
		line := strings.Join(part.Args, " ")
		if !strings.Contains(line, "127.0.0.1") || strings.Contains(line, "0.0.0.0") {
			t.Errorf("%s: %s", part.Name, line)
		}
	}
}

func TestIsShim(t *testing.T) {
	shim := []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", "/s/containerd.sock"}
	tests := []struct {
		name string
		args []string
		want bool
	}{
		{"ours", shim, true},
		{"of another containerd", append(shim[:6:6], "/run/containerd/containerd.sock"), false},
		{"another program", append([]string{"/usr/bin/vi"}, shim[1:]...), false},
		{"cut off", shim[:6], false},
		{"kernel thread", []string{""}, false},
		{"none", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := isShim(tt.args, "/s/containerd.sock"); got != tt.want {
				t.Errorf("isShim(%q) = %t, want %t", tt.args, got, tt.want)
			}
		})
	}
}

func TestContainerID(t *testing.T) {
	const uid = "3caecfe8-d553-46ad-a59d-cffefea00dcb"
	id := strings.Repeat("9fb2", 16)
	tests := []struct{ name, cgroup, want string }{
		{"version 1", "9:name=systemd:/\n4:memory:/twlab-a/kubepods/besteffort/pod" + uid + "/" + id + "\n", id},
		{"version 2", "0::/twlab-a/kubepods/burstable/pod" + uid + "/" + id + "\n", id},
		{"group of its own below", "0::/twlab-a/kubepods/pod" + uid + "/" + id + "/init\n", id},
		{"another pod", "0::/twlab-a/kubepods/pod00000000-d553-46ad-a59d-cffefea00dcb/" + id + "\n", ""},
		{"the pod itself", "0::/twlab-a/kubepods/pod" + uid + "\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := containerID(tt.cgroup, uid); got != tt.want {
				t.Errorf("containerID(%q) = %q, want %q", tt.cgroup, got, tt.want)
			}
		})
	}
}

func TestStarted(t *testing.T) {
	tests := []struct {
		args []string
		want bool
	}{
		{[]string{"/program", "serve"}, true},
		{[]string{"/program", "pause"}, false},
		{[]string{"runc", "init"}, false},
		{[]string{"/proc/self/exe", "init"}, false},
		{nil, false},
	}
	for _, tt := range tests {
		if got := started(tt.args); got != tt.want {
			t.Errorf("started(%q) = %t, want %t", tt.args, got, tt.want)
		}
	}
}

// A mistyped --state must not cost anybody a folder.
func TestDownLeavesForeignFoldersAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(file, []byte("years"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := Driver{Out: progress.New(io.Discard)}
	if _, err := d.Down(t.Context(), dir); err == nil {
		t.Error("Down of a foreign folder succeeded")
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
	if found, err := d.Down(t.Context(), filepath.Join(dir, "none")); found || err != nil {
		t.Errorf("Down of no folder = %t, %v", found, err)
	}
}

func TestDownSurvivesATornState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{stateFile: `{"mode":`, "run/etcd.pid": `{"pid":`} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Driver{Out: progress.New(io.Discard)}.Down(t.Context(), dir)
	if !found || err != nil {
		t.Errorf("Down = %t, %v; want found", found, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestStateIsStoredWhole(t *testing.T) {
	s := testState()
	s.Dir = t.TempDir()
	s.Parts = s.controlPlane("/bin/node")
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Network != s.Network || got.Name != s.Name || len(got.Parts) != len(s.Parts) || got.Server() != s.Server() {
		t.Errorf("got %+v, want %+v", got, s)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(t.Context(), "a", "b", "c", "d")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for name, p := range ports {
		if seen[p] || p >= 32768 {
			t.Errorf("%s has port %d: taken twice, or one the system hands out itself", name, p)
		}
		seen[p] = true
	}
	if len(ports) != 4 {
		t.Errorf("%d ports, want 4", len(ports))
	}
}

func TestLongStateFolderIsRefused(t *testing.T) {
	if _, err := newState(t.Context(), "/"+strings.Repeat("x", maxDir), Simulated); err == nil {
		t.Error("a folder too long for sockets is accepted")
	}
}

func TestPoll(t *testing.T) {
	n := 0
	err := Poll(t.Context(), time.Microsecond, func(context.Context) error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("Poll = %v after %d calls, want nil after 3", err, n)
	}
	broken := errors.New("broken")
	if err := Poll(t.Context(), time.Hour, func(context.Context) error { return Final(broken) }); !errors.Is(err, broken) {
		t.Errorf("Poll = %v, want the final error at once", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	missing := errors.New("still missing")
	if err := Poll(ctx, time.Hour, func(context.Context) error { return missing }); !errors.Is(err, missing) || !errors.Is(err, context.Canceled) {
		t.Errorf("Poll = %v, want what was missing and why it ended", err)
	}
}
