package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/pulsestream/pulsestream/internal/notify"
)

const maxURL = 2048

// config is a webhook's configuration. The secret is write-only.
type config struct {
	URL    string `json:"url"`
	Secret string `json:"secret,omitempty"`
}

// Configure checks what was entered, takes over the stored secret when none was entered, and makes one when there is none.
func (t *Type) Configure(entered, stored json.RawMessage) (json.RawMessage, map[string]string, error) {
	var c, old config
	if err := notify.DecodeConfig(entered, &c); err != nil {
		return nil, nil, err
	}
	if len(stored) > 0 {
		if err := json.Unmarshal(stored, &old); err != nil {
			return nil, nil, fmt.Errorf("decode the stored configuration: %w", err)
		}
	}
	var wrong notify.ConfigError
	if problem := t.checkURL(c.URL); problem != "" {
		wrong.Add("url", "%s", problem)
	}
	made := map[string]string{}
	switch {
	case c.Secret != "":
		if _, err := decodeSecret(c.Secret); err != nil {
			wrong.Add("secret", "%s", err)
		}
	case old.Secret != "":
		c.Secret = old.Secret
	default:
		c.Secret = newSecret()
		made["secret"] = c.Secret
	}
	if err := wrong.Err(); err != nil {
		return nil, nil, err
	}
	b, err := json.Marshal(c) //nolint:gosec // the secret is what is to be stored
	return b, made, err
}

// checkURL says what is wrong with an address, or "".
func (t *Type) checkURL(s string) string {
	if s == "" {
		return "is required: the address that gets the requests"
	}
	if len(s) > maxURL {
		return "has at most " + strconv.Itoa(maxURL) + " characters"
	}
	u, err := url.Parse(s)
	if err != nil {
		if p := (*url.Error)(nil); errors.As(err, &p) {
			err = p.Err
		}
		return "is not a URL: " + err.Error()
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "must begin with https:// or http://"
	case u.Hostname() == "" || u.Opaque != "":
		return "has no host"
	case u.User != nil:
		return "must not hold a user name or password: requests are signed instead"
	case strings.Contains(s, "#"):
		return "must not have a fragment (#…): it would not be sent"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "has no valid port"
		}
	}
	// A name is checked when it is dialled. An address in figures can be told at once.
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := t.guard.Check(a); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Redact returns the configuration without the secret.
func (t *Type) Redact(stored json.RawMessage) (json.RawMessage, error) {
	var c config
	if err := json.Unmarshal(stored, &c); err != nil {
		return nil, fmt.Errorf("decode the stored configuration: %w", err)
	}
	c.Secret = ""
	return json.Marshal(c) //nolint:gosec // the secret was just taken out
}
