package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var hosts = []string{"tagwarden.tagwarden.svc", "127.0.0.1"}

func made(t *testing.T, before []byte, now time.Time) bundle {
	t.Helper()
	b, err := newBundle(hosts, before, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// trusted reports whether somebody who trusts ca talks to a server with b.
func trusted(t *testing.T, ca []byte, b *bundle, host string, now time.Time) bool {
	t.Helper()
	pair, err := tls.X509KeyPair(b.cert, b.key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}

func TestCertificateIsTrusted(t *testing.T) {
	t.Parallel()
	b := made(t, nil, today)
	for _, host := range hosts {
		if !trusted(t, b.ca, &b, host, today) {
			t.Errorf("not trusted for %s", host)
		}
	}
	if trusted(t, b.ca, &b, "other.svc", today) {
		t.Error("trusted for another host")
	}
	if trusted(t, b.ca, &b, hosts[0], today.Add(lifetime+time.Hour)) {
		t.Error("trusted after its end")
	}
	if other := made(t, nil, today); trusted(t, other.ca, &b, hosts[0], today) {
		t.Error("trusted by another CA")
	}
	// The key of the CA is nowhere, so nobody makes another certificate by it.
	if bytes.Count(b.ca, []byte("PRIVATE")) != 0 || bytes.Count(b.key, []byte("BEGIN PRIVATE KEY")) != 1 {
		t.Error("there is another key than the server's")
	}
}

// While replicas take the new certificate one after the other, both are good.
func TestRotation(t *testing.T) {
	t.Parallel()
	first := made(t, nil, today)
	then := today.Add(lifetime - renewBefore + time.Hour)
	second := made(t, first.ca, then)
	for name, b := range map[string]*bundle{"old": &first, "new": &second} {
		if !trusted(t, second.ca, b, hosts[0], then) {
			t.Errorf("the %s certificate is not trusted during rotation", name)
		}
	}
	third := made(t, second.ca, then.Add(lifetime-renewBefore))
	if n := bytes.Count(third.ca, []byte("BEGIN CERTIFICATE")); n != 2 {
		t.Errorf("%d CAs are trusted after two rotations, want 2", n)
	}
	if trusted(t, third.ca, &first, hosts[0], then) {
		t.Error("the first CA is trusted for ever")
	}
	late := made(t, first.ca, today.Add(2*lifetime))
	if n := bytes.Count(late.ca, []byte("BEGIN CERTIFICATE")); n != 1 {
		t.Errorf("%d CAs, though the old one has ended", n)
	}
}

func TestWhenToRenew(t *testing.T) {
	t.Parallel()
	b := made(t, nil, today)
	other := made(t, nil, today)
	for _, test := range []struct {
		name string
		b    bundle
		host string
		now  time.Time
		want bool // it must be renewed
	}{
		{"new", b, hosts[0], today, false},
		{"after two months", b, hosts[0], today.Add(lifetime - renewBefore - time.Hour), false},
		{"a month before its end", b, hosts[0], today.Add(lifetime - renewBefore + time.Hour), true},
		{"ended", b, hosts[0], today.Add(lifetime + time.Hour), true},
		{"for another host", b, "other.svc", today, true},
		{"by another CA", bundle{other.ca, b.cert, b.key}, hosts[0], today, true},
		{"with another key", bundle{b.ca, b.cert, other.key}, hosts[0], today, true},
		{"without a CA", bundle{nil, b.cert, b.key}, hosts[0], today, true},
		{"an empty secret", bundle{}, hosts[0], today, true},
		{"no certificate", bundle{[]byte("a"), []byte("b"), []byte("c")}, hosts[0], today, true},
	} {
		if err := test.b.check([]string{test.host}, test.now); (err != nil) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if !b.usable(today.Add(lifetime-time.Hour)) || b.usable(today.Add(lifetime+time.Hour)) || (&bundle{}).usable(today) {
		t.Error("usable until its end, and no longer")
	}
}
