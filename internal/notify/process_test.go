package notify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
)

func TestKilledProcessLeavesExactlyWhatIsLeft(t *testing.T) {
	r := newRig(t, Config{Concurrency: 1, PerChannel: 1})
	r.channel("acme", "ops")
	for n := range 10 {
		r.history.commit(fired(fmt.Sprint("inc-", n), "ops"))
	}
	// The fourth attempt never ends: the process is killed during it.
	attempts := new(atomic.Int32)
	reached, killed := make(chan struct{}), make(chan struct{})
	r.hook.set(func(context.Context, Message) Outcome {
		if attempts.Add(1) == 4 {
			close(reached)
			<-killed
			panic("the process is no more")
		}
		return Outcome{}
	})
	if _, err := r.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-reached
	first := r.hook.messages()
	dead := r.Notifier
	dead.mu.Lock()
	dead.stopping = true // nothing more of it
	dead.mu.Unlock()
	r.restart()
	close(killed)
	dead.attempts.Wait()
	r.hook.set(nil)
	r.hook.messages()

	if res := r.run(); res.Claimed != 0 {
		t.Fatal("claimed before the leases of the dead process ended")
	}
	r.clock.advance(2 * time.Minute)
	r.run()
	seen := map[string]int{}
	for _, m := range append(first, r.hook.messages()...) {
		seen[m.Transition.Incident]++
	}
	for n := range 10 {
		if seen[fmt.Sprint("inc-", n)] != 1 {
			t.Errorf("%v", seen)
			break
		}
	}
	if len(first) != 3 {
		t.Errorf("%d before the kill", len(first))
	}
}

func TestStopFreesWhatWaitsAtOnce(t *testing.T) {
	r := newRig(t, Config{Concurrency: 1, PerChannel: 1})
	r.channel("acme", "ops")
	for n := range 5 {
		r.history.commit(fired(fmt.Sprint("inc-", n), "ops"))
	}
	reached, release := make(chan struct{}), make(chan struct{})
	r.hook.set(func(context.Context, Message) Outcome {
		close(reached)
		<-release
		return Outcome{}
	})
	if _, err := r.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-reached
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(context.WithoutCancel(t.Context())) }()
	eventually(t, "what waits is freed", func() bool { return r.Stats().Waiting == 0 })
	close(release)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	r.hook.set(nil)
	r.restart()
	if res := r.run(); res.Claimed != 4 || len(r.hook.messages()) != 5 {
		t.Errorf("%+v", res)
	}
}

func TestStopIsBoundedAndWhatItBreaksOffIsSentAgain(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.history.commit(fired("inc-1", "ops"))
	reached := make(chan struct{})
	r.hook.set(func(ctx context.Context, _ Message) Outcome {
		close(reached)
		<-ctx.Done()
		return Failed(ctx.Err(), 0)
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := r.Start(t.Context()); err == nil {
		t.Error("started again")
	}
	r.hook.set(nil)
	r.restart()
	r.run()
	if j := r.onlyJob("acme"); j.State != store.JobDone {
		t.Errorf("%+v", j)
	}
}

func TestHangingChannelsHoldUpNobody(t *testing.T) {
	r := newRig(t, Config{Concurrency: 8, PerTenant: 4, PerChannel: 2})
	r.channel("acme", "hang", "fine")
	r.channel("other", "fine")
	for n := range 100 {
		r.history.commit(fired(fmt.Sprint("inc-", n), "hang"))
	}
	r.history.commit(fired("last", "fine"), transition("other", "last", alert.PhaseFiring, "fine"))
	release := make(chan struct{})
	hanging := new(atomic.Int32)
	r.hook.set(func(_ context.Context, m Message) Outcome {
		if m.Channel.Slug == "hang" {
			hanging.Add(1)
			<-release
			return Failed(errDown, 0)
		}
		return Outcome{}
	})
	if _, err := r.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the channels that answer get theirs", func() bool { return r.Stats().Delivered == 2 })
	if n := hanging.Load(); n > 2 {
		t.Errorf("%d in flight of one channel", n)
	}
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	close(release)
	r.attempts.Wait()
}

func TestLeasesOfTheWaitingAreKept(t *testing.T) {
	r := newRig(t, Config{Concurrency: 1, PerChannel: 1})
	r.channel("acme", "slow")
	r.history.commit(fired("inc-1", "slow"), fired("inc-2", "slow"))
	release := make(chan struct{})
	r.hook.set(func(context.Context, Message) Outcome {
		<-release
		return Outcome{}
	})
	for range 3 {
		if _, err := r.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock.advance(20 * time.Second)
	}
	// A minute on, the first leases have ended: that of the job in flight is not renewed, since no attempt lasts that long.
	jobs, err := r.catalog.Queue().Claim(t.Context(), r.clock.now(), time.Minute, 10)
	if err != nil || len(jobs) != 1 || jobs[0].Incident != "inc-1" {
		t.Fatalf("%+v %v", jobs, err)
	}
	close(release)
	r.attempts.Wait()
	if n := r.Stats().Delivered; n != 2 {
		t.Errorf("%d delivered", n)
	}
}

func TestTwoProcessesOnOneQueueShareTheWork(t *testing.T) {
	r := newRig(t, Config{Page: 7})
	r.channel("acme", "a", "b", "c")
	for n := range 40 {
		r.history.commit(fired(fmt.Sprint("inc-", n), "a", "b", "c"))
	}
	others := []*Notifier{r.another(), r.another()}
	for _, n := range others {
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is delivered", func() bool { return others[0].Stats().Delivered+others[1].Stats().Delivered >= 120 })
	for _, n := range others {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	seen := map[string]int{}
	for _, m := range r.hook.messages() {
		seen[m.ID]++
	}
	if len(seen) != 120 || len(r.jobs("acme")) != 120 {
		t.Errorf("%d messages, %d jobs", len(seen), len(r.jobs("acme")))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
}
