package redis

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/limit/limittest"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// said is a log that is read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), text)
}

// patient is for tests that are about numbers: on a busy machine an answer may take longer than a request would wait.
const patient = 10 * time.Second

// open opens a meter; with a clock it goes by that one instead of the server's.
func open(t *testing.T, r *limittest.Redis, clock func() time.Time, patience time.Duration) (*Meter, *said) {
	t.Helper()
	log := &said{}
	now := clock
	if now == nil {
		now = time.Now
	}
	m, err := Open(t.Context(), Config{URL: "redis://" + r.Addr, Log: slog.New(slog.NewTextHandler(log, nil)), Now: now, clock: clock, patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m, log
}

func (m *Meter) empty(t *testing.T) {
	t.Helper()
	if err := m.client.Do(t.Context(), m.client.B().Flushdb().Build()).Error(); err != nil {
		t.Fatal(err)
	}
}

func TestTheSharedMeter(t *testing.T) {
	r := limittest.StartRedis(t)
	limittest.Run(t, func(t *testing.T, now func() time.Time) limit.Meter {
		m, _ := open(t, r, now, patient)
		m.empty(t)
		return m
	})
}

// The script and limit.Local are the same function: fed the same sequence, they answer the same, to the last digit.
func TestTheScriptDecidesAsTheProcessesOwnLimitDoes(t *testing.T) {
	r := limittest.StartRedis(t)
	clock := limittest.NewClock()
	m, _ := open(t, r, clock.Now, patient)
	local := limit.NewLocal(clock.Now)
	chance := rand.New(rand.NewPCG(3, 5))
	rates := []float64{0.01, 0.5, 1, 7, 99.9, 1000, 12_345.678, 1e6, 1e9}
	allowed := 0
	for i := range 10_000 {
		k := chance.IntN(len(rates))
		id, rate := tenant.ID(fmt.Sprint("t", k)), rates[k]
		clock.Step(time.Duration(chance.Int64N(int64(20 * time.Millisecond))))
		n := 1 + chance.ExpFloat64()*rate/10
		switch chance.IntN(20) {
		case 0:
			clock.Step(-time.Duration(chance.Int64N(int64(time.Hour))))
		case 1:
			clock.Step(time.Duration(chance.Int64N(int64(time.Minute))))
		case 2, 3:
			m.Add(id, rate, n)
			local.Add(id, rate, n)
		case 4, 5:
			m.Add(id, rate, -n)
			local.Add(id, rate, -n)
		}
		got, want := m.Take(id, rate, n), local.Take(id, rate, n)
		if got != want {
			t.Fatalf("call %d, %g events at %g a second: Redis says %+v, the process %+v", i, n, rate, got, want)
		}
		if got.Allowed {
			allowed++
		}
	}
	if m.Fallbacks() > 0 || allowed < 1000 || allowed > 9000 {
		t.Errorf("%d of 10000 allowed, %d of them not by Redis", allowed, m.Fallbacks())
	}
}

// Four goroutines on each of two processes' meters want all they can get, for a second by the clock of Redis.
func TestTwoProcessesTogetherAreHeldToOneLimit(t *testing.T) {
	r := limittest.StartRedis(t)
	one, _ := open(t, r, nil, patient)
	two, _ := open(t, r, nil, patient)
	one.Start()
	two.Start()
	const perSecond = 2000
	var accepted [2]atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for i, m := range []*Meter{one, two} {
		rate := limit.NewRate(m)
		for range 4 {
			group.Go(func() {
				for k := 0; time.Since(start) < 1500*time.Millisecond; k++ {
					// Requests of 3 events and 600 bytes, or now and then of none after all.
					d := rate.Take("t", perSecond, 600)
					if !d.Allowed {
						continue
					}
					n := 3
					if k%10 == 9 {
						n = 0
					}
					rate.Count("t", d, n, 600)
					accepted[i].Add(int64(n))
				}
			})
		}
	}
	group.Wait()
	passed := time.Since(start).Seconds()
	together := float64(accepted[0].Load() + accepted[1].Load())
	if most := perSecond + perSecond*passed; together > most*1.01 || together < most*0.9 {
		t.Errorf("%.0f accepted in %.2f s, at most %.0f are right", together, passed, most)
	}
	if one.Fallbacks()+two.Fallbacks() > 0 {
		t.Errorf("%d and %d were decided without Redis", one.Fallbacks(), two.Fallbacks())
	}
	ttl, err := one.client.Do(t.Context(), one.client.B().Pttl().Key(prefix+"t").Build()).AsInt64()
	if err != nil || ttl <= 0 || ttl > 3000 {
		t.Errorf("the key is kept for %d ms: %v", ttl, err)
	}
}

func TestWhatIsCorrectedReachesRedisWithoutAnotherRequest(t *testing.T) {
	r := limittest.StartRedis(t)
	one, _ := open(t, r, nil, patient)
	two, _ := open(t, r, nil, patient)
	one.Start()
	one.Add("t", 10, 1000)
	limittest.Until(t, "the other process is refused", func() bool { return !two.Take("t", 10, 1).Allowed })
}

func TestWithoutRedisEachProcessLimitsByItselfAndComesBackByItself(t *testing.T) {
	r := limittest.StartRedis(t)
	m, log := open(t, r, nil, 0)
	m.Start()
	if !m.Take("t", 0.001, 1).Allowed {
		t.Fatal("refused at once")
	}
	r.Kill()
	limittest.Until(t, "it is away", func() bool {
		if m.Take("t", 0.001, 1).Allowed { // its own limit knows what Redis has allowed
			t.Fatal("a full burst more was let in because Redis is away")
		}
		return m.Away()
	})
	if !m.Take("other", 1000, 1).Allowed {
		t.Error("refused because Redis is away")
	}
	const calls = 2000
	begun := time.Now()
	for range calls {
		m.Take("other", 1000, 1)
	}
	if each := time.Since(begun) / calls; each > 500*time.Microsecond {
		t.Errorf("a request costs %v while Redis is away", each)
	}
	if m.Fallbacks() < calls || log.count("level=WARN") != 1 {
		t.Errorf("%d fallbacks, %d warnings", m.Fallbacks(), log.count("level=WARN"))
	}
	before := m.Fallbacks()
	r.Start() // empty, and without the script
	limittest.Until(t, "it is back", func() bool { return !m.Away() })
	m.Take("other", 1000, 1)
	if m.Fallbacks() != before || log.count("level=INFO") != 1 {
		t.Errorf("%d more fallbacks, %d lines say that it is back", m.Fallbacks()-before, log.count("level=INFO"))
	}
}

func TestThatRedisIsAwayIsNoticedWithoutARequest(t *testing.T) {
	r := limittest.StartRedis(t)
	m, _ := open(t, r, nil, 0)
	m.Start()
	r.Kill()
	limittest.Until(t, "it is away", m.Away)
	if m.Fallbacks() != 0 {
		t.Errorf("%d requests were decided without Redis, there was none", m.Fallbacks())
	}
}

func TestARequestDoesNotWaitForARedisThatHangs(t *testing.T) {
	r := limittest.StartRedis(t)
	m, _ := open(t, r, nil, 0)
	m.Start()
	m.Take("t", 1000, 1)
	r.Freeze()
	longest := time.Duration(0)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 10 {
				begun := time.Now()
				m.Take("t", 1000, 1)
				took := time.Since(begun)
				mu.Lock()
				longest = max(longest, took)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if !m.Away() || longest > 4*patience {
		t.Errorf("away: %v; the longest wait was %v", m.Away(), longest)
	}
	r.Thaw()
	limittest.Until(t, "it is back", func() bool { return !m.Away() })
}

func TestWhatCannotWorkIsSaidAtTheStartWithWhatToDo(t *testing.T) {
	r := limittest.StartRedis(t, "--requirepass", "hunter2hunter2")
	for _, c := range []struct{ name, url, says string }{
		{"nobody listens", "redis://x:hunter2hunter2@" + limittest.FreePort(t), "start Redis, or correct the address"},
		{"no password", "redis://" + r.Addr, "correct the user and the password"},
		{"a wrong password", "redis://:hunter2hunter2no@" + r.Addr, "correct the user and the password"},
		{"no such database", "redis://:hunter2hunter2@" + r.Addr + "/99", "DB index is out of range"},
		{"no TLS there", "rediss://:hunter2hunter2@" + r.Addr, "rediss:// is with TLS"},
		{"no such name", "redis://:hunter2hunter2@no-such-host.invalid", "correct the address"},
		{"another scheme", "http://:hunter2hunter2@" + r.Addr, "redis://HOST:6379"},
		{"an option", "redis://:hunter2hunter2@" + r.Addr + "?x=1", "nothing may follow"},
		{"a name for the database", "redis://:hunter2hunter2@" + r.Addr + "/x", "the number of a database"},
	} {
		m, err := Open(t.Context(), Config{URL: c.url, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		if err == nil {
			m.Stop()
			t.Errorf("%s: taken", c.name)
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.says) || !strings.Contains(text, "--redis ") || strings.Contains(text, "\n") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", c.name, text)
		}
	}
	m, err := Open(t.Context(), Config{URL: "redis://default:hunter2hunter2@" + r.Addr + "/3", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m.Stop()
}

func BenchmarkTake(b *testing.B) {
	for name, perSecond := range map[string]float64{"allowed": 1e9, "refused": 0.001} {
		b.Run(name, func(b *testing.B) {
			r := limittest.StartRedis(b)
			m, err := Open(b.Context(), Config{URL: "redis://" + r.Addr, Log: slog.New(slog.DiscardHandler), Now: time.Now})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Stop()
			m.Start()
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					m.Take("t", perSecond, 1)
				}
			})
			b.ReportMetric(float64(m.Fallbacks())/float64(b.N), "fallbacks/op")
		})
	}
}
