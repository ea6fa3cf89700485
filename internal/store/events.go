// Package store declares the two seams behind which all state lives: Events (large, columnar, rebuildable from the log)
// and Catalog (small, transactional, never to be lost). Providers are in its subpackages and pass the suites of storetest.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Sentinels of both seams. Providers return them wrapped; callers test with errors.Is.
var (
	// ErrNotFound: there is no such thing in this tenant.
	ErrNotFound = errors.New("not found")
	// ErrFenced: a commit's From is not what the store holds, so somebody else has committed since. Nothing was written.
	ErrFenced = errors.New("fenced: the partition's offset was moved by another worker")
	// ErrConflict: the catalog's resource is not at the revision the caller named.
	ErrConflict = errors.New("conflict")
	// ErrRefused: what was to be stored cannot be, and trying again will not help. Nothing was written.
	ErrRefused = errors.New("refused by the store")
	// ErrDamaged: what is on disk is not what was written. Set it aside and rebuild it from the log.
	ErrDamaged = errors.New("the store of events is damaged")
	// ErrBroken: the store cannot go on after a fault of the disk, but what is on disk may be sound. Open it again.
	ErrBroken = errors.New("the store of events must be opened again")
	// ErrFull: the disk has no room for it. Nothing was written, what is stored can be read, and the same is taken when there is room.
	ErrFull = errors.New("the disk under the store of events is full")
	// ErrUnavailable: the store is being opened again or set aside; ask again in a moment.
	ErrUnavailable = errors.New("the store of events is not available at this moment")
	// ErrUncertain: the answer to a commit was lost, so that it may have taken effect. It stands beside the other errors.
	ErrUncertain = errors.New("whether it was kept is not known")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Offset is how far a partition of the log is in the store. The zero value is "nothing yet".
type Offset struct {
	// Incarnation names the life of the log stream that Seq counts in: sequence numbers of different incarnations
	// don't compare.
	Incarnation string
	Seq         uint64 // of the last log message whose events are in the store
	Revision    uint64 // counts commits; the provider moves it on by one at each
}

// Commit is one transaction of a partition's owner. It takes effect as a whole, or not at all, and only if the partition's
// offset still is From.
type Commit struct {
	Partition int
	From      Offset
	// To is the new position: its Revision is ignored, From.Revision+1 is stored. It may equal From's position: a commit
	// on a clock tick has no events.
	To          Offset
	Events      []event.Stored     // in log order; Data and Extensions are only read during the call
	Rollups     []series.Rollup    // of one minute each; the provider keeps those of an hour and a day of them. Only read during the call
	Fills       []Fill             // replaced by (Tenant, Metric)
	States      []alert.State      // replaced by (Tenant, RuleID, Group); PhaseOK removes
	Transitions []alert.Transition // added; one whose ID is there already is ignored
	Quarantine  []Quarantined      // added; one whose Tenant and ID are there already is replaced
	Released    []QuarantineKey    // removed from quarantine, because their events are among Events
	// DryRun says that nothing is to be kept: whether the store would take it is all that is asked. The offset that Commit returns is From.
	DryRun bool
}

// QuarantineKey names an entry of the quarantine.
type QuarantineKey struct {
	Tenant tenant.ID
	ID     string
}

// Quarantined is an event, or a whole log message, that a stage could not process. It is kept until it was processed after
// all or somebody drops it, so that acknowledged = stored + quarantined + dropped.
type Quarantined struct {
	QuarantineKey
	Partition int
	Position  event.Position
	Stage     string // "decode", "aggregate" or "commit"
	Reason    string
	// Event is what could not be processed, nil when the message could not even be decoded: then Raw is the message.
	Event    *event.Event
	Raw      []byte
	At       time.Time
	Attempts int
}

// QuarantineQuery asks for quarantined events, by ID.
type QuarantineQuery struct {
	IDs   []string // none: all
	After string
	Limit int // 0: no bound
}

// Fill is how far a metric's rollups have been computed from stored events: all with Position <= Upto were stored before the
// stream took the metric up, and of these all with Position <= Done are in its rollups.
type Fill struct {
	Tenant    tenant.ID
	Partition int
	Metric    int64
	Upto      event.Position
	Done      event.Position
	Complete  bool
	UpdatedAt time.Time
}

// PartitionState is what the owner of a partition needs to take up work.
type PartitionState struct {
	Offset Offset
	Fills  []Fill
	States []alert.State
	// Quarantined are the entries of the partition's quarantine.
	Quarantined []QuarantineKey
}

// EventFilter selects events of one tenant. Empty fields do not restrict.
type EventFilter struct {
	Types   []string  // exact, or a prefix followed by *
	Source  string    // exact
	ID      string    // exact; quick together with Source
	Subject string    // exact
	From    time.Time // event time, inclusive
	To      time.Time // event time, exclusive
}

// Cursor is a place in the newest-first order of events: (Time, Seq, Index) descending. A tenant's events are all of one
// partition.
type Cursor struct {
	Time time.Time
	event.Position
}

// Page asks for events newest first, those strictly behind After when it is set.
type Page struct {
	EventFilter
	After *Cursor
	Limit int // at least 1
}

// Scan asks for all events that match, in log order, those strictly behind After and at or before Upto.
type Scan struct {
	EventFilter
	After event.Position
	Upto  *event.Position // nil: no bound
	Limit int             // 0: no bound
	// WithoutData leaves Data and Extensions nil, which is much cheaper.
	WithoutData bool
}

// RollupQuery asks for the rollups of one metric at one resolution.
type RollupQuery struct {
	Metric int64
	Step   time.Duration // one of series.Resolutions
	From   time.Time     // inclusive start of steps
	To     time.Time     // exclusive
	// Where restricts labels: for index i of the labels, any of the values. Nil does not restrict.
	Where map[int][]string
	// GroupBy are indexes of the labels to keep: what has the same kept labels and start comes merged. Results carry only these
	// labels, in this order.
	GroupBy []int
	// Bucket is the width to which starts are aligned and merged, a multiple of Step. 0 means Step.
	Bucket time.Duration
	// Scalars says that quantiles and distinct counts are not needed, which is much cheaper.
	Scalars bool
}

// IncidentQuery asks for incidents, newest first.
type IncidentQuery struct {
	State string // "firing", "resolved" or "" for both
	Rule  string
	ID    string
	After *IncidentCursor // only those behind it
	Limit int
}

// IncidentCursor is a place in the newest-first order of incidents: (StartedAt, ID) descending. Many begin at the same instant: all
// groups of a rule that one evaluation finds to be bad.
type IncidentCursor struct {
	StartedAt time.Time
	ID        string
}

// Identity is what an event is told from others by, with the time it was received.
type Identity struct {
	Tenant     tenant.ID
	Source, ID string
	Received   time.Time
}

// Events keeps events, rollups, offsets, rule states and incident transitions. Methods may be called from any goroutine; commits
// of different partitions do not disturb each other. A read sees whole commits only.
//
// Callbacks are called in order from the caller's goroutine; an error they return stops the read and is
// returned as it is. What they are given is only valid during the call unless said otherwise.
type Events interface {
	// Partition is the state of a partition, zero for one that has never committed.
	Partition(ctx context.Context, partition int) (PartitionState, error)
	// Commit applies c and returns the new offset, or ErrFenced.
	Commit(ctx context.Context, c *Commit) (Offset, error)
	// Identities gives every identified event of a partition received at or after since, in no certain order.
	Identities(ctx context.Context, partition int, since time.Time, each func(Identity) error) error
	// Page returns at most p.Limit events, newest first.
	Page(ctx context.Context, t tenant.ID, p Page) ([]event.Stored, error)
	// Event returns the first stored event with this source and id, or ErrNotFound.
	Event(ctx context.Context, t tenant.ID, source, id string) (event.Stored, error)
	// Scan calls each for every match in log order.
	Scan(ctx context.Context, t tenant.ID, s Scan, each func(*event.Stored) error) error
	// Rollups calls each for every merged rollup, ordered by start.
	Rollups(ctx context.Context, t tenant.ID, q RollupQuery, each func(*series.Rollup) error) error
	// Incidents returns incidents with all their transitions applied.
	Incidents(ctx context.Context, t tenant.ID, q IncidentQuery) ([]alert.Incident, error)
	// Transitions gives those committed after the one with the running number after, of all tenants, oldest first, at most limit,
	// each with its own running number: what the notifier tails.
	Transitions(ctx context.Context, after uint64, limit int) ([]NumberedTransition, error)
	// Quarantined returns quarantined events, by ID.
	Quarantined(ctx context.Context, t tenant.ID, q QuarantineQuery) ([]Quarantined, error)
	// Usage gives the Events and Bytes that commits have brought, of a tenant, of all tenants when it is empty, in the hours from (inclusive) to
	// (exclusive), by tenant and hour. They are counted by Commit, in its transaction; what becomes of the events later does not change them.
	Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]Usage, error)
	// Close waits for what is under way and leaves the store ready to be opened fast.
	Close() error
}

// NumberedTransition is a transition with its place in the order of commits.
type NumberedTransition struct {
	Number uint64
	alert.Transition
}
