package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/internal/cli"
)

const podReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","operation":"CREATE","namespace":"shop",
	"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"web","image":"nginx:latest"}]}}}}`

// TestAdmissionTakesUpAChangedPolicy: the policy changes, then it breaks, and
// the answers go on by the last good one.
func TestAdmissionTakesUpAChangedPolicy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tagwarden.yaml")
	write := func(text string) {
		t.Helper()
		tmp := filepath.Join(t.TempDir(), "new")
		if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, file); err != nil {
			t.Fatal(err)
		}
	}
	// A ConfigMap may be made after the server.
	var stdout, stderr buffer
	ctx, end := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, []string{"admission", "--standalone", "--listen", "127.0.0.1:0", "--offline", "--policy", file}, cli.Env{Stdout: &stdout, Stderr: &stderr, Now: time.Now})
	}()
	await(t, &stderr, "answering on http://")
	address := regexp.MustCompile(`http://[0-9.:]+`).FindString(stderr.String())
	ask := func() string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/validate", strings.NewReader(podReview))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if got := ask(); !strings.Contains(got, `"allowed":true,"warnings":["tagwarden: nginx:latest is mutable`) {
		t.Errorf("by the default policy: %s", got)
	}
	write("findings: {F-01: {elsewhere: deny}}\n")
	await(t, &stderr, "policy in effect")
	if got := ask(); !strings.Contains(got, `"allowed":false`) {
		t.Errorf("by the changed policy: %s", got)
	}
	write("findings: {F-01: {elsewhere: block}}\n")
	await(t, &stderr, "changed policy does not load, the old one stays in use")
	if got := ask(); !strings.Contains(got, `"allowed":false`) {
		t.Errorf("by the last good policy: %s", got)
	}
	end()
	if status := <-done; status != 0 {
		t.Errorf("exit status %d:\n%s", status, stderr.String())
	}
}

// pair writes a certificate for 127.0.0.1 with this serial number, and its key,
// as a tool that renews them does.
func pair(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.key": {Type: "PRIVATE KEY", Bytes: keyDER}, "tls.crt": {Type: "CERTIFICATE", Bytes: der}} {
		tmp := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(tmp, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAdmissionTakesUpAChangedCertificate: it is served without a restart, and
// half of one changes nothing.
func TestAdmissionTakesUpAChangedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pair(t, dir, 1)
	var stdout, stderr buffer
	ctx, end := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, []string{
			"admission", "--standalone", "--listen", "127.0.0.1:0", "--offline",
			"--tls-cert", filepath.Join(dir, "tls.crt"), "--tls-key", filepath.Join(dir, "tls.key"),
		}, cli.Env{Stdout: &stdout, Stderr: &stderr, Now: time.Now})
	}()
	await(t, &stderr, "answering on https://")
	address := strings.TrimPrefix(regexp.MustCompile(`https://[0-9.:]+`).FindString(stderr.String()), "https://")
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial number %d, want 1", got)
	}
	pair(t, dir, 2)
	await(t, &stderr, "certificate in use")
	if got := serial(); got != 2 {
		t.Errorf("after the change: serial number %d, want 2", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, &stderr, "changed certificate does not load, the old one stays in use")
	if got := serial(); got != 2 {
		t.Errorf("after half of one: serial number %d, want 2", got)
	}
	end()
	if status := <-done; status != 0 {
		t.Errorf("exit status %d:\n%s", status, stderr.String())
	}
}
