// Package process is the heart: for each partition of the log one worker, its owner, that decodes, deduplicates, aggregates,
// evaluates rules, and commits.
//
// # Exactly once
//
// A worker starts reading where the store's offset stands. What a stretch of the log leads to (events, rollups, rule
// states, incident transitions) and the new offset are written in one transaction, which the store refuses when the
// offset is no longer the one that the worker read from. So a crash at any moment, a redelivery, or two workers that both
// believe to own the partition, neither lose nor double anything. All that a worker holds in memory is derived from the store and
// the log; on any error it throws everything away and begins again from the store.
//
// Live subscribers see what a worker has aggregated before it is committed: the log already has it, so it cannot be
// lost, and after a crash the same is computed again.
package process

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Log is the part of the bus that a worker reads.
type Log interface {
	Resume(ctx context.Context, partition int, incarnation string, seq uint64) (bus.Position, error)
	Read(ctx context.Context, partition int, after uint64) (*bus.Reader, error)
	Partitions() int
}

// Store is the part of store.Events that a worker uses.
type Store interface {
	Partition(ctx context.Context, partition int) (store.PartitionState, error)
	Commit(ctx context.Context, c *store.Commit) (store.Offset, error)
	Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error
	Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error
	Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error
}

// Definitions are what one tenant has configured, compiled.
type Definitions struct {
	Tenant  tenant.ID
	Metrics *metric.Set
	Rules   []alert.Bound
	// MaxSeries bounds the series of all metrics together; nil doesn't.
	MaxSeries *int64
}

// Configuration gives the definitions of all tenants as they are now.
type Configuration interface {
	// Generation is another one when definitions have changed. Those that are read after it are at least that new.
	Generation(ctx context.Context) (int64, error)
	Definitions(ctx context.Context) ([]Definitions, error)
}

// Live is told what subscribers may see. Its methods must not block. What they are given is only valid during the call, but for labels.
type Live interface {
	// Restart says that a worker begins anew: what was published of the partition before is void, and history is what
	// the last minutes looked like up to the worker's offset.
	Restart(partition int, history []series.Delta)
	// History is what metrics that were just taken up looked like in the last minutes, up to the worker's offset.
	History(partition int, history []series.Delta)
	// Publish gives what the log messages up to seq add to those before.
	Publish(partition int, seq uint64, deltas []series.Delta, events []event.Stored)
	// Committed says that all up to seq is in the store, with these transitions of incidents.
	Committed(partition int, seq uint64, transitions []alert.Transition)
}

// Observer counts what happens, for the operator.
type Observer interface {
	Processed(partition int, events, duplicates int)
	Committed(partition int, seq uint64, took time.Duration)
	Lag(partition int, messages uint64)
	Failed(partition int, stage string)
	Folded(t tenant.ID, metric int64)
}
