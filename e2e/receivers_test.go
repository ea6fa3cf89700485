package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/pulsestream/pulsestream/client"
)

// notification is a webhook that PulseStream has sent.
type notification struct {
	ID      string // the header webhook-id
	At      time.Time
	Status  int // that it was answered with
	Genuine error
	Type    string    `json:"type"`
	Time    time.Time `json:"timestamp"`
	Data    struct {
		Incident struct {
			client.Incident
			URL string `json:"url"`
		} `json:"incident"`
	} `json:"data"`
}

// receiver is a webhook endpoint of somebody who wants to be told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	answer func(n int) int // the status of the nth request, from 0
	got    []notification
}

// newReceiver answers with the statuses that answer gives, with 204 if it is nil.
func newReceiver(t testing.TB, answer func(n int) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP is the endpoint.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := notification{ID: req.Header.Get("Webhook-Id"), At: at, Status: http.StatusNoContent, Genuine: err}
	if err == nil {
		n.Genuine = verifyStandardWebhook(req.Header, body, r.secret, at)
	}
	if err := json.Unmarshal(body, &n); err != nil && n.Genuine == nil {
		n.Genuine = err
	}
	if r.answer != nil {
		n.Status = r.answer(len(r.got))
	}
	r.got = append(r.got, n)
	if n.Status >= 300 && n.Status < 400 {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(n.Status)
}

// verifyStandardWebhook is a receiver's side of the specification, written from it.
func verifyStandardWebhook(h http.Header, body []byte, secret string, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || err != nil {
		return fmt.Errorf("webhook-id %q, webhook-timestamp %q", id, stamp)
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return fmt.Errorf("it was signed %s ago", age)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 || !strings.HasPrefix(secret, "whsec_") {
		return fmt.Errorf("the secret %q is none of Standard Webhooks", secret)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(h.Get("webhook-signature")), want) {
		return fmt.Errorf("the signature is %q, want %q", h.Get("webhook-signature"), want)
	}
	return nil
}

func (r *receiver) requests() []notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) use(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = secret
}

func (r *receiver) answers(answer func(n int) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// delivered are the notifications that were answered with success. Each must be genuine.
func (r *receiver) delivered(t testing.TB) []notification {
	t.Helper()
	var out []notification
	for _, n := range r.requests() {
		if n.Genuine != nil {
			t.Errorf("%s %s is not genuine: %v", n.Type, n.ID, n.Genuine)
		}
		if n.Status < 300 {
			out = append(out, n)
		}
	}
	return out
}

// wait waits until n notifications were delivered.
func (r *receiver) wait(t testing.TB, n int, within time.Duration) []notification {
	t.Helper()
	var got []notification
	eventually(t, within, func() error {
		if got = r.delivered(t); len(got) < n {
			return fmt.Errorf("%d notifications were delivered in %d requests, want %d", len(got), len(r.requests()), n)
		}
		return nil
	})
	return got
}

// putWebhook makes a channel to r.
func (s *server) putWebhook(slug string, r *receiver) {
	s.t.Helper()
	made, err := s.PutChannel(s.t.Context(), client.Channel{Slug: slug, Type: "webhook", Config: map[string]any{"url": r.URL + "/hook"}})
	if err != nil || made.Secret == "" {
		s.t.Fatalf("make a channel: %+v, %v", made, err)
	}
	r.use(made.Secret)
}

// mail is a message that a mail server has got.
type mail struct {
	from string
	to   []string
	text string
}

// mailServer is a real SMTP server.
type mailServer struct {
	port int
	mu   sync.Mutex
	got  []mail
}

func newMailServer(t testing.TB) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{port: l.Addr().(*net.TCPAddr).Port}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{server: m}, nil }))
	server.Domain = "localhost"
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return m
}

func (m *mailServer) mails() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

type mailSession struct {
	server *mailServer
	mail   mail
}

// Mail begins a message.
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	return nil
}

// Rcpt adds a recipient.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	return nil
}

// Data takes the message.
func (s *mailSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.text = string(b)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, s.mail)
	return nil
}

// Reset forgets a message that was begun.
func (s *mailSession) Reset() { s.mail = mail{} }

// Logout ends the session.
func (s *mailSession) Logout() error { return nil }

// putEmail makes a channel to m.
func (s *server) putEmail(slug string, m *mailServer) {
	s.t.Helper()
	_, err := s.PutChannel(s.t.Context(), client.Channel{Slug: slug, Type: "email", Config: map[string]any{
		"to": []string{"On Call <oncall@example.com>"}, "from": "pulse@example.com", "host": "127.0.0.1", "port": m.port, "tls": "none"}})
	if err != nil {
		s.t.Fatalf("make a channel: %v", err)
	}
}
