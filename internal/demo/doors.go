package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// hook is a vendor that signs: where it sends its webhooks, and how.
type hook struct {
	path   string
	secret string
	sign   func(secret string, ev *Event, body []byte, now time.Time) http.Header
}

// doors is how events get into the server.
type doors struct {
	own   *client.Client // with a key
	other *client.Client // a vendor has none: its signature is its credential
	hooks map[string]hook
	now   func() time.Time
}

// signStripe is Stripe's scheme: an HMAC over the time of sending and the body.
func signStripe(secret string, _ *Event, body []byte, now time.Time) http.Header {
	t := strconv.FormatInt(now.Unix(), 10)
	return http.Header{"Stripe-Signature": {"t=" + t + ",v1=" + hmacHex(secret, t+"."+string(body))}, "User-Agent": {"Stripe/1.0 (simulated by pulsestream demo)"}}
}

// signGitHub is GitHub's scheme: an HMAC over the body; id and type are in headers.
func signGitHub(secret string, ev *Event, body []byte, _ time.Time) http.Header {
	return http.Header{
		"X-Github-Event": {ev.Type}, "X-Github-Delivery": {ev.ID}, "X-Hub-Signature-256": {"sha256=" + hmacHex(secret, string(body))},
		"User-Agent": {"GitHub-Hookshot/simulated by pulsestream demo"},
	}
}

func hmacHex(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// pathOf is the path of a source's URL: the demo reaches its server at its own address, whatever others call it.
func pathOf(source client.Source) (string, error) {
	u, err := url.Parse(source.URL)
	if err != nil || u.Path == "" {
		return "", fmt.Errorf("the source %s has the URL %q, which cannot be used", source.Slug, source.URL)
	}
	return u.Path, nil
}

// deliver sends one event as its vendor's webhook.
func (d *doors) deliver(ctx context.Context, ev *Event) error {
	h := d.hooks[ev.Source]
	body, err := json.Marshal(ev.Data)
	if err != nil {
		return err
	}
	return again(ctx, func() error {
		header := h.sign(h.secret, ev, body, d.now())
		header.Set("Content-Type", "application/json")
		return d.other.Do(ctx, http.MethodPost, h.path, header, body, nil)
	})
}

// post sends events as JSON.
func (d *doors) post(ctx context.Context, events []Event) error {
	out := make([]client.Event, len(events))
	for i := range events {
		ev := &events[i]
		out[i] = client.Event{ID: ev.ID, Source: ev.Source, Type: ev.Type, Subject: ev.Subject, Time: &ev.At, Data: ev.Data}
	}
	return again(ctx, func() error {
		receipt, err := d.own.Send(ctx, out...)
		if err == nil && len(receipt.Rejected) > 0 {
			r := receipt.Rejected[0]
			err = fmt.Errorf("the server refused %d of %d events, the first (%s) because of %s: %s", len(receipt.Rejected), len(out), out[r.Index].Type, r.Code, r.Detail)
		}
		return err
	})
}

// again does something once more after a while, a few times, when the server is busy. What is sent again has the same ids.
func again(ctx context.Context, do func() error) error {
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := do()
		status := client.StatusOf(err)
		if err == nil || wait > 3*time.Second || status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// How much is sent at once.
const (
	postSize      = 2000 // events in a request
	postsUnderWay = 3
	hooksUnderWay = 24
)

// carrier sends events through the doors, several at a time.
type carrier struct {
	ctx     context.Context // of the one call that made it
	doors   *doors
	byHook  map[string]bool // the sources that send webhooks; the others' events are posted
	pending []Event
	slots   struct{ hooks, posts chan struct{} }
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

func (d *doors) carrier(ctx context.Context, byWebhook ...string) *carrier {
	c := &carrier{ctx: ctx, doors: d, byHook: map[string]bool{}}
	for _, s := range byWebhook {
		c.byHook[s] = true
	}
	c.slots.hooks, c.slots.posts = make(chan struct{}, hooksUnderWay), make(chan struct{}, postsUnderWay)
	return c
}

// take sends an event, now or with others; it waits while enough is under way.
func (c *carrier) take(ev Event) {
	if c.byHook[ev.Source] {
		c.run(c.slots.hooks, func() error { return c.doors.deliver(c.ctx, &ev) })
		return
	}
	if c.pending = append(c.pending, ev); len(c.pending) == postSize {
		c.flush()
	}
}

func (c *carrier) flush() {
	if len(c.pending) == 0 {
		return
	}
	events := c.pending
	c.pending = nil
	c.run(c.slots.posts, func() error { return c.doors.post(c.ctx, events) })
}

func (c *carrier) run(slots chan struct{}, do func() error) {
	slots <- struct{}{}
	c.running.Go(func() {
		defer func() { <-slots }()
		if err := do(); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.errs = append(c.errs, err)
		}
	})
}

// failed is the first thing that went wrong so far.
func (c *carrier) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) == 0 {
		return nil
	}
	if n := len(c.errs); n > 1 {
		return fmt.Errorf("%w (and %d more)", c.errs[0], n-1)
	}
	return c.errs[0]
}

// wait sends what is left and returns when all has arrived, or with what went wrong.
func (c *carrier) wait() error {
	c.flush()
	c.running.Wait()
	return errors.Join(c.failed(), c.ctx.Err())
}
