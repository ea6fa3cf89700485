package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// TestTextComesThroughEveryInterface takes texts that break programs through what TestTextComesBackByteForByte leaves out: the live
// connection, alerts and what they send, restrictions of a query, and a backup that is restored.
func TestTextComesThroughEveryInterface(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"own": false, "big list of naughty strings": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			texts := slices.DeleteFunc(naughtyStrings(t, shared), func(s string) bool { return !attributeAllows(s) || !isLabel(s) })
			slices.Sort(texts)
			texts = slices.Compact(texts)
			s := newServer(t, allowLoopback)
			newTextServer(s, texts).check(t, s)
			to, fresh := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
			eventually(t, 10*time.Second, func() error {
				if b := backUp(t, s.dir, to); b.events() != uint64(len(texts)) {
					return fmt.Errorf("%d of %d events in the backup", b.events(), len(texts))
				}
				return nil
			})
			s.wantNoErrors()
			s.stop()
			succeed(t, "restore", "--from", to, "--data-dir", fresh)
			succeed(t, "verify", "--data-dir", fresh)
			r := startServer(t, &server{dir: fresh, args: []string{allowLoopback}})
			textServer{texts: texts}.check(t, r)
			r.wantNoErrors()
		})
	}
}

// textServer is what a server has been told: an event, a series and an incident for each text.
type textServer struct {
	texts []string
	hook  *receiver
}

func newTextServer(s *server, texts []string) textServer {
	s.t.Helper()
	w := textServer{texts: texts, hook: newReceiver(s.t, nil)}
	if _, err := s.PutMetric(s.t.Context(), client.Metric{Slug: "texts", EventTypes: []string{"text"}, Dimensions: map[string]string{"text": "data.text", "subject": "subject"}}); err != nil {
		s.t.Fatal(err)
	}
	s.putWebhook("ops", w.hook)
	if _, err := s.PutRule(s.t.Context(), client.Rule{Slug: "texts", Metric: "texts", GroupBy: []string{"text"}, Window: "1h", Channels: []string{"ops"},
		Condition: client.Condition{Type: "threshold", Op: ">", Value: 0}}); err != nil {
		s.t.Fatal(err)
	}
	tail := s.view(s.t)
	tail.subscribe(client.Subscription{ID: "tail", Topic: "events"})
	batch := make([]client.Event, 0, len(texts))
	for i, text := range texts {
		batch = append(batch, client.Event{ID: fmt.Sprint(i), Source: "texts", Type: "text", Subject: text, Data: map[string]string{"text": text}})
	}
	s.send(batch...)
	frame := tail.until("tail", "events")
	if frame.SampledOut+len(frame.Events) == 0 {
		s.t.Error("the tail shows nothing")
	}
	for _, e := range frame.Events {
		w.wantEvent(s.t, e)
	}
	sent := map[string]bool{}
	for _, n := range w.hook.wait(s.t, len(texts), 60*time.Second) {
		sent[n.Data.Incident.Labels["text"]] = true
	}
	if len(sent) != len(texts) {
		s.t.Errorf("notifications for %d texts, want %d", len(sent), len(texts))
	}
	return w
}

func (w textServer) wantEvent(t testing.TB, e client.StoredEvent) {
	t.Helper()
	var data struct{ Text string }
	var i int
	if _, err := fmt.Sscan(e.ID, &i); err != nil || json.Unmarshal(e.Data, &data) != nil || e.Subject != w.texts[i] || data.Text != w.texts[i] {
		t.Errorf("%q came back with subject %q and data %s, %v", w.texts[i], e.Subject, e.Data, err)
	}
}

func (w textServer) check(t *testing.T, s *server) {
	t.Helper()
	for _, e := range s.waitForEvents(client.EventQuery{Type: "text"}, len(w.texts)) {
		w.wantEvent(t, e)
	}
	v := s.view(t)
	for _, e := range v.subscribe(client.Subscription{ID: "tail", Topic: "events"}).Events {
		w.wantEvent(t, e)
	}
	for i, chunk := range slices.Collect(slices.Chunk(w.texts, 150)) {
		r, err := s.Query(t.Context(), client.Query{Metric: "texts", GroupBy: []string{"text"}, Where: map[string][]string{"text": chunk}, Limit: 200, From: time.Now().Add(-24 * time.Hour), To: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		wantLabels(t, "the query", chunk, r.Series)
		frame, err := json.Marshal(map[string]any{"op": "subscribe", "id": fmt.Sprint(i), "metric": "texts", "step": "1m", "since": "1h", "group_by": []string{"subject"}, "where": map[string]any{"text": chunk}, "limit": 200})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.live.Send(t.Context(), frame); err != nil {
			t.Fatal(err)
		}
		live := v.until(fmt.Sprint(i), "snapshot").Series
		for j := range live {
			live[j].Labels["text"] = live[j].Labels["subject"]
		}
		wantLabels(t, "the live snapshot", chunk, live)
	}
	w.incidents(t, s)
}

// incidents pages through all of them; they began at the same instant.
func (w textServer) incidents(t *testing.T, s *server) {
	t.Helper()
	var page struct {
		Data []client.Incident
		Next string `json:"next_cursor"`
	}
	seen := map[string]int{}
	for path := "/v1/incidents?rule=texts&limit=70"; ; path = "/v1/incidents?rule=texts&limit=70&cursor=" + url.QueryEscape(page.Next) {
		page.Next = ""
		if err := s.Do(t.Context(), "GET", path, nil, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, in := range page.Data {
			seen[in.Labels["text"]]++
		}
		if page.Next == "" {
			break
		}
	}
	for _, text := range w.texts {
		if seen[text] != 1 {
			t.Errorf("%d incidents of %q, want 1", seen[text], text)
		}
	}
}

func wantLabels(t testing.TB, what string, want []string, got []client.Series) {
	t.Helper()
	seen := map[string]bool{}
	for _, one := range got {
		seen[one.Labels["text"]] = true
	}
	for _, text := range want {
		if !seen[text] {
			t.Errorf("%s has no series of %q", what, text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d series, want %d", what, len(got), len(want))
	}
}
