package email

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/notify"
)

// How a connection to a mail server is secured.
const (
	tlsStart    = "starttls" // begun by a command, and nothing is sent without
	tlsImplicit = "implicit" // from the first byte on
	tlsNone     = "none"     // for a server on the same machine or network
)

const (
	maxRecipients = 50
	maxSecret     = 1024
)

var hostname = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$`)

// config is a mail channel's configuration. The password is write-only.
type config struct {
	To       addressList `json:"to"`
	From     string      `json:"from"`
	Host     string      `json:"host"`
	Port     int         `json:"port"`
	Username string      `json:"username,omitempty"`
	Password string      `json:"password,omitempty"`
	TLS      string      `json:"tls"`
}

// addressList is a list of addresses, or one string of them with commas between.
type addressList []string

func (a *addressList) UnmarshalJSON(b []byte) error {
	var many []string
	if json.Unmarshal(b, &many) == nil {
		*a = many
		return nil
	}
	var one string
	if json.Unmarshal(b, &one) != nil {
		return notify.ConfigError{{Field: "to", Message: "must be an address or a list of addresses"}}
	}
	*a = nil
	if strings.TrimSpace(one) == "" {
		return nil
	}
	*a = addressList{one}
	if list, err := netmail.ParseAddressList(one); err == nil && len(list) > 1 {
		*a = nil
		for _, p := range list {
			*a = append(*a, display(p))
		}
	}
	return nil
}

// display is an address for people, readable where it can be.
func display(a *netmail.Address) string {
	if a.Name == "" {
		return a.Address
	}
	return a.String()
}

// entered is config as a user writes it: a password that is left out is kept, an empty one is removed.
type entered struct {
	config
	Password *string `json:"password"`
}

// Configure checks what was entered, fills in defaults, and takes over the stored password when none was entered. A stored password
// only ever goes to the server that it was entered for: else who may change a channel, but not see its password, could have it
// sent to a server of their own.
func (t *Type) Configure(raw, stored json.RawMessage) (json.RawMessage, map[string]string, error) {
	var in entered
	if err := notify.DecodeConfig(raw, &in); err != nil {
		return nil, nil, err
	}
	var old config
	if len(stored) > 0 {
		if err := json.Unmarshal(stored, &old); err != nil {
			return nil, nil, fmt.Errorf("decode the stored configuration: %w", err)
		}
	}
	c := in.config
	c.setDefaults()
	var wrong notify.ConfigError
	switch {
	case in.Password != nil:
		c.Password = *in.Password
	case old.Password != "" && c.Username != "":
		if strings.EqualFold(c.Host, old.Host) && c.Port == old.Port && c.Username == old.Username && c.TLS == old.TLS {
			c.Password = old.Password
		} else {
			wrong.Add("password", "must be entered again, since host, port, username or tls has changed")
		}
	}
	wrong = append(wrong, t.check(c)...)
	if err := wrong.Err(); err != nil {
		return nil, nil, err
	}
	b, err := json.Marshal(c) //nolint:gosec // the password is what is to be stored
	return b, nil, err
}

func (c *config) setDefaults() {
	if c.TLS == "" {
		c.TLS = tlsStart
	}
	if c.Port != 0 {
		return
	}
	switch c.TLS {
	case tlsImplicit:
		c.Port = 465
	case tlsNone:
		c.Port = 25
	default:
		c.Port = 587
	}
}

// check returns all that is wrong with c.
func (t *Type) check(c config) notify.ConfigError {
	var wrong notify.ConfigError
	if len(c.To) == 0 {
		wrong.Add("to", "is required: who gets the mail")
	}
	if len(c.To) > maxRecipients {
		wrong.Add("to", "has %d addresses, at most %d are taken: use a mailing list", len(c.To), maxRecipients)
	}
	for _, a := range c.To {
		if _, err := parseAddress(a); err != nil {
			wrong.Add("to", "%q is not a mail address: %s", clip(a), err)
		}
	}
	if _, err := parseAddress(c.From); err != nil {
		wrong.Add("from", "%q is not a mail address: %s", clip(c.From), err)
	}
	if problem := t.checkHost(c.Host); problem != "" {
		wrong.Add("host", "%s", problem)
	}
	if c.Port < 1 || c.Port > 65535 {
		wrong.Add("port", "must be between 1 and 65535")
	}
	if c.TLS != tlsStart && c.TLS != tlsImplicit && c.TLS != tlsNone {
		wrong.Add("tls", "must be %s, %s or %s", tlsStart, tlsImplicit, tlsNone)
	}
	switch {
	case c.Password != "" && c.Username == "":
		wrong.Add("username", "is required with a password")
	case c.Username != "" && c.Password == "":
		wrong.Add("password", "is required with a username")
	case c.Username != "" && c.TLS == tlsNone:
		wrong.Add("tls", "must be %s or %s with a password: it would go in the clear", tlsStart, tlsImplicit)
	}
	for field, s := range map[string]string{"username": c.Username, "password": c.Password} {
		if len(s) > maxSecret || hasControl(s) {
			wrong.Add(field, "has at most %d bytes and no control characters", maxSecret)
		}
	}
	return wrong
}

func (t *Type) checkHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		if err := t.guard.Check(a); err != nil {
			return err.Error()
		}
		return ""
	}
	switch {
	case host == "":
		return "is required: the mail server's name"
	case len(host) > 253 || !hostname.MatchString(host):
		if _, _, err := net.SplitHostPort(host); err == nil {
			return "must be a name or an address only: the port has a field of its own"
		}
		return "is not the name of a host"
	}
	return ""
}

// parseAddress reads "a@b.c" or "Name <a@b.c>". What is no plain text is refused, wherever it stands.
func parseAddress(s string) (*netmail.Address, error) {
	if hasControl(s) || !utf8.ValidString(s) {
		return nil, errors.New("it has control characters")
	}
	if s == "" {
		return nil, errors.New("it is empty")
	}
	a, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "mail: "))
	}
	if hasControl(a.Address) || hasControl(a.Name) { // by way of quoting or encoding
		return nil, errors.New("it has control characters")
	}
	return a, nil
}

// addresses parses sender and recipients; a recipient that is named twice gets one mail.
func (c config) addresses() (*netmail.Address, []*netmail.Address, error) {
	from, err := parseAddress(c.From)
	if err != nil {
		return nil, nil, fmt.Errorf("from: %w", err)
	}
	var to []*netmail.Address
	seen := map[string]bool{}
	for _, s := range c.To {
		a, err := parseAddress(s)
		if err != nil {
			return nil, nil, fmt.Errorf("to: %w", err)
		}
		if !seen[a.Address] {
			seen[a.Address] = true
			to = append(to, a)
		}
	}
	if len(to) == 0 {
		return nil, nil, errors.New("to: there is none")
	}
	return from, to, nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// Redact returns the configuration without the password.
func (t *Type) Redact(stored json.RawMessage) (json.RawMessage, error) {
	var c config
	if err := json.Unmarshal(stored, &c); err != nil {
		return nil, fmt.Errorf("decode the stored configuration: %w", err)
	}
	c.Password = ""
	return json.Marshal(c) //nolint:gosec // the password was just taken out
}
