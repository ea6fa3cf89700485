package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/vault"
)

// secret is what must be found nowhere.
const secret = "whsec_MARKER_4f1c0de5a9"

const (
	keyA = "Wm9tYmllcyBlYXQgYnJhaW5zLCBub3Qga2V5cyE0Mz0="                     // gitleaks:allow
	keyB = "8f3a5c1e9d7b204f6a8c0e2d4b6f813579bdf02468ace13579bdf0246813579b" // gitleaks:allow
)

func masters(t *testing.T, texts ...string) vault.Given {
	t.Helper()
	m, err := vault.ParseKeys(strings.Join(texts, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// folder is one in memory, where there is one: this is not about disks.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vault")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// lite opens the catalog of a folder.
func lite(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "catalog.sqlite"), CheckEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sealing(t *testing.T, under store.Catalog, m vault.Masters) *vault.Catalog {
	t.Helper()
	v, err := tryOpen(t, under, m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func tryOpen(t *testing.T, under store.Catalog, m vault.Masters) (*vault.Catalog, error) {
	t.Helper()
	return vault.Open(t.Context(), vault.Config{Catalog: under, Masters: m, Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

func source(slug string) store.Put {
	return store.Put{Tenant: "acme", Kind: store.KindSource, Slug: slug, Lookup: "token-of-" + slug, At: time.Now(),
		Body: json.RawMessage(`{"secrets":["` + secret + slug + `"]}`)}
}

func put(t *testing.T, c store.Catalog, p store.Put) store.Resource {
	t.Helper()
	r, err := c.Put(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantSource checks that a source comes back as it was put, every way.
func wantSource(t *testing.T, c store.Catalog, p store.Put) store.Resource {
	t.Helper()
	r, err := c.Get(t.Context(), p.Tenant, p.Kind, p.Slug)
	if err != nil || !bytes.Equal(r.Body, p.Body) || r.Lookup != p.Lookup {
		t.Fatalf("%s: %s, %q, %v", p.Slug, r.Body, r.Lookup, err)
	}
	found, err := c.Find(t.Context(), p.Kind, p.Lookup)
	if err != nil || found.Slug != p.Slug || !bytes.Equal(found.Body, p.Body) {
		t.Fatalf("%s by its lookup: %s, %v", p.Slug, found.Body, err)
	}
	return r
}

// holds says in which files of a folder a text is.
func holds(t *testing.T, dir, text string) (in []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			in = append(in, filepath.Base(path))
		}
		return err
	})
	if err != nil || files < 2 {
		t.Fatalf("%d files, %v", files, err)
	}
	return in
}

func TestSealedCatalogConforms(t *testing.T) {
	dirs := map[string]string{}
	storetest.Resources(t, func(t *testing.T, dir string) store.Catalog {
		if dirs[dir] == "" {
			dirs[dir] = folder(t)
		}
		dir = dirs[dir]
		v := sealing(t, lite(t, dir), masters(t, keyA))
		v.SealAll()
		return v
	})
}

func TestEveryKindSaysWhetherItHoldsSecrets(t *testing.T) {
	kinds := map[string]bool{}
	files, err := filepath.Glob("../store/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Kind" {
				return true
			}
			for _, value := range v.Values {
				lit, ok := value.(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: a kind that is no literal", path)
					continue
				}
				name, _ := strconv.Unquote(lit.Value)
				kinds[name] = true
			}
			return true
		})
	}
	if len(kinds) < 11 {
		t.Fatalf("kinds: %v", kinds)
	}
	for k := range kinds {
		if _, known := vault.HoldsSecrets(store.Kind(k)); !known {
			t.Errorf("the kind %q has no row in the table of vault/kinds.go: does it hold secrets?", k)
		}
	}
}

func TestSecretsAreNotInTheCatalogsFiles(t *testing.T) {
	dir := folder(t)
	under := lite(t, dir)
	v := sealing(t, under, masters(t, keyA))
	p := source("stripe")
	put(t, v, p)
	wantSource(t, v, p)
	for _, text := range []string{secret, p.Lookup} {
		if in := holds(t, dir, text); in != nil { // the write-ahead logs are there, the catalog is open
			t.Errorf("%s is in %v", text, in)
		}
	}
	plain := store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: json.RawMessage(`{"name":"to be read by anybody"}`), At: time.Now()}
	put(t, v, plain)
	if in := holds(t, dir, "to be read by anybody"); in == nil {
		t.Error("what is no secret cannot be found in the files, so this test proves nothing")
	}
}

func TestABodyThatWasMovedToAnotherRowDoesNotOpen(t *testing.T) {
	under := lite(t, folder(t))
	v := sealing(t, under, masters(t, keyA))
	put(t, v, source("mine"))
	raw, err := under.Get(t.Context(), "acme", store.KindSource, "mine")
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(raw.Body)
	changed[len(changed)-1] ^= 1 // another letter or digit, or what is neither
	for _, to := range []store.Put{
		{Tenant: "evil", Kind: store.KindSource, Slug: "mine", Lookup: "x", Body: raw.Body},
		{Tenant: "acme", Kind: store.KindChannel, Slug: "mine", Lookup: "x", Body: raw.Body},
		{Tenant: "acme", Kind: store.KindSource, Slug: "yours", Lookup: "z", Body: raw.Body},
		{Tenant: "acme", Kind: store.KindSource, Slug: "mine", Lookup: "y", Body: changed},
	} {
		put(t, under, to)
		if r, err := v.Get(t.Context(), to.Tenant, to.Kind, to.Slug); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s/%s/%s opens: %s, %v", to.Tenant, to.Kind, to.Slug, r.Body, err)
		}
	}
}

func TestAStoredLookupIsNoLookup(t *testing.T) {
	under := lite(t, folder(t))
	v := sealing(t, under, masters(t, keyA))
	put(t, v, source("a"))
	raw, err := under.Get(t.Context(), "acme", store.KindSource, "a")
	if err != nil || raw.Lookup == "" {
		t.Fatal(raw.Lookup, err)
	}
	if r, err := v.Find(t.Context(), store.KindSource, raw.Lookup); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is stored finds %s, %v", r.Slug, err)
	}
	swapped := store.Rewrite{Tenant: "acme", Kind: store.KindSource, Slug: "a", IfRevision: raw.Revision, Lookup: "chosen", Body: raw.Body}
	if err := under.Rewrite(t.Context(), swapped); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Find(t.Context(), store.KindSource, "chosen"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a lookup that was put into the file finds %s, %v", r.Slug, err)
	}
}

func TestPlainBodiesFromBeforeAreReadAndThenEncrypted(t *testing.T) {
	dir := folder(t)
	under := lite(t, dir)
	var before []store.Resource
	for i := range 20 {
		before = append(before, put(t, under, source(fmt.Sprint("s", i))))
	}
	gone := source("gone")
	put(t, under, gone)
	if err := under.Delete(t.Context(), store.Delete{Tenant: gone.Tenant, Kind: gone.Kind, Slug: gone.Slug}); err != nil {
		t.Fatal(err)
	}
	if holds(t, dir, secret) == nil {
		t.Fatal("there is nothing to encrypt")
	}
	v := sealing(t, under, masters(t, keyA))
	wantSource(t, v, source("s3"))
	s, err := v.Status(t.Context())
	if err != nil || s.Plain != 20 || s.Bodies != 20 || !s.Encrypted {
		t.Fatalf("%+v, %v", s, err)
	}
	v.Pass(t.Context())
	for i, b := range before {
		r := wantSource(t, v, source(fmt.Sprint("s", i)))
		if r.Revision != b.Revision || r.ID != b.ID || !r.UpdatedAt.Equal(b.UpdatedAt) {
			t.Errorf("encryption looks like a change: %+v, was %+v", r, b)
		}
	}
	for _, text := range []string{secret, "token-of-"} {
		if in := holds(t, dir, text); in != nil {
			t.Errorf("%s is still in %v", text, in)
		}
	}
	if s, err = v.Status(t.Context()); err != nil || s.Plain != 0 || s.Rotating || s.Keys[0].Bodies != 20 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAWrongOrMissingMasterKeyFailsTheStartAndChangesNothing(t *testing.T) {
	dir := folder(t)
	under := lite(t, dir)
	v := sealing(t, under, masters(t, keyA))
	put(t, v, source("a"))
	revision, err := under.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]vault.Masters{"none": vault.Given{}, "another": masters(t, keyB), "own, whose file is gone": vault.OwnIn(t.TempDir())} {
		_, err := tryOpen(t, under, m)
		if err == nil || !errors.Is(err, vault.ErrNoKey) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, err := under.Revision(t.Context()); err != nil || after != revision {
		t.Errorf("something was changed: %d, %d, %v", revision, after, err)
	}
	wantSource(t, sealing(t, under, masters(t, keyA)), source("a"))
}

func TestANewMasterKeyTakesOverWhileTheOldOneIsGivenBesideIt(t *testing.T) {
	under := lite(t, folder(t))
	running := sealing(t, under, masters(t, keyA))
	put(t, running, source("a"))
	next := sealing(t, under, masters(t, keyB, keyA))
	wantSource(t, next, source("a"))
	put(t, next, source("b"))
	// A process that still has the old one only goes on, with what the new one has written too.
	wantSource(t, running, source("b"))
	put(t, running, source("c"))
	last := sealing(t, under, masters(t, keyB))
	for _, slug := range []string{"a", "b", "c"} {
		wantSource(t, last, source(slug))
	}
	if _, err := tryOpen(t, under, masters(t, keyA)); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("the old one alone is still good for a start: %v", err)
	}
}

func TestANewDataKeyEncryptsAllBodiesAnew(t *testing.T) {
	under := lite(t, folder(t))
	v := sealing(t, under, masters(t, keyA))
	other := sealing(t, under, masters(t, keyA)) // another process
	for i := range 10 {
		put(t, v, source(fmt.Sprint("s", i)))
	}
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, other, source("new")) // which the other process has not been told of
	s, err := other.Status(t.Context())
	if err != nil || !s.Rotating || len(s.Keys) != 2 || s.Keys[0].Number != 2 || s.Keys[0].Bodies != 1 || s.Keys[1].Bodies != 10 {
		t.Fatalf("%+v, %v", s, err)
	}
	// One is stopped in the middle, another goes on.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v.Pass(ctx)
	var both sync.WaitGroup
	for _, c := range []*vault.Catalog{v, other} {
		both.Go(func() { c.Pass(t.Context()) })
	}
	both.Wait()
	if s, err = v.Status(t.Context()); err != nil || s.Rotating || s.Keys[0].Bodies != 11 || s.Keys[1].Bodies != 0 || s.Trouble != "" {
		t.Errorf("%+v, %v", s, err)
	}
	for i := range 10 {
		wantSource(t, other, source(fmt.Sprint("s", i)))
	}
}

func TestWhatIsChangedDuringARotationStaysChanged(t *testing.T) {
	under := lite(t, folder(t))
	v := sealing(t, under, masters(t, keyA))
	for i := range 30 {
		put(t, v, source(fmt.Sprint("s", i)))
	}
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := func(i int) store.Put {
		p := source(fmt.Sprint("s", i))
		p.Body = json.RawMessage(fmt.Sprintf(`{"changed":%d}`, i))
		return p
	}
	var both sync.WaitGroup
	both.Go(func() { v.Pass(t.Context()) })
	both.Go(func() {
		for i := range 30 {
			if _, err := v.Put(t.Context(), changed(29-i)); err != nil {
				t.Error(err)
			}
		}
	})
	both.Wait()
	for i := range 30 {
		wantSource(t, v, changed(i))
	}
}

func TestTheServersOwnMasterKeyIsMadeOnceAndRotates(t *testing.T) {
	dir, under := folder(t), lite(t, folder(t))
	own := vault.OwnIn(dir)
	v := sealing(t, under, own)
	put(t, v, source("a"))
	first, err := os.ReadFile(own.Path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(own.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	v = sealing(t, under, own)
	if again, err := os.ReadFile(own.Path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("it was made again: %v", err)
	}
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.Pass(t.Context())
	second, err := os.ReadFile(own.Path)
	if err != nil || bytes.Equal(first, second) || bytes.Count(second, []byte("\n")) != 2 {
		t.Errorf("after a rotation: %d lines, %v", bytes.Count(second, []byte("\n")), err)
	}
	wantSource(t, sealing(t, under, own), source("a"))
	// A rotation that ended between the new key and the rewrapping.
	if err := own.Renew(); err != nil {
		t.Fatal(err)
	}
	wantSource(t, sealing(t, under, own), source("a"))
	// A server that is given a key takes over from its own.
	v = sealing(t, under, vault.Several{masters(t, keyB), own})
	wantSource(t, v, source("a"))
	if s, err := v.Status(t.Context()); err != nil || s.Own {
		t.Errorf("%+v, %v", s, err)
	}
	wantSource(t, sealing(t, under, masters(t, keyB)), source("a"))
}

func TestAKeyFileThatWasExchangedCountsAtTheNextRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# of 2026\n" + keyA + "\n")
	under := lite(t, folder(t))
	v := sealing(t, under, vault.File{Path: path})
	put(t, v, source("a"))
	write(keyB)
	if err := v.Rotate(t.Context()); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("the old key is missing, and: %v", err)
	}
	put(t, v, source("b")) // as before
	write(keyB + "\n" + keyA)
	if err := v.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.Pass(t.Context())
	last := sealing(t, under, masters(t, keyB))
	wantSource(t, last, source("a"))
	wantSource(t, last, source("b"))
}

func TestWithoutAMasterKeySecretsStayPlainAndThisIsSaid(t *testing.T) {
	under := lite(t, folder(t))
	v := sealing(t, under, vault.Given{})
	put(t, v, source("a"))
	wantSource(t, v, source("a"))
	if v.Concern() == "" {
		t.Error("nothing is said")
	}
	if err := v.Rotate(t.Context()); !errors.Is(err, vault.ErrPlain) {
		t.Errorf("%v", err)
	}
	if s, err := v.Status(t.Context()); err != nil || s.Encrypted || s.Plain != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	// Another process was given a key: what it writes is not taken for plain text.
	sealed := sealing(t, under, masters(t, keyA))
	put(t, sealed, source("b"))
	if r, err := v.Get(t.Context(), "acme", store.KindSource, "b"); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("%s, %v", r.Body, err)
	}
}

func TestOnlyRandomKeysOf32BytesAreTaken(t *testing.T) {
	for _, text := range []string{"", "# nothing", "short", keyA[:40], keyB + "00", strings.Repeat("00", 32), strings.Repeat("A", 43) + "=", keyA + "\nrubbish",
		"correct horse battery staple correct horse"} {
		if m, err := vault.ParseKeys(text); err == nil {
			t.Errorf("%q gives %d keys", text, len(m))
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows it: %v", err)
		}
	}
	url := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(keyA)
	for _, text := range []string{keyA, keyB, url, " " + keyA + "\r\n", strings.ToUpper(keyB), keyA + "," + keyB} {
		if m, err := vault.ParseKeys(text); err != nil || len(m) == 0 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

var _ store.Catalog = (*vault.Catalog)(nil)

func FuzzASealedBodyOpensOnlyAsItWasSealed(f *testing.F) {
	under := &oneRow{}
	m, err := vault.ParseKeys(keyA)
	if err != nil {
		f.Fatal(err)
	}
	v, err := vault.Open(f.Context(), vault.Config{Catalog: under, Masters: vault.Given(m), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		f.Fatal(err)
	}
	p := source("fuzz")
	if _, err := v.Put(f.Context(), p); err != nil {
		f.Fatal(err)
	}
	whole := bytes.Clone(under.row.Body)
	for _, s := range []string{string(whole), string(whole[:len(whole)-1]), "sealed:", "sealed:1:", "sealed:1:1:", "sealed:1:01:AAAA", "sealed:2:1:AAAA", "sealed:1:9:AAAA", "{}", "",
		"sealed:1:1:" + strings.Repeat("A", 60), "sealed:1:9223372036854775808:AAAA", string(whole) + "\n", strings.Replace(string(whole), ":1:1:", ":1:+1:", 1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		under.row.Body = json.RawMessage(body)
		r, err := v.Get(t.Context(), p.Tenant, p.Kind, p.Slug)
		switch {
		case !strings.HasPrefix(body, "sealed:"):
			if err != nil || string(r.Body) != body {
				t.Fatalf("plain %q: %q, %v", body, r.Body, err)
			}
		case body == string(whole):
			if err != nil || !bytes.Equal(r.Body, p.Body) || r.Lookup != p.Lookup {
				t.Fatalf("%s, %v", r.Body, err)
			}
		case err == nil:
			t.Fatalf("%q opens as %q", body, r.Body)
		}
	})
}

// oneRow is a catalog in memory with one source and the data keys.
type oneRow struct {
	store.Catalog
	row  store.Resource
	keys []store.Resource
}

func (o *oneRow) Put(_ context.Context, p store.Put) (store.Resource, error) {
	r := store.Resource{Tenant: p.Tenant, Kind: p.Kind, Slug: p.Slug, Lookup: p.Lookup, Body: p.Body, Revision: 1}
	if p.Kind == store.KindDataKey {
		o.keys = append(o.keys, r)
	} else {
		o.row = r
	}
	return r, nil
}

func (o *oneRow) Get(context.Context, tenant.ID, store.Kind, string) (store.Resource, error) {
	return o.row, nil
}

func (o *oneRow) List(_ context.Context, _ tenant.ID, k store.Kind) ([]store.Resource, error) {
	if k == store.KindDataKey {
		return o.keys, nil
	}
	return nil, nil
}

// meddler changes data keys just before somebody else does, as another process may.
type meddler struct {
	store.Catalog
	times int
	now   func()
}

func (m *meddler) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	if p.Kind == vault.KindDataKey && p.IfRevision > 0 {
		if m.now != nil {
			m.now()
		}
		if m.times > 0 {
			m.times--
			r, err := m.Get(ctx, p.Tenant, p.Kind, p.Slug)
			if err != nil {
				return r, err
			}
			if _, err := m.Catalog.Put(ctx, store.Put{Tenant: p.Tenant, Kind: p.Kind, Slug: p.Slug, Body: r.Body, At: p.At}); err != nil {
				return store.Resource{}, err
			}
		}
	}
	return m.Catalog.Put(ctx, p)
}

func TestAMasterKeyIsForgottenOnlyWhenNoDataKeyIsLeftUnderIt(t *testing.T) {
	for times, ends := range map[int]bool{1: true, 100: false} {
		dir := folder(t)
		own := vault.OwnIn(dir)
		under := lite(t, dir)
		m := &meddler{Catalog: under}
		v := sealing(t, m, own)
		put(t, v, source("shop"))
		m.times = times
		err := v.Rotate(t.Context())
		if (err == nil) != ends || err != nil && !strings.Contains(err.Error(), "data key 1 was changed meanwhile: try again") {
			t.Errorf("changed %d times meanwhile: %v", times, err)
		}
		wantSource(t, sealing(t, under, own), source("shop"))
	}
}

func TestARotationDoesNotBeginWhileALookWritesDataKeys(t *testing.T) {
	dir := folder(t)
	m := &meddler{Catalog: lite(t, dir)}
	put(t, sealing(t, m, vault.Given{}), source("shop")) // so that the first look has something to write
	v := sealing(t, m, vault.OwnIn(dir))
	put(t, v, source("till"))
	looked := false
	m.now = func() {
		looked = true
		if err := v.Rotate(t.Context()); !errors.Is(err, vault.ErrRotating) {
			t.Errorf("a rotation within a look: %v", err)
		}
	}
	v.Pass(t.Context())
	if m.now = nil; !looked {
		t.Error("the look has written no data key")
	}
}
