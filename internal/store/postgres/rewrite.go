package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
)

const (
	lockRowSQL = currentSQL + ` FOR UPDATE`
	rewriteSQL = `UPDATE resources SET lookup = NULLIF($4, ''), body = $5 WHERE tenant = $1 AND kind = $2 AND slug = $3`
)

// Rewrite changes how a resource is written. It does not queue up with other writers at the revision, but at the row.
func (c *Catalog) Rewrite(ctx context.Context, r store.Rewrite) error {
	op := fmt.Sprintf("rewrite %s %q", r.Kind, r.Slug)
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if storable(string(r.Tenant), string(r.Kind), r.Slug) != nil {
		return fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	if err := storable(r.Lookup, string(r.Body)); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.write(ctx, op, asTenant(r.Tenant), func(tx pgx.Tx) error {
		var id, has int64
		if err := tx.QueryRow(ctx, lockRowSQL, string(r.Tenant), string(r.Kind), r.Slug).Scan(&id, &has); err != nil {
			return err
		}
		if r.IfRevision != has {
			return fmt.Errorf("%w: it is not at revision %d", store.ErrConflict, r.IfRevision)
		}
		_, err := tx.Exec(ctx, rewriteSQL, string(r.Tenant), string(r.Kind), r.Slug, r.Lookup, string(r.Body))
		if hasCode(err, "23505") {
			return fmt.Errorf("%w: its lookup is another %s's", store.ErrConflict, r.Kind)
		}
		return err
	})
}
