package audit

import (
	"cmp"
	"context"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Actor is who does something, and from where.
type Actor struct {
	Tenant    tenant.ID // whose they are
	Subject   string    // as a principal has it
	Name      string
	Address   string // of the network
	UserAgent string
	RequestID string
}

// system is the program itself: what it does without having been asked by anybody.
const system = "system"

// operator is what a tenant is told of who acts there without belonging to it.
const operator = "operator"

type (
	actorKey  struct{}
	actionKey struct{}
)

// With says who does what is done with the context.
func With(ctx context.Context, a Actor) context.Context {
	a.Name, a.Address, a.UserAgent, a.RequestID = plain(a.Name), plain(a.Address), plain(a.UserAgent), plain(a.RequestID)
	return context.WithValue(ctx, actorKey{}, a)
}

// Doing names what is done with the context, such as "member.invite". It is for one change: each that is made with the context gets the name.
func Doing(ctx context.Context, action string) context.Context {
	return context.WithValue(ctx, actionKey{}, action)
}

func actorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok && a.Subject != "" {
		return a
	}
	return Actor{Subject: system}
}

// longest bounds each text that a stranger may have chosen.
const longest = 512

// plain is a text that every store keeps as it is.
func plain(s string) string {
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// shown is the actor as a chain of t says it.
func (a Actor) shown(t tenant.ID) store.Actor {
	if a.Tenant != "" && t != a.Tenant && t != store.Installation {
		return store.Actor{Subject: operator}
	}
	return store.Actor{Subject: a.Subject, Name: a.Name, Address: a.Address, UserAgent: a.UserAgent}
}

// As says that who does what is done with the context has turned out to be somebody: where a says nothing, what was known of them stays.
func As(ctx context.Context, a Actor) context.Context {
	known, _ := ctx.Value(actorKey{}).(Actor)
	a.Address, a.UserAgent, a.RequestID = cmp.Or(a.Address, known.Address), cmp.Or(a.UserAgent, known.UserAgent), cmp.Or(a.RequestID, known.RequestID)
	return With(ctx, a)
}
