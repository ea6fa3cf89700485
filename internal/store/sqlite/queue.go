package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	jobColumns = `tenant, id, channel, incident, payload, state, attempts, next_at, error, created_at, updated_at`

	enqueueSQL = `INSERT INTO jobs (` + jobColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant, id) DO NOTHING`
	moveSQL    = `INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position`
	cursorSQL  = `SELECT position FROM cursors WHERE name = $1`
	dueSQL     = `SELECT ` + jobColumns + ` FROM jobs WHERE state = 'queued' AND next_at <= $1 ORDER BY next_at, created_at, tenant, id LIMIT $2`
	// Attempts tells apart two who chose the same job at the same time: only the first still finds the number it has read.
	leaseSQL  = `UPDATE jobs SET attempts = attempts + 1, next_at = $4, updated_at = $5 WHERE tenant = $1 AND id = $2 AND attempts = $3 AND state = 'queued'`
	finishSQL = `UPDATE jobs SET state = $4, next_at = $5, error = $6, updated_at = $7 WHERE tenant = $1 AND id = $2 AND attempts = $3`
	jobSQL    = `SELECT attempts, state FROM jobs WHERE tenant = $1 AND id = $2`

	incidentJobsSQL = `SELECT ` + jobColumns + ` FROM jobs WHERE tenant = $1 AND incident = $2 ORDER BY created_at, id LIMIT $3`
	tenantJobsSQL   = `SELECT ` + jobColumns + ` FROM jobs WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT $2`
)

// Enqueue adds jobs and moves the cursor, in one transaction.
func (s *Store) Enqueue(ctx context.Context, tail string, position uint64, jobs []store.Job) error {
	op := fmt.Sprintf("enqueue %d jobs of %s", len(jobs), tail)
	if position > math.MaxInt64 {
		return fmt.Errorf("%s: position %d is too large", op, position)
	}
	for _, j := range jobs {
		if err := zeroFree(tail, string(j.Tenant), j.ID, j.Channel, j.Incident, string(j.Payload)); err != nil {
			return fmt.Errorf("%s: job %q: %w", op, j.ID, err)
		}
	}
	return s.write(ctx, op, func(ctx context.Context, tx *sql.Tx) error {
		for _, j := range jobs {
			if j.State == "" {
				j.State = store.JobQueued
			}
			if j.UpdatedAt.IsZero() {
				j.UpdatedAt = j.CreatedAt
			}
			_, err := tx.ExecContext(ctx, enqueueSQL, j.Tenant, j.ID, j.Channel, j.Incident, string(j.Payload), j.State, j.Attempts,
				nanos(j.NextAt), withoutZeros(j.Error), nanos(j.CreatedAt), nanos(j.UpdatedAt))
			if err != nil {
				return fmt.Errorf("job %q: %w", j.ID, err)
			}
		}
		_, err := tx.ExecContext(ctx, moveSQL, tail, int64(position)) //nolint:gosec // running numbers, far from the end
		return err
	})
}

// Position is where the cursor named tail stands.
func (s *Store) Position(ctx context.Context, tail string) (uint64, error) {
	var n int64
	err := s.read(ctx, "position of "+tail, func(db *sql.DB) error {
		err := db.QueryRowContext(ctx, cursorSQL, tail).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return uint64(n), err //nolint:gosec // running numbers, never negative
}

// Claim leases due jobs.
func (s *Store) Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]store.Job, error) {
	if limit <= 0 {
		return nil, nil
	}
	return writeFor(ctx, s, "claim jobs", func(ctx context.Context, tx *sql.Tx) (claimed []store.Job, err error) {
		due, err := queryJobs(ctx, tx, dueSQL, nanos(now), limit)
		if err != nil {
			return nil, err
		}
		for _, j := range due {
			ends := now.Add(lease)
			n, err := affected(tx.ExecContext(ctx, leaseSQL, j.Tenant, j.ID, j.Attempts, nanos(ends), nanos(now)))
			if err != nil {
				return nil, err
			}
			if n == 1 {
				j.Attempts++
				j.NextAt, j.UpdatedAt = moment(nanos(ends)), moment(nanos(now))
				claimed = append(claimed, j)
			}
		}
		return claimed, nil
	})
}

// Finish records how an attempt went.
func (s *Store) Finish(ctx context.Context, j store.Job) error {
	return s.write(ctx, fmt.Sprintf("finish job %q", j.ID), func(ctx context.Context, tx *sql.Tx) error {
		var attempts int
		var was store.JobState
		if err := tx.QueryRowContext(ctx, jobSQL, j.Tenant, j.ID).Scan(&attempts, &was); err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, finishSQL, j.Tenant, j.ID, j.Attempts, j.State, nanos(j.NextAt), withoutZeros(j.Error), nanos(j.UpdatedAt)))
		switch {
		case err == nil && n == 1 && j.State == store.JobDone && was != store.JobDone:
			_, err = tx.ExecContext(ctx, notifiedSQL, j.Tenant, store.HourOf(j.UpdatedAt))
			return err
		case err != nil || n == 1:
			return err
		}
		return fmt.Errorf("%w: it was attempt %d, but %d has begun since its lease ended", store.ErrConflict, j.Attempts, attempts)
	})
}

// Jobs lists the jobs of an incident, or of a tenant.
func (s *Store) Jobs(ctx context.Context, t tenant.ID, incident string, limit int) ([]store.Job, error) {
	if limit <= 0 {
		limit = math.MaxInt32
	}
	query, args := incidentJobsSQL, []any{t, incident, limit}
	if incident == "" {
		query, args = tenantJobsSQL, []any{t, limit}
	}
	var jobs []store.Job
	err := s.read(ctx, "list jobs", func(db *sql.DB) (err error) {
		jobs, err = queryJobs(ctx, db, query, args...)
		return err
	})
	return jobs, err
}

func queryJobs(ctx context.Context, q querier, query string, args ...any) ([]store.Job, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []store.Job
	for rows.Next() {
		var j store.Job
		var payload string
		var next, created, updated int64
		err := rows.Scan(&j.Tenant, &j.ID, &j.Channel, &j.Incident, &payload, &j.State, &j.Attempts, &next, &j.Error, &created, &updated)
		if err != nil {
			return nil, err
		}
		if payload != "" {
			j.Payload = json.RawMessage(payload)
		}
		j.NextAt, j.CreatedAt, j.UpdatedAt = moment(next), moment(created), moment(updated)
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// affected is how many rows a statement changed.
func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
