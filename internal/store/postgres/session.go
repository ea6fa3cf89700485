package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// The roles that transactions take on; see migrations/0002_walls.sql.
const (
	tenantRole       = "pulsestream_tenant"
	installationRole = "pulsestream_installation"
)

// as is on whose behalf a transaction runs. What it sets holds until the transaction ends.
type as struct {
	role      string
	tenant    string
	partition string
}

func asTenant(t tenant.ID) as { return as{role: tenantRole, tenant: packed(string(t))} }

// asInstallation may read what all tenants have.
func asInstallation() as { return as{role: installationRole} }

// asOwner may add rows of one partition of the log, too.
func asOwner(partition int) as {
	return as{role: installationRole, partition: strconv.Itoa(partition)}
}

// asUpkeep may add rows of any partition.
func asUpkeep() as { return as{role: installationRole, partition: "-1"} }

// A plan is made for the values at hand: which partitions a statement is about depends on them.
const becomeSQL = `SELECT set_config('role', $1, true), set_config('pulsestream.tenant', $2, true), set_config('pulsestream.partition', $3, true),
	set_config('plan_cache_mode', 'force_custom_plan', true)`

// statement is one with its arguments.
type statement struct {
	sql  string
	args []any
}

// A read that gives at most so many rows, and bytes, gives its connection back before their reader sees the first: a reader may ask the store something else,
// and would otherwise wait for a connection that it holds itself. Beyond that rows are given as they come.
const (
	heldRows  = 4096
	heldBytes = 8 << 20
)

// rowsOf is a question whose rows become values of T.
type rowsOf[T any] struct {
	op   string // for errors
	who  as
	ask  statement
	scan func(row pgx.Rows, into *T) error
	size func(*T) int // nil: it does not matter
}

// each runs the statement in a transaction of its own, which sees whole commits only, and gives every row. What give returns ends it, and is
// returned as it is. A server that is away is waited for, as long as nothing was given.
func (q rowsOf[T]) each(ctx context.Context, d *DB, give func(*T) error) error {
	wait, cancel := context.WithTimeoutCause(ctx, d.cfg.Wait, store.ErrUnavailable)
	defer cancel()
	for {
		s := stream[T]{rowsOf: q, ctx: ctx, give: give}
		err := s.run(wait, d)
		switch {
		case s.stopped:
			return err
		case err == nil, s.given, wait.Err() != nil, !errors.Is(sentinel(err), store.ErrUnavailable):
			return d.fail(ctx, q.op, err)
		}
		if err := d.pause(wait); err != nil {
			return d.fail(ctx, q.op, errors.Join(store.ErrUnavailable, err))
		}
	}
}

// all is each row.
func (q rowsOf[T]) all(ctx context.Context, d *DB) (out []T, err error) {
	err = q.each(ctx, d, func(v *T) error {
		out = append(out, *v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// one is the only row, or store.ErrNotFound.
func (q rowsOf[T]) one(ctx context.Context, d *DB) (out T, err error) {
	found := false
	err = q.each(ctx, d, func(v *T) error {
		out, found = *v, true
		return nil
	})
	if err == nil && !found {
		err = d.fail(ctx, q.op, pgx.ErrNoRows)
	}
	return out, err
}

// pause is between two attempts. Connections that were made before the server went away are dropped.
func (d *DB) pause(ctx context.Context) error {
	d.pool.Reset()
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stream is one attempt.
type stream[T any] struct {
	rowsOf[T]
	ctx            context.Context //nolint:containedctx // of one call
	give           func(*T) error
	held           []T
	bytes          int
	given, stopped bool
}

func (s *stream[T]) run(wait context.Context, d *DB) error {
	conn, err := d.pool.Acquire(wait)
	if err != nil {
		if wait.Err() != nil {
			return errors.Join(context.Cause(wait), err)
		}
		return err
	}
	err = s.receive(conn) //nolint:contextcheck // the call's own, and not that of the wait for a connection
	conn.Release()
	if err != nil {
		return err
	}
	return s.flush()
}

// receive reads rows, and gives them only when they are too many to be held.
func (s *stream[T]) receive(conn *pgxpool.Conn) (err error) {
	ctx, cancel := context.WithCancel(s.ctx) // or closing what was not read to its end would read it to its end
	defer cancel()
	var both pgx.Batch // in one message, and so in one transaction
	both.Queue(becomeSQL, s.who.role, s.who.tenant, s.who.partition)
	both.Queue(s.ask.sql, s.ask.args...)
	batch := conn.SendBatch(ctx, &both)
	defer func() {
		if s.stopped {
			cancel()
			_ = batch.Close() // the connection is given up
			return
		}
		err = errors.Join(err, batch.Close())
	}()
	if _, err := batch.Exec(); err != nil {
		return err
	}
	rows, err := batch.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s.held = append(s.held, *new(T))
		v := &s.held[len(s.held)-1]
		if err := s.scan(rows, v); err != nil {
			return err
		}
		if s.size != nil {
			s.bytes += s.size(v)
		}
		if s.given || len(s.held) >= heldRows || s.bytes >= heldBytes {
			if err := s.flush(); err != nil {
				cancel()
				return err
			}
		}
	}
	return rows.Err()
}

// flush gives what is held.
func (s *stream[T]) flush() error {
	for i := range s.held {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.given = true
		if err := s.give(&s.held[i]); err != nil {
			s.stopped = true
			return err
		}
	}
	clear(s.held)
	s.held, s.bytes = s.held[:0], 0
	return nil
}

// write runs f in a transaction for who. Nothing of it is kept unless f returns nil. It is made again only when nothing has reached the server: whether a
// COMMIT whose answer was lost took effect is the caller's to find out.
func (d *DB) write(ctx context.Context, op string, who as, f func(tx pgx.Tx) error) error {
	wait, cancel := context.WithTimeoutCause(ctx, d.cfg.Wait, store.ErrUnavailable)
	defer cancel()
	for {
		began, err := d.writeOnce(ctx, wait, pgx.ReadCommitted, who, f)
		if err == nil || began || wait.Err() != nil || !errors.Is(sentinel(err), store.ErrUnavailable) {
			return d.fail(ctx, op, err)
		}
		if err := d.pause(wait); err != nil {
			return d.fail(ctx, op, errors.Join(store.ErrUnavailable, err))
		}
	}
}

// writeOnce says whether f was called.
func (d *DB) writeOnce(ctx, wait context.Context, level pgx.TxIsoLevel, who as, f func(tx pgx.Tx) error) (began bool, err error) {
	conn, err := d.pool.Acquire(wait)
	if err != nil {
		if wait.Err() != nil {
			return false, errors.Join(context.Cause(wait), err)
		}
		return false, err
	}
	defer conn.Release()
	if who == asUpkeep() {
		if err := stage(ctx, conn); err != nil {
			return false, err
		}
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return false, err
	}
	// A connection whose transaction cannot be ended is closed by the pool.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, becomeSQL, who.role, who.tenant, who.partition); err != nil {
		return false, err
	}
	if err := f(tx); err != nil {
		return true, err
	}
	if err := ctx.Err(); err != nil {
		return true, err
	}
	return true, committed(tx.Commit(ctx))
}

// committed says of an error of COMMIT whether it may have taken effect all the same: not when the server has answered with it.
func committed(err error) error {
	var answer *pgconn.PgError
	if err == nil || errors.As(err, &answer) || errors.Is(err, pgx.ErrTxCommitRollback) || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUncertain, err)
}

// snapshot runs f in a transaction whose statements all see the same moment. It is made again when the server was away.
func (d *DB) snapshot(ctx context.Context, op string, who as, f func(tx pgx.Tx) error) error {
	wait, cancel := context.WithTimeoutCause(ctx, d.cfg.Wait, store.ErrUnavailable)
	defer cancel()
	for {
		_, err := d.writeOnce(ctx, wait, pgx.RepeatableRead, who, f)
		if err == nil || wait.Err() != nil || !errors.Is(sentinel(err), store.ErrUnavailable) {
			return d.fail(ctx, op, err)
		}
		if err := d.pause(wait); err != nil {
			return d.fail(ctx, op, errors.Join(store.ErrUnavailable, err))
		}
	}
}

// stages is the table that compaction copies rows to before it merges them into the tables of longer steps. It is a connection's own, and empty when a
// transaction begins.
const stages = `
CREATE TEMP TABLE IF NOT EXISTS stage_rollups (LIKE ` + schema + `.rollup_fresh INCLUDING STORAGE) ON COMMIT DELETE ROWS;
GRANT SELECT, INSERT, TRUNCATE ON stage_rollups TO ` + installationRole

// stage makes it, once for each connection.
func stage(ctx context.Context, conn *pgxpool.Conn) error {
	const mark = "pulsestream.stages"
	if conn.Conn().PgConn().CustomData()[mark] != nil {
		return nil
	}
	_, err := conn.Exec(ctx, stages)
	if err == nil {
		conn.Conn().PgConn().CustomData()[mark] = true
	}
	return err
}

// takeCopying is one that nobody uses; it is to be put back.
func (d *DB) takeCopying() *copying {
	if c, ok := d.copyings.Get().(*copying); ok {
		return c
	}
	return &copying{}
}
