package report

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Source is where events are read. What Scan gives may be kept as long as it is held. One that is a store.Rows too is read in batches.
type Source interface {
	Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error
	Partition(ctx context.Context, partition int) (store.PartitionState, error)
}

// Engine answers questions about metrics.
type Engine interface {
	Run(ctx context.Context, t tenant.ID, p *metric.Program, q query.Query) (query.Result, error)
}

// Config is what a Service is made of.
type Config struct {
	Dir     string // its own
	Log     *slog.Logger
	Now     func() time.Time
	Events  Source
	Query   Engine
	Metrics func(ctx context.Context, t tenant.ID) (*metric.Set, error)
	// Incomplete says that the store lacks events at present, because it is being rebuilt.
	Incomplete func() bool
	Partitions int
	Disk       Disk
	// Running is how many reports are written at a time, of different tenants.
	Running int
}

// Service takes orders and writes reports.
type Service struct {
	cfg    Config
	signer signer
	wake   chan struct{}

	mu   sync.Mutex
	jobs map[string]*job
	turn *turns
}

// job is a report with what moves while it is written.
type job struct {
	report   Report // guarded by the service's mu
	rows     atomic.Int64
	bytes    atomic.Int64
	progress atomic.Uint64 // in millionths
}

const millionths = 1_000_000

// shown is the report as it is at this moment. The caller holds mu.
func (j *job) shown() Report {
	r := j.report
	switch r.State {
	case Running:
		r.Rows, r.Bytes, r.Progress = j.rows.Load(), j.bytes.Load(), float64(j.progress.Load())/millionths
	case Done:
		r.Progress = 1
	}
	return r
}

// Open reads what there is, and takes up again what was not whole; Run writes it. A directory that cannot be read or made is no reason for a server
// not to start: the log says so, and orders are refused with the reason.
func Open(cfg Config) *Service {
	if cfg.Disk == nil {
		cfg.Disk = SystemDisk
	}
	cfg.Running = max(1, cfg.Running)
	s := &Service{cfg: cfg, signer: newSigner(), wake: make(chan struct{}, 1), jobs: map[string]*job{}, turn: newTurns()}
	found, err := s.load()
	if err != nil {
		s.cfg.Log.Warn("reports cannot be kept", "file.path", cfg.Dir, "error.message", err.Error())
	}
	for _, r := range found {
		s.jobs[r.ID] = &job{report: r}
	}
	return s
}

// Order takes an order. It is on disk when it returns.
func (s *Service) Order(t tenant.ID, o Order) (Report, error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return Report{}, fmt.Errorf("make the directory of reports: %w", err)
	}
	if err := s.room(0); err != nil {
		return Report{}, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails; the process would end
	r := Report{ID: hex.EncodeToString(id[:]), Tenant: t, Order: o, State: Queued, CreatedAt: s.cfg.Now().UTC()}
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, j := range s.jobs {
		if j.report.Tenant == t && !j.report.finished() {
			open++
		}
	}
	if open >= maxWaiting {
		return Report{}, ErrTooMany
	}
	if err := s.save(&r); err != nil {
		return Report{}, err
	}
	s.jobs[r.ID] = &job{report: r}
	s.poke()
	return r, nil
}

// poke makes Run look again.
func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Get returns a report of a tenant.
func (s *Service) Get(t tenant.ID, id string) (Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil || j.report.Tenant != t {
		return Report{}, ErrNotFound
	}
	return j.shown(), nil
}

// List returns the reports of a tenant, newest first.
func (s *Service) List(t tenant.ID) []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Report
	for _, j := range s.jobs {
		if j.report.Tenant == t {
			out = append(out, j.shown())
		}
	}
	slices.SortFunc(out, func(a, b Report) int { return newest(&a, &b) })
	return out
}

func newest(a, b *Report) int {
	if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
		return c
	}
	return strings.Compare(b.ID, a.ID)
}

// sweepEvery is how often reports are looked for that have had their time.
const sweepEvery = time.Minute

// Run writes what is ordered until ctx ends, and returns when nothing is written any more.
func (s *Service) Run(ctx context.Context) {
	var writing sync.WaitGroup
	defer writing.Wait()
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		s.sweep()
		for j := s.take(); j != nil; j = s.take() {
			writing.Go(func() {
				s.write(ctx, j)
				s.poke()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-ticker.C:
		}
	}
}

// take picks the next report to write, and marks it so; nil when there is none, or enough are being written.
func (s *Service) take() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waiting []*Report
	for _, j := range s.jobs {
		if j.report.State == Queued {
			waiting = append(waiting, &j.report)
		}
	}
	s.turn.forget(waiting)
	if len(s.turn.running) >= s.cfg.Running {
		return nil
	}
	slices.SortFunc(waiting, func(a, b *Report) int { return newest(b, a) })
	i := s.turn.next(waiting)
	if i < 0 {
		return nil
	}
	j := s.jobs[waiting[i].ID]
	s.turn.begin(j.report.Tenant)
	j.rows.Store(0)
	j.bytes.Store(0)
	j.progress.Store(0)
	j.report.State, j.report.StartedAt = Running, s.cfg.Now().UTC()
	j.report.Attempts++
	return j
}

// write makes the report's file and says how it went.
func (s *Service) write(ctx context.Context, j *job) {
	s.mu.Lock()
	r := j.report
	err := s.save(&r) // counts the attempt before anything can happen
	s.mu.Unlock()
	lacking := s.cfg.Incomplete()
	if err == nil {
		timed, cancel := context.WithTimeoutCause(ctx, maxTime, errTooLong)
		err = s.produce(timed, j, &r)
		cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn.end(r.Tenant)
	at := &j.report
	at.Rows, at.Bytes, at.Incomplete = j.rows.Load(), j.bytes.Load(), lacking || s.cfg.Incomplete()
	switch {
	case err == nil:
		at.State, at.FinishedAt = Done, s.cfg.Now().UTC()
	case ctx.Err() != nil: // a clean end of the server is not the report's fault
		at.State, at.Rows, at.Bytes = Queued, 0, 0
		at.Attempts--
	case (errors.Is(err, store.ErrUnavailable) || errors.Is(err, query.ErrBusy)) && at.Attempts < maxRuns:
		at.State, at.Rows, at.Bytes = Queued, 0, 0
	default:
		at.State, at.FinishedAt, at.Reason = Failed, s.cfg.Now().UTC(), reason(err)
		at.Rows, at.Bytes = 0, 0
		s.cfg.Log.Warn("a report failed", "pulsestream.report.id", at.ID, "pulsestream.tenant.id", string(at.Tenant), "error.message", err.Error())
	}
	if err := s.save(at); err != nil {
		s.cfg.Log.Warn("the state of a report is not kept: after a restart it is written again", "pulsestream.report.id", at.ID, "error.message", err.Error())
	}
}

var errTooLong = errors.New("it took longer than an hour: ask for less of the time, or for fewer types")

// reason is what a tenant may hear of an error; the log has the rest.
func reason(err error) string {
	var limit *query.LimitError
	var bad *badQuery
	switch {
	case errors.Is(err, ErrNoRoom), errors.Is(err, errTooLong), errors.Is(err, errTime):
		return err.Error()
	case errors.Is(err, syscall.ENOSPC): // of a quota, say, of which the figures of the file system tell nothing
		return ErrNoRoom.Error() + ": make room, or ask for less"
	case errors.As(err, &limit):
		return limit.Detail
	case errors.As(err, &bad):
		return bad.Error()
	case errors.Is(err, query.ErrBusy):
		return "too many questions read events while it was written: order it again in a moment"
	case errors.Is(err, store.ErrUnavailable):
		return "the store of events was not available: order it again when /readyz says nothing of a rebuild"
	}
	return "something went wrong; it has been logged: order it again"
}

// sweep removes reports that have had their time, and the oldest finished ones of tenants who have too many.
func (s *Service) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	byTenant := map[tenant.ID][]*Report{}
	for _, j := range s.jobs {
		if j.report.finished() {
			byTenant[j.report.Tenant] = append(byTenant[j.report.Tenant], &j.report)
		}
	}
	now := s.cfg.Now()
	for _, all := range byTenant {
		slices.SortFunc(all, newest)
		for i, r := range all {
			if i >= maxKept || !now.Before(r.ExpiresAt()) {
				s.remove(r)
				delete(s.jobs, r.ID)
			}
		}
	}
}
