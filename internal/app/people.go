package app

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/store"
)

// newPeople makes what lets people in.
func (a *App) newPeople(things *audit.Catalog) *signin.Service {
	return signin.New(signin.Config{Catalog: a.catalog, Log: a.opts.Log, Now: a.opts.Now, Failed: a.refused(things)})
}

// refused writes into a tenant's audit log who was not let in. Nobody comes in by it, so where it cannot be written the log of the server has to do.
func (a *App) refused(things *audit.Catalog) func(context.Context, signin.Failure) {
	return func(ctx context.Context, f signin.Failure) {
		if _, err := a.catalog.Tenant(ctx, f.Tenant); err != nil {
			return // whoever asks for a tenant that there is not makes no chain of it
		}
		ctx = audit.As(ctx, audit.Actor{Tenant: f.Tenant, Subject: "anonymous", Address: f.From.Address, UserAgent: f.From.UserAgent})
		e := audit.Event{Action: "session.refuse", Kind: store.KindMember, Slug: f.Member, Details: map[string]string{"method": string(f.Method), "reason": f.Reason}}
		if f.Member == "" {
			e.Kind = store.KindSession
		}
		if err := things.Note(ctx, f.Tenant, e); err != nil {
			a.opts.Log.Error("a sign-in that was refused is not in the audit log", "tenant.id", string(f.Tenant), "error.message", err.Error())
		}
	}
}
