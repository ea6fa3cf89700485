package notify

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pulsestream/pulsestream/internal/store"
)

// maxRetryAfter bounds how long a receiver can ask to be left alone.
const maxRetryAfter = 6 * time.Hour

// schedule is how long to wait after each failed attempt: eleven attempts within 24 hours, the second one soon, since most
// failures are a restart or a lost packet.
var schedule = [...]time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour,
}

// Attempts is how often delivery is tried before a job is dead.
const Attempts = len(schedule) + 1

// Backoff is how long to wait after attempt (counted from 1) has failed. jitter, in [0, 1), spreads it by a tenth to each side,
// so that what failed together does not come back together. Past the schedule it stays at the last step.
func Backoff(attempt int, jitter float64) time.Duration {
	d := schedule[min(max(attempt, 1), len(schedule))-1]
	return time.Duration(float64(d) * (0.9 + 0.2*jitter))
}

// jitterOf is a number in [0, 1) that differs between jobs and attempts, and is the same whenever it is asked for.
func jitterOf(id string, attempt int) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id + strconv.Itoa(attempt)))
	return float64(h.Sum32()) / (1 << 32)
}

// settle decides what becomes of a job after an attempt.
func settle(j store.Job, o Outcome, now time.Time) store.Job {
	j.UpdatedAt, j.NextAt = now, now
	j.Error = brief(o.Detail)
	switch {
	case o.Err == nil:
		j.State = store.JobDone
	case !o.Retry || j.Attempts >= Attempts:
		j.State, j.Error = store.JobDead, brief(o.Err.Error())
	default:
		j.State, j.Error = store.JobQueued, brief(o.Err.Error())
		j.NextAt = now.Add(max(Backoff(j.Attempts, jitterOf(j.ID, j.Attempts)), min(o.RetryAfter, maxRetryAfter)))
	}
	return j
}

// postpone moves a claimed job that was not tried to its next turn. The turn counts, so that what waits behind a channel that
// does not answer comes back ever less often; but only a real attempt makes a job dead.
func postpone(j store.Job, why string, now time.Time) store.Job {
	j.State, j.Error, j.UpdatedAt = store.JobQueued, brief(why), now
	j.NextAt = now.Add(Backoff(j.Attempts, jitterOf(j.ID, j.Attempts)))
	return j
}

// maxError is how long an error's text may be, in characters. Some of it is a stranger's.
const maxError = 500

func brief(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if r := []rune(s); len(r) > maxError {
		return string(r[:maxError-1]) + "…"
	}
	return s
}
