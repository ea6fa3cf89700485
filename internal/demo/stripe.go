package demo

import (
	"time"
)

// brand is a card's.
type brand struct{ name, network string }

func brands() []weighted[brand] {
	return []weighted[brand]{{0.54, brand{"visa", "visa"}}, {0.31, brand{"mastercard", "mastercard"}}, {0.11, brand{"amex", "amex"}}, {0.04, brand{"discover", "discover"}}}
}

// decline is why a payment failed: Stripe's failure code, and the bank's reason.
type decline struct{ code, reason, message string }

func declines() []weighted[decline] {
	return []weighted[decline]{
		{0.36, decline{"card_declined", "insufficient_funds", "Your card has insufficient funds."}},
		{0.28, decline{"card_declined", "generic_decline", "Your card was declined."}},
		{0.12, decline{"card_declined", "do_not_honor", "Your card was declined."}},
		{0.12, decline{"incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."}},
		{0.07, decline{"expired_card", "expired_card", "Your card has expired."}},
		{0.05, decline{"card_declined", "highest_risk_level", "Your card was declined."}},
	}
}

// webhook adds a delivery of Stripe's: an event around an object.
func (s *story) webhook(after time.Duration, kind string, of object, previous object) {
	id := "evt_1" + token(s.Rand, base62, 23)
	data := object{"object": of}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	subject, _ := of["id"].(string)
	s.emit(after, stripeSource, id, kind, subject, object{
		"id": id, "object": "event", "api_version": "2025-09-30.clover", "created": s.at(after).Unix(), "type": kind, "data": data,
		"livemode": true, "pending_webhooks": 1, "request": object{"id": "req_" + token(s.Rand, base62, 14), "idempotency_key": uuid(s.Rand)},
	})
}

// pay tries to pay for a basket with a card, and says why not if it fails.
func (s *story) pay(after time.Duration, b *basket) (decline, bool) {
	charge, intent := "ch_3"+token(s.Rand, base62, 23), "pi_3"+token(s.Rand, base62, 23)
	d, failed := choose(s.Rand, s.declines), s.chance(0.035)
	if s.place.code == "US" && s.script.down(stripeDown, s.at(after)) && s.chance(0.85) {
		failed = true
		d = choose(s.Rand, []weighted[decline]{
			{0.7, decline{"processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit."}},
			{0.3, decline{"card_declined", "issuer_not_available", "Your card was declined."}},
		})
	}
	of := s.charge(charge, intent, after, b)
	if !failed {
		s.webhook(after, "charge.succeeded", of, nil)
		s.webhook(after+150*time.Millisecond, "payment_intent.succeeded", s.intent(intent, charge, "succeeded", after, b), nil)
		return d, true
	}
	of["status"], of["paid"], of["captured"], of["amount_captured"] = "failed", false, false, 0
	of["failure_code"], of["failure_message"] = d.code, d.message
	of["outcome"] = object{"network_status": "declined_by_network", "reason": d.reason, "risk_level": "normal", "risk_score": s.IntN(40), "seller_message": d.message, "type": "issuer_declined"}
	s.webhook(after, "charge.failed", of, nil)
	s.webhook(after+150*time.Millisecond, "payment_intent.payment_failed", s.intent(intent, charge, "requires_payment_method", after, b), nil)
	return d, false
}

// charge is a charge that succeeded.
func (s *story) charge(id, intent string, after time.Duration, b *basket) object {
	amount := s.place.amount(b.usd)
	return object{
		"id": id, "object": "charge", "amount": amount, "amount_captured": amount, "amount_refunded": 0, "captured": true, "paid": true, "refunded": false,
		"status": "succeeded", "currency": s.place.currency, "created": s.at(after).Unix(), "customer": b.customer, "description": "Order " + b.order,
		"disputed": false, "failure_code": nil, "failure_message": nil, "livemode": true, "metadata": object{"order": b.order}, "payment_intent": intent,
		"billing_details":        object{"address": object{"country": s.place.code}},
		"outcome":                object{"network_status": "approved_by_network", "reason": nil, "risk_level": "normal", "risk_score": s.IntN(40), "seller_message": "Payment complete.", "type": "authorized"},
		"payment_method_details": s.card(),
	}
}

func (s *story) card() object {
	b := choose(s.Rand, s.brands)
	return object{"type": "card", "card": object{
		"brand": b.name, "network": b.network, "country": s.place.code, "funding": choose(s.Rand, []weighted[string]{{0.6, "credit"}, {0.4, "debit"}}),
		"last4": token(s.Rand, hexDigits[:10], 4), "exp_month": 1 + s.IntN(12), "exp_year": s.begin.Year() + 1 + s.IntN(4),
	}}
}

func (s *story) intent(id, charge, status string, after time.Duration, b *basket) object {
	return object{
		"id": id, "object": "payment_intent", "amount": s.place.amount(b.usd), "currency": s.place.currency, "created": s.at(after).Unix() - 2, "customer": b.customer,
		"latest_charge": charge, "livemode": true, "status": status, "metadata": object{"order": b.order}, "payment_method_types": []string{"card"},
	}
}

// refund is a customer who gets money back, all or some.
func (s *story) refund() {
	b := s.basket()
	of := s.charge("ch_3"+token(s.Rand, base62, 23), "pi_3"+token(s.Rand, base62, 23), -s.between(24*time.Hour, 480*time.Hour), &b)
	amount := s.place.amount(b.usd)
	if s.chance(0.3) {
		amount = amount/2 + 1
	}
	of["amount_refunded"], of["refunded"] = amount, amount == s.place.amount(b.usd)
	s.webhook(0, "charge.refunded", of, object{"amount_refunded": 0})
	s.shop(time.Second, "order.refunded", b.order, object{"order": b.order, "category": b.product.category, "total_usd": b.usd})
}

// dispute is a customer who calls the bank: a dispute begins or ends, sometimes after a warning.
func (s *story) dispute() {
	b := s.basket()
	charge := "ch_3" + token(s.Rand, base62, 23)
	if s.chance(0.3) {
		s.webhook(0, "radar.early_fraud_warning.created", object{
			"id": "issfr_1" + token(s.Rand, base62, 23), "object": "radar.early_fraud_warning", "actionable": true, "charge": charge, "created": s.begin.Unix(),
			"fraud_type": choose(s.Rand, []weighted[string]{{0.7, "made_with_stolen_card"}, {0.3, "unauthorized_use_of_card"}}), "livemode": true,
		}, nil)
		return
	}
	of := object{
		"id": "du_1" + token(s.Rand, base62, 23), "object": "dispute", "amount": s.place.amount(b.usd), "currency": s.place.currency, "charge": charge, "created": s.begin.Unix(),
		"livemode": true, "reason": choose(s.Rand, []weighted[string]{{0.5, "fraudulent"}, {0.25, "product_not_received"}, {0.15, "subscription_canceled"}, {0.1, "duplicate"}}),
		"status": "needs_response", "payment_method_details": object{"type": "card", "card": object{"brand": choose(s.Rand, s.brands).name}},
	}
	if s.chance(0.6) {
		s.webhook(0, "charge.dispute.created", of, nil)
		return
	}
	of["status"] = choose(s.Rand, []weighted[string]{{0.45, "won"}, {0.55, "lost"}})
	s.webhook(0, "charge.dispute.closed", of, object{"status": "under_review"})
}

// payout is the shop's money on its way to its bank.
func (s *story) payout() {
	of := object{
		"id": "po_1" + token(s.Rand, base62, 23), "object": "payout", "amount": s.place.amount(around(s.Rand, 8000, 0.4)), "currency": s.place.currency,
		"created": s.begin.Unix(), "livemode": true, "method": "standard", "type": "bank_account", "status": "paid", "failure_code": nil,
	}
	kind := "payout.paid"
	if s.chance(0.1) {
		kind, of["status"], of["failure_code"] = "payout.failed", "failed", "account_closed"
	}
	s.webhook(0, kind, of, nil)
}
