package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

const (
	kindQuery    = "query"
	queryType    = "bench.query."
	queryEvents  = 36_000 // ten a second over the last hour
	queryBatch   = 1000
	queryAtMost  = 30 * time.Second
	queryHistory = time.Hour
)

// QueryResult is how fast a chart is answered.
type QueryResult struct {
	Latency Latency `json:"latency"`
	Series  int     `json:"series"`
	Points  int     `json:"points_per_series"`
}

// query measures a one-minute chart over the last hour, split by type.
func (r *run) query(ctx context.Context, report *Report) error {
	r.say("Query: %d charts of the last hour in steps of a minute, split by type", r.Queries)
	if err := r.history(ctx); err != nil {
		return err
	}
	res := &QueryResult{}
	var times []time.Duration
	started := time.Now()
	for range r.Queries {
		at := time.Now()
		chart, err := r.client.Query(ctx, client.Query{Metric: "events", Agg: "count", From: at.Add(-queryHistory), To: at, Step: "1m", GroupBy: []string{"type"}})
		if err != nil {
			return err
		}
		times = append(times, time.Since(at))
		if res.Series = len(chart.Series); res.Series > 0 {
			res.Points = len(chart.Series[0].Points)
		}
		if time.Since(started) > queryAtMost {
			break
		}
	}
	res.Latency = latencyOf(times)
	report.Query = res
	return nil
}

// history fills the last hour evenly, so that the chart has a point in every step.
func (r *run) history(ctx context.Context) error {
	now := time.Now()
	from := now.Add(-queryHistory)
	g := generator{source: r.source(kindQuery), prefix: r.id + "-query", types: queryType}
	at := func(i int) time.Time { return from.Add(queryHistory / queryEvents * time.Duration(i)) }
	accepted := 0
	for first := 0; first < queryEvents; first += queryBatch {
		receipt, err := r.client.SendRaw(ctx, "application/json", g.appendBatch(nil, first, queryBatch, at), nil)
		if err != nil {
			return fmt.Errorf("fill the last hour: %w", err)
		}
		accepted += receipt.Accepted
	}
	return r.drained(ctx, queryType, r.source(kindQuery), from, accepted)
}
