package demo

import (
	"math"
	"time"
)

// The sources.
const (
	stripeSource   = "stripe"
	githubSource   = "github"
	twilioSource   = "twilio"
	sendgridSource = "sendgrid"
	shopSource     = "shop"
)

// world is the tables that stories draw from. Nothing writes to it.
type world struct {
	flows  []flow
	places []weighted[*place]

	brands    []weighted[brand]
	declines  []weighted[decline]
	domains   []weighted[string]
	products  []weighted[product]
	devices   []weighted[string]
	repos     []weighted[repo]
	workflows []weighted[workflow]
	people    []weighted[string]
}

// place is a country where customers live.
type place struct {
	code     string
	zone     *time.Location
	currency string
	perUSD   float64
	minor    float64 // minor units in one
	phone    string
	carriers []weighted[string]
}

func (p *place) local(t time.Time) time.Time { return t.In(p.zone) }

// amount is a price in the minor units of the place's currency.
func (p *place) amount(usd float64) int64 { return int64(math.Round(usd * p.perUSD * p.minor)) }

func zone(hours int) *time.Location { return time.FixedZone("", hours*3600) }

func newWorld() *world {
	return &world{
		flows:     flows(),
		places:    places(),
		brands:    brands(),
		declines:  declines(),
		domains:   domains(),
		products:  products(),
		devices:   []weighted[string]{{0.56, "phone"}, {0.36, "desktop"}, {0.08, "tablet"}},
		repos:     repos(),
		workflows: workflows(),
		people:    people(),
	}
}

// flows is all that goes on. The rates are such that the events of all stories are about 25 a second.
func flows() []flow {
	return []flow{
		{"checkout", 2.4, shopping, (*story).checkout},
		{"browse", 1.6, shopping, (*story).browse},
		{"shipment", 0.5, working, (*story).shipment},
		{"refund", 0.05, working, (*story).refund},
		{"dispute", 0.008, shopping, (*story).dispute},
		{"payout", 0.004, working, (*story).payout},
		{"login", 1.9, shopping, (*story).login},
		{"newsletter", 1.1, mailing, (*story).newsletter},
		{"push", 0.22, working, (*story).push},
		{"pull", 0.16, working, (*story).pull},
		{"build", 0.8, working, (*story).build},
		{"deploy", 0.07, working, (*story).deploy},
		{"advisory", 0.004, working, (*story).advisory},
	}
}

func places() []weighted[*place] {
	return []weighted[*place]{
		{0.40, &place{"US", zone(-6), "usd", 1, 100, "+1", []weighted[string]{{0.36, "Verizon"}, {0.34, "T-Mobile"}, {0.30, "AT&T"}}}},
		{0.20, &place{"GB", zone(0), "gbp", 0.78, 100, "+44", []weighted[string]{{0.4, "EE"}, {0.3, "O2"}, {0.3, "Vodafone"}}}},
		{0.13, &place{"DE", zone(1), "eur", 0.92, 100, "+49", []weighted[string]{{0.4, "Telekom"}, {0.32, "Vodafone"}, {0.28, "O2"}}}},
		{0.08, &place{"FR", zone(1), "eur", 0.92, 100, "+33", []weighted[string]{{0.4, "Orange"}, {0.3, "SFR"}, {0.3, "Bouygues"}}}},
		{0.07, &place{"CA", zone(-5), "cad", 1.37, 100, "+1", []weighted[string]{{0.4, "Rogers"}, {0.3, "Bell"}, {0.3, "Telus"}}}},
		{0.05, &place{"JP", zone(9), "jpy", 151, 1, "+81", []weighted[string]{{0.45, "Docomo"}, {0.3, "au"}, {0.25, "SoftBank"}}}},
		{0.04, &place{"AU", zone(10), "aud", 1.52, 100, "+61", []weighted[string]{{0.5, "Telstra"}, {0.5, "Optus"}}}},
		{0.03, &place{"BR", zone(-3), "brl", 5.1, 100, "+55", []weighted[string]{{0.5, "Vivo"}, {0.5, "Claro"}}}},
	}
}
