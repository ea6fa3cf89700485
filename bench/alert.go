package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

const (
	alertRules   = 5
	breachType   = "bench.breach."
	kindBreach   = "breach"
	breachEvery  = 400 * time.Millisecond
	breachOver   = 2 // the rule's threshold: so many events are there before the one that breaches
	breachLimit  = 10 * time.Second
	activeWithin = 15 * time.Second

	resolvedWithin = 5 * time.Second
)

// AlertResult is the way from the event that breaches a rule to the delivered webhook.
type AlertResult struct {
	Latency  Latency    `json:"latency"`
	Breaches int        `json:"breaches"`
	Rules    int        `json:"rules"`
	Failed   int        `json:"failed"` // requests
	Lost     int        `json:"lost"`   // no webhook in time
	Early    int        `json:"early"`  // a webhook before the breach
	Load     LoadResult `json:"load"`
	// Skipped says why nothing was measured.
	Skipped string `json:"skipped,omitempty"`
}

// receiver is where webhooks arrive.
type receiver struct {
	url    string
	server *http.Server
	mu     sync.Mutex
	first  map[string]time.Time // rule and type → the first arrival
	ended  map[string]bool      // rule and type → it was told that the incident is over
}

// received is what is read of a webhook.
type received struct {
	Data struct {
		Incident struct {
			Rule   string            `json:"rule"`
			State  string            `json:"state"`
			Labels map[string]string `json:"labels"`
		} `json:"incident"`
	} `json:"data"`
}

func (r *run) startReceiver(ctx context.Context) (*receiver, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", r.Receive)
	if err != nil {
		return nil, fmt.Errorf("receive webhooks: %w", err)
	}
	in := &receiver{url: "http://" + l.Addr().String() + "/", first: map[string]time.Time{}, ended: map[string]bool{}}
	in.server = &http.Server{Handler: in, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = in.server.Serve(l) }() // until it is closed
	return in, nil
}

// ServeHTTP notes when a webhook came.
func (in *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var m received
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&m) == nil {
		in.note(m.Data.Incident.Rule+" "+m.Data.Incident.Labels["type"], m.Data.Incident.State, at)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (in *receiver) note(key, state string, at time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.first[key]; !ok && state == "firing" {
		in.first[key] = at
	}
	if state == "resolved" {
		in.ended[key] = true
	}
}

// open is the number of incidents that were told of and are not over.
func (in *receiver) open() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.first) - len(in.ended)
}

func (in *receiver) arrived(key string) (time.Time, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	at, ok := in.first[key]
	return at, ok
}

// breach is one group of one rule that is made to fire.
type breach struct {
	rule      string
	eventType string
	source    string
	sent      time.Time
	err       error
}

func (b *breach) key() string { return b.rule + " " + b.eventType }

func (r *run) ruleSlug(i int) string { return fmt.Sprintf("bench-%s-%d", r.id, i) }

func (r *run) breachSource(rule int) string { return r.source(kindBreach) + "-" + strconv.Itoa(rule) }

// alert measures breaches of several rules, each split by type, under the same load as the chart.
func (r *run) alert(ctx context.Context, report *Report) error {
	r.say("Rule breach to webhook: %d breaches of %d rules, at %.0f events/s", r.Breaches, alertRules, r.Rate)
	in, err := r.startReceiver(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = in.server.Close() }()
	defer r.dropRules(context.WithoutCancel(ctx), in)
	result := &AlertResult{Breaches: r.Breaches, Rules: alertRules}
	report.Alert = result
	channel := r.metric()
	if _, err := r.client.PutChannel(ctx, client.Channel{Slug: channel, Type: "webhook", Config: map[string]any{"url": in.url}}); err != nil {
		return fmt.Errorf("create the webhook channel: %w", err)
	}
	if test, err := r.client.TestChannel(ctx, channel); err != nil || !test.OK {
		result.Skipped = fmt.Sprintf("the server cannot deliver to %s (%s): start it with --egress-allow, or give this command another --receive", in.url, errors.Join(err, errors.New(test.Detail)))
		return ctx.Err()
	}
	for i := range alertRules {
		_, err := r.client.PutRule(ctx, client.Rule{Slug: r.ruleSlug(i), Name: "Benchmark " + strconv.Itoa(i), Metric: "events", Agg: "count", GroupBy: []string{"type"},
			Where: map[string]string{"source": r.breachSource(i)}, Window: "5m", Condition: client.Condition{Type: "threshold", Op: ">", Value: breachOver},
			Severity: "critical", Channels: []string{channel}})
		if err != nil {
			return fmt.Errorf("create a rule: %w", err)
		}
	}
	if err := r.warmRules(ctx, in); err != nil {
		return err
	}
	l := r.startLoad(ctx, PartAlert)
	all, err := r.breachAll(ctx, in)
	result.Load = l.stop()
	if err != nil {
		return err
	}
	r.judge(all, in, result)
	return nil
}

// warmRules makes one group of each rule fire that is not measured: then the rules are known to be active.
func (r *run) warmRules(ctx context.Context, in *receiver) error {
	for i := range alertRules {
		b := breach{rule: r.ruleSlug(i), eventType: breachType + "warm", source: r.breachSource(i)}
		if err := r.sendBreach(ctx, &b, breachOver+1); err != nil {
			return fmt.Errorf("send an event: %w", err)
		}
		err := until(ctx, activeWithin, 10*time.Millisecond, "a new rule has fired for the first time", func() (bool, error) {
			_, ok := in.arrived(b.key())
			return ok, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) sendBreach(ctx context.Context, b *breach, n int) error {
	events := make([]client.Event, n)
	for i := range events {
		events[i] = client.Event{Source: b.source, Type: b.eventType}
	}
	b.sent = time.Now()
	receipt, err := r.client.Send(ctx, events...)
	if err == nil && receipt.Accepted != n {
		err = fmt.Errorf("%d events accepted, not %d", receipt.Accepted, n)
	}
	return err
}

// breachAll brings every group up to its threshold, and then breaches one after the other.
func (r *run) breachAll(ctx context.Context, in *receiver) ([]*breach, error) {
	all := make([]*breach, r.Breaches)
	for i := range all {
		rule := i % alertRules
		all[i] = &breach{rule: r.ruleSlug(rule), eventType: breachType + strconv.Itoa(i/alertRules), source: r.breachSource(rule)}
		if err := r.sendBreach(ctx, all[i], breachOver); err != nil {
			return nil, fmt.Errorf("send an event: %w", err)
		}
	}
	plan := pace{time.Now().Add(time.Second), float64(time.Second) / float64(breachEvery)}
	told := time.Now()
	for i, b := range all {
		if err := sleep(ctx, time.Until(plan.due(i))); err != nil {
			return nil, err
		}
		if time.Since(told) > progressEvery {
			told = time.Now()
			r.say("  %d of %d breaches", i, len(all))
		}
		b.err = r.sendBreach(ctx, b, 1)
	}
	_ = until(ctx, breachLimit, 10*time.Millisecond, "all webhooks have arrived", func() (bool, error) {
		for _, b := range all {
			if _, ok := in.arrived(b.key()); !ok && b.err == nil {
				return false, nil
			}
		}
		return true, nil
	})
	return all, ctx.Err()
}

func (r *run) judge(all []*breach, in *receiver, result *AlertResult) {
	var times []time.Duration
	for _, b := range all {
		at, ok := in.arrived(b.key())
		switch {
		case b.err != nil:
			result.Failed++
		case !ok:
			result.Lost++
		case at.Before(b.sent):
			result.Early++
		default:
			times = append(times, at.Sub(b.sent))
		}
	}
	result.Latency = LatencyOf(times)
}

// dropRules deletes what alert has made: the channel last, once it has carried the news that the rules' incidents are over.
func (r *run) dropRules(ctx context.Context, in *receiver) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for i := range alertRules {
		if err := r.client.DeleteRule(ctx, r.ruleSlug(i)); err != nil && client.StatusOf(err) != http.StatusNotFound {
			r.say("The rule %s could not be deleted: %v", r.ruleSlug(i), err)
		}
	}
	_ = until(ctx, resolvedWithin, 10*time.Millisecond, "all incidents are over", func() (bool, error) { return in.open() == 0, nil })
	if err := r.client.Do(ctx, http.MethodDelete, "/v1/channels/"+r.metric(), nil, nil, nil); err != nil && client.StatusOf(err) != http.StatusNotFound {
		r.say("The channel %s could not be deleted: %v", r.metric(), err)
	}
}
