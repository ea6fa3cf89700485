package app_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
)

// figures are what the API says was used.
type figures struct {
	Tenant        string    `json:"tenant"`
	Start         time.Time `json:"start"`
	Events        int64     `json:"events"`
	Bytes         int64     `json:"bytes"`
	Series        int64     `json:"series"`
	Queries       int64     `json:"queries"`
	Notifications int64     `json:"notifications"`
}

type usageAnswer struct {
	Data   []figures `json:"data"`
	Total  figures   `json:"total"`
	Quotas map[string]struct {
		Limit    int64      `json:"limit"`
		Used     int64      `json:"used"`
		ResetsAt *time.Time `json:"resets_at"`
	} `json:"quotas"`
}

// usage asks until it is so.
func (i *instance) usage(path, key string, so func(usageAnswer) bool) (u usageAnswer) {
	i.t.Helper()
	var body []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		resp, b := i.do(http.MethodGet, path, key, "")
		u = usageAnswer{}
		if resp.StatusCode != http.StatusOK || json.Unmarshal(b, &u) != nil {
			i.t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
		}
		if so(u) {
			return u
		}
		body = b
	}
	i.t.Fatalf("%s stays %s", path, body)
	return u
}

func (i *instance) must(status int, method, path, key, body string) []byte {
	i.t.Helper()
	resp, b := i.do(method, path, key, body)
	if resp.StatusCode != status {
		i.t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, b, status)
	}
	return b
}

// made makes a tenant with settings and returns its key.
func (i *instance) made(id, settings string) string {
	i.t.Helper()
	var v struct {
		Key struct {
			Secret string `json:"secret"`
		} `json:"key"`
	}
	if err := json.Unmarshal(i.must(http.StatusCreated, http.MethodPut, "/v1/admin/tenants/"+id, givenKey, settings), &v); err != nil || v.Key.Secret == "" {
		i.t.Fatal(err, "no key")
	}
	return v.Key.Secret
}

func TestUsageIsWhatWasStoredAndOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	i := start(t, settings(dir), givenKey)
	acme := i.made("acme", `{}`)
	const event = `{"id":"e%d","source":"shop","type":"sold","subject":"s","data":{"n": 1},"color":"red"}`
	size := len("e1shopsolds" + `{"n": 1}` + `{"color":"red"}`)
	for n := range 3 {
		for range 2 { // the second is a duplicate
			i.must(http.StatusAccepted, http.MethodPost, "/v1/events", acme, fmt.Sprintf(event, n))
		}
	}
	i.must(http.StatusAccepted, http.MethodPost, "/v1/events", givenKey, `[{"type":"a"},{"type":"b"}]`)
	i.must(http.StatusOK, http.MethodGet, "/v1/events?limit=1", acme, "")
	i.must(http.StatusOK, http.MethodGet, "/v1/metrics/events/query", acme, "")
	i.must(http.StatusNotFound, http.MethodGet, "/v1/metrics/none/query", acme, "")
	check := func(when string, queries int64) {
		t.Helper()
		u := i.usage("/v1/usage?step=hour", acme, func(u usageAnswer) bool { return u.Total.Events == 3 && u.Total.Queries >= queries })
		if u.Total.Bytes != int64(3*size) || u.Total.Series != 1 || u.Total.Queries != queries {
			t.Errorf("%s: %+v, want %d bytes, a series, %d queries", when, u.Total, 3*size, queries)
		}
	}
	check("at once", 0)
	i.stop()
	i = start(t, settings(dir), givenKey)
	check("after a restart", 2)
	all := i.usage("/v1/admin/usage", givenKey, func(u usageAnswer) bool { return len(u.Data) >= 2 })
	if all.Data[0].Tenant != "acme" || all.Data[0].Events != 3 || all.Data[len(all.Data)-1].Tenant != "default" || all.Total.Events != 5 {
		t.Errorf("of all tenants: %+v", all)
	}
	i.must(http.StatusForbidden, http.MethodGet, "/v1/admin/usage", acme, "")
	i.must(http.StatusUnprocessableEntity, http.MethodGet, "/v1/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", acme, "")
	resp, table := i.do(http.MethodGet, "/v1/usage?format=csv", acme, "")
	lines, err := csv.NewReader(strings.NewReader(string(table))).ReadAll()
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || len(lines) < 2 || lines[1][1] != "3" || lines[1][2] != strconv.Itoa(3*size) {
		t.Errorf("as a table: %v, %v, %v", resp.Header, lines, err)
	}
}

func TestAQuotaOfTheMonthIsHeldAndRaised(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	acme := i.made("acme", `{"quotas":{"events_per_month":5,"bytes_per_month":100000,"rules":1,"series":2}}`)
	for range 5 {
		i.must(http.StatusAccepted, http.MethodPost, "/v1/events", acme, `{"type":"a"}`)
	}
	resp, body := i.do(http.MethodPost, "/v1/events", acme, `{"type":"a"}`)
	retry, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || retry < 1 || retry > 3600 || !strings.Contains(string(body), "quota_exceeded") {
		t.Errorf("the sixth: %d, Retry-After %d, %s", resp.StatusCode, retry, body)
	}
	if p, l := resp.Header.Get("RateLimit-Policy"), resp.Header.Get("RateLimit"); !strings.HasPrefix(p, `"month";q=5;w=2678400, "month-bytes";q=100000;qu="content-bytes";w=`) ||
		!strings.HasPrefix(l, `"month";r=0;t=`) {
		t.Errorf("RateLimit-Policy: %s, RateLimit: %s", p, l)
	}
	u := i.usage("/v1/usage", acme, func(u usageAnswer) bool { return u.Total.Events == 5 })
	if q := u.Quotas["events_per_month"]; q.Limit != 5 || q.Used != 5 || q.ResetsAt == nil || u.Quotas["bytes_per_month"].Used == 0 || u.Quotas["series"].Limit != 2 {
		t.Errorf("quotas: %+v", u.Quotas)
	}
	rule := `{"metric":"events","condition":{"type":"threshold","op":">","value":1}}`
	i.must(http.StatusCreated, http.MethodPut, "/v1/rules/one", acme, rule)
	i.must(http.StatusOK, http.MethodPut, "/v1/rules/one", acme, rule)
	i.must(http.StatusUnprocessableEntity, http.MethodPut, "/v1/rules/two", acme, rule)
	i.must(http.StatusOK, http.MethodPut, "/v1/admin/tenants/acme", givenKey, `{"quotas":{"events_per_month":7,"series":2}}`)
	// One of a type of its own for each: the first two series are kept, the others go together.
	i.must(http.StatusAccepted, http.MethodPost, "/v1/events", acme, `[{"type":"b"},{"type":"c"},{"type":"d"}]`)
	i.usage("/v1/usage", acme, func(u usageAnswer) bool { return u.Total.Events == 8 && u.Quotas["series"].Used == 2 })
	var points struct {
		Series []struct {
			Labels map[string]string `json:"labels"`
		} `json:"series"`
	}
	if err := json.Unmarshal(i.must(http.StatusOK, http.MethodGet, "/v1/metrics/events/query?group_by=type", acme, ""), &points); err != nil || len(points.Series) != 3 {
		t.Errorf("series: %+v, %v: want a, b, and the rest", points, err)
	}
	i.must(http.StatusTooManyRequests, http.MethodPost, "/v1/events", acme, `{"type":"a"}`)
}

func TestAKeyHasARateOfItsOwn(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	var slow struct {
		ID        string  `json:"id"`
		Secret    string  `json:"secret"`
		RateLimit float64 `json:"rate_limit"`
	}
	if err := json.Unmarshal(i.must(http.StatusCreated, http.MethodPost, "/v1/keys", givenKey, `{"name":"slow","role":"ingest","rate_limit":1}`), &slow); err != nil || slow.RateLimit != 1 {
		t.Fatal(slow, err)
	}
	i.must(http.StatusAccepted, http.MethodPost, "/v1/events", slow.Secret, `[{"type":"a"},{"type":"a"},{"type":"a"},{"type":"a"},{"type":"a"}]`)
	resp, body := i.do(http.MethodPost, "/v1/events", slow.Secret, `{"type":"a"}`)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("RateLimit-Policy") != `"key";q=1;w=1` || !strings.Contains(string(body), "This key") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	i.must(http.StatusAccepted, http.MethodPost, "/v1/events", givenKey, `{"type":"a"}`)
}

func TestTheBillingSystemIsToldOfAnHourThatIsOver(t *testing.T) {
	dir := t.TempDir()
	i := start(t, settings(dir), givenKey)
	i.must(http.StatusAccepted, http.MethodPost, "/v1/events", givenKey, `[{"type":"a"},{"type":"b"}]`)
	i.stop()
	told := make(chan []byte, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- body
	}))
	t.Cleanup(receiver.Close)
	cfg, secrets := settings(dir), config.Secrets{BillingSecret: "whsec_" + strings.Repeat("c2VjcmV0", 5)}
	cfg.BillingURL, cfg.EgressAllow, cfg.PublicURL = receiver.URL, []string{"127.0.0.0/8"}, "https://pulse.example"
	later := app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Announce: io.Discard, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }}
	if _, err := app.New(t.Context(), cfg, config.Secrets{}, later); err == nil || !strings.Contains(err.Error(), "PULSESTREAM_BILLING_SECRET") {
		t.Fatalf("without a secret: %v", err)
	}
	a, err := app.New(t.Context(), cfg, secrets, later)
	if err == nil {
		err = a.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	again := &instance{App: a, t: t}
	t.Cleanup(again.stop)
	var events []struct {
		Source  string  `json:"source"`
		Subject string  `json:"subject"`
		Data    figures `json:"data"`
	}
	select {
	case body := <-told:
		if err := json.Unmarshal(body, &events); err != nil || len(events) != 1 || events[0].Source != "https://pulse.example" || events[0].Subject != "default" ||
			events[0].Data.Events != 2 || events[0].Data.Series != 2 {
			t.Errorf("told %s, %v", body, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the billing system was told nothing")
	}
}
