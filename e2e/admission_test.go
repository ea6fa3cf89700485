package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func rate(perSecond float64) *float64 { return &perSecond }

func TestEachTenantHasItsOwnRateLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--rate-limit", "5")
	many := make([]client.Event, 50)
	for i := range many {
		many[i].Type = "t"
	}
	limited, other, free := s.tenant(client.Tenant{ID: "limited", RateLimit: rate(2)}), s.tenant(client.Tenant{ID: "other"}), s.tenant(client.Tenant{ID: "free", RateLimit: rate(0)})
	send := func(c *client.Client) *client.Response {
		t.Helper()
		r, err := c.Exchange(t.Context(), http.MethodPost, "/v1/events", nil, many)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for c, policy := range map[*client.Client]string{limited: `"events";q=2;w=1`, other: `"events";q=5;w=1`} {
		if r := send(c); r.Status != http.StatusAccepted { // half a request cannot be refused
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		r := send(c)
		if r.Status != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" || r.Header.Get("RateLimit-Policy") != policy || !strings.HasPrefix(r.Header.Get("RateLimit"), `"events";r=0;t=`) {
			t.Errorf("%d %v", r.Status, r.Header)
		}
	}
	for range 5 {
		if r := send(free); r.Status != http.StatusAccepted || r.Header.Get("RateLimit") != "" {
			t.Errorf("without a limit: %d %v", r.Status, r.Header)
		}
	}
	if _, _, err := s.PutTenant(t.Context(), client.Tenant{ID: "limited", RateLimit: rate(0)}); err != nil {
		t.Fatal(err)
	}
	if r := send(limited); r.Status != http.StatusAccepted {
		t.Errorf("after the limit is gone: %d", r.Status)
	}
	if text := string(s.exchange(http.MethodGet, "/metrics", nil, nil).Body); !strings.Contains(text, `pulsestream_requests_refused_total{reason="rate"} `) {
		t.Error("the refusal is not counted in /metrics")
	}
}

func TestARefusalComesBeforeTheBodyAndTheRestOfItIsNotRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.tenant(client.Tenant{ID: "limited", RateLimit: rate(0.001)})
	key, err := c.MakeKey(t.Context(), "k", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), client.Event{Type: "t"}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const announced = 1 << 30
	if _, err := fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", key.Secret, announced); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer before the body: %v", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusTooManyRequests || !answer.Close {
		t.Errorf("%d, the connection ends: %v", answer.StatusCode, answer.Close)
	}
	taken, chunk := 0, make([]byte, 64<<10)
	for taken < announced {
		n, err := conn.Write(chunk)
		taken += n
		if err != nil {
			break
		}
	}
	if taken > 64<<20 { // what the two ends' buffers hold is some MB
		t.Errorf("after the refusal %d MB more were taken", taken>>20)
	}
}
