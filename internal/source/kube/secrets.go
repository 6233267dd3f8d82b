package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A PullSecret is the part of a secret that says how to log in to registries.
// It is never logged.
type PullSecret struct {
	// Type is kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg.
	Type string
	Data []byte
}

// secretFor is how long a secret is taken for what it was.
const secretFor = 5 * time.Minute

// secrets keeps the pull secrets that were read.
type secrets struct {
	mu    sync.Mutex
	known map[string]keptSecret
}

type keptSecret struct {
	secret PullSecret
	err    error
	at     time.Time
}

// PullSecrets reads the pull secrets of pods in a namespace. Those that cannot
// be read are left out, and the error names them.
func (s *Source) PullSecrets(ctx context.Context, namespace string, names []string) (all []PullSecret, err error) {
	for _, name := range names {
		got := s.pullSecret(ctx, namespace, name)
		if got.err != nil {
			err = got.err
			continue
		}
		all = append(all, got.secret)
	}
	return all, err
}

func (s *Source) pullSecret(ctx context.Context, namespace, name string) keptSecret {
	key := namespace + "/" + name
	s.secrets.mu.Lock()
	kept, ok := s.secrets.known[key]
	s.secrets.mu.Unlock()
	if ok && time.Since(kept.at) < secretFor {
		return kept
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	kept = keptSecret{at: time.Now()}
	got, err := s.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		kept.err = fmt.Errorf("pull secret %s: not allowed; the user needs get on secrets", key)
	case err != nil:
		kept.err = fmt.Errorf("pull secret %s: %w", key, err)
	default:
		for _, field := range []string{".dockerconfigjson", ".dockercfg"} {
			if data, ok := got.Data[field]; ok {
				kept.secret = PullSecret{Type: string(got.Type), Data: data}
			}
		}
	}
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	if s.secrets.known == nil {
		s.secrets.known = map[string]keptSecret{}
	}
	s.secrets.known[key] = kept
	return kept
}
