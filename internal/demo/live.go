package demo

import (
	"context"
	"slices"
	"time"
)

// beat is how often what has happened is sent.
const beat = 250 * time.Millisecond

// schedule is what has been told and not been sent: stories are told a second at a time.
type schedule struct {
	traffic *Traffic
	next    time.Time // the first second that was not told yet
	later   []Event   // in the order of their times
}

func newSchedule(t *Traffic, from time.Time, later []Event) *schedule {
	s := &schedule{traffic: t, next: from, later: later}
	s.sort()
	return s
}

func (s *schedule) sort() {
	slices.SortStableFunc(s.later, func(a, b Event) int { return a.At.Compare(b.At) })
}

// catchUp is how far back due goes. A machine that slept over night does not wake up to a night's traffic.
const catchUp = 2 * time.Minute

// due is what has happened up to now and was not returned before.
func (s *schedule) due(now time.Time) []Event {
	if earliest := now.Add(-catchUp).Truncate(time.Second); s.next.Before(earliest) {
		s.next = earliest
	}
	if !s.next.After(now) {
		for ; !s.next.After(now); s.next = s.next.Add(time.Second) {
			s.later = append(s.later, s.traffic.Live(s.next)...)
		}
		s.sort()
	}
	n, _ := slices.BinarySearchFunc(s.later, now, func(e Event, now time.Time) int {
		if e.At.After(now) {
			return 1
		}
		return -1
	})
	out := slices.Clone(s.later[:n])
	s.later = slices.Delete(s.later, 0, n)
	return out
}

// live sends what happens as it happens, until ctx ends.
func (d *Demo) live(ctx context.Context, s *schedule) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var (
		broken    *Outage
		sent      int
		complaint time.Time
		tally     = s.next // what has happened since the history was told is sent first
	)
	for ctx.Err() == nil {
		now := d.cfg.Now()
		broken = d.tellOutage(broken, now)
		c := d.doors.carrier(ctx, stripeSource, githubSource)
		events := s.due(now)
		for i := range events {
			c.take(events[i])
		}
		if err := c.wait(); err == nil {
			sent += len(events)
		} else if ctx.Err() == nil && now.Sub(complaint) > 10*time.Second {
			complaint = now
			d.out.line(bad, "Events could not be sent: %v", err)
		}
		if since := now.Sub(tally); since >= d.cfg.Tally {
			d.out.line(plain, "%s events in the last %s, %.0f a second", thousands(sent), about(since), float64(sent)/since.Seconds())
			sent, tally = 0, now
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// tellOutage says when a vendor breaks, and when it works again.
func (d *Demo) tellOutage(before *Outage, now time.Time) *Outage {
	o, broken := d.cfg.Script.At(now)
	switch {
	case broken && (before == nil || !before.From.Equal(o.From)):
		d.out.line(bad, "%s. (For %s. On the page: %s.)", o.what, about(d.cfg.Script.Lasts), o.watch)
		return &o
	case !broken && before != nil:
		d.out.line(good, "%s. Next, at %s: %s.", before.over, d.out.clock(d.next(now).From), d.next(now).plan)
		return nil
	}
	return before
}

// next is the first outage that begins after now.
func (d *Demo) next(now time.Time) Outage {
	for n := 0; ; n++ {
		if o := d.cfg.Script.Turn(n); o.From.After(now) {
			return o
		}
	}
}
