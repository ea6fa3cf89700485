package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func TestASlowViewerHurtsNobody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	slow, err := s.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Abort() }()
	if err := slow.Subscribe(t.Context(), client.Subscription{ID: "slow", Topic: "events"}); err != nil {
		t.Fatal(err)
	}
	if f, err := slow.Next(t.Context()); err != nil || f.Op != "snapshot" { // and after that it does not read
		t.Fatalf("%+v, %v", f, err)
	}
	quick := s.view(t)
	quick.subscribe(client.Subscription{ID: "quick", Metric: "events", Agg: "count", Step: "1s", Since: "5m"})
	quick.subscribe(client.Subscription{ID: "tail", Topic: "events"})
	memory := s.residentMemory()
	shown, tail, sent := chart{}, 0, 0.0
	data, err := json.Marshal(strings.Repeat("x", 100<<10))
	if err != nil {
		t.Fatal(err)
	}
	// More than the two ends of a connection and a viewer's queue hold: 35 MB, of which no more than fifty events a second are shown.
	for deadline := time.Now().Add(30 * time.Second); tail < 350; {
		if time.Now().After(deadline) {
			t.Fatalf("the quick viewer was shown only %d events", tail)
		}
		before := time.Now()
		s.send(slices.Repeat([]client.Event{{Type: "large", Data: json.RawMessage(data)}}, 8)...)
		if took := time.Since(before); took > 5*time.Second {
			t.Errorf("events took %s to be accepted", took)
		}
		sent += 8
		for len(quick.frames) > 0 {
			f, _ := quick.next(0)
			tail += len(f.Events)
			if f.ID == "quick" {
				shown.apply(f)
			}
		}
		pace(t, 80*time.Millisecond)
	}
	quick.draw("quick", shown, map[string]float64{"map[]": sent})
	if grown := s.residentMemory() - memory; grown > 700<<20 {
		t.Errorf("the server has grown by %d MiB for a viewer that does not read", grown>>20)
	}
	// What was left out, the slow one is told once it reads again, unless the server has given it up by then.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		f, err := slow.Next(ctx)
		if err != nil && ctx.Err() == nil {
			t.Logf("the slow viewer was given up: %v", err)
			break
		}
		if err != nil {
			t.Fatalf("the slow viewer was not told that it lags: %v", err)
		}
		if f.Op == "lagged" {
			if f.Dropped <= 0 || f.ID != "slow" {
				t.Errorf("%+v", f)
			}
			break
		}
	}
	s.wantNoErrors()
}

// residentMemory is the memory that the server's process has, in bytes.
func (s *server) residentMemory() int64 {
	s.t.Helper()
	for line := range strings.SplitSeq(string(s.exchange("GET", "/metrics", nil, nil).Body), "\n") {
		if value, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
			var bytes float64
			if _, err := fmt.Sscan(value, &bytes); err != nil {
				s.t.Fatal(err)
			}
			return int64(bytes)
		}
	}
	s.t.Fatal("/metrics has no process_resident_memory_bytes")
	return 0
}
