package metric

import "testing"

func TestAllocationsOfProgramsTogether(t *testing.T) {
	first, second := revenue(), revenue()
	second.Filter = `data.data.object.currency == "usd" && has(data.data.object.outcome.risk_score)`
	second.Value = "data.data.object.outcome.risk_score"
	all := Together([]*Program{mustCompile(t, Events("default")), mustCompile(t, first), mustCompile(t, second)})
	ev := chargeEvent()
	var d Doc
	out := all.Observe(&d, &ev, nil)
	if len(out) != 3 {
		t.Fatalf("%d of 3 observe", len(out))
	}
	if n := testing.AllocsPerRun(100, func() { out = all.Observe(&d, &ev, out[:0]) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkTogether(b *testing.B) {
	second := revenue()
	second.Value = "data.data.object.outcome.risk_score"
	all := Together([]*Program{mustCompile(b, Events("default")), mustCompile(b, revenue()), mustCompile(b, second)})
	ev := chargeEvent()
	var d Doc
	out := all.Observe(&d, &ev, nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(ev.Data)))
	for range b.N {
		out = all.Observe(&d, &ev, out[:0])
	}
}
