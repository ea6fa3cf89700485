package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Figures are what was used.
type Figures struct {
	Events        int64 `json:"events"`        // stored, duplicates not counted, by when they were received
	Bytes         int64 `json:"bytes"`         // id, source, type, subject, data and extension attributes, as UTF-8
	Series        int64 `json:"series"`        // that had an event in an hour; of a longer time, the most of any hour
	Queries       int64 `json:"queries"`       // answered
	Notifications int64 `json:"notifications"` // delivered
}

// UsageRow is a step in which anything was used.
type UsageRow struct {
	Tenant string    `json:"tenant"` // in AllUsage
	Start  time.Time `json:"start"`
	Figures
}

// QuotaUse is how much of a quota is used.
type QuotaUse struct {
	Limit    int64      `json:"limit"`
	Used     int64      `json:"used"`
	ResetsAt *time.Time `json:"resets_at"` // nil: it does not
}

// Usage is what was used between two times.
type Usage struct {
	From  time.Time  `json:"from"`
	To    time.Time  `json:"to"`
	Step  string     `json:"step"`
	Data  []UsageRow `json:"data"`
	Total Figures    `json:"total"`
	// Quotas are the tenant's by their names: events_per_month, bytes_per_month, series, rules. AllUsage has none.
	Quotas map[string]QuotaUse `json:"quotas"`
}

// UsageQuery asks for usage. Zero fields are left to the server: this month, by day.
type UsageQuery struct {
	From, To time.Time
	Step     string // "hour" or "day"
}

func (q UsageQuery) values() url.Values {
	v := url.Values{}
	if !q.From.IsZero() {
		v.Set("from", q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.UTC().Format(time.RFC3339Nano))
	}
	if q.Step != "" {
		v.Set("step", q.Step)
	}
	return v
}

// Usage is what the tenant has used, and may use.
func (c *Client) Usage(ctx context.Context, q UsageQuery) (Usage, error) {
	var u Usage
	err := c.Do(ctx, http.MethodGet, "/v1/usage?"+q.values().Encode(), nil, nil, &u)
	return u, err
}

// AllUsage is what each tenant of the installation has used, for its operator.
func (c *Client) AllUsage(ctx context.Context, q UsageQuery) (Usage, error) {
	var u Usage
	err := c.Do(ctx, http.MethodGet, "/v1/admin/usage?"+q.values().Encode(), nil, nil, &u)
	return u, err
}
