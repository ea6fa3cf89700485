package signin

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
)

// as has what is done with the context recorded as done by a member who signs in.
func (o Origin) as(ctx context.Context, e *catalog.Entry[auth.Member]) context.Context {
	return audit.As(ctx, audit.Actor{Tenant: e.Tenant, Subject: auth.MemberSubject(e.Slug), Name: e.Value.Name, Address: o.Address, UserAgent: o.UserAgent})
}

// sentBy is the same for an identity provider that sends somebody.
func (o Origin) sentBy(ctx context.Context, e *catalog.Entry[catalog.Provider]) context.Context {
	return audit.As(ctx, audit.Actor{Tenant: e.Tenant, Subject: "provider:" + e.Slug, Name: e.Value.Name, Address: o.Address, UserAgent: o.UserAgent})
}
