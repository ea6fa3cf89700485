package signin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func sortByBegin(sessions []catalog.Entry[auth.Session]) {
	slices.SortStableFunc(sessions, func(a, b catalog.Entry[auth.Session]) int {
		return cmp.Or(a.Value.CreatedAt.Compare(b.Value.CreatedAt), cmp.Compare(a.Slug, b.Slug))
	})
}

// Invitation lets its holder set the password of a member. The token is told this once.
type Invitation struct {
	Token string
	Ends  time.Time
}

// Covers says whether somebody may make and change members of a role: who may do all that the role may, and an operator of the installation in their
// own tenant, whose first owner has to come from somewhere.
func Covers(by auth.Principal, role auth.Role) bool {
	return by.Covers(auth.Principal{Role: role}) || role.Valid() && by.Operator && by.Can(auth.TenantsManage)
}

// Invite makes a member who is to set a password.
func (s *Service) Invite(ctx context.Context, by auth.Principal, email, name string, role auth.Role) (catalog.Entry[auth.Member], Invitation, error) {
	if !Covers(by, role) {
		return catalog.Entry[auth.Member]{}, Invitation{}, ErrMightier
	}
	if name == "" {
		name = email
	}
	m := auth.Member{Email: strings.TrimSpace(email), Name: name, Role: role, State: auth.MemberInvited, CreatedBy: by.Subject}
	id := auth.NewMemberID()
	i := s.invitation(by.Tenant, id, &m, false)
	e, err := s.Catalog.PutMember(ctx, by.Tenant, id, m, catalog.IfMissing)
	return e, i, err
}

// Reinvite gives a member a new invitation; an earlier one is worth nothing then. Until it is accepted the old password stays good. With resets, who
// accepts it needs no code, and has no authenticator app any more.
func (s *Service) Reinvite(ctx context.Context, by auth.Principal, id string, resets bool) (e catalog.Entry[auth.Member], i Invitation, err error) {
	if e, err = s.Catalog.Member(ctx, by.Tenant, id); err != nil {
		return e, i, err
	}
	e, err = s.changing(ctx, e, func(m *auth.Member) error {
		switch {
		case !Covers(by, m.Role):
			return ErrMightier
		case m.State == auth.MemberDisabled:
			return ErrDisabled
		case m.Email == "":
			return ErrNoPassword
		}
		i = s.invitation(by.Tenant, id, m, resets)
		return nil
	})
	return e, i, err
}

func (s *Service) invitation(t tenant.ID, id string, m *auth.Member, resets bool) Invitation {
	secret := secretToken()
	i := Invitation{Token: string(t) + "." + id + "." + secret, Ends: s.Now().UTC().Add(invitationTTL)}
	m.Secrets.Invitation, m.Secrets.InvitationEnds, m.Secrets.InvitationResets = hashed(secret), i.Ends, resets
	m.Secrets.InvitationRole, m.Secrets.InvitationEmail = m.Role, m.Email
	return i
}

// Accept sets the password of whoever an invitation is for, and signs them in. All their other sessions end.
func (s *Service) Accept(ctx context.Context, token, password, code, name string, from Origin) (Begun, error) {
	e, secret, err := s.invited(ctx, token)
	if err != nil {
		return Begun{}, err
	}
	if err := s.checkPassword(ctx, &e, password, name); err != nil {
		return Begun{}, err
	}
	if err := s.failures.take(e.Tenant, e.Value.Email, from.Address, s.Now()); err != nil { // whoever has only the invitation may not guess at the code
		return Begun{}, err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return Begun{}, err
	}
	t, email := e.Tenant, e.Value.Email
	ctx = from.as(ctx, &e)
	e, err = s.changing(audit.Doing(ctx, "member.accept"), e, func(m *auth.Member) error {
		if !s.good(m, secret) {
			return ErrInvitation
		}
		secrets := m.Secrets
		switch {
		case secrets.TOTP == "":
		case secrets.InvitationResets:
			secrets.TOTP, secrets.TOTPLast, secrets.Recovery = "", 0, nil
		case strings.TrimSpace(code) == "":
			return ErrCode
		default:
			var ok bool
			if secrets, ok = use(secrets, code, s.Now()); !ok {
				return ErrWrongCode
			}
		}
		secrets.Password, secrets.Invitation, secrets.InvitationEnds, secrets.InvitationResets, secrets.TOTPNext = hash, "", time.Time{}, false, ""
		m.Secrets, m.State = secrets, auth.MemberActive
		if name != "" {
			m.Name = name
		}
		return nil
	})
	if errors.Is(err, ErrWrongCode) {
		s.failed(ctx, Failure{Tenant: t, Method: auth.MethodPassword, From: from, Reason: "the code shown with an invitation is wrong"})
		return Begun{}, err
	}
	s.failures.forgive(t, email, from.Address, false, s.Now())
	if err != nil {
		return Begun{}, err
	}
	if err := s.EndAll(ctx, e.Tenant, e.Slug, ""); err != nil {
		return Begun{}, err
	}
	from.Session = "" // another's, or ended
	return s.begin(ctx, e, auth.MethodPassword, "", from)
}

// invited is the member whom a token invites.
func (s *Service) invited(ctx context.Context, token string) (e catalog.Entry[auth.Member], secret string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || tenant.CheckSlug(parts[0]) != nil || tenant.CheckSlug(parts[1]) != nil {
		return e, "", ErrInvitation
	}
	e, err = s.Catalog.Member(ctx, tenant.ID(parts[0]), parts[1])
	if errors.Is(err, store.ErrNotFound) || err == nil && !s.good(&e.Value, parts[2]) {
		return e, "", ErrInvitation
	}
	return e, parts[2], err
}

// good says whether a secret is that of the member's invitation. One is for who the member was then: whoever has made it, or has read it, may have no say over
// somebody mightier, and it has gone to that address.
func (s *Service) good(m *auth.Member, secret string) bool {
	return m.Secrets.Invitation != "" && same(m.Secrets.Invitation, hashed(secret)) && s.Now().Before(m.Secrets.InvitationEnds) && m.State != auth.MemberDisabled &&
		m.Secrets.InvitationRole.Covers(m.Role) && m.Secrets.InvitationEmail == m.Email
}

// checkPassword knows what the member and the tenant are called.
func (s *Service) checkPassword(ctx context.Context, e *catalog.Entry[auth.Member], password, name string) error {
	t, err := s.Catalog.Tenant(ctx, e.Tenant)
	if err != nil {
		return err
	}
	return CheckPassword(password, e.Value.Email, e.Value.Name, name, string(e.Tenant), t.Name)
}

// Change is what is changed of a member; what is "" stays.
type Change struct {
	Email, Name string
	Role        auth.Role
	State       auth.MemberState
}

// Change changes a member. Who is disabled is signed out.
func (s *Service) Change(ctx context.Context, by auth.Principal, id string, to Change, when catalog.Condition) (catalog.Entry[auth.Member], error) {
	s.owners.Lock(by.Tenant)
	defer s.owners.Unlock(by.Tenant)
	e, err := s.Catalog.Member(ctx, by.Tenant, id)
	if err != nil {
		return e, err
	}
	m := e.Value
	m.Email, m.Name = cmp.Or(to.Email, m.Email), cmp.Or(to.Name, m.Name)
	m.Role, m.State = cmp.Or(to.Role, m.Role), cmp.Or(to.State, m.State)
	if !Covers(by, e.Value.Role) || !Covers(by, m.Role) {
		return e, ErrMightier
	}
	if m.State != e.Value.State && m.State != auth.MemberDisabled { // enabled again: as far as they had come
		m.State = auth.MemberInvited
		if m.Secrets.Password != "" || len(m.Identities) > 0 {
			m.State = auth.MemberActive
		}
	}
	if m.Role != auth.RoleOwner || m.State != auth.MemberActive {
		if last, err := s.lastOwner(ctx, &e); err != nil || last {
			return e, cmp.Or(err, ErrLastOwner)
		}
	}
	if m.State == auth.MemberDisabled { // also when they are enabled again
		m.Secrets.Invitation, m.Secrets.InvitationEnds, m.Secrets.InvitationResets = "", time.Time{}, false
	}
	if when <= 0 {
		when = catalog.Condition(e.Revision) // what was looked at is what is changed
	}
	if e, err = s.Catalog.PutMember(ctx, by.Tenant, id, m, when); err != nil {
		return e, err
	}
	if m.State == auth.MemberDisabled {
		err = s.EndAll(ctx, by.Tenant, id, "")
	}
	return e, err
}

// Remove removes a member and ends their sessions.
func (s *Service) Remove(ctx context.Context, by auth.Principal, id string, when catalog.Condition) error {
	s.owners.Lock(by.Tenant)
	defer s.owners.Unlock(by.Tenant)
	e, err := s.Catalog.Member(ctx, by.Tenant, id)
	if err != nil {
		return err
	}
	if !Covers(by, e.Value.Role) {
		return ErrMightier
	}
	if last, err := s.lastOwner(ctx, &e); err != nil || last {
		return cmp.Or(err, ErrLastOwner)
	}
	if err := s.Catalog.DeleteMember(ctx, by.Tenant, id, when); err != nil {
		return err
	}
	return s.EndAll(ctx, by.Tenant, id, "")
}

// lastOwner says whether a member is the only owner of the tenant who can sign in. Two processes of a fleet that each take one of the last two at
// the same moment are not told apart; the tenant's owner's key, or an operator, mends that.
func (s *Service) lastOwner(ctx context.Context, e *catalog.Entry[auth.Member]) (bool, error) {
	if !isOwner(&e.Value) {
		return false, nil
	}
	all, err := s.Catalog.Members(ctx, e.Tenant)
	for i := range all {
		if all[i].Slug != e.Slug && isOwner(&all[i].Value) {
			return false, err
		}
	}
	return true, err
}

// isOwner says whether a member is an owner who has a way in.
func isOwner(m *auth.Member) bool {
	return m.Role == auth.RoleOwner && m.State == auth.MemberActive && (m.Secrets.Password != "" || len(m.Identities) > 0)
}
