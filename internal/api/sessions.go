package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const sessionTag = "Signing in"

// callerView says who one is.
type callerView struct {
	ID          string            `json:"id,omitempty" doc:"Of the session; keys and tokens have none."`
	Tenant      tenant.ID         `json:"tenant"`
	TenantName  string            `json:"tenant_name"`
	Subject     string            `json:"subject" example:"member:mk5xq3zr7c2v4tjwa"`
	Name        string            `json:"name"`
	Role        auth.Role         `json:"role"`
	Permissions []auth.Permission `json:"permissions"`
	Operator    bool              `json:"operator" doc:"Of the installation."`
	Method      auth.Method       `json:"method" enum:"password,oidc,saml,key,token"`
	ExpiresAt   *time.Time        `json:"expires_at,omitempty"`
}

func (a *api) viewCaller(ctx context.Context, p auth.Principal) (callerView, error) {
	t, err := a.Catalog.Tenant(ctx, p.Tenant)
	v := callerView{ID: p.Session, Tenant: p.Tenant, TenantName: t.Name, Subject: p.Subject, Name: p.Name, Role: p.Role,
		Permissions: p.Permissions(), Operator: p.Operator, Method: p.Method}
	if !p.Expires.IsZero() {
		at := p.Expires.UTC()
		v.ExpiresAt = &at
	}
	return v, err
}

type sessionView struct {
	ID        string      `json:"id"`
	Member    string      `json:"member"`
	Name      string      `json:"name" doc:"The member's."`
	Method    auth.Method `json:"method" enum:"password,oidc,saml"`
	CreatedAt time.Time   `json:"created_at"`
	LastSeen  time.Time   `json:"last_seen_at" doc:"To the minute."`
	ExpiresAt time.Time   `json:"expires_at" doc:"When it ends by itself, if it is not used any more."`
	Address   string      `json:"address"`
	UserAgent string      `json:"user_agent"`
	Current   bool        `json:"current" doc:"It is the one that asks."`
}

// signedIn is the answer that begins or ends a session.
type signedIn struct {
	Cookie  string `header:"Set-Cookie"`
	NoStore string `header:"Cache-Control"`
	Body    callerView
}

type signedOut struct {
	Cookie  string `header:"Set-Cookie"`
	NoStore string `header:"Cache-Control"`
}

const noStore = "no-store"

type signInInput struct {
	Tenant   tenant.ID `json:"tenant,omitempty" maxLength:"63" doc:"default when missing."`
	Email    string    `json:"email" minLength:"1" maxLength:"254"`
	Password string    `json:"password" minLength:"1" maxLength:"1024"`
	Code     string    `json:"code,omitempty" maxLength:"64" doc:"Of the authenticator app, or a recovery code."`
}

type acceptInput struct {
	Token    string `json:"token" minLength:"1" maxLength:"256"`
	Password string `json:"password" minLength:"1" maxLength:"1024" doc:"At least 12 characters, at most 128, and none of those that are tried first."`
	Name     string `json:"name,omitempty" maxLength:"200"`
	Code     string `json:"code,omitempty" maxLength:"64" doc:"Of the authenticator app or a recovery code, if the account has them and the invitation does not end that."`
}

// SessionPath is the path of a session.
type SessionPath struct {
	ID string `path:"id" maxLength:"63"`
}

func (a *api) sessionRoutes() {
	public(a, operation{method: http.MethodPost, path: "/v1/session", id: "sign-in", tag: sessionTag, summary: "Sign in with a password",
		description: "The answer sets a cookie that stands for the session. What was wrong is not told, but for one thing: with `code` `totp_required` in the problem, the password is right and the code of the authenticator app lacks.",
		errors:      []int{http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable}}, a.signIn)
	public(a, operation{method: http.MethodPost, path: "/v1/invitations/accept", id: "accept-invitation", tag: sessionTag, summary: "Accept an invitation, set a password and be signed in",
		errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusServiceUnavailable}}, a.accept)
	register(a, operation{method: http.MethodGet, path: "/v1/session", id: "get-session", tag: sessionTag, permission: anyone, summary: "Who one is, and what one may do"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[callerView], error) {
			v, err := a.viewCaller(ctx, p)
			return &body[callerView]{v}, err
		})
	register(a, operation{method: http.MethodDelete, path: "/v1/session", id: "sign-out", tag: sessionTag, permission: anyone, summary: "Sign out", status: http.StatusNoContent},
		func(ctx context.Context, p auth.Principal, in *struct{ Origin }) (*signedOut, error) {
			if p.Session == "" {
				return nil, notSignedIn()
			}
			err := a.People.End(ctx, p.Tenant, p.Session)
			if isNotFound(err) {
				err = nil
			}
			return &signedOut{Cookie: a.setCookie(in.request, ""), NoStore: noStore}, err
		})
	register(a, operation{method: http.MethodGet, path: "/v1/sessions", id: "list-sessions", tag: sessionTag, permission: anyone, summary: "Sessions",
		description: "One's own; all of the tenant's, or another member's, with the permission `members:read`."}, a.listSessions)
	register(a, operation{method: http.MethodDelete, path: "/v1/sessions/{id}", id: "end-session", tag: sessionTag, permission: anyone, status: http.StatusNoContent,
		summary: "End a session", description: "One's own, or another's with the permission `members:write`. Its WebSockets are closed.", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *SessionPath) (*struct{}, error) {
			e, err := a.Catalog.Session(ctx, p.Tenant, in.ID)
			if err != nil {
				return nil, err
			}
			if auth.MemberSubject(e.Value.Member) != p.Subject && !p.Can(auth.MembersWrite) {
				return nil, store.ErrNotFound // it is not told whose it is
			}
			return nil, a.People.End(ctx, p.Tenant, in.ID)
		})
	register(a, operation{method: http.MethodDelete, path: "/v1/sessions", id: "end-sessions", tag: sessionTag, permission: anyone, status: http.StatusNoContent,
		summary: "End all sessions of a member", description: "Another's with the permission `members:write`; of one's own the one that asks stays.", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *struct {
			Member string `query:"member" required:"true" maxLength:"63" doc:"Id of the member, or me."`
		}) (*struct{}, error) {
			if own, ok := p.MemberID(); ok && (in.Member == "me" || in.Member == own) {
				return nil, a.People.EndAll(ctx, p.Tenant, own, p.Session)
			}
			if !p.Can(auth.MembersWrite) {
				return nil, forbidden(p, auth.MembersWrite)
			}
			if _, err := a.Catalog.Member(ctx, p.Tenant, in.Member); err != nil {
				return nil, err
			}
			return nil, a.People.EndAll(ctx, p.Tenant, in.Member, "")
		})
}

func (a *api) signIn(ctx context.Context, in *struct {
	Origin
	Body signInInput
}) (*signedIn, error) {
	t := in.Body.Tenant
	if t == "" {
		t = tenant.Default
	}
	begun, err := a.People.Password(ctx, t, in.Body.Email, in.Body.Password, in.Body.Code, a.from(in.request))
	if err != nil {
		return nil, err
	}
	return a.welcome(ctx, in.request, begun.Cookie)
}

func (a *api) accept(ctx context.Context, in *struct {
	Origin
	Body acceptInput
}) (*signedIn, error) {
	if in.Body.Name != "" {
		if err := checkName(in.Body.Name); err != nil {
			return nil, err
		}
	}
	begun, err := a.People.Accept(ctx, in.Body.Token, in.Body.Password, in.Body.Code, in.Body.Name, a.from(in.request))
	if err != nil {
		return nil, err
	}
	return a.welcome(ctx, in.request, begun.Cookie)
}

// welcome answers with a session that has begun.
func (a *api) welcome(ctx context.Context, r *http.Request, cookie string) (*signedIn, error) {
	p, err := a.Sessions.Authenticate(ctx, cookie, a.Now())
	if err != nil {
		return nil, err
	}
	v, err := a.viewCaller(ctx, p)
	return &signedIn{Cookie: a.setCookie(r, cookie), NoStore: noStore, Body: v}, err
}

func (a *api) listSessions(ctx context.Context, p auth.Principal, in *struct {
	All    bool   `query:"all" doc:"Those of all members."`
	Member string `query:"member" maxLength:"63" doc:"Those of this member."`
}) (*body[list[sessionView]], error) {
	member, own := p.MemberID()
	switch {
	case in.All || in.Member != "" && in.Member != "me" && in.Member != member:
		if !p.Can(auth.MembersRead) {
			return nil, forbidden(p, auth.MembersRead)
		}
		member = in.Member
	case !own:
		return &body[list[sessionView]]{list[sessionView]{Data: []sessionView{}}}, nil
	}
	members, err := a.Catalog.Members(ctx, p.Tenant)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for i := range members {
		names[members[i].Slug] = members[i].Value.Name
	}
	all, err := a.People.Sessions(ctx, p.Tenant, member)
	if err != nil {
		return nil, err
	}
	good := all[:0]
	for _, e := range all {
		if _, there := names[e.Value.Member]; there && e.Value.Good(e.UsedAt, a.Now()) {
			good = append(good, e)
		}
	}
	return listOf(good, func(e *catalog.Entry[auth.Session]) (sessionView, error) {
		s := &e.Value
		return sessionView{ID: e.Slug, Member: s.Member, Name: names[s.Member], Method: s.Method, CreatedAt: s.CreatedAt, LastSeen: latest(e.UsedAt, s.CreatedAt), ExpiresAt: s.Ends(e.UsedAt),
			Address: s.Address, UserAgent: s.UserAgent, Current: e.Slug == p.Session}, nil
	})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
