package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestASessionThatEndsIsRefusedAtOnceAndItsWebSocketsClose(t *testing.T) {
	i := start(t, settings(t.TempDir()), givenKey)
	const password = "tapir veranda quilt 9"
	_, b := i.do("POST", "/v1/members", givenKey, `{"email":"ada@example.com","role":"editor"}`)
	var invited struct {
		ID         string
		Invitation struct{ Token string }
	}
	if err := json.Unmarshal(b, &invited); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	first := i.session("/v1/invitations/accept", map[string]string{"token": invited.Invitation.Token, "password": password})
	second := i.session("/v1/session", map[string]string{"email": "ada@example.com", "password": password})
	var who struct{ ID string }
	if status := second.do("GET", "/v1/session", &who); status != http.StatusOK || who.ID == "" {
		t.Fatal(status)
	}
	var ticket struct{ Ticket string }
	second.do("POST", "/v1/live/tickets", &ticket)
	origin := http.Header{"Origin": {"http://" + i.Addr()}, "Cookie": {second.cookie}}
	sockets := map[string]<-chan struct{}{"cookie": dial(t, "ws://"+i.Addr()+"/v1/live", origin), "ticket": dial(t, "ws://"+i.Addr()+"/v1/live?ticket="+ticket.Ticket, nil)}
	kept := dial(t, "ws://"+i.Addr()+"/v1/live", http.Header{"Origin": {"http://" + i.Addr()}, "Cookie": {first.cookie}})
	unused := ticket.Ticket
	second.do("POST", "/v1/live/tickets", &ticket)
	began := time.Now()
	if status := first.do("DELETE", "/v1/sessions/"+who.ID, nil); status != http.StatusNoContent {
		t.Fatal(status)
	}
	if status := second.do("GET", "/v1/session", nil); status != http.StatusUnauthorized {
		t.Errorf("a session that has ended: %d", status)
	}
	if resp, _ := i.do("GET", "/v1/live?ticket="+ticket.Ticket, "", ""); resp.StatusCode != http.StatusUnauthorized || ticket.Ticket == unused {
		t.Errorf("a ticket of a session that has ended: %d", resp.StatusCode)
	}
	for name, closed := range sockets {
		select {
		case <-closed:
		case <-time.After(5*time.Second - time.Since(began)):
			t.Errorf("the WebSocket by %s is open after 5 s", name)
		}
	}
	select {
	case <-kept:
		t.Error("the WebSocket of the other session has closed")
	default:
	}
	// Who has another role now opens a new one, with that role.
	if resp, b := i.do("PUT", "/v1/members/"+invited.ID, givenKey, `{"role":"viewer"}`); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	select {
	case <-kept:
	case <-time.After(5 * time.Second):
		t.Error("a WebSocket goes on with a role that its member has not any more")
	}
}

// member is a session of a member.
type member struct {
	i      *instance
	cookie string
}

// session begins one.
func (i *instance) session(path string, body any) member {
	i.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		i.t.Fatal(err)
	}
	resp, b := i.do("POST", path, "", string(text))
	for _, c := range (&http.Response{Header: resp.Header}).Cookies() {
		return member{i, c.Name + "=" + c.Value}
	}
	i.t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
	return member{}
}

func (m member) do(method, path string, out any) int {
	m.i.t.Helper()
	r, err := http.NewRequestWithContext(m.i.t.Context(), method, "http://"+m.i.Addr()+path, bytes.NewReader(nil))
	if err != nil {
		m.i.t.Fatal(err)
	}
	r.Header.Set("Cookie", m.cookie)
	resp, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		m.i.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			m.i.t.Fatalf("%s %s: %d %v", method, path, resp.StatusCode, err)
		}
	}
	return resp.StatusCode
}

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
