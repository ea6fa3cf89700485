package verify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// book is a ledger of events 0 to 5: acknowledged, but 3 which is unknown and 4 which was refused; 5 has no id.
func book(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := ledger.New()
	for i, o := range []ledger.Outcome{ledger.Acknowledged, ledger.Acknowledged, ledger.Acknowledged, ledger.Unknown, ledger.Refused, ledger.Acknowledged} {
		e := stored(i)
		in := ledger.Event{ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: e.Time, Data: ledger.Fingerprint(e.Data)}
		if i == 5 {
			in.ID = ""
		}
		if err := l.Answered(l.Sending([]ledger.Event{in}), o, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func stored(i int) event.Event {
	return event.Event{ID: fmt.Sprint(i), Source: "shop", Type: "order", Subject: fmt.Sprint("m", i), Time: noon().Add(time.Duration(i) * time.Second),
		Received: noon(), Data: fmt.Appendf(nil, `{"n":%d}`, i)}
}

type losses struct{ quarantined, dropped string }

func (l losses) Quarantined(k ledger.Key) bool { return k.ID != "" && k.ID == l.quarantined }
func (l losses) Dropped(k ledger.Key) bool     { return k.ID != "" && k.ID == l.dropped }

func TestLedgerIsComparedWithWhatIsStored(t *testing.T) {
	altered := func(change func(*event.Event)) event.Event {
		e := stored(0)
		change(&e)
		return e
	}
	for _, c := range []struct {
		name   string
		stored []event.Event
		losses losses
		want   string // stored lost doubled phantom altered quarantined dropped
	}{
		{"all that was acknowledged", []event.Event{stored(0), stored(1), stored(2), stored(5)}, losses{}, "4 0 0 0 0 0 0"},
		{"and what was unknown", []event.Event{stored(3), stored(0), stored(1), stored(2), stored(5)}, losses{}, "5 0 0 0 0 0 0"},
		{"one is missing", []event.Event{stored(0), stored(2), stored(5)}, losses{}, "3 1 0 0 0 0 0"},
		{"one in quarantine, one dropped", []event.Event{stored(0), stored(5)}, losses{"1", "2"}, "2 0 0 0 0 1 1"},
		{"the one without an id is missing", []event.Event{stored(0), stored(1), stored(2)}, losses{}, "3 1 0 0 0 0 0"},
		{"one is there twice", []event.Event{stored(0), stored(1), stored(1), stored(2), stored(5)}, losses{}, "4 0 1 0 0 0 0"},
		{"one without an id is there twice", []event.Event{stored(0), stored(1), stored(2), stored(5), stored(5)}, losses{}, "4 0 1 0 0 0 0"},
		{"a refused one is there", []event.Event{stored(0), stored(1), stored(2), stored(4), stored(5)}, losses{}, "5 0 0 1 0 0 0"},
		{"one was never sent", []event.Event{stored(0), stored(1), stored(2), stored(5), stored(9)}, losses{}, "4 0 0 1 0 0 0"},
		{"another type", []event.Event{altered(func(e *event.Event) { e.Type = "x" }), stored(1), stored(2), stored(5)}, losses{}, "4 0 0 0 1 0 0"},
		{"another time", []event.Event{altered(func(e *event.Event) { e.Time = e.Time.Add(1) }), stored(1), stored(2), stored(5)}, losses{}, "4 0 0 0 1 0 0"},
		{"other data", []event.Event{altered(func(e *event.Event) { e.Data = []byte(`{"n": 0}`) }), stored(1), stored(2), stored(5)}, losses{}, "4 0 0 0 1 0 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Report{}
			a := newAccounts(r, book(t))
			for i := range c.stored {
				a.add(&c.stored[i])
			}
			l := a.finish(c.losses)
			got := fmt.Sprint(l.Stored, l.Lost, l.Doubled, l.Phantom, l.Altered, l.Quarantined, l.Dropped)
			if got != c.want {
				t.Errorf("stored, lost, doubled, phantom, altered, quarantined, dropped are %s, want %s", got, c.want)
			}
			if n := l.Lost + l.Doubled + l.Phantom + l.Altered; int(r.Violations()) != n {
				t.Errorf("%d violations, want %d", r.Violations(), n)
			}
		})
	}
}

func TestAnEventMayComeAgainOnlyBehindTheWindow(t *testing.T) {
	for after, want := range map[time.Duration]uint64{0: 1, time.Hour: 1, dedupeWindow - 1: 1, dedupeWindow: 0, 48 * time.Hour: 0} {
		for _, swap := range []bool{false, true} {
			r := &Report{}
			o := newOnce(r, tenant.Default)
			a, b := stored(1), stored(1)
			b.Received = a.Received.Add(after)
			if swap {
				a, b = b, a
			}
			other := stored(2)
			for _, e := range []*event.Event{&a, &other, &b} {
				o.add(tenant.Default, e)
			}
			if r.Violations() != want {
				t.Errorf("received again after %s: %d violations, want %d", after, r.Violations(), want)
			}
		}
	}
}

// amounts is a metric with a value and a dimension, over events of one hour.
func amounts(t *testing.T) (*tally, rollups) {
	t.Helper()
	p, err := metric.Compile(metric.Definition{Slug: "amounts", EventTypes: []string{"order"}, Value: "data.amount", Dimensions: map[string]string{"region": "data.region"}})
	if err != nil {
		t.Fatal(err)
	}
	want, again := newTally(p), newTally(p)
	var doc metric.Doc
	for i := range 100 {
		ev := event.Event{Type: []string{"order", "click"}[i%5/4], Time: noon().Add(time.Duration(i) * time.Minute), Data: fmt.Appendf(nil, `{"amount":%d.25,"region":"r%d"}`, i, i%3)}
		doc.Reset(&ev)
		want.add(&doc, &ev)
		again.add(&doc, &ev)
	}
	return want, again.steps
}

func TestEveryDifferenceOfARollupIsFound(t *testing.T) {
	some := step{width: time.Hour, start: noon().Unix(), key: "r0"}
	for name, c := range map[string]struct {
		change func(rollups)
		want   string
	}{
		"nothing":                     {func(rollups) {}, ""},
		"count":                       {func(r rollups) { r[some].count++ }, "count is 17, raw events say 16"},
		"sum":                         {func(r rollups) { r[some].sum += 0.25 }, "sum is"},
		"sum, by rounding":            {func(r rollups) { r[some].sum += 1e-12 }, ""},
		"min":                         {func(r rollups) { r[some].min = -1 }, "min is -1, raw events say"},
		"max":                         {func(r rollups) { r[some].max = 1e9 }, "max is 1e+09, raw events say"},
		"a step too few":              {func(r rollups) { delete(r, some) }, "count is 0, raw events say 16"},
		"a step too many":             {func(r rollups) { r[step{time.Minute, 0, "r0"}] = &numbers{count: 1} }, "there are no such raw events"},
		"an empty step":               {func(r rollups) { r[step{time.Minute, 0, "r0"}] = &numbers{} }, ""},
		"another series":              {func(r rollups) { r[step{time.Hour, some.start, "r7"}] = r[some] }, "there are no such raw events"},
		"folded, and the sum is kept": {fold("r0"), ""},
		"folded, and one is missing":  {func(r rollups) { fold("r0")(r); r[step{time.Hour, some.start, series.OtherValue}].count-- }, "raw events say"},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := amounts(t)
			r := &Report{}
			check := r.check("rollups", "steps")
			c.change(got)
			want.compare(check, got)
			found := strings.Join(check.Examples, "\n")
			if (c.want == "") != (check.Violations == 0) || !strings.Contains(found, c.want) {
				t.Errorf("%d violations, want %q:\n%s", check.Violations, c.want, found)
			}
		})
	}
}

// fold puts a series into the one of what is too many.
func fold(key string) func(rollups) {
	return func(r rollups) {
		for s, n := range r {
			if s.key == key {
				delete(r, s)
				n.labels = series.Labels{series.OtherValue}
				r.add(step{s.width, s.start, series.OtherValue}, n)
			}
		}
	}
}

func TestTheReportNamesWhatIsWrong(t *testing.T) {
	r := &Report{Target: "here"}
	good, bad := r.check("good", "things"), r.check("bad", "things")
	good.Looked, bad.Looked = 3, 100
	good.note("a remark")
	for i := range 15 {
		bad.violation("number %d", i)
	}
	r.finish(noon(), noon().Add(1500*time.Millisecond))
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"here, verified in 1.5s", "ok    good", "a remark", "FAIL  bad", "- number 9", "- and 5 more", "15 violations."} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	if r.OK {
		t.Error("it is OK")
	}
	var json strings.Builder
	if err := r.WriteJSON(&json); err != nil || !strings.Contains(json.String(), `"violations": 15`) {
		t.Errorf("%v: %s", err, json.String())
	}
}
