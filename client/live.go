package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Subscription asks for live data under a name of the subscriber's choice: a metric's points, or a topic ("events",
// "incidents").
type Subscription struct {
	ID      string            `json:"id"`
	Metric  string            `json:"metric,omitempty"`
	Topic   string            `json:"topic,omitempty"`
	Agg     string            `json:"agg,omitempty"`
	Step    string            `json:"step,omitempty"`
	GroupBy []string          `json:"group_by,omitempty"`
	Where   map[string]string `json:"where,omitempty"`
	Since   string            `json:"since,omitempty"`
}

// Frame is one message of the server. A point replaces an earlier one of the same series and time.
type Frame struct {
	ID         string        `json:"id"`
	Op         string        `json:"op"` // snapshot, points, events, incidents, lagged, error
	Metric     string        `json:"metric"`
	Agg        string        `json:"agg"`
	Step       string        `json:"step"`
	Series     []Series      `json:"series"`
	Events     []StoredEvent `json:"events"` // newest first
	SampledOut int           `json:"sampled_out"`
	Incidents  []Incident    `json:"incidents"`
	Dropped    int           `json:"dropped"`
	Code       string        `json:"code"`
	Detail     string        `json:"detail"`
}

// Live is an open live connection. One goroutine may read while another writes.
type Live struct{ conn *websocket.Conn }

// Ticket opens one live connection in place of a key, for those that cannot send a header.
type Ticket struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expires_at"`
}

// LiveTicket makes a ticket.
func (c *Client) LiveTicket(ctx context.Context) (Ticket, error) {
	var t Ticket
	err := c.Do(ctx, http.MethodPost, "/v1/live/tickets", nil, nil, &t)
	return t, err
}

// Live opens a live connection; ctx bounds the opening only.
func (c *Client) Live(ctx context.Context) (*Live, error) {
	h := http.Header{}
	if c.key != "" {
		h.Set("Authorization", "Bearer "+c.key)
	}
	return c.dial(ctx, "/v1/live", h)
}

// LiveByTicket opens a live connection with a ticket and without the key.
func (c *Client) LiveByTicket(ctx context.Context, ticket string) (*Live, error) {
	return c.dial(ctx, "/v1/live?ticket="+url.QueryEscape(ticket), nil)
}

func (c *Client) dial(ctx context.Context, path string, h http.Header) (*Live, error) {
	conn, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.base, "http")+path, &websocket.DialOptions{HTTPHeader: h}) //nolint:bodyclose // the library has done it
	if err != nil {
		if resp != nil && resp.StatusCode >= http.StatusBadRequest {
			body, _ := io.ReadAll(resp.Body) // the library keeps the beginning of it
			return nil, problemOf(resp.StatusCode, resp.Header, body)
		}
		return nil, fmt.Errorf("open the live connection: %w", err)
	}
	conn.SetReadLimit(64 << 20)
	return &Live{conn: conn}, nil
}

// Subscribe begins a subscription; its snapshot comes as a Frame.
func (l *Live) Subscribe(ctx context.Context, s Subscription) error {
	return l.write(ctx, struct {
		Op string `json:"op"`
		Subscription
	}{"subscribe", s})
}

// Unsubscribe ends a subscription.
func (l *Live) Unsubscribe(ctx context.Context, id string) error {
	return l.write(ctx, map[string]string{"op": "unsubscribe", "id": id})
}

func (l *Live) write(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.Send(ctx, b)
}

// Send sends a frame as it is, for what Live has no method for.
func (l *Live) Send(ctx context.Context, frame []byte) error {
	return l.conn.Write(ctx, websocket.MessageText, frame)
}

// Next waits for the next frame.
func (l *Live) Next(ctx context.Context) (Frame, error) {
	_, b, err := l.conn.Read(ctx)
	if err != nil {
		return Frame{}, err
	}
	var f Frame
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("a live frame cannot be read: %w", err)
	}
	return f, nil
}

// Close says goodbye and ends the connection; Abort just ends it.
func (l *Live) Close() error { return l.conn.Close(websocket.StatusNormalClosure, "") }

// Abort ends the connection at once.
func (l *Live) Abort() error { return l.conn.CloseNow() }
