package demo

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Event is one thing that a vendor or the shop tells.
type Event struct {
	Source  string
	ID      string
	Type    string
	Subject string
	At      time.Time
	Data    any // for a vendor with webhooks, all of the webhook's body
}

// object is JSON.
type object = map[string]any

// Traffic is all that the simulated vendors send. Its methods follow from its fields and their arguments only.
type Traffic struct {
	Seed   uint64
	Rate   float64 // 1 is about 25 events a second
	Script Script
	world  *world
}

// NewTraffic makes the traffic of a seed.
func NewTraffic(seed uint64, rate float64, script Script) *Traffic {
	return &Traffic{Seed: seed, Rate: rate, Script: script, world: newWorld()}
}

// flow is a kind of story that begins again and again.
type flow struct {
	name string
	rate float64 // stories a second, all countries together
	day  curve
	tell func(*story)
}

// story is what happens to one customer, message or build.
type story struct {
	*rand.Rand
	*world
	script *Script
	begin  time.Time
	place  *place
	events []Event
}

// emit adds an event, some time after the story's beginning.
func (s *story) emit(after time.Duration, source, id, kind, subject string, data any) {
	s.events = append(s.events, Event{Source: source, ID: id, Type: kind, Subject: subject, At: s.at(after), Data: data})
}

func (s *story) at(after time.Duration) time.Time { return s.begin.Add(after) }

// between is a duration from a range.
func (s *story) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.Int64N(int64(to-from)))
}

// chance is true with the given probability.
func (s *story) chance(p float64) bool { return s.Float64() < p }

// Live is the events of all stories that begin in a second, in the order of their times. They may lie some minutes later.
func (t *Traffic) Live(second time.Time) []Event {
	return t.stories(second.Unix(), func(*flow, *place, time.Time) float64 { return 1 })
}

// Past is the same for a history that is told at now: there are fewer stories the longer ago it is, by the hour of the day.
func (t *Traffic) Past(second, now time.Time) []Event {
	age := now.Sub(second)
	return t.stories(second.Unix(), func(f *flow, p *place, at time.Time) float64 { return density(age, f.day(p.local(at))) })
}

// stories tells those of a second that are kept. Which these are is each story's own draw: where less is kept, it is a
// part of what is kept elsewhere.
func (t *Traffic) stories(second int64, keep func(*flow, *place, time.Time) float64) []Event {
	var out []Event
	for k := range t.world.flows {
		f := &t.world.flows[k]
		n := poisson(dice(t.Seed, f.name+"/count", second, 0), f.rate*t.Rate*restless(t.Seed, f.name, second))
		for i := range n {
			r := dice(t.Seed, f.name, second, int64(i))
			draw, place := r.Float64(), choose(r, t.world.places)
			begin := time.Unix(second, r.Int64N(int64(time.Second))).UTC()
			if draw >= keep(f, place, begin) {
				continue
			}
			s := story{Rand: r, world: t.world, script: &t.Script, begin: begin, place: place}
			f.tell(&s)
			out = append(out, s.events...)
		}
	}
	slices.SortStableFunc(out, func(a, b Event) int { return a.At.Compare(b.At) })
	return out
}
