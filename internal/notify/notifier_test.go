package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

var errDown = errors.New("the endpoint answered 503 Service Unavailable")

func TestTransitionReachesEachChannelOfItsRuleOnce(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops", "dev")
	r.history.commit(fired("inc-1", "ops", "dev", "ops"), fired("inc-2"))
	if res := r.run(); res != (Result{Read: 2, Enqueued: 2, Claimed: 2, Started: 2}) {
		t.Fatalf("%+v", res)
	}
	got := r.hook.messages()
	slices.SortFunc(got, func(a, b Message) int { return strings.Compare(a.Channel.Slug, b.Channel.Slug) })
	if len(got) != 2 || got[0].Channel.Slug != "dev" || got[1].Channel.Slug != "ops" {
		t.Fatalf("%+v", got)
	}
	m := got[1]
	if m.Type != TypeFiring || m.Attempt != 1 || m.URL != "https://pulse.example.com/incidents/inc-1" || m.Transition.Value != 12.5 || m.Channel.Tenant != "acme" || m.ID == got[0].ID {
		t.Errorf("%+v", m)
	}
	if res := r.run(); res != (Result{}) {
		t.Errorf("again: %+v", res)
	}
	for _, j := range r.jobs("acme") {
		if j.State != store.JobDone || j.Error != "" {
			t.Errorf("%+v", j)
		}
	}
	if s := r.Stats(); s != (Stats{Delivered: 2}) {
		t.Errorf("%+v", s)
	}
}

func TestJobIDIsSafeInHeadersAndUniqueAcrossTenants(t *testing.T) {
	id := JobID("acme", "t-1", "ops")
	if !regexp.MustCompile(`^msg_[0-9a-f]{32}$`).MatchString(id) || id != JobID("acme", "t-1", "ops") {
		t.Error(id)
	}
	for _, other := range []string{JobID("acm", "et-1", "ops"), JobID("evil", "t-1", "ops"), JobID("acme", "t-1", "dev"), JobID("acme", "t-2", "ops")} {
		if other == id {
			t.Error("not unique")
		}
	}
}

func TestSameTransitionReadTwiceIsOneJob(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.history.commit(fired("inc-1", "ops"))
	r.run()
	r.history.commit(fired("inc-1", "ops"), resolved("inc-1", "ops"))
	r.run()
	if n := len(r.jobs("acme")); n != 2 || len(r.hook.messages()) != 2 {
		t.Errorf("%d jobs", n)
	}
}

func TestReceiverThatComesBackGetsTheSameMessageOnce(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.hook.set(func(context.Context, Message) Outcome { return Failed(errDown, 503) })
	r.history.commit(fired("inc-1", "ops"))
	r.run()
	for range 4 {
		j := r.onlyJob("acme")
		if j.State != store.JobQueued || j.Error != errDown.Error() {
			t.Fatalf("%+v", j)
		}
		if res := r.run(); res.Started != 0 {
			t.Fatal("tried again too early")
		}
		r.clock.advance(j.NextAt.Sub(r.clock.now()))
		r.run()
	}
	r.hook.set(nil)
	r.clock.advance(time.Hour)
	r.run()
	got := r.hook.messages()
	if len(got) != 6 || r.onlyJob("acme").State != store.JobDone {
		t.Fatalf("%d attempts, %+v", len(got), r.onlyJob("acme"))
	}
	for i, m := range got {
		if m.Attempt != i+1 || m.ID != got[0].ID {
			t.Errorf("attempt %d: %+v", i+1, m)
		}
	}
	if s := r.Stats(); s.Retried != 5 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
}

func TestReceiverThatStaysAwayIsGivenUpAfterADay(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.hook.set(func(context.Context, Message) Outcome { return Failed(errDown, 503) })
	r.history.commit(fired("inc-1", "ops"))
	for range Attempts {
		r.run()
		r.clock.advance(r.onlyJob("acme").NextAt.Sub(r.clock.now()))
	}
	j := r.onlyJob("acme")
	if age := j.UpdatedAt.Sub(j.CreatedAt); j.State != store.JobDead || j.Attempts != Attempts || j.Error != errDown.Error() || age < 22*time.Hour || age > 26*time.Hour {
		t.Fatalf("after %s: %+v", age, j)
	}
	r.clock.advance(100 * time.Hour)
	if res := r.run(); res.Claimed != 0 {
		t.Error("a dead job was claimed")
	}
}

func TestHopelessMessagesAreDeadAtOnce(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "gone", "panics", "typeless")
	body, _ := Channel{Type: "pigeon", Config: json.RawMessage(`{}`)}.Body()
	if _, err := r.catalog.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindChannel, Slug: "typeless", Body: body, At: noon()}); err != nil {
		t.Fatal(err)
	}
	r.hook.set(func(_ context.Context, m Message) Outcome {
		if m.Channel.Slug == "panics" {
			panic("no stomach for this")
		}
		return Rejected(errors.New("410 Gone"), 410)
	})
	r.history.commit(fired("inc-1", "gone", "panics", "typeless", "missing"))
	r.run()
	want := map[string]string{"gone": "410 Gone", "panics": "internal error", "typeless": `"pigeon" is no type of channel: use one of hook`, "missing": "does not exist any more"}
	for _, j := range r.jobs("acme") {
		if j.State != store.JobDead || j.Attempts != 1 || !strings.Contains(j.Error, want[j.Channel]) {
			t.Errorf("%+v", j)
		}
	}
	if s := r.Stats(); s.Dead != 4 {
		t.Errorf("%+v", s)
	}
}

func TestChannelThatWasPutRightTakesEffectAtTheNextAttempt(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.hook.set(func(context.Context, Message) Outcome { return Failed(errDown, 503) })
	r.history.commit(fired("inc-1", "ops"))
	r.run()
	r.hook.set(nil)
	body, _ := Channel{Name: "Ops", Type: "hook", Config: json.RawMessage(`{"url":"other"}`)}.Body()
	if _, err := r.catalog.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindChannel, Slug: "ops", Body: body, At: noon()}); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(time.Minute)
	r.run()
	if got := r.hook.messages(); len(got) != 2 || string(got[1].Channel.Config) != `{"url":"other"}` || got[1].Channel.Name != "Ops" {
		t.Errorf("%+v", got)
	}
}

func TestEndOfAnIncidentWaitsForItsBeginning(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops", "dev")
	r.hook.set(func(_ context.Context, m Message) Outcome {
		if m.Channel.Slug == "ops" && m.Attempt < 3 {
			return Failed(errDown, 503)
		}
		return Outcome{}
	})
	r.history.commit(fired("inc-1", "ops", "dev"), resolved("inc-1", "ops", "dev"))
	for range 4 {
		r.run()
		r.clock.advance(time.Minute)
	}
	var ops, dev []string
	for _, m := range r.hook.messages() {
		if m.Channel.Slug == "ops" {
			ops = append(ops, m.Type)
		} else {
			dev = append(dev, m.Type)
		}
	}
	if !slices.Equal(ops, []string{TypeFiring, TypeFiring, TypeFiring, TypeResolved}) || !slices.Equal(dev, []string{TypeFiring, TypeResolved}) {
		t.Errorf("ops %v, dev %v", ops, dev)
	}
}

func TestEndOfAnIncidentIsToldAlthoughItsBeginningWasGivenUp(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.hook.set(func(_ context.Context, m Message) Outcome {
		if m.Type == TypeFiring {
			return Rejected(errDown, 400)
		}
		return Outcome{}
	})
	r.history.commit(fired("inc-1", "ops"), resolved("inc-1", "ops"))
	r.run()
	if got := r.hook.messages(); len(got) != 2 || got[1].Type != TypeResolved || r.Stats().Delivered != 1 {
		t.Errorf("%+v", got)
	}
}

func TestValueThatIsNoNumberDoesNotStopTheTail(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	bad := fired("inc-1", "ops")
	bad.Value, bad.Worst, bad.Threshold = math.NaN(), math.Inf(1), math.Inf(-1)
	r.history.commit(bad, fired("inc-2", "ops"))
	r.run()
	got := r.hook.messages()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, m := range got {
		if m.Transition.Incident == "inc-1" && !(math.IsNaN(m.Transition.Value) && math.IsNaN(m.Transition.Threshold)) {
			t.Errorf("%+v", m)
		}
	}
}

func TestDamagedJobIsDeadAndNotInTheWay(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	broken := store.Job{ID: "x", Tenant: "acme", Channel: "ops", Payload: json.RawMessage(`{"value":"?"}`), NextAt: noon(), CreatedAt: noon()}
	if err := r.catalog.Queue().Enqueue(t.Context(), tail, 0, []store.Job{broken}); err != nil {
		t.Fatal(err)
	}
	r.history.commit(fired("inc-1", "ops"))
	r.run()
	if s := r.Stats(); s.Dead != 1 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOldNewsIsNoNews(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	old := fired("inc-1", "ops")
	old.At = noon().Add(-25 * time.Hour)
	r.history.commit(old, fired("inc-2", "ops"))
	if res := r.run(); res.Read != 2 || res.Enqueued != 1 {
		t.Errorf("%+v", res)
	}
}

func TestRebuiltEventsStoreIsReadFromItsStart(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.history.commit(fired("inc-1", "ops"), fired("inc-2", "ops"), fired("inc-3", "ops"))
	r.run()
	r.hook.messages()
	r.history.list = nil
	r.history.commit(fired("inc-3", "ops"), fired("inc-4", "ops")) // numbered anew
	r.restart()
	r.run()
	if got := r.hook.messages(); len(got) != 1 || got[0].Transition.Incident != "inc-4" {
		t.Fatalf("%+v", got)
	}
	r.history.commit(fired("inc-5", "ops"))
	r.restart()
	r.run()
	if got := r.hook.messages(); len(got) != 1 || got[0].Transition.Incident != "inc-5" {
		t.Fatalf("%+v", got)
	}
}

func TestLongHistoryIsReadInPages(t *testing.T) {
	r := newRig(t, Config{Page: 10})
	r.channel("acme", "ops")
	for n := range 35 {
		r.history.commit(fired(fmt.Sprint("inc-", n), "ops"))
	}
	if res := r.run(); res.Read != 35 || res.Claimed != 35 || len(r.hook.messages()) != 35 {
		t.Errorf("%+v", res)
	}
}

func TestQueueIsEmptiedAlthoughTheEventsStoreIsGone(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.hook.set(func(context.Context, Message) Outcome { return Failed(errDown, 503) })
	r.history.commit(fired("inc-1", "ops"))
	r.run()
	r.hook.set(nil)
	r.history.err = errors.New("the events store is damaged")
	r.clock.advance(time.Minute)
	if _, err := r.runOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "the events store is damaged") {
		t.Errorf("%v", err)
	}
	r.attempts.Wait()
	if r.onlyJob("acme").State != store.JobDone {
		t.Error("not delivered")
	}
}

func TestCatalogThatIsGoneIsAnErrorThatPasses(t *testing.T) {
	r := newRig(t, Config{})
	r.channel("acme", "ops")
	r.history.commit(fired("inc-1", "ops"))
	if err := r.catalog.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.runOnce(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
	r.open()
	r.run()
	if len(r.hook.messages()) != 1 {
		t.Error("not delivered")
	}
}

func TestTestOfAChannelSaysHowItWent(t *testing.T) {
	r := newRig(t, Config{})
	c := Channel{Tenant: tenant.Default, Slug: "ops", Type: "hook"}
	r.hook.set(func(context.Context, Message) Outcome {
		r.clock.advance(12 * time.Millisecond)
		return Delivered(204, "")
	})
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, `{"ok":true,"status":204,"duration_ms":12,"detail":"delivered"}`},
		{func() {
			r.hook.set(func(context.Context, Message) Outcome { return Failed(errDown, 503) })
		}, `{"ok":false,"status":503,"duration_ms":0,"detail":"the endpoint answered 503 Service Unavailable"}`},
		{func() { c.Type = "pigeon" }, `{"ok":false,"status":0,"duration_ms":0,"detail":"type: \"pigeon\" is no type of channel: use one of hook"}`},
	} {
		step.change()
		got, err := json.Marshal(r.Test(t.Context(), c))
		if err != nil || string(got) != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
	for _, m := range r.hook.messages() {
		if m.Type != TypeTest || m.Attempt != 1 || !strings.Contains(m.Transition.Summary, "test of the channel ops") {
			t.Errorf("%+v", m)
		}
	}
	if len(r.jobs(tenant.Default)) != 0 {
		t.Error("a test was queued")
	}
}

func TestAttemptEndsAtItsTimeout(t *testing.T) {
	r := newRig(t, Config{Timeout: 20 * time.Millisecond})
	r.hook.set(func(ctx context.Context, _ Message) Outcome {
		<-ctx.Done()
		return Failed(ctx.Err(), 0)
	})
	if got := r.Test(t.Context(), Channel{Slug: "ops", Type: "hook"}); got.OK || !strings.HasPrefix(got.Detail, "no answer within 20ms") {
		t.Errorf("%+v", got)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	var into struct {
		URL  string `json:"url"`
		Port int    `json:"port"`
	}
	for in, want := range map[string]string{
		`{"url":"x","port":1}`:  "",
		`{"url":7}`:             "url: must not be a number",
		`{"prot":7}`:            "prot: there is no such field in this type of channel",
		`{"url":"x"}{"url":""}`: "config: must be one JSON object",
		`[1]`:                   "config: must be a JSON object with the fields of this type of channel",
		`{`:                     "config: must be a JSON object with the fields of this type of channel",
	} {
		err := DecodeConfig(json.RawMessage(in), &into)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}
