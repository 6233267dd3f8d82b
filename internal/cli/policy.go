package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

func newPolicy(env Env) *cobra.Command {
	return group("policy", "Check and explain tagwarden.yaml, the policy",
		newPolicyCheck(env), newPolicyExplain(env), newPolicySchema(env), newPolicyCRD(env))
}

func newPolicyCheck(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Say what is wrong with a policy, and which exceptions end",
		Long: `Check reads policy files strictly and prints everything that is wrong with
them, each thing with its line and column. Then it lists the exceptions that have
expired or will within two weeks (TW-10). Without a file it checks tagwarden.yaml
of the working directory.

An object TagwardenPolicy or TagwardenException, as kubectl apply takes it, is
checked as well.

Exit status 1 when a file is wrong, or when an exception ends whose severity is at
or above --fail-on.`,
		Example: `  tagwarden policy check
  tagwarden policy check prod.yaml dev.yaml -o json
  tagwarden policy check --fail-on none      # exceptions that end do not count`,
	}
	failOn := choiceFlag(cmd, "fail-on", "least severity of an exception that ends that makes the exit status 1", "low", "none", "medium")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			args = []string{policyFile}
		}
		report := checkReport{Schema: "tagwarden.policy-check/v1", Files: []checkedFile{}}
		bad := false
		for _, file := range args {
			c, err := checkPolicy(file, env.Now())
			if err != nil {
				return err
			}
			report.Files = append(report.Files, c)
			bad = bad || !c.Valid
			for _, f := range c.Findings {
				least, err := finding.ParseSeverity(*failOn)
				bad = bad || err == nil && f.Severity >= least
			}
		}
		var err error
		if *output == "json" {
			err = writeJSON(env.Stdout, report)
		} else {
			err = report.text(env.Stdout)
		}
		if err == nil && bad {
			err = &statusError{status: exitFindings}
		}
		return err
	}
	return cmd
}

// checkReport is "policy check -o json".
type checkReport struct {
	Schema string        `json:"schema"`
	Files  []checkedFile `json:"files"`
}

type checkedFile struct {
	File     string            `json:"file"`
	Valid    bool              `json:"valid"`
	Errors   []policyError     `json:"errors"`
	Findings []finding.Finding `json:"findings"`
}

type policyError struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

// checkPolicy reads one file. The error is that it cannot be read.
func checkPolicy(file string, now time.Time) (checkedFile, error) {
	c := checkedFile{File: file, Errors: []policyError{}, Findings: []finding.Finding{}}
	p, err := policy.LoadAny(file, now)
	if all, ok := errors.AsType[policy.Errors](err); ok {
		for _, e := range all {
			c.Errors = append(c.Errors, policyError{Line: e.Line, Column: e.Column, Path: e.Path, Message: e.Message})
		}
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.Valid = true
	c.Findings = append(c.Findings, p.Expiring(now)...)
	return c, nil
}

func (r *checkReport) text(w io.Writer) error {
	var b strings.Builder
	for _, c := range r.Files {
		for _, e := range c.Errors {
			of := policy.Error{File: c.File, Line: e.Line, Column: e.Column, Path: e.Path, Message: e.Message}
			b.WriteString(of.Error() + "\n")
		}
		for _, f := range c.Findings {
			fmt.Fprintf(&b, "%s:%d:%d: %s %s: %s; %s\n", c.File, f.Location.Line, f.Location.Column, f.ID, f.Severity, f.Message, f.Fix)
		}
		if c.Valid {
			fmt.Fprintf(&b, "%s: valid\n", c.File)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newPolicySchema(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of tagwarden.yaml",
		Long: `Schema prints the JSON schema (2020-12) of tagwarden.yaml, for editors and CI. It
knows every key and every word. What a schema cannot say, such as that an image
pattern is well-formed or how far ahead an exception may end, "policy check" says.`,
		Example: `  tagwarden policy schema > tagwarden.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			enc := json.NewEncoder(env.Stdout)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(policy.JSONSchema())
		},
	}
}

func newPolicyCRD(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "crd",
		Short: "Print the CustomResourceDefinitions of policy and exceptions",
		Long: `CRD prints the CustomResourceDefinitions of TagwardenPolicy, which holds the
policy of a cluster, and of TagwardenException, an exception for the namespace
that it is in. "tagwarden admission manifests" prints them together with
everything else.`,
		Example: `  tagwarden policy crd | kubectl apply --server-side -f -`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for i, crd := range policy.CRDs() {
				data, err := yaml.Marshal(crd)
				if err != nil {
					return fmt.Errorf("write CRD: %w", err)
				}
				if i > 0 {
					data = append([]byte("---\n"), data...)
				}
				if _, err := env.Stdout.Write(data); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// explainFlags are the flags of "policy explain".
type explainFlags struct {
	policy.Container
	labels string
}

func newPolicyExplain(env Env) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [FILE]",
		Short: "Say what the policy means for an image somewhere, and why",
		Long: `Explain prints what the policy decides, over the defaults: which namespaces are
production, what each finding does where, and which exceptions hold.

With --image it says what happens to that image, in a container of the given kind,
workload and namespace: allow, audit, warn or deny, and why.

Without a file it explains tagwarden.yaml of the working directory, or the default
policy where there is none.`,
		Example: `  tagwarden policy explain
  tagwarden policy explain --image nginx:latest --namespace production
  tagwarden policy explain prod.yaml --image ghcr.io/acme/api:1.4 -n shop \
    --namespace-labels environment=production --workload Deployment/api -o json`,
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Image, "image", "", "image `reference` to explain")
	flags.StringVarP(&f.Namespace, "namespace", "n", "", "`name` of the namespace")
	flags.StringVar(&f.labels, "namespace-labels", "", "labels of the namespace, as `KEY=VALUE,…`")
	flags.StringVar(&f.Workload, "workload", "", "top controller, as `KIND/NAME`: Deployment/api")
	kind := choiceFlag(cmd, "kind", "kind of the container", "container", "init", "sidecar", "ephemeral", "volume")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := policyFile
		if len(args) > 0 {
			name = args[0]
		}
		p, err := policy.LoadAny(name, env.Now())
		if len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
			name, p, err = "the default policy", policy.Default(), nil
		}
		if err != nil {
			return err
		}
		f.Kind = *kind
		if f.labels != "" {
			if f.NamespaceLabels, err = labels.ConvertSelectorToLabelsMap(f.labels); err != nil {
				return usage("--namespace-labels %s: want KEY=VALUE,…", f.labels)
			}
		}
		if !cmd.Flags().Changed("image") {
			for _, flag := range []string{"namespace", "namespace-labels", "workload", "kind"} {
				if cmd.Flags().Changed(flag) {
					return usage("--%s says where an image is: add --image", flag)
				}
			}
			return explainPolicy(env, name, p, *output)
		}
		return explainImage(env.Stdout, name, p.Judge(&f.Container, env.Now()), &f.Container, *output)
	}
	return cmd
}

// explainedImage is "policy explain --image -o json".
type explainedImage struct {
	Schema   string           `json:"schema"`
	Image    string           `json:"image"`
	Decision string           `json:"decision"`
	Scope    string           `json:"scope"`
	Class    string           `json:"class"`
	Findings []explainedFault `json:"findings"`
}

type explainedFault struct {
	ID      finding.ID `json:"id"`
	Effect  string     `json:"effect"`
	Message string     `json:"message"`
	Fix     string     `json:"fix"`
	Reason  string     `json:"reason"`
	// Exception is what the exception that accepts it covers.
	Exception string `json:"exception,omitempty"`
}

func explainImage(w io.Writer, name string, r policy.Ruling, c *policy.Container, output string) error {
	x := explainedImage{
		Schema: "tagwarden.policy-explain/v1", Image: c.Image, Decision: r.Decision(),
		Scope: r.Scope.String(), Class: r.Class.String(), Findings: []explainedFault{},
	}
	for _, j := range r.Findings {
		f := explainedFault{ID: j.ID, Effect: j.Effect.String(), Message: j.Message, Fix: j.Fix, Reason: j.Reason}
		if j.Exception != nil {
			f.Exception = j.Exception.String()
		}
		x.Findings = append(x.Findings, f)
	}
	if output == "json" {
		return writeJSON(w, x)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", x.Decision, printable(c.Image))
	fmt.Fprintf(&b, "  policy     %s\n  namespace  %s (%s)\n  class      %s\n", name, cmp.Or(c.Namespace, "not known"), x.Scope, x.Class)
	for _, f := range x.Findings {
		fmt.Fprintf(&b, "%s  %s\n  what       %s\n  why        %s\n  instead    %s\n", f.ID, f.Effect, f.Message, f.Reason, f.Fix)
		if f.Exception != "" {
			fmt.Fprintf(&b, "  exception  %s\n", f.Exception)
		}
	}
	if len(x.Findings) == 0 {
		b.WriteString("  nothing is wrong with it\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// explainedPolicy is "policy explain -o json".
type explainedPolicy struct {
	Schema               string                       `json:"schema"`
	Policy               string                       `json:"policy"`
	Production           []string                     `json:"production"`
	ProductionLabels     []string                     `json:"productionLabels"`
	Development          []string                     `json:"development"`
	DevelopmentLabels    []string                     `json:"developmentLabels"`
	Findings             map[string]map[string]string `json:"findings"`
	AllowedRegistries    []string                     `json:"allowedRegistries"`
	DebugImages          []string                     `json:"debugImages"`
	InfrastructureImages []string                     `json:"infrastructureImages"`
	EphemeralContainers  string                       `json:"ephemeralContainers"`
	Pin                  string                       `json:"pin"`
	Exceptions           []explainedException         `json:"exceptions"`
}

type explainedException struct {
	Covers  string `json:"covers"`
	Owner   string `json:"owner"`
	Ticket  string `json:"ticket"`
	Expires string `json:"expires"`
	Holds   bool   `json:"holds"`
}

func explainPolicy(env Env, name string, p *policy.Policy, output string) error {
	x := explainedPolicy{
		Schema: "tagwarden.policy/v1", Policy: name,
		Production: p.ProductionNamespaces(), ProductionLabels: p.ProductionLabels(),
		Development: p.DevelopmentNamespaces(), DevelopmentLabels: p.DevelopmentLabels(),
		Findings: map[string]map[string]string{}, AllowedRegistries: p.AllowedRegistries(),
		DebugImages: p.DebugImages(), InfrastructureImages: p.InfrastructureImages(),
		EphemeralContainers: "ignore", Pin: p.Admission().Pin.String(), Exceptions: []explainedException{},
	}
	if p.AlertEphemeral() {
		x.EphemeralContainers = "alert"
	}
	scopes := []policy.Scope{policy.Production, policy.Elsewhere, policy.Development}
	for _, id := range finding.IDs() {
		x.Findings[string(id)] = map[string]string{}
		for _, s := range scopes {
			x.Findings[string(id)][s.String()] = p.Effect(id, s).String()
		}
	}
	for _, e := range p.Exceptions() {
		x.Exceptions = append(x.Exceptions, explainedException{
			Covers: e.String(), Owner: e.Owner, Ticket: e.Ticket, Expires: e.Expires.Format(time.DateOnly), Holds: !e.Expired(env.Now()),
		})
	}
	if output == "json" {
		return writeJSON(env.Stdout, x)
	}
	return x.text(env.Stdout)
}

func (x *explainedPolicy) text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what string, of []string, none string) {
		fmt.Fprintf(tw, "%s\t%s\n", what, cmp.Or(strings.Join(of, ", "), none))
	}
	line("policy", []string{x.Policy}, "")
	line("production", x.Production, "none")
	line("  by label", x.ProductionLabels, "none")
	line("development", x.Development, "none")
	line("  by label", x.DevelopmentLabels, "none")
	line("registries", x.AllowedRegistries, "all are allowed")
	line("debug images", x.DebugImages, "none")
	line("infrastructure", x.InfrastructureImages, "none")
	line("ephemeral containers", []string{x.EphemeralContainers}, "")
	line("pinned at admission", []string{x.Pin}, "")
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(tw, "\nFINDING\tPRODUCTION\tELSEWHERE\tDEVELOPMENT\tTITLE")
	for _, id := range finding.IDs() {
		e := x.Findings[string(id)]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", id, e["production"], e["elsewhere"], e["development"], id.Title())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(x.Exceptions) > 0 {
		fmt.Fprintln(tw, "\nEXCEPTION\tOWNER\tTICKET\tUNTIL\tHOLDS")
	}
	for _, e := range x.Exceptions {
		holds := "yes"
		if !e.Holds {
			holds = "no, it has expired"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", e.Covers, e.Owner, e.Ticket, e.Expires, holds)
	}
	return tw.Flush()
}
