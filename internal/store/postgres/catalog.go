package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Catalog is the half that keeps what people configure, and the queue of notifications. Its methods may be called from any goroutine.
type Catalog struct {
	*DB
	gate gate

	mu       sync.Mutex
	revision int64
	asked    time.Time // when the database last said so
}

// revisionFor is how long an answer of Revision is believed. A caller may ask at each request, and other processes change the catalog as well: what they
// do is noticed here after at most this long, and at once where Changed is told of it.
const revisionFor = 250 * time.Millisecond

// Close waits for the calls under way. The connections are the database's to close.
func (c *Catalog) Close() error {
	c.gate.close()
	return nil
}

// Queue is the queue of notifications.
func (c *Catalog) Queue() store.Queue { return c }

// A writer moves the revision first: that row is what writers queue up at, and what they read after it is the latest.
const (
	resourceColumns = `tenant, kind, slug, id, COALESCE(lookup, ''), body, revision, created_at, updated_at, used_at`

	countSQL       = `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`
	revisionSQL    = `SELECT value FROM counters WHERE name = 'revision'`
	currentSQL     = `SELECT id, revision FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	putResourceSQL = `
INSERT INTO resources (tenant, kind, slug, id, lookup, body, revision, created_at, updated_at)
VALUES ($1, $2, $3, $4, NULLIF($5, ''), $6, $7, $8, $8)
ON CONFLICT (tenant, kind, slug) DO UPDATE SET
	id = excluded.id, lookup = excluded.lookup, body = excluded.body, revision = excluded.revision, updated_at = excluded.updated_at
RETURNING ` + resourceColumns
	getSQL     = `SELECT ` + resourceColumns + ` FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	findSQL    = `SELECT ` + resourceColumns + ` FROM resources WHERE kind = $1 AND lookup = $2`
	listSQL    = `SELECT ` + resourceColumns + ` FROM resources WHERE tenant = $1 AND kind = $2 ORDER BY slug`
	listAllSQL = `SELECT ` + resourceColumns + ` FROM resources WHERE kind = $1 ORDER BY tenant, slug`
	deleteSQL  = `DELETE FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	// Rows are locked in one order, so that two who note the use of the same ones do not wait for each other.
	touchSQL = `WITH uses AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS u (tenant, kind, slug, at)),
		held AS (SELECT r.tenant, r.kind, r.slug, u.at FROM resources r JOIN uses u ON r.tenant = u.tenant AND r.kind = u.kind AND r.slug = u.slug
			WHERE r.used_at < u.at ORDER BY r.tenant, r.kind, r.slug FOR NO KEY UPDATE OF r)
		UPDATE resources r SET used_at = GREATEST(r.used_at, h.at) FROM held h WHERE r.tenant = h.tenant AND r.kind = h.kind AND r.slug = h.slug`
)

// storable refuses what PostgreSQL's text does not hold. Nothing of the catalog has a reason to.
func storable(texts ...string) error {
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
			return fmt.Errorf("%w: there is a zero byte, or what is not UTF-8, in a name or a body", store.ErrRefused) // which may be a secret: not shown
		}
	}
	return nil
}

// Put creates or changes a resource.
func (c *Catalog) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	op := fmt.Sprintf("put %s %q", p.Kind, p.Slug)
	if err := c.gate.enter(ctx); err != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if p.Tenant == "" || p.Kind == "" || p.Slug == "" {
		return store.Resource{}, fmt.Errorf("%s: a resource needs a tenant, a kind and a slug", op)
	}
	if err := storable(string(p.Tenant), string(p.Kind), p.Slug, p.Lookup, string(p.Body)); err != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, err)
	}
	var r store.Resource
	err := c.write(ctx, op, asWriter(p.Tenant, p.Records), func(tx pgx.Tx) (err error) {
		r, err = put(ctx, tx, p)
		return err
	})
	if err != nil {
		return store.Resource{}, err
	}
	c.moved(r.Revision)
	return r, nil
}

func put(ctx context.Context, tx pgx.Tx, p store.Put) (store.Resource, error) {
	revision, err := count(ctx, tx, "revision")
	if err != nil {
		return store.Resource{}, err
	}
	id, has, err := current(ctx, tx, p.Tenant, p.Kind, p.Slug)
	exists := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return store.Resource{}, err
	}
	switch {
	case p.IfRevision == -1 && exists:
		return store.Resource{}, fmt.Errorf("%w: it exists already", store.ErrConflict)
	case p.IfRevision != 0 && p.IfRevision != -1 && p.IfRevision != has:
		return store.Resource{}, fmt.Errorf("%w: it is not at revision %d", store.ErrConflict, p.IfRevision)
	}
	if !exists || p.Fresh {
		if id, err = count(ctx, tx, "id"); err != nil {
			return store.Resource{}, err
		}
	}
	var r store.Resource
	err = scanResource(tx.QueryRow(ctx, putResourceSQL, string(p.Tenant), string(p.Kind), p.Slug, id, p.Lookup, string(p.Body), revision, since(p.At)), &r)
	if hasCode(err, "23505") {
		return store.Resource{}, fmt.Errorf("%w: its lookup is another %s's", store.ErrConflict, p.Kind)
	}
	if err != nil {
		return store.Resource{}, err
	}
	return r, appendEntries(ctx, tx, p.Records)
}

// count moves a counter on and returns where it is.
func count(ctx context.Context, tx pgx.Tx, name string) (n int64, err error) {
	return n, tx.QueryRow(ctx, countSQL, name).Scan(&n)
}

func current(ctx context.Context, tx pgx.Tx, t tenant.ID, k store.Kind, slug string) (id, revision int64, err error) {
	return id, revision, tx.QueryRow(ctx, currentSQL, string(t), string(k), slug).Scan(&id, &revision)
}

func (c *Catalog) resources(op string, who as, sql string, args ...any) rowsOf[store.Resource] {
	return rowsOf[store.Resource]{op: op, who: who, ask: statement{sql, args}, size: func(r *store.Resource) int { return len(r.Body) },
		scan: func(row pgx.Rows, r *store.Resource) error { return scanResource(row, r) }}
}

// Get returns a resource.
func (c *Catalog) Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error) {
	op := fmt.Sprintf("get %s %q", k, slug)
	if err := c.gate.enter(ctx); err != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if storable(string(t), string(k), slug) != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	return c.resources(op, asTenant(t), getSQL, string(t), string(k), slug).one(ctx, c.DB)
}

// Find returns the resource of any tenant with this lookup. The lookup may be a secret's hash: errors don't show it.
func (c *Catalog) Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error) {
	op := fmt.Sprintf("find %s", k)
	if err := c.gate.enter(ctx); err != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if storable(string(k), lookup) != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	return c.resources(op, asInstallation(), findSQL, string(k), lookup).one(ctx, c.DB)
}

// List returns all of a kind, of one tenant or of all.
func (c *Catalog) List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error) {
	op := fmt.Sprintf("list %s", k)
	if err := c.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if t == "" {
		return c.resources(op, asInstallation(), listAllSQL, string(k)).all(ctx, c.DB)
	}
	return c.resources(op, asTenant(t), listSQL, packed(string(t)), string(k)).all(ctx, c.DB)
}

// Delete removes a resource.
func (c *Catalog) Delete(ctx context.Context, d store.Delete) error {
	op := fmt.Sprintf("delete %s %q", d.Kind, d.Slug)
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if storable(string(d.Tenant), string(d.Kind), d.Slug) != nil {
		return fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	var revision int64
	err := c.write(ctx, op, asWriter(d.Tenant, d.Records), func(tx pgx.Tx) (err error) {
		if revision, err = count(ctx, tx, "revision"); err != nil {
			return err
		}
		_, has, err := current(ctx, tx, d.Tenant, d.Kind, d.Slug)
		if err != nil {
			return err
		}
		if d.IfRevision != 0 && d.IfRevision != has {
			return fmt.Errorf("%w: it is not at revision %d", store.ErrConflict, d.IfRevision)
		}
		if _, err = tx.Exec(ctx, deleteSQL, string(d.Tenant), string(d.Kind), d.Slug); err != nil {
			return err
		}
		return appendEntries(ctx, tx, d.Records)
	})
	if err != nil {
		return err
	}
	c.moved(revision)
	return nil
}

// Touch notes when resources were used last.
func (c *Catalog) Touch(ctx context.Context, uses []store.Use) error {
	op := fmt.Sprintf("note the use of %d resources", len(uses))
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	uses = lastUses(uses)
	if len(uses) == 0 {
		return nil
	}
	var t table
	column(&t, uses, func(u *store.Use) string { return string(u.Tenant) })
	column(&t, uses, func(u *store.Use) string { return string(u.Kind) })
	column(&t, uses, func(u *store.Use) string { return u.Slug })
	column(&t, uses, func(u *store.Use) int64 { return since(u.At) })
	return c.write(ctx, op, asInstallation(), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, touchSQL, t.columns...)
		return err
	})
}

// lastUses keeps the last use of each resource that can be there.
func lastUses(uses []store.Use) []store.Use {
	at := map[store.Use]time.Time{}
	for _, u := range uses {
		k := store.Use{Tenant: u.Tenant, Kind: u.Kind, Slug: u.Slug}
		if storable(string(u.Tenant), string(u.Kind), u.Slug) == nil && u.At.After(at[k]) {
			at[k] = u.At
		}
	}
	out := make([]store.Use, 0, len(at))
	for k, t := range at {
		k.At = t
		out = append(out, k)
	}
	return out
}

// Revision is the installation's counter. What this process has changed is in it at once, what others have within revisionFor.
func (c *Catalog) Revision(ctx context.Context) (int64, error) {
	if err := c.gate.enter(ctx); err != nil {
		return 0, fmt.Errorf("catalog revision: %w", err)
	}
	defer c.gate.leave()
	now := time.Now() // of the machine: it is how long that counts
	c.mu.Lock()
	known, fresh := c.revision, !c.asked.IsZero() && now.Sub(c.asked) < revisionFor
	c.mu.Unlock()
	if fresh {
		return known, nil
	}
	n, err := rowsOf[int64]{op: "catalog revision", who: asInstallation(), ask: statement{revisionSQL, nil}, scan: func(row pgx.Rows, n *int64) error { return row.Scan(n) }}.one(ctx, c.DB)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision, c.asked = max(c.revision, n), now // a Changed in between is not forgotten for long
	return c.revision, nil
}

// Changed is told that another process has changed the catalog: the next Revision asks the database.
func (c *Catalog) Changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Time{}
}

// moved notes a commit's revision. Two commits may come here in either order.
func (c *Catalog) moved(to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision = max(c.revision, to)
}

// scannable is a row of either kind.
type scannable interface{ Scan(dest ...any) error }

func scanResource(row scannable, r *store.Resource) error {
	var name, kind, body string
	var created, updated, used int64
	if err := row.Scan(&name, &kind, &r.Slug, &r.ID, &r.Lookup, &body, &r.Revision, &created, &updated, &used); err != nil {
		return err
	}
	r.Tenant, r.Kind, r.CreatedAt, r.UpdatedAt, r.UsedAt = tenant.ID(name), store.Kind(kind), when(created), when(updated), when(used)
	if body != "" {
		r.Body = json.RawMessage(body)
	}
	return nil
}

// since is how the catalog keeps a time: 0 for none.
func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// when is the time that since kept.
func when(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
