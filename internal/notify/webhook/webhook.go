// Package webhook delivers notifications as HTTP requests, signed by the Standard Webhooks specification.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
)

// Name is the name of this type of channel.
const Name = "webhook"

// drain is how much of an answer is read, so that the connection can be used again. What it says is of no interest, and is never
// shown: it could be that of a server that the channel's owner cannot see.
const drain = 64 << 10

// Config is what the type works with.
type Config struct {
	Guard     *egress.Guard
	Timeout   time.Duration    // of one request, beneath what its context says; 15 s when zero
	UserAgent string           // "PulseStream-Webhook/1" when empty
	Now       func() time.Time // time.Now when nil
}

// Type sends webhooks. It implements notify.Type.
type Type struct {
	guard  *egress.Guard
	client *http.Client
	agent  string
	now    func() time.Time
}

var _ notify.Type = (*Type)(nil)

// New makes the type.
func New(cfg Config) *Type {
	t := &Type{
		guard:  cfg.Guard,
		client: cfg.Guard.HTTPClient(cmp.Or(cfg.Timeout, 15*time.Second)),
		agent:  cmp.Or(cfg.UserAgent, "PulseStream-Webhook/1"),
		now:    cfg.Now,
	}
	if t.now == nil {
		t.now = time.Now
	}
	return t
}

// Send makes one request.
func (t *Type) Send(ctx context.Context, m notify.Message) notify.Outcome {
	var c config
	if err := json.Unmarshal(m.Channel.Config, &c); err != nil {
		return notify.Rejected(errors.New("the channel's configuration is damaged: save it again"), 0)
	}
	body, err := encode(m)
	if err != nil {
		return notify.Rejected(fmt.Errorf("encode the message: %w", err), 0)
	}
	header, err := Header(c.Secret, m.ID, t.now(), body)
	if err != nil {
		return notify.Rejected(fmt.Errorf("the channel's secret is not usable: %w", err), 0)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return notify.Rejected(errors.New("the channel's url is not usable: save it again"), 0)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", t.agent)
	resp, err := t.client.Do(req)
	if err != nil {
		return undelivered(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, drain)
	return judge(resp.StatusCode, resp.Header.Get("Retry-After"), t.now())
}

// undelivered judges a request that got no usable answer.
func undelivered(err error) notify.Outcome {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // u's text has the whole URL in it, which may hold a token
	}
	var refused *egress.Refused
	var redirected *egress.Redirected
	switch {
	case errors.As(err, &refused):
		return notify.Rejected(refused, 0)
	case errors.As(err, &redirected):
		o := notify.Failed(redirected, redirected.Status)
		o.Retry = redirected.Status != http.StatusMovedPermanently && redirected.Status != http.StatusPermanentRedirect
		return o
	}
	return notify.Failed(err, 0)
}

// judge decides by the status of an answer. retryAfter is the header's value.
func judge(status int, retryAfter string, now time.Time) notify.Outcome {
	if status >= 200 && status <= 299 {
		return notify.Delivered(status, "")
	}
	text := strconv.Itoa(status)
	if s := http.StatusText(status); s != "" {
		text += " " + s
	}
	switch {
	case status == http.StatusGone:
		return notify.Rejected(fmt.Errorf("the endpoint is gone for good (%s): delete the channel or change its url", text), status)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
	case status >= 400 && status <= 499:
		return notify.Rejected(fmt.Errorf("the endpoint refused the request (%s): put the endpoint or the channel right", text), status)
	}
	o := notify.Failed(fmt.Errorf("the endpoint answered %s", text), status)
	o.RetryAfter = parseRetryAfter(retryAfter, now)
	return o
}

// parseRetryAfter reads a Retry-After header: seconds, or a date. 0 when there is none to be made out, or it has passed.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
