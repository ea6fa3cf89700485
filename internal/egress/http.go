package egress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// MaxResponseBytes is how much of a response's body a client of the guard gives out before ErrTooLarge.
const MaxResponseBytes = 1 << 20

const maxHeaderBytes = 64 << 10

// ErrTooLarge is what reading a response's body ends with when it is longer than MaxResponseBytes.
var ErrTooLarge = errors.New("the response is larger than 1 MiB")

// Redirected is the error of a request that was answered with a redirect. None is followed: the address entered is the one
// that was checked and that its owner has agreed to.
type Redirected struct {
	Status   int
	Location string
}

func (e *Redirected) Error() string {
	return fmt.Sprintf("the answer was a redirect (%d) to %q, and redirects are not followed: enter the final address", e.Status, e.Location)
}

// HTTPClient returns a client all of whose connections are checked. timeout bounds a whole request, its body included. It
// uses no proxy, follows no redirect, speaks TLS 1.2 at least, and reads no more than MaxResponseBytes of a response.
//
// Make one and keep it: it holds connections open for the next request.
func (g *Guard) HTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: bounded{&http.Transport{
			Proxy:                  nil, // one from the environment would dial in our place, unchecked
			DialContext:            g.DialContext,
			TLSClientConfig:        g.TLSConfig(""),
			TLSHandshakeTimeout:    timeout,
			ResponseHeaderTimeout:  timeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           100,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // so that what is bounded is what comes over the wire
		}},
		CheckRedirect: func(next *http.Request, _ []*http.Request) error {
			e := &Redirected{Location: next.URL.Redacted()}
			if next.Response != nil {
				e.Status = next.Response.StatusCode
			}
			return e
		},
	}
}

// bounded cuts off the bodies of responses.
type bounded struct{ next *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		resp.Body = &body{ReadCloser: resp.Body, left: MaxResponseBytes}
	}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (b bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

type body struct {
	io.ReadCloser
	left int
}

func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// Exactly as long as allowed is not too long: one more byte tells.
		var one [1]byte
		n, err := b.ReadCloser.Read(one[:])
		if n > 0 {
			return 0, ErrTooLarge
		}
		return 0, err
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}
