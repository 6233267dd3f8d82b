package tagwarden

# The lists of the policy are parameters of the constraint, as regular
# expressions.
p := input.parameters

violation[{"msg": msg, "details": {"finding": id, "image": c.image, "container": c.name}}] {
  not made
  c := container[_]
  id := finding(c)[_]
  affected(id, c)
  not accepted(id, c)
  msg := sprintf("%s: %s %s: %s%s", [id, c.kind, c.name, c.image, p.messages[id]])
}

# What Kubernetes' own controllers make was decided with its template.
made {
  input.review.operation == "CREATE"
  input.review.userInfo.username == p.spared[_]
}

# Objects.

obj := input.review.object

namespace := obj.metadata.namespace

# Known where Gatekeeper syncs namespaces.
namespace_labels := data.inventory.cluster["v1"].Namespace[namespace].metadata.labels

spec(o) = o.spec { o.kind == "Pod" }
spec(o) = o.spec.jobTemplate.spec.template.spec { o.kind == "CronJob" }
spec(o) = o.template.spec { o.kind == "PodTemplate" }
spec(o) = o.spec.template.spec {
  o.kind != "Pod"
  o.kind != "CronJob"
  o.kind != "PodTemplate"
}

text(o, key) = t {
  t := o[key]
  is_string(t)
} else = ""

containers(o) = cs {
  s := spec(o)
  cs := array.concat(
    array.concat(
      [x | c := s.containers[_]; x := {"kind": "container", "name": text(c, "name"), "image": text(c, "image")}],
      [x | c := s.initContainers[_]; x := {"kind": init_kind(c), "name": text(c, "name"), "image": text(c, "image")}],
    ),
    array.concat(
      [x | c := s.ephemeralContainers[_]; x := {"kind": "ephemeral", "name": text(c, "name"), "image": text(c, "image")}],
      [x | v := s.volumes[_]; x := {"kind": "volume", "name": text(v, "name"), "image": text(v.image, "reference")}],
    ),
  )
}

init_kind(c) = "sidecar" { c.restartPolicy == "Always" }
init_kind(c) = "init" { not c.restartPolicy == "Always" }

# What was there before is not asked for now: scaling and labelling what runs
# already must go on.
before[{"kind": c.kind, "image": c.image}] { c := containers(input.review.oldObject)[_] }

container[c] {
  c := containers(obj)[_]
  not before[{"kind": c.kind, "image": c.image}]
}

# References.

valid(image) {
  regex.match(p.syntax.reference, image)
  not regex.match(p.syntax.id, image)
}

base(image) = regex.find_n(p.syntax.name, image, 1)[0] { valid(image) }

rest(image) = substring(image, count(base(image)), -1)

host(image) = sprintf("docker.io/%s", [base(image)]) { not regex.match(p.syntax.registry, base(image)) }
host(image) = trim_prefix(base(image), "index.") {
  regex.match(p.syntax.registry, base(image))
  startswith(base(image), "index.docker.io/")
}
host(image) = base(image) {
  regex.match(p.syntax.registry, base(image))
  not startswith(base(image), "index.docker.io/")
}

repository(image) = r {
  regex.match(`^docker\.io/[^/]+$`, host(image))
  r := sprintf("docker.io/library/%s", [substring(host(image), 10, -1)])
} else = r {
  r := host(image)
} else = ""

tag(image) = substring(split(rest(image), "@")[0], 1, -1) { startswith(rest(image), ":") }
tag(image) = "" { not startswith(rest(image), ":") }

class(image) = "invalid" { not valid(image) }
else = "digest" { contains(rest(image), "@") }
else = "untagged" { tag(image) == "" }
else = "latest" { regex.match(p.syntax.latest, tag(image)) }
else = p.classes[first_class(image)].class { first_class(image) }
else = "fixed" { fixed(tag(image)) }
else = "floating" { true }

# The first rule of the policy that is about the tag, counted from 0.
first_class(image) = min([i |
  c := p.classes[i]
  regex.match(c.image, repository(image))
  regex.match(c.tag, tag(image))
])

fixed(t) {
  regex.match(p.syntax.version, t)
  not regex.match(p.syntax.moves, t)
}
fixed(t) { regex.match(p.syntax.unique, t) }
fixed(t) { regex.match(p.syntax.mixed, regex.find_n(p.syntax.longWord, t, -1)[_]) }
fixed(t) {
  n := regex.find_n(p.syntax.number, t, -1)[_]
  not regex.match(p.syntax.issue, n)
}
fixed(t) { regex.match(p.syntax.build, regex.find_n(p.syntax.number, t, -1)[_]) }

finding(c) = ids {
  ids := {id | id := by_class[class(c.image)]} | {id | id := "TW-12"; p.allowedRegistries; r := repository(c.image); r != ""; not regex.match(p.allowedRegistries, r)}
}

by_class := {"untagged": "F-01", "latest": "F-01", "floating": "F-01", "fixed": "TW-02", "invalid": "TW-09"}

# The policy.

scope = "production" { production }
scope = "development" { not production; development }
scope = "elsewhere" { not production; not development }

production { regex.match(p.productionNamespaces, namespace) }
production { selected(p.productionLabels[_]) }

development { regex.match(p.developmentNamespaces, namespace) }
development { selected(p.developmentLabels[_]) }

selected(requirements) {
  namespace_labels
  count([r | r := requirements[_]; not met(r)]) == 0
}

met(r) { r.except; not holds(r) }
met(r) { not r.except; holds(r) }

holds(r) { not r.values; not r.than; _ = namespace_labels[r.key] }
holds(r) { not r.than; namespace_labels[r.key] == r.values[_] }
holds(r) { r.than == ">"; to_number(namespace_labels[r.key]) > to_number(r.values[0]) }
holds(r) { r.than == "<"; to_number(namespace_labels[r.key]) < to_number(r.values[0]) }

affected(id, c) {
  e := p.effects[id]
  in_scope(e, c)
  not excused(e, c)
}

in_scope(e, _) { e.scopes[_] == scope; not e.notInfrastructure }
in_scope(e, c) { e.scopes[_] == scope; e.notInfrastructure; not infrastructure(c) }
in_scope(e, c) { e.infrastructureScopes[_] == scope; infrastructure(c) }

infrastructure(c) { regex.match(p.infrastructureImages, repository(c.image)) }

excused(e, c) { e.hygiene; c.kind == "ephemeral"; p.ephemeralContainers == "ignore" }
excused(e, c) { e.hygiene; regex.match(p.debugImages, repository(c.image)) }

# Exceptions.

accepted(id, c) {
  e := p.exceptions[_]
  e.finding == id
  time.now_ns() < time.parse_rfc3339_ns(e.until)
  covers(e, "namespace", namespaces)
  covers(e, "workload", workloads)
  covers(e, "image", {repository(c.image)})
  covers(e, "containerKind", {c.kind})
}

# Without a pattern an exception covers all; a pattern covers nothing that is
# not known.
covers(e, key, _) { not e[key] }
covers(e, key, names) {
  n := names[_]
  n != ""
  regex.match(e[key], n)
}

namespaces[n] { n := namespace }

owner[o] {
  o := obj.metadata.ownerReferences[_]
  o.controller == true
  o.kind != "Node"
}

template_hashes := [["rollouts-pod-template-hash", "Rollout"], ["pod-template-hash", "Deployment"]]

# What made a ReplicaSet of that name for a pod with these labels.
above(o) = [sprintf("%s/%s", [h[1], trim_suffix(o.name, suffix)]) |
  o.kind == "ReplicaSet"
  h := template_hashes[_]
  suffix := sprintf("-%s", [obj.metadata.labels[h[0]]])
  endswith(o.name, suffix)
]

workloads[w] { o := owner[_]; w := above(o)[0] }
workloads[w] { o := owner[_]; cron_job(o); w := sprintf("CronJob/%s", [trim_suffix(regex.find_n(`^.+-`, o.name, 1)[0], "-")]) }
workloads[w] { o := owner[_]; not cron_job(o); count(above(o)) == 0; w := sprintf("%s/%s", [o.kind, o.name]) }
workloads[w] { count(owner) == 0; w := sprintf("%s/%s", [obj.kind, text(obj.metadata, "name")]) }

cron_job(o) { o.kind == "Job"; regex.match(`.-[0-9]{8,}$`, o.name) }
