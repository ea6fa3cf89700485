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
	"strconv"
	"strings"
	"time"
)

// Client talks to one installation as one key. It may be used from any goroutine.
type Client struct {
	base string
	key  string
	http *http.Client
	// complete: an answer that may lack something is an error.
	complete bool
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

// ErrIncomplete is returned to a Complete client.
var ErrIncomplete = errors.New("the answer may lack something: the server is rebuilding its store; ask again when /readyz says nothing of it")

// Complete is the same client, but an answer that the server marks as one that may lack something, with the header PulseStream-Incomplete, is
// ErrIncomplete.
func (c *Client) Complete() *Client {
	other := *c
	other.complete = true
	return &other
}

// FieldError is what is wrong in one place of a request.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is an answer that is a problem.
type Error struct {
	Status    int          `json:"status"`
	Title     string       `json:"title"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	Errors    []FieldError `json:"errors"`
	Rejected  []Rejected   `json:"rejected"`
	RequestID string       `json:"request_id"`
	Header    http.Header  `json:"-"` // of the answer: Retry-After, RateLimit, Allow, WWW-Authenticate
}

// RetryAfter is how long the server asks to be left alone, 0 when it does not.
func (e *Error) RetryAfter() time.Duration {
	seconds, err := strconv.Atoi(e.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
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

// Response is an answer as it came.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Exchange sends a request and returns the answer as it is, also when it is a problem. The body may be nil, []byte (sent as
// it is) or anything that encodes to JSON.
func (c *Client) Exchange(ctx context.Context, method, path string, header http.Header, body any) (*Response, error) {
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		reader, contentType = bytes.NewReader(encoded), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
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
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if c.complete && resp.Header.Get("PulseStream-Incomplete") != "" {
		return nil, ErrIncomplete
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: answer}, nil
}

// Do is Exchange for an answer in JSON, which is decoded into out if out is not nil; a problem is the error.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body, out any) error {
	_, err := c.do(ctx, method, path, header, body, out)
	return err
}

// do is Do that returns the answer's headers as well.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body, out any) (http.Header, error) {
	r, err := c.Exchange(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	if r.Status >= http.StatusMultipleChoices {
		return r.Header, problemOf(r.Status, r.Header, r.Body)
	}
	if out == nil || len(r.Body) == 0 {
		return r.Header, nil
	}
	if err := json.Unmarshal(r.Body, out); err != nil {
		return r.Header, fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return r.Header, nil
}

func problemOf(status int, header http.Header, body []byte) *Error {
	e := &Error{}
	if json.Unmarshal(body, e) != nil || e.Status == 0 {
		e.Detail = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	e.Status, e.Header = status, header
	if e.Title == "" {
		e.Title = http.StatusText(status)
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

// segment escapes a part of a path. The segments . and .. would be taken for steps through the path.
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}
