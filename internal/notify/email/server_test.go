package email

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/pulsestream/pulsestream/internal/egress"
)

// received is a mail as the server got it.
type received struct {
	from string
	to   []string
	text string
	user string
	tls  bool
}

// server is a real SMTP server on loopback that answers as it is told.
type server struct {
	host  string
	port  int
	roots *x509.CertPool

	mu       sync.Mutex
	mails    []received
	onMail   error
	onRcpt   map[string]error
	onData   error
	password string
}

func (s *server) got() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

func (s *server) script(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// start runs a server. How is "starttls", "implicit" or "none".
func start(t *testing.T, how string) *server {
	t.Helper()
	cert, roots := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{host: "localhost", port: l.Addr().(*net.TCPAddr).Port, roots: roots, password: "s3cret pass"}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session1{s: s, c: c}, nil }))
	srv.Domain = "localhost"
	srv.ErrorLog = quiet{}
	switch how {
	case "starttls":
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	case "implicit":
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-ended
	})
	return s
}

// quiet drops the server's log: broken connections are part of the tests.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// newType makes the type under test, which trusts the server's certificate.
func (s *server) newType() *Type {
	return New(Config{
		Guard: egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}).WithRootCAs(s.roots),
		Now:   func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
	})
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

type session1 struct {
	s    *server
	c    *smtp.Conn
	mail received
}

func (x *session1) AuthMechanisms() []string { return []string{sasl.Plain} }

func (x *session1) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		if password != x.s.password {
			return smtp.ErrAuthFailed
		}
		x.mail.user = user
		return nil
	}), nil
}

func (x *session1) Mail(from string, _ *smtp.MailOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.mail.from = from
	_, x.mail.tls = x.c.TLSConnectionState()
	return x.s.onMail
}

func (x *session1) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if err := x.s.onRcpt[to]; err != nil {
		return err
	}
	x.mail.to = append(x.mail.to, to)
	return nil
}

func (x *session1) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.onData != nil {
		return x.s.onData
	}
	x.mail.text = string(b)
	x.s.mails = append(x.s.mails, x.mail)
	return nil
}

func (x *session1) Reset()        { x.mail = received{user: x.mail.user} }
func (x *session1) Logout() error { return nil }

func smtpError(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text}
}

// lineServer answers each line of a client by what reply says, for servers that no library would be.
func lineServer(t *testing.T, greeting string, reply func(line string) string) (string, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.WriteString(c, greeting); err != nil {
					return
				}
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil && !errors.Is(err, io.EOF) || n == 0 {
						return
					}
					if _, err := io.WriteString(c, reply(strings.TrimSpace(string(buf[:n])))); err != nil {
						return
					}
				}
			}()
		}
	}()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	return host, n
}
