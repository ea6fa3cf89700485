package e2e

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// TestNumbersAreGivenBackAsTheyWereSentAndCountAsDoubles: an event's data is text to the server, so no digit of it is lost; a metric
// computes with the nearest IEEE 754 double, and with nothing where there is none.
func TestNumbersAreGivenBackAsTheyWereSentAndCountAsDoubles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	none := math.NaN() // the event is kept, the metric has no value for it
	numbers := []struct {
		text string
		want float64
	}{
		{"9007199254740993", 9007199254740992}, {"-9007199254740993", -9007199254740992}, {"9007199254740993.0", 9007199254740992}, {"18446744073709551616", 18446744073709551616},
		{"-0", 0}, {"-0.0", 0}, {"0e-999999", 0}, {"1E-400", 0}, {"5e-324", 5e-324}, {"1e308", 1e308}, {"0.1", 0.1}, {"0.30000000000000004", 0.30000000000000004},
		{"123456789012345678901234567890.123456789", 123456789012345678901234567890.123456789}, {"1e400", none}, {"-1e400", none}, {`"NaN"`, none}, {`"Infinity"`, none}, {"null", none}, {"[1]", none},
	}
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "n", EventTypes: []string{"number.*"}, Value: "data.v"}); err != nil {
		t.Fatal(err)
	}
	var batch []byte
	for i, n := range numbers {
		batch = fmt.Appendf(batch, `{"id":"%d","source":"numbers","type":"number.%d","data":{"v":%s}}`+"\n", i, i, n.text)
	}
	if r, err := s.SendRaw(t.Context(), "application/x-ndjson", batch, nil); err != nil || r.Accepted != len(numbers) {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, e := range s.waitForEvents(client.EventQuery{Source: "numbers"}, len(numbers)) {
		i, err := strconv.Atoi(e.ID)
		if err != nil || string(e.Data) != `{"v":`+numbers[i].text+`}` {
			t.Errorf("%s came back as %s, %v", numbers[i].text, e.Data, err)
		}
	}
	for i, n := range numbers {
		slug := fmt.Sprintf("n%d", i)
		if _, err := s.PutMetric(t.Context(), client.Metric{Slug: slug, EventTypes: []string{fmt.Sprintf("number.%d", i)}, Value: "double(data.v)"}); err != nil {
			t.Fatal(err)
		}
		s.waitForFill(slug)
		r, err := s.Query(t.Context(), client.Query{Metric: slug, Agg: "sum"})
		switch {
		case err != nil:
			t.Errorf("%s: %v", n.text, err)
		case math.IsNaN(n.want):
			if len(r.Series) > 0 && r.Series[0].Total != nil {
				t.Errorf("%s counts as %v, want nothing", n.text, *r.Series[0].Total)
			}
		case len(r.Series) != 1 || r.Series[0].Total == nil || *r.Series[0].Total != n.want:
			t.Errorf("%s counts as %+v, want %v", n.text, r.Series, n.want)
		}
	}
	s.wantNoErrors()
}

// TestASumBeyondEveryNumberBreaksNothing adds up to infinity, which JSON does not have: in a query and on a live chart.
func TestASumBeyondEveryNumberBreaksNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "huge", EventTypes: []string{"huge"}, Value: "data.v"}); err != nil {
		t.Fatal(err)
	}
	s.waitForFill("huge")
	v := s.view(t)
	v.subscribe(client.Subscription{ID: "sum", Metric: "huge", Agg: "sum", Step: "1s"})
	s.send(client.Event{Type: "huge", Data: map[string]float64{"v": 1e308}}, client.Event{Type: "huge", Data: map[string]float64{"v": 1.7e308}})
	v.until("sum", "points")
	for _, agg := range []string{"sum", "avg", "max", "p99", "count", "unique"} {
		eventually(t, 10*time.Second, func() error {
			r, err := s.Query(t.Context(), client.Query{Metric: "huge", Agg: agg})
			if err == nil && (len(r.Series) != 1 || (r.Series[0].Total == nil) != (agg == "sum" || agg == "avg")) {
				err = fmt.Errorf("%s is %+v", agg, r.Series)
			}
			return err
		})
	}
	again := s.view(t)
	again.subscribe(client.Subscription{ID: "again", Metric: "huge", Agg: "sum", Step: "1s"})
	s.wantNoErrors()
}
