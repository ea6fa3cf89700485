package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/vault"
)

// Events is the part of store.Events that a backup reads.
type Events interface {
	Partition(ctx context.Context, partition int) (store.PartitionState, error)
	Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error
	Transitions(ctx context.Context, after uint64, limit int) ([]store.NumberedTransition, error)
	Quarantined(ctx context.Context, t tenant.ID, q store.QuarantineQuery) ([]store.Quarantined, error)
}

// Catalog is the part of the catalog that a backup reads.
type Catalog interface {
	List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error)
	// Backup writes the catalog as it is at one moment to a new file, and checks that.
	Backup(ctx context.Context, path string) error
}

// Log is the part of the log that a backup reads.
type Log interface {
	Partitions() int
	Tail(ctx context.Context, partition int) (incarnation string, first, last uint64, err error)
	// Knows says whether a message's number in an incarnation is one of this log's.
	Knows(partition int, incarnation string, seq uint64) bool
}

// Source is what is backed up.
type Source struct {
	Events  Events
	Catalog Catalog
	Log     Log
	// OwnKey is where the master key is that a server makes for itself. It is backed up where it is what opens the secrets in the catalog.
	OwnKey  vault.Own
	Version string
	Logger  *slog.Logger
	Now     func() time.Time
	// Wait bounds how long a backup waits for the workers to commit what the log held when it began; 0 when there are no workers.
	Wait time.Duration
	// Threads is how many a backup may use for compression; 0 is one.
	Threads int
	// For tests: step is called before each step, and an error of it is a crash; rows is how many events make a file.
	step func(name string) error
	rows uint64
}

// Phases of a backup and of a restore, in their order.
const (
	PhaseWait    = "waiting for the workers"
	PhaseEvents  = "writing events"
	PhaseVerify  = "verifying"
	PhaseRestore = "restoring events"
)

// Progress is how far a phase is.
type Progress struct {
	Phase  string `json:"phase"`
	Done   uint64 `json:"done"` // of Total: messages while waiting and writing, bytes while verifying, events while restoring
	Total  uint64 `json:"total"`
	Events uint64 `json:"events"` // written or restored so far
}

// Result is what a backup has done.
type Result struct {
	Manifest Manifest `json:"manifest"`
	// Events, Files and Bytes are what this backup has added: events, files of events, and their size.
	Events uint64 `json:"added_events"`
	Files  int    `json:"added_files"`
	Bytes  int64  `json:"added_bytes"`
	// Behind are partitions of which the store has less than the backup before: it is being rebuilt from the log. The backup keeps what it has.
	Behind []int         `json:"partitions_behind,omitempty"`
	Took   time.Duration `json:"duration_ns"`
}

// run is a backup under way.
type run struct {
	Source
	dir    string
	tell   func(Progress)
	before *Manifest // nil for the first one in the directory
	next   Manifest
	result Result
	todo   []stretch
	held   []store.QuarantineKey
	// What of the work is done, for progress.
	messages, total uint64
}

// stretch is what is to be written of a partition's log, both ends included.
type stretch struct {
	partition int
	from, to  uint64
}

// Run makes a backup in dir, or adds to the one that is there. When it returns without an error all of it is on disk; with one, the backup
// before is as it was.
func Run(ctx context.Context, src Source, dir string, tell func(Progress)) (*Result, error) {
	if src.Threads <= 0 {
		src.Threads = 1
	}
	if src.step == nil {
		src.step = func(string) error { return nil }
	}
	if src.rows == 0 {
		src.rows = fileRows
	}
	if tell == nil {
		tell = func(Progress) {}
	}
	began := src.Now()
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r := &run{Source: src, dir: dir, tell: tell}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("back up to %s: %w", dir, err)
	}
	r.result.Manifest, r.result.Took = r.next, src.Now().Sub(began)
	return &r.result, nil
}

func (r *run) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"begin", r.begin}, {"wait", r.await}, {"offsets", r.settle}, {"catalog", r.catalog}, {"incidents", r.incidents}, {"events", r.events},
		{"manifest", r.manifest}, {"sweep", r.sweep},
	} {
		if err := r.step(step.name); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin reads the backup that is there, and removes what one that was broken off has left.
func (r *run) begin(context.Context) error {
	before, err := Load(r.dir)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	r.before = before
	r.next = Manifest{Format: format, Program: r.Version, Number: 1, CreatedAt: r.Now().UTC(), Events: []EventFile{}}
	if before != nil {
		r.next.Number, r.next.Events = before.Number+1, before.Events
		if len(before.Partitions) != r.Log.Partitions() {
			return fmt.Errorf("%w: it has %d partitions, this one %d: choose another directory", ErrOther, len(before.Partitions), r.Log.Partitions())
		}
	}
	return sweep(r.dir, before)
}

// settle decides how far the backup goes, and writes what is in quarantine there.
func (r *run) settle(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		if err := r.offsets(ctx); err != nil {
			return err
		}
		if err := r.quarantine(ctx); !errors.Is(err, errReleased) || attempt == 10 {
			return err
		}
	}
}

func (r *run) offsets(ctx context.Context) error {
	r.next.Partitions, r.todo, r.total, r.held, r.result.Behind = nil, nil, 0, nil, nil
	for p := range r.Log.Partitions() {
		state, err := r.Events.Partition(ctx, p)
		if err != nil {
			return fmt.Errorf("read the offset of partition %d: %w", p, err)
		}
		incarnation, _, last, err := r.Log.Tail(ctx, p)
		if err != nil {
			return err
		}
		at := state.Offset // its incarnation may be an earlier one; its number means the same in this one
		part := Partition{Incarnation: incarnation, Seq: at.Seq, Waiting: last - min(last, at.Seq)}
		var have Partition
		if r.before != nil {
			have = r.before.Partitions[p]
			if !r.Log.Knows(p, have.Incarnation, have.Seq) {
				return fmt.Errorf("%w: partition %d is of the log %s, which this installation does not know. Choose another directory; or if this "+
					"installation is to take that one's place, stop it and restore the backup into a new data directory", ErrOther, p, have.Incarnation)
			}
		}
		part.Events = have.Events
		switch {
		case at.Seq > have.Seq:
			r.todo = append(r.todo, stretch{partition: p, from: have.Seq + 1, to: at.Seq})
			r.total += at.Seq - have.Seq
		case at.Seq < have.Seq:
			r.result.Behind = append(r.result.Behind, p)
			part.Seq = have.Seq
		}
		r.next.Partitions = append(r.next.Partitions, part)
		r.held = append(r.held, state.Quarantined...)
	}
	return nil
}

// await waits until the workers have committed what the log holds now, or Wait is over.
func (r *run) await(ctx context.Context) error {
	if r.Wait <= 0 {
		return nil
	}
	target := make([]uint64, r.Log.Partitions())
	for p := range target {
		_, _, last, err := r.Log.Tail(ctx, p)
		if err != nil {
			return err
		}
		target[p] = last
	}
	deadline := time.NewTimer(r.Wait)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var at Progress
		for p, last := range target {
			state, err := r.Events.Partition(ctx, p)
			if err != nil {
				return fmt.Errorf("read the offset of partition %d: %w", p, err)
			}
			at.Done, at.Total = at.Done+min(state.Offset.Seq, last), at.Total+last
		}
		at.Phase = PhaseWait
		r.tell(at)
		if at.Done >= at.Total {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			r.Logger.Warn("the workers have not committed all that the log held: the backup goes as far as they are", "pulsestream.messages", at.Total-at.Done)
			return nil
		case <-tick.C:
		}
	}
}

func (r *run) catalog(ctx context.Context) (err error) {
	name := fmt.Sprintf("catalog-%06d.sqlite", r.next.Number)
	key, err := vault.Keep(ctx, r.Catalog, r.OwnKey, func() (err error) {
		r.next.Catalog, err = place(ctx, r.dir, name, func(path string) (uint64, error) { return 0, r.Catalog.Backup(ctx, path) })
		return err
	})
	if err != nil || key == nil {
		return err
	}
	f, err := place(ctx, r.dir, fmt.Sprintf("secrets-key-%06d", r.next.Number), func(path string) (uint64, error) { return 0, os.WriteFile(path, key, 0o600) })
	r.next.SecretsKey = &f
	return err
}

// manifest makes all that was written the backup.
func (r *run) manifest(ctx context.Context) error {
	content, err := r.next.encode()
	if err != nil {
		return err
	}
	sealed, err := decode(content)
	if err != nil {
		return err
	}
	r.next = *sealed
	if err := syncFile(filepath.Join(r.dir, eventsDir)); err != nil {
		return err
	}
	_, err = place(ctx, r.dir, manifestName, func(path string) (uint64, error) { return 0, os.WriteFile(path, content, 0o600) })
	return err
}

// sweep removes what this backup has replaced. The backup stands without it.
func (r *run) sweep(context.Context) error {
	if err := sweep(r.dir, &r.next); err != nil {
		r.Logger.Warn("files that the backup has replaced could not be removed; the next one tries again", "error.message", err.Error())
	}
	return nil
}
