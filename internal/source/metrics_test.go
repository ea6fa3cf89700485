package source

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// observation is what one event adds to a metric, written as "value dimension=… …", or "" when it adds nothing.
func observation(t testing.TB, d *metric.Definition, ev *event.Event) string {
	t.Helper()
	if !slices.Contains(d.EventTypes, ev.Type) { // no pattern among them: see below
		return ""
	}
	p, err := metric.Compile(*d)
	if err != nil {
		t.Fatalf("%s: %v", d.Slug, err)
	}
	var doc metric.Doc
	doc.Reset(ev)
	labels, o, ok := p.Observe(&doc)
	if !ok {
		return ""
	}
	if o.Numeric != (d.Value != "") {
		t.Errorf("%s: the value is not a number", d.Slug)
	}
	out := []string{"1"} // for what only counts
	if o.Numeric {
		out[0] = strconv.FormatFloat(o.Value, 'g', -1, 64)
	}
	for i, name := range p.Dimensions() {
		if name != "source" {
			out = append(out, name+"="+labels[i])
		} else if labels[i] != ev.Source {
			t.Errorf("%s: source is %q", d.Slug, labels[i])
		}
	}
	return strings.Join(out, " ")
}

func TestStandardMetricsAreWellFormed(t *testing.T) {
	dimension := regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	slugs := map[string]bool{metric.EventsSlug: true}
	for _, v := range NewCatalogue().All() {
		if len(v.Metrics) == 0 {
			t.Errorf("%s has no standard metrics", v.Slug)
		}
		for _, d := range v.MetricsFor("acme") {
			if tenant.CheckSlug(d.Slug) != nil || !strings.HasPrefix(d.Slug, v.Slug+"-") || slugs[d.Slug] {
				t.Errorf("slug %s", d.Slug)
			}
			slugs[d.Slug] = true
			if d.Name == "" || d.Unit == "" || !strings.HasSuffix(d.Description, ".") || d.Vendor != v.Slug || d.Tenant != "acme" || d.Builtin {
				t.Errorf("%s: %+v", d.Slug, d)
			}
			// A type twice, or one that a pattern covers, might count an event twice.
			if len(d.EventTypes) == 0 || len(slices.Compact(slices.Sorted(slices.Values(d.EventTypes)))) != len(d.EventTypes) || strings.Contains(strings.Join(d.EventTypes, ""), "*") {
				t.Errorf("%s: event types %q", d.Slug, d.EventTypes)
			}
			if d.Dimensions["source"] != "source" {
				t.Errorf("%s: two sources of one vendor cannot be told apart", d.Slug)
			}
			for name := range d.Dimensions {
				if !dimension.MatchString(name) {
					t.Errorf("%s: dimension %s", d.Slug, name)
				}
			}
			if _, err := metric.Compile(d); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAnEventWithoutTheDataOfAMetricGivesItANumberOrNothing(t *testing.T) {
	for _, v := range NewCatalogue().All() {
		for _, d := range v.Metrics {
			for _, kind := range d.EventTypes {
				for _, data := range []string{`{}`, `{"data":null}`, `{"data":{"object":null}}`, `{"data":{"object":{"currency":"usd","amount":"much"}}}`, `[]`, `7`} {
					got := observation(t, &d, &event.Event{Type: kind, Data: []byte(data)}) // which fails the test for any other value
					if d.Unit != "ratio" && d.Value != "" && got != "" {
						t.Errorf("%s of %s: %s", d.Slug, data, got)
					}
				}
			}
		}
	}
}

func TestMetricsForATenantAreItsOwn(t *testing.T) {
	v, _ := NewCatalogue().Lookup("stripe")
	first := v.MetricsFor("a")
	first[0].Dimensions["x"], first[0].EventTypes[0] = "y", "z"
	if second := v.MetricsFor("b"); second[0].Dimensions["x"] != "" || second[0].EventTypes[0] == "z" || v.Metrics[0].Tenant != "" {
		t.Error("a change of one tenant's metrics is seen by another")
	}
}

func TestHealthNamesMetricsAndDimensionsThatExist(t *testing.T) {
	for _, v := range NewCatalogue().All() {
		for _, s := range []Selection{v.Health.Errors, v.Health.Total} {
			i := slices.IndexFunc(v.Metrics, func(d metric.Definition) bool { return d.Slug == s.Metric })
			if i < 0 {
				t.Errorf("%s: no metric %s", v.Slug, s.Metric)
				continue
			}
			for name := range s.Where {
				if v.Metrics[i].Dimensions[name] == "" {
					t.Errorf("%s: %s has no dimension %s", v.Slug, s.Metric, name)
				}
			}
		}
	}
}

// expectObservations checks what an event adds to all the metrics of a vendor; a metric that isn't named gets nothing.
func expectObservations(t *testing.T, vendor, what, kind, data string, want map[string]string) {
	t.Helper()
	v, _ := NewCatalogue().Lookup(vendor)
	got := map[string]string{}
	for _, d := range v.Metrics {
		if o := observation(t, &d, &event.Event{Source: vendor, Type: kind, Data: []byte(data)}); o != "" {
			got[d.Slug] = o
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestGitHubMetrics(t *testing.T) {
	run := func(action, conclusion string) string {
		return `{"action":"` + action + `","workflow":{"name":"test"},"repository":{"full_name":"o/r"},"workflow_run":{"name":"x","conclusion":` + conclusion +
			`,"created_at":"2026-01-01T00:00:00Z","run_started_at":"2026-01-01T00:00:10Z","updated_at":"2026-01-01T01:01:40Z"}}`
	}
	pull := func(action, pull string) string {
		return `{"action":"` + action + `","repository":{"full_name":"o/r"},"pull_request":` + pull + `}`
	}
	deployment := func(state string) string {
		return `{"action":"created","repository":{"full_name":"o/r"},"deployment":{"environment":"production"},"deployment_status":{"state":"` + state + `"}}`
	}
	type metrics = map[string]string
	for _, c := range []struct {
		what, kind, data string
		want             metrics
	}{
		{"a run that succeeded", "workflow_run", run("completed", `"success"`), metrics{
			"github-workflow-runs":     "1 conclusion=success repository=o/r workflow=test",
			"github-workflow-success":  "1 repository=o/r workflow=test",
			"github-workflow-duration": "3690 conclusion=success repository=o/r workflow=test",
		}},
		{"a run that failed", "workflow_run", run("completed", `"failure"`), metrics{
			"github-workflow-runs":     "1 conclusion=failure repository=o/r workflow=test",
			"github-workflow-success":  "0 repository=o/r workflow=test",
			"github-workflow-duration": "3690 conclusion=failure repository=o/r workflow=test",
		}},
		{"a run that was cancelled", "workflow_run", run("completed", `"cancelled"`), metrics{
			"github-workflow-runs":     "1 conclusion=cancelled repository=o/r workflow=test",
			"github-workflow-duration": "3690 conclusion=cancelled repository=o/r workflow=test",
		}},
		{"a run that was requested", "workflow_run", run("requested", "null"), metrics{}},
		{"a run that goes on", "workflow_run", run("in_progress", "null"), metrics{}},
		{"a job that was given a runner", "workflow_job", `{"action":"in_progress","repository":{"full_name":"o/r"},
			"workflow_job":{"workflow_name":"test","created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:07Z"}}`,
			metrics{"github-job-queue-time": "7 repository=o/r workflow=test"}},
		{"a job that waits", "workflow_job", `{"action":"queued","workflow_job":{"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z"}}`, metrics{}},
		{"a deployment that succeeded", "deployment_status", deployment("success"), metrics{
			"github-deployments":        "1 environment=production repository=o/r state=success",
			"github-deployment-success": "1 environment=production repository=o/r",
		}},
		{"a deployment that failed", "deployment_status", deployment("error"), metrics{
			"github-deployments":        "1 environment=production repository=o/r state=error",
			"github-deployment-success": "0 environment=production repository=o/r",
		}},
		{"a deployment under way", "deployment_status", deployment("in_progress"), metrics{}},
		{"a deployment that was replaced", "deployment_status", deployment("inactive"), metrics{}},
		{"a pull request that was opened", "pull_request", pull("opened", `{"merged":false}`), metrics{"github-pull-requests": "1 action=opened repository=o/r"}},
		{"a pull request that was given up", "pull_request", pull("closed", `{"merged":false}`), metrics{"github-pull-requests": "1 action=closed repository=o/r"}},
		{"a pull request that was merged", "pull_request", pull("closed", `{"merged":true,"created_at":"2026-01-01T00:00:00Z","merged_at":"2026-01-02T00:00:00Z"}`), metrics{
			"github-pull-requests":           "1 action=merged repository=o/r",
			"github-pull-request-merge-time": "86400 repository=o/r",
		}},
		{"a merged pull request that got a label", "pull_request", pull("labeled", `{"merged":true}`), metrics{"github-pull-requests": "1 action=labeled repository=o/r"}},
		{"a push", "push", `{"ref":"refs/heads/main","repository":{"full_name":"o/r"}}`, metrics{"github-pushes": "1 repository=o/r"}},
		{"a Dependabot alert", "dependabot_alert", `{"action":"created","repository":{"full_name":"o/r"}}`, metrics{
			"github-security-alerts": "1 action=created kind=dependabot_alert repository=o/r",
		}},
		{"a ping", "ping", `{"zen":"…"}`, metrics{}},
	} {
		expectObservations(t, "github", c.what, c.kind, c.data, c.want)
	}
}

// stripeData is the body of a Stripe event about a charge.
func stripeData(object, previous string) string {
	return `{"id":"evt_1","data":{"object":{"payment_method_details":{"card":{"country":"US","brand":"visa"}},` + object + `}` + previous + `}}`
}

func TestStripeMetrics(t *testing.T) {
	const card = "brand=visa country=US currency=usd"
	type metrics = map[string]string
	for _, c := range []struct {
		what, kind, data string
		want             metrics
	}{
		{"a payment", "charge.succeeded", stripeData(`"amount":1999,"amount_captured":1999,"captured":true,"currency":"usd","status":"succeeded"`, ""), metrics{
			"stripe-payments":        "1 " + card + " status=succeeded",
			"stripe-payment-success": "1 " + card,
			"stripe-revenue":         "19.99 " + card,
		}},
		{"a payment of an old API version", "charge.succeeded", stripeData(`"amount":1999,"currency":"usd"`, ""), metrics{
			"stripe-payments":        "1 " + card + " status=succeeded",
			"stripe-payment-success": "1 " + card,
			"stripe-revenue":         "19.99 " + card,
		}},
		{"a payment that isn't by card", "charge.succeeded", `{"data":{"object":{"amount":500,"currency":"eur","captured":true,"payment_method_details":{"type":"sepa_debit"}}}}`, metrics{
			"stripe-payments":        "1 brand= country= currency=eur status=succeeded",
			"stripe-payment-success": "1 brand= country= currency=eur",
			"stripe-revenue":         "5 brand= country= currency=eur",
		}},
		{"an authorization", "charge.succeeded", stripeData(`"amount":1999,"amount_captured":0,"captured":false,"currency":"usd"`, ""), metrics{
			"stripe-payments":        "1 " + card + " status=succeeded",
			"stripe-payment-success": "1 " + card,
		}},
		{"its capture, in part", "charge.captured", stripeData(`"amount":1999,"amount_captured":1500,"captured":true,"currency":"usd"`, ""), metrics{"stripe-revenue": "15 " + card}},
		{"a failed payment", "charge.failed", stripeData(`"amount":1999,"currency":"usd","failure_code":"card_declined","outcome":{"reason":"insufficient_funds"}`, ""), metrics{
			"stripe-payments":        "1 " + card + " status=failed",
			"stripe-payment-success": "0 " + card,
			"stripe-failed-payments": "1 brand=visa country=US currency=usd decline_code=insufficient_funds failure_code=card_declined",
		}},
		{"a failed payment without an outcome", "charge.failed", stripeData(`"currency":"usd","failure_code":"expired_card","outcome":null`, ""), metrics{
			"stripe-payments":        "1 " + card + " status=failed",
			"stripe-payment-success": "0 " + card,
			"stripe-failed-payments": "1 brand=visa country=US currency=usd decline_code= failure_code=expired_card",
		}},
		{"a full refund", "charge.refunded", stripeData(`"amount":1999,"amount_refunded":1999,"captured":true,"currency":"usd"`, ""), metrics{
			"stripe-refunds": "1 " + card, "stripe-refund-amount": "19.99 " + card,
		}},
		{"the second part of a refund", "charge.refunded", stripeData(`"amount_refunded":1500,"captured":true,"currency":"usd"`, `,"previous_attributes":{"amount_refunded":500}`), metrics{
			"stripe-refunds": "1 " + card, "stripe-refund-amount": "10 " + card,
		}},
		{"an authorization that was let go", "charge.refunded", stripeData(`"amount_refunded":1999,"captured":false,"currency":"usd"`, ""), metrics{}},
		{"a dispute", "charge.dispute.created", stripeData(`"amount":1999,"currency":"usd","reason":"fraudulent","status":"needs_response"`, ""), metrics{
			"stripe-disputes": "1 brand=visa currency=usd reason=fraudulent status=needs_response",
		}},
		{"a dispute that was won", "charge.dispute.closed", stripeData(`"currency":"usd","reason":"fraudulent","status":"won"`, ""), metrics{"stripe-dispute-wins": "1 currency=usd reason=fraudulent"}},
		{"a dispute that was lost", "charge.dispute.closed", stripeData(`"currency":"usd","reason":"general","status":"lost"`, ""), metrics{"stripe-dispute-wins": "0 currency=usd reason=general"}},
		{"an inquiry that came to nothing", "charge.dispute.closed", stripeData(`"currency":"usd","reason":"general","status":"warning_closed"`, ""), metrics{}},
		{"an early fraud warning", "radar.early_fraud_warning.created", `{"data":{"object":{"fraud_type":"made_with_stolen_card"}}}`, metrics{"stripe-fraud-warnings": "1 fraud_type=made_with_stolen_card"}},
		{"a payout that failed", "payout.failed", `{"data":{"object":{"currency":"usd","failure_code":"account_closed"}}}`, metrics{"stripe-failed-payouts": "1 currency=usd failure_code=account_closed"}},
		// What tells of the same payment once more must not count.
		{"the payment's intent", "payment_intent.succeeded", stripeData(`"amount":1999,"currency":"usd"`, ""), metrics{}},
		{"the payment's invoice", "invoice.paid", stripeData(`"amount_paid":1999,"currency":"usd"`, ""), metrics{}},
		{"a change of the payment", "charge.updated", stripeData(`"amount":1999,"currency":"usd"`, ""), metrics{}},
	} {
		expectObservations(t, "stripe", c.what, c.kind, c.data, c.want)
	}
}

func TestRevenueIsInWholeUnitsOfEachCurrency(t *testing.T) {
	v, _ := NewCatalogue().Lookup("stripe")
	i := slices.IndexFunc(v.Metrics, func(d metric.Definition) bool { return d.Slug == "stripe-revenue" })
	for currency, want := range map[string]string{
		"usd": "1234", "eur": "1234", "inr": "1234", "isk": "1234", "ugx": "1234", "huf": "1234", "twd": "1234",
		"jpy": "123400", "krw": "123400", "clp": "123400", "vnd": "123400", "xof": "123400", "mga": "123400",
		"kwd": "123.4", "bhd": "123.4", "jod": "123.4", "omr": "123.4", "tnd": "123.4",
	} {
		ev := event.Event{Type: "charge.succeeded", Data: []byte(stripeData(`"amount":123400,"captured":true,"currency":"`+currency+`"`, ""))}
		if got, _, _ := strings.Cut(observation(t, &v.Metrics[i], &ev), " "); got != want {
			t.Errorf("%s: %s, want %s", currency, got, want)
		}
	}
}
