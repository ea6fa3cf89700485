package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Query asks for a metric over time. Empty fields leave the choice to the server.
type Query struct {
	Metric  string
	Agg     string // count sum avg min max last unique rate p50 p90 p95 p99
	From    time.Time
	To      time.Time
	Step    string // such as 1m
	GroupBy []string
	Where   map[string][]string // any of the values of each dimension
	Limit   int
	NoOther bool // leave out what is beyond Limit, instead of folding it into one series
}

// Other is the one label of the series that holds what is beyond a query's limit.
const Other = "__other__"

// Point is the value of one step. Value is nil where there is none.
type Point struct {
	Time  time.Time // start of the step
	Value *float64
}

// UnmarshalJSON reads [unix_ms, value or null].
func (p *Point) UnmarshalJSON(b []byte) error {
	var pair [2]*float64
	if err := json.Unmarshal(b, &pair); err != nil || pair[0] == nil {
		return fmt.Errorf("%s is not a point", b)
	}
	p.Time, p.Value = time.UnixMilli(int64(*pair[0])).UTC(), pair[1]
	return nil
}

// Series is one line of a chart.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points []Point           `json:"points"`
	Total  *float64          `json:"total"`
}

// QueryResult is the answer to a Query.
type QueryResult struct {
	Metric string    `json:"metric"`
	Agg    string    `json:"agg"`
	Unit   string    `json:"unit"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Step   string    `json:"step"`
	Series []Series  `json:"series"`
}

// Query runs a query.
func (c *Client) Query(ctx context.Context, q Query) (QueryResult, error) {
	v := url.Values{}
	if q.Agg != "" {
		v.Set("agg", q.Agg)
	}
	if !q.From.IsZero() {
		v.Set("from", q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.UTC().Format(time.RFC3339Nano))
	}
	if q.Step != "" {
		v.Set("step", q.Step)
	}
	if len(q.GroupBy) > 0 {
		v.Set("group_by", strings.Join(q.GroupBy, ","))
	}
	for d, values := range q.Where {
		for _, value := range values {
			v.Add("where", d+":"+value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.NoOther {
		v.Set("other", "false")
	}
	var r QueryResult
	err := c.Do(ctx, http.MethodGet, "/v1/metrics/"+segment(q.Metric)+"/query?"+v.Encode(), nil, nil, &r)
	return r, err
}

// Totals is a query's total by the value of its one group_by dimension, or by "" without one.
func (r QueryResult) Totals(dimension string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range r.Series {
		if s.Total != nil {
			out[s.Labels[dimension]] += *s.Total
		}
	}
	return out
}
