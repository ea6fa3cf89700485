package query

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "step=1m&agg=p99&group_by=country,brand&where=brand:visa&where=country:a:b&limit=5&other=false", "from=2026-03-04T00:00:00Z&to=1772620830500",
		"step=1w&from=0&to=99999999999", "where=country:&group_by=,&limit=1e3", "step=1000000h&agg=median", "from=9223372036854775807&to=-9223372036854775808", "group_by=country&group_by=brand"} {
		f.Add(s)
	}
	now := at("2026-03-04T10:20:30.5Z")
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		def := revenue()
		q, errs := Parse(v, def, now)
		if len(errs) > 0 {
			for _, e := range errs {
				if !strings.HasPrefix(e.Location, "query.") || e.Message == "" {
					t.Fatalf("%q: %+v", raw, e)
				}
			}
			return
		}
		if more := q.Check(def); len(more) > 0 {
			t.Fatalf("%q is taken, and yet %+v", raw, more)
		}
		if n := q.points(); n < 1 || n > MaxPoints || q.Limit < 1 || q.Limit > MaxLimit || !q.From.Before(q.To) || q.To.Sub(q.From) > MaxRange || q.Step < time.Second {
			t.Fatalf("%q asks for %d points, %+v", raw, n, q)
		}
		for _, d := range q.GroupBy {
			if !slices.Contains(def.DimensionNames(), d) {
				t.Fatalf("%q groups by %q", raw, d)
			}
		}
		for d, values := range q.Where {
			for _, value := range values {
				if !slices.Contains(v["where"], d+":"+value) {
					t.Fatalf("%q: nobody has asked for %s=%q", raw, d, value)
				}
			}
		}
		// What is planned covers the range, without a gap and without anything twice.
		end := q.From
		for _, s := range plan(q.From, q.To, q.Step) {
			if !s.from.Equal(end) || !s.from.Before(s.to) {
				t.Fatalf("%q: %+v begins at %s, not %s", raw, s, s.from, end)
			}
			end = s.to
		}
		if !end.Equal(q.To) {
			t.Fatalf("%q is planned up to %s, not %s", raw, end, q.To)
		}
	})
}

func FuzzParseTimeOfAQuery(f *testing.F) {
	for _, s := range []string{"2026-01-31T09:00:00Z", "2026-01-31T09:00:00 02:00", "1772323200000", "-1", "9223372036854775807", "0x10", "1e3", "2200-12-31T23:59:59.999999999Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		if err != nil {
			return
		}
		if y := got.Year(); y < minYear || y > maxYear || got.Location() != time.UTC {
			t.Fatalf("%q is %s", s, got)
		}
		if !time.Unix(0, got.UnixNano()).Equal(got) { // stores keep nanoseconds
			t.Fatalf("%q is %s, beyond what can be kept", s, got)
		}
		if ev, ok := event.ParseTime(s); ok && !ev.Equal(got) {
			t.Fatalf("%q is %s in a query and %s in an event", s, got, ev)
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	f.Add("15m")
	f.Add("0.5d")
	f.Add("-9223372036854775808ns")
	f.Fuzz(func(t *testing.T, s string) {
		window, errs := ParseWindow(url.Values{"window": {s}})
		if errs == nil && (window < time.Minute || window > MaxWindow || window%time.Minute != 0 || series.Duration(window).String() == "") {
			t.Fatalf("%q is the window %s", s, window)
		}
	})
}
