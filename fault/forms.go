//go:build linux

package fault

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pulsestream/pulsestream/client/ledger"
)

// outgoing is an event on its way: what the ledger remembers and what is sent.
type outgoing struct {
	ledger.Event
	data string // JSON text
}

// request is an HTTP request with events in it.
type request struct {
	path   string
	header http.Header
	body   []byte
}

// form writes events as one kind of body. Its batch says how many it takes at most.
type form struct {
	name  string
	batch int
	ids   bool // every event must have an id
	write func(h http.Header, events []outgoing) []byte
}

// forms are those of POST /v1/events.
func forms() []form {
	return []form{
		{"json", 1, false, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/json")
			return e[0].appendJSON(nil, false)
		}},
		{"json array", 1000, false, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/json")
			return array(e, false)
		}},
		{"lines", 1000, false, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/x-ndjson")
			var b []byte
			for i := range e {
				b = append(e[i].appendJSON(b, false), '\n')
			}
			return b
		}},
		{"cloudevent", 1, true, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/cloudevents+json")
			return e[0].appendJSON(nil, true)
		}},
		{"cloudevents", 1000, true, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/cloudevents-batch+json")
			return array(e, true)
		}},
		{"binary", 1, true, func(h http.Header, e []outgoing) []byte {
			h.Set("Content-Type", "application/json")
			h.Set("Ce-Specversion", "1.0")
			h.Set("Ce-Id", e[0].ID)
			h.Set("Ce-Source", e[0].Source)
			h.Set("Ce-Type", e[0].Type)
			h.Set("Ce-Subject", e[0].Subject)
			h.Set("Ce-Time", e[0].Time.Format(time.RFC3339Nano))
			return []byte(e[0].data)
		}},
	}
}

func array(e []outgoing, strict bool) []byte {
	b := []byte{'['}
	for i := range e {
		if i > 0 {
			b = append(b, ',')
		}
		b = e[i].appendJSON(b, strict)
	}
	return append(b, ']')
}

// appendJSON writes the event in CloudEvents' JSON form. Nothing in it needs escaping.
func (e *outgoing) appendJSON(b []byte, strict bool) []byte {
	b = append(b, '{')
	if strict {
		b = append(b, `"specversion":"1.0",`...)
	}
	if e.ID != "" {
		b = fmt.Appendf(b, `"id":"%s",`, e.ID)
	}
	return fmt.Appendf(b, `"source":"%s","type":"%s","subject":"%s","time":"%s","data":%s}`, e.Source, e.Type, e.Subject, e.Time.Format(time.RFC3339Nano), e.data)
}

// encode makes the request, compressed now and then.
func (f *form) encode(r *rand.Rand, events []outgoing) (request, error) {
	h := http.Header{}
	body := f.write(h, events)
	switch r.IntN(6) {
	case 0:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return request{}, err
		}
		if err := z.Close(); err != nil {
			return request{}, err
		}
		h.Set("Content-Encoding", "gzip")
		body = b.Bytes()
	case 1:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return request{}, err
		}
		h.Set("Content-Encoding", "zstd")
		body = z.EncodeAll(body, nil)
	}
	return request{path: "/v1/events", header: h, body: body}, nil
}

// The vendor whose webhooks the writers send.
const (
	hookSource = "payments"
	hookSecret = "whsec_faultrun0123456789"
)

// webhook is a signed webhook of Stripe. It fills in the event as the server has to read it.
func webhook(path string, n string, now time.Time, r *rand.Rand) (request, outgoing) {
	created := now.Add(-time.Duration(r.IntN(3600)) * time.Second).Unix()
	kind := []string{"charge.succeeded", "charge.failed", "customer.created"}[r.IntN(3)]
	body := fmt.Sprintf(`{"id":"evt_%s","object":"event","created":%d,"type":"%s","data":{"object":{"id":"ch_%s","amount":%d,"amount_captured":%d,"captured":true,"currency":"%s","payment_method_details":{"card":{"country":"%s","brand":"visa"}}}}}`,
		n, created, kind, n, 100*r.IntN(1000), 100*r.IntN(1000), pick(r, "usd", "eur", "jpy"), pick(r, "US", "DE", "FR"))
	e := outgoing{Event: ledger.Event{ID: "evt_" + n, Source: hookSource, Type: kind, Subject: "ch_" + n, Time: time.Unix(created, 0).UTC(),
		Data: ledger.Fingerprint([]byte(body))}, data: body}
	return sign(path, body, now), e
}

func sign(path, body string, now time.Time) request {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(stamp + "." + body))
	h := http.Header{"Content-Type": {"application/json"}, "Stripe-Signature": {"t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))}}
	return request{path: path, header: h, body: []byte(body)}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// makeEvent makes the event number n.
func makeEvent(r *rand.Rand, n string, now time.Time, id bool, pad int) outgoing {
	at := now
	switch p := r.IntN(100); {
	case p < 2:
		at = now.Add(-time.Duration(r.Int64N(int64(6 * 24 * time.Hour)))) // a vendor's retry can be days old
	case p < 10:
		at = now.Add(-time.Duration(r.Int64N(int64(2 * time.Hour))))
	case p < 12:
		at = now.Add(time.Duration(r.Int64N(int64(5 * time.Minute)))) // a clock that is ahead
	}
	e := outgoing{Event: ledger.Event{Source: pick(r, "shop", "app", "till"), Type: pick(r, "fault.order", "fault.order", "fault.click", "fault.login"),
		Subject: "m-" + n, Time: at.UTC()}}
	if id {
		e.ID = "e-" + n
	}
	// Quarters add up without rounding, so sums can be compared exactly.
	e.data = fmt.Sprintf(`{"amount":%.2f,"region":"%s","n":"%s","pad":"%s"}`, float64(r.IntN(8000)-400)/4, pick(r, "eu", "us", "apac", "latam"), n, strings.Repeat("x", pad))
	e.Data = ledger.Fingerprint([]byte(e.data))
	return e
}
