package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	jobColumns = `tenant, id, channel, incident, payload, state, attempts, next_at, error, created_at, updated_at`

	enqueueSQL = `INSERT INTO jobs (` + jobColumns + `)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::bigint[], $11::bigint[])
		ON CONFLICT (tenant, id) DO NOTHING`
	moveSQL   = `INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position`
	cursorSQL = `SELECT position FROM cursors WHERE name = $1`
	// Who claims at the same time goes on to those that nobody holds.
	claimSQL = `WITH due AS (
			SELECT tenant, id, next_at AS due_at FROM jobs WHERE state = 'queued' AND next_at <= $1 ORDER BY next_at, created_at, tenant, id LIMIT $2 FOR UPDATE SKIP LOCKED
		) UPDATE jobs j SET attempts = attempts + 1, next_at = $3, updated_at = $1 FROM due WHERE j.tenant = due.tenant AND j.id = due.id
		RETURNING j.tenant, j.id, channel, incident, payload, state, attempts, next_at, error, created_at, updated_at, due_at`
	finishSQL = `UPDATE jobs j SET state = $4, next_at = $5, error = $6, updated_at = $7
		FROM (SELECT state FROM jobs WHERE tenant = $1 AND id = $2 AND attempts = $3 FOR UPDATE) was WHERE j.tenant = $1 AND j.id = $2 AND attempts = $3 RETURNING was.state`
	jobSQL = `SELECT attempts FROM jobs WHERE tenant = $1 AND id = $2`

	incidentJobsSQL = `SELECT ` + jobColumns + ` FROM jobs WHERE tenant = $1 AND incident = $2 ORDER BY created_at, id LIMIT $3`
	tenantJobsSQL   = `SELECT ` + jobColumns + ` FROM jobs WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT $2`
)

// Enqueue adds jobs and moves the cursor, in one transaction.
func (c *Catalog) Enqueue(ctx context.Context, tail string, position uint64, jobs []store.Job) error {
	op := fmt.Sprintf("enqueue %d jobs of %s", len(jobs), tail)
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if position > math.MaxInt64 {
		return fmt.Errorf("%s: position %d is too large", op, position)
	}
	for i := range jobs {
		j := &jobs[i]
		if err := storable(tail, string(j.Tenant), j.ID, j.Channel, j.Incident, string(j.Payload), string(j.State)); err != nil {
			return fmt.Errorf("%s: job %q: %w", op, j.ID, err)
		}
	}
	return c.write(ctx, op, asInstallation(), func(tx pgx.Tx) error {
		if err := addJobs(ctx, tx, jobs); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, moveSQL, tail, int64(position)) //nolint:gosec // checked above
		return err
	})
}

func addJobs(ctx context.Context, tx pgx.Tx, jobs []store.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	var t table
	column(&t, jobs, func(j *store.Job) string { return string(j.Tenant) })
	column(&t, jobs, func(j *store.Job) string { return j.ID })
	column(&t, jobs, func(j *store.Job) string { return j.Channel })
	column(&t, jobs, func(j *store.Job) string { return j.Incident })
	column(&t, jobs, func(j *store.Job) string { return string(j.Payload) })
	column(&t, jobs, func(j *store.Job) string { return string(cmp.Or(j.State, store.JobQueued)) })
	column(&t, jobs, func(j *store.Job) int { return j.Attempts })
	column(&t, jobs, func(j *store.Job) int64 { return since(j.NextAt) })
	column(&t, jobs, func(j *store.Job) string { return clean(j.Error) })
	column(&t, jobs, func(j *store.Job) int64 { return since(j.CreatedAt) })
	column(&t, jobs, func(j *store.Job) int64 {
		if j.UpdatedAt.IsZero() {
			return since(j.CreatedAt)
		}
		return since(j.UpdatedAt)
	})
	_, err := tx.Exec(ctx, enqueueSQL, t.columns...)
	return err
}

// Position is where the cursor named tail stands.
func (c *Catalog) Position(ctx context.Context, tail string) (uint64, error) {
	if err := c.gate.enter(ctx); err != nil {
		return 0, fmt.Errorf("position of %s: %w", tail, err)
	}
	defer c.gate.leave()
	n, err := rowsOf[int64]{op: "position of " + tail, who: asInstallation(), ask: statement{cursorSQL, []any{tail}}, scan: func(row pgx.Rows, n *int64) error { return row.Scan(n) }}.one(ctx, c.DB)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return uint64(n), err //nolint:gosec // running numbers, never negative
}

// Claim leases due jobs.
func (c *Catalog) Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]store.Job, error) {
	if err := c.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("claim jobs: %w", err)
	}
	defer c.gate.leave()
	if limit <= 0 {
		return nil, nil
	}
	type claimed struct {
		store.Job
		due int64
	}
	var jobs []claimed
	err := c.write(ctx, "claim jobs", asInstallation(), func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, claimSQL, since(now), limit, since(now.Add(lease)))
		if err != nil {
			return err
		}
		jobs, err = collect(rows, func(row pgx.Rows, j *claimed) error { return scanJob(row, &j.Job, &j.due) })
		return err
	})
	if err != nil {
		return nil, err
	}
	// An update returns rows in any order.
	slices.SortFunc(jobs, func(a, b claimed) int {
		return cmp.Or(cmp.Compare(a.due, b.due), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
	})
	var out []store.Job
	for i := range jobs {
		out = append(out, jobs[i].Job)
	}
	return out, nil
}

// Finish records how an attempt went.
func (c *Catalog) Finish(ctx context.Context, j store.Job) error {
	op := fmt.Sprintf("finish job %q", j.ID)
	if err := c.gate.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer c.gate.leave()
	if storable(string(j.Tenant), j.ID, string(j.State)) != nil {
		return fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	return c.write(ctx, op, asTenant(j.Tenant), func(tx pgx.Tx) error {
		var was string
		err := tx.QueryRow(ctx, finishSQL, string(j.Tenant), j.ID, j.Attempts, string(j.State), since(j.NextAt), clean(j.Error), since(j.UpdatedAt)).Scan(&was)
		switch {
		case err == nil && j.State == store.JobDone && store.JobState(was) != store.JobDone:
			_, err = tx.Exec(ctx, notifiedSQL, string(j.Tenant), store.HourOf(j.UpdatedAt))
			return err
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		var attempts int
		if err := tx.QueryRow(ctx, jobSQL, string(j.Tenant), j.ID).Scan(&attempts); err != nil {
			return err
		}
		return fmt.Errorf("%w: it was attempt %d, but %d has begun since its lease ended", store.ErrConflict, j.Attempts, attempts)
	})
}

// Jobs lists the jobs of an incident, or of a tenant.
func (c *Catalog) Jobs(ctx context.Context, t tenant.ID, incident string, limit int) ([]store.Job, error) {
	if err := c.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer c.gate.leave()
	if storable(string(t), incident) != nil {
		return nil, nil
	}
	if limit <= 0 {
		limit = math.MaxInt32
	}
	ask := statement{incidentJobsSQL, []any{string(t), incident, limit}}
	if incident == "" {
		ask = statement{tenantJobsSQL, []any{string(t), limit}}
	}
	return rowsOf[store.Job]{op: "list jobs", who: asTenant(t), ask: ask, scan: func(row pgx.Rows, j *store.Job) error { return scanJob(row, j) },
		size: func(j *store.Job) int { return len(j.Payload) }}.all(ctx, c.DB)
}

func scanJob(row pgx.Rows, j *store.Job, more ...any) error {
	var name, payload, state string
	var next, created, updated int64
	into := []any{&name, &j.ID, &j.Channel, &j.Incident, &payload, &state, &j.Attempts, &next, &j.Error, &created, &updated}
	if err := row.Scan(append(into, more...)...); err != nil {
		return err
	}
	j.Tenant, j.State, j.NextAt, j.CreatedAt, j.UpdatedAt = tenant.ID(name), store.JobState(state), when(next), when(created), when(updated)
	if payload != "" {
		j.Payload = json.RawMessage(payload)
	}
	return nil
}
