package api

import (
	"context"
	"net/http"

	"github.com/pulsestream/pulsestream/internal/auth"
)

type grantView struct {
	Permission  auth.Permission `json:"permission"`
	Description string          `json:"description"`
	Roles       []auth.Role     `json:"roles" doc:"The roles that have it."`
	Operator    bool            `json:"operator,omitempty" doc:"Not a matter of roles: those who run the installation have it."`
}

// permissionRoutes tells the table that everything is checked against, for whoever offers roles and scopes to choose from.
func (a *api) permissionRoutes() {
	table := auth.Permissions()
	out := list[grantView]{Data: make([]grantView, 0, len(table))}
	for i := range table {
		g := grantView(table[i])
		if g.Roles == nil {
			g.Roles = []auth.Role{}
		}
		out.Data = append(out.Data, g)
	}
	register(a, operation{method: http.MethodGet, path: "/v1/permissions", id: "list-permissions", tag: "Tenant", permission: auth.TenantRead,
		summary: "The permissions, and which roles have them"},
		func(context.Context, auth.Principal, *struct{}) (*body[list[grantView]], error) {
			return &body[list[grantView]]{out}, nil
		})
}
