package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"

	"github.com/tagwarden/tagwarden/lab/internal/pki"
)

// clusterIPs is the range of service addresses. Nothing routes to them: there
// is no kube-proxy.
const clusterIPs = "10.96.0.0/24"

// controlPlane returns the parts that make a cluster without nodes.
func (s *State) controlPlane(node string) []Part {
	etcd := "https://" + s.addr("etcd")
	peer := "https://" + s.addr("etcd-peer")
	return []Part{
		{
			Name: "etcd",
			Args: []string{
				node, "etcd", "--name=lab", "--data-dir=" + s.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
				"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
				"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=lab=" + peer,
				"--cert-file=" + s.cert("etcd"), "--key-file=" + s.key("etcd"),
				"--client-cert-auth", "--trusted-ca-file=" + s.cert("ca"),
				"--peer-cert-file=" + s.cert("etcd"), "--peer-key-file=" + s.key("etcd"),
				"--peer-client-cert-auth", "--peer-trusted-ca-file=" + s.cert("ca"),
			},
			Ready: Probe{"http", etcd + "/health"},
		},
		{
			Name: "apiserver",
			Args: []string{
				node, "kube-apiserver",
				"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + s.port("apiserver"),
				// A loopback address may not be advertised, so nothing is.
				"--endpoint-reconciler-type=none",
				"--etcd-servers=" + etcd, "--etcd-cafile=" + s.cert("ca"),
				"--etcd-certfile=" + s.cert("admin"), "--etcd-keyfile=" + s.key("admin"),
				"--tls-cert-file=" + s.cert("apiserver"), "--tls-private-key-file=" + s.key("apiserver"),
				"--client-ca-file=" + s.cert("ca"), "--anonymous-auth=false",
				"--kubelet-certificate-authority=" + s.cert("ca"),
				"--kubelet-client-certificate=" + s.cert("admin"), "--kubelet-client-key=" + s.key("admin"),
				"--kubelet-preferred-address-types=InternalIP",
				"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=" + clusterIPs,
				"--service-account-key-file=" + s.path("pki", "sa.pub"), "--service-account-signing-key-file=" + s.key("sa"),
				"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
				"--allow-privileged=true", "--profiling=false",
			},
			Ready: Probe{"http", s.Server() + "/readyz"},
		},
		{
			Name: "controller-manager",
			Args: append([]string{
				node, "kube-controller-manager", "--use-service-account-credentials=true",
				"--service-account-private-key-file=" + s.key("sa"), "--root-ca-file=" + s.cert("ca"),
				"--cluster-signing-cert-file=" + s.cert("ca"), "--cluster-signing-key-file=" + s.key("ca"),
				// A new node is tainted until this monitor has looked at it.
				"--node-monitor-period=500ms",
				// Each controller first asks for a token of its own.
				"--kube-api-qps=500", "--kube-api-burst=1000",
			}, s.controllerFlags("controller-manager")...),
			Ready: Probe{"http", "https://" + s.addr("controller-manager") + "/healthz"},
		},
		{
			Name:  "scheduler",
			Args:  append([]string{node, "kube-scheduler"}, s.controllerFlags("scheduler")...),
			Ready: Probe{"http", "https://" + s.addr("scheduler") + "/healthz"},
		},
	}
}

// controllerFlags are what the controller manager and the scheduler share.
func (s *State) controllerFlags(name string) []string {
	config := s.path("conf", name+".kubeconfig")
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--secure-port=" + s.port(name), "--leader-elect=false", "--profiling=false",
		"--tls-cert-file=" + s.cert(name), "--tls-private-key-file=" + s.key(name),
	}
}

func (s *State) port(name string) string { return strconv.Itoa(s.Ports[name]) }

// writeIdentities issues all certificates and writes the kubeconfig files
// that use them.
func (s *State) writeIdentities() error {
	ca, err := pki.New(s.path("pki"))
	if err != nil {
		return err
	}
	local := []string{"127.0.0.1", "localhost"}
	nodeHosts := append([]string{NodeName}, local...)
	if s.Network.Gateway.IsValid() {
		nodeHosts = append(nodeHosts, s.Network.Gateway.String())
	}
	serviceNames := []string{"10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	for name, subject := range map[string]pki.Subject{
		"admin":              {CommonName: "lab-admin", Organization: "system:masters"},
		"etcd":               {CommonName: "etcd", Hosts: local},
		"apiserver":          {CommonName: "kube-apiserver", Hosts: append(serviceNames, local...)},
		"controller-manager": {CommonName: "system:kube-controller-manager", Hosts: local},
		"scheduler":          {CommonName: "system:kube-scheduler", Hosts: local},
		"kubelet":            {CommonName: "system:node:" + NodeName, Organization: "system:nodes", Hosts: nodeHosts},
	} {
		if err := ca.Issue(name, subject); err != nil {
			return err
		}
	}
	for name, file := range map[string]string{
		"admin":              s.Kubeconfig(),
		"controller-manager": s.path("conf", "controller-manager.kubeconfig"),
		"scheduler":          s.path("conf", "scheduler.kubeconfig"),
		"kubelet":            s.path("conf", "kubelet.kubeconfig"),
	} {
		if err := s.writeKubeconfig(name, file); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) writeKubeconfig(identity, file string) error {
	var data [3]string
	for i, f := range []string{s.cert("ca"), s.cert(identity), s.key(identity)} {
		pem, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		data[i] = base64.StdEncoding.EncodeToString(pem)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: lab
contexts:
- name: lab
  context: {cluster: lab, user: %[1]s}
clusters:
- name: lab
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, identity, s.Server(), data[0], data[1], data[2])
	return os.WriteFile(file, []byte(text), 0o600)
}
