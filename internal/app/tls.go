package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/config"
)

// certificateCheck is how often it is looked whether the certificate was renewed.
const certificateCheck = time.Minute

// certificate is read from its files, and again when they have changed.
type certificate struct {
	cert, key string
	now       func() time.Time

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // of the file that was loaded
	checked time.Time
}

// tlsConfig is that of a server that speaks HTTPS; nil without a certificate. Go's own choice of versions and cipher suites is TLS 1.2 with
// authenticated ciphers and forward secrecy, and 1.3.
func tlsConfig(cfg config.Serve, now func() time.Time) (*tls.Config, error) {
	if cfg.TLSCert == "" {
		return nil, nil //nolint:nilnil // a server without TLS
	}
	c := &certificate{cert: cfg.TLSCert, key: cfg.TLSKey, now: now}
	if _, err := c.get(); err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get() }}, nil
}

func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.loaded != nil && now.Sub(c.checked) < certificateCheck {
		return c.loaded, nil
	}
	c.checked = now
	info, err := os.Stat(c.cert)
	if err == nil && c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	switch {
	case err == nil:
		c.loaded, c.changed = &pair, info.ModTime()
	case c.loaded == nil:
		return nil, err
	} // half of a renewal: the one that was good stays
	return c.loaded, nil
}
