package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// migration is one step of the schema. Its number is its place in the list: a step that was released is never changed.
type migration struct {
	name string
	sql  string
}

// Times are nanoseconds since 1970, 0 for none. A missing lookup is NULL, which is never equal to another.
var migrations = []migration{
	{"resources and counters", `
CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT;

-- Small ids stay free for what is built in.
INSERT INTO counters (name, value) VALUES ('revision', 0), ('id', 999);

CREATE TABLE resources (
	tenant     TEXT    NOT NULL,
	kind       TEXT    NOT NULL,
	slug       TEXT    NOT NULL,
	id         INTEGER NOT NULL UNIQUE,
	lookup     TEXT,
	body       TEXT    NOT NULL,
	revision   INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (tenant, kind, slug)
) STRICT;

CREATE UNIQUE INDEX resources_lookup ON resources (kind, lookup);
CREATE INDEX resources_kind ON resources (kind, tenant, slug);
`},
	{"the queue of notifications", `
CREATE TABLE cursors (
	name     TEXT PRIMARY KEY,
	position INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
	tenant     TEXT    NOT NULL,
	id         TEXT    NOT NULL,
	channel    TEXT    NOT NULL,
	incident   TEXT    NOT NULL,
	payload    TEXT    NOT NULL,
	state      TEXT    NOT NULL,
	attempts   INTEGER NOT NULL,
	next_at    INTEGER NOT NULL,
	error      TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT;

CREATE INDEX jobs_due ON jobs (next_at, created_at, tenant, id) WHERE state = 'queued';
CREATE INDEX jobs_incident ON jobs (tenant, incident, created_at, id);
CREATE INDEX jobs_tenant ON jobs (tenant, created_at, id);
`},
	{"commits and checksum", `
CREATE TABLE integrity (
	row      INTEGER PRIMARY KEY CHECK (row = 1),
	commits  INTEGER NOT NULL,
	checksum INTEGER NOT NULL
) STRICT;

INSERT INTO integrity (row, commits, checksum) VALUES (1, 0, 0);
`},
	{"last use, and the audit log", `
ALTER TABLE resources ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
-- The hook for changed rows is given a column that a row was written without as it likes: no row is.
UPDATE resources SET used_at = 0;

CREATE TABLE audit_entries (
	tenant TEXT    NOT NULL,
	seq    INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	actor  TEXT    NOT NULL,
	action TEXT    NOT NULL,
	kind   TEXT    NOT NULL,
	slug   TEXT    NOT NULL,
	text   TEXT    NOT NULL,
	hash   TEXT    NOT NULL,
	PRIMARY KEY (tenant, seq)
) STRICT;

CREATE INDEX audit_entries_actor ON audit_entries (tenant, actor, seq);
CREATE INDEX audit_entries_target ON audit_entries (tenant, kind, slug, seq);
CREATE INDEX audit_entries_at ON audit_entries (tenant, at);

CREATE TABLE audit_heads (
	tenant TEXT PRIMARY KEY,
	seq    INTEGER NOT NULL,
	hash   TEXT    NOT NULL
) STRICT;
`},
	{"usage", `
-- An hour is counted since 1970. Revision counts changes of what is before it, billed is the one that the billing system was told.
CREATE TABLE usage_book (
	tenant        TEXT    NOT NULL,
	hour          INTEGER NOT NULL,
	events        INTEGER NOT NULL DEFAULT 0,
	bytes         INTEGER NOT NULL DEFAULT 0,
	series        INTEGER NOT NULL DEFAULT 0,
	queries       INTEGER NOT NULL DEFAULT 0,
	notifications INTEGER NOT NULL DEFAULT 0,
	revision      INTEGER NOT NULL DEFAULT 1,
	billed        INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, hour)
) STRICT;

CREATE INDEX usage_book_unbilled ON usage_book (hour, tenant) WHERE revision > billed;
`},
	{"the checksum without the entries of the audit log", `-- sealAnew does it.`},
}

// sealedSince is the version of the schema from which on a file has its checksum.
const sealedSince = 3

const versionSQL = `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`

// migrate applies the steps that the file does not have yet, each in its own transaction, and says whether there were any.
func migrate(ctx context.Context, db *sql.DB, steps []migration, log *slog.Logger) (changed bool, err error) {
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
	version    INTEGER PRIMARY KEY,
	name       TEXT    NOT NULL,
	applied_at INTEGER NOT NULL
) STRICT`)
	if err != nil {
		return false, err
	}
	var have int
	if err := db.QueryRowContext(ctx, versionSQL).Scan(&have); err != nil {
		return false, err
	}
	if have > len(steps) {
		return false, fmt.Errorf("%w (its schema is version %d, this one knows %d)", ErrNewer, have, len(steps))
	}
	for i := have; i < len(steps); i++ {
		if err := apply(ctx, db, i+1, steps[i]); err != nil {
			return true, fmt.Errorf("migration %d (%s): %w", i+1, steps[i].name, err)
		}
		log.InfoContext(ctx, "catalog schema migrated", slog.Int("version", i+1), slog.String("name", steps[i].name))
	}
	return have < len(steps), nil
}

func apply(ctx context.Context, db *sql.DB, version int, m migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err = tx.ExecContext(ctx, m.sql); err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`,
			version, m.name, nanos(time.Now()))
	}
	if err == nil && version >= sealedSince {
		err = sealAnew(ctx, tx, version)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// sealAnew computes the checksum from all rows: a change of the schema changes rows that no statement touches.
func sealAnew(ctx context.Context, tx *sql.Tx, version int) error {
	var commits, checksum int64
	if err := tx.QueryRowContext(ctx, integritySQL).Scan(&commits, &checksum); err != nil {
		return err
	}
	sum, err := contentSum(ctx, tx, version)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, sealSQL, commits+1, seal(commits+1, sum))
	return err
}

// nanos is how a time is kept.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// moment is the time that nanos kept.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
