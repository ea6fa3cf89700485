package postgres_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
	"github.com/pulsestream/pulsestream/internal/store/storetest"
)

// TestPostgres is all that needs a server, which is started once.
func TestPostgres(t *testing.T) {
	r := &rig{Server: pgtest.Start(t, pgtest.Options{}), named: map[string]string{}}
	r.empty = r.Database(t)
	if err := open(t, r.empty, brief).Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, *rig){
		"Events":  events,
		"Catalog": catalog,
		"Trail":   trail,

		"a forgotten WHERE shows only the tenant's own":             aForgottenWhereShowsOnlyTheTenantsOwn,
		"a tenant cannot write for another":                         aTenantCannotWriteForAnother,
		"an owner adds to its partition only":                       anOwnerAddsToItsPartitionOnly,
		"the parts of tables cannot be read":                        thePartsOfTablesCannotBeRead,
		"the owner of the tables sees nothing":                      theOwnerOfTheTablesSeesNothing,
		"what is no tenant's is kept under a star":                  whatIsNoTenantsIsKeptUnderAStar,
		"what a transaction takes on ends with it":                  whatATransactionTakesOnEndsWithIt,
		"what is wrong is said in a line that helps":                whatIsWrongIsSaidInALineThatHelps,
		"a humble login uses roles that are there":                  aHumbleLoginUsesRolesThatAreThere,
		"many processes may start at once":                          manyProcessesMayStartAtOnce,
		"a newer schema is left alone":                              aNewerSchemaIsLeftAlone,
		"which layout is in use is said":                            whichLayoutIsInUseIsSaid,
		"partitions come and go":                                    partitionsComeAndGo,
		"early events move to their day":                            earlyEventsMoveToTheirDay,
		"a long retention is kept":                                  aLongRetentionIsKept,
		"another process sees a change soon, and at once when told": anotherProcessSeesAChangeSoonAndAtOnceWhenTold,
		"compaction leaves one row for each series":                 compactionLeavesOneRowForEachSeries,
		"processes that keep the book do not lock each other out":   processesThatKeepTheBookDoNotLockEachOtherOut,
		"a tail of transitions misses none":                         aTailOfTransitionsMissesNone,
		"a commit whose owner is gone is taken back":                aCommitWhoseOwnerIsGoneIsTakenBack,
		"reads that stop early leave no connection behind":          readsThatStopEarlyLeaveNoConnectionBehind,
	} {
		t.Run(name, func(t *testing.T) { test(t, r) })
	}
}

// rig is a server for many tests.
type rig struct {
	*pgtest.Server
	empty string            // URL of a database that has the schema, and nothing else
	named map[string]string // URLs of databases by the folders that they stand for
	free  []string          // URLs of databases that were emptied: that is faster than making one
}

// brief keeps few days, so that there are few partitions to be made.
func brief(c *postgres.Config) { c.Keep = 24 * time.Hour }

// database is an empty one, with the schema, for this test alone.
func (r *rig) database(t *testing.T) (at string) {
	t.Helper()
	if n := len(r.free); n > 0 {
		at, r.free = r.free[n-1], r.free[:n-1]
	} else {
		at = r.Clone(t, r.empty)
	}
	t.Cleanup(func() {
		u, err := url.Parse(at)
		if err == nil {
			err = r.Exec(context.WithoutCancel(t.Context()), strings.TrimPrefix(u.Path, "/"), wipe)
		}
		if err != nil {
			t.Error(err)
		}
		r.free = append(r.free, at)
	})
	return at
}

// wipe leaves what a database has just behind its migrations.
const wipe = `DO $$
	DECLARE
		t text;
	BEGIN
		FOREACH t IN ARRAY ARRAY['offsets', 'events', 'rollup_fresh', 'rollup_1m', 'rollup_1h', 'rollup_1d', 'fills', 'rule_states', 'transitions', 'quarantine', 'resources', 'cursors', 'jobs',
			'audit_entries', 'audit_heads', 'events_usage', 'usage_book'] LOOP
			EXECUTE format('DELETE FROM pulsestream.%I', t);
		END LOOP;
		UPDATE pulsestream.counters SET value = CASE name WHEN 'id' THEN 999 ELSE 0 END;
	END $$`

// fresh opens an empty database.
func (r *rig) fresh(t *testing.T) *postgres.DB {
	t.Helper()
	return open(t, r.database(t), brief)
}

// of opens the database that stands for a folder.
func (r *rig) of(t *testing.T, dir string) *postgres.DB {
	t.Helper()
	if r.named[dir] == "" {
		r.named[dir] = r.database(t)
	}
	return open(t, r.named[dir], brief)
}

func events(t *testing.T, r *rig) {
	storetest.Events(t, func(t *testing.T, dir string) store.Events {
		db := r.of(t, dir)
		return half{db.Events(), db}
	})
}

func catalog(t *testing.T, r *rig) {
	storetest.Catalog(t, func(t *testing.T, dir string) store.Catalog {
		db := r.of(t, dir)
		return otherHalf{db.Catalog(), db}
	})
}

func trail(t *testing.T, r *rig) {
	storetest.Trail(t, func(t *testing.T, dir string) store.Catalog {
		db := r.of(t, dir)
		return otherHalf{db.Catalog(), db}
	}, func(t *testing.T, dir string, _ store.Catalog, sql string) {
		t.Helper()
		u, err := url.Parse(r.named[dir])
		if err == nil {
			err = r.Exec(t.Context(), strings.TrimPrefix(u.Path, "/"), "SET search_path = pulsestream", sql)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// half is events whose Close closes the whole database.
type half struct {
	*postgres.Events
	db *postgres.DB
}

func (h half) Close() error { return h.db.Close() }

type otherHalf struct {
	*postgres.Catalog
	db *postgres.DB
}

func (h otherHalf) Close() error { return h.db.Close() }

// open opens a database, with what it has to say in the test's log. It is closed when the test ends, if it was not before.
func open(tb testing.TB, url string, change func(*postgres.Config)) *postgres.DB {
	tb.Helper()
	cfg := postgres.Config{URL: url, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))}
	if change != nil {
		change(&cfg)
	}
	db, err := postgres.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}
