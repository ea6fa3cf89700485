// Package redis counts rate limits in Redis, so that all processes of an installation share them. It is the only package that knows Redis.
//
// A request is never to wait for Redis, and never to be refused because of it:
//
//	         three calls in a row fail
//	shared ─────────────────────────────► away      Take asks Redis, at most 50 ms; what is taken is noted in process as well
//	   ▲                                   │        Take asks the process's own limit, and costs nothing more
//	   └───────────────────────────────────┘
//	     a call succeeds; one is made each second in any case
//
// So while Redis is away, each process lets every tenant have the whole limit. Who is in which state is each process's own business.
package redis

import (
	"cmp"
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

//go:embed limit.lua
var script string

const (
	patience = 50 * time.Millisecond
	// failures in a row are so many before Redis counts as away: one may be a moment of a busy machine.
	failures = 3
	// again is how often it is tried whether Redis is there, and tryTime how long that may take, with a new connection.
	again   = time.Second
	tryTime = 2 * time.Second
	// settle is how long a correction may wait for the tenant's next request, which takes it along.
	settle = 100 * time.Millisecond
	// prefix of each key; behind it comes the tenant.
	prefix = "pulsestream:rate:"
	// trial is a key that no tenant has.
	trial = "pulsestream:trial"
)

// Config is what a Meter needs.
type Config struct {
	// URL is redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS.
	URL string
	Log *slog.Logger
	// Now is the process's clock, for its own limit. What is shared goes by the clock of Redis.
	Now func() time.Time
	// clock is used instead of that of Redis, and patience instead of 50 ms, in tests.
	clock    func() time.Time
	patience time.Duration
}

// Meter is a limit.Meter whose limits are shared by all processes that use the same Redis. Start and Stop are its life.
type Meter struct {
	client rueidis.Client
	script *rueidis.Lua
	local  *limit.Local
	log    *slog.Logger
	clock  func() time.Time
	// patience is how long a request waits for Redis.
	patience time.Duration

	away     atomic.Bool
	failed   atomic.Int32 // calls in a row
	fallback atomic.Uint64

	mu   sync.Mutex
	owed map[tenant.ID]debt // corrections that Redis doesn't know of yet

	stop context.CancelFunc
	done chan struct{}
}

type debt struct{ perSecond, n float64 }

// Open connects and tries the script once. Its error says what to do.
func Open(ctx context.Context, cfg Config) (*Meter, error) {
	opt, err := options(cfg.URL)
	if err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, explain(cfg.URL, err)
	}
	m := &Meter{client: client, script: rueidis.NewLuaScript(script), local: limit.NewLocal(cfg.Now), log: cfg.Log,
		clock: cfg.clock, patience: cmp.Or(cfg.patience, patience), owed: map[tenant.ID]debt{}}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if _, err := m.ask(ctx, trial, 1, 0, 0); err != nil {
		client.Close()
		return nil, explain(cfg.URL, err)
	}
	return m, nil
}

// Start begins to carry corrections to Redis, and to look for it when it is away.
func (m *Meter) Start() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.done = stop, make(chan struct{})
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
}

// Stop ends that and closes the connections.
func (m *Meter) Stop() {
	if m.stop != nil {
		m.stop()
		<-m.done
	}
	m.client.Close()
}

// Away says whether each process limits by itself at present.
func (m *Meter) Away() bool { return m.away.Load() }

// Fallbacks is how many requests were decided by this process alone.
func (m *Meter) Fallbacks() uint64 { return m.fallback.Load() }

// Take is limit.Meter's.
func (m *Meter) Take(t tenant.ID, perSecond, n float64) limit.Usage {
	if m.away.Load() {
		m.fallback.Add(1)
		return m.local.Take(t, perSecond, n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.patience)
	defer cancel()
	u, err := m.ask(ctx, prefix+string(t), perSecond, m.collect(t), n)
	if err != nil {
		m.fail(err)
		m.fallback.Add(1)
		return m.local.Take(t, perSecond, n)
	}
	m.failed.Store(0)
	if u.Allowed { // so that the process's own limit goes on from here when it is asked
		m.local.Add(t, perSecond, n)
	}
	return u
}

// Add is limit.Meter's. It doesn't wait for Redis.
func (m *Meter) Add(t tenant.ID, perSecond, n float64) {
	m.local.Add(t, perSecond, n)
	if m.away.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owed[t] = debt{perSecond, m.owed[t].n + n}
}

// collect takes what is owed of a tenant.
func (m *Meter) collect(t tenant.ID) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.owed[t].n
	delete(m.owed, t)
	return n
}

// ask runs the script. That a call may have been carried out although no answer came is no harm: the local limit has charged it too.
func (m *Meter) ask(ctx context.Context, key string, perSecond, more, n float64) (limit.Usage, error) {
	args := []string{number(perSecond), number(more), number(n)}
	if m.clock != nil {
		args = append(args, strconv.FormatInt(m.clock().UnixMicro(), 10))
	}
	answer, err := m.script.Exec(ctx, m.client, []string{key}, args).ToArray()
	if err != nil {
		return limit.Usage{}, err
	}
	if len(answer) != 2 {
		return limit.Usage{}, fmt.Errorf("the script answered %d values", len(answer))
	}
	allowed, err := answer[0].AsInt64()
	used, uerr := answer[1].AsFloat64()
	return limit.Usage{Allowed: allowed == 1, Used: used}, errors.Join(err, uerr)
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func (m *Meter) fail(err error) {
	if m.failed.Add(1) < failures || !m.away.CompareAndSwap(false, true) {
		return
	}
	m.mu.Lock()
	clear(m.owed)
	m.mu.Unlock()
	m.log.Warn("Redis doesn't answer: each process limits by itself until it does, so a tenant may send its whole rate to each", "error.message", err.Error())
}

func (m *Meter) run(ctx context.Context) {
	carry, look := time.NewTicker(settle), time.NewTicker(again)
	defer carry.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			m.carry(context.WithoutCancel(ctx))
			return
		case <-carry.C:
			m.carry(ctx)
		case <-look.C:
			m.look(ctx)
		}
	}
}

// carry brings to Redis what no request has taken along.
func (m *Meter) carry(ctx context.Context) {
	m.mu.Lock()
	owed := m.owed
	m.owed = map[tenant.ID]debt{}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	for t, d := range owed {
		if m.away.Load() {
			return
		}
		if _, err := m.ask(ctx, prefix+string(t), d.perSecond, d.n, 0); err != nil {
			m.fail(err)
			return
		}
		m.failed.Store(0)
	}
}

// look finds out whether Redis is there, and has gone or come back: also while nobody with a limit sends anything.
func (m *Meter) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if _, err := m.ask(ctx, trial, 1, 0, 0); err != nil {
		m.fail(err)
		return
	}
	m.failed.Store(0)
	if !m.away.CompareAndSwap(true, false) {
		return
	}
	m.log.Info("Redis answers again: limits are shared by all processes")
}
