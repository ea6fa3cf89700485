package demo

import "time"

// Script says when which vendor is broken: the outages come one after the other, around and around.
type Script struct {
	First time.Time     // when the first outage begins; none when zero
	Lasts time.Duration // each
	Pause time.Duration // between two
}

// Outage is a vendor that is broken for a while.
type Outage struct {
	*trouble
	From, To time.Time
}

// trouble is a way for a vendor to be broken.
type trouble struct {
	name  string
	rule  string // the slug of the rule that sees it
	what  string // "Stripe: card payments in the US fail"
	plan  string // for the timeline: "Stripe's card payments begin to fail in the US"
	over  string // "Stripe: card payments in the US work again"
	watch string // where to look on the page
}

// The troubles by name, as the stories ask for them.
const (
	stripeDown   = "stripe"
	twilioDown   = "twilio"
	sendgridDown = "sendgrid"
	githubDown   = "github"
)

// troubles in the order of their turns.
func troubles() []trouble {
	return []trouble{
		{
			stripeDown, "payments-fail", "Stripe: card payments in the US fail", "Stripe's card payments begin to fail in the US",
			"Stripe: card payments in the US work again", "payments by status or country, and the shop's revenue",
		},
		{
			twilioDown, "messages-undelivered", "Twilio: text messages to the United Kingdom are not delivered", "Twilio no longer delivers text messages to the United Kingdom",
			"Twilio: text messages to the United Kingdom arrive again", "Twilio messages by status or carrier",
		},
		{
			githubDown, "builds-fail", "GitHub: Actions' runners have no network, builds fail", "builds at GitHub begin to fail",
			"GitHub: builds succeed again", "workflow runs by conclusion",
		},
		{
			sendgridDown, "mail-bounces", "SendGrid: Gmail blocks our mail", "Gmail begins to block the mail that SendGrid delivers",
			"SendGrid: Gmail takes our mail again", "SendGrid mail by event or domain",
		},
	}
}

// Turn is the n-th outage, counted from 0.
func (s *Script) Turn(n int) Outage {
	all := troubles()
	from := s.First.Add(time.Duration(n) * (s.Lasts + s.Pause))
	return Outage{trouble: &all[n%len(all)], From: from, To: from.Add(s.Lasts)}
}

// At is the outage at a time, if there is one.
func (s *Script) At(t time.Time) (Outage, bool) {
	if s.First.IsZero() || t.Before(s.First) {
		return Outage{}, false
	}
	o := s.Turn(int(t.Sub(s.First) / (s.Lasts + s.Pause)))
	return o, t.Before(o.To)
}

// down says whether this trouble reigns at a time.
func (s *Script) down(name string, t time.Time) bool {
	o, broken := s.At(t)
	return broken && o.name == name
}
