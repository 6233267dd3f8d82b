package cluster

import (
	"context"
	_ "embed"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
)

// kwokVersion is the simulator of nodes that is used where no node can run.
const kwokVersion = "v0.8.0"

// stages is what kwok does with nodes and pods. Its own stages give containers
// no id and no image id, which real nodes always do.
//
//go:embed stages.yaml
var stages []byte

// simulatedPart installs kwok where it is missing and returns the part that
// plays the node.
func (d Driver) simulatedPart(ctx context.Context, s *State) (Part, error) {
	const file = "kwok-" + kwokVersion
	kwok := filepath.Join(gobuild.Bin(d.Source), file)
	if _, err := os.Stat(kwok); err != nil {
		kwok = filepath.Join(d.Bin, file)
	}
	if _, err := os.Stat(kwok); err != nil {
		d.Out.Step("installing kwok %s: once, some minutes", kwokVersion)
		if err := gobuild.Install(ctx, "sigs.k8s.io/kwok/cmd/kwok@"+kwokVersion, kwok); err != nil {
			return Part{}, err
		}
		d.Out.Step("installed kwok %s", kwokVersion)
	}
	config := s.path("conf", "kwok.yaml")
	if err := os.WriteFile(config, stages, 0o644); err != nil {
		return Part{}, err
	}
	return Part{
		Name: "kwok",
		Args: []string{
			kwok, "--kubeconfig=" + s.Kubeconfig(), "--config=" + config, "--manage-all-nodes=true",
			"--node-lease-duration-seconds=40", "--node-name=" + NodeName, "--node-ip=127.0.0.1", "--server-address=" + s.addr("kwok"),
		},
		Ready: Probe{"http", "http://" + s.addr("kwok") + "/healthz"},
	}, nil
}

// createSimulatedNode creates the node object that kwok takes care of. A real
// kubelet would register itself.
func (s *State) createSimulatedNode(ctx context.Context) error {
	client, err := s.Kube()
	if err != nil {
		return err
	}
	node := map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{
			"name":        NodeName,
			"labels":      map[string]string{"kubernetes.io/hostname": NodeName, "type": "kwok"},
			"annotations": map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		"status": map[string]any{"nodeInfo": map[string]string{"operatingSystem": "linux", "architecture": "amd64"}},
	}
	return client.Do(ctx, http.MethodPost, "/api/v1/nodes", "application/json", node, nil)
}
