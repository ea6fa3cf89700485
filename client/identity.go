package client

import (
	"context"
	"net/http"
)

// TokenIssuer is a server of the tenant's own whose access tokens are taken in the place of API keys.
type TokenIssuer struct {
	Slug       string   `json:"slug"`
	Name       string   `json:"name,omitempty"`
	Issuer     string   `json:"issuer"`               // the iss of its tokens
	JWKSURL    string   `json:"jwks_url,omitempty"`   // found by what it publishes of itself when empty
	Audience   string   `json:"audience,omitempty"`   // one of their aud; it ends in the tenant's id; urn:pulsestream:<tenant> when empty
	Algorithms []string `json:"algorithms,omitempty"` // ES256 and RS256 when empty
	Role       string   `json:"role"`
	Scopes     []string `json:"scopes,omitempty"`
	Subject    string   `json:"subject,omitempty"` // the only one whose tokens are taken; any when empty
}

// PutTokenIssuer has an issuer's tokens taken. Its keys are fetched before it is saved.
func (c *Client) PutTokenIssuer(ctx context.Context, i TokenIssuer) (TokenIssuer, error) {
	var out TokenIssuer
	err := c.Do(ctx, http.MethodPut, "/v1/token-issuers/"+segment(i.Slug), nil, i, &out)
	return out, err
}

// TokenIssuer returns one issuer.
func (c *Client) TokenIssuer(ctx context.Context, slug string) (TokenIssuer, error) {
	var out TokenIssuer
	err := c.Do(ctx, http.MethodGet, "/v1/token-issuers/"+segment(slug), nil, nil, &out)
	return out, err
}

// TokenIssuers lists the issuers.
func (c *Client) TokenIssuers(ctx context.Context) ([]TokenIssuer, error) {
	return getList[TokenIssuer](ctx, c, "/v1/token-issuers")
}

// DeleteTokenIssuer removes an issuer: its tokens are refused from then on.
func (c *Client) DeleteTokenIssuer(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/token-issuers/"+segment(slug), nil, nil, nil)
}
