package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	// lifetime is how long a certificate is valid, and its CA with it.
	lifetime = 90 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is renewed.
	renewBefore = 30 * 24 * time.Hour
	// skew is how far clocks may be apart.
	skew = 5 * time.Minute
)

// A bundle is what the server serves with, and what the API server trusts: the
// texts of a Secret of the type kubernetes.io/tls, with ca.crt.
type bundle struct{ ca, cert, key []byte }

// newBundle makes a CA and one certificate by it for the hosts. The key of the
// CA is not kept, so nobody can make another one. before is trusted too, for as
// long as it is valid: some servers still have its certificate.
func newBundle(hosts []string, before []byte, now time.Time) (bundle, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return bundle{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return bundle{}, err
	}
	caTemplate := &x509.Certificate{
		SerialNumber: serial(now, 0), Subject: pkix.Name{CommonName: "tagwarden admission CA"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, caKey.Public(), caKey)
	if err != nil {
		return bundle{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(now, 1), Subject: pkix.Name{CommonName: "tagwarden admission"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, caTemplate, key.Public(), caKey)
	if err != nil {
		return bundle{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return bundle{}, err
	}
	b := bundle{ca: encode("CERTIFICATE", caDER), cert: encode("CERTIFICATE", der), key: encode("PRIVATE KEY", keyDER)}
	for _, c := range certificates(before) {
		if now.Before(c.NotAfter) {
			b.ca = append(b.ca, encode("CERTIFICATE", c.Raw)...)
			break // The last one is enough: who has an older one is long gone.
		}
	}
	return b, nil
}

// serial is a number that no other certificate has.
func serial(now time.Time, n int64) *big.Int {
	return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(now.UnixNano()), 1), big.NewInt(n))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certificates reads what can be read of a text of certificates.
func certificates(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// check says why b must be renewed, and nil if it can be served with.
func (b *bundle) check(hosts []string, now time.Time) error {
	pair, err := tls.X509KeyPair(b.cert, b.key)
	if err != nil {
		return fmt.Errorf("there is no certificate yet, or it cannot be read: %w", err)
	}
	leaf := pair.Leaf
	if now.After(leaf.NotAfter.Add(-renewBefore)) {
		return fmt.Errorf("the certificate ends on %s", leaf.NotAfter.Format(time.DateOnly))
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return fmt.Errorf("the certificate is not for %s", host)
		}
	}
	cas := certificates(b.ca)
	if len(cas) == 0 || leaf.CheckSignatureFrom(cas[0]) != nil {
		return errors.New("the certificate is not by the CA beside it")
	}
	return nil
}

// usable reports whether b can be served with now, even if it should be renewed.
func (b *bundle) usable(now time.Time) bool {
	pair, err := tls.X509KeyPair(b.cert, b.key)
	return err == nil && now.Before(pair.Leaf.NotAfter)
}

func (b *bundle) equal(o *bundle) bool {
	return bytes.Equal(b.ca, o.ca) && bytes.Equal(b.cert, o.cert) && bytes.Equal(b.key, o.key)
}
