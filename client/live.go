package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

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
	ID        string        `json:"id"`
	Op        string        `json:"op"` // snapshot, points, events, incidents, lagged, error
	Series    []Series      `json:"series"`
	Events    []StoredEvent `json:"events"`
	Incidents []Incident    `json:"incidents"`
	Dropped   int           `json:"dropped"`
	Code      string        `json:"code"`
	Detail    string        `json:"detail"`
}

// Live is an open live connection. One goroutine may read while another writes.
type Live struct{ conn *websocket.Conn }

// Live opens a live connection; ctx bounds the opening only.
func (c *Client) Live(ctx context.Context) (*Live, error) {
	h := http.Header{}
	if c.key != "" {
		h.Set("Authorization", "Bearer "+c.key)
	}
	conn, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.base, "http")+"/v1/live", &websocket.DialOptions{HTTPHeader: h})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		if resp != nil && resp.StatusCode >= 400 {
			return nil, problemOf(resp, nil)
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
	return l.conn.Write(ctx, websocket.MessageText, b)
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

// Close ends the connection.
func (l *Live) Close() error { return l.conn.Close(websocket.StatusNormalClosure, "") }
