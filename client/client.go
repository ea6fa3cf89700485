// Package client is the Go client of PulseStream's public API.
//
//	c := client.New("http://127.0.0.1:8080", os.Getenv("PULSESTREAM_API_KEY"))
//	receipt, err := c.Send(ctx, client.Event{Type: "order.paid", Data: map[string]any{"amount": 12.5}})
//
// Every method takes a context, and returns an *Error for an answer that is a problem (RFC 9457).
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client talks to one installation as one key. It may be used from any goroutine.
type Client struct {
	base string
	key  string
	http *http.Client
}

// Option changes a Client as it is made.
type Option func(*Client)

// WithHTTPClient uses h instead of a client with a timeout of 30 seconds.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// New makes a client of the server at base, such as "https://pulse.example.com", that acts with an API key.
func New(base, key string, options ...Option) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http's documented type
	transport.MaxIdleConnsPerHost = 64
	c := &Client{base: strings.TrimRight(base, "/"), key: key, http: &http.Client{Timeout: 30 * time.Second, Transport: transport}}
	for _, o := range options {
		o(c)
	}
	return c
}

// FieldError is what is wrong in one place of a request.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is an answer that is a problem.
type Error struct {
	Status     int          `json:"status"`
	Title      string       `json:"title"`
	Detail     string       `json:"detail"`
	Code       string       `json:"code"`
	Errors     []FieldError `json:"errors"`
	Rejected   []Rejected   `json:"rejected"`
	RequestID  string       `json:"request_id"`
	RetryAfter string       `json:"-"` // the header
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Status, e.Title)
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, f := range e.Errors {
		fmt.Fprintf(&b, "; %s: %s", f.Location, f.Message)
	}
	return b.String()
}

// StatusOf is the HTTP status of a problem, 0 for any other error.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Do sends a request and decodes a JSON answer into out, if out is not nil: for what the client has no method for. The body
// may be nil, []byte (sent as it is) or anything that encodes to JSON.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body, out any) error {
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		reader, contentType = bytes.NewReader(encoded), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return problemOf(resp, answer)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

func problemOf(resp *http.Response, body []byte) *Error {
	e := &Error{}
	if json.Unmarshal(body, e) != nil || e.Status == 0 {
		e.Detail = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	e.Status, e.RetryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
	if e.Title == "" {
		e.Title = http.StatusText(resp.StatusCode)
	}
	return e
}

// page is the form of all lists.
type page[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next_cursor"`
}

func getList[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var p page[T]
	err := c.Do(ctx, http.MethodGet, path, nil, nil, &p)
	return p.Data, err
}

func segment(s string) string { return url.PathEscape(s) }
