package export

import (
	"fmt"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// A celDialect is in what the engines that evaluate CEL differ.
type celDialect struct {
	// list is the expression that has the regular expression of a list.
	list func(name, expression string) string
	// clock is an expression of the time, or "" where only the object tells it.
	clock string
}

// literals has the lists in the expressions themselves.
func literals(_, expression string) string { return celRegex(expression) }

// celRegex writes a regular expression, which never has a quote in it.
func celRegex(s string) string { return "r'" + s + "'" }

func celText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + "'"
}

func celTexts(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = celText(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// celPods is where a pod's spec is in each kind of object.
const celSpec = `%[1]s.kind == 'Pod' ? %[1]s.spec
: %[1]s.kind == 'CronJob' ? %[1]s.spec.jobTemplate.spec.template.spec
: %[1]s.kind == 'PodTemplate' ? %[1]s.template.spec
: %[1]s.spec.?template.?spec.orValue({})`

// celContainers are all kinds of containers of a pod's spec.
const celContainers = `%[1]s.?containers.orValue([]).map(c, {'kind': 'container', 'name': string(c.?name.orValue('')), 'image': string(c.?image.orValue(''))})
+ %[1]s.?initContainers.orValue([]).map(c, {'kind': c.?restartPolicy.orValue('') == 'Always' ? 'sidecar' : 'init', 'name': string(c.?name.orValue('')), 'image': string(c.?image.orValue(''))})
+ %[1]s.?ephemeralContainers.orValue([]).map(c, {'kind': 'ephemeral', 'name': string(c.?name.orValue('')), 'image': string(c.?image.orValue(''))})
+ %[1]s.?volumes.orValue([]).filter(v, has(v.image)).map(v, {'kind': 'volume', 'name': string(v.?name.orValue('')), 'image': string(v.image.?reference.orValue(''))})`

// celVariables are those of a policy of one effect: they lead from the object
// to faults, the messages about what is wrong with it.
func (m *model) celVariables(effect policy.Effect, d celDialect) []entry {
	t := m.tag
	vars := []entry{
		{"inNamespace", `object.metadata.?namespace.orValue('')`},
		{"scope", m.celScope(d)},
		{"spec", fmt.Sprintf(celSpec, "object")},
		// What was there before is not asked for now: scaling and labelling what
		// runs already must go on.
		{"before", `dyn(oldObject) == null || !has(dyn(oldObject).kind) ? [] : [dyn(oldObject)].map(o, ` +
			fmt.Sprintf(celSpec, "o") + `).map(s, ` + fmt.Sprintf(celContainers, "s") + `)[0].map(c, c.kind + ' ' + c.image)`},
		{"containers", `!(variables.scope in ` + celTexts(m.scopesOf(effect)) + `)` + m.celMade(effect) + ` ? [] : (` + fmt.Sprintf(celContainers, "variables.spec") + `)
.filter(c, !((c.kind + ' ' + c.image) in variables.before))`},
		{"named", `variables.containers.map(c, {'kind': c.kind, 'name': c.name, 'image': c.image,
  'base': c.image.matches(` + celRegex(t.Reference) + `)
    && !c.image.matches(` + celRegex(t.ID) + `) ? c.image.find(` + celRegex(t.Name) + `) : ''})`},
		{"hosted", `variables.named.map(c, {'kind': c.kind, 'name': c.name, 'image': c.image,
  'host': c.base == '' ? '' : !c.base.matches(` + celRegex(t.Registry) + `) ? 'docker.io/' + c.base
    : c.base.startsWith('index.docker.io/') ? c.base.substring(6) : c.base,
  'rest': c.base == '' ? '' : c.image.substring(size(c.base))})`},
		{"parsed", `variables.hosted.map(c, {'kind': c.kind, 'name': c.name, 'image': c.image, 'rest': c.rest,
  'repository': c.host.matches(r'^docker\.io/[^/]+$') ? 'docker.io/library/' + c.host.substring(10) : c.host,
  'tag': c.rest.startsWith(':') ? c.rest.split('@')[0].substring(1) : ''})`},
		{"classed", `variables.parsed.map(c, {'kind': c.kind, 'name': c.name, 'image': c.image, 'repository': c.repository,
  'class': c.repository == '' ? 'invalid'
    : c.rest.contains('@') ? 'digest'
    : c.tag == '' ? 'untagged'
    : c.tag.matches(` + celRegex(t.Latest) + `) ? 'latest'
` + m.celClasses() + `    : (c.tag.matches(` + celRegex(t.Version) + `)
        && !c.tag.matches(` + celRegex(t.Moves) + `))
      || c.tag.matches(` + celRegex(t.Unique) + `)
      || c.tag.findAll(` + celRegex(t.LongWord) + `).exists(w, w.matches(` + celRegex(t.Mixed) + `))
      || c.tag.findAll(` + celRegex(t.Number) + `).exists(n, !n.matches(` + celRegex(t.Issue) + `)
        || n.matches(` + celRegex(t.Build) + `)) ? 'fixed' : 'floating'})`},
	}
	if len(m.exceptions) > 0 {
		vars = append(vars, celWorkloads, entry{"times", celTimes})
		if d.clock != "" {
			vars[len(vars)-1].value = "[" + d.clock + "]"
		}
	}
	var faults []string
	for _, id := range judged {
		if fault := m.celFault(id, effect, d); fault != "" {
			faults = append(faults, fault)
		}
	}
	return append(vars, entry{"faults", strings.Join(faults, "\n+ ")})
}

// celMade is the rest of a condition: or a controller makes the object. Kyverno's
// background scans have no user.
func (m *model) celMade(effect policy.Effect) string {
	if !m.sparesMade(effect) {
		return ""
	}
	return `
  || (dyn(request) != null && dyn(request).?operation.orValue('') == 'CREATE'
    && dyn(request).?userInfo.?username.orValue('') in ` + celTexts(controllers) + `)`
}

// celWorkloads are the names by which exceptions know an object: as far as
// its controller and its labels tell.
var celWorkloads = entry{"workloads", `object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && o.kind != 'Node')
? object.metadata.ownerReferences.filter(o, o.?controller.orValue(false)).map(o,
    o.kind == 'ReplicaSet' && o.name.endsWith('-' + object.metadata.?labels[?'rollouts-pod-template-hash'].orValue('-'))
    ? 'Rollout/' + o.name.substring(0, size(o.name) - size(object.metadata.labels['rollouts-pod-template-hash']) - 1)
    : o.kind == 'ReplicaSet' && o.name.endsWith('-' + object.metadata.?labels[?'pod-template-hash'].orValue('-'))
    ? 'Deployment/' + o.name.substring(0, size(o.name) - size(object.metadata.labels['pod-template-hash']) - 1)
    : o.kind == 'Job' && o.name.matches('.-[0-9]{8,}$') ? 'CronJob/' + o.name.substring(0, o.name.lastIndexOf('-'))
    : string(o.kind) + '/' + string(o.name))
: [string(object.kind) + '/' + string(object.metadata.?name.orValue(''))]`}

// celTimes are the times at which the API server says that the object was made
// or changed. It sets them before it asks, so the last one is now.
const celTimes = `(has(object.metadata.creationTimestamp) && object.metadata.creationTimestamp != null ? [timestamp(object.metadata.creationTimestamp)] : [])
+ object.metadata.?managedFields.orValue([]).filter(f, has(f.time)).map(f, timestamp(f.time))`

func (m *model) celScope(d celDialect) string {
	is := func(name, expression string, labels []selector) string {
		all := []string{"(variables.inNamespace != '' && variables.inNamespace.matches(" + d.list(name, expression) + "))"}
		for _, l := range labels {
			all = append(all, celSelector(l))
		}
		return strings.Join(all, "\n  || ")
	}
	return is("productionNamespaces", m.production, m.productionLabels) + " ? 'production'\n: " +
		is("developmentNamespaces", m.development, m.developmentLabels) + " ? 'development'\n: 'elsewhere'"
}

func celSelector(s selector) string {
	const labels = "namespaceObject.metadata.?labels.orValue({})"
	all := []string{"namespaceObject != null"}
	for _, r := range s.requirements() {
		has := celText(r.key) + " in " + labels
		value := labels + "[" + celText(r.key) + "]"
		switch {
		case r.than != "":
			has = has + " && " + value + ".matches('^-?[0-9]{1,18}$') && int(" + value + ") " + r.than + " " + r.values[0]
		case r.values != nil:
			has = has + " && " + value + " in " + celTexts(r.values)
		}
		if r.not {
			has = "!(" + has + ")"
		}
		all = append(all, has)
	}
	return "(" + strings.Join(all, " && ") + ")"
}

func (m *model) celClasses() string {
	var b strings.Builder
	for _, c := range m.classes {
		fmt.Fprintf(&b, "    : c.repository.matches(%s) && c.tag.matches(%s) ? %s\n", celRegex(c.image), celRegex(c.tag), celText(c.class.String()))
	}
	return b.String()
}

// celFault is the list of messages about one finding, or "" where it never has
// the effect.
func (m *model) celFault(id finding.ID, effect policy.Effect, d celDialect) string {
	all, platform, notPlatform := m.at(id, effect)
	if len(all)+len(platform) == 0 {
		return ""
	}
	const scope = "variables.scope in "
	infrastructure := "c.repository.matches(" + d.list("infrastructureImages", m.infrastructure) + ")"
	var where []string
	if len(all) > 0 {
		w := scope + celTexts(all)
		if notPlatform {
			w += " && !" + infrastructure
		}
		where = append(where, w)
	}
	if len(platform) > 0 {
		where = append(where, scope+celTexts(platform)+" && "+infrastructure)
	}
	what, message := celClassOf(id), celMessage(id)
	conditions := []string{what}
	if id == finding.TW12 {
		conditions[0] = "c.repository != '' && !c.repository.matches(" + d.list("allowedRegistries", m.allowed) + ")"
	}
	if len(where) == 1 {
		conditions = append(conditions, where[0])
	} else {
		conditions = append(conditions, "("+strings.Join(where, " || ")+")")
	}
	if hygiene(id) {
		if !m.policy.AlertEphemeral() {
			conditions = append(conditions, "c.kind != 'ephemeral'")
		}
		conditions = append(conditions, "!c.repository.matches("+d.list("debugImages", m.debug)+")")
	}
	for _, e := range m.exceptions {
		if e.Finding == id {
			conditions = append(conditions, "!("+celException(e)+")")
		}
	}
	return "variables.classed.filter(c, " + strings.Join(conditions, "\n  && ") + ")\n  .map(c, " + message + ")"
}

func celClassOf(id finding.ID) string {
	switch id {
	case finding.F01:
		return "c.class in ['untagged', 'latest', 'floating']"
	case finding.TW02:
		return "c.class == 'fixed'"
	default:
		return "c.class == 'invalid'"
	}
}

// celMessage says what is wrong and what to write instead.
func celMessage(id finding.ID) string {
	m := messages[id]
	s := celText(string(id)+": ") + " + c.kind + ' ' + c.name + ': ' + c.image + " + celText(m.what)
	if id == finding.F01 {
		s += " + ' (' + c.class + ')'"
	}
	return s + " + " + celText("; "+m.fix)
}

// messages are what is said to whoever asked, by finding.
var messages = map[finding.ID]struct{ what, fix string }{
	finding.F01:  {" is mutable", "write a full version and its digest: name:1.2.3@sha256:DIGEST"},
	finding.TW02: {" is not pinned to a digest", "write the digest behind the tag: name:tag@sha256:DIGEST"},
	finding.TW09: {" is no image reference that a runtime can pull", "write registry/repository:tag@sha256:DIGEST"},
	finding.TW12: {" comes from a registry that the policy does not allow", "use an image of an allowed registry"},
}

func celException(e *exception) string {
	var all []string
	if e.namespace != "" {
		all = append(all, "variables.inNamespace.matches("+celRegex(e.namespace)+")")
	}
	if e.workload != "" {
		all = append(all, "variables.workloads.exists(w, w.matches("+celRegex(e.workload)+"))")
	}
	if e.image != "" {
		all = append(all, "c.repository.matches("+celRegex(e.image)+")")
	}
	if e.ContainerKind() != "" {
		all = append(all, "c.kind == "+celText(e.ContainerKind()))
	}
	return strings.Join(append(all, "size(variables.times) > 0", "variables.times.all(t, t < timestamp("+celText(e.end().Format(time.RFC3339))+"))"), " && ")
}
