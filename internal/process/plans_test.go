package process

import (
	"fmt"
	"testing"

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
	byType := map[string]*plan{}
	for i := range 300 {
		kind := []byte(alike(i % 10))
		found := p.of("t", set, string(kind))
		if known := byType[string(kind)]; known != nil && known != found || found.eventType != string(kind) {
			t.Fatalf("type %s has the plan of %s", kind, found.eventType)
		}
		byType[string(kind)] = found
	}
	if other := p.of("u", set, alike(1)); other == byType[alike(1)] {
		t.Error("two tenants have the same plan")
	}
	if changed := p.of("t", metric.NewSet(nil), alike(1)); changed == byType[alike(1)] {
		t.Error("the metrics have changed and the plan has not")
	}
}
