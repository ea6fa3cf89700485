package auth

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// touched is a catalog that may refuse.
type touched struct {
	uses []store.Use
	err  error
}

func (c *touched) Touch(_ context.Context, uses []store.Use) error {
	if c.err == nil {
		c.uses = append(c.uses, uses...)
	}
	return c.err
}

func TestUsesAreWrittenOnceAndNoneIsLost(t *testing.T) {
	c := &touched{}
	u := NewUses(c, slog.New(slog.DiscardHandler))
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	flush := func(now time.Time, want ...store.Use) {
		t.Helper()
		c.uses = nil
		if err := u.Flush(t.Context(), now); !errors.Is(err, c.err) {
			t.Fatal(err)
		}
		if len(c.uses) != len(want) || len(want) > 0 && (c.uses[0].Slug != want[0].Slug || !c.uses[0].At.Equal(want[0].At)) {
			t.Errorf("written is %+v, want %+v", c.uses, want)
		}
	}
	key := func(at time.Time) store.Use {
		return store.Use{Tenant: "acme", Kind: store.KindKey, Slug: "k", At: at}
	}
	var none *Uses
	none.Of("acme", store.KindKey, "k").At(at) // who notes none is asked like any other
	flush(at)
	use := u.Of("acme", store.KindKey, "k")
	use.At(at)
	use.At(at.Add(5 * time.Second))
	use.At(at.Add(time.Second)) // another request's clock was read earlier
	c.err = errors.New("away")
	flush(at.Add(30 * time.Second))
	c.err = nil
	flush(at.Add(time.Minute), key(at.Add(5*time.Second)))
	flush(at.Add(65 * time.Second))
	use.At(at.Add(66 * time.Second))
	flush(at.Add(90*time.Second), key(at.Add(66*time.Second)))
	if u.Of("acme", store.KindKey, "k") != use {
		t.Error("what was used a moment ago was forgotten")
	}
	flush(at.Add(5 * time.Minute))
	if len(u.known) != 0 {
		t.Error("what was not used for minutes is remembered")
	}
}

func TestAKnownUseCostsNoAllocation(t *testing.T) {
	use := NewUses(&touched{}, slog.New(slog.DiscardHandler)).Of("acme", store.KindKey, "k")
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	if n := testing.AllocsPerRun(100, func() { at = at.Add(time.Second); use.At(at) }); n > 0 {
		t.Errorf("a use costs %v allocations", n)
	}
}
