package postgres_test

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
)

// TestTimescale needs a server with TimescaleDB, and is skipped without.
func TestTimescale(t *testing.T) {
	url := pgtest.TimescaleDatabase(t)
	db := open(t, url, brief)
	if db.Layout() != postgres.Timescale {
		t.Fatalf("the layout is %q", db.Layout())
	}
	put(t, db, "acme", "rule")
	newLoad(0).into(t, db, newLoad(0).commit(100, 10))
	if err := db.Events().Maintain(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := db.AsTenant(t.Context(), "tenant-0-1", `SELECT DISTINCT tenant FROM events`); err != nil || len(all) != 1 {
		t.Errorf("without a WHERE a tenant sees the events of %v, %v", all, err)
	}
	if n, err := db.CountAsLogin(t.Context(), "events"); err != nil || n != 0 {
		t.Errorf("the login sees %d events, %v", n, err)
	}
	urls := map[string]string{}
	storetest.Events(t, func(t *testing.T, dir string) store.Events {
		if urls[dir] == "" {
			urls[dir] = pgtest.TimescaleDatabase(t)
		}
		db := open(t, urls[dir], brief)
		return half{db.Events(), db}
	})
}
