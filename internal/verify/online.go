package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// OnlineConfig says what to ask of whom.
type OnlineConfig struct {
	Client *client.Client
	Target string // for the report
	// Ledger is compared with what is stored; nil for none.
	Ledger *ledger.Ledger
	// Losses are what the server says that it doesn't have; nil asks the server.
	Losses Losses
	Now    func() time.Time
}

// Online checks the events and metrics of one tenant through the API. Nothing may be sent meanwhile: what is being worked off
// would look like an error. While the server rebuilds its store there is nothing to compare: client.ErrIncomplete.
func Online(ctx context.Context, cfg OnlineConfig) (*Report, error) {
	began := cfg.Now()
	r := &Report{Target: cfg.Target}
	cfg.Client = cfg.Client.Complete()
	v := online{OnlineConfig: cfg, report: r}
	if err := v.events(ctx); err != nil {
		return nil, err
	}
	metrics, err := cfg.Client.Metrics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list metrics: %w", err)
	}
	c := r.check("rollups equal raw events", "steps of series")
	for i := range metrics {
		if err := v.metric(ctx, c, &metrics[i]); err != nil {
			return nil, fmt.Errorf("metric %s: %w", metrics[i].Slug, err)
		}
	}
	if cfg.Ledger != nil {
		if err := v.accounts(ctx); err != nil {
			return nil, err
		}
	}
	r.finish(began, cfg.Now())
	return r, nil
}

type online struct {
	OnlineConfig
	report *Report
	all    []event.Event
	first  time.Time
	last   time.Time
}

// events reads all of them.
func (v *online) events(ctx context.Context) error {
	unique := newOnce(v.report, "this tenant")
	q := client.EventQuery{Limit: 1000}
	for {
		page, next, err := v.Client.Events(ctx, q)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		for i := range page {
			ev, err := eventOf(&page[i])
			if err != nil {
				return err
			}
			unique.add(tenant.Default, &ev)
			v.all = append(v.all, ev)
			if v.first.IsZero() || ev.Time.Before(v.first) {
				v.first = ev.Time
			}
			if ev.Time.After(v.last) {
				v.last = ev.Time
			}
		}
		if next == "" {
			return nil
		}
		q.Cursor = next
	}
}

func eventOf(in *client.StoredEvent) (event.Event, error) {
	ev := event.Event{ID: in.ID, Source: in.Source, Type: in.Type, Subject: in.Subject, Time: in.Time, Received: in.ReceivedAt, Data: in.Data}
	if len(in.Extensions) > 0 {
		b, err := json.Marshal(in.Extensions)
		if err != nil {
			return ev, fmt.Errorf("extension attributes of %s: %w", in.ID, err)
		}
		ev.Extensions = b
	}
	return ev, nil
}

func (v *online) accounts(ctx context.Context) error {
	losses := v.Losses
	if losses == nil {
		var err error
		if losses, err = askForLosses(ctx, v.Client); err != nil {
			return err
		}
	}
	a := newAccounts(v.report, v.Ledger)
	for i := range v.all {
		a.add(&v.all[i])
	}
	v.report.Ledger = a.finish(losses)
	return nil
}

func (v *online) metric(ctx context.Context, c *Check, m *client.Metric) error {
	if m.Fill != nil && m.Fill.State != "done" {
		c.note("%s is still being filled: not compared", m.Slug)
		return nil
	}
	p, err := metric.Compile(metric.Definition{Slug: m.Slug, EventTypes: m.EventTypes, Filter: m.Filter, Value: m.Value, Dimensions: m.Dimensions})
	if err != nil {
		c.violation("%s cannot be computed: %v", m.Slug, err)
		return nil
	}
	want := newTally(p)
	var doc metric.Doc
	for i := range v.all {
		doc.Reset(&v.all[i])
		want.add(&doc, &v.all[i])
	}
	got := rollups{}
	if len(v.all) > 0 {
		for _, width := range series.Resolutions() {
			if err := v.ask(ctx, p, width, got); err != nil {
				return err
			}
		}
	}
	want.compare(c, got)
	return nil
}

// mostPoints is a little less than a query may have in each series.
const mostPoints = 10_000

// ask queries one resolution, from a day before the first event to a day behind the last. Days are whole, so that the rollups of that
// resolution answer.
func (v *online) ask(ctx context.Context, p *metric.Program, width time.Duration, got rollups) error {
	const day = 24 * time.Hour
	from, to := series.Align(v.first, day).Add(-day), series.Align(v.last, day).Add(2*day)
	span := max(day, (width * mostPoints).Truncate(day))
	for ; from.Before(to); from = from.Add(span) {
		end := from.Add(span)
		if end.After(to) {
			end = to
		}
		if err := v.askSpan(ctx, p, width, from, end, got); err != nil {
			return err
		}
	}
	return nil
}

func (v *online) askSpan(ctx context.Context, p *metric.Program, width time.Duration, from, to time.Time, got rollups) error {
	def := p.Definition()
	aggs := []string{"count"}
	if def.Value != "" {
		aggs = append(aggs, "sum", "min", "max")
	}
	part := rollups{}
	for _, agg := range aggs {
		answer, err := v.Client.Query(ctx, client.Query{Metric: def.Slug, Agg: agg, From: from, To: to, Step: series.Duration(width).String(), GroupBy: p.Dimensions(), Limit: 1000})
		if err != nil {
			return err
		}
		none := true
		for i := range answer.Series {
			none = collect(p, width, agg, &answer.Series[i], part) && none
		}
		if none {
			break // what counts nothing has no sums
		}
	}
	maps.Copy(got, part)
	return nil
}

// collect puts one series of an answer into the rollups, and says whether it was empty.
func collect(p *metric.Program, width time.Duration, agg string, s *client.Series, into rollups) (empty bool) {
	labels := make(series.Labels, 0, len(p.Dimensions()))
	for _, d := range p.Dimensions() {
		labels = append(labels, s.Labels[d])
	}
	if s.Labels[client.Other] != "" {
		labels = slices.Repeat(series.Labels{series.OtherValue}, len(p.Dimensions()))
	}
	empty = true
	for _, point := range s.Points {
		if point.Value == nil || agg == "count" && *point.Value == 0 {
			continue
		}
		empty = false
		k := step{width, point.Time.Unix(), labels.Key()}
		n := into[k]
		if n == nil {
			n = &numbers{labels: labels}
			into[k] = n
		}
		switch agg {
		case "count":
			n.count = uint64(math.Round(*point.Value))
		case "sum":
			n.sum, n.values = *point.Value, n.count
		case "min":
			n.min = *point.Value
		case "max":
			n.max = *point.Value
		}
	}
	return empty
}

// quarantined is what the server holds back.
type quarantined map[ledger.Key]bool

// add holds an event under each name that a ledger may have for it.
func (q quarantined) add(source, id, subject string) {
	q[ledger.Key{Source: source, ID: id}] = true
	if subject != "" {
		q[ledger.Key{Source: source, Subject: subject}] = true
	}
}

// Quarantined implements Losses.
func (q quarantined) Quarantined(k ledger.Key) bool { return q[k] }

// Dropped implements Losses.
func (q quarantined) Dropped(ledger.Key) bool { return false }

// askForLosses reads the quarantine. A server that has none answers 404.
func askForLosses(ctx context.Context, c *client.Client) (Losses, error) {
	held := quarantined{}
	cursor := ""
	for {
		var page struct {
			Data []struct {
				Event struct {
					ID      string `json:"id"`
					Source  string `json:"source"`
					Subject string `json:"subject"`
				} `json:"event"` // null when not even that is known
			} `json:"data"`
			Next string `json:"next_cursor"`
		}
		path := "/v1/quarantine?limit=1000"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		err := c.Do(ctx, http.MethodGet, path, nil, nil, &page)
		var problem *client.Error
		if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
			return held, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the quarantine: %w", err)
		}
		for _, e := range page.Data {
			held.add(e.Event.Source, e.Event.ID, e.Event.Subject)
		}
		if cursor = page.Next; cursor == "" {
			return held, nil
		}
	}
}
