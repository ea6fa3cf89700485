package process

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
)

func TestABusyWorkerShowsWhatItAddsWithTheCommit(t *testing.T) {
	const each = 1000
	for _, c := range []struct {
		name    string
		between time.Duration // two commits of so many events
		busy    bool
	}{
		{"much", each * time.Second / busyRate, true},
		{"little", each*time.Second/busyRate + time.Millisecond, false},
	} {
		k := &taking{}
		l := load{3, each, 1, 0}
		s := l.session(t, k)
		now := time.Unix(1_800_000_000, 0)
		s.cfg.Now = func() time.Time { return now }
		messages := l.messages(now, 3)
		take := func(i int) (shown bool) {
			before := k.deltas
			s.message(bus.Message{Seq: uint64(i + 1), Payload: messages[i].payload})
			return k.deltas > before
		}
		commit := func() (shown bool) {
			before := k.deltas
			s.commit(t.Context())
			if err := s.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			now = now.Add(c.between)
			return k.deltas > before
		}
		if !take(0) || commit() {
			t.Errorf("%s: the first message is not shown at once", c.name)
		}
		take(1)
		commit()
		if shown := take(2); shown == c.busy {
			t.Errorf("%s: a message is shown at once: %v", c.name, shown)
		}
		if shown := commit(); shown != c.busy {
			t.Errorf("%s: a message is shown with its commit: %v", c.name, shown)
		}
	}
}
