package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

type tenantView struct {
	ID            tenant.ID    `json:"id"`
	Name          string       `json:"name"`
	Role          auth.Role    `json:"role" doc:"The role of the key that asks."`
	RetentionDays int          `json:"retention_days" doc:"How many days events are kept, and how late one may arrive."`
	Quotas        *quotaFields `json:"quotas,omitempty" doc:"How much the tenant may use. /v1/usage says how much it has."`
}

func (a *api) tenantRoutes() {
	register(a, operation{
		method: http.MethodGet, path: "/v1/tenant", id: "get-tenant", tag: "Tenant", permission: auth.TenantRead,
		summary: "The tenant that the key belongs to",
	}, func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[tenantView], error) {
		t, err := a.Catalog.Tenant(ctx, p.Tenant)
		if err != nil {
			return nil, err
		}
		return &body[tenantView]{tenantView{ID: t.ID, Name: t.Name, Role: p.Role, RetentionDays: int(t.Retention().Hours() / 24), Quotas: viewQuotas(t.Quotas)}}, nil
	})
}
