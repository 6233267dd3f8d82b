package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
)

// apiVersion is the version of the format that this package reads.
const apiVersion = "tagwarden.dev/v1"

// The kinds of the objects that hold a policy, or an exception, in a cluster.
const (
	KindPolicy    = "TagwardenPolicy"
	KindException = "TagwardenException"
)

// Parse reads a policy file; name stands for it in errors, and now is the time
// from which the life of exceptions is counted. What a key does not mention
// keeps its default; a list takes the place of the default list. An empty file
// is the default policy. The object TagwardenPolicy of a cluster, whose spec is
// a policy, is read as well.
//
// The error is of type [Errors] and holds all that is wrong with the file, or
// the first hundred things. An exception that has expired is not wrong, it only
// covers nothing: see [Policy.Expiring].
func Parse(name string, data []byte, now time.Time) (*Policy, error) {
	r := &reader{file: name, now: now}
	p := Default()
	if root := r.document(data); root != nil {
		if child(root, "kind") == nil {
			r.policy(root, "", p)
		} else {
			r.object(root, KindPolicy, func(n *yaml.Node, path string) { r.policy(n, path, p) })
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// ParseException reads an object TagwardenException, as YAML or JSON, under the
// limits of p. It covers the namespace of the object alone. The error is of
// type [Errors].
func (p *Policy) ParseException(name string, data []byte, now time.Time) (*Exception, error) {
	r := &reader{file: name, now: now, maxDays: p.maxDays}
	var e *Exception
	if root := r.document(data); root != nil {
		r.object(root, KindException, func(n *yaml.Node, path string) { e = r.exception(n, path, false) })
		meta := child(root, "metadata")
		namespace := child(meta, "namespace")
		switch {
		case e == nil:
		case namespace == nil:
			r.fail(root, "metadata.namespace", "missing: the exception covers the namespace that it is in")
		case strings.ContainsAny(namespace.Value, "*?"):
			r.fail(namespace, "metadata.namespace", "%s is no name of a namespace", quote(namespace.Value))
		default:
			if n := child(meta, "name"); n != nil {
				e.Object = namespace.Value + "/" + n.Value
			}
			e.namespace, _ = convert(r, namespace, "metadata.namespace", namespaceGlob)
			e.complete()
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	if e == nil {
		return nil, Errors{{File: name, Line: 1, Column: 1, Message: "there is no exception in it"}}
	}
	return e, nil
}

// WithExceptions returns p with more exceptions behind its own.
func (p *Policy) WithExceptions(more []*Exception) *Policy {
	q := *p
	q.exceptions = slices.Concat(p.exceptions, more)
	return &q
}

// object reads an object of a cluster, as far as it is ours.
func (r *reader) object(n *yaml.Node, kind string, spec func(*yaml.Node, string)) {
	skip := func(*yaml.Node, string) {}
	has := r.mapping(n, "",
		field{"apiVersion", func(n *yaml.Node, path string) { r.constant(n, path, "version", apiVersion) }},
		field{"kind", func(n *yaml.Node, path string) { r.constant(n, path, "kind", kind) }},
		field{"metadata", skip},
		field{"spec", spec},
		field{"status", skip},
	)
	if has != nil && has["spec"] == nil {
		r.fail(n, "spec", "missing")
	}
}

func (r *reader) policy(n *yaml.Node, path string, p *Policy) {
	// Exceptions are judged by it wherever it stands.
	if days := child(n, "maxExceptionDays"); days != nil {
		p.maxDays = r.days(days, join(path, "maxExceptionDays"))
	}
	r.maxDays = p.maxDays
	r.mapping(n, path,
		field{"apiVersion", func(n *yaml.Node, path string) { r.constant(n, path, "version", apiVersion) }},
		field{"namespaces", func(n *yaml.Node, path string) {
			r.mapping(n, path,
				field{"production", func(n *yaml.Node, path string) {
					p.production, p.productionSet = r.globs(n, path, namespaceGlob), true
				}},
				field{"productionLabels", func(n *yaml.Node, path string) {
					p.productionLabels = list(r, n, path, newLabelSelector)
				}},
				field{"development", func(n *yaml.Node, path string) {
					p.development = r.globs(n, path, namespaceGlob)
				}},
				field{"developmentLabels", func(n *yaml.Node, path string) {
					p.developmentLabels = list(r, n, path, newLabelSelector)
				}},
			)
		}},
		field{"findings", func(n *yaml.Node, path string) { r.findings(n, path, p) }},
		field{"classes", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.classes = append(p.classes, r.class(n, path))
			})
		}},
		field{"allowedRegistries", func(n *yaml.Node, path string) {
			p.allowed = r.globs(n, path, narrow(registryGlob))
			p.allowedText = strings.Join(p.allowed.patterns(), ", ")
		}},
		field{"debugImages", func(n *yaml.Node, path string) {
			p.debugImages, p.debugImagesSet = map[string]struct{}{}, true
			r.sequence(n, path, func(n *yaml.Node, path string) {
				if ref, ok := convert(r, n, path, debugImage); ok {
					p.addDebugImage(ref)
				}
			})
		}},
		field{"infrastructureImages", func(n *yaml.Node, path string) {
			p.infrastructure = r.globs(n, path, narrow(imageGlob))
		}},
		field{"ephemeralContainers", func(n *yaml.Node, path string) {
			s, _ := r.choice(n, path, ephemeralWords...)
			p.alertEphemeral = s == "alert"
		}},
		field{"signers", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.signers = append(p.signers, r.signer(n, path))
			})
		}},
		field{"admission", func(n *yaml.Node, path string) { r.admission(n, path, &p.admission) }},
		field{"maxExceptionDays", func(*yaml.Node, string) {}},
		field{"exceptions", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.exceptions = append(p.exceptions, r.exception(n, path, true))
			})
		}},
		field{"knownPushers", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.knownPushers = append(p.knownPushers, r.pushers(n, path))
			})
		}},
	)
}

// child returns the value of a key of n, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// ephemeralWords are the values of ephemeralContainers.
var ephemeralWords = []string{"ignore", "alert"}

func (r *reader) constant(n *yaml.Node, path, what, want string) {
	if s, ok := r.text(n, path); ok && s != want {
		r.fail(n, path, "unknown %s %s, write %s", what, quote(s), want)
	}
}

const (
	// maxDays is how many days ahead an exception may end where the policy does
	// not say so: a year, of any length.
	maxDays = 366
	// mostDays is the most that a policy may say.
	mostDays = 3660
)

// days reads how many days ahead exceptions may end.
func (r *reader) days(n *yaml.Node, path string) int {
	days, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || days < 1 || days > mostDays {
		r.fail(n, path, "found %s, expected a number of days from 1 to %d", describe(n), mostDays)
		return mostDays // So that no exception is wrong because of it.
	}
	return days
}

// findings reads what each finding does where.
func (r *reader) findings(n *yaml.Node, path string, p *Policy) {
	var fields []field
	for _, id := range finding.IDs() {
		fields = append(fields, field{string(id), func(n *yaml.Node, path string) {
			effects := p.rules[id].effects
			one := func(s Scope) field {
				return field{s.String(), func(n *yaml.Node, path string) { effects[s] = r.effect(n, path, id) }}
			}
			r.mapping(n, path, one(Production), one(Elsewhere), one(Development))
			p.rules[id] = newRule(id, effects)
		}})
	}
	r.mapping(n, path, fields...)
}

// effect reads what a finding does.
func (r *reader) effect(n *yaml.Node, path string, id finding.ID) Effect {
	s, ok := r.choice(n, path, effectNames...)
	if !ok {
		return Off
	}
	e := Effect(slices.Index(effectNames, s))
	if e > Audit && !Admitted(id) {
		why := "is found out when a container runs or later, so nothing can be denied"
		switch id {
		case finding.TW06:
			why = "is not looked for when an image is asked for, because signatures are not verified there yet"
		case finding.TW10:
			why = "is about the policy itself"
		case finding.TW11:
			why = "is found in files alone"
		}
		r.fail(n, path, "%s %s: write audit or off", id, why)
	}
	return e
}

// class reads one rule about classes.
func (r *reader) class(n *yaml.Node, path string) classRule {
	var c classRule
	has := r.mapping(n, path,
		field{"image", func(n *yaml.Node, path string) { c.image, _ = convert(r, n, path, imageGlob) }},
		field{"tag", func(n *yaml.Node, path string) { c.tag, _ = convert(r, n, path, tagGlob) }},
		field{"class", func(n *yaml.Node, path string) {
			s, _ := r.choice(n, path, classWords...)
			c.class = image.Floating
			if s == "fixed" {
				c.class = image.Fixed
			}
		}},
	)
	if has == nil {
		return c
	}
	for _, required := range []struct{ key, hint string }{
		{"image", "write which images, e.g. image: ghcr.io/acme/**"},
		{"tag", "write which tags, e.g. tag: release-*"},
		{"class", "write class: fixed or class: floating"},
	} {
		if has[required.key] == nil {
			r.fail(n, join(path, required.key), "missing, %s", required.hint)
		}
	}
	c.why = fmt.Sprintf("the policy says that tags %s of %s are %s", c.tag.pattern, c.image.pattern, c.class)
	return c
}

// classWords are the values of classes[].class.
var classWords = []string{"fixed", "floating"}

// globs reads a list of patterns.
func (r *reader) globs(n *yaml.Node, path string, compile func(string) (glob, error)) globs {
	return list(r, n, path, compile)
}

// list reads a list of texts and makes a value of each.
func list[T any](r *reader, n *yaml.Node, path string, of func(string) (T, error)) []T {
	var all []T
	r.sequence(n, path, func(n *yaml.Node, path string) {
		if v, ok := convert(r, n, path, of); ok {
			all = append(all, v)
		}
	})
	return all
}

// exception reads one exception. What it returns is only good if no error was
// found. One that is an object of a namespace covers that namespace alone, and
// so has no key for it.
func (r *reader) exception(n *yaml.Node, path string, anywhere bool) *Exception {
	e := &Exception{File: r.file, Line: n.Line, Column: n.Column}
	scope := func(to *glob, compile func(string) (glob, error)) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			*to, _ = convert(r, n, path, narrow(compile))
		}
	}
	text := func(to *string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) { *to, _ = r.text(n, path) }
	}
	fields := []field{
		{"finding", func(n *yaml.Node, path string) { e.Finding = r.finding(n, path) }},
		{"rule", text(&e.Rule)},
	}
	if anywhere {
		fields = append(fields, field{"namespace", scope(&e.namespace, namespaceGlob)})
	}
	has := r.mapping(n, path, append(fields,
		field{"workload", scope(&e.workload, workloadGlob)},
		field{"image", scope(&e.image, imageGlob)},
		field{"containerKind", func(n *yaml.Node, path string) {
			e.containerKind, _ = r.choice(n, path, containerKinds...)
		}},
		field{"owner", text(&e.Owner)},
		field{"ticket", func(n *yaml.Node, path string) { e.Ticket = r.ticket(n, path) }},
		field{"reason", text(&e.Reason)},
		field{"expires", func(n *yaml.Node, path string) { e.Expires = r.expiry(n, path) }},
	)...)
	if has == nil {
		return e
	}
	switch {
	case has["finding"] != nil && has["rule"] != nil:
		r.fail(has["rule"], join(path, "rule"), "finding is given, too, keep one of them")
	case has["finding"] == nil && has["rule"] == nil:
		r.fail(n, join(path, "finding"), "missing, write e.g. finding: F-01, or rule: and the name of a Falco rule")
	}
	if anywhere && has["namespace"] == nil && has["workload"] == nil && has["image"] == nil && has["containerKind"] == nil {
		r.fail(n, path, "the exception would cover everything, add namespace, workload, image or containerKind")
	}
	for _, required := range []struct{ key, hint string }{
		{"owner", "write who answers for the exception, e.g. owner: team-payments"},
		{"ticket", "write where the way out is tracked, e.g. ticket: PAY-123"},
		{"reason", "write why the finding is accepted, e.g. reason: the vendor publishes no versions"},
		{"expires", "write the last day of the exception, e.g. expires: " + r.exampleDate()},
	} {
		if has[required.key] == nil {
			r.fail(n, join(path, required.key), "missing, %s", required.hint)
		}
	}
	e.complete()
	return e
}

func (r *reader) finding(n *yaml.Node, path string) finding.ID {
	s, ok := r.text(n, path)
	if !ok {
		return ""
	}
	id, err := finding.ParseID(s)
	if err != nil {
		var ids []string
		for _, id := range finding.IDs() {
			ids = append(ids, string(id))
		}
		r.fail(n, path, "%v%s", err, instead(s, ids))
		return ""
	}
	if id == finding.TW10 {
		r.fail(n, path, "%s tells of exceptions that end, so none can cover it", id)
	}
	return id
}

// ticket reads the key of an issue or its address.
func (r *reader) ticket(n *yaml.Node, path string) string {
	s, ok := r.text(n, path)
	if !ok {
		return ""
	}
	if strings.Contains(s, " ") {
		r.fail(n, path, "%s is not one ticket, write e.g. PAY-123 or its address", quote(s))
	} else if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			r.fail(n, path, "%s is not an address, write e.g. https://issues.example.com/PAY-123", quote(s))
		}
	}
	return s
}

// expiry reads a day, and returns its first moment in UTC.
func (r *reader) expiry(n *yaml.Node, path string) time.Time {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!timestamp" && n.ShortTag() != "!!str" {
		r.fail(n, path, "found %s, expected a day, write e.g. %s", describe(n), r.exampleDate())
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, n.Value)
	if err != nil {
		r.fail(n, path, "%s is not a day, write e.g. %s", quote(n.Value), r.exampleDate())
		return time.Time{}
	}
	last, most := r.now.UTC().AddDate(1, 0, 0).Truncate(24*time.Hour), "a year"
	if r.maxDays != maxDays {
		last, most = r.now.UTC().AddDate(0, 0, r.maxDays).Truncate(24*time.Hour), strconv.Itoa(r.maxDays)+" days"
	}
	if day.After(last) {
		r.fail(n, path, "an exception lasts %s at most, write %s or an earlier day", most, last.Format(time.DateOnly))
	}
	return day
}

// exampleDate returns a day that an exception could well end on.
func (r *reader) exampleDate() string {
	return r.now.UTC().AddDate(0, 3, 0).Format(time.DateOnly)
}

// convert reads the text of n and makes a value of it.
func convert[T any](r *reader, n *yaml.Node, path string, of func(string) (T, error)) (value T, ok bool) {
	s, ok := r.text(n, path)
	if !ok {
		return value, false
	}
	value, err := of(s)
	if err != nil {
		r.fail(n, path, "%v", err)
	}
	return value, err == nil
}

// containerKinds are the values of containerKind.
var containerKinds = []string{"container", "init", "sidecar", ephemeral}
