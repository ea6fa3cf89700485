package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// flushEvery is how long queries are counted in memory only: a process that dies forgets as many.
const flushEvery = 5 * time.Second

// Meter counts queries of this process and writes them into the book.
type Meter struct {
	book    store.UsageBook
	now     func() time.Time
	log     *slog.Logger
	mu      sync.Mutex
	queries map[store.UsageKey]int64
}

// NewMeter makes a Meter; Run writes.
func NewMeter(book store.UsageBook, now func() time.Time, log *slog.Logger) *Meter {
	return &Meter{book: book, now: now, log: log, queries: map[store.UsageKey]int64{}}
}

// Query counts one.
func (m *Meter) Query(t tenant.ID) {
	k := store.UsageKey{Tenant: t, Hour: store.HourOf(m.now())}
	m.mu.Lock()
	m.queries[k]++
	m.mu.Unlock()
}

// Run writes every few seconds until ctx ends, and once more then.
func (m *Meter) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	failing := false
	for {
		var err error
		select {
		case <-tick.C:
			err = m.Flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			if err := m.Flush(last); err != nil {
				m.log.Error("the queries of the last seconds could not be written into the book of usage; they are not counted", "error.message", err.Error())
			}
			return
		}
		if err != nil && !failing && ctx.Err() == nil {
			m.log.Warn("queries cannot be written into the book of usage; they are kept in memory and tried again", "error.message", err.Error())
		}
		failing = err != nil
	}
}

// Flush writes what was counted. What was not written is kept for the next time.
func (m *Meter) Flush(ctx context.Context) error {
	m.mu.Lock()
	taken := m.queries
	m.queries = map[store.UsageKey]int64{}
	m.mu.Unlock()
	rows := make([]store.Usage, 0, len(taken))
	for k, n := range taken {
		rows = append(rows, store.Usage{Tenant: k.Tenant, Hour: store.HourAt(k.Hour), Queries: n})
	}
	if len(rows) == 0 {
		return nil
	}
	err := m.book.AddUsage(ctx, rows)
	if err != nil && !errors.Is(err, store.ErrUncertain) { // rather too few than some twice: they are billed
		m.mu.Lock()
		for k, n := range taken {
			m.queries[k] += n
		}
		m.mu.Unlock()
	}
	return err
}
