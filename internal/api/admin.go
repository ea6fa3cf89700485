package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// TenantFields is what can be said of a tenant.
type TenantFields struct {
	Name          string   `json:"name,omitempty" maxLength:"200" doc:"For people; the id when missing."`
	RetentionDays int      `json:"retention_days,omitempty" minimum:"1" maximum:"3650" doc:"How many days events are kept, and how late one may arrive; 30 when missing."`
	RateLimit     *float64 `json:"rate_limit,omitempty" minimum:"0" maximum:"1e9" doc:"Events a second that the tenant may send on average; 0 is no limit. What the installation says when missing."`
	// Quotas are pointers: 0 is nothing.
	Quotas *quotaFields `json:"quotas,omitempty" doc:"How much the tenant may use; as much as it likes of what is missing."`
}

type quotaFields struct {
	EventsPerMonth *int64 `json:"events_per_month,omitempty" minimum:"0" doc:"Events in a calendar month (UTC); beyond, requests are answered 429 until the next."`
	BytesPerMonth  *int64 `json:"bytes_per_month,omitempty" minimum:"0" doc:"Bytes of events in a calendar month (UTC), likewise."`
	Series         *int64 `json:"series,omitempty" minimum:"0" doc:"Series of all metrics together; what would be one more is counted under __other__."`
	Rules          *int64 `json:"rules,omitempty" minimum:"0" doc:"Rules; one more is refused."`
}

func viewQuotas(q tenant.Quotas) *quotaFields {
	if q == (tenant.Quotas{}) {
		return nil
	}
	f := quotaFields(q)
	return &f
}

type putTenantInput struct {
	ID string `json:"id,omitempty" maxLength:"63" doc:"Repeats the path's."`
	TenantFields
}

type newTenantInput struct {
	ID string `json:"id" maxLength:"63" doc:"A slug; it never changes." example:"acme"`
	TenantFields
}

type adminTenantView struct {
	ID            tenant.ID    `json:"id"`
	Name          string       `json:"name"`
	RetentionDays int          `json:"retention_days"`
	RateLimit     *float64     `json:"rate_limit" doc:"null: what the installation says."`
	Quotas        *quotaFields `json:"quotas,omitempty"`
	CreatedAt     time.Time    `json:"created_at"`
	UpdatedAt     time.Time    `json:"updated_at"`
	Key           *keyView     `json:"key,omitempty" doc:"The tenant's first key, its owner's. It is in the answer that made the tenant, with its secret, and nowhere else."`
}

func viewTenant(e *catalog.Entry[tenant.Tenant]) adminTenantView {
	t := &e.Value
	return adminTenantView{ID: t.ID, Name: t.Name, RetentionDays: int(t.Retention().Hours() / 24), RateLimit: t.RateLimit, Quotas: viewQuotas(t.Quotas), CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
}

// TenantPath is the path of a tenant.
type TenantPath struct {
	ID string `path:"id" maxLength:"63"`
}

// adminRoutes are for the operator of the installation.
func (a *api) adminRoutes() {
	const tag = "Installation"
	register(a, operation{method: http.MethodGet, path: "/v1/admin/tenants", id: "list-tenants", tag: tag, permission: auth.TenantsManage, summary: "All tenants"},
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[list[adminTenantView]], error) {
			entries, err := a.Catalog.TenantEntries(ctx)
			if err != nil {
				return nil, err
			}
			return listOf(entries, func(e *catalog.Entry[tenant.Tenant]) (adminTenantView, error) { return viewTenant(e), nil })
		})
	register(a, operation{method: http.MethodGet, path: "/v1/admin/tenants/{id}", id: "get-any-tenant", tag: tag, permission: auth.TenantsManage,
		summary: "One tenant", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, _ auth.Principal, in *TenantPath) (*versioned[adminTenantView], error) {
			e, err := a.Catalog.TenantEntry(ctx, tenant.ID(in.ID))
			if err != nil {
				return nil, err
			}
			return withETag(e.Revision, false, viewTenant(&e)), nil
		})
	const keyOnce = "The answer has the tenant's first key, an owner's, with its secret, shown this once."
	register(a, operation{method: http.MethodPost, path: "/v1/admin/tenants", id: "make-tenant", tag: tag, permission: auth.TenantsManage,
		summary: "Make a tenant", description: keyOnce, status: http.StatusCreated, errors: []int{http.StatusConflict}},
		func(ctx context.Context, p auth.Principal, in *struct{ Body newTenantInput }) (*versioned[adminTenantView], error) {
			if err := tenant.CheckSlug(in.Body.ID); err != nil {
				return nil, unprocessable("The id is not right.", web.FieldError{Location: "body.id", Message: err.Error()})
			}
			return a.putTenant(ctx, p, in.Body.ID, in.Body.TenantFields, catalog.IfMissing)
		})
	register(a, operation{method: http.MethodPut, path: "/v1/admin/tenants/{id}", id: "put-tenant", tag: tag, permission: auth.TenantsManage,
		summary: "Make or change a tenant", description: "When it makes one: " + keyOnce, errors: []int{http.StatusPreconditionFailed}},
		func(ctx context.Context, p auth.Principal, in *struct {
			TenantPath
			Conditional
			Body putTenantInput
		}) (*versioned[adminTenantView], error) {
			when, err := in.begin(in.ID, in.Body.ID)
			if err != nil {
				return nil, err
			}
			out, err := a.putTenant(ctx, p, in.ID, in.Body.TenantFields, when)
			return out, in.stale(err)
		})
	register(a, operation{method: http.MethodPost, path: "/v1/admin/tenants/{id}/keys", id: "make-tenant-key", tag: tag, permission: auth.TenantsManage,
		summary: "Make an API key of a tenant", description: "For a tenant that has lost its keys. The answer shows the secret, this once; the tenant sees the key in its list.",
		status: http.StatusCreated, errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *struct {
			TenantPath
			Body keyInput
		}) (*body[keyView], error) {
			e, err := a.Catalog.TenantEntry(ctx, tenant.ID(in.ID))
			if err != nil {
				return nil, err
			}
			v, err := a.makeKey(ctx, p, e.Value.ID, in.Body)
			return &body[keyView]{v}, err
		})
}

func (a *api) putTenant(ctx context.Context, p auth.Principal, id string, f TenantFields, when catalog.Condition) (*versioned[adminTenantView], error) {
	t := tenant.Tenant{ID: tenant.ID(id), Name: f.Name, RetentionDays: f.RetentionDays, RateLimit: f.RateLimit}
	if f.Quotas != nil {
		t.Quotas = tenant.Quotas(*f.Quotas)
	}
	if t.Name == "" {
		t.Name = id
	}
	e, created, err := a.Catalog.PutTenant(ctx, t, when)
	if err != nil {
		return nil, err
	}
	v := viewTenant(&e)
	if created {
		key, err := a.makeKey(ctx, p, t.ID, keyInput{Name: "first", Role: auth.RoleOwner})
		if err != nil {
			return nil, err
		}
		v.Key = &key
	}
	return withETag(e.Revision, created, v), nil
}
