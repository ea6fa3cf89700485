package saml

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"

	"github.com/crewjam/saml"
)

// Metadata is what an identity provider says of itself: who it is, where browsers are sent, and its keys.
type Metadata struct{ entity *saml.EntityDescriptor }

// Bounds of metadata and of the keys in it.
const (
	MaxMetadata  = 1 << 20
	leastRSABits = 2048
)

// EntityID is the identity provider's name, the issuer of its assertions.
func (m *Metadata) EntityID() string { return m.entity.EntityID }

// ParseMetadata reads the metadata of one identity provider. Its error tells who has entered it what to do.
func ParseMetadata(b []byte) (*Metadata, error) {
	if len(b) > MaxMetadata {
		return nil, fmt.Errorf("it has more than %d bytes: give the metadata of one identity provider", MaxMetadata)
	}
	if err := plainXML(b); err != nil {
		return nil, err
	}
	m := &saml.EntityDescriptor{}
	if err := xml.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("it is not the metadata (an EntityDescriptor) of one identity provider: %w", err)
	}
	if m.EntityID == "" || len(m.IDPSSODescriptors) != 1 {
		return nil, fmt.Errorf("it has to describe one identity provider (an IDPSSODescriptor) with an entityID, and describes %d", len(m.IDPSSODescriptors))
	}
	idp := &m.IDPSSODescriptors[0]
	if err := checkSignOn(idp); err != nil {
		return nil, err
	}
	return &Metadata{m}, checkKeys(idp)
}

// checkSignOn checks where browsers are sent.
func checkSignOn(idp *saml.IDPSSODescriptor) error {
	for _, s := range idp.SingleSignOnServices {
		if s.Binding != saml.HTTPRedirectBinding {
			continue
		}
		u, err := url.Parse(s.Location)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !here(u.Hostname())) {
			return fmt.Errorf("its SingleSignOnService %q is no address that begins with https://", s.Location)
		}
		return nil
	}
	return errors.New("it has no SingleSignOnService with the binding HTTP-Redirect: switch that on at the identity provider")
}

// here says whether a host is this machine by its name alone.
func here(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// checkKeys checks that there is a key to verify with, and that each can be trusted.
func checkKeys(idp *saml.IDPSSODescriptor) error {
	found := 0
	for _, k := range idp.KeyDescriptors {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, c := range k.KeyInfo.X509Data.X509Certificates {
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c.Data), ""))
			if err != nil {
				return fmt.Errorf("a certificate in it cannot be read: %w", err)
			}
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("a certificate in it cannot be read: %w", err)
			}
			switch key := certificate.PublicKey.(type) {
			case *rsa.PublicKey:
				if bits := key.N.BitLen(); bits < leastRSABits {
					return fmt.Errorf("a key in it has %d bits, and has to have %d: replace it at the identity provider", bits, leastRSABits)
				}
			case *ecdsa.PublicKey:
			default:
				return fmt.Errorf("a key in it is a %T, and has to be for RSA or ECDSA", key)
			}
			found++
		}
	}
	if found == 0 {
		return errors.New("it has no certificate to verify signatures with")
	}
	return nil
}

// plainXML refuses declarations of types and entities.
func plainXML(b []byte) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no XML: %w", err)
		}
		if _, bad := t.(xml.Directive); bad {
			return errors.New("it declares types or entities, which is not taken")
		}
	}
}
