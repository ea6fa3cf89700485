package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func start() time.Time { return time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC) }

func newCatalog(tb testing.TB) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), sqlite.Config{Path: filepath.Join(tb.TempDir(), "catalog.sqlite")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func addKey(tb testing.TB, c store.Catalog, id tenant.ID, slug, full string, role Role) {
	tb.Helper()
	body, err := json.Marshal(Key{Name: "the " + slug, Role: role, CreatedAt: start()})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := c.Put(tb.Context(), store.Put{Tenant: id, Kind: store.KindKey, Slug: slug, Lookup: Lookup(full), Body: body, At: start()}); err != nil {
		tb.Fatal(err)
	}
}

// counted counts the reads that reach the catalog, and may do something in the midst of one.
type counted struct {
	store.Catalog
	finds  int
	during func()
	lags   int64 // how far behind the revision is
}

func (c *counted) Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error) {
	c.finds++
	r, err := c.Catalog.Find(ctx, k, lookup)
	if c.during != nil {
		c.during()
	}
	return r, err
}

func (c *counted) Revision(ctx context.Context) (int64, error) {
	r, err := c.Catalog.Revision(ctx)
	return r - c.lags, err
}

func TestKeysAreLongUniqueAndHaveTheirForm(t *testing.T) {
	form := regexp.MustCompile(`^ps_([a-z2-7]{16})_([a-z2-7]{47})$`)
	if published := regexp.MustCompile("^" + KeyPattern + "$"); !published.MatchString(JoinKey(random(idBytes), strings.Repeat("a", 47))) {
		t.Error("the published pattern is another")
	}
	seen := map[string]bool{}
	for range 1000 {
		full, id := NewKey()
		m := form.FindStringSubmatch(full)
		if m == nil || m[1] != id || seen[m[1]] || seen[m[2]] {
			t.Fatalf("key %q with id %q", full, id)
		}
		seen[m[1]], seen[m[2]] = true, true
		if err := tenant.CheckSlug(id); err != nil {
			t.Error(err)
		}
		if got, ok := KeyID(full); !ok || got != id {
			t.Errorf("KeyID(%q) = %q, %v", full, got, ok)
		}
	}
	if bits := secretChars * math.Log2(32); bits < 160 {
		t.Errorf("a secret has %v bits", bits)
	}
}

func TestKeyIDReadsOnlyKeys(t *testing.T) {
	for full, want := range map[string]string{
		"ps_abc_Secret0": "abc", "ps_a-1_s-2": "a-1",
		"": "", "ps_": "", "ps_abc": "", "ps_abc_": "", "ps__s": "", "ps_ABC_s": "", "ps_a_b_c": "", "xs_abc_s": "", "ps_-a_s": "", "ps_abc_s\n": "",
	} {
		if got, ok := KeyID(full); got != want || ok != (want != "") {
			t.Errorf("KeyID(%q) = %q, %v; want %q", full, got, ok, want)
		}
	}
}

func TestAKeyIsItsPrincipalAndNothingElseIs(t *testing.T) {
	c := newCatalog(t)
	full, id := NewKey()
	addKey(t, c, "acme", id, full, RoleEditor)
	addKey(t, c, "other", "odd", "any form, say a passphrase of many words", RoleIngest)
	if _, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindSource, Slug: "s", Lookup: Lookup("a hook's token")}); err != nil {
		t.Fatal(err)
	}
	k := NewKeys(c, nil)
	for bearer, want := range map[string]Principal{
		full: {Tenant: "acme", Subject: "key:" + id, Name: "the " + id, Role: RoleEditor, Method: MethodKey},
		"any form, say a passphrase of many words": {Tenant: "other", Subject: "key:odd", Name: "the odd", Role: RoleIngest, Method: MethodKey},
	} {
		for range 2 { // the second comes from memory
			if got, err := k.Authenticate(t.Context(), bearer, start()); err != nil || got != want {
				t.Errorf("Authenticate = %+v, %v; want %+v", got, err, want)
			}
		}
	}
	for _, bad := range []string{
		full[:len(full)-1], full + "a", full + " ", strings.ToUpper(full), id, "ps_" + id, Lookup(full), "a hook's token", "Bearer " + full, "\x00", strings.Repeat("a", 1<<20),
	} {
		if p, err := k.Authenticate(t.Context(), bad, start()); !errors.Is(err, ErrBadCredentials) || p != (Principal{}) {
			t.Errorf("Authenticate(%.80q) = %+v, %v; want %v", bad, p, err, ErrBadCredentials)
		}
	}
	if _, err := k.Authenticate(t.Context(), "", start()); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("error of an empty token is %v, want %v", err, ErrNoCredentials)
	}
}

func TestTheCatalogHoldsNoSecret(t *testing.T) {
	c := newCatalog(t)
	full, id := NewKey()
	addKey(t, c, "acme", id, full, RoleEditor)
	r, err := c.Get(t.Context(), "acme", store.KindKey, id)
	if err != nil {
		t.Fatal(err)
	}
	secret := full[strings.LastIndex(full, "_")+1:]
	if all := fmt.Sprintf("%+v %s", r, r.Body); strings.Contains(all, secret) {
		t.Errorf("the stored key shows its secret: %s", all)
	}
}

func TestAKeyInUseIsReadOnceInAWhile(t *testing.T) {
	c := &counted{Catalog: newCatalog(t)}
	addKey(t, c, "acme", "k", "secret", RoleIngest)
	k := NewKeys(c, nil)
	now := start()
	for i, step := range []struct {
		after time.Duration
		finds int
	}{{0, 1}, {0, 1}, {keyTTL - 1, 1}, {1, 2}, {keyTTL - 2, 2}, {time.Hour, 3}} {
		now = now.Add(step.after)
		if _, err := k.Authenticate(t.Context(), "secret", now); err != nil || c.finds != step.finds {
			t.Errorf("step %d: %d reads, %v; want %d", i, c.finds, err, step.finds)
		}
	}
}

func TestAChangeOfTheCatalogIsSeenAtOnce(t *testing.T) {
	c := newCatalog(t)
	addKey(t, c, "acme", "k", "secret", RoleViewer)
	k := NewKeys(c, nil)
	role := func() Role {
		t.Helper()
		p, err := k.Authenticate(t.Context(), "secret", start())
		if err != nil {
			t.Fatal(err)
		}
		return p.Role
	}
	if role() != RoleViewer {
		t.Fatal("not a viewer to begin with")
	}
	addKey(t, c, "acme", "k", "secret", RoleEditor)
	if got := role(); got != RoleEditor {
		t.Errorf("after the change the role is %s", got)
	}
	if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Authenticate(t.Context(), "secret", start()); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("after the key was deleted the error is %v, want %v", err, ErrBadCredentials)
	}
}

func TestAKeyThatIsDeletedWhileItIsReadIsNotRemembered(t *testing.T) {
	c := &counted{Catalog: newCatalog(t)}
	addKey(t, c, "acme", "k", "secret", RoleViewer)
	addKey(t, c, "acme", "other", "other", RoleViewer)
	k := NewKeys(c, nil)
	c.during = func() {
		c.during = nil
		if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "k"}); err != nil {
			t.Error(err)
		}
		if _, err := k.Authenticate(t.Context(), "other", start()); err != nil { // what is remembered is of the new revision now
			t.Error(err)
		}
	}
	_, _ = k.Authenticate(t.Context(), "secret", start()) // either answer is right: they happen at the same time
	if _, err := k.Authenticate(t.Context(), "secret", start()); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("after the key was deleted the error is %v, want %v", err, ErrBadCredentials)
	}
}

func TestARevokedKeyEndsWithinTheTTLEvenIfTheRevisionLags(t *testing.T) {
	c := &counted{Catalog: newCatalog(t)}
	addKey(t, c, "acme", "k", "secret", RoleViewer)
	k := NewKeys(c, nil)
	if _, err := k.Authenticate(t.Context(), "secret", start()); err != nil {
		t.Fatal(err)
	}
	c.lags = 1
	if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Authenticate(t.Context(), "secret", start().Add(keyTTL)); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("after the time to live the error is %v, want %v", err, ErrBadCredentials)
	}
}

func TestGuessesAreNotRemembered(t *testing.T) {
	k := NewKeys(newCatalog(t), nil)
	for i := range 50 {
		_, _ = k.Authenticate(t.Context(), fmt.Sprint("guess", i), start())
	}
	if len(k.known) != 0 {
		t.Errorf("%d guesses are remembered", len(k.known))
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	k := NewKeys(newCatalog(t), nil)
	sum := func(i int) (s [32]byte) {
		copy(s[:], fmt.Sprint(i))
		return s
	}
	for i := range cacheSize + 100 {
		k.remember(sum(i), knownPrincipal{until: start().Add(time.Duration(i%2) * time.Hour)}, 0, start().Add(-time.Minute))
	}
	if n := len(k.known); n > cacheSize || n < cacheSize/2 {
		t.Fatalf("%d keys are remembered, want at most %d, and not much fewer", n, cacheSize)
	}
	clear(k.known)
	for i := range cacheSize {
		k.remember(sum(i), knownPrincipal{until: start().Add(time.Duration(i%2) * time.Hour)}, 0, start().Add(-time.Minute))
	}
	k.remember(sum(-1), knownPrincipal{until: start().Add(time.Hour)}, 0, start())
	if n := len(k.known); n < cacheSize/2-100 || n > cacheSize/2+100 {
		t.Errorf("after half of them expired, %d are remembered", n)
	}
	if _, ok := k.remembered(sum(-1), 0, start()); !ok {
		t.Error("the one that needed the room is not remembered")
	}
}

func TestWhatTheCatalogCannotSayIsNoRefusal(t *testing.T) {
	c := newCatalog(t)
	addKey(t, c, "acme", "k", "secret", RoleViewer)
	if _, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "odd", Lookup: Lookup("odd"), Body: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	k := NewKeys(c, nil)
	if _, err := k.Authenticate(t.Context(), "odd", start()); err == nil || errors.Is(err, ErrBadCredentials) {
		t.Errorf("error of an unreadable key is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Authenticate(ctx, "secret", start()); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBadCredentials) {
		t.Errorf("error of a cancelled call is %v", err)
	}
	_ = c.Close()
	if _, err := k.Authenticate(t.Context(), "secret", start()); !errors.Is(err, store.ErrClosed) || errors.Is(err, ErrBadCredentials) {
		t.Errorf("error of a closed catalog is %v", err)
	}
}

func TestManyAuthenticateWhileKeysChange(t *testing.T) {
	c := newCatalog(t)
	addKey(t, c, "acme", "stays", "stays", RoleIngest)
	k := NewKeys(c, nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := k.Authenticate(t.Context(), "stays", time.Now()); err != nil {
					t.Errorf("the key that stays: %v", err)
					return
				}
			}
		})
	}
	for i := range 15 {
		slug := fmt.Sprint("k", i)
		addKey(t, c, "acme", slug, slug, RoleIngest)
		if _, err := k.Authenticate(t.Context(), slug, time.Now()); err != nil {
			t.Errorf("a new key: %v", err)
		}
		if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindKey, Slug: slug}); err != nil {
			t.Error(err)
		}
		if _, err := k.Authenticate(t.Context(), slug, time.Now()); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("a deleted key: error is %v", err)
		}
	}
	close(done)
	wg.Wait()
}

func BenchmarkAuthenticate(b *testing.B) {
	c := newCatalog(b)
	full, id := NewKey()
	addKey(b, c, "acme", id, full, RoleIngest)
	k := NewKeys(c, nil)
	b.Run("hot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Authenticate(b.Context(), full, start()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hot, all cores", func(b *testing.B) {
		ctx := b.Context()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := k.Authenticate(ctx, full, start()); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("wrong", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Authenticate(b.Context(), "wrong", start()); !errors.Is(err, ErrBadCredentials) {
				b.Fatal(err)
			}
		}
	})
}
