package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// lookEvery is how often the Secret and the webhooks are looked at.
	lookEvery = 30 * time.Second
	// settle is how long a new certificate waits until the API server has read
	// the new trust. Until then the old one is good.
	settle = 10 * time.Second
)

// A Trust keeps a certificate in a Secret, which all replicas share, renews it
// in time, and has the webhooks trust it.
type Trust struct {
	Namespace, Secret string
	// Hosts are the names and addresses that the API server calls.
	Hosts []string
	// Webhooks is the name of the ValidatingWebhookConfiguration and of the
	// MutatingWebhookConfiguration.
	Webhooks string
	// Use is called with each certificate that is to be served with.
	Use func(tls.Certificate)

	current bundle
}

// Run keeps the certificate until ctx ends. Trouble is logged and tried again:
// the certificate that is in use is good for a month.
func (t *Trust) Run(ctx context.Context, c *Cluster) {
	said := ""
	for {
		err := t.look(ctx, c)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			c.log.WarnContext(ctx, "certificate not looked after, trying again", "error", err)
		}
		wait := lookEvery
		if err != nil && len(t.current.cert) == 0 {
			wait = time.Second // Nothing can be served before the first.
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// look renews the certificate if it is time, has the webhooks trust it, and
// only then serves with it.
func (t *Trust) look(ctx context.Context, c *Cluster) error {
	b, err := t.stored(ctx, c)
	if err != nil {
		return err
	}
	if err := c.trust(ctx, t.Webhooks, b.ca); err != nil {
		if t.current.cert != nil || !b.usable(c.now()) {
			return err
		}
		// Served with all the same: they may trust it already.
		c.log.WarnContext(ctx, "the webhooks could not be told whom to trust", "error", err)
	}
	if b.equal(&t.current) {
		return nil
	}
	pair, err := tls.X509KeyPair(b.cert, b.key)
	if err != nil {
		return fmt.Errorf("certificate in secret %s/%s: %w", t.Namespace, t.Secret, err)
	}
	if t.current.usable(c.now()) && !sleep(ctx, settle) {
		return ctx.Err()
	}
	t.current = b
	t.Use(pair)
	c.log.InfoContext(ctx, "certificate in use", "secret", t.Namespace+"/"+t.Secret, "until", pair.Leaf.NotAfter)
	return nil
}

// stored is the certificate in the Secret, renewed if it is time. Another
// replica that renews it at the same moment wins or loses as a whole.
func (t *Trust) stored(ctx context.Context, c *Cluster) (bundle, error) {
	secrets := c.client.CoreV1().Secrets(t.Namespace)
	const tries = 5
	for range tries {
		s, err := secrets.Get(ctx, t.Secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return bundle{}, fmt.Errorf("secret %s/%s is not there; apply what \"tagwarden admission manifests\" prints, which has it", t.Namespace, t.Secret)
		}
		if err != nil {
			return bundle{}, err
		}
		b := bundle{ca: s.Data["ca.crt"], cert: s.Data["tls.crt"], key: s.Data["tls.key"]}
		why := b.check(t.Hosts, c.now())
		if why == nil {
			return b, nil
		}
		next, err := newBundle(t.Hosts, b.ca, c.now())
		if err != nil {
			return bundle{}, fmt.Errorf("make a certificate: %w", err)
		}
		s.Data = map[string][]byte{"ca.crt": next.ca, "tls.crt": next.cert, "tls.key": next.key}
		if _, err = secrets.Update(ctx, s, metav1.UpdateOptions{}); err == nil {
			c.log.InfoContext(ctx, "certificate renewed", "secret", t.Namespace+"/"+t.Secret, "because", why)
			return next, nil
		}
		if !apierrors.IsConflict(err) {
			return bundle{}, fmt.Errorf("keep the certificate: %w", err)
		}
	}
	return bundle{}, errors.New("keep the certificate: others change the secret at the same time")
}

// webhooks are the parts of both configurations that are read.
type webhooks struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Webhooks []struct {
		Name         string `json:"name"`
		ClientConfig struct {
			CABundle []byte `json:"caBundle"`
		} `json:"clientConfig"`
	} `json:"webhooks"`
}

// webhookKinds are the resources of admissionregistration.k8s.io/v1.
var webhookKinds = []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}

func webhookPath(kind, name string) string {
	return "/apis/admissionregistration.k8s.io/v1/" + kind + "/" + name
}

// trust writes ca into the webhooks of the name that do not have it. Webhooks
// that are not there are no error: somebody may want only one of the two.
func (c *Cluster) trust(ctx context.Context, name string, ca []byte) error {
	rest := c.client.AdmissionregistrationV1().RESTClient()
	for _, kind := range webhookKinds {
		raw, err := rest.Get().AbsPath(webhookPath(kind, name)).DoRaw(ctx)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		var has webhooks
		if err := json.Unmarshal(raw, &has); err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		var patch []map[string]any
		for i, w := range has.Webhooks {
			if bytes.Equal(w.ClientConfig.CABundle, ca) {
				continue
			}
			at := fmt.Sprintf("/webhooks/%d/", i)
			patch = append(patch,
				map[string]any{"op": "test", "path": at + "name", "value": w.Name}, // Somebody may change it meanwhile.
				map[string]any{"op": "add", "path": at + "clientConfig/caBundle", "value": ca},
			)
		}
		if patch == nil {
			continue
		}
		body, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		if err := rest.Patch(types.JSONPatchType).AbsPath(webhookPath(kind, name)).Body(body).Do(ctx).Error(); err != nil {
			return fmt.Errorf("tell %s %s whom to trust: %w", kind, name, err)
		}
		c.log.InfoContext(ctx, "webhooks trust the certificate", "kind", kind, "name", name)
	}
	return nil
}
