package email

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
)

func message(t *testing.T, c config) notify.Message {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 11, 59, 0, 0, time.UTC)
	return notify.Message{
		ID: "msg_0123", Type: notify.TypeFiring, Attempt: 1, URL: "https://pulse.example.com/incidents/inc-1",
		Channel: notify.Channel{Tenant: "acme", Slug: "ops", Type: Name, Config: b},
		Transition: alert.Transition{
			ID: "t-1", Tenant: "acme", Incident: "inc-1", Rule: "fails", RuleName: "Stripe charges fail", Metric: "charges", Labels: map[string]string{"country": "US"},
			Kind: alert.PhaseFiring, At: at, StartedAt: at, Value: 12.5, Threshold: 10, Severity: "critical", Summary: "Too many <b>charges</b> fail", Explanation: "12.5 > 10",
		},
	}
}

func (s *server) config(how string) config {
	return config{To: addressList{"Ops <ops@example.com>", "b@example.com"}, From: "PulseStream <pulse@example.org>", Host: s.host, Port: s.port, TLS: how}
}

func TestMailArrivesBySTARTTLSWithLogin(t *testing.T) {
	s := start(t, "starttls")
	c := s.config(tlsStart)
	c.Username, c.Password = "pulse", "s3cret pass"
	if o := s.newType().Send(t.Context(), message(t, c)); o.Err != nil || o.Status != 250 || o.Detail != "" {
		t.Fatalf("%+v", o)
	}
	got := s.got()
	if len(got) != 1 || !got[0].tls || got[0].user != "pulse" || got[0].from != "pulse@example.org" || strings.Join(got[0].to, " ") != "ops@example.com b@example.com" {
		t.Fatalf("%+v", got)
	}
}

func TestMailArrivesByImplicitTLSAndInTheClear(t *testing.T) {
	for _, how := range []string{tlsImplicit, tlsNone} {
		s := start(t, how)
		if o := s.newType().Send(t.Context(), message(t, s.config(how))); o.Err != nil {
			t.Fatalf("%s: %+v", how, o)
		}
		if got := s.got(); len(got) != 1 {
			t.Fatalf("%s: %+v", how, got)
		}
	}
	s := start(t, tlsImplicit)
	c := s.config(tlsImplicit)
	c.Username, c.Password = "pulse", "s3cret pass"
	if o := s.newType().Send(t.Context(), message(t, c)); o.Err != nil || s.got()[0].user != "pulse" {
		t.Fatalf("with login: %+v", o)
	}
}

func TestMailHasTextAndHTMLAndTheHeadersOfAnAlert(t *testing.T) {
	s := start(t, tlsNone)
	if o := s.newType().Send(t.Context(), message(t, s.config(tlsNone))); o.Err != nil {
		t.Fatal(o.Err)
	}
	msg, err := netmail.ReadMessage(strings.NewReader(s.got()[0].text))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Subject": "[FIRING] critical: Stripe charges fail (country=US)", "Message-Id": "<msg_0123@example.org>", "Auto-Submitted": "auto-generated",
		"From": `"PulseStream" <pulse@example.org>`, "To": `"Ops" <ops@example.com>, <b@example.com>`, "Importance": "high",
	} {
		if got := msg.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if msg.Header.Get("References") == "" || msg.Header.Get("Date") != "Mon, 23 Nov 2026 12:00:00 +0000" {
		t.Errorf("%v", msg.Header)
	}
	parts := partsOf(t, msg)
	for _, want := range []string{"Too many <b>charges</b> fail", "12.5 > 10", "Metric: charges", "Value: 12.5", "country: US", "Started: 2026-11-23 11:59:00 UTC", "https://pulse.example.com/incidents/inc-1", "channel ops"} {
		if !strings.Contains(parts["text/plain"], want) {
			t.Errorf("%q is missing in\n%s", want, parts["text/plain"])
		}
	}
	for _, want := range []string{"Too many &lt;b&gt;charges&lt;/b&gt; fail", "12.5 &gt; 10", `<a href="https://pulse.example.com/incidents/inc-1">`} {
		if !strings.Contains(parts["text/html"], want) {
			t.Errorf("%q is missing in\n%s", want, parts["text/html"])
		}
	}
}

func partsOf(t *testing.T, msg *netmail.Message) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	out := map[string]string{}
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		out[kind] = string(b)
	}
}

func TestAnswersDecideWhetherToTryAgain(t *testing.T) {
	s := start(t, tlsNone)
	m := message(t, s.config(tlsNone))
	for _, c := range []struct {
		name  string
		do    func()
		code  int
		retry bool
	}{
		{"sender for now", func() { s.onMail = smtpError(451, "later") }, 451, true},
		{"sender for good", func() { s.onMail = smtpError(550, "never") }, 550, false},
		{"text for now", func() { s.onMail, s.onData = nil, smtpError(452, "full") }, 452, true},
		{"text for good", func() { s.onData = smtpError(554, "spam") }, 554, false},
	} {
		s.script(c.do)
		o := s.newType().Send(t.Context(), m)
		if o.Err == nil || o.Retry != c.retry || o.Status != c.code {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
	s.script(func() { s.onData = nil })
	if o := s.newType().Send(t.Context(), m); o.Err != nil || len(s.got()) != 1 {
		t.Errorf("back again: %+v, %d mails", o, len(s.got()))
	}
}

func TestOneBadRecipientDoesNotKeepTheMailFromTheOthers(t *testing.T) {
	s := start(t, tlsNone)
	m := message(t, s.config(tlsNone))
	s.script(func() { s.onRcpt = map[string]error{"b@example.com": smtpError(550, "no such user")} })
	o := s.newType().Send(t.Context(), m)
	if got := s.got(); o.Err != nil || len(got) != 1 || len(got[0].to) != 1 || !strings.Contains(o.Detail, "not delivered to b@example.com (550") {
		t.Fatalf("refused for good: %+v %+v", o, got)
	}
	s.script(func() { s.onRcpt["b@example.com"] = smtpError(450, "mailbox full") })
	if o = s.newType().Send(t.Context(), m); o.Err == nil || !o.Retry || len(s.got()) != 1 {
		t.Fatalf("refused for now: %+v", o)
	}
	m.Attempt = patience + 1
	if o = s.newType().Send(t.Context(), m); o.Err != nil || len(s.got()) != 2 {
		t.Fatalf("refused for long: %+v", o)
	}
	s.script(func() { s.onRcpt["ops@example.com"] = smtpError(550, "no such user") })
	if o = s.newType().Send(t.Context(), m); o.Err == nil || !o.Retry || o.Status != 450 {
		t.Fatalf("nobody, one for now: %+v", o)
	}
	s.script(func() { s.onRcpt["b@example.com"] = smtpError(551, "gone") })
	if o = s.newType().Send(t.Context(), m); o.Err == nil || o.Retry || o.Status != 550 || len(s.got()) != 2 {
		t.Fatalf("nobody: %+v", o)
	}
}

func TestWrongPasswordIsFinalAndNotInTheError(t *testing.T) {
	s := start(t, "starttls")
	c := s.config(tlsStart)
	c.Username, c.Password = "pulse", "wrong-pass-word"
	o := s.newType().Send(t.Context(), message(t, c))
	if o.Err == nil || o.Retry || o.Status != 535 || strings.Contains(o.Err.Error(), "wrong-pass-word") {
		t.Fatalf("%+v", o)
	}
}

func TestNothingIsSentWithoutTheTLSThatWasAskedFor(t *testing.T) {
	plain := start(t, tlsNone)
	c := plain.config(tlsStart)
	c.Username, c.Password = "pulse", "s3cret pass"
	if o := plain.newType().Send(t.Context(), message(t, c)); o.Err == nil || !strings.Contains(o.Err.Error(), "STARTTLS") || len(plain.got()) != 0 {
		t.Errorf("no STARTTLS: %+v", o)
	}
	for _, how := range []string{tlsStart, tlsImplicit} {
		s := start(t, how)
		_, s.roots = certificate(t) // another authority's
		if o := s.newType().Send(t.Context(), message(t, s.config(how))); o.Err == nil || len(s.got()) != 0 {
			t.Errorf("%s, unknown authority: %+v", how, o)
		}
	}
}

func TestPrivateMailServerIsRejectedForGood(t *testing.T) {
	s := start(t, tlsNone)
	for _, how := range []string{tlsNone, tlsStart, tlsImplicit} {
		o := New(Config{Guard: egress.New(nil)}).Send(t.Context(), message(t, s.config(how)))
		var r *egress.Refused
		if !errors.As(o.Err, &r) || o.Retry || r.Host != "localhost" {
			t.Errorf("%s: %+v", how, o)
		}
	}
}

func TestSilentServerEndsWithTheContext(t *testing.T) {
	for name, greeting := range map[string]string{"says nothing": "", "hangs after its greeting": "220 hello\r\n"} {
		host, port := lineServer(t, greeting, func(string) string { return "" })
		tp := New(Config{Guard: egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})})
		m := message(t, config{To: addressList{"a@example.com"}, From: "b@example.com", Host: host, Port: port, TLS: tlsNone})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		if o := tp.Send(ctx, m); o.Err == nil || !o.Retry || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: %+v after %s", name, o, time.Since(begin))
		}
		cancel()
	}
}

func TestServerThatIsNoneOrSaysTooMuchIsAFailure(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	port := netip.MustParseAddrPort(web.Listener.Addr().String()).Port()
	tp := New(Config{Guard: egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if o := tp.Send(ctx, message(t, config{To: addressList{"a@example.com"}, From: "b@example.com", Host: "127.0.0.1", Port: int(port), TLS: tlsNone})); o.Err == nil || !o.Retry {
		t.Errorf("a web server: %+v", o)
	}
	host, p := lineServer(t, "220 "+strings.Repeat("x", 2*maxRead)+"\r\n", func(string) string { return "" })
	if o := tp.Send(t.Context(), message(t, config{To: addressList{"a@example.com"}, From: "b@example.com", Host: host, Port: p, TLS: tlsNone})); !errors.Is(o.Err, errTalkative) {
		t.Errorf("an endless line: %.200s", fmt.Sprint(o.Err))
	}
}

func TestNoTextCanBecomeAHeader(t *testing.T) {
	const attack = "x\r\nBcc: victim@example.com\r\n\r\nbody"
	s := start(t, tlsNone)
	m := message(t, s.config(tlsNone))
	m.Transition.RuleName, m.Transition.Severity, m.Transition.Summary, m.Transition.Explanation = attack, attack, attack, attack
	m.Transition.Labels = map[string]string{attack: attack, "u": "\u2028Bcc: v\u0085"}
	m.URL = "https://example.com/" + attack
	if o := s.newType().Send(t.Context(), m); o.Err != nil {
		t.Fatal(o.Err)
	}
	msg, err := netmail.ReadMessage(strings.NewReader(s.got()[0].text))
	if err != nil {
		t.Fatal(err)
	}
	if msg.Header.Get("Bcc") != "" || len(s.got()[0].to) != 2 {
		t.Errorf("%+v", s.got()[0])
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil || strings.ContainsAny(decoded, "\r\n\u2028\u0085") || !strings.HasPrefix(decoded, "[FIRING] x Bcc: victim@example.com body: x Bcc") {
		t.Errorf("%q %v", decoded, err)
	}
	partsOf(t, msg)
}

func TestSubjectSaysWhatWhoAndWhere(t *testing.T) {
	m := message(t, config{})
	for _, c := range []struct {
		change func()
		want   string
	}{
		{func() {}, "[FIRING] critical: Stripe charges fail (country=US)"},
		{func() { m.Type = notify.TypeResolved }, "[RESOLVED] critical: Stripe charges fail (country=US)"},
		{func() { m.Transition.Labels = map[string]string{"b": "2", "a": "1"} }, "[RESOLVED] critical: Stripe charges fail (a=1, b=2)"},
		{func() { m.Transition.Labels, m.Transition.RuleName, m.Transition.Severity = nil, "", "" }, "[RESOLVED] fails"},
		{func() { m.Type, m.Transition.Summary = notify.TypeTest, "This is a test." }, "[TEST] This is a test."},
		{func() { m.Transition.Summary = strings.Repeat("é", 400) }, "[TEST] " + strings.Repeat("é", maxSubject-8) + "…"},
	} {
		c.change()
		if got := subject(m); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestBodyOfAResolvedIncidentTellsHowLongItLasted(t *testing.T) {
	m := message(t, config{})
	m.Type, m.Transition.At, m.Transition.Value = notify.TypeResolved, m.Transition.StartedAt.Add(90*time.Second), math.NaN()
	got := map[string]string{}
	for _, r := range viewOf(m).Rows {
		got[r.Name] = r.Value
	}
	if got["Lasted"] != "1m30s" || got["Resolved"] != "2026-11-23 12:00:30 UTC" || got["Value"] != "" {
		t.Errorf("%v", got)
	}
}
