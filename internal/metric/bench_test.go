package metric

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// chargeData is what a payment provider sends for a charge, in shape and size: what the metric wants lies deep and far back.
const chargeData = `{"id":"evt_3PqT8eJ2x0","object":"event","api_version":"2024-06-20","created":1763798400,"data":{"object":{"id":"ch_3PqT8eJ2x0","object":"charge","amount":12550,"amount_captured":12550,"amount_refunded":0,"application":null,"application_fee":null,"application_fee_amount":null,"balance_transaction":"txn_3PqT8eJ2x0","billing_details":{"address":{"city":"San Francisco","country":"US","line1":"510 Townsend St","line2":null,"postal_code":"94103","state":"CA"},"email":"jenny.rosen@example.com","name":"Jenny Rosen","phone":"+1 415 555 0100"},"calculated_statement_descriptor":"EXAMPLE STORE","captured":true,"created":1763798399,"currency":"usd","customer":"cus_QhYk2v5aTq","description":"Order 10 & \"extras\"","destination":null,"dispute":null,"disputed":false,"failure_code":null,"failure_message":null,"fraud_details":{},"invoice":null,"livemode":true,"metadata":{"order_id":"6735","campaign":"autumn","tier":"gold"},"on_behalf_of":null,"outcome":{"network_status":"approved_by_network","reason":null,"risk_level":"normal","risk_score":22,"seller_message":"Payment complete.","type":"authorized"},"paid":true,"payment_intent":"pi_3PqT8eJ2x0","payment_method":"pm_1PqT8dJ2x0","payment_method_details":{"card":{"amount_authorized":12550,"authorization_code":null,"brand":"visa","checks":{"address_line1_check":"pass","address_postal_code_check":"pass","cvc_check":"pass"},"country":"US","exp_month":8,"exp_year":2028,"fingerprint":"Xt5EWLLDS7FJjR1c","funding":"credit","installments":null,"last4":"4242","mandate":null,"network":"visa","three_d_secure":null,"wallet":null},"type":"card"},"receipt_email":null,"receipt_number":null,"receipt_url":"https://pay.example.com/receipts/payment/CAcaFwoVYWNjdF8xTTJKVGtMa2RJd0h1N2l4","refunded":false,"review":null,"shipping":null,"source":null,"statement_descriptor":null,"status":"succeeded","transfer_data":null,"transfer_group":null}},"livemode":true,"pending_webhooks":2,"request":{"id":"req_NWh2cV0F5pB2Iz","idempotency_key":"c0d1e2f3-1a2b-4c3d-8e9f-0a1b2c3d4e5f"},"type":"charge.succeeded"}`

func chargeEvent() event.Event {
	return event.Event{
		ID: "evt_3PqT8eJ2x0", Source: "stripe", Type: "charge.succeeded", Subject: "ch_3PqT8eJ2x0",
		Time: time.Unix(1_763_798_400, 0).UTC(), Received: time.Unix(1_763_798_401, 0).UTC(), Data: []byte(chargeData),
	}
}

func revenue() Definition {
	return Definition{
		ID: 7, Slug: "revenue", EventTypes: []string{"charge.*"}, Filter: "data.data.object.livemode == true",
		Value:      "data.data.object.amount / 100.0",
		Dimensions: map[string]string{"country": "data.data.object.payment_method_details.card.country", "brand": "data.data.object.payment_method_details.card.brand"},
	}
}

func mustCompile(t testing.TB, def Definition) *Program {
	t.Helper()
	p, err := Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkObserve(b *testing.B) {
	ten := make([]*Program, 10)
	for i := range ten {
		def := revenue()
		def.ID, def.Slug = int64(100+i), fmt.Sprint("m", i)
		ten[i] = mustCompile(b, def)
	}
	slow := revenue()
	slow.Value = "data.data.object.currency.upperAscii() == 'USD' ? data.data.object.amount / 100 : 0.0"
	for _, c := range []struct {
		name     string
		programs []*Program
	}{
		{"events", []*Program{mustCompile(b, Events("default"))}},
		{"revenue", []*Program{mustCompile(b, revenue())}},
		{"ten metrics", ten},
		{"revenue by CEL", []*Program{mustCompile(b, slow)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ev := chargeEvent()
			var d Doc
			b.ReportAllocs()
			b.SetBytes(int64(len(ev.Data)))
			for range b.N {
				d.Reset(&ev)
				for _, p := range c.programs {
					if _, _, ok := p.Observe(&d); !ok {
						b.Fatal("not observed")
					}
				}
			}
		})
	}
	b.Run("revenue, indented", func(b *testing.B) {
		ev, p := chargeEvent(), mustCompile(b, revenue())
		ev.Data = []byte(strings.NewReplacer(`,"`, ",\n        \"", `:`, `: `).Replace(chargeData))
		var d Doc
		b.ReportAllocs()
		b.SetBytes(int64(len(ev.Data)))
		for range b.N {
			d.Reset(&ev)
			if _, _, ok := p.Observe(&d); !ok {
				b.Fatal("not observed")
			}
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	var t tape
	b.ReportAllocs()
	b.SetBytes(int64(len(chargeData)))
	for range b.N {
		if !t.build([]byte(chargeData)) {
			b.Fatal("not indexed")
		}
	}
	b.ReportMetric(float64(len(t.nodes)), "values")
}

func BenchmarkFor(b *testing.B) {
	var programs []*Program
	for i := range 50 {
		programs = append(programs, mustCompile(b, Definition{ID: int64(i), Slug: fmt.Sprint("m", i), EventTypes: []string{fmt.Sprintf("a.%d.*", i), fmt.Sprint("b.", i)}}))
	}
	s := NewSet(append(programs, mustCompile(b, Events("default"))))
	b.ReportAllocs()
	n := 0
	for range b.N {
		n += len(s.For("a.7.created")) + len(s.For("b.9")) + len(s.For("unknown.type"))
	}
	if n != 5*b.N {
		b.Fatal(n)
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		mustCompile(b, revenue())
	}
}
