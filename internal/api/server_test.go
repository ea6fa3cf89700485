package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/api"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/signin/oidc"
	"github.com/pulsestream/pulsestream/internal/signin/saml"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// instance is the API over a real catalog, with nothing behind it that events need.
type instance struct {
	*httptest.Server
	t    *testing.T
	base string
}

type setup struct {
	public string
	allow  []netip.Prefix
	now    func() time.Time
}

const givenKey = "a-key-that-an-operator-has-chosen-01"

func start(t *testing.T, s setup) *instance {
	t.Helper()
	if s.now == nil {
		s.now = time.Now
	}
	log := slog.New(slog.DiscardHandler)
	things, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = things.Close() })
	if _, _, err := auth.Bootstrap(t.Context(), things, givenKey, t.TempDir(), s.now()); err != nil {
		t.Fatal(err)
	}
	c := catalog.New(things, func(tenant.ID) {}, s.now)
	handler := api.Handler(api.Deps{Log: log, Now: s.now, Keys: auth.NewKeys(things, nil), Keyring: auth.NewKeyring(things, s.now), Sessions: auth.NewSessions(things),
		People: signin.New(signin.Config{Catalog: c, Log: log, Now: s.now}), OIDC: oidc.New(egress.New(s.allow), s.now), SAML: saml.NewSources(fetch(egress.New(s.allow)), s.now), Tickets: auth.NewTickets(), Catalog: c,
		Registry: catalog.NewRegistry(c, log), Query: &query.Engine{Events: busy{}},
		PublicURL: s.public, Metrics: http.NotFoundHandler(), Rebuilding: func() *api.Rebuilding { return nil }, Without: api.Without{Ingest: true}}, http.NotFoundHandler())
	i := &instance{Server: httptest.NewServer(handler), t: t}
	t.Cleanup(i.Close)
	i.base = i.URL
	return i
}

// busy is a store that is asked too much.
type busy struct{ query.Events }

func (busy) Rollups(context.Context, tenant.ID, store.RollupQuery, func(*series.Rollup) error) error {
	return query.ErrBusy
}

// fetch gets metadata of identity providers through a guard, as the server does.
func fetch(guard *egress.Guard) func(context.Context, string) ([]byte, error) {
	return func(ctx context.Context, url string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := guard.HTTPClient(5 * time.Second).Do(r)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return nil, errors.New(resp.Status)
		}
		return io.ReadAll(resp.Body)
	}
}

// answer is a response that has been read.
type answer struct {
	StatusCode int
	Header     http.Header
}

// do sends a request with a key.
func (i *instance) do(method, path, key, body string) (answer, []byte) {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, b
}
