//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/bench/rig"
	"github.com/pulsestream/pulsestream/client"
)

// site is a server with tenants that measure and watch what comes in.
type site struct {
	*rig.Server
	done    func() error
	tenants []*client.Client
	keys    []string
	profile string
	total   []int     // events that each tenant was sent
	from    time.Time // before all of them
}

// setting is what each tenant of a site has.
type setting struct {
	metrics []client.Metric
	rules   []client.Rule
}

// usual is three metrics and ten rules.
func usual() setting {
	s := setting{metrics: []client.Metric{
		{Slug: "charges", Name: "Charges", Unit: "usd", EventTypes: []string{"charge.*", "payment_intent.*"}, Value: "data.amount / 100.0",
			Dimensions: map[string]string{"currency": "data.currency", "type": "type"}},
		{Slug: "messages", Name: "Text messages", EventTypes: []string{"message.*"},
			Dimensions: map[string]string{"status": "data.MessageStatus", "country": "data.To.country", "carrier": "data.To.carrier"}},
		{Slug: "builds", Name: "Builds", Unit: "ms", EventTypes: []string{"workflow_run.completed"}, Filter: `data.repository != "acme/docs"`, Value: "data.duration_ms",
			Dimensions: map[string]string{"repository": "data.repository", "conclusion": "data.conclusion"}},
	}}
	// Thresholds that are never reached: a rule that fires is another matter.
	over := func(slug, metric, agg, window string, groups ...string) {
		s.rules = append(s.rules, client.Rule{Slug: slug, Name: slug, Metric: metric, Agg: agg, Window: window, GroupBy: groups,
			Condition: client.Condition{Type: "threshold", Op: ">", Value: 1e15}, Severity: "warning"})
	}
	over("events-rate", "events", "rate", "1m")
	over("events-by-type", "events", "count", "5m", "type")
	over("events-by-source", "events", "count", "1m", "source")
	over("charges-sum", "charges", "sum", "5m")
	over("charges-by-currency", "charges", "sum", "1m", "currency")
	over("charges-max", "charges", "max", "1m", "type")
	over("messages-by-status", "messages", "count", "1m", "status")
	over("messages-by-country", "messages", "rate", "5m", "country")
	over("builds-slow", "builds", "avg", "5m", "repository")
	over("builds-count", "builds", "count", "1m", "conclusion")
	return s
}

// open starts a server and makes its tenants.
func (r *run) open(ctx context.Context, name string, s setting) (st *site, err error) {
	dir, done, err := r.dir()
	if err != nil {
		return nil, err
	}
	st = &site{done: done, profile: r.profile(name)}
	args := []string{"serve"}
	if st.profile != "" {
		args = []string{"bench-serve", "--cpu-profile", st.profile}
	}
	st.Server, err = rig.Start(ctx, rig.Command{Binary: r.Binary, Args: args, Dir: dir, Log: r.Progress})
	if err != nil {
		return nil, errors.Join(err, done())
	}
	if err := st.settle(ctx, r.Tenants, s); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

// settle makes the tenants, several at a time.
func (s *site) settle(ctx context.Context, n int, set setting) error {
	operator := s.Client(rig.AdminKey)
	s.tenants, s.keys = make([]*client.Client, n), make([]string, n)
	errs := make([]error, n)
	turns := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			errs[i] = s.tenant(ctx, operator, i, set)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

const fillLimit = time.Minute

func (s *site) tenant(ctx context.Context, operator *client.Client, i int, set setting) error {
	_, key, err := operator.PutTenant(ctx, client.Tenant{ID: fmt.Sprintf("tenant-%03d", i)})
	if err != nil {
		return fmt.Errorf("make a tenant: %w", err)
	}
	c := s.Client(key.Secret)
	sender, err := c.MakeKey(ctx, "sender", "ingest")
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	s.tenants[i], s.keys[i] = c, sender.Secret
	for _, m := range set.metrics {
		if _, err := c.PutMetric(ctx, m); err != nil {
			return fmt.Errorf("make the metric %s: %w", m.Slug, err)
		}
	}
	for _, rule := range set.rules {
		if _, err := c.PutRule(ctx, rule); err != nil {
			return fmt.Errorf("make the rule %s: %w", rule.Slug, err)
		}
	}
	return poll(ctx, fillLimit, 20*time.Millisecond, "the metrics are filled", func() (bool, error) {
		metrics, err := c.Metrics(ctx)
		for _, m := range metrics {
			if m.Fill != nil && m.Fill.State != "done" {
				return false, err
			}
		}
		return err == nil, err
	})
}

func (s *site) doors() []load.Door {
	var doors []load.Door
	for _, k := range s.keys {
		doors = append(doors, load.Door{Host: s.Address, Key: k})
	}
	return doors
}

// record begins or ends the profile, when one was asked for.
func (s *site) record() error {
	if s.profile == "" {
		return nil
	}
	return s.Signal(syscall.SIGUSR1)
}

// close ends the server at once and removes its files.
func (s *site) close() error { return errors.Join(s.Kill(), s.done()) }

// counted is how many events a tenant's built-in metric counts between two whole minutes.
func counted(ctx context.Context, c *client.Client, from, to time.Time) (int, error) {
	q := client.Query{Metric: "events", Agg: "count", Step: "1m", From: from.Truncate(time.Minute), To: to.Truncate(time.Minute).Add(time.Minute)}
	res, err := c.Query(ctx, q)
	return int(res.Totals("")[""]), err
}

const (
	drainLimit = 10 * time.Minute
	drainEvery = 10 * time.Millisecond
)

// await waits until the counts of all tenants that got a load are what was accepted, one after the other, and fails when one is more.
func (s *site) await(ctx context.Context) error {
	for i, want := range s.total {
		c, got := s.tenants[i], 0
		err := poll(ctx, drainLimit, drainEvery, fmt.Sprintf("tenant %d counts %d events", i, want), func() (bool, error) {
			var err error
			got, err = counted(ctx, c, s.from, time.Now().Add(time.Minute))
			if client.StatusOf(err) == http.StatusServiceUnavailable {
				err = nil
			}
			return got >= want, err
		})
		if err != nil {
			return fmt.Errorf("%w (%d so far)", err, got)
		}
		if got != want {
			return fmt.Errorf("tenant %d counts %d events, but %d were sent", i, got, want)
		}
	}
	return nil
}

// poll asks until it is so.
func poll(ctx context.Context, limit, every time.Duration, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done()
		switch {
		case ok && err == nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("waited %s until %s, in vain: %w", limit, what, errors.Join(err, context.DeadlineExceeded))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
