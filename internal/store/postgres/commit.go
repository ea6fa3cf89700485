package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Events is the half that keeps events. Its methods may be called from any goroutine.
type Events struct {
	*DB
	gate gate
}

// Close waits for the calls under way. The connections are the database's to close.
func (s *Events) Close() error {
	s.gate.close()
	return nil
}

// errDry ends a dry run: all went well, and nothing is kept.
var errDry = errors.New("a dry run")

// Commit implements store.Events. When it returns store.ErrUnavailable nobody knows whether it took effect: Partition tells.
func (s *Events) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := s.gate.enter(ctx); err != nil {
		return store.Offset{}, err
	}
	defer s.gate.leave()
	if err := check(c); err != nil {
		return store.Offset{}, err
	}
	to := c.To
	to.Revision = c.From.Revision + 1
	rows := s.takeCopying()
	defer s.copyings.Put(rows)
	for tries := 1; ; tries++ {
		err := s.write(ctx, fmt.Sprintf("commit of partition %d", c.Partition), asOwner(c.Partition), func(tx pgx.Tx) error {
			if err := fence(ctx, tx, c, to); err != nil {
				return err
			}
			if err := s.add(ctx, tx, c, rows); err != nil {
				return err
			}
			if c.DryRun {
				return errDry
			}
			return nil
		})
		switch {
		case err == nil:
			return to, nil
		case c.DryRun && errors.Is(err, errDry):
			return c.From, nil
		case tries < 3 && hasCode(err, "23514", "42P01"): // a day has a partition now that had none, or the other way about
			if err := s.refresh(ctx); err != nil {
				return store.Offset{}, s.fail(ctx, "partitions", err)
			}
			continue
		}
		return store.Offset{}, err
	}
}

// fence moves the partition's offset on, if it is where the commit begins. The row is locked until the transaction is over: who else commits from the
// same offset waits for it, and then finds another.
func fence(ctx context.Context, tx pgx.Tx, c *store.Commit, to store.Offset) error {
	sql := `UPDATE offsets SET incarnation = $2, seq = $3, revision = $4 WHERE "partition" = $1 AND incarnation = $5 AND seq = $6 AND revision = $7`
	args := []any{c.Partition, packed(to.Incarnation), bits(to.Seq), bits(to.Revision), packed(c.From.Incarnation), bits(c.From.Seq), bits(c.From.Revision)}
	if c.From == (store.Offset{}) {
		sql = `INSERT INTO offsets ("partition", incarnation, seq, revision) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
		args = args[:4]
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("the partition is not at %+v: %w", c.From, store.ErrFenced)
	}
	return err
}

// bits are how a uint64 is kept where it is only compared for equality.
func bits(n uint64) int64 { return int64(n) } //nolint:gosec // its bits

func (s *Events) add(ctx context.Context, tx pgx.Tx, c *store.Commit, rows *copying) error {
	if err := s.copyEvents(ctx, tx, c.Events, rows); err != nil {
		return err
	}
	if err := countUsage(ctx, tx, c.Partition, c.Events); err != nil {
		return err
	}
	if len(c.Rollups) > 0 {
		rows.rollups(c.Partition, c.Rollups)
		if err := rows.into(ctx, tx, "rollup_fresh_rows"); err != nil {
			return err
		}
	}
	if err := replaceFills(ctx, tx, c.Fills); err != nil {
		return err
	}
	if err := replaceStates(ctx, tx, c.Partition, c.States); err != nil {
		return err
	}
	if err := replaceQuarantine(ctx, tx, c); err != nil {
		return err
	}
	return addTransitions(ctx, tx, c.Partition, c.Transitions) // last: it takes the lock that other partitions' transitions wait for
}

// copyEvents copies events into the partitions of their days. It chooses these itself: COPY into a part of a table goes where row-level security of the whole
// would not let it, and takes half as long as staging the rows and inserting them.
func (s *Events) copyEvents(ctx context.Context, tx pgx.Tx, all []event.Stored, rows *copying) error {
	if len(all) == 0 {
		return nil
	}
	if s.layout == Timescale {
		rows.begin()
		for i := range all {
			rows.event(&all[i])
		}
		return rows.into(ctx, tx, eventRows)
	}
	of := s.known.of(all)
	var done []int64
	for _, n := range of {
		if slices.Contains(done, n) {
			continue
		}
		done = append(done, n)
		rows.begin()
		for i := range all {
			if of[i] == n {
				rows.event(&all[i])
			}
		}
		if err := rows.into(ctx, tx, partOf(n)); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a commit that would store something where nobody finds it again, or that could not be stored.
func check(c *store.Commit) error {
	if c.Partition < 0 || c.Partition > math.MaxInt32 {
		return fmt.Errorf("events: there is no partition %d", c.Partition)
	}
	for i := range c.Events {
		ev := &c.Events[i]
		if ev.Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds an event of partition %d", c.Partition, ev.Partition)
		}
		if ev.Seq > math.MaxInt64 || ev.Index > math.MaxInt32 {
			return fmt.Errorf("event %.100q of source %.100q is at a place that cannot be stored: %w", ev.ID, ev.Source, store.ErrRefused)
		}
	}
	if ev := event.NotText(c.Events); ev != nil {
		return fmt.Errorf("event %.100q of source %.100q is not UTF-8: %w", ev.ID, ev.Source, store.ErrRefused)
	}
	for i := range c.Fills {
		if c.Fills[i].Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds a fill of partition %d", c.Partition, c.Fills[i].Partition)
		}
	}
	for i := range c.Rollups {
		if c.Rollups[i].Step != time.Minute {
			return fmt.Errorf("events: a commit holds a rollup of %v: those of a minute are committed, and others made of them", c.Rollups[i].Step)
		}
		for _, l := range c.Rollups[i].Labels {
			if !utf8.ValidString(l) {
				return fmt.Errorf("label %.100q of metric %d is not UTF-8: %w", l, c.Rollups[i].Metric, store.ErrRefused)
			}
		}
	}
	return checkAlerts(c)
}

func checkAlerts(c *store.Commit) error {
	for i := range c.States {
		if st := &c.States[i]; !utf8.ValidString(string(st.Tenant)) || !utf8.ValidString(st.Incident) || !utf8.ValidString(string(st.Phase)) {
			return fmt.Errorf("the state of rule %d is not UTF-8: %w", st.RuleID, store.ErrRefused)
		}
	}
	for i := range c.Transitions {
		t := &c.Transitions[i]
		for _, s := range []string{t.ID, string(t.Tenant), t.Incident, t.Rule, string(t.Kind)} {
			if !utf8.ValidString(s) {
				return fmt.Errorf("transition %.100q is not UTF-8: %w", t.ID, store.ErrRefused)
			}
		}
	}
	for i := range c.Quarantine {
		if k := c.Quarantine[i].QuarantineKey; !utf8.ValidString(k.ID) || !utf8.ValidString(string(k.Tenant)) {
			return fmt.Errorf("the quarantine's entry %.100q is not UTF-8: %w", k.ID, store.ErrRefused)
		}
	}
	return nil
}

// Partition implements store.Events. All of it is of one moment.
func (s *Events) Partition(ctx context.Context, partition int) (store.PartitionState, error) {
	if err := s.gate.enter(ctx); err != nil {
		return store.PartitionState{}, err
	}
	defer s.gate.leave()
	var p store.PartitionState
	err := s.snapshot(ctx, fmt.Sprintf("partition %d", partition), asOwner(partition), func(tx pgx.Tx) error {
		p = store.PartitionState{}
		var seq, revision int64
		err := tx.QueryRow(ctx, `SELECT incarnation, seq, revision FROM offsets WHERE "partition" = $1`, partition).Scan(&p.Offset.Incarnation, &seq, &revision)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		p.Offset.Incarnation, p.Offset.Seq, p.Offset.Revision = unpacked(p.Offset.Incarnation), uint64(seq), uint64(revision) //nolint:gosec // its bits
		if p.Fills, err = fills(ctx, tx, partition); err != nil {
			return err
		}
		if p.States, err = states(ctx, tx, partition); err != nil {
			return err
		}
		p.Quarantined, err = quarantinedKeys(ctx, tx, partition)
		return err
	})
	return p, err
}

// latest keeps the last item of each key, in the order of items: within one commit, too, the last one holds.
func latest[T any, K comparable](items []T, key func(*T) K) []*T {
	place := make(map[K]int, len(items))
	kept := make([]*T, 0, len(items))
	for i := range items {
		k := key(&items[i])
		if at, ok := place[k]; ok {
			kept[at] = &items[i]
			continue
		}
		place[k] = len(kept)
		kept = append(kept, &items[i])
	}
	return kept
}

// nanos is how an optional time is kept: null for the zero time, which has no Unix nanoseconds.
func nanos(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}

// moment is the time that nanos kept.
func moment(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.Unix(0, *n).UTC()
}
