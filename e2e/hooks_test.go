package e2e

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// webhook is a vendor's request.
type webhook struct {
	id, kind string // of the event that it is to become
	body     []byte
	header   http.Header // but for the signature
}

func hmacHex(h func() hash.Hash, secret string, parts ...[]byte) string {
	mac := hmac.New(h, []byte(secret))
	for _, p := range parts {
		mac.Write(p)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// gitHubSigned is a webhook's header as GitHub makes it.
func gitHubSigned(w webhook, secret string) http.Header {
	h := w.header.Clone()
	h.Set("X-Hub-Signature-256", "sha256="+hmacHex(sha256.New, secret, w.body))
	h.Set("X-Hub-Signature", "sha1="+hmacHex(sha1.New, secret, w.body))
	return h
}

// stripeSignature is the header Stripe-Signature as Stripe makes it.
func stripeSignature(body []byte, secret string, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hmacHex(sha256.New, secret, []byte(t+"."), body) + ",v0=" + hmacHex(sha256.New, "not it", body)
}

func stripeSigned(w webhook, secret string) http.Header {
	h := w.header.Clone()
	h.Set("Stripe-Signature", stripeSignature(w.body, secret, time.Now()))
	return h
}

// deliver sends a webhook to its hook, as a vendor would.
func deliver(t testing.TB, to string, h http.Header, body []byte) *client.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &client.Response{Status: resp.StatusCode, Header: resp.Header, Body: answer}
}

// inParallel calls f for each number below n, a few at a time.
func inParallel(n int, f func(i int)) {
	next := make(chan int)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
}

// gitHubWebhooks are real payloads, or a few of our own.
func gitHubWebhooks(t *testing.T, shared bool) []webhook {
	t.Helper()
	var all []webhook
	add := func(kind string, body []byte) {
		id := fmt.Sprintf("72d3162e-cc78-11e3-81ab-4c9367dc%04x", len(all))
		all = append(all, webhook{id: id, kind: kind, body: body, header: header("Content-Type", "application/json", "User-Agent", "GitHub-Hookshot/044aadd",
			"X-GitHub-Event", kind, "X-GitHub-Delivery", id, "X-GitHub-Hook-ID", "1")})
	}
	if !shared {
		for _, kind := range []string{"push", "pull_request", "workflow_run", "workflow_run", "deployment_status", "star", "ping"} {
			for i := range 5 {
				add(kind, fmt.Appendf(nil, `{"action":"completed","number":%d,"zen":"Ünïcode \u2603 stays","workflow_run":{"conclusion":"success","run_started_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:01:00Z"},`+
					`"deployment_status":{"state":"success"},"repository":{"full_name":"octo/hello"}}`, i))
			}
		}
		return all
	}
	f, err := os.Open(sharedData(t, "vendor", "github-webhooks.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var line struct {
			Event   string
			Payload json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		add(line.Event, bytes.Clone(line.Payload))
	}
	if lines.Err() != nil || len(all) != 206 {
		t.Fatalf("%d webhooks, want 206: %v", len(all), lines.Err())
	}
	return all
}

// stripeWebhooks are events around objects of Stripe's, or around a few of our own.
func stripeWebhooks(t *testing.T, shared bool) []webhook {
	t.Helper()
	objects := map[string]json.RawMessage{
		"charge": json.RawMessage(`{"id":"ch_1","object":"charge","amount":1250,"currency":"usd","captured":true,"payment_method_details":{"card":{"brand":"visa","country":"US"}}}`),
		"refund": json.RawMessage(`{"id":"re_1","object":"refund","amount":250,"currency":"usd"}`), "dispute": json.RawMessage(`{"id":"dp_1","object":"dispute","amount":250,"currency":"jpy"}`),
	}
	if shared {
		b, err := os.ReadFile(sharedData(t, "vendor", "stripe-objects.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &objects); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string][]string{"charge": {"succeeded", "failed", "refunded", "captured"}, "dispute": {"created", "closed"}}
	var all []webhook
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		for _, verb := range append(kinds[name], "created", "updated") {
			for range 3 {
				id := fmt.Sprintf("evt_1NG8Du2eZvKYlo2C%06d", len(all))
				kind := name + "." + verb
				body := fmt.Appendf(nil, `{"id":%q,"object":"event","api_version":"2026-10-01","created":%d,"livemode":true,"pending_webhooks":1,"request":{"id":null},"type":%q,"data":{"object":%s}}`,
					id, time.Now().Add(-time.Duration(len(all))*time.Minute).Unix(), kind, objects[name])
				all = append(all, webhook{id: id, kind: kind, body: body, header: header("Content-Type", "application/json; charset=utf-8", "User-Agent", "Stripe/1.0")})
			}
		}
	}
	return all
}

func TestVendorsWebhooksAreCountedOnceByType(t *testing.T) {
	t.Parallel()
	for _, vendor := range []struct {
		name, slug string
		shared     bool
		webhooks   func(*testing.T, bool) []webhook
		sign       func(webhook, string) http.Header
	}{
		{"GitHub", "github", false, gitHubWebhooks, gitHubSigned},
		{"GitHub, 206 real payloads", "github", true, gitHubWebhooks, gitHubSigned},
		{"Stripe", "stripe", false, stripeWebhooks, stripeSigned},
		{"Stripe, its own objects", "stripe", true, stripeWebhooks, stripeSigned},
	} {
		t.Run(vendor.name, func(t *testing.T) {
			t.Parallel()
			webhooks := vendor.webhooks(t, vendor.shared)
			s := newServer(t)
			const secret = "whsec_It's a Secret to Everybody"
			source, err := s.PutSource(t.Context(), "billing", vendor.slug, secret)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]float64{}
			for _, w := range webhooks {
				want[w.kind]++
			}
			// Each twice, some of them at the same time, some after a restart.
			order := slices.Concat(webhooks, webhooks)
			post := func(from, to int) {
				inParallel(to-from, func(i int) {
					w := order[from+i]
					if r := deliver(t, source.URL, vendor.sign(w, secret), w.body); r.Status < 200 || r.Status > 299 {
						t.Errorf("%s %s: %d %s", w.kind, w.id, r.Status, clip(r.Body))
					}
				})
			}
			half := len(webhooks) + len(webhooks)/2
			post(0, half)
			s.kill()
			s.start()
			source, err = s.PutSource(t.Context(), "billing", vendor.slug, "") // the port is another one; the token and the secret stay
			if err != nil {
				t.Fatal(err)
			}
			post(half, len(order))

			// None that is forged is taken: signed with another secret, changed, or cut short.
			inParallel(len(webhooks), func(i int) {
				w := webhooks[i]
				w.header = w.header.Clone()
				w.header.Set("X-GitHub-Delivery", "forged-"+w.id)
				h, body := vendor.sign(w, secret), w.body
				switch i % 3 {
				case 0:
					h = vendor.sign(w, "another secret")
				case 1:
					body = bytes.Replace(body, []byte(`"`), []byte(`"x`), 1)
				case 2:
					body = body[:len(body)-1-i]
				}
				if r := deliver(t, source.URL, h, body); r.Status != http.StatusUnauthorized {
					t.Errorf("%s %s, forged: %d %s", w.kind, w.id, r.Status, clip(r.Body))
				}
			})

			stored := s.waitForEvents(client.EventQuery{Source: "billing"}, len(webhooks))
			byID := map[string]client.StoredEvent{}
			for _, e := range stored {
				byID[e.ID] = e
			}
			for _, w := range webhooks {
				e, ok := byID[w.id]
				if !ok || e.Type != w.kind || string(e.Data) != compact(t, w.body) {
					t.Errorf("%s %s is stored as %s %s", w.kind, w.id, e.Type, e.ID)
				}
			}
			q := client.Query{Metric: "events", Agg: "count", GroupBy: []string{"type"}, Where: map[string][]string{"source": {"billing"}}, Limit: 200,
				From: time.Now().Add(-24 * time.Hour), To: time.Now().Add(time.Hour)}
			for _, q.Step = range []string{"1m", "1h", "1d"} {
				r, err := s.Query(t.Context(), q)
				if got := r.Totals("type"); err != nil || !maps.Equal(got, want) {
					t.Errorf("counted by type at %s: %v, %v, want %v", q.Step, got, err, want)
				}
			}
			s.wantNoErrors()
		})
	}
}

func TestStandardMetricsComeWithASource(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	gh, err := s.PutSource(t.Context(), "gh", "github", "secret")
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.PutSource(t.Context(), "st", "stripe", "secret")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vendors := map[string]string{}
	for _, m := range metrics {
		vendors[m.Slug] = m.Vendor
	}
	for slug, vendor := range map[string]string{"github-workflow-success": "github", "github-workflow-duration": "github", "github-deployments": "github", "github-pull-requests": "github",
		"stripe-payments": "stripe", "stripe-payment-success": "stripe", "stripe-revenue": "stripe", "stripe-refunds": "stripe", "stripe-disputes": "stripe"} {
		if vendors[slug] != vendor {
			t.Errorf("there is no metric %s of %s", slug, vendor)
		}
	}
	hooks := map[string]func(webhook, string) http.Header{gh.URL: gitHubSigned, st.URL: stripeSigned}
	for to, webhooks := range map[string][]webhook{gh.URL: gitHubWebhooks(t, false), st.URL: stripeWebhooks(t, false)} {
		for _, w := range webhooks {
			if r := deliver(t, to, hooks[to](w, "secret"), w.body); r.Status != http.StatusAccepted {
				t.Fatalf("%s: %d %s", w.kind, r.Status, r.Body)
			}
		}
	}
	s.waitForEvents(client.EventQuery{}, len(gitHubWebhooks(t, false))+len(stripeWebhooks(t, false)))
	for _, want := range []struct {
		metric, agg, by string
		totals          map[string]float64
	}{
		{"github-workflow-runs", "count", "conclusion", map[string]float64{"success": 10}},
		{"github-workflow-duration", "avg", "repository", map[string]float64{"octo/hello": 60}},
		{"github-deployments", "count", "state", map[string]float64{"success": 5}},
		{"stripe-payments", "count", "status", map[string]float64{"succeeded": 3, "failed": 3}},
		{"stripe-payment-success", "avg", "brand", map[string]float64{"visa": 0.5}},
		{"stripe-revenue", "sum", "currency", map[string]float64{"usd": 75}},
	} {
		r, err := s.Query(t.Context(), client.Query{Metric: want.metric, Agg: want.agg, GroupBy: []string{want.by}, From: time.Now().Add(-24 * time.Hour), To: time.Now().Add(time.Hour)})
		if got := r.Totals(want.by); err != nil || !maps.Equal(got, want.totals) {
			t.Errorf("%s of %s by %s: %v, %v, want %v", want.agg, want.metric, want.by, got, err, want.totals)
		}
	}
	s.wantNoErrors()
}
