package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/store"
)

const rewriteSQL = `UPDATE resources SET lookup = NULLIF($4, ''), body = $5 WHERE tenant = $1 AND kind = $2 AND slug = $3`

// Rewrite changes how a resource is written.
func (s *Store) Rewrite(ctx context.Context, r store.Rewrite) error {
	op := fmt.Sprintf("rewrite %s %q", r.Kind, r.Slug)
	if err := zeroFree(r.Lookup, string(r.Body)); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return s.write(ctx, op, func(ctx context.Context, tx *sql.Tx) error {
		var id, has int64
		if err := tx.QueryRowContext(ctx, currentSQL, r.Tenant, r.Kind, r.Slug).Scan(&id, &has); err != nil {
			return err
		}
		if r.IfRevision != has {
			return fmt.Errorf("%w: it is not at revision %d", store.ErrConflict, r.IfRevision)
		}
		_, err := tx.ExecContext(ctx, rewriteSQL, r.Tenant, r.Kind, r.Slug, r.Lookup, string(r.Body))
		if taken(err) {
			return fmt.Errorf("%w: its lookup is another %s's", store.ErrConflict, r.Kind)
		}
		return err
	})
}
