package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func TestWithoutAGoodKeyNothingIsAnswered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	paths := []string{"POST /v1/events", "GET /v1/events", "GET /v1/events/a/b", "GET /v1/tenant", "GET /v1/overview", "GET /v1/vendors",
		"GET /v1/metrics", "POST /v1/metrics", "GET /v1/metrics/events", "PUT /v1/metrics/x", "DELETE /v1/metrics/x", "GET /v1/metrics/events/query",
		"GET /v1/sources", "PUT /v1/sources/x", "GET /v1/rules", "PUT /v1/rules/x", "GET /v1/channels", "PUT /v1/channels/x", "POST /v1/channels/x/test",
		"GET /v1/incidents", "POST /v1/incidents/x/ack", "POST /v1/live/tickets", "GET /v1/live"}
	credentials := map[string]http.Header{
		"none": {}, "empty": header("Authorization", ""), "unknown": header("Authorization", "Bearer ps_unknown_0123456789abcdef0123456789abcdef"),
		"other scheme": header("Authorization", "Basic "+administratorKey), "prefix": header("Authorization", "Bearer "+administratorKey[:len(administratorKey)-1]),
		"longer": header("Authorization", "Bearer "+administratorKey+"0"), "huge": header("Authorization", "Bearer "+strings.Repeat("x", 20<<10)),
		"binary": header("Authorization", "Bearer \xff\xfe"),
	}
	anonymous := client.New(s.url, "")
	for _, path := range paths {
		method, path, _ := strings.Cut(path, " ")
		for name, h := range credentials {
			r, err := anonymous.Exchange(t.Context(), method, path, h, []byte("{}"))
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			if p := wantProblem(t, r, http.StatusUnauthorized); t.Failed() {
				t.Fatalf("%s %s with the key %q: %+v", method, path, name, p)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/"} {
		if r, err := anonymous.Exchange(t.Context(), "GET", path, nil, nil); err != nil || r.Status != http.StatusOK {
			t.Errorf("%s: %v, %v", path, r, err)
		}
	}
	if _, err := anonymous.LiveByTicket(t.Context(), "made-up"); client.StatusOf(err) != http.StatusUnauthorized {
		t.Errorf("a made-up ticket: %v", err)
	}
}

func TestWhatIsNotThereIs404AndTheWrongMethod405(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, path := range []string{"/v1/nothing", "/v1/", "/v1", "/v1/events/a/b", "/v1/events/a/%00", "/v1/events/%2e%2e/%2E", "/v1/events/a%2Fb/c%2Fd",
		"/v1/metrics/none", "/v1/metrics/none/query", "/v1/metrics/%00", "/v1/sources/none", "/v1/rules/none", "/v1/channels/none", "/v1/incidents/none", "/v1/incidents/%00"} {
		if p := wantProblem(t, s.exchange("GET", path, nil, nil), http.StatusNotFound); t.Failed() {
			t.Fatalf("GET %s: %+v", path, p)
		}
	}
	for _, request := range []string{"DELETE /v1/metrics/none", "DELETE /v1/sources/none", "DELETE /v1/rules/none", "DELETE /v1/channels/none",
		"POST /v1/channels/none/test", "POST /v1/incidents/none/ack", "POST /v1/hooks/none", "POST /v1/hooks/%00"} {
		method, path, _ := strings.Cut(request, " ")
		if p := wantProblem(t, s.exchange(method, path, nil, []byte("{}")), http.StatusNotFound); t.Failed() {
			t.Fatalf("%s: %+v", request, p)
		}
	}
	for _, path := range []string{"/v1/events/%ff/%fe", "/v1/metrics/%ff/query", "/v1/events?type=%ff", "/v1/metrics/events/query?where=type:%C3%28"} {
		if p := wantProblem(t, s.exchange("GET", path, nil, nil), http.StatusBadRequest); t.Failed() {
			t.Fatalf("GET %s: %+v", path, p)
		}
	}
	for request, allow := range map[string]string{"DELETE /v1/events": "GET, POST", "PUT /v1/events": "GET, POST", "PATCH /v1/metrics/events": "GET, PUT, DELETE", "POST /v1/events/a/b": "GET",
		"GET /v1/hooks/x": "POST", "POST /v1/rules/x": "GET, PUT, DELETE", "POST /v1/overview": "GET", "OPTIONS /v1/events": "GET, POST", "BREW /v1/tenant": "GET"} {
		method, path, _ := strings.Cut(request, " ")
		r := s.exchange(method, path, nil, nil)
		if p := wantProblem(t, r, http.StatusMethodNotAllowed); t.Failed() {
			t.Fatalf("%s: %+v", request, p)
		}
		if got := strings.Join(r.Header.Values("Allow"), ", "); got != allow {
			t.Errorf("%s: Allow %q, want %q", request, got, allow)
		}
	}
	s.wantNoErrors()
}

func TestBodiesOfEventsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	one := `{"type":"unreadable"}`
	cloudEvent := `{"specversion":"1.0","type":"unreadable","id":"1","source":"s"}`
	tooMany := "[" + strings.TrimSuffix(strings.Repeat(one+",", 10_001), ",") + "]"
	large := []byte(`{"type":"unreadable","data":"` + strings.Repeat("x", 16<<20) + `"}`)
	truncated := gzipped(t, []byte(one))
	for name, c := range map[string]struct {
		media  string
		body   []byte
		header http.Header
		status int
	}{
		"nothing":                    {"application/json", nil, nil, 400},
		"white space":                {"application/json", []byte(" \n"), nil, 400},
		"cut short":                  {"application/json", []byte(one[:len(one)-1]), nil, 400},
		"cut short in an array":      {"application/json", []byte("[" + one + ","), nil, 400},
		"text behind the end":        {"application/json", []byte(one + "x"), nil, 400},
		"two values":                 {"application/json", []byte(one + one), nil, 400},
		"a scalar":                   {"application/json", []byte(`"text"`), nil, 400},
		"not UTF-8":                  {"application/json", []byte(`{"type":"` + "\xff" + `"}`), nil, 400},
		"a byte order mark":          {"application/json", []byte("\ufeff" + one), nil, 400},
		"UTF-16":                     {"application/json", []byte("{\x00\"\x00"), nil, 400},
		"100 000 brackets":           {"application/json", bytes.Repeat([]byte("["), 100_000), nil, 400},
		"a batch that is one":        {"application/cloudevents-batch+json", []byte(cloudEvent), nil, 400},
		"one that is a batch":        {"application/cloudevents+json", []byte("[" + cloudEvent + "]"), nil, 400},
		"lines without any":          {"application/x-ndjson", []byte("\n\r\n \n"), nil, 400},
		"gzip that is none":          {"application/json", []byte(one), header("Content-Encoding", "gzip"), 400},
		"gzip cut short":             {"application/json", truncated[:len(truncated)-4], header("Content-Encoding", "gzip"), 400},
		"gzip with a wrong checksum": {"application/json", append(truncated[:len(truncated)-8:len(truncated)-8], 1, 2, 3, 4, 5, 6, 7, 8), header("Content-Encoding", "gzip"), 400},
		"zstd that is none":          {"application/json", []byte(one), header("Content-Encoding", "zstd"), 400},
		"zstd cut short":             {"application/json", zstdCompressed(t, []byte(strings.Repeat(one, 9)))[:12], header("Content-Encoding", "zstd"), 400},
		"no CloudEvent":              {"application/cloudevents+json", []byte(one), nil, 422},
		"one without an id":          {"application/cloudevents+json", []byte(`{"specversion":"1.0","type":"t","source":"s"}`), nil, 422},
		"one without a source":       {"application/cloudevents+json", []byte(`{"specversion":"1.0","type":"t","id":"s"}`), nil, 422},
		"another version":            {"application/cloudevents+json", []byte(`{"specversion":"2.0","type":"t","id":"s","source":"s"}`), nil, 422},
		"binary without a type":      {"application/json", nil, header("Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "s"), 422},
		"binary without a version":   {"application/json", nil, header("Ce-Type", "t", "Ce-Id", "1", "Ce-Source", "s"), 422},
		"binary with bad data":       {"application/json", []byte("{"), header("Ce-Specversion", "1.0", "Ce-Type", "t", "Ce-Id", "1", "Ce-Source", "s"), 422},
		"binary with bad escapes":    {"application/json", nil, header("Ce-Specversion", "1.0", "Ce-Type", "%zz", "Ce-Id", "1", "Ce-Source", "s"), 422},
		"binary with two ids":        {"application/json", nil, header("Ce-Specversion", "1.0", "Ce-Type", "t", "Ce-Id", "1", "Ce-Id", "2", "Ce-Source", "s"), 422},
		"binary that is too large":   {"text/plain", bytes.Repeat([]byte("x"), 256<<10), header("Ce-Specversion", "1.0", "Ce-Type", "t", "Ce-Id", "1", "Ce-Source", "s"), 422},
		"no media type":              {"", []byte(one), nil, 415},
		"another media type":         {"text/plain", []byte(one), nil, 415},
		"a form":                     {"application/x-www-form-urlencoded", []byte("type=x"), nil, 415},
		"an odd media type":          {"application/json/", []byte(one), nil, 415},
		"another charset":            {"application/json; charset=iso-8859-1", []byte(one), nil, 415},
		"another encoding":           {"application/json", []byte(one), header("Content-Encoding", "br"), 415},
		"two encodings":              {"application/json", gzipped(t, gzipped(t, []byte(one))), header("Content-Encoding", "gzip, gzip"), 415},
		"too many events":            {"application/json", []byte(tooMany), nil, 413},
		"too many lines":             {"application/x-ndjson", []byte(strings.Repeat(one+"\n", 10_001)), nil, 413},
		"too large":                  {"application/json", large, nil, 413},
		"too large after gzip":       {"application/json", gzipped(t, large), header("Content-Encoding", "gzip"), 413},
		"too large after zstd":       {"application/json", zstdCompressed(t, large), header("Content-Encoding", "zstd"), 413},
		"far too large after gzip":   {"application/json", gzipped(t, make([]byte, 512<<20)), header("Content-Encoding", "gzip"), 413},
	} {
		t.Run(name, func(t *testing.T) {
			h := header("Content-Type", c.media)
			for k, v := range c.header {
				h[k] = v
			}
			if c.media == "" {
				h = c.header
			}
			p := wantProblem(t, s.with(t).exchange("POST", "/v1/events", h, c.body), c.status)
			if p.Detail == "" {
				t.Error("nothing is said of what is wrong")
			}
		})
	}
	s.send(client.Event{ID: "good", Type: "unreadable.not"})
	s.waitForEvents(client.EventQuery{}, 1) // and nothing of all the others
	s.wantNoErrors()
}

func TestARequestWithoutALengthIsBoundedToo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/events", &endless{})
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header("Content-Type", "application/json", "Authorization", "Bearer "+administratorKey)
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return // the server may hang up on somebody who goes on sending
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless body: %s", resp.Status)
	}
}

// endless is white space without end.
type endless struct{}

func (*endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestTheRateLimitIsToldAndKept(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--rate-limit", "50")
	batch := []byte("[" + strings.TrimSuffix(strings.Repeat(`{"type":"rate"},`, 20), ",") + "]")
	accepted, refused := 0, 0
	began := time.Now()
	for range 40 {
		r := s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), batch)
		if got := r.Header.Get("RateLimit-Policy"); got != `"events";q=50;w=1` {
			t.Errorf("RateLimit-Policy %q", got)
		}
		var remaining, reset int
		if n, err := fmt.Sscanf(r.Header.Get("RateLimit"), `"events";r=%d;t=%d`, &remaining, &reset); n != 2 || remaining < 0 || remaining > 50 {
			t.Errorf("RateLimit %q: %v", r.Header.Get("RateLimit"), err)
		}
		switch r.Status {
		case http.StatusAccepted:
			accepted += 20
		case http.StatusTooManyRequests:
			refused++
			wantProblem(t, r, http.StatusTooManyRequests)
		default:
			t.Fatalf("status %d: %s", r.Status, r.Body)
		}
	}
	if most := 50 + 20 + 50*(time.Since(began).Seconds()+1); float64(accepted) > most || refused == 0 {
		t.Errorf("%d events accepted in %s at 50 a second, %d requests refused", accepted, time.Since(began), refused)
	}
	_, err := s.Send(t.Context(), client.Event{Type: "rate"})
	var problem *client.Error
	if asError(err, &problem) {
		eventually(t, problem.RetryAfter()+2*time.Second, func() error { // by then at the latest
			_, err := s.Send(t.Context(), client.Event{Type: "rate"})
			return err
		})
		accepted++
	} else if err == nil {
		accepted++
	}
	s.waitForEvents(client.EventQuery{Type: "rate"}, accepted) // what was refused was not taken
	s.wantNoErrors()
}

func TestRequestIDsComeBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for sent, kept := range map[string]bool{"order-7.retry_2": true, "": false, "with space": false, strings.Repeat("x", 65): false, `"}`: false} {
		r := s.exchange("GET", "/v1/metrics/none", header("X-Request-Id", sent), nil)
		wantProblem(t, r, http.StatusNotFound)
		if got := r.Header.Get("X-Request-Id"); got == "" || (got == sent) != kept {
			t.Errorf("X-Request-Id %q came back as %q", sent, got)
		}
	}
}
