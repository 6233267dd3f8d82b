// Package kubeconfig finds out which cluster is meant, and how to reach it.
package kubeconfig

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A Cluster is how to reach one, and what it is called.
type Cluster struct {
	*rest.Config
	// Name is the one in the kubeconfig; empty where nothing names it.
	Name string
}

// Load reads file, or where it is empty $KUBECONFIG, ~/.kube/config or the
// service account of the pod that we run in. context is one of the kubeconfig;
// empty means its current one. Nothing is asked of the cluster.
func Load(file, context string) (Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	cfg, err := loader.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return Cluster{}, errors.New("no cluster: give --kubeconfig, set KUBECONFIG, or run inside a cluster")
	case err != nil:
		return Cluster{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	cfg.UserAgent = "tagwarden"
	cfg.WarningHandler = rest.NoWarnings{}
	c := Cluster{Config: cfg}
	if raw, err := loader.RawConfig(); err == nil {
		if context == "" {
			context = raw.CurrentContext
		}
		if of := raw.Contexts[context]; of != nil {
			c.Name = of.Cluster
		}
	}
	return c, nil
}
