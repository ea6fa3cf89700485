package app_test

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// dial opens a WebSocket and says when the server has closed it.
func dial(t *testing.T, address string, header http.Header) <-chan struct{} {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatalf("%v, %+v", err, resp)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			if _, _, err := ws.Read(t.Context()); err != nil {
				return
			}
		}
	}()
	return closed
}
