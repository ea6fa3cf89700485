package live

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Wire is the part of the bus by which processes tell each other what may be lost.
type Wire interface {
	Tell(subject string, data []byte) error
	Hear(subject string, waiting int, f func(bus.Note)) (stop func(), err error)
	Ask(ctx context.Context, subject string, data []byte, quiet time.Duration, f func(data []byte) (last bool)) error
}

// Subjects of the notes of partition p: those for hubs, the beats, by which everybody knows how far the store is, and snapshots.
func notesSubject(p int) string    { return "live.notes." + strconv.Itoa(p) }
func beatSubject(p int) string     { return "live.beat." + strconv.Itoa(p) }
func snapshotSubject(p int) string { return "live.snapshot." + strconv.Itoa(p) }

const (
	incidentSubject = "live.incident"
	relayBeat       = 500 * time.Millisecond
)

// RelayConfig is what a Relay needs.
type RelayConfig struct {
	Log        *slog.Logger
	Now        func() time.Time
	Wire       Wire
	Span       time.Duration // as the hubs'
	Partitions int
	// Wake is called after each commit that changed incidents; it must not block.
	Wake func()
}

// Relay tells the hubs of other processes what the partitions' owners in this one do. It implements process.Live. Like a hub it keeps the last minutes in memory,
// for the snapshot of a hub that begins, or has missed something.
type Relay struct {
	cfg   RelayConfig
	parts []relayed
}

// relayed is a partition. Its mutex is held while a note is sent: what a snapshot has, and the notes behind it, fit together.
type relayed struct {
	index int

	mu     sync.Mutex
	life   uint64 // 0: its owner is not in this process
	number uint64 // of the last note
	seq    uint64 // all up to there is committed
	mem    map[metricOf]*memory
	late   []lateDelta
	tails  map[tenant.ID]*sampler
	unhear func() // ends the answers to those who want a snapshot
	buf    []byte
}

type metricOf struct {
	tenant tenant.ID
	metric int64
}

// NewRelay makes a relay. Run must be running.
func NewRelay(cfg RelayConfig) *Relay {
	r := &Relay{cfg: cfg, parts: make([]relayed, cfg.Partitions)}
	for p := range r.parts {
		r.parts[p].index = p
	}
	return r
}

// Run says that the owners are there, until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	ticker := time.NewTicker(relayBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for p := range r.parts {
			part := &r.parts[p]
			part.mu.Lock()
			if part.life != 0 {
				r.beat(part)
			}
			part.mu.Unlock()
		}
	}
}

// beat says that the owner is there, among the notes, so that one that was lost is missed though none follows, and to those who only want to know where the
// store is.
func (r *Relay) beat(part *relayed) {
	b := appendNote(nil, note{kind: noteBeat, life: part.life, number: part.number, seq: part.seq})
	_ = r.cfg.Wire.Tell(notesSubject(part.index), b)
	_ = r.cfg.Wire.Tell(beatSubject(part.index), b)
}

// Positions calls f with how far the store has read each partition, as their owners say it, until stop is called.
func Positions(w Wire, partitions int, f func(partition int, seq uint64)) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for p := range partitions {
		s, err := w.Hear(beatSubject(p), 64, func(b bus.Note) {
			if n, err := readNote(b.Data); err == nil {
				f(p, n.seq)
			}
		})
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, s)
	}
	return stop, nil
}

// tell sends the next note. One that is not sent is one that was lost.
func (r *Relay) tell(part *relayed, kind noteKind, seq uint64, body []byte) {
	part.number++
	_ = r.cfg.Wire.Tell(notesSubject(part.index), appendNote(nil, note{kind, part.life, part.number, seq, body}))
}

// Restart implements process.Live.
func (r *Relay) Restart(partition int, history []series.Delta) {
	part := &r.parts[partition]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.life = max(part.life+1, uint64(r.cfg.Now().UnixNano()))
	part.number, part.mem, part.late, part.tails = 0, map[metricOf]*memory{}, nil, map[tenant.ID]*sampler{}
	r.remember(part, 0, history)
	if part.unhear == nil {
		stop, err := r.cfg.Wire.Hear(snapshotSubject(partition), 64, func(n bus.Note) { r.snapshot(part, n) })
		if err != nil {
			r.cfg.Log.Error("live charts of other processes cannot ask for a partition", "pulsestream.partition", partition, "error.message", err.Error())
		} else {
			part.unhear = stop
		}
	}
	r.tell(part, noteRestart, 0, nil)
	r.beat(part)
}

// End says that a partition's owner in this process has stopped.
func (r *Relay) End(partition int) {
	part := &r.parts[partition]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.unhear != nil {
		part.unhear()
	}
	part.unhear, part.life, part.mem, part.late, part.tails = nil, 0, nil, nil, nil
}

// History implements process.Live.
func (r *Relay) History(partition int, history []series.Delta) {
	part := &r.parts[partition]
	part.mu.Lock()
	defer part.mu.Unlock()
	r.remember(part, 0, history)
	r.deltas(part, noteHistory, 0, history)
}

// Publish implements process.Live.
func (r *Relay) Publish(partition int, seq uint64, deltas []series.Delta, events []event.Stored) {
	part := &r.parts[partition]
	part.mu.Lock()
	defer part.mu.Unlock()
	r.remember(part, seq, deltas)
	r.deltas(part, noteDeltas, seq, deltas)
	r.events(part, seq, events)
}

// Committed implements process.Live.
func (r *Relay) Committed(partition int, seq uint64, transitions []alert.Transition) {
	part := &r.parts[partition]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.seq = seq
	n := 0
	for n < len(part.late) && part.late[n].seq <= seq {
		n++
	}
	if n > 0 {
		part.late = append(part.late[:0:0], part.late[n:]...)
	}
	b := part.buf[:0]
	for i := range transitions {
		b = appendText(appendText(b, string(transitions[i].Tenant)), transitions[i].Incident)
	}
	r.tell(part, noteCommitted, seq, b)
	part.buf = b
	if len(transitions) > 0 {
		r.cfg.Wake()
	}
}

// Changed says that a commit has added rollups, which can be read now.
func (r *Relay) Changed(partition int, rollups []series.Rollup) {
	part := &r.parts[partition]
	steps := make(map[changedStep]struct{}, 64)
	for i := range rollups {
		steps[changedStep{rollups[i].Tenant, rollups[i].Metric, rollups[i].Start.Unix()}] = struct{}{}
	}
	part.mu.Lock()
	defer part.mu.Unlock()
	b := part.buf[:0]
	for s := range steps {
		b = s.append(b)
		if len(b) > noteBytes {
			r.tell(part, noteChanged, 0, b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		r.tell(part, noteChanged, 0, b)
	}
	part.buf = b
}

// remember takes deltas into memory; the partition's mutex is held.
func (r *Relay) remember(part *relayed, seq uint64, deltas []series.Delta) {
	oldest := r.cfg.Now().Add(-r.cfg.Span).Unix()
	var m *memory
	var last metricOf
	for i := range deltas {
		d := &deltas[i]
		if d.Second < oldest {
			if seq > 0 {
				part.late = append(part.late, lateOf(seq, d))
			}
			continue
		}
		if k := (metricOf{d.Tenant, d.Metric}); m == nil || k != last {
			last = k
			if m = part.mem[k]; m == nil {
				m = newMemory()
				part.mem[k] = m
			}
		}
		m.add(d, oldest)
	}
}

func (r *Relay) deltas(part *relayed, kind noteKind, seq uint64, deltas []series.Delta) {
	b := part.buf[:0]
	for i := range deltas {
		b = appendDelta(b, &deltas[i])
		if len(b) > noteBytes {
			r.tell(part, kind, seq, b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		r.tell(part, kind, seq, b)
	}
	part.buf = b
}

// events sends as many events of each tenant as a tail shows.
func (r *Relay) events(part *relayed, seq uint64, events []event.Stored) {
	now := r.cfg.Now()
	for len(events) > 0 {
		s := sample{tenant: events[0].Tenant, events: event.BeginBatch(nil)}
		rate := part.tails[s.tenant]
		if rate == nil {
			rate = &sampler{}
			part.tails[s.tenant] = rate
		}
		n := 0
		for ; n < len(events) && events[n].Tenant == s.tenant && len(s.events) < noteBytes; n++ {
			if rate.allow(now) {
				s.events = event.AppendEvent(s.events, s.tenant, &events[n].Event)
			} else {
				s.skipped++
			}
		}
		events = events[n:]
		part.buf = s.append(part.buf[:0])
		r.tell(part, noteEvents, seq, part.buf)
	}
}

// snapshot answers with all that is in memory, as deltas.
func (r *Relay) snapshot(part *relayed, to bus.Note) {
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.life == 0 {
		return
	}
	answer := func(kind noteKind, seq uint64, body []byte) {
		if err := to.Reply(appendNote(nil, note{kind, part.life, part.number, seq, body})); err != nil {
			r.cfg.Log.Warn("a snapshot for live charts could not be sent; it will be asked for again", "error.message", err.Error())
		}
	}
	b := part.buf[:0]
	oldest := r.cfg.Now().Add(-r.cfg.Span).Unix()
	for k, m := range part.mem {
		m.since(oldest, func(labels series.Labels, second int64, agg *series.Agg) {
			b = appendDelta(b, &series.Delta{Tenant: k.tenant, Metric: k.metric, Labels: labels, Second: second, Agg: *agg})
			if len(b) > noteBytes {
				answer(noteHistory, 0, b)
				b = b[:0]
			}
		})
	}
	if len(b) > 0 {
		answer(noteHistory, 0, b)
	}
	for _, l := range part.late {
		answer(noteDeltas, l.seq, appendDelta(b[:0], l.delta))
	}
	answer(noteEnd, part.seq, nil)
	part.buf = b
}

// IncidentChanged has an incident sent to those who look at incidents, in all processes.
func (r *Relay) IncidentChanged(t tenant.ID, id string) { tellIncident(r.cfg.Wire, t, id) }

func tellIncident(w Wire, t tenant.ID, id string) {
	_ = w.Tell(incidentSubject, appendText(appendText(nil, string(t)), id))
}
