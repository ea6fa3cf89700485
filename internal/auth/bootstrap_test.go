package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const provided = "a-provided-key-of-at-least-32-characters"

// wantAdmin checks that key opens the default tenant as administrator, and that there is no other tenant or key.
func wantAdmin(t *testing.T, c store.Catalog, key string) {
	t.Helper()
	p, err := NewKeys(c, nil).Authenticate(t.Context(), key, start())
	if err != nil || p.Tenant != tenant.Default || p.Role != RoleAdmin || p.Name != "bootstrap" {
		t.Errorf("the key is %+v, %v; want an administrator of %s", p, err, tenant.Default)
	}
	for _, k := range []store.Kind{store.KindTenant, store.KindKey} {
		if list, err := c.List(t.Context(), "", k); err != nil || len(list) != 1 || list[0].Tenant != tenant.Default {
			t.Errorf("of kind %s there are %+v, %v; want one", k, list, err)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAnEmptyCatalogGetsATenantAndAFreshKeyInAFile(t *testing.T) {
	c, dir := newCatalog(t), t.TempDir()
	key, made, err := Bootstrap(t.Context(), c, "", dir, start())
	if err != nil || !made {
		t.Fatalf("Bootstrap: made %v, %v", made, err)
	}
	wantAdmin(t, c, key)
	if _, ok := KeyID(key); !ok {
		t.Errorf("the key is %q", key)
	}
	path := filepath.Join(dir, BootstrapFile)
	content, err := os.ReadFile(path)
	if err != nil || string(content) != key+"\n" {
		t.Errorf("the file says %q, %v; the key is %q", content, err, key)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("the folder has %v", got)
	}
	r, err := c.Get(t.Context(), tenant.Default, store.KindTenant, "default")
	if err != nil {
		t.Fatal(err)
	}
	var got tenant.Tenant
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatal(err)
	}
	if want := (tenant.Tenant{ID: "default", Name: "Default", CreatedAt: start(), RetentionDays: 30}); got != want || !r.CreatedAt.Equal(start()) {
		t.Errorf("the tenant is %+v, want %+v", got, want)
	}
}

func TestAProvidedKeyIsTakenAsItIsAndNotWrittenDown(t *testing.T) {
	for _, given := range []string{provided, strings.Repeat("x", bootstrapLength), "ps_first_0123456789abcdef0123456789", "ps_Odd_0123456789abcdef0123456789", "aA0-._~+/aA0-._~+/aA0-._~+/aA0=="} {
		c, dir := newCatalog(t), t.TempDir()
		key, made, err := Bootstrap(t.Context(), c, given, dir, start())
		if err != nil || !made || key != given {
			t.Fatalf("Bootstrap = %q, %v, %v", key, made, err)
		}
		wantAdmin(t, c, given)
		if got := files(t, dir); len(got) != 0 {
			t.Errorf("the folder has %v", got)
		}
	}
}

func TestAProvidedKeyThatWillNotDoIsRefusedWithAReason(t *testing.T) {
	for given, want := range map[string]string{
		"short":                            "at least 32",
		strings.Repeat("x", 31):            "at least 32",
		strings.Repeat("x", longestKey+1):  "at most",
		strings.Repeat("x", 32) + "\n":     "no line break",
		strings.Repeat("two words ", 10):   "no spaces",
		strings.Repeat("ü", 32):            "only letters",
		"=" + strings.Repeat("x", 32):      "bearer token",
		strings.Repeat("x", 32) + "\x00yz": "bearer token",
	} {
		c, dir := newCatalog(t), t.TempDir()
		_, made, err := Bootstrap(t.Context(), c, given, dir, start())
		if made || err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), BootstrapVariable) {
			t.Errorf("Bootstrap(%.40q): made %v, error %v; want one that says %q", given, made, err, want)
		}
		if err != nil && strings.Contains(err.Error(), given) {
			t.Errorf("the error shows the key: %v", err)
		}
		if n, err := c.Revision(t.Context()); err != nil || n != 0 {
			t.Errorf("the catalog is at revision %d, %v", n, err)
		}
	}
}

func TestACatalogWithATenantIsLeftAlone(t *testing.T) {
	c, dir := newCatalog(t), t.TempDir()
	if _, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindTenant, Slug: "acme", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{"", provided, "short"} {
		key, made, err := Bootstrap(t.Context(), c, given, dir, start())
		if key != "" || made || err != nil {
			t.Errorf("Bootstrap(%q) = %q, %v, %v; want nothing", given, key, made, err)
		}
	}
	if n, err := c.Revision(t.Context()); err != nil || n != 1 || len(files(t, dir)) != 0 {
		t.Errorf("the catalog is at revision %d, %v, the folder has %v", n, err, files(t, dir))
	}
}

func TestTheSecondStartMakesNothing(t *testing.T) {
	c, dir := newCatalog(t), t.TempDir()
	first, _, err := Bootstrap(t.Context(), c, "", dir, start())
	if err != nil {
		t.Fatal(err)
	}
	if key, made, err := Bootstrap(t.Context(), c, provided, dir, start()); key != "" || made || err != nil {
		t.Errorf("the second Bootstrap = %q, %v, %v", key, made, err)
	}
	wantAdmin(t, c, first)
}

// stopping is a catalog whose process stops before its nth call.
type stopping struct {
	Bootstrapper
	left int
}

var errStopped = errors.New("stopped")

func (s *stopping) stop() error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return nil
}

func (s *stopping) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	if err := s.stop(); err != nil {
		return store.Resource{}, err
	}
	return s.Bootstrapper.Put(ctx, p)
}

func (s *stopping) List(ctx context.Context, id tenant.ID, k store.Kind) ([]store.Resource, error) {
	if err := s.stop(); err != nil {
		return nil, err
	}
	return s.Bootstrapper.List(ctx, id, k)
}

func TestAnInterruptedBootstrapIsFinishedByTheNext(t *testing.T) {
	for _, values := range [][2]string{{"", ""}, {provided, provided}, {provided, provided + "2"}, {"", provided}, {"ps_one_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ps_one_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}} {
		for calls := range 3 {
			t.Run(fmt.Sprintf("%q then %q, stopped after %d calls", values[0], values[1], calls), func(t *testing.T) {
				c, dir := newCatalog(t), t.TempDir()
				if _, made, err := Bootstrap(t.Context(), &stopping{c, calls}, values[0], dir, start()); made || !errors.Is(err, errStopped) {
					t.Fatalf("the first: made %v, %v", made, err)
				}
				key, made, err := Bootstrap(t.Context(), c, values[1], dir, start())
				if err != nil || !made {
					t.Fatalf("the second: made %v, %v", made, err)
				}
				wantAdmin(t, c, key)
			})
		}
	}
}

func TestAKeyThatCannotBeWrittenDownIsNotMade(t *testing.T) {
	c := newCatalog(t)
	if _, made, err := Bootstrap(t.Context(), c, "", filepath.Join(t.TempDir(), "none"), start()); made || err == nil {
		t.Errorf("made %v, %v", made, err)
	}
	if n, err := c.Revision(t.Context()); err != nil || n != 0 {
		t.Errorf("the catalog is at revision %d, %v", n, err)
	}
}

func TestOfManyAtTheSameTimeOneBootstraps(t *testing.T) {
	for name, given := range map[string]string{"fresh keys": "", "the same provided key": provided} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				c := newCatalog(t)
				var mu sync.Mutex
				var keys, dirs []string
				var wg sync.WaitGroup
				for range 6 {
					dir := t.TempDir()
					wg.Go(func() {
						key, made, err := Bootstrap(t.Context(), c, given, dir, start())
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							t.Error(err)
						}
						if made {
							keys, dirs = append(keys, key), append(dirs, dir)
						} else if left := files(t, dir); len(left) > 0 {
							t.Errorf("one that made nothing left %v", left)
						}
					})
				}
				wg.Wait()
				if len(keys) != 1 {
					t.Fatalf("%d processes made the tenant", len(keys))
				}
				wantAdmin(t, c, keys[0])
				if b, err := os.ReadFile(filepath.Join(dirs[0], BootstrapFile)); given == "" && (err != nil || string(b) != keys[0]+"\n") {
					t.Errorf("the file says %q, %v", b, err)
				}
			}
		})
	}
}
