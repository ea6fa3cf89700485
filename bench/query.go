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
	// Minutes is of a chart from a whole minute up to now, as a client asks that leaves from and to out.
	Minutes Latency `json:"whole_minutes"`
	// Exact is of one with edges within a minute, of which the events themselves have to be read.
	Exact  Latency `json:"exact_edges"`
	Series int     `json:"series"`
	Points int     `json:"points_per_series"`
}

// query measures a one-minute chart over the last hour, split by type.
func (r *run) query(ctx context.Context, report *Report) error {
	r.say("Query: %d charts of the last hour in steps of a minute, split by type", r.Queries)
	if err := r.history(ctx); err != nil {
		return err
	}
	res := &QueryResult{}
	var minutes, exact []time.Duration
	started := time.Now()
	for i := 0; i < r.Queries && time.Since(started) < queryAtMost; i++ {
		q := client.Query{Metric: "events", Agg: "count", Step: "1m", GroupBy: []string{"type"}}
		took, err := r.chartOf(ctx, q, res)
		if err != nil {
			return err
		}
		minutes = append(minutes, took)
		q.To = time.Now()
		q.From = q.To.Add(-queryHistory)
		if took, err = r.chartOf(ctx, q, res); err != nil {
			return err
		}
		exact = append(exact, took)
	}
	res.Minutes, res.Exact = LatencyOf(minutes), LatencyOf(exact)
	report.Query = res
	return nil
}

func (r *run) chartOf(ctx context.Context, q client.Query, res *QueryResult) (time.Duration, error) {
	at := time.Now()
	chart, err := r.client.Query(ctx, q)
	took := time.Since(at)
	if res.Series = len(chart.Series); res.Series > 0 {
		res.Points = len(chart.Series[0].Points)
	}
	return took, err
}

// history fills the last hour evenly, so that the chart has a point in every step.
func (r *run) history(ctx context.Context) error {
	now := time.Now()
	from := now.Add(-queryHistory)
	g := generator{source: r.source(kindQuery), prefix: r.id + "-query", types: queryType}
	at := func(i int) time.Time { return from.Add(queryHistory / queryEvents * time.Duration(i)) }
	accepted := 0
	for first := 0; first < queryEvents; first += queryBatch {
		receipt, err := r.client.SendRaw(ctx, "application/json", g.batch(first, queryBatch, at), nil)
		if err != nil {
			return fmt.Errorf("fill the last hour: %w", err)
		}
		accepted += receipt.Accepted
	}
	return r.drained(ctx, queryType, r.source(kindQuery), from, accepted)
}
