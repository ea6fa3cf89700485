package email

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// maxRead is how much a mail server may say in one session. Real ones need some kilobytes; SMTP itself knows no bound.
const maxRead = 1 << 20

var errTalkative = errors.New("the mail server says too much")

// boundConn ends with its context, and gives out maxRead bytes at most.
type boundConn struct {
	net.Conn
	deadline time.Time // zero: none
	stop     func() bool
	left     int
}

// bound makes c end with ctx, whatever deadlines are set on it later.
func bound(ctx context.Context, c net.Conn) *boundConn {
	b := &boundConn{Conn: c, left: maxRead}
	b.deadline, _ = ctx.Deadline()
	b.stop = context.AfterFunc(ctx, func() { c.Close() })
	return b
}

func (b *boundConn) Close() error {
	b.stop()
	return b.Conn.Close()
}

func (b *boundConn) earlier(t time.Time) time.Time {
	if !b.deadline.IsZero() && (t.IsZero() || t.After(b.deadline)) {
		return b.deadline
	}
	return t
}

func (b *boundConn) SetDeadline(t time.Time) error { return b.Conn.SetDeadline(b.earlier(t)) }

func (b *boundConn) SetReadDeadline(t time.Time) error { return b.Conn.SetReadDeadline(b.earlier(t)) }

func (b *boundConn) SetWriteDeadline(t time.Time) error { return b.Conn.SetWriteDeadline(b.earlier(t)) }

func (b *boundConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalkative
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func handshake(ctx context.Context, c net.Conn, cfg *tls.Config) (net.Conn, error) {
	secured := tls.Client(c, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secured, nil
}
