package source

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

const testSecret = "whsec_of_a_test"

func receivedAt() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC) }

// fromGitHub is a delivery as GitHub sends it, genuinely signed; more headers replace its own.
func fromGitHub(body string, more ...string) http.Header {
	h := headers("Content-Type", "application/json", "X-GitHub-Event", "pull_request", "X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958",
		"X-Hub-Signature-256", "sha256="+hexMAC(sha256.New, testSecret, body))
	for i := 0; i < len(more); i += 2 {
		h.Del(more[i])
		if more[i+1] != "" {
			h.Set(more[i], more[i+1])
		}
	}
	return h
}

// fromStripe is the header of a body as Stripe sends it at a time, genuinely signed.
func fromStripe(body string, at time.Time) http.Header {
	t := strconv.FormatInt(at.Unix(), 10)
	return headers("Content-Type", "application/json; charset=utf-8", "Stripe-Signature", "t="+t+",v1="+hexMAC(sha256.New, testSecret, t+"."+body))
}

func receive(t testing.TB, vendor string, header http.Header, body string) (event.Event, error) {
	t.Helper()
	v, ok := NewCatalogue().Lookup(vendor)
	if !ok {
		t.Fatalf("no vendor %s", vendor)
	}
	events, err := Receive(v, []string{testSecret}, header, []byte(body), receivedAt())
	if err != nil {
		return event.Event{}, err
	}
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	if !events[0].Identified || events[0].Source != "" {
		t.Errorf("identified %v, source %q", events[0].Identified, events[0].Source)
	}
	return events[0], nil
}

func TestAGitHubWebhookKeepsItsIDTypeAndBody(t *testing.T) {
	const payload = "{\n \"action\": \"opened\", \"number\": 9007199254740993, \"repository\": {\"id\": 1, \"full_name\": \"octo/hello\"}}"
	ev, err := receive(t, "github", fromGitHub(payload+"\n"), payload+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if ev.ID != "72d3162e-cc78-11e3-81ab-4c9367dc0958" || ev.Type != "pull_request" || ev.Subject != "octo/hello" || string(ev.Data) != payload {
		t.Errorf("%+v", ev)
	}
	if !ev.Time.Equal(receivedAt()) {
		t.Errorf("time %s is not that of receipt", ev.Time)
	}
}

func TestAGitHubWebhookMayBeAForm(t *testing.T) {
	const payload = `{"action":"opened","title":"1 + 1 = 2 & ü","organization":{"login":"octo"}}`
	body := "payload=" + url.QueryEscape(payload)
	ev, err := receive(t, "github", fromGitHub(body, "Content-Type", "application/x-www-form-urlencoded"), body)
	if err != nil {
		t.Fatal(err)
	}
	if string(ev.Data) != payload || ev.Type != "pull_request" || ev.Subject != "octo" {
		t.Errorf("%+v", ev)
	}
	// The signature is over the form, not over the JSON in it.
	h := fromGitHub(payload, "Content-Type", "application/x-www-form-urlencoded")
	if _, err := receive(t, "github", h, body); !errors.Is(err, ErrUnverified) {
		t.Error(err)
	}
}

func TestSubjectIsTheFirstOneThatCanBeUsed(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                             "",
		`{"repository":null}`:            "",
		`{"repository":{"full_name":7}}`: "",
		`{"repository":["full_name"]}`:   "",
		`{"repository":{"full_name":"a\u0000"},"organization":{"login":"octo"}}`: "octo",
		`{"repository":{"full_name":"` + strings.Repeat("x", 2000) + `"}}`:       "",
		`{"organization":{"login":"octo"},"repository":{"full_name":"octo/x"}}`:  "octo/x",
		`{"installation":{"account":{"login":"app"}}}`:                           "app",
		`{"repository":{"full_name":"\ud83d\ude00"}}`:                            "😀",
		`{"repository":{"full_name":"\ud83d"}}`:                                  "",
		`{"reposit\u006fry":{"x":{},"y":[1,{"full_name":2}],"full_name":"a/b"}}`: "a/b",
	} {
		ev, err := receive(t, "github", fromGitHub(body), body)
		if err != nil || ev.Subject != want {
			t.Errorf("%.60s: %q, %v, want %q", body, ev.Subject, err, want)
		}
	}
}

func TestAStripeWebhookKeepsItsIDTypeAndTime(t *testing.T) {
	for what, c := range map[string]struct {
		body, id, kind, subject string
		at                      time.Time
	}{
		"an event": {
			`{"id":"evt_1","object":"event","created":1769860800,"livemode":false,"type":"charge.failed","data":{"object":{"id":"ch_1","object":"charge"}}}`,
			"evt_1", "charge.failed", "ch_1", time.Unix(1769860800, 0),
		},
		"a thin event": {
			`{"id":"evt_test_2","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2026-01-31T12:00:00.123456Z","related_object":{"id":"mtr_1","type":"billing.meter"}}`,
			"evt_test_2", "v1.billing.meter.no_meter_found", "mtr_1", time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC),
		},
		"one without a time": {`{"id":"evt_3","type":"ping","created":null}`, "evt_3", "ping", "", receivedAt()},
	} {
		ev, err := receive(t, "stripe", fromStripe(c.body, receivedAt()), c.body)
		if err != nil || ev.ID != c.id || ev.Type != c.kind || ev.Subject != c.subject || !ev.Time.Equal(c.at) || string(ev.Data) != c.body {
			t.Errorf("%s: %v, %+v", what, err, ev)
		}
	}
}

func TestAnEventOfThreeDaysAgoInAFreshDeliveryIsTaken(t *testing.T) {
	body := `{"id":"evt_1","type":"charge.failed","created":` + strconv.FormatInt(receivedAt().Add(-72*time.Hour).Unix(), 10) + `}`
	if _, err := receive(t, "stripe", fromStripe(body, receivedAt()), body); err != nil {
		t.Error(err)
	}
	if _, err := receive(t, "stripe", fromStripe(body, receivedAt().Add(-72*time.Hour)), body); codeOf(err) != CodeStaleTimestamp {
		t.Error(err)
	}
}

func TestAGenuineWebhookThatMakesNoEventIsRefusedWithAReason(t *testing.T) {
	long := strings.Repeat("x", event.MaxAttrBytes+1)
	for _, c := range []struct {
		what, vendor, body string
		more               []string
		class              error
		code               string
	}{
		{"empty body", "github", "", nil, ErrMalformed, event.CodeMalformed},
		{"not JSON", "github", "hello", nil, ErrMalformed, event.CodeMalformed},
		{"cut short", "stripe", `{"id":"evt_1"`, nil, ErrMalformed, event.CodeMalformed},
		{"not UTF-8", "stripe", "{\"id\":\"\xff\"}", nil, ErrMalformed, event.CodeMalformed},
		{"two objects", "stripe", `{"id":"evt_1","type":"a"}{}`, nil, ErrMalformed, event.CodeMalformed},
		{"an array", "stripe", `[{"id":"evt_1","type":"a"}]`, nil, ErrMalformed, event.CodeNotAnObject},
		{"a form without payload", "github", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, ErrMalformed, event.CodeMalformed},
		{"a form with two", "github", "payload={}&payload={}", []string{"Content-Type", "application/x-www-form-urlencoded"}, ErrMalformed, event.CodeMalformed},
		{"a broken form", "github", "payload=%zz", []string{"Content-Type", "application/x-www-form-urlencoded"}, ErrMalformed, event.CodeMalformed},
		{"a form in JSON's name", "github", "payload=%7B%7D", nil, ErrMalformed, event.CodeMalformed},
		{"no delivery id", "github", "{}", []string{"X-GitHub-Delivery", ""}, ErrInvalid, CodeMissingID},
		{"no event name", "github", "{}", []string{"X-GitHub-Event", ""}, ErrInvalid, CodeMissingType},
		{"long delivery id", "github", "{}", []string{"X-GitHub-Delivery", long}, ErrInvalid, event.CodeInvalidID},
		{"event name not UTF-8", "github", "{}", []string{"X-GitHub-Event", "\xff"}, ErrInvalid, event.CodeType},
		{"no id", "stripe", `{"type":"a"}`, nil, ErrInvalid, CodeMissingID},
		{"empty id", "stripe", `{"id":"","type":"a"}`, nil, ErrInvalid, CodeMissingID},
		{"id is a number", "stripe", `{"id":1,"type":"a"}`, nil, ErrInvalid, CodeMissingID},
		{"id is null", "stripe", `{"id":null,"type":"a"}`, nil, ErrInvalid, CodeMissingID},
		{"id with NUL", "stripe", `{"id":"a\u0000","type":"a"}`, nil, ErrInvalid, event.CodeInvalidID},
		{"no type", "stripe", `{"id":"evt_test_webhook","object":"event"}`, nil, ErrInvalid, CodeMissingType},
		{"empty type", "stripe", `{"id":"evt_1","type":""}`, nil, ErrInvalid, CodeMissingType},
		{"time is text", "stripe", `{"id":"evt_1","type":"a","created":"soon"}`, nil, ErrInvalid, event.CodeTime},
		{"time is no whole number", "stripe", `{"id":"evt_1","type":"a","created":1.5}`, nil, ErrInvalid, event.CodeTime},
		{"time is negative", "stripe", `{"id":"evt_1","type":"a","created":-1}`, nil, ErrInvalid, event.CodeTime},
		{"time is past the year 9999", "stripe", `{"id":"evt_1","type":"a","created":1769860800000}`, nil, ErrInvalid, event.CodeTime},
		{"time is an object", "stripe", `{"id":"evt_1","type":"a","created":{}}`, nil, ErrInvalid, event.CodeTime},
		{"too deep", "stripe", `{"id":"evt_1","type":"a","x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, nil, ErrInvalid, event.CodeTooDeep},
		{"too large", "github", `{"x":"` + strings.Repeat("x", event.MaxBytes-7) + `"}`, nil, ErrTooLarge, event.CodeTooLarge},
	} {
		header := fromStripe(c.body, receivedAt())
		if c.vendor == "github" {
			header = fromGitHub(c.body, c.more...)
		}
		_, err := receive(t, c.vendor, header, c.body)
		if !errors.Is(err, c.class) || codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.what, err, c.code)
		}
	}
}

func TestALargestEventFitsIntoWhatAHookReads(t *testing.T) {
	const around = `{"x":""}`
	payload := `{"x":"` + strings.Repeat("é", (event.MaxBytes-len(around))/2) + `"}`
	if len(payload) != event.MaxBytes {
		t.Fatal(len(payload))
	}
	if ev, err := receive(t, "github", fromGitHub(payload), payload); err != nil || len(ev.Data) != event.MaxBytes {
		t.Error(err)
	}
	form := "payload=" + url.QueryEscape(payload)
	if ev, err := receive(t, "github", fromGitHub(form, "Content-Type", "application/x-www-form-urlencoded"), form); err != nil || string(ev.Data) != payload {
		t.Error(err)
	}
	if len(form) > MaxRequestBytes {
		t.Errorf("the form has %d bytes, a hook reads %d", len(form), MaxRequestBytes)
	}
	deep := `{"x":` + strings.Repeat("[", event.MaxDepth-1) + strings.Repeat("]", event.MaxDepth-1) + `}`
	if _, err := receive(t, "github", fromGitHub(deep), deep); err != nil {
		t.Error(err)
	}
}

func TestAnUnverifiedBodyIsNotEvenRead(t *testing.T) {
	for _, body := range []string{"", "not JSON", `{"x":"` + strings.Repeat("x", event.MaxBytes) + `"}`} {
		if _, err := receive(t, "github", fromGitHub("something else"), body); !errors.Is(err, ErrUnverified) {
			t.Error(err)
		}
	}
}

func TestARefusalTellsNoSecret(t *testing.T) {
	for _, h := range []string{"", "sha256=00", "sha1=00"} {
		_, err := receive(t, "github", fromGitHub("{}", "X-Hub-Signature-256", h), "{}")
		if err == nil || strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), hexMAC(sha256.New, testSecret, "{}")) {
			t.Error(err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add("github", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "application/json", []byte(`{"action":"x"}`))
	f.Add("github", "", "application/x-www-form-urlencoded", []byte(`payload=%7B%22a%22%3A1%7D`))
	f.Add("stripe", "t=1,v1=a,v1=b,v0=c", "", []byte(`{"id":"evt","type":"t","created":1,"data":{"object":{"id":"x"}}}`))
	f.Add("stripe", "t=,=,,v1", "", []byte(`{"id":"evt","type":"t","created":"2026-01-01T00:00:00Z","data":[{}]}`))
	catalogue := NewCatalogue()
	schemes := vectors()
	f.Fuzz(func(t *testing.T, vendor, signature, contentType string, body []byte) {
		// No header that was not made with the secret is ever accepted, by any scheme.
		for _, v := range schemes {
			h := headers(v.scheme.Header, signature)
			for _, field := range []Field{v.scheme.Timestamp, v.scheme.ID} {
				if field.Header != "" {
					h.Set(field.Header, "1700000000")
				}
			}
			if v.scheme.Verify(Delivery{Header: h, Body: body}, []string{"unknown to the fuzzer"}, receivedAt()) == nil {
				t.Fatalf("%s accepts %q", v.vendor, signature)
			}
		}
		// A genuine delivery makes an event that holds to the limits, or a refusal.
		v, ok := catalogue.Lookup(vendor)
		if !ok {
			return
		}
		header := fromGitHub(string(body), "Content-Type", contentType)
		if vendor == "stripe" {
			header = fromStripe(string(body), receivedAt())
		}
		events, err := Receive(v, []string{testSecret}, header, body, receivedAt())
		var r *Refusal
		if err != nil {
			if !errors.As(err, &r) || errors.Is(err, ErrUnverified) || r.Code == "" || r.Detail == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		events[0].Source = vendor
		again, p := new(event.Parser).Parse(event.AppendJSON(nil, &events[0]), false)
		if p != nil && p.Code != event.CodeTooLarge {
			t.Fatalf("%s: not an event: %v", body, p)
		}
		if p == nil && (again.ID != events[0].ID || again.Type != events[0].Type || !again.Time.Equal(events[0].Time) || string(again.Data) != string(events[0].Data)) {
			t.Fatalf("%+v became %+v", events[0], again)
		}
	})
}
