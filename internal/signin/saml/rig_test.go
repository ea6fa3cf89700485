package saml

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

const base = "https://pulse.example.com"

func start() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

// memory is Once for one process.
type memory struct {
	mu   sync.Mutex
	used map[string]bool
}

func (m *memory) Use(_ context.Context, id string, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used[id] {
		return ErrUsed
	}
	m.used[id] = true
	return nil
}

// signer is a key of an identity provider, with its certificate.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newSigner(t *testing.T, key crypto.Signer) signer {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start().Add(-time.Hour), NotAfter: start().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, cert}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// company is an identity provider, as the library's own type of one: a server that signs in whoever comes as its session.
type company struct {
	signer
	idp     *saml.IdentityProvider
	server  *httptest.Server
	session saml.Session
	known   map[string]*saml.EntityDescriptor
	now     time.Time
}

func (c *company) GetServiceProvider(_ *http.Request, id string) (*saml.EntityDescriptor, error) {
	if m := c.known[id]; m != nil {
		return m, nil
	}
	return nil, os.ErrNotExist
}

func (c *company) GetSession(http.ResponseWriter, *http.Request, *saml.IdpAuthnRequest) *saml.Session {
	s := c.session
	return &s
}

func newCompany(t *testing.T, key crypto.Signer) *company {
	t.Helper()
	c := &company{signer: newSigner(t, key), known: map[string]*saml.EntityDescriptor{}, now: start(), session: saml.Session{ID: "s1", CreateTime: start(), ExpireTime: start().Add(time.Hour), Index: "1",
		NameID: "u-1", NameIDFormat: string(saml.PersistentNameIDFormat), UserEmail: "ann@example.com", UserCommonName: "Ann", Groups: []string{"staff", "ops"},
		CustomAttributes: []saml.Attribute{{Name: "groups", Values: []saml.AttributeValue{{Type: "xs:string", Value: "ops"}, {Type: "xs:string", Value: "dev"}}}}}}
	mux := http.NewServeMux()
	c.server = httptest.NewServer(mux)
	t.Cleanup(c.server.Close)
	at := func(path string) url.URL { u, _ := url.Parse(c.server.URL + path); return *u }
	c.idp = &saml.IdentityProvider{Signer: key, Certificate: c.cert, MetadataURL: at("/metadata"), SSOURL: at("/sso"), ServiceProviderProvider: c, SessionProvider: c,
		Clock: dsig.NewFakeClockAt(c.now), Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	mux.HandleFunc("/metadata", c.idp.ServeMetadata)
	mux.HandleFunc("/sso", c.idp.ServeSSO)
	return c
}

func (c *company) metadata(t *testing.T) *Metadata {
	t.Helper()
	b, err := xml.Marshal(c.idp.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMetadata(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rig is a tenant with an identity provider, whose service provider has said to it who it is.
type rig struct {
	company  *company
	provider *Provider
	now      time.Time
	once     *memory
}

func newRig(t *testing.T, key crypto.Signer) *rig {
	t.Helper()
	r := &rig{company: newCompany(t, key), now: start(), once: &memory{used: map[string]bool{}}}
	r.provider = r.at(t, base, "acme", "login")
	own, err := r.provider.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var about saml.EntityDescriptor
	if err := xml.Unmarshal(own, &about); err != nil {
		t.Fatal(err)
	}
	r.company.known[about.EntityID] = &about
	return r
}

func (r *rig) at(t *testing.T, base, tenant, slug string) *Provider {
	t.Helper()
	p, err := New(Config{Base: base, Tenant: tenant, Provider: slug, Metadata: r.company.metadata(t), Once: r.once, Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var hidden = regexp.MustCompile(`name="(SAMLResponse|RelayState)" value="([^"]*)"`)

// visit follows a browser to the identity provider and back: what it is to bring.
func (r *rig) visit(t *testing.T, secret string) (response, relayState string) {
	t.Helper()
	to, err := r.provider.Start(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(to) //nolint:forbidigo // a browser would
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", answer.Status, page, err)
	}
	fields := map[string]string{}
	for _, m := range hidden.FindAllStringSubmatch(string(page), -1) {
		fields[m[1]] = html.UnescapeString(m[2])
	}
	return fields["SAMLResponse"], fields["RelayState"]
}

// letter is a response that is made by hand: what each part says, for a sign-in that has begun.
type letter struct {
	issuer, responseIssuer, destination, recipient, audience, nameID, format, request, response string
	issued, until                                                                               time.Time
	method                                                                                      string // of the signature
	conditions, confirmation, statements                                                        string // instead of what is usual
	id                                                                                          string
	unsigned                                                                                    bool // nothing is
	whole                                                                                       bool // the response is signed, not the assertion
}

func (r *rig) letter(secret string) letter {
	p := r.provider
	entity := r.company.idp.MetadataURL.String()
	return letter{issuer: entity, responseIssuer: entity, destination: p.ACS(), recipient: p.ACS(), audience: p.EntityID(), nameID: "u-1", format: string(saml.PersistentNameIDFormat),
		request: p.requestID(secret), response: p.requestID(secret), issued: r.now, until: r.now.Add(5 * time.Minute), id: "a-" + rand.Text()}
}

const stamp = "2006-01-02T15:04:05Z"

func (l *letter) assertion() *etree.Element {
	conditions := l.conditions
	if conditions == "" {
		conditions = fmt.Sprintf(`<saml:Conditions NotBefore="%s" NotOnOrAfter="%s"><saml:AudienceRestriction><saml:Audience>%s</saml:Audience></saml:AudienceRestriction></saml:Conditions>`,
			l.issued.Add(-time.Minute).Format(stamp), l.until.Format(stamp), l.audience)
	}
	confirmation := l.confirmation
	if confirmation == "" {
		confirmation = fmt.Sprintf(`<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData InResponseTo="%s" Recipient="%s" NotOnOrAfter="%s"/></saml:SubjectConfirmation>`,
			l.request, l.recipient, l.until.Format(stamp))
	}
	statements := l.statements
	if statements == "" {
		statements = fmt.Sprintf(`<saml:AuthnStatement AuthnInstant="%s"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`, l.issued.Format(stamp))
	}
	return element(fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="%s" IssueInstant="%s" Version="2.0"><saml:Issuer>%s</saml:Issuer><saml:Subject><saml:NameID Format="%s">%s</saml:NameID>%s</saml:Subject>%s%s</saml:Assertion>`,
		l.id, l.issued.Format(stamp), l.issuer, l.format, l.nameID, confirmation, conditions, statements))
}

func (l *letter) envelope() *etree.Element {
	return element(fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="r-%s" InResponseTo="%s" Destination="%s" IssueInstant="%s" Version="2.0"><saml:Issuer>%s</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status></samlp:Response>`,
		l.id, l.response, l.destination, l.issued.Format(stamp), l.responseIssuer))
}

func element(text string) *etree.Element {
	d := etree.NewDocument()
	if err := d.ReadFromString(text); err != nil {
		panic(err)
	}
	return d.Root()
}

// sign has a signer sign an element.
func sign(t *testing.T, by signer, method string, e *etree.Element) *etree.Element {
	t.Helper()
	c, err := dsig.NewSigningContext(by.key, [][]byte{by.cert.Raw})
	if err != nil {
		t.Fatal(err)
	}
	c.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if method == "" {
		method = dsig.ECDSASHA256SignatureMethod
		if _, ok := by.key.(*rsa.PrivateKey); ok {
			method = dsig.RSASHA256SignatureMethod
		}
	}
	if err := c.SetSignatureMethod(method); err != nil {
		t.Fatal(err)
	}
	signed, err := c.SignEnveloped(e)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// write is a letter as it comes: signed by somebody.
func (l *letter) write(t *testing.T, by signer) *etree.Element {
	t.Helper()
	response, assertion := l.envelope(), l.assertion()
	if !l.unsigned && !l.whole {
		assertion = sign(t, by, l.method, assertion)
	}
	response.AddChild(assertion)
	if l.whole {
		response = sign(t, by, l.method, response)
	}
	return response
}

func text(t *testing.T, e *etree.Element) string {
	t.Helper()
	d := etree.NewDocument()
	d.SetRoot(e)
	s, err := d.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// finish brings a text to the service provider as the answer to the sign-in that a secret has begun.
func (r *rig) finish(t *testing.T, secret, response string) (Identity, error) {
	t.Helper()
	return r.provider.Finish(t.Context(), secret, encoded(response), r.provider.relayState(secret))
}

func swap(s, old, replacement string) string {
	if !strings.Contains(s, old) {
		panic("there is no " + old)
	}
	return strings.Replace(s, old, replacement, 1)
}
