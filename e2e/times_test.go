package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func TestTimesFarAwayAreRefusedAndTimesAreKeptToTheNanosecond(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	now := time.Now().UTC()
	exact := now.Add(-time.Hour).Truncate(time.Second).Add(123456789)
	for text, want := range map[string]string{
		"1970-01-01T00:00:00Z": "time_out_of_range", "0000-01-01T00:00:00+23:59": "time_out_of_range", "9999-12-31T23:59:59Z": "time_out_of_range", "9999-12-31T23:59:59.999999999-23:59": "time_out_of_range",
		"2262-04-12T00:00:00Z": "time_out_of_range", "1677-09-20T00:00:00Z": "time_out_of_range", // beyond what 64 bits of nanoseconds hold
		now.Add(24 * time.Hour).Format(time.RFC3339): "time_out_of_range", now.Add(-31 * 24 * time.Hour).Format(time.RFC3339): "time_out_of_range",
		"2016-12-31T23:59:60Z": "time_out_of_range", "2016-12-31T12:00:60Z": "invalid_time", // a leap second is a time, but an old one
		"2026-01-31T9:00:00Z": "invalid_time", "2026-01-31T12:00:00,5Z": "invalid_time", "2026-01-31T12:00:00+24:00": "invalid_time", "2026-01-31T12:00:00": "invalid_time", "1700000000": "invalid_time", " ": "invalid_time",
		exact.Format(time.RFC3339Nano): "", exact.In(time.FixedZone("", -(9*60+30)*60)).Format(time.RFC3339Nano): "", exact.In(time.FixedZone("", 14*3600)).Format(time.RFC3339Nano): "",
		now.Add(9 * time.Minute).Format(time.RFC3339): "", now.Add(-30*24*time.Hour + time.Hour).Format(time.RFC3339): "",
	} {
		r := s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), fmt.Appendf(nil, `{"type":"time","id":%q,"source":"s","time":%q}`, text, text))
		var p problem
		if want == "" && r.Status != 202 {
			t.Errorf("%q: %d %s", text, r.Status, r.Body)
		}
		if want != "" {
			if p = wantProblem(t, r, 422); len(p.Rejected) != 1 || p.Rejected[0].Code != want {
				t.Errorf("%q: %+v, want %s", text, p.Rejected, want)
			}
		}
	}
	for _, e := range s.waitForEvents(client.EventQuery{Type: "time"}, 5) {
		if want, err := time.Parse(time.RFC3339Nano, e.ID); err != nil || !e.Time.Equal(want) {
			t.Errorf("%s came back as %s, %v", e.ID, e.Time, err)
		}
	}
	s.wantNoErrors()
}

// TestNamesThatAreGivenTwice: an attribute has one value or the event is refused, for nobody could say which is meant. Data is the sender's own:
// it is kept as it is, and metrics see the last of several values, as JavaScript and most parsers do.
func TestNamesThatAreGivenTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, body := range []string{`{"type":"a","type":"a"}`, `{"type":"a","\u0074ype":"b"}`, `{"type":"a","data":1,"data":1}`, `{"type":"a","region":"x","region":"x"}`, `{"type":"a","id":"1","id":null}`} {
		if p := wantProblem(t, s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), []byte(body)), 422); len(p.Rejected) != 1 || p.Rejected[0].Code != "invalid_attribute" {
			t.Errorf("%s: %+v", body, p.Rejected)
		}
	}
	const data = `{"v":1,"v":{"x":2},"\u0076":3,"k":"first","k":"last"}`
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "twice", EventTypes: []string{"twice"}, Value: "data.v", Dimensions: map[string]string{"k": "data.k"}}); err != nil {
		t.Fatal(err)
	}
	s.send(client.Event{Type: "twice", Data: json.RawMessage(data)})
	if e := s.waitForEvents(client.EventQuery{Type: "twice"}, 1)[0]; string(e.Data) != data {
		t.Errorf("it came back as %s", e.Data)
	}
	eventually(t, 10*time.Second, func() error {
		r, err := s.Query(t.Context(), client.Query{Metric: "twice", Agg: "sum", GroupBy: []string{"k"}})
		if err == nil && fmt.Sprint(r.Totals("k")) != "map[last:3]" {
			err = fmt.Errorf("it counts as %v", r.Totals("k"))
		}
		return err
	})
	s.wantNoErrors()
}
