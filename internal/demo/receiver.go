package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// receiver is a program of the shop's that is told of incidents by webhook, and checks that it was PulseStream.
type receiver struct {
	url    string
	secret string
	server *http.Server
}

// receiverKey signs the notifications. It protects nothing: only the demo listens.
const receiverKey = "pulsestream demo: notifications."

// newReceiver listens on a port of its own of this machine. It tells heard of each notification that arrives.
func newReceiver(ctx context.Context, heard func(kind string, verified bool)) (*receiver, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/incidents", secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte(receiverKey))}
	r.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		verified := verify(req.Header, body)
		heard(kindOf(body), verified)
		if !verified {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = r.server.Serve(l) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// verify checks a signature by the Standard Webhooks specification.
func verify(h http.Header, body []byte) bool {
	m := hmac.New(sha256.New, []byte(receiverKey))
	_, _ = m.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
	for s := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}

// kindOf is the type of a notification.
func kindOf(body []byte) string {
	var n struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &n) != nil || n.Type == "" {
		return "a notification"
	}
	return n.Type
}
