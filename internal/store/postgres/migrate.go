package postgres

import (
	"context"
	"embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema. Its number is its place in the list: a step that was released is never changed.
type migration struct{ name, file string }

func migrations() []migration {
	return []migration{{"tables", "0001_tables.sql"}, {"roles and row-level security", "0002_walls.sql"}, {"last use, and the audit log", "0003_audit.sql"},
		{"usage", "0004_usage.sql"}}
}

// Keys of advisory locks, which are the database's.
const (
	migrationLock = 0x70756c73_0001
	upkeepLock    = 0x70756c73_0002
)

// migrate brings the schema up to date. Of several processes that start at once one does it, and the others wait for that.
func (d *DB) migrate(ctx context.Context) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	// A lock that cannot be given back ends with the connection, which is closed then.
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
	}()
	have, err := d.version(ctx, conn)
	if err != nil {
		return err
	}
	steps := migrations()
	if have > len(steps) {
		return fmt.Errorf("%w: the database's schema is version %d, and this release knows %d: run the newer release", errSettings, have, len(steps))
	}
	if have == 0 && !d.cfg.Plain {
		if err := d.offerTimescale(ctx, conn); err != nil {
			return err
		}
	}
	if d.layout, err = d.layoutAt(ctx, conn, have); err != nil {
		return err
	}
	if have < len(steps) {
		if err := d.roles(ctx, conn); err != nil {
			return err
		}
	}
	for i := have; i < len(steps); i++ {
		if err := d.apply(ctx, conn, i+1, steps[i]); err != nil {
			return fmt.Errorf("migration %d (%s): %w", i+1, steps[i].name, err)
		}
		d.log.Info("PostgreSQL's schema was migrated", "version", i+1, "name", steps[i].name)
	}
	return d.look(ctx, conn)
}

// version is that of the schema, 0 when there is none.
func (d *DB) version(ctx context.Context, conn *pgxpool.Conn) (have int, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, schema+".schema_migrations").Scan(&there); err != nil || !there {
		return 0, err
	}
	return have, conn.QueryRow(ctx, `SELECT COALESCE(max(version), 0) FROM `+schema+`.schema_migrations`).Scan(&have)
}

func (d *DB) apply(ctx context.Context, conn *pgxpool.Conn, version int, m migration) error {
	text, err := migrationFiles.ReadFile("migrations/" + m.file)
	if err != nil {
		return err
	}
	layout, sql := d.layout, string(text)
	if layout == Native {
		sql = strings.ReplaceAll(sql, "/*by_time*/", "PARTITION BY RANGE (time)")
	}
	sql = strings.ReplaceAll(sql, "CREATE TABLE events ", "CREATE TABLE "+layout.eventsTable()+" ")
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if version == 1 {
			_, err := tx.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+schema+`;
				CREATE TABLE `+schema+`.schema_migrations (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`)
			if err != nil {
				return err
			}
		}
		// Several statements at once go by the simple protocol, in this transaction.
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if version == 1 {
			if err := d.divide(ctx, tx, layout); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO `+schema+`.schema_migrations (version, name) VALUES ($1, $2)`, version, m.name)
		return err
	})
}

// divide divides the new tables by time, and gives events their indexes.
func (d *DB) divide(ctx context.Context, tx pgx.Tx, layout Layout) error {
	if layout == Timescale {
		if err := d.hypertable(ctx, tx); err != nil {
			return err
		}
	}
	table := layout.eventsTable()
	for _, sql := range []string{
		// Newest first, and by a range of time; what has the same time is sorted by its place in the log when it is read. The type is there so that
		// looking for one that is rare reads nothing but the index.
		`CREATE INDEX events_time ON ` + table + ` (tenant, time, type)`,
		// In the order of the log. Events of one message have one entry.
		`CREATE INDEX events_log ON ` + table + ` (tenant, seq)`,
		`CREATE INDEX events_finder ON ` + table + ` (finder)`,
		// What was received since some time lies at the end of each partition.
		`CREATE INDEX events_received ON ` + table + ` USING brin (received)`,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if layout == Timescale {
		return nil
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE `+otherEvents+` PARTITION OF events DEFAULT`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `GRANT INSERT ON `+otherEvents+` TO `+installationRole); err != nil {
		return err
	}
	for _, at := range missing(nil, d.now(), d.cfg.Keep) {
		if err := addPartition(ctx, tx, at); err != nil {
			return err
		}
	}
	return nil
}

// roles makes the two roles, and lets the login take them on. They are the server's, so that other databases may have made them.
func (d *DB) roles(ctx context.Context, conn *pgxpool.Conn) error {
	for _, role := range []string{tenantRole, installationRole} {
		_, err := conn.Exec(ctx, `CREATE ROLE `+role+` NOLOGIN NOINHERIT`)
		switch {
		case err == nil, hasCode(err, "42710", "23505"): // there already, or just made by another
		case hasCode(err, "42501"):
			var there bool
			if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)`, role).Scan(&there); err != nil {
				return err
			}
			if !there {
				return d.wantsRoles(ctx, conn)
			}
		default:
			return err
		}
		may, err := mayBecome(ctx, conn, role)
		switch {
		case err != nil:
			return err
		case may:
			continue
		}
		_, err = conn.Exec(ctx, `DO $$ BEGIN EXECUTE format('GRANT `+role+` TO %I', current_user); END $$`)
		if hasCode(err, "XX000", "23505", "40001") { // another database's login is being let in at the same moment
			_, err = conn.Exec(ctx, `DO $$ BEGIN EXECUTE format('GRANT `+role+` TO %I', current_user); END $$`)
		}
		switch {
		case hasCode(err, "42501"):
			return d.wantsRoles(ctx, conn)
		case err != nil:
			return err
		}
	}
	return nil
}

// mayBecome tries whether this login can take on a role: since PostgreSQL 16 a member of one may not always.
func mayBecome(ctx context.Context, conn *pgxpool.Conn, role string) (bool, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	_, denied := tx.Exec(ctx, `SET LOCAL ROLE `+role)
	if err := tx.Rollback(ctx); err != nil {
		return false, err
	}
	if denied != nil && !hasCode(denied, "42501", "22023") { // may not; there is none
		return false, denied
	}
	return denied == nil, nil
}

func (d *DB) wantsRoles(ctx context.Context, conn *pgxpool.Conn) error {
	var user string
	if err := conn.QueryRow(ctx, `SELECT current_user`).Scan(&user); err != nil {
		return err
	}
	return fmt.Errorf("%w: %q may not make the roles that keep tenants apart: as a superuser, run CREATE ROLE %s NOLOGIN; CREATE ROLE %s NOLOGIN; GRANT %s, %s TO %s; or give it CREATEROLE",
		errSettings, user, tenantRole, installationRole, tenantRole, installationRole, quoted(user))
}

// look finds out whether the walls stand.
func (d *DB) look(ctx context.Context, conn *pgxpool.Conn) error {
	var forced bool
	err := conn.QueryRow(ctx, `SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass($1)`, schema+".events").Scan(&forced)
	if err != nil {
		return err
	}
	for _, role := range []string{tenantRole, installationRole} {
		may, err := mayBecome(ctx, conn, role)
		switch {
		case err != nil:
			return err
		case !may:
			return d.wantsRoles(ctx, conn)
		}
	}
	if !forced && d.layout == Native {
		return fmt.Errorf("%w: row-level security of %s.events was taken away: ALTER TABLE %s.events FORCE ROW LEVEL SECURITY", errSettings, schema, schema)
	}
	return nil
}

// layoutAt is the layout that new tables get, or that there are.
func (d *DB) layoutAt(ctx context.Context, conn *pgxpool.Conn, have int) (Layout, error) {
	if have > 0 {
		var kind string
		err := conn.QueryRow(ctx, `SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)`, schema+".events").Scan(&kind)
		if err == nil && kind == "v" {
			return Timescale, nil
		}
		return Native, err
	}
	if d.cfg.Plain {
		return Native, nil
	}
	if uses, err := usesTimescale(ctx, conn); err != nil || uses {
		return Timescale, err
	}
	return Native, nil
}
