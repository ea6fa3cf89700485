package demo

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

// monday is noon of a Monday in London.
func monday() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// told is the live events of all stories that begin within a stretch of time.
func told(tr *Traffic, from time.Time, lasts time.Duration) []Event {
	var out []Event
	for at := from; at.Before(from.Add(lasts)); at = at.Add(time.Second) {
		out = append(out, tr.Live(at)...)
	}
	return out
}

func count(events []Event, is func(*Event) bool) (n int) {
	for i := range events {
		if is(&events[i]) {
			n++
		}
	}
	return n
}

type identity struct{ source, id string }

func TestASecondIsTheSameTrafficWhenItIsAskedForAgain(t *testing.T) {
	a, b := NewTraffic(1, 1, Script{}), NewTraffic(1, 1, Script{})
	told(b, monday().Add(time.Hour), time.Minute) // what was asked before makes no difference
	first, second := told(a, monday(), time.Minute), told(b, monday(), time.Minute)
	if len(first) == 0 || !reflect.DeepEqual(first, second) {
		t.Errorf("%d and %d events, which are not the same", len(first), len(second))
	}
	if other := told(NewTraffic(2, 1, Script{}), monday(), time.Minute); reflect.DeepEqual(first, other) {
		t.Error("another seed has the same traffic")
	}
}

func TestIDsAreUnique(t *testing.T) {
	seen := map[identity]bool{}
	for _, e := range told(NewTraffic(1, 1, Script{}), monday(), 20*time.Minute) {
		k := identity{e.Source, e.ID}
		if e.ID == "" || seen[k] {
			t.Fatalf("%s %s %q is there twice", e.Source, e.Type, e.ID)
		}
		seen[k] = true
	}
}

func TestAnEventHappensWithinMinutesOfItsStory(t *testing.T) {
	tr := NewTraffic(1, 1, Script{})
	for i := range 600 {
		second := monday().Add(time.Duration(i) * time.Second)
		last := second
		for _, e := range tr.Live(second) {
			if e.At.Before(last) || e.At.After(second.Add(10*time.Minute)) {
				t.Fatalf("%s at %s, in the story of %s behind one at %s", e.Type, e.At, second, last)
			}
			last = e.At
		}
	}
}

func TestLiveTrafficIsRestlessAroundItsRate(t *testing.T) {
	tr := NewTraffic(1, 1, Script{})
	const minutes = 30
	total, least, most := 0, math.MaxInt, 0
	for m := range minutes {
		n := len(told(tr, monday().Add(time.Duration(m)*time.Minute), time.Minute))
		total, least, most = total+n, min(least, n), max(most, n)
	}
	if rate := float64(total) / minutes / 60; rate < 22 || rate > 30 {
		t.Errorf("%.1f events a second, want about 25", rate)
	}
	if least < 15*60 || most > 60*60 || float64(most) < 1.2*float64(least) {
		t.Errorf("from %d to %d events a minute", least, most)
	}
	doubled := len(told(NewTraffic(1, 2, Script{}), monday(), 10*time.Minute))
	if ratio := float64(doubled) / float64(len(told(tr, monday(), 10*time.Minute))); ratio < 1.8 || ratio > 2.2 {
		t.Errorf("twice the rate makes %.2f times the events", ratio)
	}
}

func TestEverySourceTellsOften(t *testing.T) {
	events := told(NewTraffic(1, 1, Script{}), monday(), 5*time.Minute)
	for _, source := range []string{stripeSource, githubSource, twilioSource, sendgridSource, shopSource} {
		if n := count(events, func(e *Event) bool { return e.Source == source }); n < 300 {
			t.Errorf("%s told %d events in 5 minutes", source, n)
		}
	}
}

func TestTheHistoryIsAPartOfWhatWouldHaveBeenLive(t *testing.T) {
	tr := NewTraffic(1, 1, Script{})
	for _, c := range []struct {
		age         time.Duration
		least, most float64 // share of the live events
	}{
		{time.Minute, 1, 1},
		{denseFor, 1, 1},
		{denseFor + ramp, 0.3, 0.45},
		{12 * time.Hour, 0.0005, 0.05},
	} {
		live := map[identity]Event{}
		kept := 0
		for i := range 240 {
			second := monday().Add(time.Duration(i) * time.Second)
			for _, e := range tr.Live(second) {
				live[identity{e.Source, e.ID}] = e
			}
			for _, e := range tr.Past(second, second.Add(c.age)) {
				kept++
				if !reflect.DeepEqual(live[identity{e.Source, e.ID}], e) {
					t.Fatalf("%s ago: %s %s is not what would have been live", c.age, e.Type, e.ID)
				}
			}
		}
		if share := float64(kept) / float64(len(live)); share < c.least || share > c.most {
			t.Errorf("%s ago: %.3f of the events, want %.3f to %.3f", c.age, share, c.least, c.most)
		}
	}
}

func TestTheHistoryFollowsTheDay(t *testing.T) {
	tr := NewTraffic(1, 30, Script{}) // enough to count
	// in counts what is kept of a quarter of an hour, all looked at from equally long after.
	in := func(from time.Time, is func(*Event) bool) (n int) {
		for i := range 900 {
			second := from.Add(time.Duration(i) * time.Second)
			n += count(tr.Past(second, second.Add(12*time.Hour)), is)
		}
		return n
	}
	american := func(e *Event) bool {
		data, _ := e.Data.(object)
		return e.Source == shopSource && data["country"] == "US"
	}
	british := func(e *Event) bool {
		data, _ := e.Data.(object)
		return e.Source == shopSource && data["country"] == "GB"
	}
	github := func(e *Event) bool { return e.Source == githubSource }
	day := func(d, h int) time.Time { return time.Date(2026, 3, d, h, 0, 0, 0, time.UTC) } // the 2nd is a Monday
	for _, c := range []struct {
		what        string
		is          func(*Event) bool
		busy, quiet time.Time
	}{
		{"Britain shops in the evening and sleeps at night", british, day(3, 20), day(3, 3)},
		{"America's evening is Europe's night", american, day(4, 2), day(3, 10)},
		{"developers work on weekdays", github, day(3, 15), day(7, 15)},
		{"developers work by day", github, day(3, 15), day(3, 4)},
	} {
		if busy, quiet := in(c.busy, c.is), in(c.quiet, c.is); busy < 3*quiet || quiet == 0 {
			t.Errorf("%s: %d and %d", c.what, busy, quiet)
		}
	}
}

func TestCurvesAreShares(t *testing.T) {
	for name, c := range map[string]curve{"shopping": shopping, "working": working, "mailing": mailing} {
		for m := range 7 * 24 * 60 {
			at := monday().Add(time.Duration(m) * time.Minute)
			v, next := c(at), c(at.Add(time.Minute))
			if v <= 0 || v > 1 {
				t.Fatalf("%s is %f at %s", name, v, at)
			}
			if midnight := at.Hour() == 23 && at.Minute() == 59; !midnight && math.Abs(next-v) > 0.02 {
				t.Fatalf("%s jumps from %f to %f at %s", name, v, next, at)
			}
		}
	}
}

func TestEveryEventCanBeSent(t *testing.T) {
	for _, e := range told(NewTraffic(1, 1, Script{}), monday(), 10*time.Minute) {
		b, err := json.Marshal(e.Data)
		if err != nil || len(b) > 8<<10 || e.Type == "" || e.At.Location() != time.UTC {
			t.Fatalf("%s: %v, %d bytes", e.Type, err, len(b))
		}
	}
}
