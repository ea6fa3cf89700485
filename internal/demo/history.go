package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// begin is the first second of the history that the server doesn't have yet: of an earlier demo it has what came until then.
func (d *Demo) begin(ctx context.Context, now time.Time) (time.Time, error) {
	begin := now.Add(-d.cfg.History)
	newest, _, err := d.cfg.Client.Events(ctx, client.EventQuery{Limit: 1})
	if err != nil {
		return begin, fmt.Errorf("look for earlier events: %w", err)
	}
	if len(newest) > 0 && newest[0].Time.After(begin) {
		begin = newest[0].Time.Add(time.Second) // the stories of its second were told
	}
	return begin.Truncate(time.Second), nil
}

// history sends what happened before now, and returns what its stories have yet to tell.
func (d *Demo) history(ctx context.Context, from, now time.Time) ([]Event, error) {
	seconds := int(now.Sub(from) / time.Second)
	if seconds <= 1 {
		return nil, nil
	}
	span := about(now.Sub(from))
	before, err := d.counted(ctx, from, now)
	if err != nil {
		return nil, err
	}
	started := d.cfg.Now()
	// GitHub's webhooks have no time, so its past comes the other way.
	c := d.doors.carrier(ctx, stripeSource)
	var later []Event
	sent := 0
	for i := range seconds {
		for _, ev := range d.traffic.Past(from.Add(time.Duration(i)*time.Second), now) {
			if !ev.At.Before(now) {
				later = append(later, ev)
				continue
			}
			c.take(ev)
			sent++
		}
		if c.failed() != nil || ctx.Err() != nil {
			break
		}
		if i%600 == 0 {
			d.out.progress("Sending the last %s of traffic … %d %%, %s events", span, 100*i/seconds, thousands(sent))
		}
	}
	if err := c.wait(); err != nil {
		return nil, fmt.Errorf("send the history: %w", err)
	}
	d.out.progress("Sending the last %s of traffic … sent, %s events; the charts are being computed", span, thousands(sent))
	if err := d.settled(ctx, from, now, before+sent); err != nil {
		return nil, err
	}
	note := ""
	if now.Sub(from) > denseFor {
		note = " (What is older than " + about(denseFor) + " is thinned out.)"
	}
	d.out.text("Sent the last %s of traffic: %s events in %.1f s.%s", span, thousands(sent), d.cfg.Now().Sub(started).Seconds(), note)
	return later, nil
}

// counted is how many events of a stretch of time are in the charts.
func (d *Demo) counted(ctx context.Context, from, to time.Time) (int, error) {
	r, err := d.cfg.Client.Query(ctx, client.Query{Metric: "events", Agg: "count", From: from.Truncate(time.Minute), To: to.Add(time.Minute), Step: "1h"})
	if err != nil {
		return 0, fmt.Errorf("count the events: %w", err)
	}
	return int(r.Totals("")[""]), nil
}

// settled waits until the charts have all that was sent, or get no more: where an earlier demo had told some of it already,
// that is not counted twice.
func (d *Demo) settled(ctx context.Context, from, to time.Time, want int) error {
	const still = 15 // looks in a row that found nothing new
	for last, same := -1, 0; same < still; same++ {
		n, err := d.counted(ctx, from, to)
		if err != nil {
			return err
		}
		if n >= want {
			return nil
		}
		if n != last {
			last, same = n, 0
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// pause waits, and says whether it could to the end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
