package segment

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// vendors are events as vendors send them, of 50 tenants of which a few have most.
func vendors(n int) []event.Stored { return vendorsOf(11, n) }

func vendorsOf(seed uint64, n int) []event.Stored {
	g := newGenerator(seed)
	start := time.Unix(1_800_000_000, 0).UTC()
	all := make([]event.Stored, n)
	for i := range all {
		at := start.Add(time.Duration(i) * 50 * time.Microsecond)
		share := g.Float64()
		t := tenant.ID(fmt.Sprintf("tenant-%02d", int(50*share*share*share)))
		ev := event.Event{Received: at, Time: at.Add(-time.Duration(g.IntN(2000)) * time.Millisecond).Truncate(time.Millisecond), Identified: true}
		switch g.IntN(4) {
		case 0:
			ev.ID, ev.Source, ev.Type, ev.Subject = fmt.Sprintf("evt_1%016x%08x", g.Uint64(), g.Uint32()), "stripe", g.one("charge.succeeded", "charge.succeeded", "charge.failed"), fmt.Sprintf("cus_%06d", g.IntN(20_000))
			ev.Data = fmt.Appendf(nil, `{"object":"charge","id":"ch_3%016x%08x","amount":%d,"currency":"%s","card":{"brand":"%s","country":"%s"},"status":"succeeded","api_version":"2026-06-30","livemode":true}`,
				g.Uint64(), g.Uint32(), 1000+g.IntN(9000), g.one("usd", "eur", "gbp"), g.one("visa", "mastercard"), g.one("US", "DE", "FR", "GB"))
		case 1:
			ev.ID, ev.Source, ev.Type, ev.Subject = fmt.Sprintf("SM%016x%016x", g.Uint64(), g.Uint64()), "twilio", g.one("message.delivered", "message.sent"), fmt.Sprintf("+1650555%04d", g.IntN(10_000))
			ev.Data = fmt.Appendf(nil, `{"MessageSid":"%s","From":"+1415%04d","MessageStatus":"delivered","To":{"country":"US","carrier":"%s"},"NumSegments":%d,"Price":0.00%02d}`,
				ev.ID, g.IntN(10_000), g.one("verizon", "t-mobile"), 1+g.IntN(3), g.IntN(100))
		case 2:
			ev.ID, ev.Source, ev.Type, ev.Subject = fmt.Sprintf("%08x-5b1c-11f0-%04x-%012x", g.Uint32(), g.IntN(1<<16), g.Uint64()&(1<<48-1)), "github", g.one("push", "workflow_run.completed"), "acme/web"
			ev.Data = fmt.Appendf(nil, `{"ref":"refs/heads/%s","repository":"acme/%s","commits":%d,"head":"%016x%016x","pusher":{"name":"dev-%02d"},"forced":false}`,
				g.one("main", "develop"), g.one("web", "api"), 1+g.IntN(9), g.Uint64(), g.Uint64(), g.IntN(100))
		default:
			ev.ID, ev.Source, ev.Type, ev.Subject = fmt.Sprintf("%016x%08x", g.Uint64(), g.Uint32()), "sendgrid", g.one("mail.delivered", "mail.open"), fmt.Sprintf("user%06d", g.IntN(50_000))
			ev.Data = fmt.Appendf(nil, `{"event":"delivered","email":"user%06d@example.com","category":["%s","transactional"],"smtp":{"response":"250 OK","attempt":%d},"sg_template":"tpl-%s","ip":"203.0.113.%d"}`,
				g.IntN(50_000), g.one("receipt", "welcome"), 1+g.IntN(3), g.one("receipt", "welcome"), g.IntN(256))
		}
		all[i] = event.Stored{Tenant: t, Position: event.Position{Seq: uint64(1 + i/1000), Index: uint32(i % 1000)}, Event: ev}
	}
	return all
}

func TestAllocationsOfAddingAreFewerThanOneInAHundredEvents(t *testing.T) {
	events := vendors(20_000)
	var tail Tail
	add := func() {
		for i := range events {
			tail.Add(&events[i])
		}
	}
	for range 3 {
		add() // chunks have grown to what they will be
	}
	if n := testing.AllocsPerRun(5, add) / float64(len(events)); n >= 0.01 {
		t.Errorf("adding an event makes %.4f allocations", n)
	}
}

// What a block costs is bounded, whatever is in it; a row costs nothing.
func TestAllocationsOfBuildingAreBoundedByTheNumberOfBlocks(t *testing.T) {
	all := vendors(60_000)
	b := NewBuilder()
	path := filepath.Join(t.TempDir(), "a.seg")
	count := func(n int) (allocations float64, blocks int) {
		tail := tailOf(all[:n])
		allocations = testing.AllocsPerRun(3, func() {
			if _, err := b.Build(tail, path); err != nil {
				t.Fatal(err)
			}
		})
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.all {
			blocks += len(e.blocks)
		}
		return allocations, blocks + len(s.all)
	}
	count(len(all)) // the builder's memory has grown
	for _, n := range []int{10_000, 60_000} {
		made, blocks := count(n)
		t.Logf("%d events in %d blocks and tenants: %.0f allocations", n, blocks, made)
		if each := made / float64(blocks); each > 10 {
			t.Errorf("%d events in %d blocks and tenants took %.0f allocations", n, blocks, made)
		}
	}
}
