package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
)

// vendorData opens a file of the vendors' own payloads, which lie beside the checkout and are not part of it.
func vendorData(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("PULSESTREAM_SHARED")
	if dir == "" {
		root, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(filepath.Dir(root), "shared")
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", "vendor", name))
	if err != nil {
		t.Skipf("the vendors' payloads are not here, set PULSESTREAM_SHARED to the directory that has data/vendor: %v", err)
	}
	return b
}

func TestEveryGitHubPayloadBecomesItsEvent(t *testing.T) {
	v, _ := NewCatalogue().Lookup("github")
	lines := bufio.NewScanner(bytes.NewReader(vendorData(t, "github-webhooks.ndjson")))
	lines.Buffer(nil, 4<<20)
	n, observations := 0, 0
	for ; lines.Scan(); n++ {
		var sample struct {
			Event, Example string
			Payload        json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &sample); err != nil {
			t.Fatal(err)
		}
		body, id := string(sample.Payload), "delivery-"+strconv.Itoa(n)
		ev, err := receive(t, "github", fromGitHub(body, "X-GitHub-Event", sample.Event, "X-GitHub-Delivery", id), body)
		if err != nil || ev.ID != id || ev.Type != sample.Event || string(ev.Data) != body {
			t.Errorf("%s %s: %v, %s %s", sample.Event, sample.Example, err, ev.ID, ev.Type)
			continue
		}
		for _, d := range v.Metrics {
			if observation(t, &d, &ev) != "" {
				observations++
			}
		}
	}
	if lines.Err() != nil || n != 206 || observations < 30 {
		t.Errorf("%d payloads with %d observations: %v", n, observations, lines.Err())
	}
}

func TestEveryStripeObjectBecomesAnEvent(t *testing.T) {
	var objects map[string]json.RawMessage
	if err := json.Unmarshal(vendorData(t, "stripe-objects.json"), &objects); err != nil {
		t.Fatal(err)
	}
	v, _ := NewCatalogue().Lookup("stripe")
	types := map[string][]string{
		"charge":  {"charge.succeeded", "charge.failed", "charge.captured", "charge.refunded"},
		"dispute": {"charge.dispute.created", "charge.dispute.closed"}, "radar.early_fraud_warning": {"radar.early_fraud_warning.created"}, "payout": {"payout.failed"},
	}
	observed := map[string]bool{}
	for name, object := range objects {
		var inside struct{ ID string }
		if err := json.Unmarshal(object, &inside); err != nil {
			t.Fatal(err)
		}
		object = bytes.Replace(object, []byte(`"captured": false`), []byte(`"captured": true`), 1) // the one charge there is only authorized
		for _, kind := range append(types[name], name+".updated") {
			body := `{"id":"evt_` + kind + `","object":"event","created":1769860800,"livemode":true,"type":"` + kind + `","data":{"object":` + string(object) + `}}`
			ev, err := receive(t, "stripe", fromStripe(body, receivedAt()), body)
			if err != nil || ev.ID != "evt_"+kind || ev.Type != kind || ev.Subject != inside.ID || ev.Time.Unix() != 1769860800 {
				t.Errorf("%s: %v, %+v", kind, err, event.Event{ID: ev.ID, Type: ev.Type, Subject: ev.Subject, Time: ev.Time})
				continue
			}
			for _, d := range v.Metrics {
				if observation(t, &d, &ev) != "" {
					observed[d.Slug] = true
				}
			}
		}
	}
	for _, d := range v.Metrics {
		// The one dispute there is neither won nor lost.
		if !observed[d.Slug] && d.Slug != "stripe-dispute-wins" {
			t.Errorf("%s: nothing observed", d.Slug)
		}
	}
}
