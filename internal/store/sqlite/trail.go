package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	entryColumns = `tenant, seq, at, actor, action, kind, slug, text, hash`

	beginHeadSQL = `INSERT INTO audit_heads (tenant, seq, hash) VALUES ($1, 0, $2) ON CONFLICT (tenant) DO NOTHING`
	headSQL      = `SELECT seq, hash FROM audit_heads WHERE tenant = $1`
	lastSQL      = `SELECT COALESCE(MAX(seq), 0) FROM audit_entries WHERE tenant = $1`
	moveHeadSQL  = `UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant = $1`
	entrySQL     = `INSERT INTO audit_entries (` + entryColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	spanSQL      = `SELECT COALESCE(MIN(seq), 1), COALESCE(MAX(seq), 0) FROM audit_entries WHERE tenant = $1 AND at >= $2 AND at < $3`
	walkSQL      = `SELECT ` + entryColumns + ` FROM audit_entries WHERE tenant = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq LIMIT $4`
)

// walked is how many entries are read at a time. Between two such reads changes go on.
const walked = 500

// Trail is the audit log, which is in the same files.
func (s *Store) Trail() store.Trail { return s }

// appendEntries adds records to their chains.
func appendEntries(ctx context.Context, tx *sql.Tx, records []store.Record) error {
	for i := range records {
		if _, err := appendEntry(ctx, tx, records[i]); err != nil {
			return fmt.Errorf("write the audit log: %w", err)
		}
	}
	return nil
}

func appendEntry(ctx context.Context, tx *sql.Tx, r store.Record) (e store.Entry, err error) {
	head, last := store.NewChain(), int64(0)
	if _, err = tx.ExecContext(ctx, beginHeadSQL, r.Tenant, head.Hash); err != nil {
		return e, err
	}
	if err = tx.QueryRowContext(ctx, headSQL, r.Tenant).Scan(&head.Seq, &head.Hash); err != nil {
		return e, err
	}
	if err = tx.QueryRowContext(ctx, lastSQL, r.Tenant).Scan(&last); err != nil {
		return e, err
	}
	if e, err = store.Link(head, last, r); err != nil {
		return e, err
	}
	row := e.Row()
	_, err = tx.ExecContext(ctx, entrySQL, row.Tenant, row.Seq, row.At, row.Actor, row.Action, row.Kind, row.Slug, row.Text, row.Hash)
	if err != nil {
		return e, err
	}
	_, err = tx.ExecContext(ctx, moveHeadSQL, row.Tenant, row.Seq, row.Hash)
	return e, err
}

// Append adds an entry.
func (s *Store) Append(ctx context.Context, r store.Record) (store.Entry, error) {
	return writeFor(ctx, s, "write the audit log", func(ctx context.Context, tx *sql.Tx) (store.Entry, error) { return appendEntry(ctx, tx, r) })
}

// Head is the chain's last number and hash.
func (s *Store) Head(ctx context.Context, t tenant.ID) (h store.Head, err error) {
	err = s.read(ctx, "head of the audit log", func(db *sql.DB) error {
		err := db.QueryRowContext(ctx, headSQL, t).Scan(&h.Seq, &h.Hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return h, err
}

// Read returns entries, newest first.
func (s *Store) Read(ctx context.Context, t tenant.ID, q store.EntryQuery, limit int) (entries []store.Entry, err error) {
	where, args := []string{"tenant = $1"}, []any{t}
	and := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, condition+" $"+strconv.Itoa(len(args)))
	}
	if !q.From.IsZero() {
		and("at >=", nanos(q.From))
	}
	if !q.To.IsZero() {
		and("at <", nanos(q.To))
	}
	if q.Before > 0 {
		and("seq <", q.Before)
	}
	for _, f := range [][2]string{{"actor =", q.Actor}, {"action =", q.Action}, {"kind =", string(q.Kind)}, {"slug =", q.Slug}} {
		if f[1] != "" {
			and(f[0], f[1])
		}
	}
	args = append(args, limit)
	query := `SELECT ` + entryColumns + ` FROM audit_entries WHERE ` + strings.Join(where, " AND ") + ` ORDER BY seq DESC LIMIT $` + strconv.Itoa(len(args))
	err = s.read(ctx, "read the audit log", func(db *sql.DB) (err error) {
		entries, err = queryEntries(ctx, db, query, args...)
		return err
	})
	return entries, err
}

// Walk gives entries in the order of their numbers.
func (s *Store) Walk(ctx context.Context, t tenant.ID, span store.Span, each func(*store.Entry) error) error {
	from, to := nanos(span.From), nanos(span.To)
	if span.To.IsZero() {
		to = math.MaxInt64
	}
	var first, last int64
	err := s.read(ctx, "read the audit log", func(db *sql.DB) error {
		return db.QueryRowContext(ctx, spanSQL, t, from, to).Scan(&first, &last)
	})
	if err != nil {
		return err
	}
	if span.Upto > 0 {
		last = min(last, span.Upto)
	}
	for first <= last {
		var entries []store.Entry
		err := s.read(ctx, "read the audit log", func(db *sql.DB) (err error) {
			entries, err = queryEntries(ctx, db, walkSQL, t, first, last, walked)
			return err
		})
		if err != nil {
			return err
		}
		for i := range entries {
			if err := each(&entries[i]); err != nil {
				return err
			}
		}
		if len(entries) < walked {
			return nil
		}
		first = entries[len(entries)-1].Seq + 1
	}
	return nil
}

func queryEntries(ctx context.Context, q querier, query string, args ...any) (entries []store.Entry, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r store.Row
		if err := rows.Scan(&r.Tenant, &r.Seq, &r.At, &r.Actor, &r.Action, &r.Kind, &r.Slug, &r.Text, &r.Hash); err != nil {
			return nil, err
		}
		entries = append(entries, r.Entry())
	}
	return entries, rows.Err()
}
