package email

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
)

func TestConfigurationIsCheckedFieldByField(t *testing.T) {
	tp := New(Config{Guard: egress.New(nil)})
	good := func(change map[string]any) json.RawMessage {
		c := map[string]any{"to": []string{"a@example.com"}, "from": "b@example.com", "host": "mail.example.com"}
		for k, v := range change {
			c[k] = v
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		in    json.RawMessage
		wrong []string
	}{
		{good(nil), nil},
		{good(map[string]any{"to": "a@example.com"}), nil},
		{good(map[string]any{"to": "Ä <a@example.com>, c@example.com"}), nil},
		{good(map[string]any{"host": "1.1.1.1", "port": 2525, "tls": "none"}), nil},
		{good(map[string]any{"username": "u", "password": "p"}), nil},
		{json.RawMessage(`{}`), []string{"to", "from", "host"}},
		{json.RawMessage(`null`), []string{"to", "from", "host"}},
		{json.RawMessage(`7`), []string{"config"}},
		{good(map[string]any{"to": ""}), []string{"to"}},
		{good(map[string]any{"to": []string{}}), []string{"to"}},
		{good(map[string]any{"to": 7}), []string{"to"}},
		{good(map[string]any{"to": []string{"nobody"}}), []string{"to"}},
		{good(map[string]any{"to": []string{"a@example.com\r\nBcc: c@example.com"}}), []string{"to"}},
		{good(map[string]any{"to": []string{"=?utf-8?q?=0D=0ABcc:_x?= <a@example.com>"}}), []string{"to"}},
		{good(map[string]any{"to": []string{"\"a\\\r\nb\"@example.com"}}), []string{"to"}},
		{good(map[string]any{"to": slices.Repeat([]string{"a@example.com"}, 51)}), []string{"to"}},
		{good(map[string]any{"from": "x"}), []string{"from"}},
		{good(map[string]any{"from": "a@example.com, b@example.com"}), []string{"from"}},
		{good(map[string]any{"host": "mail.example.com:25"}), []string{"host"}},
		{good(map[string]any{"host": "smtp://mail"}), []string{"host"}},
		{good(map[string]any{"host": "mail example"}), []string{"host"}},
		{good(map[string]any{"host": "mail\r\nexample"}), []string{"host"}},
		{good(map[string]any{"host": "10.0.0.1"}), []string{"host"}},
		{good(map[string]any{"host": "::1"}), []string{"host"}},
		{good(map[string]any{"port": -1}), []string{"port"}},
		{good(map[string]any{"port": 65536}), []string{"port"}},
		{good(map[string]any{"port": "25"}), []string{"port"}},
		{good(map[string]any{"tls": "maybe"}), []string{"tls"}},
		{good(map[string]any{"username": "u"}), []string{"password"}},
		{good(map[string]any{"password": "p"}), []string{"username"}},
		{good(map[string]any{"username": "u", "password": "p", "tls": "none"}), []string{"tls"}},
		{good(map[string]any{"username": "u\r\n", "password": "p"}), []string{"username"}},
		{good(map[string]any{"pasword": "p"}), []string{"pasword"}},
	} {
		_, _, err := tp.Configure(c.in, nil)
		var wrong notify.ConfigError
		var fields []string
		if errors.As(err, &wrong) {
			for _, f := range wrong {
				fields = append(fields, f.Field)
			}
		}
		if !slices.Equal(fields, c.wrong) || (err != nil) != (c.wrong != nil) {
			t.Errorf("%s: %v, want something about %v", c.in, err, c.wrong)
		}
	}
}

func TestDefaultsFollowTheTLS(t *testing.T) {
	tp := New(Config{Guard: egress.New(nil)})
	for in, want := range map[string]string{
		``:                             `"port":587,"tls":"starttls"`,
		`,"tls":"starttls"`:            `"port":587,"tls":"starttls"`,
		`,"tls":"implicit"`:            `"port":465,"tls":"implicit"`,
		`,"tls":"none"`:                `"port":25,"tls":"none"`,
		`,"tls":"implicit","port":995`: `"port":995,"tls":"implicit"`,
	} {
		got, _, err := tp.Configure(json.RawMessage(`{"to":"a@example.com","from":"b@example.com","host":"mail.example.com"`+in+`}`), nil)
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
}

func TestPasswordIsKeptForItsServerOnlyAndNeverShown(t *testing.T) {
	tp := New(Config{Guard: egress.New(nil)})
	first, _, err := tp.Configure(json.RawMessage(`{"to":"a@example.com","from":"b@example.com","host":"mail.example.com","username":"u","password":"hunter2"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := tp.Redact(first)
	if err != nil || strings.Contains(string(shown), "hunter2") || strings.Contains(string(shown), "password") {
		t.Fatalf("%s %v", shown, err)
	}
	again, _, err := tp.Configure(shown, first)
	if err != nil || string(again) != string(first) {
		t.Fatalf("%s %v", again, err)
	}
	other, _, err := tp.Configure(json.RawMessage(strings.Replace(string(shown), "a@example.com", "c@example.com", 1)), first)
	if err != nil || !strings.Contains(string(other), "hunter2") {
		t.Fatalf("other recipient: %s %v", other, err)
	}
	for old, changed := range map[string]string{"mail.example.com": "evil.example.com", `"port":587`: `"port":2525`, `"username":"u"`: `"username":"v"`, `"tls":"starttls"`: `"tls":"implicit"`} {
		in := strings.Replace(string(shown), old, changed, 1)
		var wrong notify.ConfigError
		if _, _, err := tp.Configure(json.RawMessage(in), first); !errors.As(err, &wrong) || wrong[0].Field != "password" {
			t.Errorf("%s: %v", in, err)
		}
	}
	without := strings.Replace(string(shown), `"username":"u",`, "", 1)
	if got, _, err := tp.Configure(json.RawMessage(without), first); err != nil || strings.Contains(string(got), "hunter2") {
		t.Errorf("no login any more: %s %v", got, err)
	}
}
