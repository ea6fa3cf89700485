package source

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
)

// stripe is Stripe: its events, those of the second API version (thin events) included.
//
// Stripe's libraries bound only the past. We bound the future as well: a delivery that is dated ahead could be replayed
// for all that time. A clock that is five minutes off makes Stripe retry, for days, so nothing is lost by it.
func stripe() *Vendor {
	return &Vendor{
		Slug:       "stripe",
		Name:       "Stripe",
		Docs:       "https://docs.stripe.com/webhooks",
		SecretHint: "The signing secret of the webhook endpoint, whsec_…, shown under Developers → Webhooks. Test mode and live mode have an endpoint and a secret each: make a source for each.",
		Scheme: Scheme{
			Header:    "Stripe-Signature",
			Form:      Pairs,
			Accept:    []string{"v1"},
			Signed:    "{timestamp}.{body}",
			Algorithm: HMACSHA256,
			Encoding:  Hex,
			Timestamp: Field{Param: "t"},
			Past:      5 * time.Minute,
			Future:    5 * time.Minute,
		},
		Mapping: Mapping{
			ID:      []Field{{Path: "id"}},
			Type:    []Field{{Path: "type"}},
			Time:    []Field{{Path: "created"}},
			Subject: []Field{{Path: "data.object.id"}, {Path: "related_object.id"}},
		},
		Metrics: stripeMetrics(),
		Health: Health{
			Errors: Selection{Metric: "stripe-payments", Where: map[string][]string{"status": {"failed"}}},
			Total:  Selection{Metric: "stripe-payments"},
		},
	}
}

// stripeMetrics counts payments by charge.*: every attempt at a payment makes one charge, whether it came by a payment
// intent, an invoice, a checkout session or the old API, and each of these tells of the same attempt in events of its own.
// An event's object stands at data.data.object, because data is the webhook's whole body.
func stripeMetrics() []metric.Definition {
	const object = "data.data.object."
	card := map[string]string{
		"source": "source", "currency": object + "currency",
		"country": object + "payment_method_details.card.country", "brand": object + "payment_method_details.card.brand",
	}
	attempts := []string{"charge.succeeded", "charge.failed"}
	// An amount that is only authorized is no revenue yet, and letting go of it is no refund, though Stripe calls it so.
	const captured = "!has(" + object + "captured) || " + object + "captured == true"
	return []metric.Definition{
		{
			Slug: "stripe-payments", Name: "Payments", Unit: "payments",
			Description: "Attempts at a payment, by status: succeeded or failed.",
			EventTypes:  attempts,
			Dimensions:  with(card, "status", `type == "charge.succeeded" ? "succeeded" : "failed"`),
		},
		{
			Slug: "stripe-payment-success", Name: "Payment success rate", Unit: "ratio",
			Description: "1 for a payment that succeeded, 0 for one that failed; the average is the success rate.",
			EventTypes:  attempts, Value: `type == "charge.succeeded" ? 1.0 : 0.0`,
			Dimensions: card,
		},
		{
			Slug: "stripe-failed-payments", Name: "Failed payments", Unit: "payments",
			Description: "Payments that failed, by Stripe's failure code and the bank's (or Radar's) reason.",
			EventTypes:  []string{"charge.failed"},
			Dimensions:  with(with(card, "failure_code", object+"failure_code"), "decline_code", object+"outcome.reason"),
		},
		{
			Slug: "stripe-revenue", Name: "Gross revenue", Unit: "currency",
			Description: "Amounts captured, in whole units of each currency (dollars, not cents); group by currency, or name one.",
			// A charge is captured when it succeeds or, if it was only authorized then, later, with an event of its own.
			EventTypes: []string{"charge.succeeded", "charge.captured"}, Filter: captured,
			Value:      major("(has(" + object + "amount_captured) ? double(" + object + "amount_captured) : double(" + object + "amount))"),
			Dimensions: card,
		},
		{
			Slug: "stripe-refunds", Name: "Refunds", Unit: "refunds",
			Description: "Refunds, partial ones included.",
			EventTypes:  []string{"charge.refunded"}, Filter: captured,
			Dimensions: card,
		},
		{
			Slug: "stripe-refund-amount", Name: "Refunded amount", Unit: "currency",
			Description: "Amounts refunded, in whole units of each currency; group by currency, or name one.",
			EventTypes:  []string{"charge.refunded"}, Filter: captured,
			// The charge holds the sum of its refunds so far; this one is what it grew by.
			Value: major("(double(" + object + "amount_refunded) - (has(data.data.previous_attributes) && " +
				"has(data.data.previous_attributes.amount_refunded) ? double(data.data.previous_attributes.amount_refunded) : 0.0))"),
			Dimensions: card,
		},
		{
			Slug: "stripe-disputes", Name: "Disputes", Unit: "disputes",
			Description: "Disputes that were opened, by reason and the status they began with.",
			EventTypes:  []string{"charge.dispute.created"},
			Dimensions: map[string]string{
				"source": "source", "currency": object + "currency", "reason": object + "reason", "status": object + "status",
				"brand": object + "payment_method_details.card.brand",
			},
		},
		{
			Slug: "stripe-dispute-wins", Name: "Dispute win rate", Unit: "ratio",
			Description: "1 for a dispute that was won, 0 for one that was lost; the average is the win rate. Inquiries that came to nothing don't count.",
			EventTypes:  []string{"charge.dispute.closed"},
			Filter:      object + `status in ["won", "lost"]`, Value: object + `status == "won" ? 1.0 : 0.0`,
			Dimensions: map[string]string{"source": "source", "currency": object + "currency", "reason": object + "reason"},
		},
		{
			Slug: "stripe-fraud-warnings", Name: "Early fraud warnings", Unit: "warnings",
			Description: "Early fraud warnings of the card networks, by kind.",
			EventTypes:  []string{"radar.early_fraud_warning.created"},
			Dimensions:  map[string]string{"source": "source", "fraud_type": object + "fraud_type"},
		},
		{
			Slug: "stripe-failed-payouts", Name: "Failed payouts", Unit: "payouts",
			Description: "Payouts to the bank account that failed, by failure code.",
			EventTypes:  []string{"payout.failed"},
			Dimensions:  map[string]string{"source": "source", "currency": object + "currency", "failure_code": object + "failure_code"},
		},
	}
}

// major is CEL for an amount in whole units of its currency. Stripe sends minor units: hundredths, but for the currencies
// that have none, and those that have thousandths. ISK and UGX have none either, yet Stripe keeps sending hundredths of
// them (docs.stripe.com/currencies, special cases).
func major(amount string) string {
	const currency = "data.data.object.currency"
	return amount + " / (" + currency + ` in ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"] ? 1.0 : ` +
		currency + ` in ["bhd", "jod", "kwd", "omr", "tnd"] ? 1000.0 : 100.0)`
}
