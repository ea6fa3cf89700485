package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Source is a vendor's webhook endpoint.
type Source struct {
	Slug      string    `json:"slug"`
	Name      string    `json:"name,omitempty"`
	Vendor    string    `json:"vendor"`
	URL       string    `json:"url"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PutSource creates or changes a source. URL is where the vendor is to send its webhooks.
func (c *Client) PutSource(ctx context.Context, slug, vendor, secret string) (Source, error) {
	var s Source
	err := c.Do(ctx, http.MethodPut, "/v1/sources/"+segment(slug), nil, map[string]string{"vendor": vendor, "secret": secret}, &s)
	return s, err
}

// Sources lists the sources.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	return getList[Source](ctx, c, "/v1/sources")
}

// DeleteSource removes a source.
func (c *Client) DeleteSource(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/sources/"+segment(slug), nil, nil, nil)
}

// Metric is a metric's definition. Filter, Value and Dimensions are CEL over the event.
type Metric struct {
	Slug        string            `json:"slug"`
	Name        string            `json:"name,omitempty"`
	Description string            `json:"description,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	EventTypes  []string          `json:"event_types,omitempty"`
	Filter      string            `json:"filter,omitempty"`
	Value       string            `json:"value,omitempty"`
	Dimensions  map[string]string `json:"dimensions,omitempty"`
	Builtin     bool              `json:"builtin,omitempty"`
	Vendor      string            `json:"vendor,omitempty"`
	Fill        *Fill             `json:"fill,omitempty"`
	// SeriesDropped is how many observations count under Other because the metric has more series than it may.
	SeriesDropped uint64 `json:"series_dropped,omitempty"`
	// ETag is the version that was read. PutMetric with it fails with 412 when there is a newer one by then.
	ETag string `json:"-"`
}

// Fill says how far a new metric has been computed from events stored before it.
type Fill struct {
	State    string  `json:"state"` // pending, running or done
	Progress float64 `json:"progress"`
}

// PutMetric creates or changes a metric.
func (c *Client) PutMetric(ctx context.Context, m Metric) (Metric, error) {
	h := http.Header{}
	if m.ETag != "" {
		h.Set("If-Match", m.ETag)
	}
	m.Builtin, m.Vendor, m.Fill, m.SeriesDropped = false, "", nil, 0
	var out Metric
	answered, err := c.do(ctx, http.MethodPut, "/v1/metrics/"+segment(m.Slug), h, m, &out)
	out.ETag = answered.Get("ETag")
	return out, err
}

// Metric returns one metric.
func (c *Client) Metric(ctx context.Context, slug string) (Metric, error) {
	var m Metric
	answered, err := c.do(ctx, http.MethodGet, "/v1/metrics/"+segment(slug), nil, nil, &m)
	m.ETag = answered.Get("ETag")
	return m, err
}

// Metrics lists the metrics.
func (c *Client) Metrics(ctx context.Context) ([]Metric, error) {
	return getList[Metric](ctx, c, "/v1/metrics")
}

// DeleteMetric removes a metric.
func (c *Client) DeleteMetric(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/metrics/"+segment(slug), nil, nil, nil)
}

// Condition is when a rule's value is bad.
type Condition struct {
	Type  string   `json:"type"`
	Op    string   `json:"op"`
	Value float64  `json:"value"`
	Clear *float64 `json:"clear,omitempty"`
}

// Rule is an alert rule.
type Rule struct {
	Slug      string            `json:"slug"`
	Name      string            `json:"name,omitempty"`
	Metric    string            `json:"metric"`
	Agg       string            `json:"agg,omitempty"`
	GroupBy   []string          `json:"group_by,omitempty"`
	Where     map[string]string `json:"where,omitempty"`
	Window    string            `json:"window,omitempty"`
	Condition Condition         `json:"condition"`
	For       string            `json:"for,omitempty"`
	Severity  string            `json:"severity,omitempty"`
	Channels  []string          `json:"channels,omitempty"`
	NoData    string            `json:"no_data,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Summary   string            `json:"summary,omitempty"`
	Enabled   *bool             `json:"enabled,omitempty"` // nil: true
}

// PutRule creates or changes a rule.
func (c *Client) PutRule(ctx context.Context, r Rule) (Rule, error) {
	var out Rule
	err := c.Do(ctx, http.MethodPut, "/v1/rules/"+segment(r.Slug), nil, r, &out)
	return out, err
}

// DeleteRule removes a rule.
func (c *Client) DeleteRule(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/rules/"+segment(slug), nil, nil, nil)
}

// Channel is a way to reach somebody.
type Channel struct {
	Slug   string         `json:"slug"`
	Type   string         `json:"type"`
	Config map[string]any `json:"config"`
	// Secret signs a webhook's deliveries. The server shows it once, when it made it.
	Secret string `json:"secret,omitempty"`
}

// PutChannel creates or changes a channel.
func (c *Client) PutChannel(ctx context.Context, ch Channel) (Channel, error) {
	ch.Secret = ""
	var out Channel
	err := c.Do(ctx, http.MethodPut, "/v1/channels/"+segment(ch.Slug), nil, ch, &out)
	return out, err
}

// DeleteChannel removes a channel.
func (c *Client) DeleteChannel(ctx context.Context, slug string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/channels/"+segment(slug), nil, nil, nil)
}

// ChannelTest says how a test of a channel went.
type ChannelTest struct {
	OK         bool   `json:"ok"`
	Status     int    `json:"status"`
	DurationMS int64  `json:"duration_ms"`
	Detail     string `json:"detail"`
}

// TestChannel sends a test message through a channel now.
func (c *Client) TestChannel(ctx context.Context, slug string) (ChannelTest, error) {
	var t ChannelTest
	err := c.Do(ctx, http.MethodPost, "/v1/channels/"+segment(slug)+"/test", nil, nil, &t)
	return t, err
}

// Incident is one stretch of time in which a rule fired.
type Incident struct {
	ID             string            `json:"id"`
	Rule           string            `json:"rule"`
	RuleName       string            `json:"rule_name"`
	Metric         string            `json:"metric"`
	Labels         map[string]string `json:"labels"`
	State          string            `json:"state"`
	Severity       string            `json:"severity"`
	StartedAt      time.Time         `json:"started_at"`
	ResolvedAt     *time.Time        `json:"resolved_at"`
	Value          float64           `json:"value"`
	Threshold      float64           `json:"threshold"`
	Explanation    string            `json:"explanation"`
	Summary        string            `json:"summary"`
	AcknowledgedBy string            `json:"acknowledged_by"`
	AcknowledgedAt *time.Time        `json:"acknowledged_at"`
	Timeline       []Moment          `json:"timeline"`
}

// Moment is something that happened in the course of an incident.
type Moment struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // pending, firing, resolved, ack, comment, notify_queued, notified, notify_failed
	Text string    `json:"text"`
	By   string    `json:"by"`
}

// Incident returns one incident with its whole timeline.
func (c *Client) Incident(ctx context.Context, id string) (Incident, error) {
	var out Incident
	err := c.Do(ctx, http.MethodGet, "/v1/incidents/"+segment(id), nil, nil, &out)
	return out, err
}

// Incidents lists incidents, newest first, without their notifications; state and rule may be empty.
func (c *Client) Incidents(ctx context.Context, state, rule string) ([]Incident, error) {
	v := url.Values{}
	if state != "" {
		v.Set("state", state)
	}
	if rule != "" {
		v.Set("rule", rule)
	}
	return getList[Incident](ctx, c, "/v1/incidents?"+v.Encode())
}

// Acknowledge tells everybody that somebody is on it.
func (c *Client) Acknowledge(ctx context.Context, incident, comment string) (Incident, error) {
	var out Incident
	err := c.Do(ctx, http.MethodPost, "/v1/incidents/"+segment(incident)+"/ack", nil, map[string]string{"comment": comment}, &out)
	return out, err
}

// Comment says something about an incident.
func (c *Client) Comment(ctx context.Context, incident, text string) (Incident, error) {
	var out Incident
	err := c.Do(ctx, http.MethodPost, "/v1/incidents/"+segment(incident)+"/comments", nil, map[string]string{"text": text}, &out)
	return out, err
}

// Ready says whether the server can take events, as an error when not.
func (c *Client) Ready(ctx context.Context) error {
	return c.Do(ctx, http.MethodGet, "/readyz", nil, nil, nil)
}
