package client_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pulsestream/pulsestream/client"
)

// serve runs a server that answers as handler does, and a client of it.
func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return client.New(s.URL+"/", "ps_key") // a slash at the end does no harm
}

func TestAProblemIsAnErrorThatSaysWhatIsWrong(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Slow down.","request_id":"r1",
			"errors":[{"location":"body[1]","message":"invalid_time: no"}],"rejected":[{"index":1,"code":"invalid_time","detail":"no"}]}`)
	})
	_, err := c.Send(t.Context(), client.Event{Type: "t"})
	problem, ok := err.(*client.Error) //nolint:errorlint // what the methods return is documented
	if !ok || client.StatusOf(err) != 429 || problem.RequestID != "r1" || problem.RetryAfter() != 7*time.Second || len(problem.Rejected) != 1 {
		t.Fatalf("%+v", err)
	}
	if got := err.Error(); got != "429 Too Many Requests: Slow down.; body[1]: invalid_time: no" {
		t.Errorf("it reads %q", got)
	}
}

func TestAnAnswerThatIsNoProblemIsAnErrorToo(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("proxy ", 100), http.StatusBadGateway)
	})
	err := c.Ready(t.Context())
	if client.StatusOf(err) != http.StatusBadGateway || !strings.Contains(err.Error(), "proxy") || len(err.Error()) > 300 {
		t.Errorf("%v", err)
	}
	if client.StatusOf(io.EOF) != 0 {
		t.Error("an error of another kind has a status")
	}
}

func TestNamesOfAnyKindGoIntoThePath(t *testing.T) {
	var path string
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { path = r.URL.EscapedPath() })
	for id, want := range map[string]string{"a": "a", "a/b": "a%2Fb", ".": "%2E", "..": "%2E%2E", "...": "...", "a b?#%": "a%20b%3F%23%25", "☃": "%E2%98%83"} {
		if _, err := c.Event(t.Context(), "s", id); err != nil || path != "/v1/events/s/"+want {
			t.Errorf("%q is asked for at %s, %v", id, path, err)
		}
	}
}

func TestEventsAreReadPageByPage(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("type") != "order.*" || q.Get("limit") != "1000" || q.Get("from") != "2026-01-02T03:04:05.000000006Z" || r.Header.Get("Authorization") != "Bearer ps_key" {
			t.Errorf("asked with %v", q)
		}
		answers := map[string]string{
			"":   `{"data":[{"id":"3","source":"s","type":"order.paid","time":"2026-01-02T03:04:05Z","data":{"n":1e400},"region":"eu"}],"next_cursor":"c1"}`,
			"c1": `{"data":[{"id":"2"},{"id":"1"}],"next_cursor":"c2"}`,
			"c2": `{"data":[]}`,
		}
		_, _ = io.WriteString(w, answers[q.Get("cursor")])
	})
	from := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	all, err := c.AllEvents(t.Context(), client.EventQuery{Type: "order.*", From: from})
	if err != nil || len(all) != 3 || all[2].ID != "1" {
		t.Fatalf("%+v, %v", all, err)
	}
	first := all[0]
	if string(first.Data) != `{"n":1e400}` || len(first.Extensions) != 1 || string(first.Extensions["region"]) != `"eu"` || all[1].Data != nil {
		t.Errorf("%+v", first)
	}
}

func TestAQuerysAnswerIsRead(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		slices.Sort(q["where"])
		if q.Get("group_by") != "country,brand" || strings.Join(q["where"], " ") != "brand:amex brand:visa" || q.Get("other") != "false" || q.Get("limit") != "5" {
			t.Errorf("asked with %v", q)
		}
		_, _ = io.WriteString(w, `{"metric":"m","agg":"sum","step":"1m","series":[{"labels":{"country":"US"},"points":[[1763798400000,12.5],[1763798460000,null]],"total":12.5},
			{"labels":{"country":"US"},"points":[],"total":1},{"labels":{"country":"DE"},"points":[],"total":null}]}`)
	})
	r, err := c.Query(t.Context(), client.Query{Metric: "m", GroupBy: []string{"country", "brand"}, Where: map[string][]string{"brand": {"visa", "amex"}}, Limit: 5, NoOther: true})
	if err != nil || len(r.Series) != 3 || len(r.Series[0].Points) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	p := r.Series[0].Points
	if p[0].Time.UnixMilli() != 1763798400000 || *p[0].Value != 12.5 || p[1].Value != nil {
		t.Errorf("points %+v", p)
	}
	if got := r.Totals("country"); !maps.Equal(got, map[string]float64{"US": 13.5}) {
		t.Errorf("totals %v", got)
	}
	var point client.Point
	for _, bad := range []string{`[]`, `[null,1]`, `["x",1]`, `7`} {
		if json.Unmarshal([]byte(bad), &point) == nil {
			t.Errorf("%s is a point", bad)
		}
	}
}

func TestAChangeOfAMetricNamesTheVersionItIsOf(t *testing.T) {
	version := `"1"`
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-Match"); r.Method == http.MethodPut && got != "" && got != version {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(body), "ETag") || strings.Contains(string(body), "fill") {
			t.Errorf("sent %s, %v", body, err)
		}
		w.Header().Set("ETag", version)
		_, _ = io.WriteString(w, `{"slug":"m","fill":{"state":"done","progress":1}}`)
	})
	m, err := c.PutMetric(t.Context(), client.Metric{Slug: "m"})
	if err != nil || m.ETag != `"1"` || m.Fill == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	if m, err = c.PutMetric(t.Context(), m); err != nil {
		t.Errorf("the newest version: %v", err)
	}
	version = `"2"`
	if _, err = c.PutMetric(t.Context(), m); client.StatusOf(err) != http.StatusPreconditionFailed {
		t.Errorf("an older version: %v", err)
	}
}

func TestLiveFramesGoBothWays(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ticket") != "t+1" && r.Header.Get("Authorization") != "Bearer ps_key" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"title":"Unauthorized","status":401,"detail":"The ticket is used up."}`)
			return
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for {
			_, b, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			frame := map[string]any{}
			if err := json.Unmarshal(b, &frame); err != nil {
				t.Error(err)
				return
			}
			answer := `{"id":"a","op":"snapshot","series":[{"labels":{},"points":[[0,1]]}],"dropped":3}`
			if frame["op"] == "unsubscribe" {
				answer = `{"id":"a","op":"error","code":"gone","detail":"no"}`
			}
			if err := ws.Write(r.Context(), websocket.MessageText, []byte(answer)); err != nil {
				return
			}
		}
	})
	live, err := c.LiveByTicket(t.Context(), "t+1")
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Subscribe(t.Context(), client.Subscription{ID: "a", Metric: "events", Where: map[string]string{"type": "x"}}); err != nil {
		t.Fatal(err)
	}
	if f, err := live.Next(t.Context()); err != nil || f.Op != "snapshot" || f.Dropped != 3 || len(f.Series) != 1 || *f.Series[0].Points[0].Value != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	if err := live.Unsubscribe(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if f, err := live.Next(t.Context()); err != nil || f.Code != "gone" {
		t.Errorf("%+v, %v", f, err)
	}
	if err := live.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := c.LiveByTicket(t.Context(), "used"); err == nil {
		t.Error("a ticket with a key beside it") // the ticket is what counts: the key is not sent along
	} else if client.StatusOf(err) != http.StatusUnauthorized || !strings.Contains(err.Error(), "used up") {
		t.Errorf("%v", err)
	}
}
