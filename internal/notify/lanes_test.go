package notify

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func job(t tenant.ID, channel string, n int) store.Job {
	return store.Job{ID: fmt.Sprintf("%s-%s-%d", t, channel, n), Tenant: t, Channel: channel, Incident: fmt.Sprint(n), NextAt: noon().Add(time.Minute)}
}

func filled(cfg Config, jobs ...store.Job) *lanes {
	l := newLanes(cfg.withDefaults())
	for _, j := range jobs {
		l.add(j)
	}
	return l
}

// turns takes off all that may, and returns their IDs in order.
func turns(l *lanes) (out []store.Job) {
	for {
		j, ok := l.next()
		if !ok {
			return out
		}
		out = append(out, j)
	}
}

func count(jobs []store.Job, channel string) (n int) {
	for _, j := range jobs {
		if j.Channel == channel {
			n++
		}
	}
	return n
}

func TestTurnsGoRoundTenantsAndChannels(t *testing.T) {
	var jobs []store.Job
	for n := range 20 {
		jobs = append(jobs, job("big", "a", n), job("big", "b", n), job("big", "c", n))
	}
	jobs = append(jobs, job("small", "x", 0), job("small", "x", 1))
	l := filled(Config{Concurrency: 6, PerChannel: 2}, jobs...)
	got := turns(l)
	if len(got) != 6 || count(got, "x") != 2 || count(got, "a") < 1 || count(got, "b") < 1 || count(got, "c") < 1 {
		t.Fatalf("%v", got)
	}
	// Each landing makes room for one.
	l.landed(got[0], &Outcome{})
	if next := turns(l); len(next) != 1 {
		t.Fatalf("%v", next)
	}
}

func TestChannelAndTenantAreBounded(t *testing.T) {
	var jobs []store.Job
	for n := range 10 {
		jobs = append(jobs, job("t", "a", n), job("t", "b", n), job("u", "c", n))
	}
	got := turns(filled(Config{Concurrency: 100, PerTenant: 3, PerChannel: 2}, jobs...))
	if count(got, "a")+count(got, "b") != 3 || count(got, "c") != 2 {
		t.Fatalf("%v", got)
	}
}

func TestOldestOfAChannelGoesFirstButAnIncidentKeepsItsOrder(t *testing.T) {
	first, second, other := job("t", "a", 1), job("t", "a", 1), job("t", "a", 2)
	second.ID = "later"
	l := filled(Config{PerChannel: 2}, first, second, other)
	got := turns(l)
	if len(got) != 2 || got[0].ID != first.ID || got[1].ID != other.ID {
		t.Fatalf("%v", got)
	}
	l.landed(first, &Outcome{})
	if got = turns(l); len(got) != 1 || got[0].ID != "later" {
		t.Fatalf("%v", got)
	}
}

func TestSuspectChannelsGetOneTurnEachAndHalfOfAllTogether(t *testing.T) {
	bad := &Outcome{Err: errors.New("no answer"), Retry: true}
	l := newLanes(Config{Concurrency: 4, PerTenant: 4, PerChannel: 2}.withDefaults())
	for i := range 10 { // ten tenants whose endpoints hang
		id := tenant.ID(fmt.Sprintf("bad%d", i))
		l.add(job(id, "hang", 0))
		j, ok := l.next()
		if !ok {
			t.Fatal("no turn")
		}
		l.landed(j, bad)
		for n := range 5 {
			l.add(job(id, "hang", n+1))
		}
	}
	if got := turns(l); len(got) != 2 {
		t.Fatalf("suspects got %d of 4 turns", len(got))
	}
	for n := range 5 {
		l.add(job("good", "fine", n))
	}
	got := turns(l)
	if len(got) != 2 || count(got, "fine") != 2 {
		t.Fatalf("%v", got)
	}
	// One that answers is trusted again.
	l = filled(Config{PerChannel: 2}, job("t", "a", 0), job("t", "a", 1), job("t", "a", 2), job("t", "a", 3))
	first, _ := l.next()
	l.landed(first, bad)
	if got := turns(l); len(got) != 1 {
		t.Fatalf("a suspect got %d turns", len(got))
	} else {
		l.landed(got[0], &Outcome{})
	}
	if got := turns(l); len(got) != 2 {
		t.Fatalf("a trusted one got %d turns", len(got))
	}
}

func TestFullLaneTakesNoMoreButOthersDo(t *testing.T) {
	l := filled(Config{Waiting: 2}, job("t", "a", 0), job("t", "a", 1))
	if l.add(job("t", "a", 2)) || !l.add(job("t", "b", 2)) || !l.add(job("t", "a", 0)) {
		t.Error("the bound is not that of the channel")
	}
}

func TestLeasesOfWaitingJobsAreRenewedAndThoseOfSuspectsLetGo(t *testing.T) {
	l := filled(Config{PerChannel: 1}, job("t", "good", 0), job("t", "good", 1), job("t", "bad", 0), job("t", "bad", 1))
	for _, j := range turns(l) {
		if j.Channel == "bad" {
			l.landed(j, &Outcome{Err: errors.New("no answer"), Retry: true})
		}
	}
	if renew, letGo := l.expiring(noon()); len(renew)+len(letGo) != 0 {
		t.Fatalf("too early: %v %v", renew, letGo)
	}
	renew, letGo := l.expiring(noon().Add(2 * time.Minute))
	if len(renew) != 1 || renew[0].ID != "t-good-1" || len(letGo) != 1 || letGo[0].job.ID != "t-bad-1" || letGo[0].why != "no answer" {
		t.Fatalf("%v %v", renew, letGo)
	}
	l.landed(job("t", "good", 0), &Outcome{})
	if got := turns(l); len(got) != 0 {
		t.Fatalf("took off while its lease was written: %v", got)
	}
	fresh := renew[0]
	fresh.NextAt = noon().Add(time.Hour)
	l.renewed(fresh)
	if renew, _ := l.expiring(noon().Add(2 * time.Minute)); len(renew) != 0 {
		t.Fatalf("renewed twice: %v", renew)
	}
	if got := turns(l); len(got) != 1 || len(l.held) != 1 {
		t.Fatalf("%v, %d held", got, len(l.held))
	}
}

func TestJobClaimedAgainWhileInFlightIsNotForgotten(t *testing.T) {
	j := job("t", "a", 0)
	l := filled(Config{}, j)
	turns(l)
	again := j
	again.Attempts = 2
	l.add(again)
	if got := turns(l); len(got) != 0 {
		t.Fatalf("in flight twice: %v", got)
	}
	l.landed(j, nil)
	if got := turns(l); len(got) != 1 || got[0].Attempts != 2 {
		t.Fatalf("%v", got)
	}
}

func TestLanesForgetWhatIsOver(t *testing.T) {
	l := filled(Config{}, job("t", "a", 0), job("t", "b", 0), job("u", "c", 0))
	l.drop(job("u", "c", 0))
	for _, j := range turns(l) {
		l.landed(j, &Outcome{})
	}
	l.landed(job("t", "a", 0), &Outcome{}) // twice is once
	l.drop(job("t", "a", 0))
	if len(l.tenants) != 0 || len(l.held) != 0 || l.inFlight != 0 || l.suspectInFlight != 0 {
		t.Errorf("%+v", l)
	}
}
