package demo

import (
	"context"
	"fmt"

	"github.com/pulsestream/pulsestream/client"
)

// The secrets that the simulated vendors sign with. They protect nothing: whoever reads this could send the demo an event.
const (
	stripeSecret = "whsec_demo_signs_with_this_and_nobody_else_should" //nolint:gosec // see above
	githubSecret = "demo-webhook-secret"                               //nolint:gosec // see above
)

// connect makes the vendors' sources and the shop's metrics, and learns where events go.
func (d *Demo) connect(ctx context.Context) error {
	d.doors = doors{own: d.cfg.Client, other: client.New(d.cfg.URL, ""), now: d.cfg.Now, hooks: map[string]hook{
		stripeSource: {secret: stripeSecret, sign: signStripe},
		githubSource: {secret: githubSecret, sign: signGitHub},
	}}
	for slug, h := range d.doors.hooks {
		source, err := d.cfg.Client.PutSource(ctx, slug, slug, h.secret)
		if err != nil {
			return fmt.Errorf("connect %s: %w", slug, err)
		}
		if h.path, err = pathOf(source); err != nil {
			return err
		}
		d.doors.hooks[slug] = h
	}
	for _, m := range ownMetrics() {
		if _, err := d.cfg.Client.PutMetric(ctx, m); err != nil {
			return fmt.Errorf("make the metric %s: %w", m.Slug, err)
		}
	}
	return nil
}

// ownMetrics are what the shop measures beside the vendors' standard metrics.
func ownMetrics() []client.Metric {
	return []client.Metric{
		{
			Slug: "shop-revenue", Name: "Shop revenue", Unit: "usd", Description: "What customers ordered, in US dollars.",
			EventTypes: []string{"order.placed"}, Filter: `source == "shop"`, Value: "data.total_usd",
			Dimensions: map[string]string{"country": "data.country", "category": "data.category", "device": "data.device"},
		},
		{
			Slug: "shop-checkouts", Name: "Checkout steps", Unit: "checkouts", Description: "What becomes of checkouts: started, order placed, payment failed, abandoned.",
			EventTypes: []string{"checkout.started", "checkout.abandoned", "order.placed", "payment.failed"}, Filter: `source == "shop"`,
			Dimensions: map[string]string{"step": "type", "country": "data.country", "device": "data.device"},
		},
		{
			Slug: "twilio-messages", Name: "Text messages", Unit: "messages", Description: "Text messages by what became of them.",
			EventTypes: []string{"message.delivered", "message.undelivered", "message.failed"}, Filter: `source == "twilio"`,
			Dimensions: map[string]string{"source": "source", "status": "data.status", "country": "data.country", "carrier": "data.carrier", "purpose": "data.purpose"},
		},
		{
			Slug: "twilio-delivery-time", Name: "Text message delivery time", Unit: "s", Description: "Seconds from sending a text message to the phone that has it.",
			EventTypes: []string{"message.delivered"}, Filter: `source == "twilio"`, Value: "data.latency_ms / 1000.0",
			Dimensions: map[string]string{"source": "source", "country": "data.country", "carrier": "data.carrier"},
		},
		{
			Slug: "sendgrid-mail", Name: "E-mail", Unit: "messages", Description: "What SendGrid tells of e-mails, by event.",
			EventTypes: []string{"email.*"}, Filter: `source == "sendgrid"`,
			Dimensions: map[string]string{"source": "source", "event": "data.event", "domain": "data.domain", "category": "data.category"},
		},
	}
}

// channelSlug is the channel that the rules tell.
const channelSlug = "ops"

// watchOver makes the channel and the rules.
func (d *Demo) watchOver(ctx context.Context) error {
	var channels []string
	if d.receiver != nil {
		c := client.Channel{Slug: channelSlug, Type: "webhook", Config: map[string]any{"url": d.receiver.url, "secret": d.receiver.secret}}
		if _, err := d.cfg.Client.PutChannel(ctx, c); err != nil {
			return fmt.Errorf("make the channel %s: %w", c.Slug, err)
		}
		channels = []string{channelSlug}
	}
	for _, r := range rules(channels) {
		if _, err := d.cfg.Client.PutRule(ctx, r); err != nil {
			return fmt.Errorf("make the rule %s: %w", r.Slug, err)
		}
	}
	return nil
}

// rules each see one of the troubles. They count failures within half a minute: on a bad day of usual size there are a few.
func rules(channels []string) []client.Rule {
	above := func(value, clearAt float64) client.Condition {
		return client.Condition{Type: "threshold", Op: ">", Value: value, Clear: &clearAt}
	}
	return []client.Rule{
		{
			Slug: "payments-fail", Name: "Stripe payments fail", Metric: "stripe-payments", Agg: "count", GroupBy: []string{"country"},
			Where: map[string]string{"status": "failed"}, Window: "30s", Condition: above(7, 3), For: "5s", Severity: "critical", Channels: channels,
			Summary: "Customers cannot pay. Split stripe-failed-payments by failure_code to see whether it is Stripe or the banks, look at status.stripe.com, and offer another way to pay if it lasts.",
		},
		{
			Slug: "messages-undelivered", Name: "Text messages are not delivered", Metric: "twilio-messages", Agg: "count", GroupBy: []string{"source", "country"},
			Where: map[string]string{"status": "undelivered"}, Window: "30s", Condition: above(5, 2), For: "5s", Severity: "critical", Channels: channels,
			Summary: "Customers do not get their sign-in codes. Split twilio-messages by carrier, and send codes by e-mail meanwhile.",
		},
		{
			Slug: "builds-fail", Name: "Builds fail", Metric: "github-workflow-runs", Agg: "count", GroupBy: []string{"source"},
			Where: map[string]string{"conclusion": "failure"}, Window: "30s", Condition: above(7, 2), For: "5s", Severity: "warning", Channels: channels,
			Summary: "Builds fail everywhere, so it is hardly the code. Look at githubstatus.com before you look for the commit.",
		},
		{
			Slug: "mail-bounces", Name: "E-mail bounces", Metric: "sendgrid-mail", Agg: "count", GroupBy: []string{"source", "domain"},
			Where: map[string]string{"event": "bounce"}, Window: "30s", Condition: above(9, 4), For: "5s", Severity: "warning", Channels: channels,
			Summary: "A provider refuses our mail. Pause newsletters before our reputation suffers; receipts go through the other pool.",
		},
	}
}
