package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// The statements are text for SQLite and PostgreSQL alike, but for passSQL. A writer moves the revision first: where several
// processes write, that row is what they queue up at, and what they read after it is the latest.
const (
	columns = `tenant, kind, slug, id, COALESCE(lookup, ''), body, revision, created_at, updated_at, used_at`

	countSQL       = `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`
	passSQL        = `UPDATE counters SET value = MAX(value, $1) + 1 WHERE name = 'revision' RETURNING value`
	revisionSQL    = `SELECT value FROM counters WHERE name = 'revision'`
	currentSQL     = `SELECT id, revision FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	putResourceSQL = `
INSERT INTO resources (tenant, kind, slug, id, lookup, body, revision, created_at, updated_at)
VALUES ($1, $2, $3, $4, NULLIF($5, ''), $6, $7, $8, $8)
ON CONFLICT (tenant, kind, slug) DO UPDATE SET
	id = excluded.id, lookup = excluded.lookup, body = excluded.body, revision = excluded.revision, updated_at = excluded.updated_at
RETURNING ` + columns
	getSQL     = `SELECT ` + columns + ` FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	findSQL    = `SELECT ` + columns + ` FROM resources WHERE kind = $1 AND lookup = $2`
	listSQL    = `SELECT ` + columns + ` FROM resources WHERE tenant = $1 AND kind = $2 ORDER BY slug`
	listAllSQL = `SELECT ` + columns + ` FROM resources WHERE kind = $1 ORDER BY tenant, slug`
	deleteSQL  = `DELETE FROM resources WHERE tenant = $1 AND kind = $2 AND slug = $3`
	touchSQL   = `UPDATE resources SET used_at = $4 WHERE tenant = $1 AND kind = $2 AND slug = $3 AND used_at < $4`
)

// Put creates or changes a resource.
func (s *Store) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	op := fmt.Sprintf("put %s %q", p.Kind, p.Slug)
	if p.Tenant == "" || p.Kind == "" || p.Slug == "" {
		return store.Resource{}, fmt.Errorf("%s: a resource needs a tenant, a kind and a slug", op)
	}
	if err := zeroFree(string(p.Tenant), string(p.Kind), p.Slug, p.Lookup, string(p.Body)); err != nil {
		return store.Resource{}, fmt.Errorf("%s: %w", op, err)
	}
	r, err := writeFor(ctx, s, op, func(ctx context.Context, tx *sql.Tx) (store.Resource, error) { return put(ctx, tx, p) })
	if err != nil {
		return store.Resource{}, err
	}
	s.moved(r.Revision)
	return r, nil
}

func put(ctx context.Context, tx *sql.Tx, p store.Put) (store.Resource, error) {
	revision, err := count(ctx, tx, "revision")
	if err != nil {
		return store.Resource{}, err
	}
	var id, has int64
	err = tx.QueryRowContext(ctx, currentSQL, p.Tenant, p.Kind, p.Slug).Scan(&id, &has)
	exists := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
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
	r, err := scan(tx.QueryRowContext(ctx, putResourceSQL,
		p.Tenant, p.Kind, p.Slug, id, p.Lookup, string(p.Body), revision, nanos(p.At)))
	if taken(err) {
		return store.Resource{}, fmt.Errorf("%w: its lookup is another %s's", store.ErrConflict, p.Kind)
	}
	if err != nil {
		return store.Resource{}, err
	}
	return r, appendEntries(ctx, tx, p.Records)
}

// count moves a counter on and returns where it is.
func count(ctx context.Context, tx *sql.Tx, name string) (n int64, err error) {
	return n, tx.QueryRowContext(ctx, countSQL, name).Scan(&n)
}

// Get returns a resource.
func (s *Store) Get(ctx context.Context, t tenant.ID, k store.Kind, slug string) (store.Resource, error) {
	var r store.Resource
	err := s.read(ctx, fmt.Sprintf("get %s %q", k, slug), func(db *sql.DB) (err error) {
		r, err = scan(db.QueryRowContext(ctx, getSQL, t, k, slug))
		return err
	})
	return r, err
}

// Find returns the resource of any tenant with this lookup. The lookup may be a secret's hash: errors don't show it.
func (s *Store) Find(ctx context.Context, k store.Kind, lookup string) (store.Resource, error) {
	var r store.Resource
	err := s.read(ctx, fmt.Sprintf("find %s", k), func(db *sql.DB) (err error) {
		r, err = scan(db.QueryRowContext(ctx, findSQL, k, lookup))
		return err
	})
	return r, err
}

// List returns all of a kind, of one tenant or of all.
func (s *Store) List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error) {
	query, args := listSQL, []any{t, k}
	if t == "" {
		query, args = listAllSQL, []any{k}
	}
	var list []store.Resource
	err := s.read(ctx, fmt.Sprintf("list %s", k), func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Delete removes a resource.
func (s *Store) Delete(ctx context.Context, d store.Delete) error {
	revision, err := writeFor(ctx, s, fmt.Sprintf("delete %s %q", d.Kind, d.Slug), func(ctx context.Context, tx *sql.Tx) (int64, error) {
		revision, err := count(ctx, tx, "revision")
		if err != nil {
			return 0, err
		}
		var id, has int64
		if err := tx.QueryRowContext(ctx, currentSQL, d.Tenant, d.Kind, d.Slug).Scan(&id, &has); err != nil {
			return 0, err
		}
		if d.IfRevision != 0 && d.IfRevision != has {
			return 0, fmt.Errorf("%w: it is not at revision %d", store.ErrConflict, d.IfRevision)
		}
		if _, err = tx.ExecContext(ctx, deleteSQL, d.Tenant, d.Kind, d.Slug); err != nil {
			return 0, err
		}
		return revision, appendEntries(ctx, tx, d.Records)
	})
	if err != nil {
		return err
	}
	s.moved(revision)
	return nil
}

// Touch notes when resources were used last.
func (s *Store) Touch(ctx context.Context, uses []store.Use) error {
	return s.write(ctx, fmt.Sprintf("note the use of %d resources", len(uses)), func(ctx context.Context, tx *sql.Tx) error {
		for _, u := range uses {
			if _, err := tx.ExecContext(ctx, touchSQL, u.Tenant, u.Kind, u.Slug, nanos(u.At)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Revision is the installation's counter. It comes from memory: a caller may ask at each request.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return 0, s.fail(ctx, "catalog revision", err)
	}
	defer leave()
	return s.revision.Load(), nil
}

// moved notes a commit's revision. Two commits may come here in either order.
func (s *Store) moved(to int64) {
	for {
		at := s.revision.Load()
		if at >= to || s.revision.CompareAndSwap(at, to) {
			return
		}
	}
}

func (s *Store) loadRevision(ctx context.Context) error {
	var n int64
	if err := s.reader.QueryRowContext(ctx, revisionSQL).Scan(&n); err != nil {
		return err
	}
	s.moved(n)
	return nil
}

// row is a *sql.Row or a *sql.Rows.
type row interface{ Scan(dest ...any) error }

func scan(from row) (store.Resource, error) {
	var r store.Resource
	var body string
	var created, updated, used int64
	err := from.Scan(&r.Tenant, &r.Kind, &r.Slug, &r.ID, &r.Lookup, &body, &r.Revision, &created, &updated, &used)
	if err != nil {
		return store.Resource{}, err
	}
	if body != "" {
		r.Body = json.RawMessage(body)
	}
	r.CreatedAt, r.UpdatedAt, r.UsedAt = moment(created), moment(updated), moment(used)
	return r, nil
}
