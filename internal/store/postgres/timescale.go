package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// offerTimescale makes the extension where the server has it.
func (d *DB) offerTimescale(ctx context.Context, conn *pgxpool.Conn) error {
	return nil
}

func (d *DB) hypertables(ctx context.Context, tx pgx.Tx) error { return nil }
