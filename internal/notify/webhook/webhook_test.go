package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// secret is the key of 24 bytes that the specification's libraries test with.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func newType() *Type {
	return New(Config{Guard: egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}), Now: noon})
}

func message(url string) notify.Message {
	c := json.RawMessage(`{"url":` + strconv.Quote(url) + `,"secret":"` + secret + `"}`)
	return notify.Message{
		ID: "msg_1", Type: notify.TypeFiring, Attempt: 1, URL: "https://pulse.example.com/incidents/inc-1",
		Channel: notify.Channel{Tenant: "acme", Slug: "ops", Type: Name, Config: c},
		Transition: alert.Transition{
			ID: "t-1", Tenant: "acme", Incident: "inc-1", Rule: "fails", RuleName: "Charges <fail>", Metric: "charges", Labels: map[string]string{"country": "US"},
			Kind: alert.PhaseFiring, At: noon().Add(-time.Minute), StartedAt: noon().Add(-time.Minute), Value: 12.5, Threshold: 10, Severity: "critical",
			Summary: "Too many", Explanation: "12.5 > 10",
		},
	}
}

func TestSignatureMatchesThePublishedVector(t *testing.T) {
	key, err := decodeSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(got)
	}
}

func TestSecretHas24To64BytesOfBase64(t *testing.T) {
	for n, want := range map[int]bool{0: false, 23: false, 24: true, 64: true, 65: false} {
		_, err := decodeSecret("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)))
		if (err == nil) != want {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, s := range []string{"", "whsec_", "abc", "whsec_***", strings.TrimPrefix(secret, "whsec_")} {
		if _, err := decodeSecret(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if a, b := newSecret(), newSecret(); a == b {
		t.Error("two secrets are the same")
	} else if _, err := decodeSecret(a); err != nil {
		t.Error(err)
	}
}

func TestRequestIsSignedJSONThatAReceiverCanVerify(t *testing.T) {
	type got struct {
		header http.Header
		method string
		body   []byte
	}
	requests := make(chan got, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests <- got{r.Header, r.Method, b}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	if o := newType().Send(t.Context(), message(srv.URL)); o.Err != nil || o.Status != 204 {
		t.Fatalf("%+v", o)
	}
	r := <-requests
	key, _ := decodeSecret(secret)
	stamp := strconv.FormatInt(noon().Unix(), 10)
	for name, want := range map[string]string{
		"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": sign(key, "msg_1", stamp, r.body),
		"content-type": "application/json", "user-agent": "PulseStream-Webhook/1",
	} {
		if r.header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, r.header.Get(name), want)
		}
	}
	want := `{"type":"incident.firing","timestamp":"2026-11-23T11:59:00Z","data":{"incident":{"id":"inc-1","rule":"fails","rule_name":"Charges <fail>","metric":"charges",` +
		`"labels":{"country":"US"},"state":"firing","severity":"critical","started_at":"2026-11-23T11:59:00Z","resolved_at":null,"value":12.5,"threshold":10,` +
		`"summary":"Too many","explanation":"12.5 > 10","url":"https://pulse.example.com/incidents/inc-1"}}}`
	if r.method != http.MethodPost || string(r.body) != want {
		t.Errorf("%s\n%s\nwant\n%s", r.method, r.body, want)
	}
}

func TestPayloadOfAResolvedIncidentWithoutAValue(t *testing.T) {
	m := message("")
	m.Type, m.URL, m.Transition.Labels, m.Transition.Value, m.Transition.Threshold = notify.TypeResolved, "", nil, math.NaN(), math.Inf(1)
	b, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"state":"resolved"`, `"resolved_at":"2026-11-23T11:59:00Z"`, `"value":null`, `"threshold":null`, `"labels":{}`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s is missing in %s", part, b)
		}
	}
	if strings.Contains(string(b), `"url"`) {
		t.Errorf("an url is in %s", b)
	}
}

func TestAnswerDecidesWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		delivered  bool
		retry      bool
		after      time.Duration
	}{
		{status: 200, delivered: true}, {status: 202, delivered: true}, {status: 204, delivered: true}, {status: 299, delivered: true},
		{status: 304, retry: true},
		{status: 400}, {status: 401}, {status: 403}, {status: 404}, {status: 405}, {status: 410}, {status: 413}, {status: 422},
		{status: 408, retry: true}, {status: 425, retry: true}, {status: 429, retry: true},
		{status: 429, retryAfter: "120", retry: true, after: 2 * time.Minute},
		{status: 503, retryAfter: "Mon, 23 Nov 2026 12:00:30 GMT", retry: true, after: 30 * time.Second},
		{status: 503, retryAfter: "Mon, 23 Nov 2026 11:00:00 GMT", retry: true},
		{status: 503, retryAfter: "-5", retry: true}, {status: 503, retryAfter: "soon", retry: true},
		{status: 500, retry: true}, {status: 502, retry: true}, {status: 504, retry: true}, {status: 599, retry: true},
	} {
		o := judge(c.status, c.retryAfter, noon())
		if (o.Err == nil) != c.delivered || o.Retry != c.retry || o.RetryAfter != c.after || o.Status != c.status {
			t.Errorf("%d %q: %+v", c.status, c.retryAfter, o)
		}
	}
}

func TestRedirectIsAFailureThatSaysSo(t *testing.T) {
	for status, retry := range map[int]bool{301: false, 308: false, 302: true, 307: true} {
		srv := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/elsewhere", status))
		o := newType().Send(t.Context(), message(srv.URL+"/?token=s3cret"))
		if o.Err == nil || o.Retry != retry || o.Status != status || !strings.Contains(o.Err.Error(), "redirects are not followed") {
			t.Errorf("%d: %+v", status, o)
		}
		srv.Close()
	}
}

func TestPrivateAddressIsRejectedForGood(t *testing.T) {
	tp := New(Config{Guard: egress.New(nil), Now: noon})
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	o := tp.Send(t.Context(), message(strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)))
	var r *egress.Refused
	if !errors.As(o.Err, &r) || o.Retry || !strings.Contains(o.Err.Error(), "--egress-allow") {
		t.Errorf("%+v", o)
	}
}

func TestConnectionThatFailsIsTriedAgainAndDoesNotTellTheURL(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	url := srv.URL
	srv.Close()
	o := newType().Send(t.Context(), message(url+"/?token=s3cret"))
	if o.Err == nil || !o.Retry || strings.Contains(o.Err.Error(), "s3cret") {
		t.Errorf("%+v", o)
	}
}

func TestHangingEndpointEndsWithTheContext(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if o := newType().Send(ctx, message(srv.URL)); o.Err == nil || !o.Retry {
		t.Errorf("%+v", o)
	}
}

func TestEndlessAnswerDoesNotHoldUpADelivery(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	if o := newType().Send(t.Context(), message(srv.URL)); o.Err != nil {
		t.Errorf("%+v", o)
	}
}

func TestConfigurationIsCheckedFieldByField(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                                  "url",
		`{"url":"ftp://example.com"}`:                         "url",
		`{"url":"example.com/x"}`:                             "url",
		`{"url":"https://"}`:                                  "url",
		`{"url":"https:///x"}`:                                "url",
		`{"url":"https:example.com"}`:                         "url",
		`{"url":"https://user:pw@example.com"}`:               "url",
		`{"url":"https://user@example.com"}`:                  "url",
		`{"url":"https://example.com/#x"}`:                    "url",
		`{"url":"https://example.com:0/"}`:                    "url",
		`{"url":"https://example.com:65536/"}`:                "url",
		`{"url":"https://exa mple.com/"}`:                     "url",
		`{"url":"https://example.com/\u0000"}`:                "url",
		`{"url":"http://10.0.0.1/"}`:                          "url",
		`{"url":"http://[::ffff:10.0.0.1]/"}`:                 "url",
		`{"url":"https://` + strings.Repeat("a", 2048) + `"}`: "url",
		`{"url":7}`: "url",
		`{"url":"https://example.com","secret":"abc"}`: "secret",
		`{"url":"https://example.com","secrt":"abc"}`:  "secrt",
		`[]`:                               "config",
		`{"url":"https://example.com"} {}`: "config",
		``:                                 "config",
	} {
		_, _, err := newType().Configure(json.RawMessage(in), nil)
		var wrong notify.ConfigError
		if !errors.As(err, &wrong) || len(wrong) != 1 || wrong[0].Field != want {
			t.Errorf("%s: %v, want something about %s", in, err, want)
		}
	}
	for _, ok := range []string{"https://example.com", "http://example.com:8080/a?b=c", "https://[2606:4700::1111]/", "http://127.0.0.1:9999/"} {
		if _, _, err := newType().Configure(json.RawMessage(`{"url":"`+ok+`"}`), nil); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestSecretIsMadeOnceKeptAndNeverShownAgain(t *testing.T) {
	tp := newType()
	entered := json.RawMessage(`{"url":"https://example.com"}`)
	first, made, err := tp.Configure(entered, nil)
	if err != nil || made["secret"] == "" || !strings.Contains(string(first), made["secret"]) {
		t.Fatalf("%s %v %v", first, made, err)
	}
	shown, err := tp.Redact(first)
	if err != nil || string(shown) != `{"url":"https://example.com"}` {
		t.Fatalf("%s %v", shown, err)
	}
	again, made, err := tp.Configure(shown, first)
	if err != nil || len(made) != 0 || !reflect.DeepEqual(again, first) {
		t.Fatalf("%s %v %v", again, made, err)
	}
	changed, made, err := tp.Configure(json.RawMessage(`{"url":"https://example.com","secret":"`+secret+`"}`), first)
	if err != nil || len(made) != 0 || !strings.Contains(string(changed), secret) {
		t.Fatalf("%s %v %v", changed, made, err)
	}
}
