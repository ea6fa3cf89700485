package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Event is an event to send. Only Type is required. With an ID an event can be sent again without being counted twice.
type Event struct {
	ID      string     `json:"id,omitempty"`
	Source  string     `json:"source,omitempty"`
	Type    string     `json:"type"`
	Subject string     `json:"subject,omitempty"`
	Time    *time.Time `json:"time,omitempty"`
	Data    any        `json:"data,omitempty"`
}

// StoredEvent is an event as the server has it.
type StoredEvent struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Type       string          `json:"type"`
	Subject    string          `json:"subject"`
	Time       time.Time       `json:"time"`
	Data       json.RawMessage `json:"data"` // nil when there is none
	ReceivedAt time.Time       `json:"received_at"`
	// Extensions are the attributes that CloudEvents does not name itself, in JSON.
	Extensions map[string]json.RawMessage `json:"-"`
}

// UnmarshalJSON reads an event in CloudEvents' JSON form.
func (e *StoredEvent) UnmarshalJSON(b []byte) error {
	type plain StoredEvent // without this method
	var known plain
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &known.Extensions); err != nil {
		return err
	}
	for _, name := range [...]string{"id", "source", "type", "subject", "time", "data", "received_at"} {
		delete(known.Extensions, name)
	}
	*e = StoredEvent(known)
	return nil
}

// Receipt is the answer to events. What it says was accepted is on disk.
type Receipt struct {
	Accepted int        `json:"accepted"`
	Rejected []Rejected `json:"rejected"`
}

// Rejected is one event that was not taken.
type Rejected struct {
	Index  int    `json:"index"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Send sends events; up to 10 000 at once.
func (c *Client) Send(ctx context.Context, events ...Event) (Receipt, error) {
	body, err := json.Marshal(events)
	if err != nil {
		return Receipt{}, err
	}
	return c.SendRaw(ctx, "application/json", body, nil)
}

// SendRaw sends a body of any form that the server takes, with further headers.
func (c *Client) SendRaw(ctx context.Context, contentType string, body []byte, header http.Header) (Receipt, error) {
	h := http.Header{}
	for k, v := range header {
		h[k] = v
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if body == nil {
		body = []byte{}
	}
	var r Receipt
	err := c.Do(ctx, http.MethodPost, "/v1/events", h, body, &r)
	return r, err
}

// EventQuery selects events. Empty fields do not restrict.
type EventQuery struct {
	Type    string // may end in *
	Source  string
	ID      string // quick together with Source
	Subject string
	From    time.Time
	To      time.Time
	Limit   int // 0: the server's default
	Cursor  string
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("type", q.Type)
	set("source", q.Source)
	set("id", q.ID)
	set("subject", q.Subject)
	set("cursor", q.Cursor)
	if !q.From.IsZero() {
		v.Set("from", q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Events returns a page of events, newest first, and the cursor of the next page, empty behind the last.
func (c *Client) Events(ctx context.Context, q EventQuery) (events []StoredEvent, next string, err error) {
	var p page[StoredEvent]
	err = c.Do(ctx, http.MethodGet, "/v1/events?"+q.values().Encode(), nil, nil, &p)
	return p.Data, p.Next, err
}

// AllEvents returns every event that q selects, page by page.
func (c *Client) AllEvents(ctx context.Context, q EventQuery) ([]StoredEvent, error) {
	var all []StoredEvent
	if q.Limit == 0 {
		q.Limit = 1000
	}
	for {
		events, next, err := c.Events(ctx, q)
		if err != nil {
			return all, err
		}
		all = append(all, events...)
		if next == "" {
			return all, nil
		}
		q.Cursor = next
	}
}

// Event returns one event.
func (c *Client) Event(ctx context.Context, source, id string) (StoredEvent, error) {
	if source == "/" || id == "/" { // a path can't hold it, however it is escaped
		found, _, err := c.Events(ctx, EventQuery{Source: source, ID: id, Limit: 1})
		if err == nil && len(found) == 0 {
			err = &Error{Status: http.StatusNotFound, Title: http.StatusText(http.StatusNotFound)}
		}
		if err != nil {
			return StoredEvent{}, err
		}
		return found[0], nil
	}
	var e StoredEvent
	err := c.Do(ctx, http.MethodGet, "/v1/events/"+segment(source)+"/"+segment(id), nil, nil, &e)
	return e, err
}
