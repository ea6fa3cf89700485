package load

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"
)

var epoch = time.Date(2026, 11, 23, 14, 59, 59, 500e6, time.UTC)

// sample is an event of the load, read back.
type sample struct {
	SpecVersion, ID, Source, Type, Subject string
	Time                                   time.Time
	Data                                   map[string]any
}

func pool(t *testing.T, s Shape) *Pool {
	t.Helper()
	p, err := NewPool(s, make([]Door, s.Tenants))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stamped gives the events of the first requests of each lane.
func stamped(t *testing.T, p *Pool, requests int, do func(tenant int, line []byte, e *sample)) {
	t.Helper()
	var c clock
	for k := range requests {
		for lane, all := range p.lanes {
			r := all[k%len(all)]
			r.write(&c, &stamp{p.Seed, uint64(k*p.Connections + lane), epoch, time.Second, p.Series})
			for line := range bytes.Lines(r.Body()) {
				var e sample
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatalf("%v in %s", err, line)
				}
				do(r.Tenant, line, &e)
			}
		}
	}
}

func TestEventsAreAsVendorsSendThem(t *testing.T) {
	p := pool(t, Shape{Tenants: 50, Batch: 100, Connections: 2, Pool: 4000, Seed: 1})
	ids, types, tenants, size := map[string]bool{}, map[string]int{}, map[int]int{}, 0
	stamped(t, p, 100, func(tenant int, line []byte, e *sample) { // the pool five times over
		if e.SpecVersion != "1.0" || e.Subject == "" || len(e.Data) < 5 || ids[e.ID] {
			t.Fatalf("%s", line)
		}
		if age := epoch.Sub(e.Time); age < 0 || age >= time.Second {
			t.Fatalf("%s: %s old", line, age)
		}
		ids[e.ID] = true
		types[e.Type]++
		tenants[tenant]++
		size += len(line)
	})
	if len(ids) != 20_000 || len(types) < 15 {
		t.Errorf("%d ids, %d types", len(ids), len(types))
	}
	if mean := float64(size) / 20_000; mean < 320 || mean > 380 {
		t.Errorf("an event has %.0f bytes, want about 350", mean)
	}
	if most := types["charge.succeeded"]; most < 2000 || most > 5500 {
		t.Errorf("the most frequent type has %d of 20 000 events", most)
	}
}

func TestTheSameShapeGivesTheSameEvents(t *testing.T) {
	text := func(seed uint64) string {
		var b bytes.Buffer
		stamped(t, pool(t, Shape{Tenants: 5, Batch: 10, Connections: 2, Pool: 400, Seed: seed}), 30, func(_ int, line []byte, _ *sample) { b.Write(line) })
		return b.String()
	}
	if first, second := text(1), text(1); first != second {
		t.Error("two loads of one shape differ")
	}
	if text(1) == text(2) {
		t.Error("two seeds give the same load")
	}
}

func TestAFewTenantsHaveMostOfTheLoad(t *testing.T) {
	d, n := dice{1}, [50]int{}
	for range 100_000 {
		n[zipfOf(d.share(), 50)]++
	}
	if n[0] < 15_000 || n[0] > 30_000 || n[49] == 0 || n[49] > 1000 {
		t.Errorf("the largest has %d, the smallest %d of 100 000", n[0], n[49])
	}
}

func TestNumbersAreMappedOneToOne(t *testing.T) {
	seen := map[uint64]bool{}
	for x := range uint64(200_000) {
		y := mix47(x)
		if y >= 1<<47 || seen[y] {
			t.Fatalf("%d is mapped to %d, again or too large", x, y)
		}
		seen[y] = true
	}
	if math.Pow(62, 8) < 1<<47 {
		t.Error("eight characters of base 62 are too few")
	}
}

func TestTheClockWritesWhatTheTimePackageWrites(t *testing.T) {
	var c clock
	for _, ms := range []int64{0, 59_999, 60_000, 61_001, 1_763_909_999_999, 1_763_910_000_000, 1} {
		var got [len(timeLayout)]byte
		c.put(got[:], ms)
		if want := time.UnixMilli(ms).UTC().Format(timeLayout); string(got[:]) != want {
			t.Errorf("%d is %s, want %s", ms, got, want)
		}
	}
}

func TestALoadOfOneTypeWithSeriesHasThem(t *testing.T) {
	p := pool(t, Shape{Tenants: 1, Batch: 100, Connections: 1, Pool: 1000, Seed: 1, Type: "probe", Series: 10})
	series := map[any]int{}
	stamped(t, p, 10, func(_ int, line []byte, e *sample) {
		if e.Type != "probe" {
			t.Fatalf("%s", line)
		}
		series[e.Data["series"]]++
	})
	if len(series) != 10 {
		t.Errorf("%d series, want 10: %v", len(series), series)
	}
}

func TestSingleEventsAreOneRequestEach(t *testing.T) {
	p := pool(t, Shape{Tenants: 3, Batch: 1, Connections: 4, Pool: 100, Seed: 1})
	n := 0
	stamped(t, p, 5, func(int, []byte, *sample) { n++ })
	if n != 20 || !bytes.Contains(p.lanes[0][0].bytes, []byte("application/cloudevents+json")) {
		t.Errorf("%d events", n)
	}
}

func TestAnAnswersNumberIsRead(t *testing.T) {
	for text, want := range map[string]int{`{"accepted":12,"rejected":[]}`: 12, `{"rejected":[],"accepted": 7}`: 7, `{"accepted":}`: 0, `{}`: 0, ``: 0} {
		if got := Accepted([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestAHistoryEndsWithThePresentAndBeginsAsLongAgoAsItShould(t *testing.T) {
	s := &sender{pool: &Pool{Shape: Shape{Batch: 100}}, plan: Plan{Events: 10_000, History: time.Hour}, start: epoch}
	if last, span := s.time(99); !last.Equal(epoch) || span != time.Hour/100 {
		t.Errorf("the last request is of %s, over %s", last, span)
	}
	if first, _ := s.time(0); !first.Equal(epoch.Add(-time.Hour / 100 * 99)) {
		t.Errorf("the first request is of %s", first)
	}
}

func TestAnOpenLoopsRequestsAreDueAtTheRateOfItsEvents(t *testing.T) {
	s := &sender{pool: &Pool{Shape: Shape{Batch: 100}}, plan: Plan{Rate: 20_000}, start: epoch}
	for n, want := range map[uint64]time.Duration{0: 0, 1: 5 * time.Millisecond, 200: time.Second, 12_000: time.Minute} {
		if got := s.due(n).Sub(epoch); got != want {
			t.Errorf("request %d is due after %s, want %s", n, got, want)
		}
	}
}
