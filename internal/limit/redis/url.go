package redis

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Check says what is wrong with a URL, without the password that may stand in it.
func Check(text string) error {
	_, err := options(text)
	return err
}

// options reads a URL. What it doesn't name is what suits short calls that may fail.
func options(text string) (rueidis.ClientOption, error) {
	opt := rueidis.ClientOption{
		ForceSingleClient: true,
		DisableCache:      true,
		DisableRetry:      true, // the caller has an answer of its own
		AlwaysPipelining:  true, // a call that takes too long leaves the connection to the others
		PipelineMultiplex: -1,   // one connection: calls that come together go together
		ConnWriteTimeout:  2 * time.Second,
		ClientName:        "pulsestream",
	}
	opt.Dialer.Timeout = tryTime
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
		return opt, fmt.Errorf("--redis %s: write it as redis://HOST:6379, or rediss://USER:PASSWORD@HOST:6379/0 with TLS, a user and the number of a database", redacted(text))
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return opt, fmt.Errorf("--redis %s: nothing may follow the number of the database", redacted(text))
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	opt.InitAddress = []string{net.JoinHostPort(u.Hostname(), port)}
	if u.Scheme == "rediss" {
		opt.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	if u.User != nil {
		opt.Username = u.User.Username()
		opt.Password, _ = u.User.Password()
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if opt.SelectDB, err = strconv.Atoi(db); err != nil || opt.SelectDB < 0 {
			return opt, fmt.Errorf("--redis %s: what follows the address is the number of a database, such as /0", redacted(text))
		}
	}
	return opt, nil
}

// explain says what to do about an error of the first connection.
func explain(text string, err error) error {
	what := err.Error()
	do := "start Redis, or correct the address (rediss:// is with TLS, redis:// without)"
	if answer, ok := rueidis.IsRedisErr(err); ok {
		what = answer.Error()
		switch word, _, _ := strings.Cut(what, " "); word {
		case "WRONGPASS", "NOAUTH":
			do = "correct the user and the password in the URL"
		case "NOPERM":
			do = "let the user run EVAL, EVALSHA, TIME, GET and SET on the keys pulsestream:*"
		case "READONLY":
			do = "name the primary, not a replica"
		case "MOVED", "CLUSTERDOWN", "CROSSSLOT":
			do = "name a Redis that is not a cluster: the limits of all tenants are a few megabytes"
		case "LOADING", "BUSY", "MASTERDOWN":
			do = "wait until Redis has started, and try again"
		default:
			do = "the settings of Redis have to allow scripts that write"
		}
	}
	return fmt.Errorf("--redis %s: limits can't be shared: %s: %s", redacted(text), what, do)
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}
