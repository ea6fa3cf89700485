package signin

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Identity is who somebody is, by the word of an identity provider that was verified. Issuer and subject identify; the rest is for show, but for the
// groups, which give the role.
type Identity struct {
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	Groups        []string
}

// Bounds of what is kept of an identity.
const (
	maxSubject = 255
	maxGroups  = 200
	maxText    = 200
)

// Enter signs somebody in whom an identity provider of a tenant has vouched for. Who was not here before becomes a member; the role is that of the
// groups, at each sign-in if the provider has roles for groups.
func (s *Service) Enter(ctx context.Context, p catalog.Entry[catalog.Provider], method auth.Method, who Identity, from Origin) (Begun, error) {
	if who.Issuer == "" || who.Subject == "" || len(who.Subject) > maxSubject {
		return Begun{}, errors.New("an identity needs an issuer and a subject of at most 255 characters")
	}
	if !who.EmailVerified {
		who.Email = "" // anybody can claim any
	}
	identity := auth.Identity{Provider: p.Slug, Issuer: who.Issuer, Subject: who.Subject}
	m, err := s.Catalog.MemberByIdentity(ctx, p.Tenant, identity)
	links := false
	if errors.Is(err, store.ErrNotFound) {
		m, err = s.unlinked(ctx, &p, identity)
		links = err == nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Begun{}, err
	}
	if m.Value.Provisioned != nil { // what the directory says holds
		who.Groups, who.Name, who.Email = m.Value.Groups, "", m.Value.Email
	}
	role := p.Value.RoleOf(who.Groups)
	reason := error(nil)
	switch {
	case p.Value.RequireVerifiedEmail && who.Email == "":
		reason = ErrUnverified
	case role == "" && (m.Slug == "" || len(p.Value.Roles) > 0):
		reason = ErrNoRole
	case m.Slug != "" && m.Value.State == auth.MemberDisabled:
		reason = ErrDisabled
	}
	if reason != nil {
		s.failed(ctx, Failure{Tenant: p.Tenant, Member: m.Slug, Method: method, From: from, Reason: reason.Error()})
		return Begun{}, reason
	}
	ctx = from.sentBy(ctx, &p)
	if m.Slug == "" {
		m, err = s.welcome(ctx, p, identity, who, role)
	} else {
		m, err = s.refresh(ctx, p, m, who, role, links)
	}
	if err != nil {
		return Begun{}, err
	}
	return s.begin(ctx, m, method, p.Slug, from)
}

// welcome makes the member of an identity that was not seen before.
func (s *Service) welcome(ctx context.Context, p catalog.Entry[catalog.Provider], identity auth.Identity, who Identity, role auth.Role) (catalog.Entry[auth.Member], error) {
	m := auth.Member{Role: role, State: auth.MemberActive, Identities: []auth.Identity{identity}, CreatedBy: "provider:" + p.Slug}
	describe(&m, who)
	if m.Name == "" {
		m.Name = clip(who.Subject, maxText)
	}
	e, err := s.Catalog.PutMember(ctx, p.Tenant, auth.MemberIDOf(identity), m, catalog.IfMissing)
	for _, again := range []bool{true, false} {
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, catalog.ErrIdentityTaken) {
			break
		}
		e, err = s.Catalog.MemberByIdentity(ctx, p.Tenant, identity) // another of their browsers was faster
		if again && errors.Is(err, store.ErrNotFound) {              // or the id is that of somebody whose identity it was once
			e, err = s.Catalog.PutMember(ctx, p.Tenant, auth.NewMemberID(), m, catalog.IfMissing)
		}
	}
	return e, err
}

// refresh brings a member up to what the provider says now. Links says that their identity is not written yet.
func (s *Service) refresh(ctx context.Context, p catalog.Entry[catalog.Provider], e catalog.Entry[auth.Member], who Identity, role auth.Role, links bool) (catalog.Entry[auth.Member], error) {
	s.owners.Lock(e.Tenant)
	defer s.owners.Unlock(e.Tenant)
	m := e.Value
	m.Groups, m.Identities = slices.Clone(m.Groups), slices.Clone(m.Identities)
	describe(&m, who)
	if len(p.Value.Roles) > 0 && m.Role != role {
		last, err := s.lastOwner(ctx, &e)
		if err != nil {
			return e, err
		}
		if last {
			s.Log.Warn("the groups of a tenant's last owner give another role, which was not taken: make another member owner first", "tenant.id", string(e.Tenant), "user.id", e.Slug)
		} else {
			m.Role = role
		}
	}
	if m.State == auth.MemberInvited {
		m.State = auth.MemberActive // somebody has provisioned them
	}
	old := &e.Value
	if !links && m.Name == old.Name && m.Email == old.Email && m.Role == old.Role && m.State == old.State && slices.Equal(m.Groups, old.Groups) {
		return e, nil
	}
	return s.Catalog.PutMember(ctx, e.Tenant, e.Slug, m, catalog.Condition(e.Revision))
}

// describe takes over what a provider says of a person.
func describe(m *auth.Member, who Identity) {
	if name := clip(strings.TrimSpace(who.Name), maxText); name != "" {
		m.Name = name
	}
	if email := clip(strings.TrimSpace(who.Email), maxText); email != "" && !m.Local() { // else it is what they sign in with
		m.Email = email
	}
	m.Groups = nil
	for _, g := range who.Groups {
		if g = clip(g, maxText); g != "" && len(m.Groups) < maxGroups {
			m.Groups = append(m.Groups, g)
		}
	}
	slices.Sort(m.Groups)
	m.Groups = slices.Compact(m.Groups)
}
