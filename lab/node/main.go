// Command node is every upstream part of the lab's cluster in one binary:
// etcd, the API server, the controller manager, the scheduler and the
// kubelet. They share most of their code, so one link of one binary costs a
// fraction of five. The part is named by argv[0] or by the first argument.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// parts maps the name of a part to its main function. A part reads os.Args
// as if it were alone in its binary.
var parts = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
}

func main() {
	maps.Copy(parts, kubeletPart)
	name := filepath.Base(os.Args[0])
	if _, ok := parts[name]; !ok && len(os.Args) > 1 {
		// "node kubelet --flag" becomes "kubelet --flag".
		name = os.Args[1]
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	run, ok := parts[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "usage: node PART [FLAG…]\nparts: %s\n", strings.Join(names(), ", "))
		os.Exit(2)
	}
	os.Exit(run())
}

// command turns a constructor of an upstream command into a main function.
// The command is made only when its part was asked for: making one registers
// flags and feature gates of its own.
func command(newCommand func() *cobra.Command) func() int {
	return func() int { return cli.Run(newCommand()) }
}

func names() []string { return slices.Sorted(maps.Keys(parts)) }
