package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Folders that the configurations name and that a test has elsewhere.
const (
	secretsFolder = "/var/run/secrets/spawnwatch"
	rulesFolder   = "/etc/spawnwatch-rules"
	stateFolder   = "/var/lib/spawnwatch"
)

// TestProgram lets the program itself judge what is shipped.
func TestProgram(t *testing.T) {
	bin := program(t)
	t.Run("configurations", func(t *testing.T) { checkConfigurations(t, bin) })
	t.Run("audit policy", func(t *testing.T) { checkAuditPolicy(t, bin) })
}

// checkConfigurations reads every configuration.
func checkConfigurations(t *testing.T, bin string) {
	secrets, state := secretsFiles(t), t.TempDir()
	rules, err := filepath.Abs("kubernetes/base/rules")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, dir := range []string{"compose", "examples", "kubernetes"} {
		for _, path := range files(t, dir, ".yaml") {
			text := string(read(t, path))
			if !strings.Contains(text, "\nsinks:\n  - name:") {
				continue // not a configuration of ours
			}
			n++
			t.Run(path, func(t *testing.T) {
				text := strings.NewReplacer(secretsFolder, secrets, rulesFolder, rules, stateFolder, state).Replace(text)
				copied := filepath.Join(t.TempDir(), "spawnwatch.yaml")
				if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(bin, "check", "-c", copied).CombinedOutput(); err != nil {
					t.Errorf("spawnwatch check: %v\n%s", err, out)
				}
			})
		}
	}
	if n < 11 {
		t.Errorf("expected at least 11 configurations, found %d", n)
	}
}

// secretsFiles makes what the manifests mount: certificates and passwords.
func secretsFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for name, content := range map[string]string{
		"ca.crt": cert, "client-ca.crt": cert, "tls.crt": cert,
		"tls.key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"password": "secret", "nats.creds": "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
