package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// counter counts the rollups that a store is asked for, and may be told to wait.
type counter struct {
	store.Events
	mu     sync.Mutex
	ranges []string
	after  func() // called when a read is done, before it returns
}

func (c *counter) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	c.mu.Lock()
	c.ranges = append(c.ranges, q.From.Format("15:04")+"-"+q.To.Format("15:04"))
	c.mu.Unlock()
	err := c.Events.Rollups(ctx, t, q, each)
	if c.after != nil {
		c.after()
	}
	return err
}

func (c *counter) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.ranges
	c.ranges = nil
	return r
}

// openCache is a shop behind a cache, at a time of its day.
func openCache(t testing.TB, now string) (*shop, *Cache, *counter) {
	s := openShop(t)
	under := &counter{Events: s.events}
	c := NewCache(under, CacheConfig{Now: func() time.Time { return at(now) }})
	s.events, s.engine = c, &Engine{Events: c}
	return s, c, under
}

func TestStepsThatAreOverAreReadOnce(t *testing.T) {
	s, c, under := openCache(t, "2026-03-04T13:10:00Z")
	s.commit([]event.Stored{s.visit("10:20:00", "home", 1), s.visit("11:20:00", "home", 2), s.visit("12:20:00", "home", 4), s.visit("13:05:00", "home", 8)})
	const q = "&step=1m&agg=sum&from=2026-03-04T10:10:00Z&to=2026-03-04T13:10:00Z"
	for i, want := range []string{"[10:00-13:10]", "[13:00-13:10]"} {
		if got := *s.ask(q).Series[0].Total; got != 15 {
			t.Errorf("round %d: got %v, want 15", i, got)
		}
		if got := fmt.Sprint(under.took()); got != want {
			t.Errorf("round %d: %s were read, want %s", i, got, want)
		}
	}
	if got := *s.ask("&step=1m&agg=sum&from=2026-03-04T10:10:00Z&to=2026-03-04T11:25:00Z").Series[0].Total; got != 3 {
		t.Errorf("another range of the same steps: got %v, want 3", got)
	}
	if got := fmt.Sprint(under.took()); got != "[11:00-11:25]" { // less than half of an hour is not worth reading all of it
		t.Errorf("%s were read", got)
	}
	s.commit([]event.Stored{s.visit("13:06:00", "home", 16)})
	if got := c.Stats(); got.Dropped != 0 || got.Bytes <= 0 {
		t.Errorf("what is new changed what is over: %+v", got)
	}
	s.commit([]event.Stored{s.visit("11:21:00", "home", 32)})
	if got := *s.ask(q).Series[0].Total; got != 63 {
		t.Errorf("an event that came late: got %v, want 63", got)
	}
	if got := fmt.Sprint(under.took()); got != "[11:00-12:00 13:00-13:10]" {
		t.Errorf("%s were read", got)
	}
	c.Reset()
	if got := c.Stats(); got.Bytes != 0 || len(c.metrics) != 0 {
		t.Errorf("after a reset there is something: %+v", got)
	}
}

func TestAQuestionAboutAllOfThePastIsNotKept(t *testing.T) {
	_, c, under := openCache(t, "2026-03-04T13:10:00Z")
	q := store.RollupQuery{Metric: 1, Step: 24 * time.Hour, From: time.Unix(0, 0), To: at("2026-03-04T13:10:00Z"), Scalars: true}
	for range 2 {
		if err := c.Rollups(t.Context(), "t", q, func(*series.Rollup) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Stats(); got.Bytes != 0 || len(under.took()) != 2 {
		t.Errorf("%+v, for two questions that come once in a metric's life", got)
	}
}

func TestACommitDuringAReadIsNotMissed(t *testing.T) {
	s, c, under := openCache(t, "2026-03-04T13:00:00Z")
	s.commit([]event.Stored{s.visit("10:20:00", "home", 1), s.visit("11:20:00", "home", 2)})
	under.after = func() {
		under.after = nil
		s.commit([]event.Stored{s.visit("10:30:00", "home", 4)})
	}
	const q = "&step=1m&agg=sum&from=2026-03-04T10:00:00Z&to=2026-03-04T12:00:00Z"
	if got := *s.ask(q).Series[0].Total; got != 3 {
		t.Errorf("got %v, want the 3 that were there", got)
	}
	under.took()
	if got := *s.ask(q).Series[0].Total; got != 7 {
		t.Errorf("got %v, want 7", got)
	}
	if got := fmt.Sprint(under.took()); got != "[10:00-11:00]" {
		t.Errorf("%s were read, want what changed alone", got)
	}
	if len(c.metrics) != 1 {
		t.Error("reads that are over are kept")
	}
}

func TestACacheHoldsNoMoreThanItMay(t *testing.T) {
	s := openShop(t)
	c := NewCache(s.events, CacheConfig{Bytes: 50_000, Now: func() time.Time { return at("2026-03-05T00:00:00Z") }})
	s.events, s.engine = c, &Engine{Events: c}
	var evs []event.Stored
	for i := range 24 * 60 {
		evs = append(evs, s.visit(fmt.Sprintf("%02d:%02d:00", i/60, i%60), fmt.Sprint("page", i%7), 1))
	}
	s.commit(evs)
	for range 2 {
		for _, by := range []string{"", "&group_by=page"} {
			if got := s.ask("&step=1m&agg=sum&limit=100&from=2026-03-04T00:00:00Z&to=2026-03-05T00:00:00Z" + by).Series; len(got) != 1+6*len(by)/len("&group_by=page") {
				t.Errorf("got %d series", len(got))
			}
			if b := c.Stats().Bytes; b > 50_000 || b < 10_000 {
				t.Errorf("%d bytes are held", b)
			}
		}
	}
}

func TestAnAnswerIsForgottenAfterAWhile(t *testing.T) {
	s := openShop(t)
	now := at("2026-03-04T13:00:00Z")
	under := &counter{Events: s.events}
	s.events = NewCache(under, CacheConfig{Now: func() time.Time { return now }})
	s.engine = &Engine{Events: s.events}
	const q = "&step=1m&agg=sum&from=2026-03-04T10:00:00Z&to=2026-03-04T11:00:00Z"
	for _, want := range []int{1, 0, 1} {
		s.ask(q)
		if got := len(under.took()); got != want {
			t.Errorf("%d reads, want %d", got, want)
		}
		now = now.Add(cacheAge/2 + time.Second)
	}
}

func TestACachedAnswerIsTheStoresAnswer(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	all := sales(rng, 3000)
	w := &writer{t: t, events: openStore(t), programs: map[tenant.ID][]*metric.Program{}}
	for _, def := range sellers() {
		w.programs[acme] = append(w.programs[acme], compile(t, def))
	}
	plain := &Engine{Events: w.events}
	cache := NewCache(w.events, CacheConfig{Bytes: 300_000, Now: func() time.Time { return begin().Add(60 * time.Hour) }})
	cached := &Engine{Events: cache}
	w.events = cache
	ask := &asker{rng, all}
	kinds := []series.Kind{series.Count, series.Sum, series.P90, series.Unique, series.Last}
	for i := 0; len(all) > 0; i++ {
		n := min(len(all), 1+rng.IntN(200))
		var evs []event.Stored
		for j := range all[:n] {
			evs = append(evs, all[j].event(i*1000+j))
		}
		w.commit(evs)
		all = all[n:]
		for range 12 {
			p := w.programs[acme][rng.IntN(2)]
			q := ask.query(p.Definition(), kinds[rng.IntN(len(kinds))], []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 24 * time.Hour}[rng.IntN(4)])
			want, err := plain.Run(context.Background(), acme, p, q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := cached.Run(context.Background(), acme, p, q)
			if err == nil {
				err = same(got.Series, want.Series, q.Agg)
			}
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
		}
	}
	if s := cache.Stats(); s.Hits == 0 || s.Dropped == 0 {
		t.Errorf("nothing was tested: %+v", s)
	}
}

// TestReadersBesideAWriterNeverSeeLessThanWasCommitted has readers ask again and again while late events are committed.
func TestReadersBesideAWriterNeverSeeLessThanWasCommitted(t *testing.T) {
	s, c, _ := openCache(t, "2026-03-04T13:00:00Z")
	q, errs := Parse(values("&step=1m&agg=count&from=2026-03-04T10:00:00Z&to=2026-03-04T12:00:00Z"), s.visits.Definition(), at("2026-03-04T13:00:00Z"))
	if errs != nil {
		t.Fatal(errs)
	}
	var mu sync.Mutex
	committed := 0
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				mu.Lock()
				least := committed
				mu.Unlock()
				r, err := s.engine.Run(context.Background(), acme, s.visits, q)
				if err != nil || *r.Series[0].Total < float64(least) {
					t.Errorf("got %+v, %v, want %d at least", r.Series, err, least)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := 0; i < 100 || i < 100_000 && c.Stats().Dropped < 10; i++ {
		s.commit([]event.Stored{s.visit(fmt.Sprintf("1%d:%02d:00", i%2, i%60), "home", 1)})
		mu.Lock()
		committed++
		mu.Unlock()
	}
	close(done)
	readers.Wait()
	if got := c.Stats(); got.Dropped == 0 {
		t.Errorf("nothing was tested: %+v", got)
	}
}

func TestAQueryThatTakesTooLongSaysWhatToDo(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:00:00", "home", 1)})
	s.engine = &Engine{Events: &waiting{Events: s.events}, TimeLimit: 20 * time.Millisecond}
	for _, step := range []string{"1m", "1s"} {
		q, _ := Parse(values("from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z&step="+step), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
		var limit *LimitError
		if _, err := s.engine.Run(context.Background(), acme, s.visits, q); !errors.As(err, &limit) || !strings.Contains(limit.Detail, "longer than 20ms: ask for") {
			t.Errorf("Run: got %v", err)
		}
		if _, err := s.engine.Aggregates(context.Background(), acme, s.visits, q); !errors.As(err, &limit) {
			t.Errorf("Aggregates: got %v", err)
		}
	}
}

func TestACallerWhoGoesEndsTheReadOfTheStore(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:00:00", "home", 1)})
	w := &waiting{Events: s.events, begun: make(chan struct{}, 1)}
	s.engine = &Engine{Events: NewCache(w, CacheConfig{Now: time.Now})}
	for _, step := range []string{"1m", "1s"} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-w.begun
			cancel()
		}()
		q, _ := Parse(values("from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z&step="+step), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
		if _, err := s.engine.Run(ctx, acme, s.visits, q); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
}

// waiting is a store whose reads last until their context ends.
type waiting struct {
	store.Events
	begun chan struct{}
}

func (w *waiting) wait(ctx context.Context) error {
	if w.begun != nil {
		w.begun <- struct{}{}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (w *waiting) Rollups(ctx context.Context, _ tenant.ID, _ store.RollupQuery, _ func(*series.Rollup) error) error {
	return w.wait(ctx)
}

func (w *waiting) Scan(ctx context.Context, _ tenant.ID, _ store.Scan, _ func(*event.Stored) error) error {
	return w.wait(ctx)
}

func TestPartsOfAQuestionCoverItOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		step := []time.Duration{time.Minute, time.Hour}[rng.IntN(2)]
		q := store.RollupQuery{Step: step, Bucket: step * time.Duration(1+rng.IntN(7))}
		q.From = begin().Add(time.Duration(rng.IntN(5000)) * step)
		q.To = q.From.Add(time.Duration(1+rng.IntN(1000)) * step)
		width := chunkSteps(q.Bucket) * int64(q.Bucket)
		closed := q.From.Add(time.Duration(rng.IntN(1200)) * step).UnixNano()
		at := q.From.UnixNano()
		for _, p := range split(&q, width, closed) {
			if p.from != at || p.to <= p.from {
				t.Fatalf("%+v: a part from %d to %d at %d", q, p.from, p.to, at)
			}
			at = p.to
			if !p.direct && (p.from < p.index*width || p.to > (p.index+1)*width || (p.index+1)*width > closed || mod(p.from, int64(q.Bucket)) != 0 || mod(p.to, int64(q.Bucket)) != 0) {
				t.Fatalf("%+v: the part %+v is not of its chunk", q, p)
			}
		}
		if at != q.To.UnixNano() {
			t.Fatalf("%+v: the parts end at %d", q, at)
		}
	}
}

func TestMergingGroupsIsAddingStepByStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		var a, b, want Group
		for range rng.IntN(20) {
			ms := rng.Int64N(15)
			a.At(ms).Count++
			want.At(ms).Count++
		}
		for range rng.IntN(20) {
			ms := rng.Int64N(15)
			b.At(ms).Count++
			want.At(ms).Count++
		}
		a.Merge(&b)
		if len(a.Steps) != len(want.Steps) || len(want.Steps) > 0 && !reflect.DeepEqual(a.Steps, want.Steps) {
			t.Fatalf("got %v, want %v", a.Steps, want.Steps)
		}
	}
}

func TestAllocationsOfRendering(t *testing.T) {
	r := Result{Metric: "m", Agg: series.Sum, Unit: "usd", From: begin(), To: begin().Add(24 * time.Hour), Step: series.Duration(time.Minute)}
	for i := range 3 {
		total := 1.5
		s := Series{Labels: map[string]string{"country": fmt.Sprint("c", i)}, Points: make(Points, 1440), Total: &total}
		for j := range s.Points {
			s.Points[j] = Point{UnixMS: begin().UnixMilli() + int64(j)*60_000, Value: float64(j) / 8, Valid: j%5 > 0}
		}
		r.Series = append(r.Series, s)
	}
	b := make([]byte, 0, 1<<20)
	// Only the step's text is made.
	if n := testing.AllocsPerRun(20, func() { b = r.AppendJSON(b[:0]) }); n > 1 {
		t.Errorf("%v allocations for %d bytes, want 1", n, len(b))
	}
}
