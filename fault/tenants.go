//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/verify"
)

// What the tenants of this scenario send. With four partitions, calm-2 and the tenant loud share one.
const (
	calmTenants = 4
	calmRate    = 50                     // requests a second of each, of one event
	loudExcess  = 20                     // times its share that the loud tenant sends
	swing       = 500 * time.Millisecond // until it is in full swing
)

// calm is a tenant that sends little, by the clock, and keeps a ledger.
type calm struct {
	name   string
	client *client.Client
	ledger *ledger.Ledger
	mu     sync.Mutex
	took   []time.Duration // of each answer
	turned int             // requests that were refused
	n      int
}

// kind is what happens in a window beside what the calm tenants send.
type kind int

const (
	alone   kind = iota // nothing
	limited             // a tenant sends twenty times the rate that it is limited to
	free                // a tenant without a limit sends several times what the server can do
	kinds
)

// contest is windows of each kind in turn.
type contest struct {
	rig      *rig
	calm     []*calm
	loud     [kinds]loud
	took     [kinds][][]time.Duration
	refused  [kinds]int           // requests of calm tenants
	behind   [kinds]time.Duration // that the calm tenants' events were stored later, at most
	capacity float64
}

// loud is a tenant that sends far too much.
type loud struct {
	client *client.Client
	order  flooding
	total  flooded
}

// loudTenant has one tenant send twenty times its share, and compares what the other tenants have to wait for an answer.
func loudTenant(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	c := &contest{rig: r}
	if err := c.prepare(); err != nil {
		return err
	}
	for range r.times(2, 8) {
		for k := range kinds {
			if err := c.window(k); err != nil {
				return err
			}
		}
	}
	return c.judge()
}

// prepare makes the tenants, once it is known what the server can do.
func (c *contest) prepare() (err error) {
	r := c.rig
	if c.calm, err = r.calmTenants(); err != nil {
		return err
	}
	if err := c.makeLoud(free, client.Tenant{ID: "loud"}); err != nil {
		return err
	}
	measure := feeding(time.Duration(r.times(1200, 5000)) * time.Millisecond)
	measure.Key = c.loud[free].order.Key
	if c.capacity, _, err = r.goodput(&c.loud[free].total, measure); err != nil {
		return err
	}
	share := c.capacity / loudExcess
	if err := c.makeLoud(limited, client.Tenant{ID: "limited", RateLimit: &share}); err != nil {
		return err
	}
	c.loud[limited].order.PerSecond = loudExcess * share / float64(c.loud[limited].order.Events)
	c.loud[free].order.PerSecond = loudExcess * c.capacity / (calmTenants + 1) / float64(c.loud[free].order.Events)
	return r.settle()
}

func (c *contest) makeLoud(k kind, t client.Tenant) error {
	_, key, err := c.rig.target.wait(c.rig.ctx).PutTenant(c.rig.ctx, t)
	if err != nil {
		return err
	}
	order := batch()
	order.Key, order.Connections = key.Secret, crowd
	c.loud[k] = loud{client: client.New(c.rig.base, key.Secret, client.WithHTTPClient(c.rig.http)), order: order}
	return nil
}

// window lets the calm tenants send, and perhaps a loud one, and notes how long the calm ones' answers took.
func (c *contest) window(k kind) error {
	r, l := c.rig, &c.loud[k]
	length := time.Duration(r.times(1200, 5000)) * time.Millisecond
	var result flooded
	var failed error
	var flood sync.WaitGroup
	if k != alone {
		order := l.order
		order.For = length + swing
		flood.Go(func() { result, failed = r.flood(r.ctx, order) })
		pause(r.ctx, swing)
	}
	before := refusals(c.calm)
	took, err := r.send(c.calm, length)
	flood.Wait()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	c.took[k] = append(c.took[k], took)
	c.refused[k] += refusals(c.calm) - before
	l.total.add(result)
	r.result.Faults++
	ended := time.Now()
	for _, t := range c.calm { // what was left behind is not the next window's
		if err := r.settleTenant(t); err != nil {
			return err
		}
	}
	c.behind[k] = max(c.behind[k], time.Since(ended))
	return r.settle()
}

// Bounds of the others' p99 as a multiple of what it is alone: with a limit in the long form as is promised; else such as beside other work
// on two processors.
const (
	promised = 1.1
	bearable = 20
)

func (c *contest) judge() error {
	r := c.rig
	r.result.note("capacity %.0f events/s; %s; %s; the others' p50 and p99 alone are %s and %s", c.capacity,
		c.describe(limited, "a tenant at 20 times its limit, a twentieth of the capacity"), c.describe(free, "a tenant without a limit at 4 times the capacity"),
		typical(c.took[alone], 0.5), typical(c.took[alone], 0.99))
	var errs []error
	for k := range kinds {
		l := &c.loud[k]
		errs = append(errs, l.total.judge())
		if c.refused[k] > 0 {
			errs = append(errs, fmt.Errorf("%d requests of tenants that send little were refused because of one that sends much", c.refused[k]))
		}
		if k != alone {
			errs = append(errs, r.floodOf(&l.total, l.client))
		}
	}
	if p := ratio(c.took[limited], c.took[alone], 0.99); r.long && p > promised || p > bearable {
		errs = append(errs, fmt.Errorf("beside a tenant at 20 times its limit, the others' p99 is %.2f times what it is alone", p))
	}
	for _, t := range c.calm {
		errs = append(errs, r.checkTenant(t))
	}
	return errors.Join(append(errs, r.finishStopped())...)
}

func (c *contest) describe(k kind, what string) string {
	t := &c.loud[k].total
	return fmt.Sprintf("%s: others' p99 %.2f times as long as alone (%s), p50 %.2f times, %d of its %d requests refused, of the others' %d; then all of these are stored %s later", what,
		ratio(c.took[k], c.took[alone], 0.99), typical(c.took[k], 0.99), ratio(c.took[k], c.took[alone], 0.5), t.Turned, t.Requests, c.refused[k], c.behind[k].Round(10*time.Millisecond))
}

func (r *rig) calmTenants() ([]*calm, error) {
	var out []*calm
	for i := range calmTenants {
		t := &calm{name: fmt.Sprintf("calm-%d", i+1)}
		_, key, err := r.target.wait(r.ctx).PutTenant(r.ctx, client.Tenant{ID: t.name})
		if err != nil {
			return nil, err
		}
		t.client = client.New(r.base, key.Secret, client.WithHTTPClient(r.http))
		if t.ledger, err = ledger.Create(filepath.Join(r.scratch, t.name+".jsonl")); err != nil {
			return nil, err
		}
		r.onEnd(t.ledger.Close)
		out = append(out, t)
	}
	return out, nil
}

// send has the calm tenants send for a while.
func (r *rig) send(tenants []*calm, d time.Duration) ([]time.Duration, error) {
	var all sync.WaitGroup
	errs := make([]error, len(tenants))
	for i, t := range tenants {
		t.took = nil
		all.Go(func() { errs[i] = t.send(r.ctx, d) })
	}
	all.Wait()
	var took []time.Duration
	for _, t := range tenants {
		took = append(took, t.took...)
	}
	return took, errors.Join(errs...)
}

func (t *calm) send(ctx context.Context, d time.Duration) error {
	began := time.Now()
	var requests sync.WaitGroup
	var failed error
	for i := range int(d.Seconds() * calmRate) {
		due := began.Add(time.Duration(i) * time.Second / calmRate)
		pause(ctx, time.Until(due))
		e := t.next()
		requests.Go(func() { // the next is sent when it is due, not when this one has been answered
			err := t.post(ctx, e)
			t.mu.Lock()
			defer t.mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	requests.Wait()
	return failed
}

func (t *calm) next() ledger.Event {
	t.n++
	return ledger.Event{ID: fmt.Sprint(t.n), Source: t.name, Type: "calm"}
}

func (t *calm) exchange(ctx context.Context, e ledger.Event) (ledger.Outcome, error) {
	body := fmt.Appendf(nil, `{"id":%q,"source":%q,"type":%q,"data":{"amount":1}}`, e.ID, e.Source, e.Type)
	n := t.ledger.Sending([]ledger.Event{e})
	answer, err := t.client.Exchange(ctx, http.MethodPost, "/v1/events", http.Header{"Content-Type": {"application/json"}}, body)
	outcome, status, rejected := judge(answer, err)
	return outcome, t.ledger.Answered(n, outcome, status, rejected)
}

func (t *calm) post(ctx context.Context, e ledger.Event) error {
	began := time.Now()
	outcome, err := t.exchange(ctx, e)
	took := time.Since(began)
	t.mu.Lock()
	defer t.mu.Unlock()
	if outcome == ledger.Acknowledged {
		t.took = append(t.took, took)
	} else {
		t.turned++
	}
	return err
}

func refusals(tenants []*calm) (n int) {
	for _, t := range tenants {
		n += t.turned
	}
	return n
}

// settleTenant sends one more event of a tenant and waits until it is stored.
func (r *rig) settleTenant(t *calm) error {
	ctx, cancel := context.WithTimeout(r.ctx, settleWithin)
	defer cancel()
	e := t.next()
	err := poll(ctx, 50*time.Millisecond, func() error {
		outcome, err := t.exchange(ctx, e)
		if err == nil && outcome != ledger.Acknowledged {
			err = errNotTaken
		}
		return err
	})
	if err != nil {
		return err
	}
	return poll(ctx, 10*time.Millisecond, func() error {
		_, err := t.client.Event(ctx, e.Source, e.ID)
		return err
	})
}

// checkTenant compares a tenant's ledger with what is stored.
func (r *rig) checkTenant(t *calm) error {
	report, err := verify.Online(r.ctx, verify.OnlineConfig{Client: t.client, Target: t.name, Ledger: t.ledger, Now: time.Now})
	if err != nil {
		return err
	}
	l, all := report.Ledger, &r.result.Ledger
	all.Sent, all.Acknowledged, all.Stored = all.Sent+l.Sent, all.Acknowledged+l.Acknowledged, all.Stored+l.Stored
	all.Lost, all.Doubled, all.Phantom = all.Lost+l.Lost, all.Doubled+l.Doubled, all.Phantom+l.Phantom
	if report.OK {
		return nil
	}
	var b strings.Builder
	if err := report.WriteText(&b); err != nil {
		return err
	}
	return fmt.Errorf("%w: tenant %s\n%s", errViolated, t.name, b.String())
}

// typical is the median of windows' quantiles.
func typical(windows [][]time.Duration, q float64) time.Duration {
	var all []float64
	for _, w := range windows {
		slices.Sort(w)
		all = append(all, float64(w[int(q*float64(len(w)-1))]))
	}
	return time.Duration(median(all)).Round(10 * time.Microsecond)
}

func ratio(a, b [][]time.Duration, q float64) float64 {
	return float64(typical(a, q)) / float64(typical(b, q))
}
