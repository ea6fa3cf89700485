package api

import (
	"context"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/web"
)

type memberView struct {
	ID         string           `json:"id"`
	Email      string           `json:"email" doc:"Empty where the identity provider has not verified one."`
	Name       string           `json:"name"`
	Role       auth.Role        `json:"role"`
	State      auth.MemberState `json:"state" enum:"invited,active,disabled"`
	Groups     []string         `json:"groups" doc:"As the identity provider says."`
	Identities []auth.Identity  `json:"identities" doc:"Who the member is at identity providers."`
	ExternalID string           `json:"external_id,omitempty"`
	Password   bool             `json:"password" doc:"Whether there is one."`
	TOTP       bool             `json:"totp" doc:"Whether codes of an authenticator app are asked for."`
	CreatedBy  string           `json:"created_by"`
	CreatedAt  time.Time        `json:"created_at"`
	LastSeen   *time.Time       `json:"last_seen_at,omitempty" doc:"To the minute."`
	Invitation *invitationView  `json:"invitation,omitempty" doc:"In the answer that made it, and nowhere else."`
}

type invitationView struct {
	Token     string    `json:"token"`
	URL       string    `json:"url" doc:"For the one who is invited: pass it on by a way that only they can read."`
	ExpiresAt time.Time `json:"expires_at"`
}

func viewMember(e *catalog.Entry[auth.Member]) (memberView, error) {
	m := &e.Value
	v := memberView{ID: e.Slug, Email: m.Email, Name: m.Name, Role: m.Role, State: m.State, Groups: append([]string{}, m.Groups...),
		Identities: append([]auth.Identity{}, m.Identities...), ExternalID: m.ExternalID, Password: m.Secrets.Password != "", TOTP: m.Secrets.TOTP != "",
		CreatedBy: m.CreatedBy, CreatedAt: e.CreatedAt}
	if !e.UsedAt.IsZero() {
		v.LastSeen = &e.UsedAt
	}
	return v, nil
}

type inviteInput struct {
	Email string    `json:"email" minLength:"3" maxLength:"254" example:"ada@example.com"`
	Name  string    `json:"name,omitempty" maxLength:"200" doc:"The e-mail when missing."`
	Role  auth.Role `json:"role" enum:"owner,admin,editor,viewer,ingest"`
}

type memberInput struct {
	Email string           `json:"email,omitempty" maxLength:"254" doc:"What is missing stays as it is."`
	Name  string           `json:"name,omitempty" maxLength:"200"`
	Role  auth.Role        `json:"role,omitempty" enum:"owner,admin,editor,viewer,ingest"`
	State auth.MemberState `json:"state,omitempty" enum:"invited,active,disabled" doc:"disabled signs the member out and keeps them out; active lets them in again."`
}

type reinviteInput struct {
	ResetTOTP bool `json:"reset_totp,omitempty" doc:"Who accepts the invitation needs no code, and has no authenticator app any more."`
}

// MemberPath is the path of a member.
type MemberPath struct {
	ID string `path:"id" maxLength:"63"`
}

// secretly is an answer with something that is shown once.
type secretly[T any] struct {
	Status  int
	NoStore string `header:"Cache-Control"`
	ETag    string `header:"ETag"`
	Body    T
}

func (a *api) memberRoutes() {
	const tag = "Members"
	register(a, operation{method: http.MethodGet, path: "/v1/members", id: "list-members", tag: tag, permission: auth.MembersRead, summary: "All members"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[list[memberView]], error) {
			all, err := a.Catalog.Members(ctx, p.Tenant)
			if err != nil {
				return nil, err
			}
			return listOf(all, viewMember)
		})
	register(a, operation{method: http.MethodPost, path: "/v1/members", id: "invite-member", tag: tag, permission: auth.MembersWrite, status: http.StatusCreated,
		summary: "Invite a member", description: "The answer has the invitation, this once: its holder sets the password. Nobody can invite a member who may do more than the one that asks.",
		errors: []int{http.StatusConflict}}, a.invite)
	register(a, operation{method: http.MethodGet, path: "/v1/members/{id}", id: "get-member", tag: tag, permission: auth.MembersRead,
		summary: "One member", errors: []int{http.StatusNotFound}},
		func(ctx context.Context, p auth.Principal, in *MemberPath) (*versioned[memberView], error) {
			e, err := a.Catalog.Member(ctx, p.Tenant, in.ID)
			if err != nil {
				return nil, err
			}
			v, err := viewMember(&e)
			return withETag(e.Revision, false, v), err
		})
	register(a, operation{method: http.MethodPut, path: "/v1/members/{id}", id: "put-member", tag: tag, permission: auth.MembersWrite,
		summary: "Change a member", description: "The last owner can be neither demoted nor disabled.",
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}}, a.putMember)
	register(a, operation{method: http.MethodDelete, path: "/v1/members/{id}", id: "remove-member", tag: tag, permission: auth.MembersWrite, status: http.StatusNoContent,
		summary: "Remove a member", description: "The sessions end at once. Keys that the member has made stay. The last owner cannot be removed.",
		errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}},
		func(ctx context.Context, p auth.Principal, in *struct {
			MemberPath
			Conditional
		}) (*struct{}, error) {
			when, err := in.condition()
			if err != nil {
				return nil, err
			}
			return nil, in.stale(a.People.Remove(ctx, p, in.ID, when))
		})
	register(a, operation{method: http.MethodPost, path: "/v1/members/{id}/invitation", id: "reinvite-member", tag: tag, permission: auth.MembersWrite, status: http.StatusCreated,
		summary: "A new invitation of a member", description: "Also for who has forgotten the password, which stays good until the invitation is accepted. An earlier invitation is worth nothing any more.",
		errors: []int{http.StatusNotFound, http.StatusConflict}},
		func(ctx context.Context, p auth.Principal, in *struct {
			MemberPath
			Origin
			Body *reinviteInput `required:"false"`
		}) (*secretly[invitationView], error) {
			_, i, err := a.People.Reinvite(ctx, p, in.ID, in.Body != nil && in.Body.ResetTOTP)
			return &secretly[invitationView]{Status: http.StatusCreated, NoStore: noStore, Body: a.viewInvitation(in.request, i)}, err
		})
	a.accountRoutes()
}

func (a *api) viewInvitation(r *http.Request, i signin.Invitation) invitationView {
	// Behind the #, no server on the way logs it.
	return invitationView{Token: i.Token, URL: a.base(r) + "/#/invitation/" + i.Token, ExpiresAt: i.Ends}
}

func (a *api) invite(ctx context.Context, p auth.Principal, in *struct {
	Origin
	Body inviteInput
}) (*secretly[memberView], error) {
	if err := checkPerson(in.Body.Email, in.Body.Name); err != nil {
		return nil, err
	}
	e, i, err := a.People.Invite(ctx, p, in.Body.Email, in.Body.Name, in.Body.Role)
	if err != nil {
		return nil, err
	}
	v, err := viewMember(&e)
	shown := a.viewInvitation(in.request, i)
	v.Invitation = &shown
	return &secretly[memberView]{Status: http.StatusCreated, NoStore: noStore, ETag: etag(e.Revision), Body: v}, err
}

func (a *api) putMember(ctx context.Context, p auth.Principal, in *struct {
	MemberPath
	Conditional
	Body memberInput
}) (*versioned[memberView], error) {
	when, err := in.condition()
	if err != nil {
		return nil, err
	}
	if err := checkPerson(in.Body.Email, in.Body.Name); err != nil {
		return nil, err
	}
	to := signin.Change{Email: strings.TrimSpace(in.Body.Email), Name: in.Body.Name, Role: in.Body.Role, State: in.Body.State}
	e, err := a.People.Change(ctx, p, in.ID, to, when)
	if err != nil {
		return nil, in.stale(err)
	}
	v, err := viewMember(&e)
	return withETag(e.Revision, false, v), err
}

// checkPerson says what is wrong with an e-mail and a name; what is missing is right.
func checkPerson(email, name string) error {
	if email = strings.TrimSpace(email); email != "" {
		if at, err := mail.ParseAddress(email); err != nil || at.Address != email || at.Name != "" {
			return unprocessable("The e-mail is not right.", web.FieldError{Location: "body.email", Message: "write it as name@example.com"})
		}
	}
	if name == "" {
		return nil
	}
	return checkName(name)
}

func checkName(name string) error {
	if bad := event.CheckAttribute("source", name); bad != nil { // events that a member sends may be named after them
		return unprocessable("The name is not right.", web.FieldError{Location: "body.name", Message: bad.Detail})
	}
	return nil
}
