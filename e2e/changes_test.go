package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/client"
)

func TestConditionalChanges(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first, err := s.PutMetric(t.Context(), client.Metric{Slug: "m", Name: "first"})
	if err != nil || first.ETag == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	second := first
	second.Name = "second"
	if second, err = s.PutMetric(t.Context(), second); err != nil || second.ETag == first.ETag {
		t.Fatalf("%+v, %v", second, err)
	}
	first.Name = "too late"
	if _, err = s.PutMetric(t.Context(), first); client.StatusOf(err) != http.StatusPreconditionFailed {
		t.Errorf("a stale ETag: %v", err)
	}
	read, err := s.Metric(t.Context(), "m")
	if err != nil || read.Name != "second" || read.ETag != second.ETag {
		t.Errorf("%+v, %v", read, err)
	}
	body := []byte(`{"name":"x"}`)
	media := "application/json"
	for what, c := range map[string]struct {
		method, path string
		header       http.Header
		status       int
	}{
		"delete with a stale ETag":        {"DELETE", "/v1/metrics/m", header("If-Match", first.ETag), 412},
		"an ETag of nothing":              {"PUT", "/v1/metrics/m", header("Content-Type", media, "If-Match", `"none"`), 412},
		"If-None-Match, but there is one": {"PUT", "/v1/metrics/m", header("Content-Type", media, "If-None-Match", "*"), 412},
		"If-Match, but there is none":     {"PUT", "/v1/metrics/none", header("Content-Type", media, "If-Match", "*"), 412},
		"If-Match of what is gone":        {"PUT", "/v1/metrics/none", header("Content-Type", media, "If-Match", `"7"`), 412},
		"If-Match of any":                 {"PUT", "/v1/metrics/m", header("Content-Type", media, "If-Match", "*"), 200},
		"If-None-Match and there is none": {"PUT", "/v1/metrics/new", header("Content-Type", media, "If-None-Match", "*"), 201},
	} {
		b := body
		if c.method == "DELETE" {
			b = nil
		}
		r := s.exchange(c.method, c.path, c.header, b)
		if r.Status != c.status {
			t.Errorf("%s: %d %s, want %d", what, r.Status, r.Body, c.status)
		} else if r.Status >= 400 {
			wantProblem(t, r, c.status)
		}
	}
	if r := s.exchange("POST", "/v1/metrics", header("Content-Type", media), []byte(`{"slug":"posted"}`)); r.Status != http.StatusCreated || r.Header.Get("ETag") == "" {
		t.Errorf("POST: %d %s", r.Status, r.Body)
	}
	wantProblem(t, s.exchange("POST", "/v1/metrics", header("Content-Type", media), []byte(`{"slug":"posted"}`)), http.StatusConflict)
	if err := s.DeleteMetric(t.Context(), "posted"); err != nil {
		t.Error(err)
	}
	wantProblem(t, s.exchange("GET", "/v1/metrics/posted", nil, nil), http.StatusNotFound)
	s.wantNoErrors()
}

func TestWhatIsInUseCannotBeDeleted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "used"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutChannel(t.Context(), client.Channel{Slug: "ops", Type: "webhook", Config: map[string]any{"url": "https://example.com/hook"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutRule(t.Context(), client.Rule{Slug: "user", Metric: "used", Condition: client.Condition{Type: "threshold", Op: ">", Value: 1}, Channels: []string{"ops"}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/metrics/used", "/v1/channels/ops", "/v1/metrics/events"} {
		if p := wantProblem(t, s.exchange("DELETE", path, nil, nil), http.StatusConflict); path != "/v1/metrics/events" && !strings.Contains(p.Detail, "user") {
			t.Errorf("%s: %q does not say by what it is used", path, p.Detail)
		}
	}
	for _, err := range []error{s.DeleteRule(t.Context(), "user"), s.DeleteMetric(t.Context(), "used"), s.DeleteChannel(t.Context(), "ops")} {
		if err != nil {
			t.Error(err)
		}
	}
	s.wantNoErrors()
}
