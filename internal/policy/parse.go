package policy

import (
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// apiVersion is the version of the format that this package reads.
const apiVersion = "tagwarden.dev/v1"

// Parse reads a policy file; name stands for it in errors, and now is the time
// from which the life of exceptions is counted. What a key does not mention
// keeps its default; a list takes the place of the default list. An empty file
// is the default policy.
//
// The error is of type [Errors] and holds all that is wrong with the file, or
// the first hundred things. An exception that has expired is not wrong, it only
// covers nothing: see [Policy.ExpiredExceptions].
func Parse(name string, data []byte, now time.Time) (*Policy, error) {
	r := &reader{file: name, now: now}
	p := Default()
	if root := r.document(data); root != nil {
		r.policy(root, p)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r *reader) policy(n *yaml.Node, p *Policy) {
	r.mapping(n, "",
		field{"apiVersion", func(n *yaml.Node, path string) {
			if s, ok := r.text(n, path); ok && s != apiVersion {
				r.fail(n, path, "unknown version %s, write %s", quote(s), apiVersion)
			}
		}},
		field{"namespaces", func(n *yaml.Node, path string) {
			r.mapping(n, path,
				field{"production", func(n *yaml.Node, path string) {
					p.production, p.productionSet = r.globs(n, path, namespaceGlob), true
				}},
				field{"development", func(n *yaml.Node, path string) {
					p.development = r.globs(n, path, namespaceGlob)
				}},
			)
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
			s, _ := r.choice(n, path, "ignore", "alert")
			p.alertEphemeral = s == "alert"
		}},
		field{"exceptions", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.exceptions = append(p.exceptions, r.exception(n, path))
			})
		}},
		field{"knownPushers", func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.knownPushers = append(p.knownPushers, r.pushers(n, path))
			})
		}},
	)
}

// globs reads a list of patterns.
func (r *reader) globs(n *yaml.Node, path string, compile func(string) (glob, error)) globs {
	var gs globs
	r.sequence(n, path, func(n *yaml.Node, path string) {
		if g, ok := convert(r, n, path, compile); ok {
			gs = append(gs, g)
		}
	})
	return gs
}

// exception reads one exception. What it returns is only good if no error was
// found.
func (r *reader) exception(n *yaml.Node, path string) *Exception {
	e := &Exception{Line: n.Line}
	scope := func(to *glob, compile func(string) (glob, error)) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			*to, _ = convert(r, n, path, narrow(compile))
		}
	}
	text := func(to *string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) { *to, _ = r.text(n, path) }
	}
	has := r.mapping(n, path,
		field{"finding", func(n *yaml.Node, path string) { e.Finding = r.finding(n, path) }},
		field{"rule", text(&e.Rule)},
		field{"namespace", scope(&e.namespace, namespaceGlob)},
		field{"workload", scope(&e.workload, workloadGlob)},
		field{"image", scope(&e.image, imageGlob)},
		field{"containerKind", func(n *yaml.Node, path string) {
			e.containerKind, _ = r.choice(n, path, containerKinds...)
		}},
		field{"owner", text(&e.Owner)},
		field{"ticket", func(n *yaml.Node, path string) { e.Ticket = r.ticket(n, path) }},
		field{"reason", text(&e.Reason)},
		field{"expires", func(n *yaml.Node, path string) { e.Expires = r.expiry(n, path) }},
	)
	if has == nil {
		return e
	}
	switch {
	case has["finding"] != nil && has["rule"] != nil:
		r.fail(has["rule"], join(path, "rule"), "finding is given, too, keep one of them")
	case has["finding"] == nil && has["rule"] == nil:
		r.fail(n, join(path, "finding"), "missing, write e.g. finding: F-01, or rule: and the name of a Falco rule")
	}
	if has["namespace"] == nil && has["workload"] == nil && has["image"] == nil && has["containerKind"] == nil {
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
	if last := r.now.UTC().AddDate(1, 0, 0).Truncate(24 * time.Hour); day.After(last) {
		r.fail(n, path, "an exception lasts a year at most, write %s or an earlier day", last.Format(time.DateOnly))
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
