//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/verify"
)

// Time limits of a rig.
const (
	readyWithin  = 60 * time.Second
	settleWithin = 90 * time.Second
)

// rig is what a run of a scenario works with: a server over a data directory, its ledger, and what was measured.
type rig struct {
	ctx     context.Context //nolint:containedctx // a run is one call; every step of it ends with it
	rand    *rand.Rand
	seed    uint64
	scratch string // away from the disk that is broken
	data    string // the data directory
	binary  string
	plain   string // the same without what provokes faults, "" for none
	server  *server
	target  *target
	ledger  *ledger.Ledger
	http    *http.Client
	result  *Result

	long bool   // the long form
	base string // address of the server

	mu       sync.Mutex
	hookPath string
	fences   int
	traffics int
	settings settings
	cleanups []func() error
}

// settings is the ledger of the catalog: versions of one resource.
type settings struct{ sent, acknowledged int }

// Result is what a run measured.
type Result struct {
	Faults   int
	Detected int
	// Outcomes count what became of damage; NamedLost are events that were lost by it and named.
	Outcomes  map[string]int
	NamedLost int
	Ready     []time.Duration // from starting the process until it takes events
	Resumed   []time.Duration // from a fault's end until events are taken again, without a restart
	Asked     int             // questions that had to be answered rightly all the while
	Slowest   time.Duration   // answer to one
	Ledger    verify.LedgerResult
	Wrong     uint64 // violations of any other kind: rollups above all
	Notes     []string
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func newRig(ctx context.Context, scratch, binary string, seed uint64) (*rig, error) {
	r := &rig{ctx: ctx, seed: seed, scratch: scratch, binary: binary, target: newTarget(), result: &Result{},
		rand: rand.New(rand.NewPCG(seed, 0xfa017)), //nolint:gosec // chance by a seed is the point
		http: &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}}
	r.data = filepath.Join(scratch, "data")
	log, err := newServerLog(filepath.Join(scratch, "server.log"))
	if err != nil {
		return nil, err
	}
	r.onEnd(log.close)
	if r.ledger, err = ledger.Create(filepath.Join(scratch, "ledger.jsonl")); err != nil {
		return nil, errors.Join(err, r.end())
	}
	r.onEnd(r.ledger.Close)
	r.server = &server{binary: binary, dir: r.data, log: log}
	return r, nil
}

func (r *rig) onEnd(f func() error) { r.cleanups = append(r.cleanups, f) }

// end gives everything back, last in, first out.
func (r *rig) end() error {
	r.server.kill()
	var errs []error
	for _, f := range slices.Backward(r.cleanups) {
		errs = append(errs, f())
	}
	r.cleanups = nil
	r.http.CloseIdleConnections()
	return errors.Join(errs...)
}

// between is a random duration.
func (r *rig) between(low, high time.Duration) time.Duration {
	return low + time.Duration(r.rand.Int64N(int64(high-low)+1))
}

func (r *rig) client(base string) *client.Client {
	return client.New(base, adminKey, client.WithHTTPClient(r.http))
}

// start starts the server and waits until it takes events.
func (r *rig) start() error {
	began := time.Now()
	p, err := r.server.spawn()
	if err != nil {
		return err
	}
	base, err := p.awaitReady(r.ctx, readyWithin)
	if err != nil {
		return err
	}
	r.result.Ready = append(r.result.Ready, time.Since(began))
	r.base = base
	r.target.set(r.client(base))
	return nil
}

// times is how often something is done within a run.
func (r *rig) times(short, long int) int {
	if r.long {
		return long
	}
	return short
}

// gone says to everybody that there is no server now.
func (r *rig) gone() { r.target.set(nil) }

// kill ends the server at once.
func (r *rig) kill() {
	r.server.kill()
	r.gone()
	r.result.Faults++
}

// setUp starts the first server and configures what is checked: a metric with a value and a vendor's source.
func (r *rig) setUp() error {
	if err := r.start(); err != nil {
		return err
	}
	return r.configure()
}

func (r *rig) configure() error {
	c := r.target.wait(r.ctx)
	_, err := c.PutMetric(r.ctx, client.Metric{Slug: "amounts", EventTypes: []string{"fault.order"}, Value: "data.amount", Dimensions: map[string]string{"region": "data.region", "source": "source"}})
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	s, err := c.PutSource(r.ctx, hookSource, "stripe", hookSecret)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.hookPath = u.Path
	r.mu.Unlock()
	return nil
}

func (r *rig) hook() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hookPath
}

// writePoisoned sets writers going that send events now and then which a stage cannot process.
func (r *rig) writePoisoned(l load) *traffic {
	l.poison = true
	return r.write(l)
}

// write sets writers going.
func (r *rig) write(l load) *traffic {
	r.traffics++
	t := &traffic{load: l, seed: r.rand.Uint64(), name: strconv.Itoa(r.traffics), target: r.target, ledger: r.ledger, hook: r.hook}
	t.start(r.ctx)
	return t
}

// change changes something in the catalog once, and remembers what it was told.
func (r *rig) change() {
	c := r.target.wait(r.ctx)
	if c == nil {
		return
	}
	r.settings.sent++
	m := client.Metric{Slug: "version", EventTypes: []string{"fault.none"}, Description: strconv.Itoa(r.settings.sent)}
	if _, err := c.PutMetric(r.ctx, m); err == nil {
		r.settings.acknowledged = r.settings.sent
	}
}

// wantSettings checks that the catalog is as was acknowledged.
func (r *rig) wantSettings() error {
	if r.settings.acknowledged == 0 {
		return nil
	}
	m, err := r.target.wait(r.ctx).Metric(r.ctx, "version")
	if err != nil {
		return fmt.Errorf("a change of the catalog was acknowledged and is lost: %w", err)
	}
	if n, err := strconv.Atoi(m.Description); err != nil || n < r.settings.acknowledged || n > r.settings.sent {
		return fmt.Errorf("the catalog is at version %q, acknowledged was %d of %d", m.Description, r.settings.acknowledged, r.settings.sent)
	}
	return nil
}

// settle sends one more event and waits until it is stored: a tenant's events are worked off in order, so then all are.
func (r *rig) settle() error {
	ctx, cancel := context.WithTimeout(r.ctx, settleWithin)
	defer cancel()
	c := r.target.wait(ctx)
	r.fences++
	e := outgoing{Event: ledger.Event{ID: "fence-" + strconv.Itoa(r.fences), Source: "fault", Type: "fault.fence", Time: time.Now().UTC()}, data: "null"}
	body := fmt.Appendf(nil, `{"id":%q,"source":%q,"type":%q,"time":%q}`, e.ID, e.Source, e.Type, e.Time.Format(time.RFC3339Nano))
	err := poll(ctx, 20*time.Millisecond, func() error {
		n := r.ledger.Sending([]ledger.Event{e.Event})
		answer, err := c.Exchange(ctx, http.MethodPost, "/v1/events", http.Header{"Content-Type": {"application/json"}}, body)
		outcome, status, rejected := judge(answer, err)
		if err := r.ledger.Answered(n, outcome, status, rejected); err != nil {
			return err
		}
		if outcome != ledger.Acknowledged {
			return fmt.Errorf("%w: %s", errNotTaken, describe(answer, err))
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = poll(ctx, 10*time.Millisecond, func() error {
		_, err := c.Event(ctx, e.Source, e.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("the backlog is not worked off within %s: %w%s", settleWithin, err, r.lag(c))
	}
	return poll(ctx, 20*time.Millisecond, func() error { return filled(ctx, c) })
}

// filled says whether all metrics are computed from stored events.
func filled(ctx context.Context, c *client.Client) error {
	metrics, err := c.Metrics(ctx)
	for _, m := range metrics {
		if m.Fill != nil && m.Fill.State != "done" {
			return fmt.Errorf("metric %s is not filled within %s", m.Slug, settleWithin)
		}
	}
	return err
}

func describe(answer *client.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", answer.Status, clip(string(answer.Body), 200))
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// lag is what the server says of its backlog, for an error message.
func (r *rig) lag(c *client.Client) string {
	answer, err := c.Exchange(context.WithoutCancel(r.ctx), http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return ""
	}
	var out []string
	for l := range strings.Lines(string(answer.Body)) {
		if strings.HasPrefix(l, "pulsestream_log_lag_messages") || strings.HasPrefix(l, "pulsestream_process_failures_total") {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// errViolated is returned when the promise was broken.
var errViolated = errors.New("the promise is broken")

// check waits until everything is worked off and compares all of it.
func (r *rig) check() error { return r.checkWith(nil) }

func (r *rig) checkWith(losses verify.Losses) error {
	if err := r.settle(); err != nil {
		return err
	}
	report, err := r.verify(losses)
	if err != nil {
		return err
	}
	return errors.Join(r.judge(report), r.wantSettings())
}

// afterwards ends the writers after a fault and checks. A server that only went on after a restart is checked as well.
func (r *rig) afterwards(t *traffic, fault error) error {
	err := errors.Join(fault, t.stop())
	if err != nil && !errors.Is(err, errStuck) || !r.server.proc.alive() {
		return err
	}
	return errors.Join(err, r.check())
}

// verify compares all that is there with the ledger. While the server says that it is rebuilding a part of its store, which the event that was
// waited for need not lie in, it asks again.
func (r *rig) verify(losses verify.Losses) (report *verify.Report, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, settleWithin)
	defer cancel()
	var failed error
	err = poll(ctx, 50*time.Millisecond, func() error {
		report, failed = verify.Online(r.ctx, verify.OnlineConfig{Client: r.target.wait(r.ctx), Target: "the server", Ledger: r.ledger, Losses: losses, Now: time.Now})
		if errors.Is(failed, client.ErrIncomplete) {
			return failed
		}
		return nil
	})
	if err == nil {
		err = failed
	}
	return report, err
}

func (r *rig) judge(report *verify.Report) error {
	l := report.Ledger
	bad := uint64(l.Lost + l.Doubled + l.Phantom) //nolint:gosec // counts
	r.result.Ledger = *l
	r.result.Wrong += report.Violations() - min(bad, report.Violations())
	if report.OK {
		return nil
	}
	var b strings.Builder
	if err := report.WriteText(&b); err != nil {
		return err
	}
	return fmt.Errorf("%w\n%s", errViolated, b.String())
}

// preserve copies data that lie on a disk of their own, which goes with the run, so that a failure can be looked into.
func (r *rig) preserve() error {
	r.server.kill()
	if filepath.Dir(r.data) == r.scratch {
		return nil
	}
	if _, err := os.Stat(r.data); err != nil {
		return nil //nolint:nilerr // nothing was made yet
	}
	return copyTree(r.data, filepath.Join(r.scratch, "data"))
}

// copyTree copies a directory.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(dst, 0o700)
		case !d.Type().IsRegular():
			return nil // a socket, which belongs to a process that is gone
		}
		return copyFile(path, dst)
	})
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
