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

func TestBadConfigurationIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct {
		request, body string
		status        int
		place         string
	}{
		{"PUT /v1/metrics/m", `{`, 400, ""},
		{"PUT /v1/metrics/m", ``, 400, ""},
		{"PUT /v1/metrics/m", `[]`, 422, ""},
		{"PUT /v1/metrics/m", `{"slug":"other"}`, 422, "body.slug"},
		{"PUT /v1/metrics/UPPER", `{}`, 422, "body.slug"},
		{"PUT /v1/metrics/m", `{"filter":"data.amount >"}`, 422, "body.filter"},
		{"PUT /v1/metrics/m", `{"filter":"nothing.known"}`, 422, "body.filter"},
		{"PUT /v1/metrics/m", `{"filter":"\"text\""}`, 422, "body.filter"},
		{"PUT /v1/metrics/m", `{"value":"data.a ||"}`, 422, "body.value"},
		{"PUT /v1/metrics/m", `{"dimensions":{"Bad Name":"type"}}`, 422, "body.dimensions.Bad Name"},
		{"PUT /v1/metrics/m", `{"dimensions":{"a":"("}}`, 422, "body.dimensions.a"},
		{"PUT /v1/metrics/m", `{"event_types":["*x"]}`, 422, "body.event_types"},
		{"PUT /v1/metrics/m", `{"filter":7}`, 422, "body.filter"},
		{"PUT /v1/metrics/m", `{"fliter":"true"}`, 422, "body.fliter"},
		{"PUT /v1/metrics/events", `{}`, 409, ""},
		{"POST /v1/metrics", `{"name":"no slug"}`, 422, "body.slug"},
		{"PUT /v1/sources/s", `{"vendor":"acme","secret":"x"}`, 422, "body.vendor"},
		{"PUT /v1/sources/s", `{"vendor":"github"}`, 422, "body.secret"},
		{"PUT /v1/sources/s", `{"vendor":"github","secret":" x"}`, 422, "body.secret"},
		{"PUT /v1/sources/S!", `{"vendor":"github","secret":"x"}`, 422, "path.slug"},
		{"PUT /v1/sources/s", `{"secret":"x"}`, 422, "body"},
		{"PUT /v1/rules/r", `{}`, 422, "body.condition"},
		{"PUT /v1/rules/r", `{"metric":"none","condition":{"op":">","value":1}}`, 422, "body.metric"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":"=>","value":1}}`, 422, "body.condition.op"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":"1"}}`, 422, "body.condition.value"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1,"clear":2}}`, 422, "body.condition.clear"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"window":"1s"}`, 422, "body.window"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"window":5}`, 422, "body.window"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"for":"25h"}`, 422, "body.for"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"group_by":["country"]}`, 422, "body.group_by[0]"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"where":{"country":"US"}}`, 422, "body.where.country"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"channels":["none"]}`, 422, "body.channels"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"severity":"bad"}`, 422, "body.severity"},
		{"PUT /v1/rules/r", `{"metric":"events","condition":{"op":">","value":1},"treshold":1}`, 422, "body.treshold"},
		{"PUT /v1/rules/R", `{"metric":"events","condition":{"op":">","value":1}}`, 422, "body.slug"},
		{"PUT /v1/channels/c", `{"type":"pigeon","config":{}}`, 422, "body.type"},
		{"PUT /v1/channels/c", `{"type":"webhook","config":{}}`, 422, "body.config.url"},
		{"PUT /v1/channels/c", `{"type":"webhook","config":{"url":"ftp://example.com"}}`, 422, "body.config.url"},
		{"PUT /v1/channels/c", `{"type":"webhook","config":{"url":"https://example.com","secret":"short"}}`, 422, "body.config.secret"},
		{"PUT /v1/channels/c", `{"type":"email","config":{"host":"mail.example.com","from":"a@example.com"}}`, 422, "body.config.to"},
		{"PUT /v1/channels/c", `{"type":"email","config":{"host":"mail.example.com","from":"a@example.com","to":"nobody"}}`, 422, "body.config.to"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		p := wantProblem(t, s.exchange(method, path, header("Content-Type", "application/json"), []byte(c.body)), c.status)
		found := c.place == ""
		for _, e := range p.Errors {
			found = found || e.Location == c.place
		}
		if !found || t.Failed() {
			t.Fatalf("%s %s: errors %+v, want one at %s", c.request, c.body, p.Errors, c.place)
		}
	}
	s.wantNoErrors()
}

func TestBadQueriesAreRefusedWithTheirPlace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for query, place := range map[string]string{
		"step=0s": "query.step", "step=-1m": "query.step", "step=500ms": "query.step", "step=x": "query.step", "step=1000000h": "query.step", "step=1m&step=2m": "query.step",
		"agg=median": "query.agg", "agg=avg": "query.agg", "group_by=country": "query.group_by", "group_by=type,type": "query.group_by", "group_by=,": "query.group_by",
		"where=type": "query.where", "where=country:US": "query.where", "limit=0": "query.limit", "limit=1001": "query.limit", "limit=1e2": "query.limit",
		"other=maybe": "query.other", "from=now": "query.from", "to=2100-13-01T00:00:00Z": "query.to", "from=0001-01-01T00:00:00Z": "query.from",
		"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "query.from", "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": "query.from",
		"from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": "query.from", "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=1s": "query.step",
		"from=99999999999999999999": "query.from", "where=" + strings.Repeat("type:a&where=type:b", 1): "",
	} {
		r := s.exchange("GET", "/v1/metrics/events/query?"+query, nil, nil)
		if place == "" {
			if r.Status != http.StatusOK {
				t.Errorf("%s: %d %s", query, r.Status, r.Body)
			}
			continue
		}
		p := wantProblem(t, r, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("%s: errors %+v, want one at %s", query, p.Errors, place)
		}
	}
	s.wantNoErrors()
}

// TestNothingThatIsSentIsA500 sends unpleasant bodies and parameters everywhere.
func TestNothingThatIsSentIsA500(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bodies := []string{``, `null`, `0`, `""`, `[]`, `{}`, `[{}]`, `{"":""}`, `{"slug":null}`, "\x00", "\xff\xff", `{"a":` + strings.Repeat(`{"a":`, 5000),
		`{"type":"webhook","config":null}`, `{"type":"email","config":{"port":1e999,"to":[[]],"host":"\u0000"}}`, `{"type":"webhook","config":{"url":"http://[::1]:999999/"}}`,
		`{"type":"webhook","config":{"url":"http://\u0000/"}}`, `{"metric":"events","condition":{"op":">","value":1e400}}`, `{"metric":"\u0000","agg":"\ud800","condition":null}`,
		`{"metric":"events","condition":{"op":">","value":1},"window":"9223372036854775807ns","for":"-1s"}`, `{"vendor":"github","secret":"\u0000"}`,
		`{"vendor":"stripe","secret":"` + strings.Repeat("s", 5000) + `"}`, `{"filter":"` + strings.Repeat("(", 3000) + `"}`, `{"filter":"'\u0000' == '\\xff'"}`,
		`{"value":"1/0"}`, `{"value":"data.map(x, data.map(y, data.map(z, x+y+z)))[0]"}`, `{"dimensions":{"d":"\"a\".matches(\"(a*)*b\")"}}`, `{"name":"` + strings.Repeat("\\u0000", 300) + `"}`,
		`{"text":"","comment":"\ud800"}`, `{"grant_type":"client_credentials"}`}
	paths := []string{"PUT /v1/metrics/nasty", "POST /v1/metrics", "PUT /v1/sources/nasty", "PUT /v1/rules/nasty", "PUT /v1/channels/nasty",
		"POST /v1/channels/nasty/test", "POST /v1/incidents/nasty/ack", "POST /v1/incidents/nasty/comments", "POST /v1/live/tickets", "POST /v1/events", "POST /v1/hooks/nasty"}
	check := func(request string, h http.Header, body []byte) {
		t.Helper()
		method, path, _ := strings.Cut(request, " ")
		r, err := s.Exchange(t.Context(), method, path, h, body)
		if err != nil {
			t.Fatalf("%s %s: %v", request, clip(body), err)
		}
		if r.Status >= 500 {
			t.Errorf("%s %s: %d %s", request, clip(body), r.Status, r.Body)
		}
		if r.Status >= 400 {
			wantProblem(t, r, r.Status)
		}
	}
	for _, path := range paths {
		for _, body := range bodies {
			for _, media := range []string{"application/json", "application/x-ndjson", "application/cbor", "\xff", ""} {
				check(path, header("Content-Type", media), []byte(body))
			}
		}
		check(path, header("Content-Type", "application/json", "Content-Encoding", "gzip"), []byte("{}"))
		check(path, header("Content-Type", "application/json", "If-Match", "\"x"), []byte("{}"))
		check(path, header("Content-Type", "application/json", "Accept", "application/cbor"), []byte("{}"))
	}
	values := []string{"", "%00", "%ff", "%C3%28", "..", "%2e%2e", "%252e", "'", "%22%3B--", "1e309", "-1", "9223372036854775808", "NaN", "true", "%F0%9F%92%A9", strings.Repeat("x", 5000), "*", ":", "a:b:c", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999%2B14:00"}
	for _, v := range values {
		for _, path := range []string{"/v1/events?type=", "/v1/events?source=", "/v1/events?subject=", "/v1/events?from=", "/v1/events?to=", "/v1/events?limit=", "/v1/events?cursor=",
			"/v1/metrics/events/query?from=", "/v1/metrics/events/query?to=", "/v1/metrics/events/query?step=", "/v1/metrics/events/query?agg=", "/v1/metrics/events/query?group_by=",
			"/v1/metrics/events/query?where=", "/v1/metrics/events/query?where=type:", "/v1/metrics/events/query?limit=", "/v1/metrics/events/query?other=", "/v1/overview?window=", "/v1/incidents?state=",
			"/v1/incidents?rule=", "/v1/incidents?cursor=", "/v1/incidents?limit=", "/v1/live?ticket=", "/v1/nothing?", "/v1/events/s/", "/v1/metrics/", "/v1/sources/", "/v1/incidents/"} {
			check("GET "+path+v, nil, nil)
		}
		if v != "" {
			check("DELETE /v1/metrics/"+v, nil, nil)
			check("PUT /v1/sources/"+v, header("Content-Type", "application/json"), []byte(`{"vendor":"github","secret":"x"}`))
		}
	}
	s.wantNoErrors()
}
