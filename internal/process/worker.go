package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Config is how workers work.
type Config struct {
	Log           *slog.Logger
	Stream        Log
	Store         Store
	Configuration Configuration
	Live          Live
	Observer      Observer
	Now           func() time.Time
	// DedupeWindow is how long source and id of an event are remembered.
	DedupeWindow time.Duration
	// MaxSeries bounds the series of one metric of one tenant.
	MaxSeries int
	// CommitEvery is the least time between commits while events keep coming; a first event after a pause is committed at once. A
	// worker that is behind gathers for some times as long.
	CommitEvery time.Duration
	// Tick is how often rules are evaluated without events.
	Tick time.Duration
	// LiveSpan is how far back live charts are kept at one second.
	LiveSpan time.Duration
}

// Sizes at which a batch is committed without waiting.
const (
	maxBatchEvents = 4_000 // more are out of the processor's caches by the time they are merged
	maxBatchHeld   = 1_000 // entries of the quarantine
	maxBatchBytes  = 16 << 20
	fillChunk      = 20_000 // stored events per step of filling a new metric
	maxStates      = 10_000
)

// stalledAfter is how many sessions may fail, one after the other, before it is said that nothing is processed.
const stalledAfter = 4

// Worker owns a partition.
type Worker struct {
	cfg       Config
	partition int
	refresh   chan struct{}
	// What commits that the store refused have taught, kept over sessions; see refusal.go.
	careful stretch                   // each of these messages is committed alone
	poison  map[event.Position]string // events that the store refuses, and why
	learned bool                      // in the last session
	stalled atomic.Pointer[error]     // why nothing is processed
}

// stretch is a range of the log by sequence, both ends inclusive; the zero value is none.
type stretch struct{ first, last uint64 }

// NewWorker makes the owner of a partition; Run does the work.
func NewWorker(partition int, cfg Config) *Worker {
	return &Worker{cfg: cfg, partition: partition, refresh: make(chan struct{}, 1), poison: map[event.Position]string{}}
}

// Refresh tells the worker that definitions may have changed.
func (w *Worker) Refresh() {
	select {
	case w.refresh <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, beginning anew from the store after every error.
func (w *Worker) Run(ctx context.Context) {
	backoff := time.Duration(0)
	for failed := 1; ctx.Err() == nil; failed++ {
		started := w.cfg.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if w.cfg.Now().Sub(started) > time.Minute {
			backoff, failed = 0, 1
		}
		if failed >= stalledAfter {
			w.stall(fmt.Errorf("the worker of partition %d fails: %w", w.partition, err))
		}
		backoff = min(max(2*backoff, 100*time.Millisecond), 10*time.Second)
		if w.learned { // the next session does something else, so it need not wait
			w.learned, backoff, failed = false, 0, 0
		}
		w.cfg.Observer.Failed(w.partition, "session")
		w.cfg.Log.Error("the worker of a partition failed; it begins again from the last commit",
			"pulsestream.partition", w.partition, "error.message", err.Error(), "pulsestream.retry_in", backoff.String())
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
	}
}

// session is everything that a worker holds between two beginnings.
type session struct {
	*Worker
	offset     store.Offset // of the last commit that was started
	seq        uint64       // of the last message processed
	pending    uint64       // messages behind it in the log
	received   time.Time    // when its events were received
	dedupe     *Window
	identifier *identifier
	bound      *bound
	plans      plans
	aggregate  *aggregator
	ids        []identity // scratch: the identities of the message in hand
	repeated   []bool     // scratch: which of them were seen before
	rules      *alert.Evaluator
	defs       map[tenant.ID]*metric.Set
	generation int64       // of the definitions
	none       *metric.Set // of a tenant that is not known yet: its metrics are filled when it is
	fills      map[metricKey]*store.Fill
	held       map[store.QuarantineKey]bool // what is in quarantine
	shown      map[metricKey]bool           // metrics whose last minutes live charts have
	batch      *batch
	spare      *batch         // for its memory
	inflight   chan committed // nil when no commit is under way
	lastCommit time.Time
	busy       bool // many events came between the last two commits
	decoder    event.Decoder
	touched    uint32 // what was read ahead; nobody asks
	reader     *bus.Reader
}

// batch is what the next commit will write.
type batch struct {
	commit   store.Commit
	rollups  *rollups
	payloads [][]byte // that the commit has views of
	bytes    int
	shown    int // events of the commit that show has handed on
	states   int // of commit.States when they were last reduced to the latest
	urgent   bool
}

type committed struct {
	from, to uint64 // sequences
	batch    *batch
	commit   *store.Commit
	offset   store.Offset
	err      error
}

func (w *Worker) session(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			w.cfg.Log.Error("a stage panicked", "error.message", err.Error(), "error.stack_trace", stack())
		}
	}()
	s := w.newSession()
	defer s.dedupe.Close()
	if err := s.restore(ctx); err != nil {
		return err
	}
	s.reader, err = w.cfg.Stream.Read(ctx, w.partition, s.seq)
	if err != nil {
		return err
	}
	defer s.reader.Close()
	err = s.loop(ctx)
	// A commit under way must not outlive the session that believes in it.
	return errors.Join(err, s.settle(ctx))
}

func (w *Worker) newSession() *session {
	s := &session{Worker: w, dedupe: NewWindow(w.cfg.DedupeWindow), identifier: newIdentifier(), rules: alert.NewEvaluator(alert.Config{}),
		defs: map[tenant.ID]*metric.Set{}, none: metric.NewSet(nil), fills: map[metricKey]*store.Fill{}, shown: map[metricKey]bool{}, held: map[store.QuarantineKey]bool{}}
	s.bound = newBound(w.cfg.MaxSeries, w.cfg.Observer.Folded)
	s.plans.bound = s.bound
	s.aggregate = newAggregator(s.bound)
	s.newBatch()
	return s
}

func (s *session) metrics(t tenant.ID) *metric.Set {
	if set := s.defs[t]; set != nil {
		return set
	}
	return s.none
}

// restore brings back all that a worker knows, from the store.
func (s *session) restore(ctx context.Context) error {
	state, err := s.cfg.Store.Partition(ctx, s.partition)
	if err != nil {
		return fmt.Errorf("read the offset: %w", err)
	}
	at, err := s.cfg.Stream.Resume(ctx, s.partition, state.Offset.Incarnation, state.Offset.Seq)
	if err != nil {
		return err
	}
	s.offset = state.Offset
	s.seq = at.After
	s.pending = at.Last - min(at.Last, at.After)
	now := s.cfg.Now()
	err = s.cfg.Store.Identities(ctx, s.partition, now.Add(-s.cfg.DedupeWindow), func(id store.Identity) error {
		s.dedupe.add(s.identifier.identity(id.Tenant, id.Source, id.ID), id.Received.Unix())
		return nil
	})
	if err != nil {
		return fmt.Errorf("load identities: %w", err)
	}
	for _, f := range state.Fills {
		s.fills[metricKey{f.Tenant, f.Metric}] = &f
	}
	for _, k := range state.Quarantined {
		s.held[k] = true
	}
	s.rules.Restore(state.States)
	history, err := s.adopt(ctx)
	if err != nil {
		return err
	}
	s.cfg.Live.Restart(s.partition, history)
	s.batch.commit.To.Incarnation = at.Incarnation
	return nil
}

// adopt takes up the definitions as they are now. It is called when everything processed is committed, so that
// what is stored and what will come meet without gap or overlap at the offset. It returns what live charts are to be told of the
// past of metrics that they do not know yet.
func (s *session) adopt(ctx context.Context) ([]series.Delta, error) {
	generation, err := s.cfg.Configuration.Generation(ctx)
	if err != nil {
		return nil, fmt.Errorf("load definitions: %w", err)
	}
	configured, err := s.cfg.Configuration.Definitions(ctx)
	if err != nil {
		return nil, fmt.Errorf("load definitions: %w", err)
	}
	s.generation = generation
	clear(s.defs)
	s.plans = plans{bound: s.bound}
	var rules []alert.Bound
	p := past{live: map[tenant.ID][]*metric.Program{}}
	for _, d := range configured {
		if tenant.Partition(d.Tenant, s.cfg.Stream.Partitions()) != s.partition {
			continue
		}
		s.defs[d.Tenant] = d.Metrics
		rules = append(rules, d.Rules...)
		var defined []int64
		for _, program := range d.Metrics.All() {
			k := metricKey{d.Tenant, program.Definition().ID}
			if !s.shown[k] {
				s.shown[k] = true
				p.live[d.Tenant] = append(p.live[d.Tenant], program)
			}
			if err := s.take(ctx, d.Tenant, program.Definition()); err != nil {
				return nil, err
			}
			defined = append(defined, program.Definition().ID)
		}
		s.bound.allow(d.Tenant, d.MaxSeries, defined)
	}
	p.rules = s.rules.SetRules(rules)
	for _, t := range s.bound.tables {
		t.watched = false
	}
	return s.history(ctx, p)
}

// take takes up one metric: the series it has, and a fill if it is new.
func (s *session) take(ctx context.Context, t tenant.ID, def *metric.Definition) error {
	k := metricKey{t, def.ID}
	if t, fresh := s.bound.table(t, def.ID, len(def.Dimensions)); fresh {
		all := make([]int, len(def.Dimensions))
		for i := range all {
			all[i] = i
		}
		q := store.RollupQuery{Metric: def.ID, Step: 24 * time.Hour, From: time.Unix(0, 0), To: s.cfg.Now().Add(48 * time.Hour),
			GroupBy: all, Bucket: 24 * time.Hour, Scalars: true}
		err := s.cfg.Store.Rollups(ctx, t.tenant, q, func(r *series.Rollup) error {
			s.bound.learn(t, r.Labels)
			return nil
		})
		if err != nil {
			return fmt.Errorf("load the series of %s: %w", def.Slug, err)
		}
	}
	if s.fills[k] == nil {
		upto := event.Position{Seq: s.seq, Index: math.MaxUint32}
		f := &store.Fill{Tenant: t, Partition: s.partition, Metric: def.ID, Upto: upto, Complete: s.offset.Seq == 0, UpdatedAt: s.cfg.Now()}
		s.fills[k] = f
		s.batch.commit.Fills = append(s.batch.commit.Fills, *f)
		s.batch.urgent = true
	}
	return nil
}

// past says whose history is missing: rules with fresh windows, and metrics that live charts do not know.
type past struct {
	rules []alert.Need
	live  map[tenant.ID][]*metric.Program
}

// history replays stored events for what is missing, each tenant's once, and returns the part for live charts.
func (s *session) history(ctx context.Context, p past) ([]series.Delta, error) {
	back := map[tenant.ID]time.Duration{}
	programs := map[tenant.ID]map[*metric.Program]bool{}
	want := func(t tenant.ID, span time.Duration, program *metric.Program) {
		back[t] = max(back[t], span)
		if programs[t] == nil {
			programs[t] = map[*metric.Program]bool{}
		}
		programs[t][program] = true
	}
	for t, list := range p.live {
		for _, program := range list {
			want(t, s.cfg.LiveSpan, program)
		}
	}
	for _, n := range p.rules {
		if program, ok := s.metrics(n.Tenant).ByID(n.MetricID); ok {
			want(n.Tenant, n.Back, program)
		}
	}
	var live []series.Delta
	for t, span := range back {
		deltas, err := s.replay(ctx, t, span, programs[t])
		if err != nil {
			return nil, err
		}
		for i := range deltas {
			for _, n := range p.rules {
				s.rules.Load(n.RuleID, &deltas[i])
			}
			if s.fresh(p.live[t], deltas[i].Metric) {
				live = append(live, deltas[i])
			}
		}
	}
	for _, n := range p.rules {
		s.rules.Loaded(n.RuleID)
	}
	return live, nil
}

func (s *session) fresh(programs []*metric.Program, id int64) bool {
	for _, p := range programs {
		if p.Definition().ID == id {
			return true
		}
	}
	return false
}

// replay computes some of a tenant's metrics from the stored events of the last span of time.
func (s *session) replay(ctx context.Context, t tenant.ID, span time.Duration, wanted map[*metric.Program]bool) ([]series.Delta, error) {
	upto := event.Position{Seq: s.seq, Index: math.MaxUint32}
	agg := newAggregator(s.bound)
	scan := store.Scan{EventFilter: store.EventFilter{From: s.cfg.Now().Add(-span)}, Upto: &upto}
	all := s.metrics(t).All()
	some := metric.NewSet(slices.DeleteFunc(slices.Clone(all), func(p *metric.Program) bool { return !wanted[p] }))
	own := plans{bound: s.bound}
	err := s.cfg.Store.Scan(ctx, t, scan, func(ev *event.Stored) error {
		if err := agg.add(ev, own.of(t, some, ev.Type)); err != nil {
			s.skipped(ev, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("replay the last minutes: %w", err)
	}
	return agg.deltas(), nil
}
