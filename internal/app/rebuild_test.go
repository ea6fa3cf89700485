package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func (i *instance) until(what string, ok func() bool) {
	i.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			i.t.Fatal("not within 30 seconds: " + what)
		case <-tick.C:
		}
	}
}

func (i *instance) count() float64 {
	i.t.Helper()
	resp, b := i.do("GET", "/v1/metrics/events/query?step=1m", givenKey, "")
	var out struct{ Series []struct{ Total float64 } }
	if err := json.Unmarshal(b, &out); err != nil || resp.StatusCode != http.StatusOK || len(out.Series) != 1 {
		return -1
	}
	return out.Series[0].Total
}

func (i *instance) send(from, n int) {
	i.t.Helper()
	body := "["
	for k := range n {
		if k > 0 {
			body += ","
		}
		body += fmt.Sprintf(`{"type":"t","id":"%d"}`, from+k)
	}
	if resp, b := i.do("POST", "/v1/events", givenKey, body+"]"); resp.StatusCode != http.StatusAccepted {
		i.t.Fatalf("%d %s", resp.StatusCode, b)
	}
}

// firing is how many incidents are open, and their ids.
func (i *instance) firing() (ids []string) {
	i.t.Helper()
	_, b := i.do("GET", "/v1/incidents?state=firing", givenKey, "")
	var out struct{ Data []struct{ ID string } }
	_ = json.Unmarshal(b, &out)
	for _, d := range out.Data {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestADamagedStoreIsSetAsideAndRebuiltFromTheLog(t *testing.T) {
	dir := t.TempDir()
	i := start(t, settings(dir), givenKey)
	i.send(0, 1000)
	i.until("counted", func() bool { return i.count() == 1000 })
	rule := `{"metric":"events","window":"1h","condition":{"type":"threshold","op":">","value":10}}`
	if resp, b := i.do("PUT", "/v1/rules/many", givenKey, rule); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	i.until("fires", func() bool { return len(i.firing()) == 1 })
	incident := i.firing()[0]
	kept := filepath.Join(dir, "catalog.sqlite")
	i.until("the incident is kept in the catalog too", func() bool { _, err := os.Stat(kept); return err == nil })
	i.stop()

	path := filepath.Join(dir, "events.duckdb")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 4096 { // both headers
		b[4096+k] ^= 0xff
		b[8192+k] ^= 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}

	i = start(t, settings(dir), givenKey)
	i.send(1000, 10) // events are taken at once
	i.until("rebuilt", func() bool { return i.count() == 1010 })
	i.send(0, 1000) // known before the damage, and known still
	i.send(1010, 1)
	i.until("counted", func() bool { return i.count() >= 1011 })
	if got := i.count(); got != 1011 {
		t.Errorf("%v events are counted, want 1011", got)
	}
	if got := i.firing(); len(got) != 1 || got[0] != incident {
		t.Errorf("open incidents: %v, want the one from before, %s", got, incident)
	}
	aside, err := filepath.Glob(filepath.Join(dir, "events.duckdb.damaged-*", "events.duckdb"))
	if err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	i.until("complete", func() bool {
		_, b := i.do("GET", "/readyz", "", "")
		var out struct{ Rebuilding *struct{} }
		return json.Unmarshal(b, &out) == nil && out.Rebuilding == nil
	})
}
