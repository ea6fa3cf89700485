package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/signin/saml"
	"github.com/pulsestream/pulsestream/internal/store"
)

// newForeign makes the reader of tokens of tenants' own issuers.
func (a *App) newForeign(things store.Catalog, allow []netip.Prefix) *auth.Foreign {
	return auth.NewForeign(things, fetch(egress.New(allow).HTTPClient(fetchTimeout)), a.opts.Now, a.opts.Log)
}

// newSAML makes what gets the metadata of tenants' identity providers.
func (a *App) newSAML(allow []netip.Prefix) *saml.Sources {
	return saml.NewSources(fetch(egress.New(allow).HTTPClient(fetchTimeout)), a.opts.Now)
}

const fetchTimeout = 5 * time.Second

// fetch gets what tenants have named as the place of keys or metadata, with a client of the dial guard.
func fetch(client *http.Client) auth.Fetch {
	return func(ctx context.Context, url string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the answer is %s", answer.Status)
		}
		return io.ReadAll(answer.Body)
	}
}
