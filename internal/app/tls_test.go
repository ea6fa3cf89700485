package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate for 127.0.0.1 and its key into a directory.
func selfSigned(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "pulsestream"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return cert, key, pool
}

func TestAServerWithACertificateSpeaksNothingButTLSThatIsStillGood(t *testing.T) {
	cfg := settings(t.TempDir())
	cert, key, pool := selfSigned(t, t.TempDir())
	cfg.TLSCert, cfg.TLSKey = cert, key
	i := start(t, cfg, givenKey)
	if !strings.HasPrefix(i.URL(), "https://") {
		t.Errorf("it calls itself %s", i.URL())
	}
	for name, c := range map[string]struct {
		config *tls.Config
		good   bool
	}{
		"TLS 1.3":             {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, true},
		"TLS 1.2":             {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.1":             {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"CBC":                 {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}}, false},
		"no forward secrecy":  {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
		"another certificate": {&tls.Config{MinVersion: tls.VersionTLS12}, false},
	} {
		conn, err := (&tls.Dialer{Config: c.config}).DialContext(t.Context(), "tcp", i.Addr())
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, Timeout: 10 * time.Second}
	for _, path := range []string{"/", "/healthz", "/v1/tenant", "/v1/nothing"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.URL()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := secure.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Strict-Transport-Security"); !strings.Contains(got, "max-age=31536000") || !strings.Contains(got, "includeSubDomains") {
			t.Errorf("%s: Strict-Transport-Security is %q", path, got)
		}
	}
	if resp, _ := i.do("GET", "/v1/tenant", givenKey, ""); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("in the clear: %d", resp.StatusCode)
	}
	cfg.TLSKey = ""
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "--tls-key") {
		t.Errorf("a certificate without its key: %v", err)
	}
}
