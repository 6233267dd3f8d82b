package engine

import (
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
)

// Rules of our own, as alerts name them: they need more than one event, so no
// Falco rule can say them.
var ownRules = map[finding.ID]string{
	finding.TW03: "Image Tag Moved",
	finding.TW04: "Image Digest Changed Without Deployment",
	finding.TW05: "Replicas of One Revision Run Different Bytes",
	finding.TW07: "Unexpected Image Push",
}

// UndecidedRule is the name of an alert that says that digests could not be
// compared: a change may have gone unnoticed.
const UndecidedRule = "Image Digests Could Not Be Compared"

// alertSource is what stands for an alert that no Falco rule made.
const alertSource = "tagwarden"

// priorityOf gives a severity the place among Falco's priorities.
func priorityOf(s finding.Severity) falco.Priority {
	switch s {
	case finding.Critical:
		return falco.Critical
	case finding.High:
		return falco.Error
	case finding.Medium:
		return falco.Warning
	case finding.Low:
		return falco.Notice
	}
	return falco.Informational
}

// alertOf writes a finding in the form of a Falco alert.
func alertOf(f *finding.Finding, s *event.Start, hostname string) falco.Alert {
	a := bare(s, f.Time, hostname)
	a.Rule, a.Priority = ownRules[f.ID], priorityOf(f.Severity)
	a.Tags = append([]string{"container", "image", "supply_chain"}, string(f.ID))
	if t, ok := f.ID.Technique(); ok {
		a.Tags = append(a.Tags, t.ID)
	}
	var b strings.Builder
	b.WriteString(f.Message)
	b.WriteString(" (finding=" + string(f.ID) + " form=" + f.Form + " from=" + f.Fact(drift.From) + " to=" + f.Fact(drift.To))
	b.WriteString(" image=" + f.Image + " k8s_ns=" + f.Subject.Namespace + " workload=" + f.Subject.Workload)
	b.WriteString(" revision=" + f.Subject.Revision + " k8s_pod=" + f.Subject.Pod + " container=" + f.Subject.Container + ")")
	a.Output = b.String()
	set := func(name, value string) {
		if value != "" {
			a.Fields[name] = value
		}
	}
	a.Fields["tagwarden.finding"] = string(f.ID)
	set("tagwarden.fingerprint", f.Fingerprint())
	set("tagwarden.severity", f.Severity.String())
	set("tagwarden.drift.form", f.Form)
	set("tagwarden.drift.from", f.Fact(drift.From))
	set("tagwarden.drift.to", f.Fact(drift.To))
	set("tagwarden.drift.reason", f.Fact(drift.Why))
	set("tagwarden.revision", f.Subject.Revision)
	set("tagwarden.drift.pods", f.Fact(drift.Pods))
	set("tagwarden.deployed", f.Fact(drift.Deployed))
	set("tagwarden.push.by", f.Fact(Pusher))
	set("tagwarden.push.time", f.Fact(Pushed))
	set("tagwarden.fix", f.Fix)
	set("k8s.pod.name", f.Subject.Pod)
	switch f.ID {
	case finding.TW04:
		a.Fields["tagwarden.drift"] = drift.Changed.String()
	case finding.TW03:
		a.Fields["tagwarden.drift"] = drift.Moved.String()
	}
	return a
}

// undecided says that the digests of a start could not be compared.
func undecided(v *drift.Verdict, s *event.Start, hostname string) falco.Alert {
	a := bare(s, s.Time, hostname)
	a.Rule, a.Priority, a.Tags = UndecidedRule, falco.Notice, []string{"container", "image", "supply_chain"}
	a.Output = "cannot tell whether container " + s.Container + " of " + s.Workload.String() + " in namespace " + s.Namespace +
		" still runs the bytes that were deployed: " + v.Doubt + " (image=" + s.Reference + " digest=" + s.Digest +
		" k8s_ns=" + s.Namespace + " k8s_pod=" + s.Pod + " container=" + s.Container + ")"
	a.Fields["tagwarden.drift"], a.Fields["tagwarden.drift.reason"] = v.State.String(), v.Doubt
	a.Fields["tagwarden.drift.to"] = s.Digest
	return a
}

// bare is an alert with what every alert about a start has.
func bare(s *event.Start, at time.Time, hostname string) falco.Alert {
	a := falco.Alert{Time: at, Source: alertSource, Hostname: firstOf(s.Node, hostname), Fields: map[string]any{}}
	set := func(name, value string) {
		if value != "" {
			a.Fields[name] = value
		}
	}
	set("k8s.ns.name", s.Namespace)
	set("k8s.pod.name", s.Pod)
	set("container.name", s.Container)
	set("container.id", s.ContainerID[:min(12, len(s.ContainerID))])
	set("tagwarden.cluster", s.Cluster)
	set("tagwarden.node", s.Node)
	set("tagwarden.reference", s.Reference)
	set("tagwarden.workload", s.Workload.String())
	set("tagwarden.revision", s.Revision)
	if ref, err := image.Parse(s.Reference); err == nil {
		set("container.image.repository", ref.Name())
		set("container.image.tag", ref.Tag())
	}
	return a
}
