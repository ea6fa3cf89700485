package demo

import (
	"math"
	"time"
)

// text is a text message: it is sent, and then it arrives or doesn't.
func (s *story) text(after time.Duration, purpose string) {
	sid, carrier := "SM"+token(s.Rand, hexDigits, 32), choose(s.Rand, s.place.carriers)
	segments := 1 + poisson(s.Rand, 0.2)
	tell := func(at time.Duration, status string, more object) {
		data := object{
			"message_sid": sid, "status": status, "from": "+15005550006", "to": s.place.phone + "•••" + token(s.Rand, hexDigits[:10], 4),
			"country": s.place.code, "carrier": carrier, "purpose": purpose, "segments": segments,
		}
		for k, v := range more {
			data[k] = v
		}
		s.emit(at, twilioSource, sid+"/"+status, "message."+status, sid, data)
	}
	took := time.Duration(min(around(s.Rand, 2.2, 0.7), 90) * float64(time.Second))
	draw := s.Float64()
	tell(after, "sent", object{"price_usd": -0.0079 * float64(segments)})
	if s.place.code == "GB" && s.script.down(twilioDown, s.at(after)) {
		// What still arrives takes long.
		took = 2*time.Second + 3*took
		if draw < 0.92 {
			code := choose(s.Rand, []weighted[int]{{0.8, 30008}, {0.2, 30003}})
			tell(after+time.Second+took/10, "undelivered", object{"error_code": code, "error_message": twilioErrors(code)})
			return
		}
	}
	switch {
	case draw < 0.012:
		code := choose(s.Rand, []weighted[int]{{0.4, 30003}, {0.3, 30005}, {0.3, 30007}})
		tell(after+took, "undelivered", object{"error_code": code, "error_message": twilioErrors(code)})
	case draw < 0.016:
		tell(after+300*time.Millisecond, "failed", object{"error_code": 21610, "error_message": twilioErrors(21610)})
	default:
		tell(after+took, "delivered", object{"latency_ms": int(math.Round(float64(took.Milliseconds())))})
	}
}

func twilioErrors(code int) string {
	switch code {
	case 30003:
		return "Unreachable destination handset"
	case 30005:
		return "Unknown destination handset"
	case 30007:
		return "Message filtered"
	case 30008:
		return "Unknown error"
	}
	return "Recipient has unsubscribed"
}
