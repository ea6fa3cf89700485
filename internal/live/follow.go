package live

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Remembering is what answers from memory, and has to know what other processes have committed.
type Remembering interface {
	// Changed says that rollups have been added to the store, and can be read there.
	Changed(rollups []series.Rollup)
	// Trust says whether it will be told of each change from now on; before it is, anything may have changed.
	Trust(ok bool)
}

// FollowConfig is what a Follower needs.
type FollowConfig struct {
	Log        *slog.Logger
	Now        func() time.Time
	Wire       Wire
	Partitions int
	Hub        *Hub
	Cache      Remembering
}

const (
	// followSilence is after what time without a beat a partition's owner is taken to be gone.
	followSilence = 3 * relayBeat
	followRetry   = 200 * time.Millisecond
	snapshotQuiet = 2 * time.Second
	// heardNotes bounds what waits of one partition, also while its snapshot comes.
	heardNotes = 4096
)

// Follower has a hub show what the owners of partitions in other processes do: their relays' notes, behind a snapshot.
type Follower struct {
	cfg   FollowConfig
	parts []*followed

	mu    sync.Mutex
	in    int // partitions that are followed without a gap
	known bool
}

// followed is a partition.
type followed struct {
	index  int
	notes  chan note
	life   uint64 // of its owner; 0: none is known
	number uint64 // of the last note that was taken
	heard  time.Time
	newest uint64 // the last life that was heard of
	synced bool
	failed bool // to get the last snapshot that was asked for
	texts  texts
	events event.Decoder
}

// NewFollower makes a follower. Run must be running.
func NewFollower(cfg FollowConfig) *Follower {
	f := &Follower{cfg: cfg}
	for p := range cfg.Partitions {
		f.parts = append(f.parts, &followed{index: p, notes: make(chan note, heardNotes)})
	}
	return f
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	f.cfg.Cache.Trust(false)
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	hear := func(subject string, take func(bus.Note)) error {
		stop, err := f.cfg.Wire.Hear(subject, heardNotes, take)
		if err == nil {
			stops = append(stops, stop)
		}
		return err
	}
	errs := []error{hear(incidentSubject, f.incident)}
	for _, part := range f.parts {
		errs = append(errs, hear(notesSubject(part.index), func(n bus.Note) { part.hear(n.Data) }))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var running sync.WaitGroup
	for _, part := range f.parts {
		running.Go(func() { f.follow(ctx, part) })
	}
	running.Wait()
	return nil
}

// hear takes a note, or drops it when there are too many: then the next one tells that one is missing.
func (p *followed) hear(data []byte) {
	n, err := readNote(data)
	if err != nil {
		return
	}
	select {
	case p.notes <- n:
	default:
	}
}

func (f *Follower) incident(n bus.Note) {
	r := texts{b: n.Data}
	if all, err := r.incidents(); err == nil {
		for _, k := range all {
			f.cfg.Hub.IncidentChanged(k.tenant, k.id)
		}
	}
}

// IncidentChanged has an incident sent to those who look at incidents, in all processes.
func (f *Follower) IncidentChanged(t tenant.ID, id string) { tellIncident(f.cfg.Wire, t, id) }

// follow is a partition's loop.
func (f *Follower) follow(ctx context.Context, part *followed) {
	ticker := time.NewTicker(followRetry)
	defer ticker.Stop()
	for {
		if !part.synced {
			f.sync(ctx, part)
		}
		select {
		case <-ctx.Done():
			return
		case n := <-part.notes:
			f.take(part, n)
		case <-ticker.C:
			if part.synced && f.cfg.Now().Sub(part.heard) > followSilence {
				f.lose(part, "its owner is not heard any more")
			}
		}
	}
}

// take handles a note of a partition that is in sync.
func (f *Follower) take(part *followed, n note) {
	now := f.cfg.Now()
	part.newest = max(part.newest, n.life)
	switch {
	case n.life < part.life && now.Sub(part.heard) <= followSilence:
		return // of an owner that has been replaced and does not know yet
	case n.life != part.life || n.kind == noteRestart:
		if part.synced {
			f.lose(part, "another owner has taken it up")
		}
		return
	}
	part.heard = now
	next := part.number
	if n.kind != noteBeat {
		next++
	}
	switch {
	case !part.synced || n.number < next: // the snapshot has it
	case n.number > next:
		f.lose(part, "a note was lost")
	case n.kind != noteBeat:
		part.number = n.number
		if err := f.apply(part, n); err != nil {
			f.lose(part, err.Error())
		}
	}
}

// lose says that something was missed.
func (f *Follower) lose(part *followed, why string) {
	f.cfg.Log.Debug("live charts of a partition begin anew", "pulsestream.partition", part.index, "event.reason", why)
	part.synced = false
	f.count(-1)
}

// count notes how many partitions are followed without a gap. What is remembered is good only while all are.
func (f *Follower) count(add int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in += add
	if all := f.in == len(f.parts); all != f.known {
		f.known = all
		f.cfg.Cache.Trust(all)
	}
}

// Following says how many partitions are followed without a gap.
func (f *Follower) Following() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.in
}

// sync asks a partition's owner for a snapshot, and shows that in the place of what was known.
func (f *Follower) sync(ctx context.Context, part *followed) {
	var history, late []series.Delta
	var lateSeq []uint64
	var end note
	failed := error(nil)
	err := f.cfg.Wire.Ask(ctx, snapshotSubject(part.index), nil, snapshotQuiet, func(data []byte) (last bool) {
		n, err := readNote(data)
		if err != nil {
			failed = err
			return true
		}
		switch {
		case n.life < part.newest: // of an owner that has been replaced and does not know yet
			return false
		case n.life > part.newest:
			part.newest, history, late, lateSeq = n.life, nil, nil, nil
		}
		part.texts.b, part.texts.failed = n.body, false
		switch n.kind {
		case noteHistory, noteDeltas:
			deltas, err := part.texts.deltas()
			if failed = err; n.kind == noteHistory {
				history = append(history, deltas...)
				break
			}
			for range deltas {
				lateSeq = append(lateSeq, n.seq)
			}
			late = append(late, deltas...)
		case noteEnd:
			end = n
			return true
		}
		return failed != nil
	})
	if err = errors.Join(err, failed); err != nil || end.life == 0 {
		if ctx.Err() == nil && !errors.Is(err, bus.ErrNobody) && !part.failed { // once, not at every try
			part.failed = true
			f.cfg.Log.Warn("the last minutes for live charts have not come; they are asked for again", "pulsestream.partition", part.index, "error.message", errText(err))
		}
		waitForNote(ctx, part)
		return
	}
	part.life, part.number, part.heard, part.synced, part.failed = end.life, end.number, f.cfg.Now(), true, false
	f.cfg.Hub.Restart(part.index, history)
	for i := range late {
		f.cfg.Hub.Publish(part.index, lateSeq[i], late[i:i+1], nil)
	}
	f.cfg.Hub.Committed(part.index, end.seq, nil)
	f.count(1)
}

func errText(err error) string {
	if err == nil {
		return "the answer was cut off"
	}
	return err.Error()
}

// waitForNote waits for a sign of an owner, or a moment.
func waitForNote(ctx context.Context, part *followed) {
	t := time.NewTimer(followRetry)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	if len(part.notes) > heardNotes/2 { // they are older than the snapshot that will come
		for len(part.notes) > 0 {
			<-part.notes
		}
	}
}

// apply shows a note.
func (f *Follower) apply(part *followed, n note) error {
	r := &part.texts
	r.b, r.failed = n.body, false
	hub := f.cfg.Hub
	switch n.kind {
	case noteHistory, noteDeltas:
		deltas, err := r.deltas()
		if err != nil {
			return err
		}
		if n.kind == noteHistory {
			hub.History(part.index, deltas)
		} else {
			hub.Publish(part.index, n.seq, deltas, nil)
		}
	case noteEvents:
		t, skipped, events, err := r.sample(&part.events)
		if err != nil {
			return err
		}
		hub.Publish(part.index, n.seq, nil, events)
		hub.Skipped(t, skipped)
	case noteCommitted:
		incidents, err := r.incidents()
		if err != nil {
			return err
		}
		transitions := make([]alert.Transition, len(incidents))
		for i, k := range incidents {
			transitions[i].Tenant, transitions[i].Incident = k.tenant, k.id
		}
		hub.Committed(part.index, n.seq, transitions)
	case noteChanged:
		rollups, err := r.changed()
		if err != nil {
			return err
		}
		f.cfg.Cache.Changed(rollups)
	default:
		return errNote
	}
	return nil
}
