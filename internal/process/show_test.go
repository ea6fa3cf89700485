package process_test

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/process"
)

func TestWhatWaitsInTheLogIsShownTogetherAndWhatComesAloneAtOnce(t *testing.T) {
	r := newRig(t)
	const messages, each = 300, 50
	for i := range messages {
		r.send(i*each+1, (i+1)*each)
	}
	shown := func() (events uint64, times int) {
		r.live.mu.Lock()
		defer r.live.mu.Unlock()
		return r.live.count, r.live.published
	}
	_, stop := r.start(func(c *process.Config) { c.CommitEvery = time.Hour })
	r.until("all that waited is shown", func() bool { events, _ := shown(); return events == messages*each })
	_, before := shown()
	if before > messages/2 {
		t.Errorf("%d messages that were waiting were shown in %d steps", messages, before)
	}
	for i := range 3 {
		r.send(messages*each+1+i, messages*each+1+i)
		r.until("a message that comes alone is shown", func() bool { events, _ := shown(); return events == uint64(messages*each+1+i) })
	}
	if _, now := shown(); now != before+3 {
		t.Errorf("3 messages that came one by one were shown in %d steps", now-before)
	}
	stop()
	r.exactlyOnce(messages*each + 3)
	if r.live.early {
		t.Error("something was committed before it was shown")
	}
}

func TestMuchThatKeepsComingIsShownNoLaterThanItIsCommitted(t *testing.T) {
	r := newRig(t)
	_, stop := r.start(nil)
	const messages, each = 200, 500
	for i := range messages {
		r.send(i*each+1, (i+1)*each)
	}
	r.until("all is committed", func() bool { return r.offset() == messages })
	stop()
	if r.live.early || r.live.count != messages*each {
		t.Errorf("%d of %d events were shown; something was committed before: %v", r.live.count, messages*each, r.live.early)
	}
}
