package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// Config is what a demo needs. URL and Key are required; what else is missing has a default.
type Config struct {
	URL    string // of the server, such as http://127.0.0.1:8080
	Key    string // an administrator's
	Out    io.Writer
	Rich   bool // Out is a terminal
	Client *client.Client
	Now    func() time.Time

	Seed    uint64
	Rate    float64       // of traffic; 1 is about 25 events a second
	History time.Duration // how far it goes back; 24 hours when 0, none when negative
	Script  Script        // one minute, then three minutes of every five when its First is zero
	Tally   time.Duration // how often the console says how much was sent
	// Notify is whether a program on this machine shall be told of incidents. The server has to be allowed to reach 127.0.0.1.
	Notify bool
}

func (c Config) withDefaults() Config {
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		c.Client = client.New(c.URL, c.Key)
	}
	if c.Seed == 0 {
		c.Seed = 20
	}
	if c.Rate == 0 {
		c.Rate = 1
	}
	if c.History == 0 {
		c.History = 24 * time.Hour
	}
	if c.Script.Lasts == 0 {
		c.Script.Lasts, c.Script.Pause = 3*time.Minute, 2*time.Minute
	}
	if c.Tally == 0 {
		c.Tally = time.Minute
	}
	return c
}

// Demo is a running demo.
type Demo struct {
	cfg      Config
	out      *console
	traffic  *Traffic
	doors    doors
	receiver *receiver
}

// Run sends simulated traffic to a server until ctx ends, and says what happens. It returns nil when ctx ended it.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	d := &Demo{cfg: cfg, out: &console{w: cfg.Out, rich: cfg.Rich, now: cfg.Now}}
	err := d.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (d *Demo) run(ctx context.Context) error {
	if err := d.connect(ctx); err != nil {
		return err
	}
	d.welcome()
	start := d.cfg.Now().Truncate(time.Second)
	d.traffic = NewTraffic(d.cfg.Seed, d.cfg.Rate, d.cfg.Script)
	from, err := d.begin(ctx, start)
	if err != nil {
		return err
	}
	later, err := d.history(ctx, from, start)
	if err != nil {
		return err
	}
	if d.cfg.Notify {
		if d.receiver, err = newReceiver(ctx, d.notified); err != nil {
			return fmt.Errorf("listen for notifications: %w", err)
		}
		defer d.receiver.close()
	}
	// Only now: a rule that is made later need not look at all the history.
	if err := d.watchOver(ctx); err != nil {
		return err
	}
	d.plan()
	d.traffic.Script = d.cfg.Script
	var following sync.WaitGroup
	following.Go(func() { d.follow(ctx) })
	d.live(ctx, newSchedule(d.traffic, start, later))
	following.Wait()
	return ctx.Err()
}

// notified says that the receiver was told of an incident.
func (d *Demo) notified(kind string, verified bool) {
	if verified {
		d.out.line(plain, "The channel %s got the webhook %s, whose signature is right.", channelSlug, kind)
		return
	}
	d.out.line(bad, "The channel %s got the webhook %s, whose signature is WRONG.", channelSlug, kind)
}

func (d *Demo) welcome() {
	base := strings.TrimRight(d.cfg.URL, "/")
	d.out.text("\n%s is running, with simulated traffic of Stripe, GitHub, Twilio, SendGrid and a shop.\n", d.out.bold("PulseStream"))
	d.out.text("  Open this link, which signs you in:\n\n      %s\n", d.out.bold(base+"/#key="+url.QueryEscape(d.cfg.Key)))
	d.out.text("  Or open %s and sign in with the API key\n\n      %s\n", base, d.out.bold(d.cfg.Key))
	d.out.text("  The API is described at %s/docs; stop with Ctrl-C.\n", base)
}

// plan fixes when the first vendor breaks, if that is not fixed yet, and says what will happen.
func (d *Demo) plan() {
	now := d.cfg.Now()
	s := &d.cfg.Script
	if s.First.IsZero() {
		jitter := dice(d.cfg.Seed, "first outage", now.Unix(), 0).Int64N(int64(14 * time.Second))
		s.First = now.Add(53*time.Second + time.Duration(jitter))
	}
	d.out.text("\nWhat will happen:\n")
	for n := range troubles() {
		o := s.Turn(n)
		d.out.text("  %s  %s%s", d.out.clock(o.From), strings.ToUpper(o.plan[:1])+o.plan[1:],
			[]string{" (in " + about(o.From.Sub(now)) + "); within seconds the rule " + o.rule + " fires", ""}[min(n, 1)])
		if n == 0 {
			d.out.text("  %s  It is over; the incident resolves within half a minute", d.out.clock(o.To))
		}
	}
	d.out.text("  … and so on, around and around: each lasts %s.\n", about(s.Lasts))
}
