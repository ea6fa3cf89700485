package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	entryColumns = `tenant, seq, at, actor, action, kind, slug, text, hash`

	// It locks the chain's head, and makes it where there is none, so that writers of one chain come one after another.
	takeHeadSQL = `INSERT INTO audit_heads (tenant, seq, hash) VALUES ($1, 0, $2) ON CONFLICT (tenant) DO UPDATE SET tenant = excluded.tenant
		RETURNING seq, hash`
	headSQL     = `SELECT seq, hash FROM audit_heads WHERE tenant = $1`
	lastSQL     = `SELECT COALESCE(max(seq), 0) FROM audit_entries WHERE tenant = $1`
	moveHeadSQL = `UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant = $1`
	entrySQL    = `INSERT INTO audit_entries (` + entryColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	spanSQL     = `SELECT COALESCE(min(seq), 1), COALESCE(max(seq), 0) FROM audit_entries WHERE tenant = $1 AND at >= $2 AND at < $3`
	walkSQL     = `SELECT ` + entryColumns + ` FROM audit_entries WHERE tenant = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq LIMIT $4`
)

// walked is how many entries are read at a time.
const walked = 500

// Trail is the audit log.
func (c *Catalog) Trail() store.Trail { return c }

// asWriter may change what a tenant has, and write these records of it.
func asWriter(t tenant.ID, records []store.Record) as {
	if slices.ContainsFunc(records, func(r store.Record) bool { return r.Tenant != t }) {
		return asInstallation()
	}
	return asTenant(t)
}

// appendEntries adds records to their chains.
func appendEntries(ctx context.Context, tx pgx.Tx, records []store.Record) error {
	for i := range records {
		if _, err := appendEntry(ctx, tx, records[i]); err != nil {
			return fmt.Errorf("write the audit log: %w", err)
		}
	}
	return nil
}

func appendEntry(ctx context.Context, tx pgx.Tx, r store.Record) (e store.Entry, err error) {
	head, last, t := store.NewChain(), int64(0), string(r.Tenant)
	if err = storable(t); err != nil {
		return e, err
	}
	if err = tx.QueryRow(ctx, takeHeadSQL, t, head.Hash).Scan(&head.Seq, &head.Hash); err != nil {
		return e, err
	}
	if err = tx.QueryRow(ctx, lastSQL, t).Scan(&last); err != nil {
		return e, err
	}
	if e, err = store.Link(head, last, r); err != nil {
		return e, err
	}
	row := e.Row()
	if _, err = tx.Exec(ctx, entrySQL, t, row.Seq, row.At, row.Actor, row.Action, row.Kind, row.Slug, row.Text, row.Hash); err != nil {
		return e, err
	}
	_, err = tx.Exec(ctx, moveHeadSQL, t, row.Seq, row.Hash)
	return e, err
}

// Append adds an entry.
func (c *Catalog) Append(ctx context.Context, r store.Record) (e store.Entry, err error) {
	if err := c.gate.enter(ctx); err != nil {
		return e, fmt.Errorf("write the audit log: %w", err)
	}
	defer c.gate.leave()
	err = c.write(ctx, "write the audit log", asTenant(r.Tenant), func(tx pgx.Tx) (err error) {
		e, err = appendEntry(ctx, tx, r)
		return err
	})
	return e, err
}

// Head is the chain's last number and hash.
func (c *Catalog) Head(ctx context.Context, t tenant.ID) (store.Head, error) {
	if err := c.gate.enter(ctx); err != nil {
		return store.Head{}, fmt.Errorf("head of the audit log: %w", err)
	}
	defer c.gate.leave()
	if storable(string(t)) != nil {
		return store.Head{}, nil
	}
	h, err := rowsOf[store.Head]{op: "head of the audit log", who: asTenant(t), ask: statement{headSQL, []any{string(t)}},
		scan: func(row pgx.Rows, h *store.Head) error { return row.Scan(&h.Seq, &h.Hash) }}.one(ctx, c.DB)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return h, err
}

// Read returns entries, newest first.
func (c *Catalog) Read(ctx context.Context, t tenant.ID, q store.EntryQuery, limit int) ([]store.Entry, error) {
	if err := c.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer c.gate.leave()
	if storable(string(t), q.Actor, q.Action, string(q.Kind), q.Slug) != nil {
		return nil, nil
	}
	where, args := []string{"tenant = $1"}, []any{string(t)}
	and := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, condition+" $"+strconv.Itoa(len(args)))
	}
	if !q.From.IsZero() {
		and("at >=", since(q.From))
	}
	if !q.To.IsZero() {
		and("at <", since(q.To))
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
	return c.entries(t, `SELECT `+entryColumns+` FROM audit_entries WHERE `+strings.Join(where, " AND ")+` ORDER BY seq DESC LIMIT $`+strconv.Itoa(len(args)),
		args...).all(ctx, c.DB)
}

// Walk gives entries in the order of their numbers.
func (c *Catalog) Walk(ctx context.Context, t tenant.ID, span store.Span, each func(*store.Entry) error) error {
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer c.gate.leave()
	if storable(string(t)) != nil {
		return nil
	}
	to := since(span.To)
	if span.To.IsZero() {
		to = math.MaxInt64
	}
	type bounds struct{ first, last int64 }
	b, err := rowsOf[bounds]{op: "read the audit log", who: asTenant(t), ask: statement{spanSQL, []any{string(t), since(span.From), to}},
		scan: func(row pgx.Rows, b *bounds) error { return row.Scan(&b.first, &b.last) }}.one(ctx, c.DB)
	if err != nil {
		return err
	}
	if span.Upto > 0 {
		b.last = min(b.last, span.Upto)
	}
	for b.first <= b.last {
		entries, err := c.entries(t, walkSQL, string(t), b.first, b.last, walked).all(ctx, c.DB)
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
		b.first = entries[len(entries)-1].Seq + 1
	}
	return nil
}

func (c *Catalog) entries(t tenant.ID, sql string, args ...any) rowsOf[store.Entry] {
	return rowsOf[store.Entry]{op: "read the audit log", who: asTenant(t), ask: statement{sql, args}, size: func(e *store.Entry) int { return len(e.Text) },
		scan: func(row pgx.Rows, e *store.Entry) error {
			var r store.Row
			var name string
			if err := row.Scan(&name, &r.Seq, &r.At, &r.Actor, &r.Action, &r.Kind, &r.Slug, &r.Text, &r.Hash); err != nil {
				return err
			}
			r.Tenant = tenant.ID(name)
			*e = r.Entry()
			return nil
		}}
}
