package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// A sum that is too large for a number has no value, and nor has an average made from it; everything else of the metric has one, rules know that it is beyond any
// threshold, and neither stands in the way of what comes later, also after a restart.
func TestASumThatOverflowsIsNoValueAndFiresItsRule(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "huge", EventTypes: []string{"huge"}, Value: "data.v"}); err != nil {
		t.Fatal(err)
	}
	for agg, op := range map[string]string{"sum": ">", "avg": ">=", "p99": ">"} {
		_, err := s.PutRule(t.Context(), client.Rule{Slug: "huge-" + agg, Metric: "huge", Agg: agg, Window: "1h", Condition: client.Condition{Type: "threshold", Op: op, Value: 1000}, Severity: "warning"})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		var events []client.Event
		for range 20 {
			events = append(events, client.Event{Type: "huge", Data: map[string]float64{"v": 1e308}})
		}
		s.send(events...)
	}
	check := func(n float64) {
		t.Helper()
		for agg, want := range map[string]any{"count": n, "sum": nil, "avg": nil, "min": 1e308, "max": 1e308, "last": 1e308} {
			eventually(t, 20*time.Second, func() error {
				r, err := s.Query(t.Context(), client.Query{Metric: "huge", Agg: agg})
				if err != nil || len(r.Series) != 1 {
					return fmt.Errorf("%s: %+v, %w", agg, r, err)
				}
				if total := r.Series[0].Total; (total == nil) != (want == nil) || total != nil && *total != want {
					return fmt.Errorf("%s is %v, want %v", agg, total, want)
				}
				return nil
			})
		}
		for _, agg := range []string{"p50", "p99"} {
			r, err := s.Query(t.Context(), client.Query{Metric: "huge", Agg: agg})
			if err != nil || len(r.Series) != 1 || r.Series[0].Total == nil || *r.Series[0].Total < 0.98e308 {
				t.Errorf("%s: %+v, %v", agg, r, err)
			}
		}
	}
	firing := func() {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			all, err := s.Incidents(t.Context(), "firing", "")
			if err == nil && len(all) != 3 {
				err = fmt.Errorf("%d incidents, want 3", len(all))
			}
			return err
		})
	}
	check(60)
	firing()
	s.kill()
	s.start()
	check(60)
	s.send(client.Event{Type: "huge", Data: map[string]float64{"v": 1e308}})
	check(61)
	firing()
	for _, path := range []string{"/v1/incidents", "/v1/rules", "/v1/overview", "/v1/quarantine"} {
		if r := s.exchange("GET", path, nil, nil); r.Status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.Status, r.Body)
		}
	}
}
