package e2e

import (
	"net/http"
	"strings"
	"testing"
)

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
		{"PUT /v1/metrics/UPPER", `{}`, 422, "path.slug"},
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
		{"PUT /v1/rules/R", `{"metric":"events","condition":{"op":">","value":1}}`, 422, "path.slug"},
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
	values := []string{"", "%00", "%ff", "%C3%28", "..", "%2e%2e", "%252e", "'", "%22%3B--", "1e309", "-1", "9223372036854775808", "NaN", "true", "%F0%9F%92%A9", strings.Repeat("x", 5000), "*", ":", "a:b:c", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999%2B14:00",
		strings.Repeat("_", 26) + "8", strings.Repeat("A", 27), "%0A", ",,", "/"}
	for _, v := range values {
		for _, path := range []string{"/v1/events?type=", "/v1/events?source=", "/v1/events?subject=", "/v1/events?from=", "/v1/events?to=", "/v1/events?limit=", "/v1/events?cursor=", "/v1/events?id=", "/v1/events?source=s&id=", "/v1/quarantine?cursor=", "/v1/quarantine?limit=",
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
