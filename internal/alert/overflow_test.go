package alert

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

func TestASumTooLargeToBeSaidIsBeyondItsThreshold(t *testing.T) {
	for _, c := range []struct {
		agg    series.Kind
		values []float64
		op     string
		firing bool
	}{
		{series.Sum, []float64{1e308, 1e308, 1e308}, ">", true},
		{series.Avg, []float64{1e308, 1e308, 1e308}, ">", true},
		{series.Sum, []float64{-1e308, -1e308}, "<", true},
		{series.Sum, []float64{1e308, 1e308}, "<", false},
		{series.Max, []float64{1e308, 1e308}, ">", true},
		{series.P99, []float64{1e308, 1e308}, ">", true},
	} {
		s := shapeOf(c.agg, time.Minute)
		w := newWindow()
		for i, v := range c.values {
			var a series.Agg
			a.Add(series.Observation{At: time.Unix(100+int64(i), 0), Value: v, Numeric: true})
			w.add(&s, 100+int64(i), &a)
		}
		w.advance(&s, 110)
		v, has, _ := w.value(&s)
		limit := 1000.0
		if c.op == "<" {
			limit = -1000
		}
		r := rule(func(r *Rule) { r.Agg, r.Condition = c.agg, Condition{Type: "threshold", Op: c.op, Value: limit} })
		state, transition := Step(r, State{}, v, has, time.Unix(110, 0))
		if (transition != nil) != c.firing || (state.Phase == PhaseFiring) != c.firing {
			t.Errorf("%s of %v %s %v: %s", c.agg, c.values, c.op, limit, state.Phase)
		}
		if math.IsInf(state.Value, 0) || math.IsNaN(state.Value) {
			t.Errorf("its state holds %v", state.Value)
		}
		if _, err := json.Marshal(transition); err != nil {
			t.Errorf("its transition cannot be stored: %v", err)
		}
	}
}
