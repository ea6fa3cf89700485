package process

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestTypesThatSpreadAlikeHaveTheirOwnPlans(t *testing.T) {
	p := plans{bound: newBound(1000, func(tenant.ID, int64) {})}
	alike := func(i int) string { return fmt.Sprintf("com.shop%04d.order.paid", i) } // the same length and ends
	if event.Spread(alike(1)) != event.Spread(alike(2)) {
		t.Fatal("the types do not spread alike")
	}
	set := metric.NewSet(nil)
	byType, lent := map[string]*plan{}, []byte(alike(0)) // as a store's events are lent
	for i := range 300 {
		want := alike(i % 10)
		copy(lent, want)
		found := p.of("t", set, unsafe.String(unsafe.SliceData(lent), len(lent)))
		if known := byType[want]; known != nil && known != found || found.eventType != want {
			t.Fatalf("type %s has the plan of %s", want, found.eventType)
		}
		byType[want] = found
	}
	own := map[*plan]bool{}
	for _, p := range byType {
		own[p] = true
	}
	if len(own) != 10 {
		t.Errorf("10 types have %d plans", len(own))
	}
	if other := p.of("u", set, alike(1)); other == byType[alike(1)] {
		t.Error("two tenants have the same plan")
	}
	if changed := p.of("t", metric.NewSet(nil), alike(1)); changed == byType[alike(1)] {
		t.Error("the metrics have changed and the plan has not")
	}
}
