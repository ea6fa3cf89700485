package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// columns keeps events in columns the plain way: it looks into each event when it is asked.
type columns struct {
	rng    *rand.Rand
	events []event.Stored
	asked  int
	types  []string // by the last question
	none   bool
}

func (c *columns) ScanColumns(_ context.Context, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error {
	if c.none {
		return store.ErrNoColumns
	}
	c.asked++
	c.types = q.Types
	var rows []*event.Stored
	flush := func() error {
		b := &store.ColumnBlock{}
		for _, ev := range rows {
			if c.rng.IntN(20) == 0 {
				b.Events = append(b.Events, *ev)
			}
		}
		if len(b.Events) > 0 { // the block of those that are in no columns yet
			var rest []*event.Stored
			for _, ev := range rows {
				if !slices.ContainsFunc(b.Events, func(o event.Stored) bool { return o.Position == ev.Position }) {
					rest = append(rest, ev)
				}
			}
			rows = rest
		}
		for _, ev := range rows {
			b.Times = append(b.Times, ev.Time.UnixNano())
		}
		for _, f := range q.Fields {
			b.Columns = append(b.Columns, c.column(rows, f))
		}
		rows = rows[:0]
		return each(b)
	}
	for i := range c.events {
		ev := &c.events[i]
		f := store.EventFilter{Types: q.Types}
		if ev.Tenant != t || ev.Time.Before(q.From) || !ev.Time.Before(q.To) || !ofType(f.Types, ev.Type) {
			continue
		}
		rows = append(rows, ev)
		if len(rows) > c.rng.IntN(200) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func ofType(types []string, t string) bool {
	return len(types) == 0 || slices.ContainsFunc(types, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "*")
		return p == t || open && strings.HasPrefix(t, prefix)
	})
}

// column has one of the forms that a store may choose.
func (c *columns) column(rows []*event.Stored, f store.ColumnField) store.Column {
	var col store.Column
	pure, same := true, true
	for i, ev := range rows {
		raw := valueOf(ev, f.Field)
		number := math.NaN()
		if raw != nil && f.Attribute == "" && json.Unmarshal(raw, &number) != nil || string(raw) == "null" {
			number, pure = math.NaN(), pure && f.Numbers
		}
		pure = pure && f.Attribute == ""
		col.Numbers = append(col.Numbers, number)
		code := slices.IndexFunc(col.Dict, func(o []byte) bool { return bytes.Equal(o, raw) && (o == nil) == (raw == nil) })
		if code < 0 || c.rng.IntN(50) == 0 {
			code = len(col.Dict)
			col.Dict = append(col.Dict, raw)
		}
		same = same && code == 0
		col.Codes = append(col.Codes, uint32(code))
		_ = i
	}
	if pure && len(rows) > 0 && c.rng.IntN(2) == 0 {
		return store.Column{Numbers: col.Numbers}
	}
	if col.Numbers = nil; len(col.Dict) == 0 {
		col.Dict = [][]byte{nil}
	}
	if same && c.rng.IntN(2) == 0 {
		col.Codes = nil
	}
	return col
}

// valueOf reads a field with the standard library.
func valueOf(ev *event.Stored, f metric.Field) []byte {
	switch f.Attribute {
	case "id":
		return []byte(ev.ID)
	case "source":
		return []byte(ev.Source)
	case "type":
		return []byte(ev.Type)
	case "subject":
		return []byte(ev.Subject)
	}
	raw := json.RawMessage(ev.Data)
	for _, name := range f.Path {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || members[name] == nil {
			return nil
		}
		raw = members[name]
	}
	return raw
}

// anything is a random value of JSON, mostly of the kind that is usual at its place.
func anything(rng *rand.Rand, usual func() string) string {
	if rng.IntN(8) > 0 {
		return usual()
	}
	return []string{"null", "true", "false", `""`, `"x\u00e9\"y"`, "0", "-0.0", "1e3", "1e400", "12345678901234567890", "[]", "{}", `{"a":1}`, `"__other__"`, `"` + strings.Repeat("long", 100) + `"`}[rng.IntN(15)]
}

func oddEvents(rng *rand.Rand, n int) []event.Stored {
	pick := func(of ...string) func() string { return func() string { return of[rng.IntN(len(of))] } }
	var evs []event.Stored
	for i := range n {
		var members []string
		add := func(name string, usual func() string) {
			if rng.IntN(10) > 0 {
				members = append(members, fmt.Sprintf("%q: %s", name, anything(rng, usual)))
			}
		}
		add("amount", func() string { return fmt.Sprint(rng.IntN(100000)) })
		add("live", pick("true", "true", "false"))
		add("country", pick(`"DE"`, `"US"`, `"FR"`))
		add("code", pick("200", "404", "500", "5.0", "1e2"))
		add("card", func() string { return `{"brand": ` + anything(rng, pick(`"visa"`, `"amex"`)) + `, "n": 1}` })
		ev := event.Stored{Tenant: acme, Event: event.Event{ID: fmt.Sprint(i), Source: pick("stripe", "shop")(), Type: pick("charge.ok", "charge.failed", "payout")(),
			Subject: pick("", "c1", "c2", "c3")(), Time: begin().Add(time.Duration(rng.Int64N(int64(2 * time.Hour)))), Identified: true}}
		ev.Received = ev.Time
		if rng.IntN(30) > 0 {
			ev.Data = []byte("{" + strings.Join(members, ", ") + "}")
		}
		evs = append(evs, ev)
	}
	return evs
}

// programs are those that columns can answer, and some at the end that they cannot.
func oddPrograms(t testing.TB) (all []*metric.Program, columnar int) {
	for i, d := range []metric.Definition{
		{Filter: "data.live == true", Value: "data.amount / 100.0", Dimensions: map[string]string{"country": "data.country", "brand": "data.card.brand"}},
		{Filter: `data.live && data.code >= 400 && source != "shop"`, Value: "data.amount", Dimensions: map[string]string{"code": "data.code", "type": "type", "source": "source"}},
		{EventTypes: []string{"charge.*"}, Dimensions: map[string]string{"subject": "subject", "country": `data.country == "DE" ? "home" : "abroad"`}},
		{EventTypes: []string{"payout", "charge.ok"}, Filter: `data.country in ["DE", "FR"] && data.card.brand.startsWith("v") && (data.code == 200 || data.code == 404.0)`, Value: "3 * data.amount"},
		{Filter: `data.country != null && 100 < data.amount`, Value: "data.country", Dimensions: map[string]string{"live": "data.live"}},
		{Value: "double(data.amount) * 2.0 + 1.0", Dimensions: map[string]string{"amount": "data.amount", "one": `"constant"`}},
		{Filter: "data.amount > 10 && data.amount < 1e5", Value: "data.amount * 0.5", Dimensions: map[string]string{"big": "data.amount > 50000"}},
		{Value: "data.live", Dimensions: map[string]string{"brand": `event.data["card"].brand`}},
		{Filter: `!(data.live == false)`, Dimensions: map[string]string{"id": "size(id) > 3"}},
		{Filter: `data["live"] == (1 < 2)`, Value: "data.amount / 0.0"},
		// Several fields in one expression, has, what is around the event.
		{Value: "data.amount * data.code"}, {Filter: "has(data.card.brand)"}, {Dimensions: map[string]string{"h": "string(time.getHours())"}}, {Filter: "data.card.n == 1 || data.live"},
	} {
		d.ID, d.Slug = int64(100+i), fmt.Sprint("m", i)
		all = append(all, compile(t, d))
	}
	return all, 10
}

func TestColumnsAnswerAsEventsDo(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	programs, columnar := oddPrograms(t)
	w := &writer{t: t, events: openStore(t), programs: map[tenant.ID][]*metric.Program{acme: programs}}
	evs := oddEvents(rng, 700)
	w.commit(evs)
	cols := &columns{rng: rng, events: evs}
	plain := &Engine{Events: w.events}
	quick := []*Engine{{Events: w.events, Columns: cols}, {Events: w.events, Columns: cols, limits: &limits{points: 1e6, scanned: 1e6, rawGroups: 1e4, scalars: 1000, sketches: 1000, kept: 1e5}}}
	for i, p := range programs {
		def := p.Definition()
		for _, kind := range series.Kinds() {
			q := Query{From: begin().Add(time.Duration(rng.IntN(3000)) * time.Second), To: begin().Add(time.Hour + time.Duration(rng.IntN(3000))*time.Second),
				Step: []time.Duration{45 * time.Second, 90 * time.Second}[rng.IntN(2)], Agg: kind, Limit: 1 + rng.IntN(30), Other: rng.IntN(2) == 0}
			dims := def.DimensionNames()
			rng.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
			q.GroupBy = dims[:rng.IntN(len(dims)+1)]
			if len(dims) > 0 && rng.IntN(2) == 0 {
				q.Where = map[string][]string{dims[0]: {[]string{"DE", "visa", "200", "", "c1", "true", "home"}[rng.IntN(7)], "x"}}
			}
			if q.Check(def) != nil {
				continue
			}
			want, err := plain.Run(context.Background(), acme, p, q)
			if err != nil {
				t.Fatal(err)
			}
			for j, e := range quick {
				before := cols.asked
				got, err := e.Run(context.Background(), acme, p, q)
				if err == nil {
					err = same(got.Series, want.Series, q.Agg)
				}
				if err != nil {
					t.Fatalf("program %d, engine %d, %+v: %v", i, j, q, err)
				}
				if (cols.asked > before) != (i < columnar) {
					t.Errorf("program %d: the columns were asked: %v", i, cols.asked > before)
				}
			}
		}
	}
}

func TestOfAQuestionAboutATypeOnlyItsEventsAreRead(t *testing.T) {
	long := strings.Repeat("long", 100)
	kinds := []string{"charge.ok", "charge.failed", "charge*", "payout", "_other_", "__other__", long, long + "er", "caf\u00e9", "a\ufffdb", "a\x00b"}
	p := compile(t, metric.Definition{ID: 9, Slug: "m", EventTypes: []string{"charge*", "_*", "long*", "a*", "caf\u00e9"}, Dimensions: map[string]string{"kind": "type", "source": "source"}})
	w := &writer{t: t, events: openStore(t), programs: map[tenant.ID][]*metric.Program{acme: {p}}}
	var evs []event.Stored
	for i := range 10 * len(kinds) {
		evs = append(evs, event.Stored{Tenant: acme, Event: event.Event{ID: fmt.Sprint(i), Source: "s", Type: kinds[i%len(kinds)], Time: begin().Add(time.Duration(i) * time.Second), Identified: true}})
	}
	w.commit(evs)
	cols := &columns{rng: rand.New(rand.NewPCG(1, 2)), events: evs}
	engines := map[string]*Engine{"one by one": {Events: w.events}, "by column": {Events: w.events, Columns: cols}}
	q := Query{From: begin(), To: begin().Add(time.Hour), Step: 90 * time.Second, Agg: series.Count, GroupBy: []string{"kind"}, Limit: 100}
	for name, e := range engines {
		all, err := e.Run(context.Background(), acme, p, q)
		if err != nil || len(all.Series) < 7 {
			t.Fatalf("%s: %d series, %v", name, len(all.Series), err)
		}
		for _, s := range all.Series {
			one := q
			one.Where = map[string][]string{"kind": {s.Labels["kind"], "no such type"}}
			got, err := e.Run(context.Background(), acme, p, one)
			if err == nil {
				err = same(got.Series, []Series{s}, q.Agg)
			}
			if err != nil {
				t.Errorf("%s, %q: %v", name, s.Labels["kind"], err)
			}
		}
	}
	for _, c := range []struct{ where, want []string }{
		{[]string{"charge.ok"}, []string{"charge.ok"}},
		{[]string{"charge.ok", "payout", "charge.failed"}, []string{"charge.ok", "charge.failed"}},
		{[]string{"charge.ok", "_other_"}, p.Definition().EventTypes},
		{[]string{long}, p.Definition().EventTypes},
		{[]string{"payout"}, nil},
		{nil, p.Definition().EventTypes},
	} {
		one := q
		if c.where != nil {
			one.Where = map[string][]string{"kind": c.where, "source": {"s"}}
		}
		before := cols.asked
		if _, err := engines["by column"].Run(context.Background(), acme, p, one); err != nil {
			t.Fatal(err)
		}
		if c.want == nil {
			if cols.asked != before {
				t.Errorf("%q: events were read, and there can be none", c.where)
			}
		} else if !slices.Equal(cols.types, c.want) {
			t.Errorf("%q: events of %q were read, want %q", c.where, cols.types, c.want)
		}
	}
}

func TestWithoutColumnsEventsAreReadOneByOne(t *testing.T) {
	s := openShop(t)
	s.commit([]event.Stored{s.visit("10:00:00", "home", 1), s.visit("10:00:01", "home", 2)})
	s.engine.Columns = &columns{none: true}
	if got := *s.ask("&step=1s&agg=sum&from=2026-03-04T10:00:00Z&to=2026-03-04T10:01:00Z").Series[0].Total; got != 3 {
		t.Errorf("got %v, want 3", got)
	}
}

func TestColumnsOfTooManyGroupsFold(t *testing.T) {
	s := openShop(t)
	var evs []event.Stored
	for i := range 300 {
		evs = append(evs, s.visit(fmt.Sprintf("10:%02d:%02d", i/60, i%60), fmt.Sprint("page", i), 1))
		evs[i].Position = event.Position{Seq: 1, Index: uint32(i)}
	}
	limits := defaultLimits()
	limits.rawGroups = 10
	s.engine = &Engine{Events: s.events, Columns: &columns{rng: rand.New(rand.NewPCG(1, 1)), events: evs}, limits: &limits}
	got := s.ask("from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z&step=1s&agg=count&group_by=page&limit=100")
	if n := len(got.Series); n != 11 || *got.Series[10].Total != 290 {
		t.Errorf("got %d series", n)
	}
	limits.scanned = 299 / columnShare
	q, _ := Parse(values("from=2026-03-04T10:00:00Z&to=2026-03-04T10:05:00Z&step=1s"), s.visits.Definition(), at("2026-03-04T11:00:00Z"))
	var limit *LimitError
	if _, err := s.engine.Run(context.Background(), acme, s.visits, q); !errors.As(err, &limit) {
		t.Errorf("got %v, want it refused", err)
	}
}

// ready are columns that are there already, as a store has them.
type ready struct{ blocks []store.ColumnBlock }

func (r *ready) ScanColumns(_ context.Context, _ tenant.ID, _ store.ColumnScan, each func(*store.ColumnBlock) error) error {
	for i := range r.blocks {
		if err := each(&r.blocks[i]); err != nil {
			return err
		}
	}
	return nil
}

func readyBlocks(n int) *ready {
	r := &ready{}
	for at := 0; at < n; at += 4096 {
		b := store.ColumnBlock{Columns: []store.Column{{Dict: [][]byte{[]byte("true"), []byte("false"), nil}}, {}, {Dict: [][]byte{[]byte(`"DE"`), []byte(`"US"`), []byte(`"FR"`), nil}}}}
		for i := at; i < min(at+4096, n); i++ {
			b.Times = append(b.Times, begin().UnixNano()+int64(i)*int64(24*time.Hour)/int64(n))
			b.Columns[0].Codes = append(b.Columns[0].Codes, uint32(i%10/9))
			b.Columns[1].Numbers = append(b.Columns[1].Numbers, float64(i%9973))
			b.Columns[2].Codes = append(b.Columns[2].Codes, uint32(i*7%4))
		}
		r.blocks = append(r.blocks, b)
	}
	return r
}

func columnQuestion(t testing.TB, n int) (*Engine, *metric.Program, Query) {
	p := compile(t, metric.Definition{ID: 5, Slug: "revenue", Filter: "data.live == true", Value: "data.amount / 100.0", Dimensions: map[string]string{"country": "data.country"}})
	q := Query{From: begin(), To: begin().Add(24 * time.Hour), Step: 90 * time.Second, Agg: series.Sum, GroupBy: []string{"country"}, Limit: 20}
	return &Engine{Columns: readyBlocks(n)}, p, q
}

func TestAllocationsOfRowsOfColumns(t *testing.T) {
	allocations := func(n int) float64 {
		e, p, q := columnQuestion(t, n)
		return testing.AllocsPerRun(5, func() {
			if _, err := e.Run(context.Background(), acme, p, q); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(40_960), allocations(81_920)
	if perBlock := (many - few) / 10; perBlock > 8 {
		t.Errorf("%v allocations for each block of 4096 rows, want 8 at most", perBlock)
	}
}

// cpuTime is what the process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRunColumns is a day of a million events in columns, by 90 seconds and a dimension.
func BenchmarkRunColumns(b *testing.B) {
	const n = 1_000_000
	e, p, q := columnQuestion(b, n)
	for _, agg := range []series.Kind{series.Count, series.Sum, series.P95} {
		q.Agg = agg
		b.Run(string(agg), func(b *testing.B) {
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				if _, err := e.Run(context.Background(), acme, p, q); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N)/n, "cpu-ns/row")
		})
	}
}
