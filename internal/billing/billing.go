// Package billing tells a billing system what tenants have used: a CloudEvent for each tenant and hour that is over, many in one request, signed as webhooks
// are (Standard Webhooks).
//
//	              2xx: Bill(row, revision)
//	due ─────────────────────────────────────► told
//	 ▲   anything else: tried again             │
//	 └──────────────────────────────────────────┘
//	     the hour's figures change: a new revision
//
// The catalog's book of usage is the authority for who was told what, so a sender that dies is taken up by the next. Whatever is sent twice has the same id.
package billing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify/webhook"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/usage"
)

const (
	// EventType is the type of the events.
	EventType = "io.pulsestream.usage.hour.v1"
	// mostRows are told in one request: some 150 kB.
	mostRows = 500
	// patience is how long one request may take.
	patience = 15 * time.Second
	// drain is how much of an answer is read, so that the connection can be used again.
	drain = 64 << 10
)

// Config is what a Sender needs.
type Config struct {
	URL    string
	Secret string // whsec_…
	// Source names the installation; with an event's id it says which event it is.
	Source string
	Book   store.UsageBook
	Guard  *egress.Guard
	Now    func() time.Time
}

// Sender tells a billing system.
type Sender struct {
	cfg    Config
	client *http.Client
}

// New makes a Sender.
func New(cfg Config) (*Sender, error) {
	if _, err := webhook.Header(cfg.Secret, "", time.Time{}, nil); err != nil {
		return nil, fmt.Errorf("--billing-url needs the secret that requests are signed with in PULSESTREAM_BILLING_SECRET: whsec_ followed by the base64 of 24 to 64 bytes")
	}
	return &Sender{cfg: cfg, client: cfg.Guard.HTTPClient(patience)}, nil
}

// Send tells all that is due, and returns when nothing is, or with the first failure.
func (s *Sender) Send(ctx context.Context) error {
	for ctx.Err() == nil {
		rows, err := s.cfg.Book.Unbilled(ctx, s.cfg.Now().Add(-usage.ClosedAfter), mostRows)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := s.post(ctx, rows); err != nil {
			return fmt.Errorf("tell the billing system of %d hours: %w", len(rows), err)
		}
		if err := s.cfg.Book.Bill(ctx, rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// cloudEvent is one tenant's hour.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            figures   `json:"data"`
}

// figures are absolute: a later revision replaces an earlier one.
type figures struct {
	Tenant        string    `json:"tenant"`
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	Revision      int64     `json:"revision"`
	Events        int64     `json:"events"`
	Bytes         int64     `json:"bytes"`
	Series        int64     `json:"series"`
	Queries       int64     `json:"queries"`
	Notifications int64     `json:"notifications"`
}

// idOf is the same whenever a revision of a tenant's hour is told.
func idOf(u *store.Usage) string {
	return string(u.Tenant) + "/" + u.Hour.UTC().Format("2006-01-02T15") + "/" + strconv.FormatInt(u.Revision, 10)
}

// encode gives the body of a request and its id.
func encode(source string, rows []store.Usage) (body []byte, id string, err error) {
	events := make([]cloudEvent, len(rows))
	all := sha256.New()
	for i := range rows {
		u := &rows[i]
		end := u.Hour.Add(time.Hour).UTC()
		events[i] = cloudEvent{SpecVersion: "1.0", ID: idOf(u), Source: source, Type: EventType, Subject: string(u.Tenant), Time: end, DataContentType: "application/json",
			Data: figures{Tenant: string(u.Tenant), From: u.Hour.UTC(), To: end, Revision: u.Revision, Events: u.Events, Bytes: u.Bytes, Series: u.Series,
				Queries: u.Queries, Notifications: u.Notifications}}
		_, _ = io.WriteString(all, events[i].ID+"\n")
	}
	body, err = json.Marshal(events)
	return body, "usage_" + hex.EncodeToString(all.Sum(nil)[:16]), err
}

func (s *Sender) post(ctx context.Context, rows []store.Usage) error {
	body, id, err := encode(s.cfg.Source, rows)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("--billing-url is not usable")
	}
	if req.Header, err = webhook.Header(s.cfg.Secret, id, s.cfg.Now(), body); err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	req.Header.Set("User-Agent", "PulseStream-Billing/1")
	resp, err := s.client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // u's text has the whole URL in it, which may hold a token
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, drain)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return nil
}
