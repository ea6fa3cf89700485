package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// How long a session lasts: so long at most, and so long without a request.
const (
	SessionLifetime = 7 * 24 * time.Hour
	SessionIdle     = 12 * time.Hour
)

// cookieBytes are what is random of a session's cookie.
const cookieBytes = 32

// Session is the body of a catalog resource of kind session, whose slug is the session's id, and whose lookup is the SHA-256 of its cookie's value.
type Session struct {
	Member    string    `json:"member"` // id
	Method    Method    `json:"method"`
	Provider  string    `json:"provider,omitempty"` // slug of the identity provider
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Address   string    `json:"address,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
}

// NewSession makes the id of a session and the value of its cookie.
func NewSession() (id, cookie string) {
	b := make([]byte, cookieBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the program first
	return "s" + random(idBytes), base64.RawURLEncoding.EncodeToString(b)
}

// SessionStore is what Sessions needs of the catalog.
type SessionStore interface {
	KeyFinder
	Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error)
	Touch(ctx context.Context, uses []store.Use) error
}

// Sessions authenticates the cookies of members who have signed in. As with keys, what was shown in the last moments is answered from memory until
// anything in the catalog changes: who is signed out, disabled or given another role is that from then on.
type Sessions struct {
	catalog SessionStore
	shown   memory // by cookie
	held    memory // by session
}

// useEvery is how exactly it is known when a session was used last.
const useEvery = time.Minute

// heldTTL is how long a session that holds is believed to while the catalog does not change.
const heldTTL = time.Minute

// NewSessions authenticates against a catalog.
func NewSessions(catalog SessionStore) *Sessions { return &Sessions{catalog: catalog} }

// Authenticate returns whose session has this cookie: ErrBadCredentials if it is nobody's, or nobody's any more, another error when the catalog could
// not say.
func (s *Sessions) Authenticate(ctx context.Context, cookie string, now time.Time) (Principal, error) {
	if len(cookie) != base64.RawURLEncoding.EncodedLen(cookieBytes) {
		return Principal{}, ErrBadCredentials
	}
	sum := sha256.Sum256([]byte(cookie))
	return s.remembering(ctx, &s.shown, sum, cacheTTL, now, func() (store.Resource, error) {
		r, err := s.catalog.Find(ctx, store.KindSession, hex.EncodeToString(sum[:]))
		if err != nil {
			return r, err
		}
		s.used(ctx, &r, now)
		return r, nil
	})
}

// used notes that a session was used, and its member with it, to the minute. One that has ended by then stays so. Where it cannot be noted, as on a disk
// that is full, the person goes on: the session ends by the use that is stored.
func (s *Sessions) used(ctx context.Context, r *store.Resource, now time.Time) {
	session, err := sessionOf(r)
	if err != nil || now.Sub(r.UsedAt) < useEvery || !session.Good(r.UsedAt, now) {
		return // the same body tells who it is
	}
	if err := s.catalog.Touch(ctx, []store.Use{{Tenant: r.Tenant, Kind: store.KindSession, Slug: r.Slug, At: now}, {Tenant: r.Tenant, Kind: store.KindMember, Slug: session.Member, At: now}}); err == nil {
		r.UsedAt = now
	}
}

// Holds says whether the principal of a session is still what it was: false once the session has ended, or the member has another role. Where that
// cannot be told now, it holds.
func (s *Sessions) Holds(ctx context.Context, p Principal, now time.Time) bool {
	if !now.Before(p.Expires) {
		return false
	}
	sum := sha256.Sum256([]byte(string(p.Tenant) + "\x00" + p.Session))
	as, err := s.remembering(ctx, &s.held, sum, heldTTL, now, func() (store.Resource, error) {
		return s.catalog.Get(ctx, p.Tenant, store.KindSession, p.Session)
	})
	if err != nil {
		return !errors.Is(err, ErrBadCredentials)
	}
	return as.Subject == p.Subject && as.Role == p.Role
}

func (s *Sessions) remembering(ctx context.Context, m *memory, sum [sha256.Size]byte, ttl time.Duration, now time.Time, read func() (store.Resource, error)) (Principal, error) {
	// The revision comes first: what is read after it is at least that new.
	revision, err := s.catalog.Revision(ctx)
	if err != nil {
		return Principal{}, fmt.Errorf("cannot authenticate: %w", err)
	}
	if p, ok := m.remembered(sum, revision, now); ok {
		return p, nil
	}
	r, err := read()
	var p Principal
	if err == nil {
		p, err = s.principal(ctx, &r, now)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Principal{}, ErrBadCredentials
	case errors.Is(err, ErrBadCredentials):
		return Principal{}, err
	case err != nil:
		return Principal{}, fmt.Errorf("cannot authenticate: %w", err)
	}
	until := now.Add(ttl)
	if p.Expires.Before(until) {
		until = p.Expires
	}
	m.remember(sum, knownPrincipal{p, until}, revision, now)
	return p, nil
}

// principal is who a session is: its member as it is now.
func (s *Sessions) principal(ctx context.Context, r *store.Resource, now time.Time) (Principal, error) {
	session, err := sessionOf(r)
	if err != nil {
		return Principal{}, err
	}
	if !session.Good(r.UsedAt, now) {
		return Principal{}, ErrBadCredentials
	}
	of, err := s.catalog.Get(ctx, r.Tenant, store.KindMember, session.Member)
	if err != nil {
		return Principal{}, err
	}
	var m Member
	if err := json.Unmarshal(of.Body, &m); err != nil {
		return Principal{}, fmt.Errorf("the stored member %q of tenant %q cannot be read: %w", of.Slug, of.Tenant, err)
	}
	if m.State != MemberActive {
		return Principal{}, ErrBadCredentials
	}
	return Principal{Tenant: r.Tenant, Subject: MemberSubject(of.Slug), Name: m.Name, Role: m.Role, Expires: session.ExpiresAt,
		Method: session.Method, Session: r.Slug}, nil
}

func sessionOf(r *store.Resource) (session Session, err error) {
	if err := json.Unmarshal(r.Body, &session); err != nil {
		return session, fmt.Errorf("the stored session %q of tenant %q cannot be read: %w", r.Slug, r.Tenant, err)
	}
	return session, nil
}

// Good says whether a session that was used at some time last has not ended by itself.
func (s *Session) Good(used, now time.Time) bool { return now.Before(s.Ends(used)) }

// Ends is when a session ends by itself if it is not used any more.
func (s *Session) Ends(used time.Time) time.Time {
	if used.Before(s.CreatedAt) { // it was not used yet
		used = s.CreatedAt
	}
	if idle := used.Add(SessionIdle); idle.Before(s.ExpiresAt) {
		return idle
	}
	return s.ExpiresAt
}
