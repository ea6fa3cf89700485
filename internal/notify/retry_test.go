package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

func TestBackoffGrowsFromSecondsToHoursWithinADay(t *testing.T) {
	var total, before time.Duration
	for attempt := 1; attempt < Attempts; attempt++ {
		d := Backoff(attempt, 0.5)
		if d < before {
			t.Errorf("after attempt %d: %s, less than before", attempt, d)
		}
		before = d
		total += d
	}
	if Backoff(1, 0.5) != 5*time.Second || total < 23*time.Hour || total > 24*time.Hour {
		t.Errorf("first %s, total %s", Backoff(1, 0.5), total)
	}
	for _, attempt := range []int{-1, 0, 1, 1000} {
		if d := Backoff(attempt, 0); d <= 0 || d > 8*time.Hour {
			t.Errorf("attempt %d: %s", attempt, d)
		}
	}
	if lo, hi := Backoff(3, 0), Backoff(3, 0.999999); lo < 107*time.Second || hi > 133*time.Second || lo == hi {
		t.Errorf("jitter: %s to %s", lo, hi)
	}
}

func TestJitterDiffersBetweenJobsButNotBetweenCalls(t *testing.T) {
	seen := map[float64]bool{}
	for _, id := range []string{"a", "b", "c", "d"} {
		for attempt := range 5 {
			j := jitterOf(id, attempt)
			if j < 0 || j >= 1 || seen[j] || j != jitterOf(id, attempt) {
				t.Errorf("%s %d: %v", id, attempt, j)
			}
			seen[j] = true
		}
	}
}

func TestOutcomeSettlesTheJob(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name     string
		attempts int
		o        Outcome
		state    store.JobState
		min, max time.Duration // until the next attempt
		error    string
	}{
		{"delivered", 1, Delivered(204, ""), store.JobDone, 0, 0, ""},
		{"delivered to some", 1, Delivered(250, "not delivered to b"), store.JobDone, 0, 0, "not delivered to b"},
		{"failed once", 1, Failed(boom, 500), store.JobQueued, 4500 * time.Millisecond, 5500 * time.Millisecond, "boom"},
		{"failed four times", 4, Failed(boom, 500), store.JobQueued, 9 * time.Minute, 11 * time.Minute, "boom"},
		{"failed the last time but one", Attempts - 1, Failed(boom, 500), store.JobQueued, 7 * time.Hour, 9 * time.Hour, "boom"},
		{"failed for the last time", Attempts, Failed(boom, 500), store.JobDead, 0, 0, "boom"},
		{"delivered the last time", Attempts, Delivered(200, ""), store.JobDone, 0, 0, ""},
		{"rejected", 1, Rejected(boom, 410), store.JobDead, 0, 0, "boom"},
		{"asked for a minute", 1, Outcome{Err: boom, Retry: true, RetryAfter: time.Minute}, store.JobQueued, time.Minute, time.Minute, "boom"},
		{"asked for less than its turn", 4, Outcome{Err: boom, Retry: true, RetryAfter: time.Second}, store.JobQueued, 9 * time.Minute, 11 * time.Minute, "boom"},
		{"asked for a year", 1, Outcome{Err: boom, Retry: true, RetryAfter: 8760 * time.Hour}, store.JobQueued, maxRetryAfter, maxRetryAfter, "boom"},
		{"a stranger's text", 1, Rejected(errors.New("a\r\nb\x00\xff"+strings.Repeat("x", 1000)), 500), store.JobDead, 0, 0, "a  b \uFFFD" + strings.Repeat("x", maxError-7) + "…"},
	} {
		got := settle(store.Job{ID: "j", Attempts: c.attempts}, c.o, noon())
		wait := got.NextAt.Sub(noon())
		if got.State != c.state || wait < c.min || wait > c.max || got.Error != c.error || !got.UpdatedAt.Equal(noon()) {
			t.Errorf("%s: %+v, in %s", c.name, got, wait)
		}
	}
}

func TestPostponingNeverKillsAJob(t *testing.T) {
	got := postpone(store.Job{ID: "j", Attempts: 100}, "full", noon())
	if got.State != store.JobQueued || got.Error != "full" || got.NextAt.Sub(noon()) > 9*time.Hour {
		t.Errorf("%+v", got)
	}
}
