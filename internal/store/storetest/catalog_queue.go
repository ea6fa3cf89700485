package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const lease = time.Minute

func job(id tenant.ID, name string, due time.Time) store.Job {
	return store.Job{
		ID: name, Tenant: id, Channel: "ops", Incident: "inc-1", Payload: body(name), State: store.JobQueued,
		NextAt: due, CreatedAt: at(), UpdatedAt: at(),
	}
}

func (s catalogSuite) queue() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"what is enqueued comes back whole": func(t *testing.T) {
			q := s.fresh(t).Queue()
			want := job("acme", "j", at().Add(time.Minute))
			want.Error, want.Attempts, want.UpdatedAt = "the last one: refused", 3, at().Add(time.Second)
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{want}))
			sameJob(t, "the job", one(t, q, "acme"), want)
		},
		"a job without a state is queued, and one without a time is due at once": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{{ID: "j", Tenant: "acme", CreatedAt: at()}}))
			j := one(t, q, "acme")
			if j.State != store.JobQueued || !j.NextAt.IsZero() || !j.UpdatedAt.Equal(at()) {
				t.Errorf("the job is %+v", j)
			}
			wantClaim(t, q, at(), 1, "acme/j#1")
		},
		"an error of an attempt may say anything, but zero bytes are replaced": func(t *testing.T) {
			q := s.fresh(t).Queue()
			j := job("acme", "j", at())
			j.Error = "a\x00b \u2028 '"
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{j}))
			if got := one(t, q, "acme").Error; got != "a\uFFFDb \u2028 '" {
				t.Errorf("enqueued: %q", got)
			}
			claimed := wantClaim(t, q, at(), 1, "acme/j#1")[0]
			claimed.State, claimed.Error = store.JobDead, "\x00"
			must(t, q.Finish(t.Context(), claimed))
			if got := one(t, q, "acme").Error; got != "\uFFFD" {
				t.Errorf("finished: %q", got)
			}
			j.ID = "k\x00"
			if err := q.Enqueue(t.Context(), "tail", 2, []store.Job{j}); !errors.Is(err, store.ErrRefused) {
				t.Errorf("a job's id with a zero byte: %v, want %v", err, store.ErrRefused)
			}
		},
		"a job whose id is there already is ignored, in the same call too": func(t *testing.T) {
			q := s.fresh(t).Queue()
			first := job("acme", "j", at())
			again := first
			again.Payload, again.State = body("again"), store.JobDead
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{first, again}))
			must(t, q.Enqueue(t.Context(), "tail", 2, []store.Job{again, job("acme", "k", at())}))
			jobs, err := q.Jobs(t.Context(), "acme", "inc-1", 0)
			must(t, err)
			if len(jobs) != 2 {
				t.Fatalf("there are %d jobs, want 2", len(jobs))
			}
			sameJob(t, "the first", jobs[0], first)
		},
		"a finished job does not come back when it is enqueued again": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			finish(t, q, wantClaim(t, q, at(), 1, "acme/j#1")[0], store.JobDone, time.Time{})
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			wantClaim(t, q, at().Add(time.Hour), 1)
		},
		"two tenants may have jobs of the same id": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at()), job("evil", "j", at())}))
			mine := wantClaim(t, q, at(), 2, "acme/j#1", "evil/j#1")[0]
			finish(t, q, mine, store.JobDead, time.Time{})
			if j := one(t, q, "evil"); j.State != store.JobQueued {
				t.Errorf("the other tenant's job is %s", j.State)
			}
		},
		"a tail's cursor begins at 0, moves where it is told and is its own": func(t *testing.T) {
			q := s.fresh(t).Queue()
			wantPosition(t, q, "a", 0)
			must(t, q.Enqueue(t.Context(), "a", 7, nil))
			must(t, q.Enqueue(t.Context(), "b", 1<<62, nil))
			wantPosition(t, q, "a", 7)
			must(t, q.Enqueue(t.Context(), "a", 3, nil)) // a rebuilt event store may count anew
			wantPosition(t, q, "a", 3)
			wantPosition(t, q, "b", 1<<62)
		},
		"cursor and jobs are seen together or not at all": s.cursorIsAtomic,
		"jobs of an incident are listed oldest first, of a tenant newest first": func(t *testing.T) {
			q := s.fresh(t).Queue()
			var jobs []store.Job
			for i, name := range []string{"b", "a", "d", "c"} {
				j := job("acme", name, at())
				j.CreatedAt = at().Add(time.Duration(i) * time.Nanosecond)
				j.Incident = fmt.Sprintf("inc-%d", i%2)
				jobs = append(jobs, j)
			}
			must(t, q.Enqueue(t.Context(), "tail", 1, append(jobs, job("evil", "x", at()))))
			wantJobs(t, q, "acme", "inc-0", 10, "b", "d")
			wantJobs(t, q, "acme", "inc-0", 1, "b")
			wantJobs(t, q, "acme", "inc-1", 0, "a", "c")
			wantJobs(t, q, "acme", "", 3, "c", "d", "a")
			wantJobs(t, q, "acme", "", 0, "c", "d", "a", "b")
			wantJobs(t, q, "evil", "inc-0", 10)
		},
	}
}

func (s catalogSuite) leases() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"the oldest due are claimed first, up to the limit, none before its time": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{
				job("acme", "late", at().Add(2*time.Second)), job("acme", "first", at().Add(-time.Hour)),
				job("evil", "third", at()), job("acme", "second", at().Add(-time.Nanosecond)),
			}))
			wantClaim(t, q, at(), 0)
			wantClaim(t, q, at(), 2, "acme/first#1", "acme/second#1")
			wantClaim(t, q, at().Add(time.Second), 5, "evil/third#1")
			wantClaim(t, q, at().Add(time.Second), 5)
			wantClaim(t, q, at().Add(2*time.Second), 5, "acme/late#1")
		},
		"a claimed job is leased, and comes back when the lease ends": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			j := wantClaim(t, q, at(), 1, "acme/j#1")[0]
			want := job("acme", "j", at().Add(lease))
			want.Attempts = 1
			sameJob(t, "the claimed job", j, want)
			sameJob(t, "the stored job", one(t, q, "acme"), want)
			wantClaim(t, q, at().Add(lease-time.Nanosecond), 1)
			wantClaim(t, q, at().Add(lease), 1, "acme/j#2")
		},
		"a lease outlives a restart": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			must(t, c.Queue().Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			wantClaim(t, c.Queue(), at(), 1, "acme/j#1")
			must(t, c.Close())
			q := s.reopen(t, dir).Queue()
			wantClaim(t, q, at().Add(lease/2), 1)
			wantClaim(t, q, at().Add(lease), 1, "acme/j#2")
		},
		"a failed attempt is due again when it says": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			j := wantClaim(t, q, at(), 1, "acme/j#1")[0]
			j.Error, j.NextAt, j.UpdatedAt = "503 from example.com", at().Add(time.Hour), at().Add(time.Second)
			must(t, q.Finish(t.Context(), j))
			sameJob(t, "the stored job", one(t, q, "acme"), j)
			wantClaim(t, q, at().Add(time.Hour-1), 1)
			wantClaim(t, q, at().Add(time.Hour), 1, "acme/j#2")
		},
		"a job that is done or dead is never claimed, and a dead one can be revived": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "a", at()), job("acme", "b", at())}))
			claimed := wantClaim(t, q, at(), 2, "acme/a#1", "acme/b#1")
			finish(t, q, claimed[0], store.JobDone, at())
			dead := finish(t, q, claimed[1], store.JobDead, at())
			wantClaim(t, q, at().Add(24*time.Hour), 2)
			finish(t, q, dead, store.JobQueued, at())
			wantClaim(t, q, at(), 2, "acme/b#2")
		},
		"who finishes after the lease ended and another has begun is told so": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			slow := wantClaim(t, q, at(), 1, "acme/j#1")[0]
			quick := wantClaim(t, q, at().Add(lease), 1, "acme/j#2")[0]
			slow.State = store.JobDead
			wantError(t, q.Finish(t.Context(), slow), store.ErrConflict)
			sameJob(t, "the stored job", one(t, q, "acme"), quick)
			finish(t, q, quick, store.JobDone, time.Time{})
		},
		"who finishes after the lease ended, before another has begun, is heard": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			slow := wantClaim(t, q, at(), 1, "acme/j#1")[0]
			slow.UpdatedAt = at().Add(2 * lease)
			finish(t, q, slow, store.JobDone, time.Time{})
			wantClaim(t, q, at().Add(2*lease), 1)
		},
		"a job that is not there cannot be finished": func(t *testing.T) {
			q := s.fresh(t).Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "j", at())}))
			wantError(t, q.Finish(t.Context(), job("acme", "k", at())), store.ErrNotFound)
			wantError(t, q.Finish(t.Context(), job("evil", "j", at())), store.ErrNotFound)
		},
		"no two claimers get the same job": s.claimersShare,
	}
}

// cursorIsAtomic reads while another writes: where the cursor stands at i, job i must be there.
func (s catalogSuite) cursorIsAtomic(t *testing.T) {
	q := s.fresh(t).Queue()
	const last = 60
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint64(1); i <= last; i++ {
			jobs := []store.Job{job("acme", fmt.Sprintf("a-%03d", i), at()), job("acme", fmt.Sprintf("b-%03d", i), at())}
			if err := q.Enqueue(t.Context(), "tail", i, jobs); err != nil {
				t.Errorf("enqueue %d: %v", i, err)
				return
			}
		}
	})
	defer wg.Wait()
	for deadline := time.Now().Add(time.Minute); ; {
		position, err := q.Position(t.Context(), "tail")
		must(t, err)
		jobs, err := q.Jobs(t.Context(), "acme", "", 0)
		must(t, err)
		if len(jobs)%2 != 0 || len(jobs) < 2*int(position) {
			t.Fatalf("at position %d there are %d jobs, want two for each step", position, len(jobs))
		}
		if position == last {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the cursor stands at %d of %d", position, last)
		}
	}
}

func (s catalogSuite) claimersShare(t *testing.T) {
	q := s.fresh(t).Queue()
	const total = 60
	var jobs []store.Job
	for i := range total {
		jobs = append(jobs, job("acme", fmt.Sprintf("j-%03d", i), at()))
	}
	must(t, q.Enqueue(t.Context(), "tail", 1, jobs))
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				claimed, err := q.Claim(t.Context(), at(), lease, 4)
				if err != nil {
					t.Error(err)
				}
				if len(claimed) == 0 {
					return
				}
				mu.Lock()
				for _, j := range claimed {
					got[j.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(got) != total {
		t.Errorf("%d jobs were claimed, want %d", len(got), total)
	}
}

func one(t *testing.T, q store.Queue, id tenant.ID) store.Job {
	t.Helper()
	jobs, err := q.Jobs(t.Context(), id, "", 0)
	must(t, err)
	if len(jobs) != 1 {
		t.Fatalf("%s has %d jobs, want 1", id, len(jobs))
	}
	return jobs[0]
}

func finish(t *testing.T, q store.Queue, j store.Job, state store.JobState, next time.Time) store.Job {
	t.Helper()
	j.State, j.NextAt = state, next
	must(t, q.Finish(t.Context(), j))
	stored, err := q.Jobs(t.Context(), j.Tenant, j.Incident, 0)
	must(t, err)
	i := slices.IndexFunc(stored, func(s store.Job) bool { return s.ID == j.ID })
	if i < 0 {
		t.Fatalf("job %s is gone", j.ID)
	}
	sameJob(t, "the finished job", stored[i], j)
	return j
}

// wantClaim claims and compares with jobs written as tenant/id#attempts, in order.
func wantClaim(t *testing.T, q store.Queue, now time.Time, limit int, want ...string) []store.Job {
	t.Helper()
	jobs, err := q.Claim(t.Context(), now, lease, limit)
	must(t, err)
	var got []string
	for _, j := range jobs {
		got = append(got, fmt.Sprintf("%s/%s#%d", j.Tenant, j.ID, j.Attempts))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Claim at %v = %v, want %v", now.Sub(at()), got, want)
	}
	return jobs
}

func wantJobs(t *testing.T, q store.Queue, id tenant.ID, incident string, limit int, want ...string) {
	t.Helper()
	jobs, err := q.Jobs(t.Context(), id, incident, limit)
	must(t, err)
	var got []string
	for _, j := range jobs {
		got = append(got, j.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Jobs(%q, %q, %d) = %v, want %v", id, incident, limit, got, want)
	}
}

func wantPosition(t *testing.T, q store.Queue, tail string, want uint64) {
	t.Helper()
	if got, err := q.Position(t.Context(), tail); err != nil || got != want {
		t.Errorf("Position(%q) = %d, %v; want %d", tail, got, err, want)
	}
}

func sameJob(t *testing.T, what string, got, want store.Job) {
	t.Helper()
	sameTimes := got.NextAt.Equal(want.NextAt) && got.CreatedAt.Equal(want.CreatedAt) && got.UpdatedAt.Equal(want.UpdatedAt)
	if got.ID != want.ID || got.Tenant != want.Tenant || got.Channel != want.Channel || got.Incident != want.Incident || got.State != want.State ||
		got.Attempts != want.Attempts || got.Error != want.Error || !slices.Equal(got.Payload, want.Payload) || !sameTimes {
		t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
