package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// tenant makes a tenant and returns a client of its owner.
func (s *server) tenant(t client.Tenant) *client.Client {
	s.t.Helper()
	made, key, err := s.PutTenant(s.t.Context(), t)
	if err != nil {
		s.t.Fatal(err)
	}
	if key == nil || key.Secret == "" || made.ID != t.ID {
		s.t.Fatalf("a new tenant is %+v with key %+v", made, key)
	}
	return client.New(s.url, key.Secret)
}

func wantStatus(t testing.TB, what string, err error, status int) {
	t.Helper()
	if got := client.StatusOf(err); got != status {
		t.Errorf("%s: %d (%v), want %d", what, got, err, status)
	}
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a, b := s.tenant(client.Tenant{ID: "acme", Name: "Acme"}), s.tenant(client.Tenant{ID: "blue"})
	for c, n := range map[*client.Client]int{a: 3, b: 5, s.Client: 7} {
		for i := range n {
			e := client.Event{ID: fmt.Sprint(i), Source: "shop", Type: "order", Data: map[string]int{"of": n}}
			if _, err := c.Send(t.Context(), e, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.PutMetric(t.Context(), client.Metric{Slug: "orders", EventTypes: []string{"order"}, Value: "data.of"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PutSource(t.Context(), "stripe", "stripe", "whsec_"+"c2VjcmV0c2VjcmV0c2VjcmV0"); err != nil {
		t.Fatal(err)
	}
	// Same sources and ids in each of them: nobody's event is another's duplicate.
	for c, n := range map[*client.Client]int{a: 3, b: 5, s.Client: 7} {
		eventually(t, 10*time.Second, func() error {
			r, err := c.Query(t.Context(), client.Query{Metric: "events", Agg: "count", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour), Step: "1h"})
			if err != nil {
				return err
			}
			var total float64
			for _, s := range r.Series {
				if s.Total != nil {
					total += *s.Total
				}
			}
			if total != float64(n) {
				return fmt.Errorf("a tenant counts %v events, want %d", total, n)
			}
			return nil
		})
		events, err := c.AllEvents(t.Context(), client.EventQuery{})
		if err != nil || len(events) != n {
			t.Errorf("%d events, %v; want %d", len(events), err, n)
		}
		for _, e := range events {
			if want := fmt.Sprintf(`{"of":%d}`, n); string(e.Data) != want {
				t.Errorf("a tenant with %d events is shown %s", n, e.Data)
			}
		}
	}
	_, err := b.Event(t.Context(), "shop", "4") // its own
	wantStatus(t, "own event", err, 0)
	_, err = a.Event(t.Context(), "shop", "4")
	wantStatus(t, "another tenant's event", err, http.StatusNotFound)
	_, err = b.Metric(t.Context(), "orders")
	wantStatus(t, "another tenant's metric", err, http.StatusNotFound)
	wantStatus(t, "deleting another tenant's source", b.DeleteSource(t.Context(), "stripe"), http.StatusNotFound)
	keys, err := a.Keys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].Secret != "" || keys[0].Role != "owner" {
		t.Fatalf("%+v, %v", keys, err)
	}
	wantStatus(t, "revoking another tenant's key", b.RevokeKey(t.Context(), keys[0].ID), http.StatusNotFound)
	for what, err := range map[string]error{
		"list": second(a.Tenants(t.Context())),
		"make": third(a.PutTenant(t.Context(), client.Tenant{ID: "mine"})),
		"key":  second(a.MakeTenantKey(t.Context(), "blue", "k", "owner")),
	} {
		wantStatus(t, "a tenant's owner as operator: "+what, err, http.StatusForbidden)
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestTenantsAreMadeAndChanged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ten := 10.0
	made, key, err := s.PutTenant(t.Context(), client.Tenant{ID: "acme", RetentionDays: 7, RateLimit: &ten})
	if err != nil || key == nil || made.Name != "acme" || made.RetentionDays != 7 || made.RateLimit == nil || *made.RateLimit != 10 {
		t.Fatalf("%+v %+v %v", made, key, err)
	}
	stale := made
	made.RateLimit, made.Name = nil, "Acme"
	made, key, err = s.PutTenant(t.Context(), made)
	if err != nil || key != nil || made.RateLimit != nil || made.Name != "Acme" {
		t.Fatalf("%+v %+v %v", made, key, err)
	}
	_, _, err = s.PutTenant(t.Context(), stale)
	wantStatus(t, "a change of an old version", err, http.StatusPreconditionFailed)
	wantStatus(t, "a second one of the name", s.Do(t.Context(), http.MethodPost, "/v1/admin/tenants", nil, client.Tenant{ID: "acme"}, nil), http.StatusConflict)
	wantStatus(t, "another", s.Do(t.Context(), http.MethodPost, "/v1/admin/tenants", nil, client.Tenant{ID: "blue"}, nil), 0)
	wantStatus(t, "a bad id", s.Do(t.Context(), http.MethodPost, "/v1/admin/tenants", nil, client.Tenant{ID: "Not A Slug"}, nil), http.StatusUnprocessableEntity)
	all, err := s.Tenants(t.Context())
	if err != nil || len(all) != 3 {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = s.MakeTenantKey(t.Context(), "none", "k", "owner")
	wantStatus(t, "a key of a tenant that there is not", err, http.StatusNotFound)
	k, err := s.MakeTenantKey(t.Context(), "acme", "rescue", "admin")
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	if keys, err := client.New(s.url, k.Secret).Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("after a restart: %+v, %v", keys, err)
	}
}

func TestKeysAreMadeAndRevoked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	owner := s.tenant(client.Tenant{ID: "acme"})
	newKey := func(by *client.Client, role string) (client.Key, *client.Client) {
		t.Helper()
		k, err := by.MakeKey(t.Context(), "a "+role, role)
		if err != nil || k.Secret == "" || k.Role != role {
			t.Fatalf("%+v, %v", k, err)
		}
		return k, client.New(s.url, k.Secret)
	}
	adminKey, admin := newKey(owner, "admin")
	ingestKey, ingest := newKey(admin, "ingest")
	_, err := admin.MakeKey(t.Context(), "more", "owner")
	wantStatus(t, "an owner's key by an admin", err, http.StatusForbidden)
	_, err = admin.MakeKey(t.Context(), "x", "root")
	wantStatus(t, "a role that there is not", err, http.StatusUnprocessableEntity)
	_, err = ingest.MakeKey(t.Context(), "x", "ingest")
	wantStatus(t, "a key by one for ingest", err, http.StatusForbidden)
	if _, err := ingest.Send(t.Context(), client.Event{Type: "t"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		events, err := owner.AllEvents(t.Context(), client.EventQuery{Source: ingestKey.Name})
		if err == nil && len(events) != 1 {
			err = errors.New("the key's name is not the source of an event that names none")
		}
		return err
	})
	wantStatus(t, "its own key", admin.RevokeKey(t.Context(), adminKey.ID), http.StatusConflict)
	keys, err := owner.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Role == "owner" {
			wantStatus(t, "an owner's key by an admin", admin.RevokeKey(t.Context(), k.ID), http.StatusForbidden)
		}
	}
	if err := admin.RevokeKey(t.Context(), ingestKey.ID); err != nil {
		t.Fatal(err)
	}
	_, err = ingest.Send(t.Context(), client.Event{Type: "t"})
	wantStatus(t, "a revoked key", err, http.StatusUnauthorized)
}

// TestTheFirstKeyCanBeReplaced: a key that has leaked must not be an operator's for ever.
func TestTheFirstKeyCanBeReplaced(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var next client.Key
	if err := s.Do(t.Context(), http.MethodPost, "/v1/keys", nil, map[string]any{"name": "operator", "role": "admin", "operator": true}, &next); err != nil || !next.Operator {
		t.Fatalf("%+v, %v", next, err)
	}
	operator := client.New(s.url, next.Secret)
	tenantsOwner := s.tenant(client.Tenant{ID: "acme"})
	err := tenantsOwner.Do(t.Context(), http.MethodPost, "/v1/keys", nil, map[string]any{"name": "operator", "role": "admin", "operator": true}, &next)
	wantStatus(t, "an operator's key by a tenant's owner", err, http.StatusForbidden)
	_, err = s.MakeKey(t.Context(), "mightier", "owner")
	wantStatus(t, "an owner's key by an admin, operator or not", err, http.StatusForbidden)
	keys, err := operator.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.ID != next.ID && k.CreatedBy == "bootstrap" {
			if err := operator.RevokeKey(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = s.Tenants(t.Context())
	wantStatus(t, "the first key", err, http.StatusUnauthorized)
	if _, err := operator.Tenants(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestARevokedKeysLiveConnectionEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	k, err := s.MakeKey(t.Context(), "dashboard", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	viewer := client.New(s.url, k.Secret)
	live, err := viewer.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := viewer.LiveTicket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Subscribe(t.Context(), client.Subscription{ID: "events", Topic: "events"}); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if f, err := live.Next(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a revoked key's connection goes on: %+v, %v", f, err)
	}
	if _, err := s.LiveByTicket(t.Context(), ticket.Ticket); err == nil {
		t.Error("a revoked key's ticket is good")
	}
}
