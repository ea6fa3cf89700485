package bus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/bus/bustest"
)

// certificate makes files of a certificate that vouches for itself, good for a server here and for its clients, and of its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestServersWithTLSAreReachedByThoseWhoTrustThemAndShowACertificate(t *testing.T) {
	cert, key := certificate(t)
	c := bustest.Start(t, bustest.Options{Servers: 1, General: fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, cert)})
	for name, at := range map[string]struct {
		change func(*bus.ClusterConfig)
		want   string
	}{
		"all is right": {func(cfg *bus.ClusterConfig) { cfg.CA, cfg.Certificate, cfg.Key = cert, cert, key }, "at least 3 servers"}, // which is beyond TLS
		"not trusted":  {func(cfg *bus.ClusterConfig) { cfg.Certificate, cfg.Key = cert, key }, "certificate signed by unknown authority"},
		"not shown":    {func(cfg *bus.ClusterConfig) { cfg.CA = cert }, "can be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := clusterConfig(c, 1)
			cfg.Servers = strings.ReplaceAll(c.URL(), "nats://", "tls://")
			at.change(&cfg)
			b, err := bus.OpenCluster(t.Context(), cfg)
			if err == nil {
				b.Close()
				t.Fatal("one server is taken for a cluster")
			}
			if !strings.Contains(err.Error(), at.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says %q, and not %q", err, at.want)
			}
		})
	}
}
