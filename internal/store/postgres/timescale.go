package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TimescaleDB has no columnstore for a table with row-level security. So there the events are in a table that nobody but the installation's role reaches,
// and "events" is a view of it with a security barrier: the same wall, by other means.

// compressAfter is how old a day is when it is compressed: late events still find their way in, but then they cost more.
const compressAfter = 2 * day

// offerTimescale makes the extension where the server has it and lets this login.
func (d *DB) offerTimescale(ctx context.Context, conn *pgxpool.Conn) error {
	var there, usable bool
	// The library has to be loaded when the server starts; making the extension without it would end the connection.
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'),
		EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb') AND current_setting('timescaledb.disable_load', true) IS NOT NULL`).Scan(&there, &usable)
	if err != nil || there || !usable {
		return err
	}
	if _, err := conn.Exec(ctx, `CREATE EXTENSION IF NOT EXISTS timescaledb`); err != nil {
		d.log.Warn("PostgreSQL has TimescaleDB, which this login may not use: events are divided into plain partitions. To use it, CREATE EXTENSION timescaledb in the empty database first",
			"error.message", err.Error())
	}
	return nil
}

// usesTimescale says whether the database has TimescaleDB with all that is needed of it: its Apache edition has no columnstore.
func usesTimescale(ctx context.Context, conn *pgxpool.Conn) (bool, error) {
	var uses bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb') AND COALESCE(current_setting('timescaledb.license', true), '') = 'timescale'`).Scan(&uses)
	return uses, err
}

// extension calls a function of TimescaleDB, wherever its schema is.
func extension(ctx context.Context, tx pgx.Tx, call string) error {
	var at string
	if err := tx.QueryRow(ctx, `SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'timescaledb'`).Scan(&at); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT `+at+`.`+call)
	return err
}

// hypertable divides the new table of events, and puts the view before it.
func (d *DB) hypertable(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `CREATE FUNCTION now_nanoseconds() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT (extract(epoch FROM now()) * 1000000000)::bigint $$;
		CREATE VIEW events WITH (security_barrier) AS SELECT * FROM `+eventRows+` WHERE (SELECT current_user = '`+installationRole+`')
			OR (SELECT current_user = '`+tenantRole+`') AND tenant = (SELECT current_setting('pulsestream.tenant', true))`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	if err := extension(ctx, tx, fmt.Sprintf(`create_hypertable('%s', 'time', chunk_time_interval => %d::bigint, create_default_indexes => false)`, eventRows, day)); err != nil {
		return err
	}
	if err := extension(ctx, tx, fmt.Sprintf(`set_integer_now_func('%s', 'now_nanoseconds')`, eventRows)); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `ALTER TABLE `+eventRows+` SET (timescaledb.compress, timescaledb.compress_segmentby = 'tenant', timescaledb.compress_orderby = 'time DESC, seq DESC, idx DESC')`)
	if err != nil {
		return err
	}
	if err := extension(ctx, tx, fmt.Sprintf(`add_compression_policy('%s', compress_after => %d::bigint)`, eventRows, compressAfter)); err != nil {
		return err
	}
	return extension(ctx, tx, retention(d.cfg.Keep))
}

func retention(keep time.Duration) string {
	return fmt.Sprintf(`add_retention_policy('%s', drop_after => %d::bigint)`, eventRows, keep+grace)
}

// keep changes the retention policy when the setting has changed.
func (s *Events) keep(ctx context.Context, kept time.Duration) error {
	return s.ddl(ctx, func(tx pgx.Tx, _ map[time.Time]bool) error {
		var has string
		err := tx.QueryRow(ctx, `SELECT COALESCE(max(config->>'drop_after'), '') FROM timescaledb_information.jobs
			WHERE proc_name = 'policy_retention' AND hypertable_schema = $1 AND hypertable_name = $2`, schema, eventRows).Scan(&has)
		if err != nil || has == strconv.FormatInt(int64(kept+grace), 10) {
			return err
		}
		if err := extension(ctx, tx, `remove_retention_policy('`+eventRows+`', if_exists => true)`); err != nil {
			return err
		}
		return extension(ctx, tx, retention(kept))
	})
}
