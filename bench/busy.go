package bench

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// Busy says how far a chart of all the load is behind. It gets one frame a step of one second, so just before a frame it is behind by
// that and the pipeline; at a frame by the pipeline only.
type Busy struct {
	Frames int     `json:"frames"`
	Before Latency `json:"oldest_not_shown_before_frame"`
	At     Latency `json:"oldest_not_shown_at_frame"`
}

// busyFrame is the load's events that a frame shows, and when it came.
type busyFrame struct {
	at    time.Time
	shown float64
}

type busyChart struct {
	mu     sync.Mutex
	steps  map[int64]float64
	frames []busyFrame
}

// watchBusy follows the chart of the load. The load's metric is this run's own, so the chart begins at 0.
func (r *run) watchBusy(ctx context.Context) (*busyChart, *client.Live, error) {
	b := &busyChart{steps: map[int64]float64{}}
	sub := client.Subscription{ID: "busy", Metric: r.metric(), Agg: "count", Step: "1s", Since: "15m"}
	socket, err := r.follow(ctx, []client.Subscription{sub}, func(f *client.Frame, at time.Time) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.frames = append(b.frames, busyFrame{at, countOf(f, b.steps)})
	})
	return b, socket, err
}

func (b *busyChart) result(log []sent) Busy {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.frames) == 0 {
		return Busy{}
	}
	before, at := behind(b.frames, log)
	return Busy{Frames: len(b.frames), Before: LatencyOf(before), At: LatencyOf(at)}
}

// behind computes how old the oldest event not shown was, just before each frame but the first, and at it. Events are taken to
// be shown in the order in which they were sent, which is nearly so. Frames after the end of the load say nothing.
func behind(frames []busyFrame, log []sent) (before, at []time.Duration) {
	log = slices.Clone(log)
	slices.SortFunc(log, func(a, b sent) int { return a.at.Compare(b.at) })
	age := func(now time.Time, shown float64) time.Duration {
		for _, s := range log {
			if shown -= float64(s.events); shown < 0 {
				return max(0, now.Sub(s.at))
			}
		}
		return 0
	}
	if len(log) == 0 {
		return nil, nil
	}
	end := log[len(log)-1].at
	for i, f := range frames[1:] {
		if f.at.After(end) {
			break
		}
		before = append(before, age(f.at, frames[i].shown))
		at = append(at, age(f.at, f.shown))
	}
	return before, at
}
