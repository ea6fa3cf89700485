package event_test

import (
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// corpus is n lines of some 350 bytes, as several vendors and an application of one's own would send them.
func corpus(n int) [][]byte {
	lines := make([][]byte, n)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i := range lines {
		when := at.Add(time.Duration(i) * 1_234_567 * time.Nanosecond).Format(time.RFC3339Nano)
		switch i % 4 {
		case 0:
			lines[i] = fmt.Appendf(nil, `{"specversion":"1.0","id":"evt_%024d","source":"stripe","type":"charge.succeeded","subject":"cus_%d","time":"%s","data":{"object":{"id":"ch_%d","amount":%d,"currency":"usd","captured":true,"payment_method_details":{"card":{"brand":"visa","country":"US","last4":"4242"},"type":"card"},"metadata":{"order":"%d","plan":"pro"}}}}`,
				i, i%997, when, i, 100+i*7%9000, i)
		case 1:
			lines[i] = fmt.Appendf(nil, `{"id":"d-%d-4f1c-9c1e-%012d","source":"github","type":"workflow_run.completed","time":"%s","data":{"repository":{"full_name":"acme/shop-%d","private":true},"workflow_run":{"name":"build and test","conclusion":"success","run_attempt":1,"head_branch":"main","duration_ms":%d,"actor":"user-%d","labels":["linux","x64"]}}}`,
				i, i, when, i%40, i*31%90000, i%300)
		case 2:
			lines[i] = fmt.Appendf(nil, `{"specversion":"1.0","id":"%08x-0000-7000-8000-%012x","source":"shop/checkout","type":"order.paid","subject":"order-%d","time":"%s","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"total":%d.%02d,"items":%d,"country":"DE","coupon":null,"customer":{"id":"c%d","tier":"gold"},"note":"Gr\u00fc\u00dfe"}}`,
				i, i*7919, i, when, i%500, i%100, 1+i%9, i%5000)
		default:
			lines[i] = fmt.Appendf(nil, `{"id":"req-%d","source":"api-gateway","type":"http.request","time":"%s","data":{"method":"GET","path":"/v1/products/%d","status":%d,"duration_ms":%d.%d,"region":"eu-west-1","bytes":%d,"user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","cached":false,"upstream":"products-%d"}}`,
				i, when, i%3000, []int{200, 200, 200, 404, 500}[i%5], i%80, i%10, i*131%70000, i%6)
		}
	}
	return lines
}

// parsed is the corpus as events.
func parsed(n int) []event.Event {
	var p event.Parser
	out := make([]event.Event, n)
	for i, line := range corpus(n) {
		ev, problem := p.Parse(line, false)
		if problem != nil {
			panic(problem)
		}
		ev.Received = ev.Time
		out[i] = ev
	}
	return out
}
