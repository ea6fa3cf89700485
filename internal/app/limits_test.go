package app_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/limit/limittest"
)

func TestServersThatShareRedisShareALimitAndGoOnWithoutIt(t *testing.T) {
	r := limittest.StartRedis(t)
	run := func() *instance {
		cfg := settings(t.TempDir())
		cfg.Redis, cfg.RateLimit = "redis://"+r.Addr, 0.01
		return start(t, cfg, givenKey)
	}
	one, two := run(), run()
	send := func(i *instance) int {
		resp, _ := i.do("POST", "/v1/events", givenKey, `{"type":"t"}`)
		return resp.StatusCode
	}
	ready := func(i *instance) string {
		resp, body := i.do("GET", "/readyz", "", "")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("not ready: %d %s", resp.StatusCode, body)
		}
		return string(body)
	}
	shared := func(i *instance, want string) bool {
		_, body := i.do("GET", "/metrics", "", "")
		return strings.Contains(string(body), "\npulsestream_limits_shared "+want+"\n")
	}
	if got := send(one); got != http.StatusAccepted {
		t.Fatalf("the first event: %d", got)
	}
	if got := send(two); got != http.StatusTooManyRequests {
		t.Errorf("what one server has taken, the other takes again: %d", got)
	}
	if text := ready(two); strings.Contains(text, "limits") || !shared(two, "1") {
		t.Errorf("all is well: %s", text)
	}
	r.Kill()
	accepted := 0
	limittest.Until(t, "the second server limits by itself", func() bool {
		if send(two) == http.StatusAccepted {
			accepted++
		}
		return shared(two, "0")
	})
	if text := ready(two); !strings.Contains(text, `"limits":"Redis does not answer`) || accepted != 1 {
		t.Errorf("%d events taken while Redis is away, its own limit has room for one; %s", accepted, text)
	}
	if _, body := two.do("GET", "/metrics", "", ""); strings.Contains(string(body), "\npulsestream_limits_fallback_total 0\n") {
		t.Error("the fallback is not counted")
	}
	r.Start()
	limittest.Until(t, "the limit is shared again", func() bool { return shared(two, "1") && !strings.Contains(ready(two), "limits") })
}

func TestAServerWithoutItsRedisDoesNotStartAndLeavesNothingBehind(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Redis = "redis://:hunter2hunter2@" + limittest.FreePort(t)
	a, err := app.New(t.Context(), cfg, config.Secrets{}, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err == nil {
		_ = a.Stop(t.Context())
		t.Fatal("it starts")
	}
	if text := err.Error(); !strings.HasPrefix(text, "--redis redis://:xxxxx@") || !strings.Contains(text, "start Redis, or correct the address") || strings.ContainsAny(text, "\n") {
		t.Error(text)
	}
	cfg.Redis = ""
	start(t, cfg, "") // the directory is free, and the first key is still to be made
}
