package signin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/scim"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Directory is what a company's directory sees and changes of a tenant: the members that it has made, and no others. So whoever signs in with a password,
// the owner who set all this up above all, is out of its reach, and no e-mail makes it somebody's master.
//
// A member that it makes is who signs in at the tenant's identity provider as the subject that externalId says. Roles come from the groups, by the provider's
// mapping; who has none cannot sign in.
type Directory struct {
	s  *Service
	by auth.Principal
	// issuer is what an identity provider's word has as its issuer.
	issuer func(ctx context.Context, p *catalog.Entry[catalog.Provider]) (string, error)
	// issuers are those that were asked for in this request.
	issuers map[issuerKey]string
}

// issuerKey is a provider as it is at present.
type issuerKey struct {
	provider string
	revision int64
}

// Directory is that of a caller's tenant.
func (s *Service) Directory(by auth.Principal, issuer func(ctx context.Context, p *catalog.Entry[catalog.Provider]) (string, error)) *Directory {
	return &Directory{s, by, issuer, map[issuerKey]string{}}
}

type member = catalog.Entry[auth.Member]

// Users implements scim.Directory.
func (d *Directory) Users(ctx context.Context) ([]scim.User, error) {
	members, ids, err := d.known(ctx)
	out := make([]scim.User, 0, len(members))
	for i := range members {
		out = append(out, userOf(&members[i], ids))
	}
	return out, err
}

// known is the members that the directory has made, and the ids of groups by their names.
func (d *Directory) known(ctx context.Context) ([]member, map[string]string, error) {
	all, err := d.s.Catalog.Members(ctx, d.by.Tenant)
	if err != nil {
		return nil, nil, err
	}
	groups, err := d.s.Catalog.Groups(ctx, d.by.Tenant)
	ids := make(map[string]string, len(groups))
	for i := range groups {
		ids[groups[i].Value.Name] = groups[i].Slug
	}
	return slices.DeleteFunc(all, func(m member) bool { return m.Value.Provisioned == nil }), ids, err
}

func userOf(m *member, ids map[string]string) scim.User {
	v, p := &m.Value, m.Value.Provisioned
	u := scim.User{ID: m.Slug, ExternalID: v.ExternalID, UserName: p.UserName, DisplayName: p.DisplayName, Formatted: p.Formatted, Given: p.Given, Family: p.Family, Email: v.Email,
		Active: v.State != auth.MemberDisabled, Version: strconv.FormatInt(m.Revision, 10), Created: m.CreatedAt, Modified: m.UpdatedAt}
	for _, g := range v.Groups {
		if id := ids[g]; id != "" {
			u.Groups = append(u.Groups, scim.Ref{ID: id, Display: g})
		}
	}
	return u
}

// pick is the identity provider that a member signs in at, of all that the tenant has: the one that they are linked to, else the only one. Nil if there is
// none, or if it cannot be told.
func pick(all []catalog.Entry[catalog.Provider], m *auth.Member) *catalog.Entry[catalog.Provider] {
	for i := range all {
		if slices.ContainsFunc(m.Identities, func(of auth.Identity) bool { return of.Provider == all[i].Slug }) {
			return &all[i]
		}
	}
	if len(all) == 1 {
		return &all[0]
	}
	return nil
}

// covers says whether the caller may have to do with members of a role: by the role of the caller's key, whatever it is held to, since the roles of groups
// were set by somebody who may.
func (d *Directory) covers(role auth.Role) error {
	if (auth.Principal{Role: d.by.Role}).Covers(auth.Principal{Role: role}) {
		return nil
	}
	return &scim.Error{Status: http.StatusForbidden, Detail: "That has to do with a member of the role " + string(role) + ", which the key's role " + string(d.by.Role) + " does not cover."}
}

// PutUser implements scim.Directory.
func (d *Directory) PutUser(ctx context.Context, u scim.User, version string) (scim.User, error) {
	if err := d.ask(ctx, &u); err != nil {
		return u, err
	}
	d.s.owners.Lock(d.by.Tenant)
	defer d.s.owners.Unlock(d.by.Tenant)
	all, ids, err := d.known(ctx)
	if err != nil {
		return u, err
	}
	if slices.ContainsFunc(all, func(m member) bool {
		return m.Slug != u.ID && strings.EqualFold(m.Value.Provisioned.UserName, u.UserName)
	}) {
		return u, scim.ErrTaken
	}
	providers, err := d.s.Catalog.Providers(ctx, d.by.Tenant)
	if err != nil {
		return u, err
	}
	e, when, err := d.target(ctx, pick(providers, &auth.Member{}), all, &u, version)
	if err != nil {
		return u, err
	}
	next := e.Value
	provider := pick(providers, &next)
	if provider == nil && len(providers) > 1 && u.Active { // who is to be locked out is, whatever they were linked to
		return u, &scim.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("The tenant has %d identity providers, and it cannot be told at which of them this person signs in: provisioning needs a tenant with one.", len(providers))}
	}
	next.ExternalID, next.Email = u.ExternalID, clip(u.Email, maxText)
	next.Provisioned = &auth.Provisioned{UserName: u.UserName, DisplayName: u.DisplayName, Formatted: u.Formatted, Given: u.Given, Family: u.Family}
	next.Name = clip(cmp.Or(u.DisplayName, u.Formatted, strings.TrimSpace(u.Given+" "+u.Family), u.UserName), maxText)
	switch {
	case !u.Active:
		next.State = auth.MemberDisabled
	case next.State != auth.MemberInvited:
		next.State = auth.MemberActive
	}
	if err := d.link(ctx, provider, &next); err != nil {
		return u, err
	}
	lost := roleOf(provider, &next)
	if err := d.allowed(ctx, &e, &next); err != nil {
		return u, err
	}
	saved, err := d.save(ctx, &e, next, when, lost)
	return userOf(&saved, ids), err
}

// target is the member that a user is, or is to be, and the condition under which it is written. Who has signed in with the identity before is
// that member, whom the directory looks after from now on.
func (d *Directory) target(ctx context.Context, provider *catalog.Entry[catalog.Provider], all []member, u *scim.User, version string) (e member, when catalog.Condition, err error) {
	if u.ID != "" {
		i := slices.IndexFunc(all, func(m member) bool { return m.Slug == u.ID })
		if i < 0 {
			return e, 0, scim.ErrNotFound
		}
		e = all[i]
		if version != "" && version != strconv.FormatInt(e.Revision, 10) {
			return e, 0, scim.ErrVersion
		}
		return e, catalog.Condition(e.Revision), nil
	}
	e = member{Tenant: d.by.Tenant, Slug: auth.NewMemberID(), Value: auth.Member{Role: auth.RoleViewer, State: auth.MemberActive, CreatedBy: d.by.Subject}}
	if provider == nil || u.ExternalID == "" {
		return e, catalog.IfMissing, nil
	}
	identity, err := d.identity(ctx, provider, u.ExternalID)
	if err != nil {
		return e, 0, err
	}
	before, err := d.s.Catalog.MemberByIdentity(ctx, d.by.Tenant, identity)
	switch {
	case isNotFound(err):
		if _, err = d.s.Catalog.Member(ctx, d.by.Tenant, auth.MemberIDOf(identity)); isNotFound(err) { // else it is somebody's whose identity it was once
			e.Slug, err = auth.MemberIDOf(identity), nil
		}
		return e, catalog.IfMissing, err
	case err == nil && before.Value.Provisioned != nil:
		return e, 0, scim.ErrTaken
	case err == nil && before.Value.Local():
		return e, 0, &scim.Error{Status: http.StatusConflict, Type: "uniqueness", Detail: "That person has a password here: remove the member first."}
	}
	before.Value.Groups = nil
	return before, catalog.Condition(before.Revision), err
}

func (d *Directory) identity(ctx context.Context, provider *catalog.Entry[catalog.Provider], subject string) (auth.Identity, error) {
	key := issuerKey{provider.Slug, provider.Revision}
	issuer, ok := d.issuers[key]
	if !ok {
		var err error
		if issuer, err = d.issuer(ctx, provider); err != nil {
			return auth.Identity{}, err
		}
		d.issuers[key] = issuer
	}
	return auth.Identity{Provider: provider.Slug, Issuer: issuer, Subject: subject}, nil
}

// ask has the issuer of a user's provider at hand before anything is locked: it may be somebody else's slow server that is asked.
func (d *Directory) ask(ctx context.Context, u *scim.User) error {
	if u.ExternalID == "" {
		return nil
	}
	providers, err := d.s.Catalog.Providers(ctx, d.by.Tenant)
	if err != nil {
		return err
	}
	var before member
	if u.ID != "" {
		if before, err = d.s.Catalog.Member(ctx, d.by.Tenant, u.ID); err != nil && !isNotFound(err) {
			return err
		}
	}
	if p := pick(providers, &before.Value); p != nil && (u.ID == "" || before.Value.Provisioned != nil) {
		_, err = d.identity(ctx, p, u.ExternalID)
		return err
	}
	return nil
}

// link makes a member who externalId says they are at the provider.
func (d *Directory) link(ctx context.Context, provider *catalog.Entry[catalog.Provider], m *auth.Member) error {
	if provider == nil {
		return nil
	}
	m.Identities = slices.DeleteFunc(slices.Clone(m.Identities), func(i auth.Identity) bool { return i.Provider == provider.Slug })
	if m.ExternalID == "" {
		return nil
	}
	identity, err := d.identity(ctx, provider, m.ExternalID)
	m.Identities = append(m.Identities, identity)
	return err
}

// roleOf gives a member the role of their groups, and says whether they have none: then they keep one that is good for nothing, since they can't sign in.
func roleOf(provider *catalog.Entry[catalog.Provider], m *auth.Member) (lost bool) {
	if provider == nil {
		return false
	}
	role := provider.Value.RoleOf(m.Groups)
	m.Role = cmp.Or(role, auth.RoleViewer)
	return role == ""
}

// allowed says whether the caller may make this of a member.
func (d *Directory) allowed(ctx context.Context, e *member, next *auth.Member) error {
	if e.Revision != 0 {
		if err := d.covers(e.Value.Role); err != nil {
			return err
		}
	}
	if err := d.covers(next.Role); err != nil {
		return err
	}
	if isOwner(next) {
		return nil
	}
	return d.keepsOwner(ctx, e)
}

func (d *Directory) keepsOwner(ctx context.Context, e *member) error {
	last, err := d.s.lastOwner(ctx, e)
	if last {
		return &scim.Error{Status: http.StatusConflict, Type: "mutability", Detail: ErrLastOwner.Error()}
	}
	return err
}

// save writes a member, and signs out who may not be here any more. Who has lost every role has no password here either, nor an invitation to set one:
// it would outlive what the directory says.
func (d *Directory) save(ctx context.Context, e *member, next auth.Member, when catalog.Condition, lost bool) (member, error) {
	if lost {
		next.Secrets = auth.MemberSecrets{}
	}
	saved, err := d.s.Catalog.PutMember(ctx, d.by.Tenant, e.Slug, next, when)
	if err != nil {
		return saved, refusal(err)
	}
	if next.State == auth.MemberDisabled || lost || !slices.Equal(e.Value.Identities, next.Identities) {
		err = d.s.EndAll(ctx, d.by.Tenant, e.Slug, "")
	}
	return saved, err
}

// refusal is an error of the catalog in the words of scim.
func refusal(err error) error {
	switch {
	case errors.Is(err, catalog.ErrIdentityTaken), errors.Is(err, catalog.ErrEmailTaken):
		return scim.ErrTaken
	case errors.Is(err, catalog.ErrFull):
		return scim.ErrFull
	case errors.Is(err, store.ErrConflict):
		return scim.ErrVersion
	case errors.Is(err, store.ErrNotFound):
		return scim.ErrNotFound
	}
	return err
}

// DeleteUser implements scim.Directory.
func (d *Directory) DeleteUser(ctx context.Context, id, version string) error {
	d.s.owners.Lock(d.by.Tenant)
	defer d.s.owners.Unlock(d.by.Tenant)
	all, _, err := d.known(ctx)
	if err != nil {
		return err
	}
	e, when, err := d.target(ctx, nil, all, &scim.User{ID: id}, version)
	if err != nil {
		return err
	}
	if err := d.covers(e.Value.Role); err != nil {
		return err
	}
	if err := d.keepsOwner(ctx, &e); err != nil {
		return err
	}
	if err := d.s.Catalog.DeleteMember(ctx, d.by.Tenant, id, when); err != nil {
		return refusal(err)
	}
	return d.s.EndAll(ctx, d.by.Tenant, id, "")
}

// newGroupID makes the id of a group.
func newGroupID() string { return "g" + strings.ToLower(rand.Text()[:16]) }

// unlinked is the member whom a directory has made before the tenant had this identity provider, its only one, as the subject that signs in now: with the
// identity, which is not written yet. Or store.ErrNotFound.
func (s *Service) unlinked(ctx context.Context, p *catalog.Entry[catalog.Provider], identity auth.Identity) (member, error) {
	all, err := s.Catalog.Members(ctx, p.Tenant)
	if err != nil {
		return member{}, err
	}
	i := slices.IndexFunc(all, func(m member) bool {
		return m.Value.Provisioned != nil && m.Value.ExternalID == identity.Subject && len(m.Value.Identities) == 0
	})
	if i < 0 {
		return member{}, store.ErrNotFound
	}
	if providers, err := s.Catalog.Providers(ctx, p.Tenant); err != nil || len(providers) != 1 {
		return member{}, cmp.Or(err, store.ErrNotFound)
	}
	all[i].Value.Identities = []auth.Identity{identity}
	return all[i], nil
}
