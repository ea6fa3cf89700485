package lease

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Config is what a Keeper needs.
type Config struct {
	// Name tells this worker from all others, also from one that ran in its place before.
	Name       string
	Partitions int
	// Tell sends a beat to all workers, this one too; each hands what it gets to Hear.
	Tell func(beat []byte) error
	// Run works on a partition until ctx ends, and returns when what it has done is committed.
	Run func(ctx context.Context, partition int)
	// Fit says why this worker cannot work, or nil. One that cannot leaves its partitions to the others.
	Fit func(ctx context.Context) error
	Log *slog.Logger
	Now func() time.Time
}

// Keeper holds this worker's leases.
type Keeper struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	heard   map[string]Member // this worker's own beats too
	since   time.Time         // silence is counted from then on at most: the start, or the end of an own one
	running map[int]*running
	unfit   error
	leaving bool
	begun   time.Time
}

type running struct {
	stop context.CancelFunc
	done chan struct{}
}

// beat is what a worker says of itself.
type beat struct {
	Name    string `json:"name"`
	Holds   []int  `json:"holds"`
	Leaving bool   `json:"leaving,omitempty"`
}

// New makes a Keeper, which holds nothing before Run.
func New(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, wake: make(chan struct{}, 1), heard: map[string]Member{}, running: map[int]*running{}}
}

// Hear takes a beat.
func (k *Keeper) Hear(data []byte) {
	var b beat
	if json.Unmarshal(data, &b) != nil || b.Name == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Now()
	before, known := k.heard[b.Name]
	if b.Name == k.cfg.Name && known && now.Sub(before.Heard) > deaf {
		k.since = now // whatever was silent meanwhile: it was this worker that did not hear
	}
	changed := !known || !slices.Equal(before.Holds, b.Holds)
	if b.Leaving && b.Name != k.cfg.Name {
		delete(k.heard, b.Name)
		changed = known // who says it again and again, because it cannot work, wakes nobody
	} else {
		k.heard[b.Name] = Member{Name: b.Name, Heard: now, Holds: b.Holds}
	}
	if changed {
		k.signal()
	}
}

func (k *Keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Held are the partitions that this worker works on, in order.
func (k *Keeper) Held() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held()
}

func (k *Keeper) held() []int {
	out := make([]int, 0, len(k.running))
	for p := range k.running {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// Members are the workers that there are, by name.
func (k *Keeper) Members() []Member {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Member, 0, len(k.heard))
	for _, m := range k.heard {
		if k.cfg.Now().Sub(m.Heard) <= lost {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	return out
}

// Run takes part until ctx ends. Then it hands over what it holds, and returns.
func (k *Keeper) Run(ctx context.Context) {
	var checks sync.WaitGroup
	checks.Go(func() { k.check(ctx) })
	defer checks.Wait()
	k.mu.Lock()
	k.begun = k.cfg.Now()
	k.since = k.begun
	k.mu.Unlock()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	work := context.WithoutCancel(ctx)
	for {
		k.runOnce(work)
		select {
		case <-ctx.Done():
			k.leave()
			return
		case <-ticker.C:
		case <-k.wake:
		}
	}
}

// check finds out whether this worker can work, until ctx ends.
func (k *Keeper) check(ctx context.Context) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	failed := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, 2*beatEvery)
		err := k.cfg.Fit(bounded)
		cancel()
		if failed++; err == nil || ctx.Err() != nil {
			failed = 0
		} else if failed < 3 {
			continue
		}
		k.mu.Lock()
		before := k.unfit
		k.unfit = err
		k.mu.Unlock()
		switch {
		case err != nil && before == nil:
			k.cfg.Log.Error("this worker cannot work: it leaves its partitions to others", "error.message", err.Error())
			k.signal()
		case err == nil && before != nil:
			k.cfg.Log.Info("this worker can work again")
			k.signal()
		}
	}
}

// runOnce decides, acts, and says so.
func (k *Keeper) runOnce(ctx context.Context) {
	k.mu.Lock()
	now := k.cfg.Now()
	if want, ok := k.decide(now); ok {
		k.act(ctx, want)
	}
	b := beat{Name: k.cfg.Name, Holds: k.held(), Leaving: k.unfit != nil || k.leaving}
	if b.Leaving {
		b.Holds = nil // what is not over yet, the store refuses when others have taken it up
	}
	k.mu.Unlock()
	k.say(b)
}

func (k *Keeper) say(b beat) {
	data, err := json.Marshal(b)
	if err == nil {
		err = k.cfg.Tell(data)
	}
	if err != nil {
		k.cfg.Log.Debug("a beat was not sent", "error.message", err.Error())
	}
}

// decide says what to hold, if anything can be decided; k.mu is held.
func (k *Keeper) decide(now time.Time) (want []int, ok bool) {
	if k.unfit != nil {
		return nil, true
	}
	own, heard := k.heard[k.cfg.Name]
	if !heard || now.Sub(own.Heard) > deaf || now.Sub(k.begun) < settling {
		return nil, false
	}
	members := make([]Member, 0, len(k.heard))
	for name, m := range k.heard {
		if now.Sub(m.Heard) > 10*lost {
			delete(k.heard, name)
			continue
		}
		if m.Heard.Before(k.since) {
			m.Heard = k.since
		}
		if name == k.cfg.Name {
			m.Holds = k.held()
		}
		members = append(members, m)
	}
	return Decide(k.cfg.Name, k.cfg.Partitions, members, now), true
}

// act starts and ends what it takes; k.mu is held.
func (k *Keeper) act(ctx context.Context, want []int) {
	for p, r := range k.running {
		if !slices.Contains(want, p) {
			r.stop()
		}
	}
	for _, p := range want {
		if k.running[p] != nil {
			continue
		}
		k.cfg.Log.Info("this worker takes up a partition", "pulsestream.partition", p)
		r := &running{done: make(chan struct{})}
		ctx, stop := context.WithCancel(ctx)
		r.stop = stop
		k.running[p] = r
		go func() {
			k.cfg.Run(ctx, p)
			stop()
			close(r.done)
			k.mu.Lock()
			delete(k.running, p)
			k.mu.Unlock()
			k.signal()
		}()
	}
}

// leave ends all and says that it has.
func (k *Keeper) leave() {
	k.mu.Lock()
	k.leaving = true
	ending := make([]*running, 0, len(k.running))
	for _, r := range k.running {
		r.stop()
		ending = append(ending, r)
	}
	k.mu.Unlock()
	for _, r := range ending {
		<-r.done
	}
	k.say(beat{Name: k.cfg.Name, Leaving: true})
}
