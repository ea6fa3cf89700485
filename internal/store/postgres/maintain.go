package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	compactEvery  = 5 * time.Second
	maintainEvery = 10 * time.Minute
)

// Run does the upkeep until ctx ends. Each process that has workers may run it: one at a time does the work, and the others look again later.
func (s *Events) Run(ctx context.Context) {
	compact, maintain := time.NewTicker(compactEvery), time.NewTicker(maintainEvery)
	defer compact.Stop()
	defer maintain.Stop()
	failing := s.told("retention", s.Maintain(ctx), false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-compact.C:
			failing = s.told("compaction of rollups", s.compactDue(ctx), failing)
		case <-maintain.C:
			failing = s.told("retention", s.Maintain(ctx), failing)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// told logs the first failure of several, and that they are over.
func (s *Events) told(what string, err error, failing bool) bool {
	switch {
	case err != nil && !failing:
		s.log.Error("PostgreSQL: upkeep failed, it is tried again", "what", what, "error.message", err.Error())
	case err == nil && failing:
		s.log.Info("PostgreSQL: upkeep works again")
	}
	return err != nil
}

// compactDue merges the rollups of minutes that are over, and thins those of the minutes that are not.
func (s *Events) compactDue(ctx context.Context) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	over := s.now().Add(-settles - time.Minute)
	if _, err := s.compact(ctx, false, settledSQL, over); err != nil {
		return err
	}
	_, err := s.compact(ctx, false, pilesSQL, over)
	return err
}

// Maintain makes the partitions of the days to come and drops those that were kept for long enough. Run does it; it may be called besides.
func (s *Events) Maintain(ctx context.Context) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	kept, err := s.longest(ctx)
	if err != nil {
		return err // rather nothing is dropped than what somebody pays for
	}
	if s.layout == Timescale {
		return s.keep(ctx, kept) // its policies do the rest
	}
	now := s.now()
	var made, dropped int
	// Each change has a transaction of its own: its locks hold off readers and commits, for milliseconds.
	days, gone, err := s.days(ctx, now, kept)
	if err != nil {
		return err
	}
	for _, at := range days {
		if err := s.ddl(ctx, func(tx pgx.Tx, have map[time.Time]bool) error {
			if have[at] {
				return nil
			}
			made++
			return addPartition(ctx, tx, at)
		}); err != nil {
			return err
		}
	}
	for _, at := range gone {
		if err := s.ddl(ctx, func(tx pgx.Tx, have map[time.Time]bool) error {
			if !have[at] {
				return nil
			}
			dropped++
			_, err := tx.Exec(ctx, `DROP TABLE `+partitionOf(at))
			return err
		}); err != nil {
			return err
		}
	}
	if err := s.ddl(ctx, func(tx pgx.Tx, _ map[time.Time]bool) error {
		_, err := tx.Exec(ctx, `DELETE FROM `+otherEvents+` WHERE time < $1`, now.Add(-kept-grace).UTC().Truncate(day).UnixNano())
		return err
	}); err != nil {
		return err
	}
	if err := s.refresh(ctx); err != nil {
		return s.fail(ctx, "partitions", err)
	}
	if made+dropped > 0 {
		s.log.Info("PostgreSQL: daily partitions of events", "made", made, "dropped", dropped)
	}
	return nil
}

// longest is the longest retention that anybody has, and what is kept in any case. What is older than the latter has no partition of its own.
func (s *Events) longest(ctx context.Context) (time.Duration, error) {
	tenants, err := s.catalog.List(ctx, "", store.KindTenant)
	if err != nil {
		return 0, fmt.Errorf("how long events are kept: %w", err)
	}
	longest := s.cfg.Keep
	for i := range tenants {
		var t tenant.Tenant
		if err := json.Unmarshal(tenants[i].Body, &t); err != nil {
			return 0, fmt.Errorf("how long events of tenant %s are kept: %w", tenants[i].Tenant, err)
		}
		longest = max(longest, t.Retention())
	}
	return longest, nil
}

func (s *Events) days(ctx context.Context, now time.Time, kept time.Duration) (wanted, gone []time.Time, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, nil, s.fail(ctx, "partitions", err)
	}
	defer conn.Release()
	have, err := partitions(ctx, conn)
	if err != nil {
		return nil, nil, s.fail(ctx, "partitions", err)
	}
	return missing(have, now, s.cfg.Keep), over(have, now, kept), nil
}

// errBusy ends a change that has to wait for too long. It is made another time.
var errBusy = errors.New("the tables are in use")

// ddl changes a partition as the tables' owner, who alone may. It does not wait for long: whoever asks after it would wait, too.
func (s *Events) ddl(ctx context.Context, change func(tx pgx.Tx, have map[time.Time]bool) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.fail(ctx, "partitions", err)
	}
	defer conn.Release()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '2s'`); err != nil {
			return err
		}
		mine, err := lock(ctx, tx, false)
		if err != nil || !mine {
			return err
		}
		have, err := partitions(ctx, tx)
		if err != nil {
			return err
		}
		return change(tx, have)
	})
	if hasCode(err, "55P03") {
		err = fmt.Errorf("%w: %w", errBusy, err)
	}
	return s.fail(ctx, "partitions", err)
}
