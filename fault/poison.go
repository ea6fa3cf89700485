//go:build linux

package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
)

// neighbourhood is how many events there are in one request around those that the store refuses.
const (
	neighbourhood   = 400
	neighbourSource = "neighbours"
)

// neighbours sends one request in which the store refuses one or two events: all others have to be stored, and only those to be in quarantine, with
// reason, payload and place.
func (r *rig) neighbours() error {
	bad := map[string]bool{}
	for range 1 + r.rand.IntN(2) {
		bad[fmt.Sprintf("neighbour-%d", r.rand.IntN(neighbourhood))] = true
	}
	now := time.Now()
	events := make([]outgoing, neighbourhood)
	sent := make([]ledger.Event, neighbourhood)
	for i := range events {
		e := &events[i]
		e.Event = ledger.Event{ID: fmt.Sprintf("neighbour-%d", i), Source: neighbourSource, Type: "fault.order", Subject: "n", Time: now.UTC()}
		if bad[e.ID] {
			e.Type = "fault.commit"
		}
		e.data = fmt.Sprintf(`{"amount":1,"region":"eu","n":%d}`, i)
		e.Data = ledger.Fingerprint([]byte(e.data))
		sent[i] = e.Event
	}
	n := r.ledger.Sending(sent)
	answer, err := r.target.wait(r.ctx).Exchange(r.ctx, http.MethodPost, "/v1/events", http.Header{"Content-Type": {"application/json"}}, array(events, false))
	outcome, status, rejected := judge(answer, err)
	if err := r.ledger.Answered(n, outcome, status, rejected); err != nil {
		return err
	}
	if outcome != ledger.Acknowledged {
		return fmt.Errorf("neighbours: %w: %s", errNotTaken, describe(answer, err))
	}
	if err := r.settle(); err != nil {
		return err
	}
	stored, err := r.target.wait(r.ctx).AllEvents(r.ctx, client.EventQuery{Source: neighbourSource, Limit: 500})
	if err != nil {
		return err
	}
	if len(stored) != neighbourhood-len(bad) {
		return fmt.Errorf("of %d events in one request the store refuses %d, and %d are stored", neighbourhood, len(bad), len(stored))
	}
	return r.onlyPoison(bad)
}

// quarantined is an entry of the quarantine, as far as it is looked at.
type quarantined struct {
	Stage    string `json:"stage"`
	Reason   string `json:"reason"`
	Sequence uint64 `json:"sequence"`
	Event    *struct {
		ID     string `json:"id"`
		Source string `json:"source"`
		Type   string `json:"type"`
		Data   any    `json:"data"`
	} `json:"event"`
}

// onlyPoison checks that nothing else is in quarantine than what a stage cannot process, and that the bad ones of the neighbours are.
func (r *rig) onlyPoison(bad map[string]bool) error {
	found := 0
	for cursor := ""; ; {
		var page struct {
			Data       []quarantined `json:"data"`
			NextCursor string        `json:"next_cursor"`
		}
		if err := r.target.wait(r.ctx).Do(r.ctx, http.MethodGet, "/v1/quarantine?limit=100&cursor="+cursor, nil, nil, &page); err != nil {
			return err
		}
		for i := range page.Data {
			q := &page.Data[i]
			if q.Event == nil || q.Event.Data == nil || q.Reason == "" || q.Sequence == 0 {
				return fmt.Errorf("in quarantine, without what it takes to act: %+v", q)
			}
			if want := map[string]string{"fault.commit": "commit", "fault.panic": "aggregate"}[q.Event.Type]; q.Stage != want || want == "" {
				return fmt.Errorf("in quarantine at stage %q is an event of type %s: %s", q.Stage, q.Event.Type, q.Reason)
			}
			if q.Event.Source == neighbourSource && bad[q.Event.ID] && strings.Contains(q.Reason, "refused") {
				found++
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if found != len(bad) {
		return errors.New("an event that the store refuses is not in quarantine")
	}
	return nil
}
