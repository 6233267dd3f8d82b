package cli

import (
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/cluster"
	"github.com/tagwarden/tagwarden/internal/policy"
)

func newAdmissionManifests(env Env) *cobra.Command {
	in := cluster.Install{}
	var policyText string
	cmd := &cobra.Command{
		Use:   "manifests",
		Short: "Print all that the admission webhooks need in a cluster",
		Long: `Manifests prints what is to be applied: CustomResourceDefinitions, Namespace,
ServiceAccount, RBAC, Secret, ConfigMap, Service, PodDisruptionBudget, Deployment
and the webhook configurations, which come last.

It cannot lock a cluster out. The namespaces kube-system, kube-node-lease and the
server's own are never looked at, nor those with the label
tagwarden.dev/admission=ignore. While the server does not answer, everything is let
in (--fail-closed denies it), and the pods among it are found out afterwards.

The image must have a digest: this is the one program that should know better.`,
		Example: `  tagwarden admission manifests --image ghcr.io/acme/tagwarden@sha256:… > admission.yaml
  tagwarden admission manifests --image … --policy tagwarden.yaml | kubectl apply --server-side -f -
  tagwarden admission manifests --image … --tls cert-manager
  tagwarden admission manifests --url https://127.0.0.1:8443   # a server outside of the cluster`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVarP(&in.Namespace, "namespace", "n", cluster.Name, "`namespace` that the server runs in")
	flags.StringVar(&in.Image, "image", "", "`reference` of Tagwarden's image, with its digest")
	flags.Int32Var(&in.Replicas, "replicas", 2, "`number` of replicas")
	flags.StringVar(&policyText, "policy", "", "policy `file` to put into the ConfigMap")
	flags.BoolVar(&in.FailClosed, "fail-closed", false, "deny what is asked while the server does not answer (failurePolicy Fail)")
	flags.Int32Var(&in.TimeoutSeconds, "timeout", 5, "`seconds` that the API server waits for an answer")
	flags.StringVar(&in.URL, "url", "", "`address` of a server outside of the cluster; then no Deployment and no Service are printed")
	flags.StringArrayVar(&in.Exclude, "exclude-namespace", nil, "another `namespace` that is not looked at (may repeat)")
	flags.BoolVar(&in.PullSecrets, "pull-secrets", false, "log in to registries with the pods' own pull secrets (gives get on secrets)")
	flags.BoolVar(&in.PinTemplates, "pin-templates", false, "have the webhook asked about the templates of controllers, for a policy with admission.pin: templates (default: what --policy says)")
	output := outputFlag(cmd, "yaml", "json")
	source := choiceFlag(cmd, "tls", "who makes the certificate", "self-signed", "cert-manager")
	cmd.RunE = func(*cobra.Command, []string) error {
		in.CertManager = *source == "cert-manager"
		if in.URL == "" {
			switch ref, err := image.Parse(in.Image); {
			case in.Image == "":
				return usage("give --image, with a digest")
			case err != nil:
				return usage("--image: %w", err)
			case !ref.Pinned():
				return usage("--image %s has no digest; tagwarden image resolve %s prints it", in.Image, in.Image)
			}
		} else if u, err := url.Parse(in.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return usage("--url %s: want https://HOST:PORT", in.URL)
		}
		if in.TimeoutSeconds < 1 || in.TimeoutSeconds > 30 {
			return usage("--timeout %d: want 1 to 30 seconds", in.TimeoutSeconds)
		}
		if in.Replicas < 1 {
			return usage("--replicas %d: want 1 or more", in.Replicas)
		}
		if policyText != "" {
			p, err := policy.Load(policyText, env.Now())
			if err != nil {
				return err
			}
			in.PinTemplates = in.PinTemplates || p.Admission().Pin == policy.PinTemplates
			text, err := os.ReadFile(policyText)
			if err != nil {
				return fmt.Errorf("read policy: %w", err)
			}
			in.Policy = text
		}
		if *output == "json" {
			all, err := in.Objects()
			if err != nil {
				return err
			}
			return writeJSON(env.Stdout, map[string]any{"apiVersion": "v1", "kind": "List", "items": all})
		}
		out, err := in.YAML()
		if err != nil {
			return err
		}
		_, err = env.Stdout.Write(out)
		return err
	}
	return cmd
}
