package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tagwarden/tagwarden/lab/internal/images"
)

// nodeParts returns the parts that run pods. driver is the lab's own binary,
// node the one with the Kubernetes parts.
func (s *State) nodeParts(driver, node string) []Part {
	ready := s.path("run", "sandbox.ready")
	return []Part{
		{
			Name:  "sandbox",
			Args:  []string{driver, "_hold", s.path("private"), ready},
			Ready: Probe{"file", ready},
		},
		{
			Name:      "containerd",
			Args:      []string{"containerd", "--config", s.path("conf", "containerd.toml")},
			Sandboxed: true,
			Ready:     Probe{"unix", s.ContainerdSocket()},
		},
		{
			Name: "kubelet",
			Args: []string{
				node, "kubelet", "--kubeconfig=" + s.path("conf", "kubelet.kubeconfig"), "--config=" + s.path("conf", "kubelet.yaml"),
				"--root-dir=" + s.path("kubelet"), "--cert-dir=" + s.path("kubelet", "pki"),
				"--hostname-override=" + NodeName, "--node-ip=" + s.Network.Gateway.String(),
			},
			Sandboxed: true,
			Ready:     Probe{"http", "http://" + s.addr("kubelet-health") + "/healthz"},
		},
	}
}

// writeNodeConfig writes what containerd, the CNI plugins and the kubelet
// read.
func (s *State) writeNodeConfig() error {
	cniBin, err := findCNI()
	if err != nil {
		return err
	}
	cniConf := s.path("conf", "cni")
	if err := os.MkdirAll(cniConf, 0o755); err != nil {
		return err
	}
	for file, text := range map[string]string{
		s.path("conf", "containerd.toml"):         s.containerdConfig(cniBin, cniConf, snapshotter(s.Dir)),
		filepath.Join(cniConf, "10-lab.conflist"): s.cniConfig(),
		s.path("conf", "kubelet.yaml"):            s.kubeletConfig(),
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := s.writeAccounts(); err != nil {
		return err
	}
	return images.WriteHosts(s.path("conf", "hosts"), s.Registry())
}

func (s *State) containerdConfig(cniBin, cniConf, snapshotter string) string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
# /opt/containerd is outside the lab's folder, the others need what it lacks.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = %q

[debug]
  level = "info"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # A machine without CAP_SYS_RESOURCE may not lower a score; runc would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, s.path("containerd", "root"), s.path("containerd", "state"), s.ContainerdSocket(), images.Pause,
		s.path("conf", "hosts"), snapshotter, cniBin, cniConf)
}

func (s *State) cniConfig() string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": %q,
  "plugins": [{
    "type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": false, "hairpinMode": true,
    "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q, "gateway": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`, s.Name, s.Network.Bridge, s.path("cni"), s.Network.Subnet, s.Network.Gateway)
}

// kubeletConfig is for a node that is small, quick, and a guest: it changes
// no setting of the machine, reserves nothing and evicts nothing.
func (s *State) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
port: %[2]d
healthzBindAddress: 127.0.0.1
healthzPort: %[3]d
tlsCertFile: %[4]q
tlsPrivateKeyFile: %[5]q
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[6]q}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://%[7]s
cgroupDriver: cgroupfs
cgroupRoot: /%[8]s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
volumePluginDir: %[9]q
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
maxPods: 100
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
nodeStatusUpdateFrequency: 4s
`, s.Network.Gateway, s.Ports["kubelet"], s.Ports["kubelet-health"], s.cert("kubelet"), s.key("kubelet"), s.cert("ca"),
		s.ContainerdSocket(), s.Name, s.path("kubelet", "plugins"))
}

// cniDirs are where distributions put the CNI plugins.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

func findCNI() (string, error) {
	for _, dir := range cniDirs {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("CNI plugins: not in %v", cniDirs)
}

// A nodeTool is a program that a real node needs and the Debian package that
// has it.
type nodeTool struct{ program, pkg string }

var nodeTools = []nodeTool{{"containerd", "containerd"}, {"runc", "runc"}, {"ip", "iproute2"}, {"mount", "mount"}}

// OptionalPackages returns the Debian packages without which some scenarios
// cannot be played.
func OptionalPackages() []string {
	if _, err := exec.LookPath(registryProgram); err != nil {
		return []string{registryProgram}
	}
	return nil
}

// MissingTools returns what a real node lacks on this machine: the names for
// a person, and the Debian packages.
func MissingTools() (names, packages []string) {
	for _, t := range nodeTools {
		if _, err := exec.LookPath(t.program); err != nil {
			names, packages = append(names, t.program), append(packages, t.pkg)
		}
	}
	if _, err := findCNI(); err != nil {
		names, packages = append(names, "CNI plugins"), append(packages, "containernetworking-plugins")
	}
	return names, packages
}
