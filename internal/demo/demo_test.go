package demo_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/demo"
)

// said collects what the demo says.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// server runs a whole server in this process.
func server(t *testing.T) (url, key string) {
	t.Helper()
	settings := config.Serve{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Roles: []string{"all"}, EgressAllow: []string{"127.0.0.1/32"}, Partitions: 1}
	a, err := app.New(t.Context(), settings, config.Secrets{}, app.Options{Log: app.NewLogger(io.Discard, "text", "error"), Announce: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), config.ShutdownTimeout)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return "http://" + a.Addr(), a.BootstrapKey()
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestTheOutageOfAVendorBecomesAnIncident(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server and some seconds of traffic")
	}
	url, key := server(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &said{}
	ended := make(chan error, 1)
	go func() {
		ended <- demo.Run(ctx, demo.Config{
			URL: url, Key: key, Out: out, Rate: 3, History: 2 * time.Minute, Notify: true, Tally: time.Second,
			Script: demo.Script{First: time.Now(), Lasts: time.Minute, Pause: time.Minute},
		})
	}()
	eventually(t, time.Minute, "the channel was told of the incident", func() bool {
		return strings.Contains(out.text(), "The rule payments-fail fired") && strings.Contains(out.text(), "incident.firing, whose signature is right")
	})
	c := client.New(url, key)
	if firing, err := c.Incidents(ctx, "firing", ""); err != nil || len(firing) != 1 || firing[0].Rule != "payments-fail" || firing[0].Labels["country"] != "US" {
		t.Errorf("%+v, %v", firing, err)
	}
	// Every metric that a demo shows has values, and each of its events has all its dimensions.
	for metric, dimensions := range map[string][]string{
		"events":          {"source", "type"},
		"stripe-payments": {"source", "currency", "country", "brand", "status"}, "stripe-payment-success": {"country"}, "stripe-revenue": {"currency"},
		"stripe-failed-payments": {"failure_code", "decline_code"}, "stripe-refunds": {"currency"}, "stripe-refund-amount": {"country"},
		"github-workflow-runs": {"repository", "workflow", "conclusion"}, "github-workflow-success": {"repository"}, "github-workflow-duration": {"workflow"},
		"github-job-queue-time": {"workflow"}, "github-deployments": {"environment", "state"}, "github-pull-requests": {"action"}, "github-pushes": {"repository"},
		"shop-revenue": {"country", "category", "device"}, "shop-checkouts": {"step", "country"}, "twilio-messages": {"source", "status", "country", "carrier", "purpose"},
		"twilio-delivery-time": {"carrier"}, "sendgrid-mail": {"source", "event", "domain", "category"},
	} {
		r, err := c.Query(ctx, client.Query{Metric: metric, From: time.Now().Add(-10 * time.Minute), To: time.Now().Add(time.Minute), Step: "1m", GroupBy: dimensions, Limit: 1000})
		if err != nil || len(r.Series) == 0 {
			t.Errorf("%s: %d series, %v", metric, len(r.Series), err)
		}
		for _, s := range r.Series {
			for _, d := range dimensions {
				if s.Labels[d] == "" {
					t.Errorf("%s: a series has no %s: %v", metric, d, s.Labels)
				}
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stopping is an error: %v", err)
	}
	for _, want := range []string{url + "/#key=" + key, "\n      " + key + "\n", "Stripe's card payments begin to fail in the US", "events in the last"} {
		if !strings.Contains(out.text(), want) {
			t.Errorf("nothing is said of %q:\n%s", want, out.text())
		}
	}
	if strings.Contains(out.text(), "could not be sent") || strings.Contains(out.text(), "WRONG") {
		t.Error(out.text())
	}
}

func TestALaterDemoGoesOnWhereAnEarlierOneStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server")
	}
	url, key := server(t)
	// One is stopped as soon as its traffic is live.
	once := func() {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		out := &said{}
		ended := make(chan error, 1)
		go func() {
			ended <- demo.Run(ctx, demo.Config{URL: url, Key: key, Out: out, History: 5 * time.Minute, Tally: time.Millisecond})
		}()
		eventually(t, time.Minute, "live traffic", func() bool { return strings.Contains(out.text(), "events in the last") })
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	once()
	once()
	events, err := client.New(url, key).AllEvents(t.Context(), client.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	// Twice the history would be twice as many.
	if n := len(events); n < 4000 || n > 11_000 {
		t.Errorf("%d events", n)
	}
}
