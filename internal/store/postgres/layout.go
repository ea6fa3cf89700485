package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
)

// Layout is how tables are divided by time.
type Layout string

// The layouts. Which one a database has is decided when its schema is made.
const (
	Native    Layout = "daily partitions" // PostgreSQL's own, made ahead and dropped by Maintain
	Timescale Layout = "timescaledb"      // hypertables, with policies for compression and retention
)

const (
	day = 24 * time.Hour
	// ahead is for how many days partitions are made before they begin: as long as Maintain may be left out.
	ahead = 7
	// grace is how much longer than they are kept events have a partition of their own, and stay.
	grace = day
)

// eventRows is the table of events under TimescaleDB, where events is a view of it.
const eventRows = "events_rows"

// eventsTable is what events are added to.
func (l Layout) eventsTable() string {
	if l == Timescale {
		return eventRows
	}
	return "events"
}

// partitionOf is the name of a day's partition of events.
func partitionOf(at time.Time) string { return "events_" + at.UTC().Format("20060102") }

// otherEvents has the events of days that there is no partition for.
const otherEvents = "events_other"

// dayOf is the reverse of partitionOf.
func dayOf(name string) (time.Time, bool) {
	at, err := time.Parse("20060102", strings.TrimPrefix(name, "events_"))
	return at, err == nil && strings.HasPrefix(name, "events_")
}

// missing are the days from which on partitions have to be made at now, of those that there are not.
func missing(have map[time.Time]bool, now time.Time, keep time.Duration) (days []time.Time) {
	first, last := now.Add(-keep-grace).UTC().Truncate(day), now.UTC().Truncate(day).Add(ahead*day)
	for at := first; !at.After(last); at = at.Add(day) {
		if !have[at] {
			days = append(days, at)
		}
	}
	return days
}

// over are the days that have not to be kept at now any more: an event may come as late as keep allows, by the clock of another machine.
func over(have map[time.Time]bool, now time.Time, keep time.Duration) (days []time.Time) {
	for at := range have {
		if at.Add(day).Before(now.Add(-keep - grace)) {
			days = append(days, at)
		}
	}
	return days
}

// partitions are the days that there are partitions for.
func partitions(ctx context.Context, q querier) (map[time.Time]bool, error) {
	rows, err := q.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1)`, schema+".events")
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	have := map[time.Time]bool{}
	for _, n := range names {
		if at, ok := dayOf(n); ok {
			have[at] = true
		}
	}
	return have, nil
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// addPartition makes the partition of a day. What lies in it already, because it came before the day had one, is moved there.
func addPartition(ctx context.Context, tx pgx.Tx, at time.Time) error {
	name, from, to := partitionOf(at), at.UnixNano(), at.Add(day).UnixNano()
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		CREATE TABLE %[1]s (LIKE events INCLUDING ALL, CONSTRAINT in_day CHECK (time >= %[2]d AND time < %[3]d));
		WITH moved AS (DELETE FROM %[4]s WHERE time >= %[2]d AND time < %[3]d RETURNING *) INSERT INTO %[1]s SELECT * FROM moved;
		ALTER TABLE events ATTACH PARTITION %[1]s FOR VALUES FROM (%[2]d) TO (%[3]d);
		ALTER TABLE %[1]s DROP CONSTRAINT in_day;
		GRANT INSERT ON %[1]s TO %[5]s`, name, from, to, otherEvents, installationRole), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("partition %s: %w", name, err)
	}
	return nil
}

// known are the days that this process knows partitions of. Another process may have made or dropped some since.
type known struct {
	days atomic.Pointer[map[int64]bool]
}

// learn takes them up.
func (k *known) learn(have map[time.Time]bool) {
	days := make(map[int64]bool, len(have))
	for at := range have {
		days[at.UnixNano()/int64(day)] = true
	}
	k.days.Store(&days)
}

// dayNumber counts days since 1970.
func dayNumber(at time.Time) int64 {
	n := at.UnixNano()
	if n < 0 {
		n -= int64(day) - 1
	}
	return n / int64(day)
}

// otherDays stands for all days without a partition.
const otherDays = math.MinInt64

// of gives for each event the day whose partition it belongs to, or otherDays.
func (k *known) of(all []event.Stored) []int64 {
	days := *k.days.Load()
	out := make([]int64, len(all))
	for i := range all {
		if out[i] = dayNumber(all[i].Time); !days[out[i]] {
			out[i] = otherDays
		}
	}
	return out
}

// partOf is the table of a day that known.of gave.
func partOf(n int64) string {
	if n == otherDays {
		return otherEvents
	}
	return partitionOf(time.Unix(0, n*int64(day)))
}

// refresh looks which partitions there are.
func (d *DB) refresh(ctx context.Context) error {
	if d.layout == Timescale {
		return nil
	}
	have, err := partitions(ctx, d.pool)
	if err != nil {
		return err
	}
	d.known.learn(have)
	return nil
}
