// Package email delivers notifications as mail, by the SMTP server that a channel names.
package email

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
)

// Name is the name of this type of channel.
const Name = "email"

// defaultTimeout is that of one session, beneath what its context says.
const defaultTimeout = 15 * time.Second

// Config is what the type works with.
type Config struct {
	// Guard dials, and says which certificate authorities are trusted (its WithRootCAs).
	Guard *egress.Guard
	HELO  string           // the name by which we introduce ourselves; the host's when empty
	Now   func() time.Time // time.Now when nil
}

// Type sends mail. It implements notify.Type.
type Type struct {
	guard *egress.Guard
	helo  string
	now   func() time.Time
	text  *texttemplate.Template
	html  *htmltemplate.Template
}

var _ notify.Type = (*Type)(nil)

// New makes the type.
func New(cfg Config) *Type {
	t := &Type{
		guard: cfg.Guard, helo: cfg.HELO, now: cfg.Now,
		text: texttemplate.Must(texttemplate.New("text").Parse(textBody)),
		html: htmltemplate.Must(htmltemplate.New("html").Parse(htmlBody)),
	}
	if t.now == nil {
		t.now = time.Now
	}
	return t
}

// Send makes one attempt in one session.
func (t *Type) Send(ctx context.Context, m notify.Message) notify.Outcome {
	var c config
	if err := json.Unmarshal(m.Channel.Config, &c); err != nil {
		return notify.Rejected(errors.New("the channel's configuration is damaged: save it again"), 0)
	}
	from, to, err := c.addresses()
	if err != nil {
		return notify.Rejected(fmt.Errorf("the channel's addresses are not usable: %w", err), 0)
	}
	msg, err := t.compose(m, from, to)
	if err != nil {
		return notify.Rejected(fmt.Errorf("compose the mail: %w", err), 0)
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	s, err := t.dial(ctx, c)
	if err != nil {
		return outcome(err)
	}
	defer s.conn.Close()
	return s.deliver(from, to, msg, m.Attempt)
}

// session is a connection to a mail server that is ready to take mail.
type session struct {
	conn   net.Conn
	client *smtp.Client
}

// dial connects, secures and authenticates.
func (t *Type) dial(ctx context.Context, c config) (session, error) {
	var conn net.Conn
	opts := []mail.Option{
		mail.WithPort(c.Port),
		mail.WithTimeout(defaultTimeout), // the context's is the shorter one
		mail.WithTLSConfig(t.guard.TLSConfig(c.Host)),
		// The library's context is for the dialling only; ours is for the session.
		mail.WithDialContextFunc(func(_ context.Context, network, address string) (net.Conn, error) {
			var err error
			conn, err = t.connect(ctx, network, address, c)
			return conn, err
		}),
	}
	if t.helo != "" {
		opts = append(opts, mail.WithHELO(t.helo))
	}
	switch c.TLS {
	case tlsImplicit:
		opts = append(opts, mail.WithSSL())
	case tlsNone:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if c.Username != "" {
		opts = append(opts, mail.WithUsername(c.Username), mail.WithPassword(c.Password), mail.WithOpportunisticSMTPAuth(
			mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin, mail.SMTPAuthCramMD5))
	}
	client, err := mail.NewClient(c.Host, opts...)
	if err != nil {
		return session{}, err
	}
	ready, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		if conn != nil {
			_ = conn.Close() // the library leaves it open
		}
		return session{}, err
	}
	return session{conn: conn, client: ready}, nil
}

// connect dials through the guard, and begins TLS when it is there from the start.
func (t *Type) connect(ctx context.Context, network, address string, c config) (net.Conn, error) {
	raw, err := t.guard.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := bound(ctx, raw)
	if c.TLS != tlsImplicit {
		return conn, nil
	}
	secured, err := handshake(ctx, conn, t.guard.TLSConfig(c.Host))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("begin TLS: %w", err)
	}
	return secured, nil
}

// deliver hands one message over.
func (s session) deliver(from *netmail.Address, to []*netmail.Address, msg *mail.Msg, attempt int) notify.Outcome {
	if err := s.client.Mail(envelope(from)); err != nil {
		return outcome(err)
	}
	var refused []refusal
	for _, a := range to {
		err := s.client.Rcpt(envelope(a))
		if err == nil {
			continue
		}
		if code(err) == 0 {
			return outcome(err) // the connection is gone
		}
		refused = append(refused, refusal{a.Address, err})
	}
	if o, stop := decide(refused, len(to), attempt); stop {
		_ = s.client.Quit()
		return o
	}
	w, err := s.client.Data()
	if err != nil {
		return outcome(err)
	}
	if _, err := msg.WriteTo(w); err != nil {
		return outcome(err)
	}
	if err := w.Close(); err != nil {
		return outcome(err)
	}
	_ = s.client.Quit() // it has taken the mail: how it says good-bye is no matter
	return notify.Delivered(250, leftOut(refused))
}

// envelope is an address as SMTP's commands take it.
func envelope(a *netmail.Address) string { return (&netmail.Address{Address: a.Address}).String() }

// refusal is a recipient that the server does not take.
type refusal struct {
	address string
	err     error
}

// patience is how many attempts wait for recipients that are refused for the moment while others are taken. After it, those that are
// taken get the mail: an alert for nine people must not wait for the tenth's full mailbox. They all get it once only.
const patience = 3

// decide says whether to stop before any text is sent, and with which outcome.
func decide(refused []refusal, recipients, attempt int) (notify.Outcome, bool) {
	if len(refused) == 0 {
		return notify.Outcome{}, false
	}
	var temporary *refusal
	for i, r := range refused {
		if c := code(r.err); c >= 400 && c <= 499 {
			temporary = &refused[i]
		}
	}
	switch {
	case temporary != nil && (len(refused) == recipients || attempt <= patience):
		return notify.Failed(fmt.Errorf("the server does not take mail for %s now: %w", temporary.address, temporary.err), code(temporary.err)), true
	case len(refused) == recipients:
		return notify.Rejected(fmt.Errorf("the server refuses all recipients: %s", leftOut(refused)), code(refused[0].err)), true
	}
	return notify.Outcome{}, false
}

func leftOut(refused []refusal) string {
	if len(refused) == 0 {
		return ""
	}
	parts := make([]string, len(refused))
	for i, r := range refused {
		parts[i] = r.address + " (" + r.err.Error() + ")"
	}
	return "not delivered to " + strings.Join(parts, ", ")
}

// code is the SMTP status in an error's chain, or 0.
func code(err error) int {
	if p := (*textproto.Error)(nil); errors.As(err, &p) {
		return p.Code
	}
	return 0
}

// outcome judges an attempt that ended with err: 5xx and the guard's refusal are final, all else may be better next time.
func outcome(err error) notify.Outcome {
	if refused := (*egress.Refused)(nil); errors.As(err, &refused) {
		return notify.Rejected(refused, 0)
	}
	c := code(err)
	if c >= 500 && c <= 599 {
		return notify.Rejected(fmt.Errorf("the mail server refused: %w", err), c)
	}
	if c != 0 {
		return notify.Failed(fmt.Errorf("the mail server answered %w", err), c)
	}
	return notify.Failed(err, 0)
}
