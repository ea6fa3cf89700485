package postgres_test

import (
	"log/slog"
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

		"a forgotten WHERE shows only the tenant's own":    aForgottenWhereShowsOnlyTheTenantsOwn,
		"a tenant cannot write for another":                aTenantCannotWriteForAnother,
		"an owner adds to its partition only":              anOwnerAddsToItsPartitionOnly,
		"the parts of tables cannot be read":               thePartsOfTablesCannotBeRead,
		"the owner of the tables sees nothing":             theOwnerOfTheTablesSeesNothing,
		"what is no tenant's is kept under a star":         whatIsNoTenantsIsKeptUnderAStar,
		"what a transaction takes on ends with it":         whatATransactionTakesOnEndsWithIt,
		"what is wrong is said in a line that helps":       whatIsWrongIsSaidInALineThatHelps,
		"a humble login uses roles that are there":         aHumbleLoginUsesRolesThatAreThere,
		"many processes may start at once":                 manyProcessesMayStartAtOnce,
		"a newer schema is left alone":                     aNewerSchemaIsLeftAlone,
		"which layout is in use is said":                   whichLayoutIsInUseIsSaid,
		"partitions come and go":                           partitionsComeAndGo,
		"early events move to their day":                   earlyEventsMoveToTheirDay,
		"compaction leaves one row for each series":        compactionLeavesOneRowForEachSeries,
		"a tail of transitions misses none":                aTailOfTransitionsMissesNone,
		"a commit whose owner is gone is taken back":       aCommitWhoseOwnerIsGoneIsTakenBack,
		"reads that stop early leave no connection behind": readsThatStopEarlyLeaveNoConnectionBehind,
	} {
		t.Run(name, func(t *testing.T) { test(t, r) })
	}
}

// rig is a server for many tests.
type rig struct {
	*pgtest.Server
	empty string            // URL of a database that has the schema, and nothing else
	named map[string]string // URLs of databases by the folders that they stand for
}

// brief keeps few days, so that there are few partitions to be made.
func brief(c *postgres.Config) { c.Keep = 24 * time.Hour }

// fresh opens an empty database.
func (r *rig) fresh(tb testing.TB) *postgres.DB {
	tb.Helper()
	return open(tb, r.Clone(tb, r.empty), brief)
}

// of opens the database that stands for a folder.
func (r *rig) of(t *testing.T, dir string) *postgres.DB {
	t.Helper()
	if r.named[dir] == "" {
		r.named[dir] = r.Clone(t, r.empty)
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
