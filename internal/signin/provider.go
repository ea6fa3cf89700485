package signin

import (
	"context"
	"errors"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
)

// PutProvider makes or changes an identity provider. Whoever says where members come from could come in as any of them: so who asks has to cover every
// role that the provider gives or gave, and every member who comes by it, or may.
func (s *Service) PutProvider(ctx context.Context, by auth.Principal, slug string, p catalog.Provider, when catalog.Condition) (e catalog.Entry[catalog.Provider], created bool, err error) {
	old, err := s.Catalog.Provider(ctx, by.Tenant, slug)
	created = isNotFound(err)
	if err != nil && !created {
		return e, false, err
	}
	members, err := s.Catalog.Members(ctx, by.Tenant)
	if err != nil {
		return e, false, err
	}
	if !coversComers(by, slug, members) || !coversProvider(by, &p) || !created && !coversProvider(by, &old.Value) {
		return e, false, ErrMightier
	}
	if !created && when <= 0 && when != catalog.IfMissing {
		when = catalog.Condition(old.Revision) // what was looked at is what is changed
	}
	if created && when == catalog.Always {
		when = catalog.IfMissing
	}
	e, err = s.Catalog.PutProvider(ctx, by.Tenant, slug, p, when)
	return e, created, err
}

// coversComers says whether somebody covers all who come by a provider, or will: whom a directory has made without an identity comes by the first that there is.
func coversComers(by auth.Principal, slug string, members []catalog.Entry[auth.Member]) bool {
	for i := range members {
		m := &members[i].Value
		if m.Provisioned != nil && len(m.Identities) == 0 && !Covers(by, m.Role) {
			return false
		}
		for _, identity := range m.Identities {
			if identity.Provider == slug && !Covers(by, m.Role) {
				return false
			}
		}
	}
	return true
}

func coversProvider(by auth.Principal, p *catalog.Provider) bool {
	if p.DefaultRole != "" && !Covers(by, p.DefaultRole) {
		return false
	}
	for _, r := range p.Roles {
		if !Covers(by, r) {
			return false
		}
	}
	return true
}

// RemoveProvider removes an identity provider, and ends the sessions that began by it.
func (s *Service) RemoveProvider(ctx context.Context, by auth.Principal, slug string, when catalog.Condition) error {
	old, err := s.Catalog.Provider(ctx, by.Tenant, slug)
	if err != nil {
		return err
	}
	members, err := s.Catalog.Members(ctx, by.Tenant)
	if err != nil {
		return err
	}
	if !coversComers(by, slug, members) || !coversProvider(by, &old.Value) {
		return ErrMightier
	}
	if err := s.Catalog.DeleteProvider(ctx, by.Tenant, slug, when); err != nil {
		return err
	}
	return s.EndProvider(ctx, by.Tenant, slug)
}

// Turned notes a sign-in by an identity provider that came to nothing.
func (s *Service) Turned(ctx context.Context, f Failure) { s.failed(ctx, f) }

// Knock lets an address try to come in by an identity provider, or is a *LimitedError: each try asks the provider.
func (s *Service) Knock(address string) error { return s.failures.takeAddress(address, s.Now()) }

// Welcome gives the try back.
func (s *Service) Welcome(address string) { s.failures.giveAddress(address) }

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
