package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// untouched is a catalog that notes no use, as on a disk that is full.
type untouched struct{ store.Catalog }

func (untouched) Touch(context.Context, []store.Use) error { return store.ErrFull }

func TestWhoIsSignedInGoesOnWhereTheUseCannotBeNotedUntilTheSessionEndsByWhatIs(t *testing.T) {
	s := newCatalog(t)
	began := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	id, cookie := NewSession()
	sum := sha256.Sum256([]byte(cookie))
	put := func(kind store.Kind, slug, lookup string, v any) {
		t.Helper()
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: kind, Slug: slug, Lookup: lookup, Body: body, At: began}); err != nil {
			t.Fatal(err)
		}
	}
	put(store.KindMember, "m1", "", Member{Name: "Ann", Role: RoleViewer, State: MemberActive})
	put(store.KindSession, id, hex.EncodeToString(sum[:]), Session{Member: "m1", CreatedAt: began, ExpiresAt: began.Add(SessionLifetime)})
	sessions := NewSessions(untouched{s})
	for _, after := range []time.Duration{0, 2 * time.Minute, SessionIdle - time.Minute} {
		if p, err := sessions.Authenticate(t.Context(), cookie, began.Add(after)); err != nil || p.Subject != MemberSubject("m1") {
			t.Errorf("after %s: %+v, %v", after, p, err)
		}
	}
	if _, err := sessions.Authenticate(t.Context(), cookie, began.Add(SessionIdle+time.Minute)); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("a session that has not been used for so long as far as is known: %v", err)
	}
}
