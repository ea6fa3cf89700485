package vault_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
	"github.com/pulsestream/pulsestream/internal/vault"
)

func TestProcessesOfAFleetShareDataKeysAndRotateThemTogether(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	url := server.Database(t)
	process := func() store.Catalog {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db.Catalog()
	}
	plain := sealing(t, process(), vault.Given{}) // has no key yet
	put(t, plain, source("before"))
	under := process()
	fleet := []*vault.Catalog{sealing(t, under, masters(t, keyA)), sealing(t, process(), masters(t, keyA))}
	var all sync.WaitGroup
	for i, p := range fleet { // of which one makes the first data key
		all.Go(func() {
			for n := range 10 {
				if _, err := p.Put(t.Context(), source(fmt.Sprintf("p%d-%d", i, n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s, err := fleet[0].Status(t.Context())
	if err != nil || len(s.Keys) != 1 || s.Bodies != 21 || s.Plain != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := plain.Get(t.Context(), "acme", store.KindSource, "p0-0"); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("a process without a key: %v", err)
	}
	wantSource(t, plain, source("before"))
	next := sealing(t, process(), masters(t, keyB, keyA)) // the first of a rolling change of the master key
	if err := next.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fleet[0].Rotate(t.Context()); !errors.Is(err, vault.ErrNoKey) {
		t.Errorf("one that lacks the new master key makes data keys under the old one: %v", err)
	}
	for _, p := range append(fleet, next) {
		all.Go(func() { p.Pass(t.Context()) })
	}
	all.Wait()
	last := sealing(t, process(), masters(t, keyB, keyA))
	if s, err = last.Status(t.Context()); err != nil || s.Rotating || s.Plain != 0 || s.Bodies != 21 {
		t.Errorf("%+v, %v", s, err)
	}
	for i := range fleet {
		for n := range 10 {
			wantSource(t, last, source(fmt.Sprintf("p%d-%d", i, n)))
		}
	}
	wantSource(t, last, source("before"))
	raw, err := under.List(t.Context(), "", store.KindSource)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		if raw[i].Lookup == "" || raw[i].Lookup[:7] != "sha256:" || string(raw[i].Body[:7]) != "sealed:" {
			t.Errorf("%s is stored as %s, %s", raw[i].Slug, raw[i].Lookup, raw[i].Body)
		}
	}
}
