package live_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/internal/auth"
)

func TestAClientThatSaysFarewellIsAnswered(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"1s","since":"1m"}`)
	c.next()
	if err := c.ws.Close(websocket.StatusNormalClosure, "enough"); err != nil {
		t.Error(err)
	}
}

func TestAClientIsToldThatTheServerStops(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"ping"}`)
	c.next()
	r.hub.Close()
	if _, _, err := c.ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Error(err)
	}
}

func TestAClientThatComesWhileTheServerStopsIsToldSo(t *testing.T) {
	r := newRig(t)
	r.hub.Close()
	c := r.dial("t")
	if _, _, err := c.ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Error(err)
	}
}

func TestClientsAndTheServerPingEachOther(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	reading := c.ws.CloseRead(t.Context())
	if err := c.ws.Ping(t.Context()); err != nil || reading.Err() != nil {
		t.Error(err, reading.Err())
	}
}

func TestARequestMayComeByteByByte(t *testing.T) {
	r := newRig(t)
	c, err := dialRaw(strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	request := []byte(`{"op":"ping"}`)
	for _, b := range append([]byte{0x81, 0x80 | byte(len(request)), 0, 0, 0, 0}, request...) {
		if _, err := c.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.next(); err != nil || !bytes.Contains(got, []byte("pong")) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAViolationOfTheProtocolIsToldAndEndsTheConnection(t *testing.T) {
	r := newRig(t)
	c, err := dialRaw(strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if _, err := c.conn.Write([]byte{0x81, 1, 'x'}); err != nil { // no mask
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := c.r.Read(head); err != nil || head[0] != 0x88 || websocket.StatusCode(binary.BigEndian.Uint16(head[2:])) != websocket.StatusProtocolError {
		t.Fatalf("%x, %v", head, err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.r.Discard(1 << 20); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection lives on: %v", err)
	}
}

// TestAConnectionThatCannotBeWaitedForIsReadAllTheSame: below TLS there is more than a socket.
func TestAConnectionThatCannotBeWaitedForIsReadAllTheSame(t *testing.T) {
	r := newRig(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.hub.Serve(w, q, auth.Principal{Tenant: "t", Role: auth.RoleAdmin}, func(context.Context) bool { return true })
	}))
	defer s.Close()
	ws, resp, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(s.URL, "https"), &websocket.DialOptions{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	c := &client{t, ws}
	c.send(`{"op":"subscribe","id":"x","metric":"events","step":"1s","since":"1m"}`)
	if f := c.next(); f.Op != "snapshot" {
		t.Fatalf("%+v", f)
	}
	r.publish("a", time.Now(), 1)
	if f := c.next(); f.Op != "points" {
		t.Errorf("%+v", f)
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}
