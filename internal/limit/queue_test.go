package limit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestAQueueGivesTenantsTurns(t *testing.T) {
	var q limit.Queue[string]
	for _, v := range []string{"a1", "a2", "a3", "b1", "c1", "a4", "b2"} {
		q.Push(tenant.ID(v[:1]), v)
	}
	if !q.Remove("a", func(s string) bool { return s == "a2" }) || q.Remove("a", func(s string) bool { return s == "a2" }) || q.Remove("z", func(string) bool { return true }) {
		t.Error("Remove takes out what is there, once")
	}
	var got []string
	for q.Len() > 0 {
		next, _ := q.Peek()
		v, ok := q.Pop()
		if !ok || v != next {
			t.Fatalf("Peek %q, Pop %q", next, v)
		}
		if got = append(got, v); v == "a3" {
			q.Push("c", "c2")
		}
	}
	if want := "a1 b1 c1 a3 b2 a4 c2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if _, ok := q.Pop(); ok {
		t.Error("something comes out of an empty queue")
	}
	q.Push("b", "b9")
	if !q.Remove("b", func(string) bool { return true }) || q.Len() != 0 {
		t.Error("the last one stays")
	}
	if _, ok := q.Peek(); ok {
		t.Error("what was removed is still next")
	}
}

func TestTurnsBoundHowMuchIsDoneAtOnce(t *testing.T) {
	turns := limit.NewTurns(2)
	var mu sync.Mutex
	now, most := 0, 0
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if err := turns.Begin(t.Context(), tenant.ID("abc"[i%3:i%3+1])); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			mu.Lock()
			now--
			mu.Unlock()
			turns.End()
		})
	}
	group.Wait()
	if most > 2 {
		t.Errorf("%d at once", most)
	}
}

func TestWhoGivesUpWaitingTakesNoTurn(t *testing.T) {
	turns := limit.NewTurns(1)
	if err := turns.Begin(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.Begin(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	turns.End()
	if err := turns.Begin(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	turns.End()
}
