package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Conn is a keep-alive connection that carries one request after the other.
type Conn struct {
	address string
	c       net.Conn // nil after an answer that ended the connection
	buf     []byte
	n       int // bytes in buf
}

const answerLimit = 30 * time.Second

// Dial connects.
func Dial(ctx context.Context, address string) (*Conn, error) {
	c := &Conn{address: address, buf: make([]byte, 16<<10)}
	return c, c.connect(ctx)
}

func (c *Conn) connect(ctx context.Context) (err error) {
	var d net.Dialer
	c.c, err = d.DialContext(ctx, "tcp", c.address)
	return err
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.c == nil {
		return nil
	}
	err := c.c.Close()
	c.c = nil
	return err
}

// Do sends a request and reads the answer, whose body is valid until the next. A server that refuses a request may end the
// connection: then the next request has a new one.
func (c *Conn) Do(ctx context.Context, request []byte) (status int, body []byte, err error) {
	if c.c == nil {
		if err := c.connect(ctx); err != nil {
			return 0, nil, err
		}
	}
	status, body, err = c.exchange(request)
	if err != nil || bytes.Contains(c.buf[:c.n-len(body)], connectionClose) {
		_ = c.Close() // of no use any more
	}
	return status, body, err
}

func (c *Conn) exchange(request []byte) (status int, body []byte, err error) {
	if err := c.c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return 0, nil, err
	}
	if _, err := c.c.Write(request); err != nil {
		return 0, nil, err
	}
	return c.answer()
}

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")

	connectionClose = []byte("\r\nConnection: close\r\n")
)

func (c *Conn) answer() (status int, body []byte, err error) {
	c.n = 0
	end := -1
	for end < 0 {
		if c.n == len(c.buf) {
			return 0, nil, errors.New("the answer's head is too long")
		}
		n, err := c.c.Read(c.buf[c.n:])
		if err != nil {
			return 0, nil, err
		}
		c.n += n
		end = bytes.Index(c.buf[:c.n], endOfHead)
	}
	head := c.buf[:end+2]
	if len(head) < 12 {
		return 0, nil, fmt.Errorf("no HTTP answer: %q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, nil, fmt.Errorf("no HTTP answer: %q", head)
	}
	at := bytes.Index(head, contentLength)
	if at < 0 { // a long one: none of those that are expected
		return 0, nil, fmt.Errorf("an answer without a length: %q", c.buf[:c.n])
	}
	at += len(contentLength)
	length, err := strconv.Atoi(string(head[at : at+bytes.IndexByte(head[at:], '\r')]))
	if err != nil {
		return 0, nil, fmt.Errorf("an answer without a length: %q", head)
	}
	from := end + 4
	if from+length > len(c.buf) {
		c.buf = append(c.buf, make([]byte, from+length-len(c.buf))...)
	}
	for c.n < from+length {
		n, err := c.c.Read(c.buf[c.n:])
		if err != nil {
			return 0, nil, err
		}
		c.n += n
	}
	return status, c.buf[from : from+length], nil
}

var accepted = []byte(`"accepted":`)

// Accepted reads how many events an answer says were taken.
func Accepted(body []byte) int {
	at := bytes.Index(body, accepted)
	if at < 0 {
		return 0
	}
	n := 0
	for _, c := range bytes.TrimLeft(body[at+len(accepted):], " ") {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
