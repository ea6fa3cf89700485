package demo

import "time"

func domains() []weighted[string] {
	return []weighted[string]{{0.46, "gmail.com"}, {0.16, "outlook.com"}, {0.11, "yahoo.com"}, {0.10, "icloud.com"}, {0.06, "gmx.de"}, {0.06, "web.de"}, {0.05, "proton.me"}}
}

// mail is an e-mail: SendGrid takes it, the receiver's server takes it or doesn't, and the reader may look at it.
func (s *story) mail(after time.Duration, category string) {
	id, domain := token(s.Rand, base62, 22), choose(s.Rand, s.domains)
	pool := "transactional"
	if category == "newsletter" {
		pool = "marketing"
	}
	tell := func(at time.Duration, what string, more object) {
		data := object{
			"event": what, "email": "reader-" + id[:5] + "@" + domain, "domain": domain, "category": category, "ip_pool": pool,
			"sg_message_id": id + ".filter-0", "timestamp": s.at(at).Unix(),
		}
		for k, v := range more {
			data[k] = v
		}
		s.emit(at, sendgridSource, id+"/"+what, "email."+what, id, data)
	}
	took := time.Duration(min(around(s.Rand, 0.9, 0.6), 60) * float64(time.Second))
	draw := s.Float64()
	tell(after, "processed", nil)
	if domain == "gmail.com" && s.script.down(sendgridDown, s.at(after)) && draw < 0.85 {
		tell(after+took, "bounce", object{"type": "blocked", "reason": "550 5.7.1 Our system has detected that this message is likely unsolicited mail", "status": "5.7.1"})
		return
	}
	switch {
	case draw < 0.010:
		tell(after+took, "bounce", object{"type": "bounce", "reason": "550 5.1.1 The email account that you tried to reach does not exist", "status": "5.1.1"})
		return
	case draw < 0.014:
		tell(after+took, "dropped", object{"reason": "Bounced Address"})
		return
	case draw < 0.035:
		tell(after+took, "deferred", object{"response": "421 4.7.0 Try again later", "attempt": "1"})
		took += s.between(20*time.Second, 90*time.Second)
	}
	tell(after+took, "delivered", object{"response": "250 2.0.0 OK", "latency_ms": took.Milliseconds()})
	opened := after + took + s.between(5*time.Second, 5*time.Minute)
	switch {
	case s.chance(0.32):
		tell(opened, "open", object{"useragent": "Mozilla/5.0"})
		if s.chance(0.22) {
			tell(opened+s.between(2*time.Second, 40*time.Second), "click", object{"url": "https://shop.example/offers"})
		}
	case category == "newsletter" && s.chance(0.004):
		tell(opened, "unsubscribe", nil)
	case category == "newsletter" && s.chance(0.001):
		tell(opened, "spamreport", nil)
	}
}
