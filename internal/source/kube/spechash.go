package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// specHash is a hash of what the author of a pod wrote: the revision of pods
// that nothing else tells apart. What the API server, the scheduler and
// admission plugins put in is left out, so that a pod made anew from the same
// file has the same one: the node, tolerations, the token volume of the
// service account and its mount.
func specHash(spec *corev1.PodSpec) string {
	type container struct {
		Name, Image, WorkingDir string
		Command, Args           []string
		Env                     []corev1.EnvVar
		EnvFrom                 []corev1.EnvFromSource
		Ports                   []corev1.ContainerPort
		Resources               corev1.ResourceRequirements
		Mounts                  []corev1.VolumeMount
		Security                *corev1.SecurityContext
		Restart                 *corev1.ContainerRestartPolicy
	}
	const token = "kube-api-access-"
	convert := func(all []corev1.Container) []container {
		var out []container
		for i := range all {
			c := &all[i]
			x := container{
				Name: c.Name, Image: c.Image, WorkingDir: c.WorkingDir, Command: c.Command, Args: c.Args, Env: c.Env, EnvFrom: c.EnvFrom,
				Ports: c.Ports, Resources: c.Resources, Security: c.SecurityContext, Restart: c.RestartPolicy,
			}
			for _, m := range c.VolumeMounts {
				if !strings.HasPrefix(m.Name, token) {
					x.Mounts = append(x.Mounts, m)
				}
			}
			out = append(out, x)
		}
		return out
	}
	var volumes []corev1.Volume
	for i := range spec.Volumes {
		if !strings.HasPrefix(spec.Volumes[i].Name, token) {
			volumes = append(volumes, spec.Volumes[i])
		}
	}
	text, err := json.Marshal([]any{
		convert(spec.InitContainers), convert(spec.Containers), volumes, spec.ServiceAccountName, spec.SecurityContext,
		spec.HostNetwork, spec.HostPID, spec.HostIPC, spec.RestartPolicy, spec.NodeSelector, spec.Affinity,
	})
	if err != nil {
		return "" // Types of the API always encode.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
