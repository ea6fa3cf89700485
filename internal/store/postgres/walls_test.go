package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
)

// filled is a database in which two tenants have one of everything.
func filled(t *testing.T, r *rig) *postgres.DB {
	t.Helper()
	db := r.fresh(t)
	l := newLoad(0)
	c := l.commit(20, 20)
	for i := range c.Events {
		c.Events[i].Tenant = []tenantID{"acme", "evil"}[i%2]
	}
	for i := range c.Rollups {
		c.Rollups[i].Tenant = []tenantID{"acme", "evil"}[i%2]
	}
	for _, t := range []tenantID{"acme", "evil"} {
		c.States = append(c.States, stateOf(t))
		c.Transitions = append(c.Transitions, transitionOf(t))
		c.Fills = append(c.Fills, store.Fill{Tenant: t, Metric: 1})
		c.Quarantine = append(c.Quarantine, store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: t, ID: "q"}, Stage: "decode", At: l.clock})
	}
	l.into(t, db, c)
	for _, t2 := range []tenantID{"acme", "evil"} {
		put(t, db, t2, "rule")
		r := store.Record{Tenant: t2, At: l.clock, Actor: store.Actor{Subject: "key:k"}, Action: "rule.put", Target: store.Target{Kind: store.KindRule, Slug: "rule"}}
		if _, err := db.Catalog().Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := db.Catalog().Enqueue(t.Context(), "tail", 1, []store.Job{{ID: "j", Tenant: t2, CreatedAt: l.clock}}); err != nil {
			t.Fatal(err)
		}
		if err := db.Catalog().Usage().AddUsage(t.Context(), []store.Usage{{Tenant: t2, Hour: noon(), Queries: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// Without a single WHERE a tenant's transaction sees and changes its own rows only.
func aForgottenWhereShowsOnlyTheTenantsOwn(t *testing.T, r *rig) {
	db := filled(t, r)
	for table, rows := range map[string]int{"events": 10, "rollup_fresh": 10, "transitions": 1, "quarantine": 1, "resources": 1, "jobs": 1, "audit_entries": 1, "audit_heads": 1, "events_usage": 1, "usage_book": 1} {
		seen, err := db.AsTenant(t.Context(), "acme", `SELECT tenant FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != rows || strings.Trim(strings.Join(seen, ""), "acme") != "" {
			t.Errorf("of %s acme sees the rows of %v, want %d of its own", table, seen, rows)
		}
		if none, err := db.AsTenant(t.Context(), "nobody", `SELECT tenant FROM `+table); err != nil || len(none) > 0 {
			t.Errorf("of %s nobody sees the rows of %v, %v", table, none, err)
		}
	}
	if _, err := db.AsTenant(t.Context(), "acme", `WITH x AS (UPDATE resources SET body = 'stolen' RETURNING tenant) SELECT tenant FROM x`); err != nil {
		t.Fatal(err)
	}
	theirs, err := db.Catalog().Get(t.Context(), "evil", store.KindRule, "rule")
	if err != nil || string(theirs.Body) == "stolen" {
		t.Errorf("the other tenant's rule is %s, %v, after an update without a WHERE", theirs.Body, err)
	}
}

func aTenantCannotWriteForAnother(t *testing.T, r *rig) {
	db := filled(t, r)
	for _, sql := range []string{
		`WITH x AS (INSERT INTO resources SELECT 'evil', kind, 'planted', 77, NULL, body, revision, created_at, updated_at, used_at FROM resources RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (UPDATE resources SET tenant = 'evil' RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (DELETE FROM events RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (INSERT INTO events SELECT * FROM events RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (INSERT INTO rollup_fresh_rows SELECT * FROM rollup_fresh RETURNING tenant) SELECT tenant FROM x`,
		`SELECT tenant FROM events_other`, `SELECT tenant FROM rollup_fresh_rows`,
		`WITH x AS (INSERT INTO usage_book (tenant, hour, queries) VALUES ('evil', 1, 7) RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (UPDATE usage_book SET tenant = 'evil' RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (UPDATE events_usage SET events = 0 RETURNING tenant) SELECT tenant FROM x`,
		`SELECT name FROM cursors`, `SELECT tenant FROM rule_states`,
		`WITH x AS (INSERT INTO audit_entries SELECT 'evil', 7, at, actor, action, kind, slug, text, hash FROM audit_entries RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (UPDATE audit_entries SET actor = 'nobody' RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (DELETE FROM audit_entries RETURNING tenant) SELECT tenant FROM x`,
		`WITH x AS (DELETE FROM audit_heads RETURNING tenant) SELECT tenant FROM x`,
	} {
		if done, err := db.AsTenant(t.Context(), "acme", sql); err == nil {
			t.Errorf("a tenant may do this: %s (%v)", sql, done)
		}
	}
}

func anOwnerAddsToItsPartitionOnly(t *testing.T, r *rig) {
	db := filled(t, r)
	const copies = `WITH x AS (INSERT INTO rollup_fresh SELECT * FROM rollup_fresh RETURNING tenant) SELECT tenant FROM x`
	if all, err := db.AsOwner(t.Context(), 0, copies); err != nil || len(all) != 20 {
		t.Errorf("the owner of the partition added %d rows, %v", len(all), err)
	}
	if all, err := db.AsOwner(t.Context(), 1, copies); err == nil {
		t.Errorf("the owner of another partition added %d rows", len(all))
	}
	const less = `WITH x AS (UPDATE events_usage SET events = 0 RETURNING tenant) SELECT tenant FROM x`
	if all, err := db.AsOwner(t.Context(), 1, less); err == nil {
		t.Errorf("the owner of another partition changed what was counted, in %d rows", len(all))
	}
}

// Into the parts of tables, which have no row-level security, rows are copied; nobody reads them there.
func thePartsOfTablesCannotBeRead(t *testing.T, r *rig) {
	db := filled(t, r)
	for _, sql := range []string{`SELECT tenant FROM events_other`, `SELECT tenant FROM rollup_fresh_rows`, `WITH x AS (DELETE FROM events_other RETURNING tenant) SELECT tenant FROM x`} {
		if seen, err := db.AsOwner(t.Context(), 0, sql); err == nil {
			t.Errorf("the installation's role may do this: %s (%d rows)", sql, len(seen))
		}
	}
}

// The login owns the tables, and yet sees nothing of them: it has to take on a role.
func theOwnerOfTheTablesSeesNothing(t *testing.T, r *rig) {
	db := filled(t, r)
	for _, table := range []string{"events", "rollup_fresh", "rule_states", "fills", "transitions", "quarantine", "resources", "jobs", "audit_entries", "audit_heads", "events_usage", "usage_book"} {
		if n, err := db.CountAsLogin(context.Background(), table); err != nil || n != 0 {
			t.Errorf("the login sees %d rows of %s, %v", n, table, err)
		}
	}
}

// A setting that outlived its transaction would be another request's.
func whatATransactionTakesOnEndsWithIt(t *testing.T, r *rig) {
	db := open(t, r.database(t), func(c *postgres.Config) { brief(c); c.MaxConns = 1 })
	put(t, db, "acme", "rule")
	if _, err := db.AsTenant(t.Context(), "acme", `SELECT tenant FROM resources`); err != nil {
		t.Fatal(err)
	}
	role, name, err := db.Session(t.Context())
	if err != nil || role != "pulsestream" || name != "" {
		t.Errorf("between transactions the session is %q for tenant %q, %v", role, name, err)
	}
}

// Signing keys are of no tenant, and have "*" in its place.
func whatIsNoTenantsIsKeptUnderAStar(t *testing.T, r *rig) {
	db := r.fresh(t)
	c := db.Catalog()
	made, err := c.Put(t.Context(), store.Put{Tenant: "*", Kind: "signing-key", Slug: "k1", Lookup: "L", Body: []byte(`{"secret":1}`), At: noon()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), "*", "signing-key", "k1")
	if err != nil || got.Revision != made.Revision {
		t.Errorf("Get = %+v, %v", got, err)
	}
	for _, asker := range []tenantID{"*", ""} {
		if all, err := c.List(t.Context(), asker, "signing-key"); err != nil || len(all) != 1 {
			t.Errorf("List(%q) = %+v, %v", asker, all, err)
		}
	}
	if all, err := db.AsTenant(t.Context(), "acme", `SELECT slug FROM resources`); err != nil || len(all) > 0 {
		t.Errorf("a tenant sees %v, %v", all, err)
	}
	if err := c.Delete(t.Context(), store.Delete{Tenant: "*", Kind: "signing-key", Slug: "k1", IfRevision: made.Revision}); err != nil {
		t.Error(err)
	}
}
