// Package saml is the service provider of SAML 2.0: it sends browsers to an identity provider of a tenant and reads what they bring back.
//
// One provider of one tenant is one service provider, with an entity id and an address for responses of its own, so nothing that was said for another one is
// taken here. A sign-in is begun by the browser that ends it: a secret that only that browser has gives the id of the request and the RelayState, so nothing
// has to be remembered meanwhile, and what was not asked for by this browser is refused (there are no sign-ins that begin at the identity provider).
//
// What is read is what a signature covers, by a key of the identity provider's metadata. Before any of that a response has to be of the plain form that
// identity providers send: see look.
package saml

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// Config is one identity provider of one tenant.
type Config struct {
	// Base is the public address of this installation.
	Base             string
	Tenant, Provider string
	// Metadata is what the identity provider says of itself.
	Metadata *Metadata
	// GroupsAttribute is the name of the attribute that has a person's groups; DefaultGroups when empty.
	GroupsAttribute string
	Once            Once
	Now             func() time.Time
}

// DefaultGroups is the attribute of groups where none is named.
const DefaultGroups = "groups"

// Once remembers what may be used once, for all processes of the installation.
type Once interface {
	// Use remembers id, which nobody will ask for after until. It returns ErrUsed if it is remembered already.
	Use(ctx context.Context, id string, until time.Time) error
}

// ErrUsed means: somebody has used it before.
var ErrUsed = errors.New("it was used before")

// Refused is why nobody is signed in. It is for the tenant's administrators, not for whoever sent the response.
type Refused struct{ Reason string }

func (e *Refused) Error() string {
	return "the answer of the identity provider is refused: " + e.Reason
}

func refused(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// Identity is who somebody is, by the word of the identity provider. Issuer and Subject identify; the rest is for show, but for the groups.
type Identity struct {
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	Groups        []string
}

// Provider is a service provider.
type Provider struct {
	cfg           Config
	metadata, acs url.URL
}

// New makes a service provider.
func New(cfg Config) (*Provider, error) {
	base, err := url.Parse(strings.TrimRight(cfg.Base, "/"))
	if err != nil {
		return nil, fmt.Errorf("the installation's address: %w", err)
	}
	at := base.JoinPath("auth", cfg.Tenant, cfg.Provider)
	return &Provider{cfg: cfg, metadata: *at.JoinPath("metadata"), acs: *at.JoinPath("acs")}, nil
}

// EntityID is what the identity provider knows this service provider by, and the address of its metadata.
func (p *Provider) EntityID() string { return p.metadata.String() }

// ACS is where the identity provider is to send its answers.
func (p *Provider) ACS() string { return p.acs.String() }

// NewSecret makes what a browser that signs in keeps until it comes back.
func NewSecret() string { return rand.Text() }

// derived is a value that only who has the browser's secret can know.
func (p *Provider) derived(secret, what string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(what + "\x00" + p.EntityID()))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

func (p *Provider) requestID(secret string) string  { return "id-" + p.derived(secret, "request") }
func (p *Provider) relayState(secret string) string { return p.derived(secret, "relay") }

// library is the service provider of crewjam/saml, for one moment.
func (p *Provider) library(ctx context.Context) *saml.ServiceProvider {
	sp := &saml.ServiceProvider{
		EntityID: p.EntityID(), MetadataURL: p.metadata, AcsURL: p.acs,
		AuthnNameIDFormat:                saml.UnspecifiedNameIDFormat, // what the identity provider was set up for
		AssertionConsumerServiceBindings: []string{saml.HTTPPostBinding},
		MetadataOmitValidUntil:           true,
		RejectSHA1Signatures:             true,
		RejectUnknownConditions:          true,
		RejectExpiredIDPMetadata:         true,
		LimitRelayStateLength:            true,
		ReplayCache:                      once{ctx, p.cfg.Once, p.EntityID()},
		Clock:                            dsig.NewFakeClockAt(p.cfg.Now()),
	}
	if p.cfg.Metadata != nil {
		sp.IDPMetadata = p.cfg.Metadata.entity
	}
	return sp
}

// once is Once as the library asks for it.
type once struct {
	ctx   context.Context //nolint:containedctx // the library's interface has none
	once  Once
	space string
}

// Consume implements saml.AssertionReplayCache.
func (o once) Consume(id string, until time.Time) error {
	sum := sha256.Sum256([]byte(o.space + "\x00" + id))
	err := o.once.Use(o.ctx, hex.EncodeToString(sum[:]), until)
	if errors.Is(err, ErrUsed) {
		return saml.ErrAssertionReplayed
	}
	return err
}

// Own is the metadata of this service provider, for the identity provider.
func (p *Provider) Own(ctx context.Context) ([]byte, error) {
	b, err := xml.MarshalIndent(p.library(ctx).Metadata(), "", "  ")
	return append([]byte(xml.Header), b...), err
}

// Start is the address that a browser is sent to, which keeps the secret.
func (p *Provider) Start(ctx context.Context, secret string) (string, error) {
	sp := p.library(ctx)
	request, err := sp.MakeAuthenticationRequest(sp.GetSSOBindingLocation(saml.HTTPRedirectBinding), saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return "", fmt.Errorf("make a request for the identity provider: %w", err)
	}
	request.ID = p.requestID(secret)
	to, err := request.Redirect(p.relayState(secret), sp)
	if err != nil {
		return "", fmt.Errorf("make a request for the identity provider: %w", err)
	}
	return to.String(), nil
}

// Finish reads the answer that a browser brings: the fields SAMLResponse and RelayState of a form. Secret is what the browser was given as it began.
// What is wrong with the answer is a *Refused.
func (p *Provider) Finish(ctx context.Context, secret, response, relayState string) (Identity, error) {
	if secret == "" || subtle.ConstantTimeCompare([]byte(relayState), []byte(p.relayState(secret))) != 1 {
		return Identity{}, refused("it is not the answer to a sign-in that this browser has begun")
	}
	if len(response) > base64.StdEncoding.EncodedLen(maxResponse)+maxResponse/16 {
		return Identity{}, refused("it has more than %d bytes", maxResponse)
	}
	text, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return Identity{}, refused("it is not written in base64")
	}
	if err := look(text); err != nil {
		return Identity{}, err
	}
	assertion, err := p.library(ctx).ParseXMLResponse(text, []string{p.requestID(secret)}, p.acs)
	if err != nil {
		var invalid *saml.InvalidResponseError
		if errors.As(err, &invalid) {
			return Identity{}, refused("%v", invalid.PrivateErr)
		}
		return Identity{}, err
	}
	return p.identity(assertion)
}
