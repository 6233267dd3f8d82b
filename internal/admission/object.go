package admission

import (
	"strconv"

	"sigs.k8s.io/json"
)

// An object is what is read of an object that may have a pod template. The
// shape tells where the template is, not the kind: so a custom resource that has
// one where Deployments have it is looked at as well.
type object struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Metadata   *metadata `json:"metadata"`
	Spec       struct {
		podSpec
		Template    *template `json:"template"` // Deployment, StatefulSet, DaemonSet, ReplicaSet, Job …
		JobTemplate *struct {
			Spec struct {
				Template *template `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"` // CronJob
	} `json:"spec"`
	Template *template `json:"template"` // PodTemplate
}

type metadata struct {
	missing bool

	Name            string            `json:"name"`
	GenerateName    string            `json:"generateName"`
	Namespace       string            `json:"namespace"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	OwnerReferences []struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		UID        string `json:"uid"`
		Controller *bool  `json:"controller"`
	} `json:"ownerReferences"`
}

type template struct {
	Spec podSpec `json:"spec"`
}

type podSpec struct {
	InitContainers      []container `json:"initContainers"`
	Containers          []container `json:"containers"`
	EphemeralContainers []container `json:"ephemeralContainers"`
	Volumes             []struct {
		Name  string `json:"name"`
		Image *struct {
			Reference string `json:"reference"`
		} `json:"image"`
	} `json:"volumes"`
	ImagePullSecrets []struct {
		Name string `json:"name"`
	} `json:"imagePullSecrets"`
}

type container struct {
	Name          string `json:"name"`
	Image         string `json:"image"`
	RestartPolicy string `json:"restartPolicy"`
}

// decode reads an object. The API server writes each key once and in its own
// case, and only such keys are read here.
func decode(raw []byte) (*object, error) {
	o := &object{}
	if len(raw) > 0 {
		if err := json.UnmarshalCaseSensitivePreserveInts(raw, o); err != nil {
			return nil, err
		}
	}
	if o.Metadata == nil { // Only what no API server sends.
		o.Metadata = &metadata{missing: true}
	}
	return o, nil
}

// pod returns the spec of the pods that o is or makes, the JSON pointer to it,
// and nil for an object that has none.
func (o *object) pod() (spec *podSpec, pointer string) {
	switch {
	case o.Spec.Template != nil:
		return &o.Spec.Template.Spec, "/spec/template/spec"
	case o.Spec.JobTemplate != nil && o.Spec.JobTemplate.Spec.Template != nil:
		return &o.Spec.JobTemplate.Spec.Template.Spec, "/spec/jobTemplate/spec/template/spec"
	case o.Template != nil:
		return &o.Template.Spec, "/template/spec"
	case o.isPod():
		return &o.Spec.podSpec, "/spec"
	}
	return nil, ""
}

func (o *object) isPod() bool {
	return o.Kind == "Pod" && o.APIVersion == "v1"
}

// A use is one reference in the spec of a pod.
type use struct {
	name    string // of the container or the volume
	kind    string // as in policy.Container
	image   string
	pointer string // to the reference
}

// uses lists the references of a pod's spec, in the order in which the pod
// starts them. A container without an image is left to the API server, which
// knows that templates may have none.
func (s *podSpec) uses(pointer string) []use {
	all := make([]use, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers)+1)
	list := func(key, kind string, of []container) {
		for i := range of {
			c := &of[i]
			if c.Image == "" {
				continue
			}
			u := use{name: c.Name, kind: kind, image: c.Image, pointer: pointer + "/" + key + "/" + strconv.Itoa(i) + "/image"}
			if kind == "init" && c.RestartPolicy == "Always" {
				u.kind = "sidecar"
			}
			all = append(all, u)
		}
	}
	list("initContainers", "init", s.InitContainers)
	list("containers", "container", s.Containers)
	list("ephemeralContainers", "ephemeral", s.EphemeralContainers)
	for i := range s.Volumes {
		if v := &s.Volumes[i]; v.Image != nil && v.Image.Reference != "" {
			all = append(all, use{name: v.Name, kind: "volume", image: v.Image.Reference, pointer: pointer + "/volumes/" + strconv.Itoa(i) + "/image/reference"})
		}
	}
	return all
}

// before finds what the same container or volume asked for in the object that
// is being changed, and "" if it is new.
func before(old []use, u *use) string {
	for i := range old {
		if old[i].name == u.name && (old[i].kind == "volume") == (u.kind == "volume") {
			return old[i].image
		}
	}
	return ""
}
