// Package config is what an operator can set: flags, PULSESTREAM_… variables and a YAML file, in this order of weight.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit/redis"
)

// Serve is the settings of a server. The tags are kong's: each field is a flag, a variable and a key of the YAML file.
type Serve struct {
	DataDir     string   `help:"Where everything is kept." default:"./pulsestream-data" type:"path" placeholder:"DIR"`
	Listen      string   `help:"Address to listen on." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	Roles       []string `help:"What this process does: all, or some of ingest, worker, api." default:"all"`
	Store       string   `help:"The store of events: a DuckDB file in the data directory when missing." placeholder:"URL"`
	Bus         string   `help:"The log: embedded when missing." placeholder:"URL"`
	Redis       string   `help:"Where rate limits are counted that several processes share, such as redis://HOST:6379: in process when missing." placeholder:"URL"`
	RateLimit   float64  `help:"Events a second that each tenant may send on average; 0 is no limit." default:"0" placeholder:"EVENTS_PER_SECOND"`
	EgressAllow []string `help:"A range of private addresses that outgoing requests may reach all the same; repeatable." placeholder:"CIDR"`
	PublicURL   string   `help:"How the server is reached from outside, for the addresses it shows; the request's host when missing." placeholder:"URL"`
	LogFormat   string   `help:"json (Elastic Common Schema) or text." enum:"json,text" default:"json"`
	LogLevel    string   `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	Partitions  int      `help:"Partitions of a new log; an existing one keeps its own." default:"4" hidden:""`
}

// Secrets come from variables only, so that they stand in no process list and no file.
type Secrets struct {
	// BootstrapAPIKey is the first administrator key of an empty store; one is made when it is empty.
	BootstrapAPIKey string
}

// Timeouts that no operator needs to set.
const (
	ShutdownTimeout = 20 * time.Second
)

// Validate says all that is wrong, in words that tell what to do.
func (s *Serve) Validate() error {
	var errs []error
	if s.DataDir == "" {
		errs = append(errs, errors.New("--data-dir is empty: name a directory"))
	}
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--listen %q: write it as HOST:PORT, such as 127.0.0.1:8080", s.Listen))
	}
	if _, err := s.Egress(); err != nil {
		errs = append(errs, err)
	}
	if s.RateLimit < 0 {
		errs = append(errs, errors.New("--rate-limit cannot be negative"))
	}
	if s.Partitions < 1 || s.Partitions > 256 {
		errs = append(errs, errors.New("--partitions must be 1 to 256"))
	}
	if s.PublicURL != "" {
		if u, err := url.Parse(s.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("--public-url %q: write it as https://HOST", s.PublicURL))
		}
	}
	return errors.Join(append(errs, s.fleet()...)...)
}

// fleet refuses what only a fleet has: this version is one process on one machine.
func (s *Serve) fleet() []error {
	var errs []error
	if len(s.Roles) != 1 || s.Roles[0] != "all" {
		errs = append(errs, fmt.Errorf("--roles %s: this version runs all roles in one process: leave it out", strings.Join(s.Roles, ",")))
	}
	if strings.Contains(s.Store, "://") {
		errs = append(errs, fmt.Errorf("--store %s: this version keeps events in DuckDB: leave it out, or name a file", redact(s.Store)))
	}
	if s.Bus != "" {
		errs = append(errs, fmt.Errorf("--bus %s: this version has its log embedded: leave it out", redact(s.Bus)))
	}
	if s.Redis != "" {
		if err := redis.Check(s.Redis); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// redact takes the password out of a URL.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// Egress is EgressAllow, read.
func (s *Serve) Egress() ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(s.EgressAllow))
	for _, c := range s.EgressAllow {
		p, err := netip.ParsePrefix(strings.TrimSpace(c))
		if err != nil {
			a, aerr := netip.ParseAddr(strings.TrimSpace(c))
			if aerr != nil {
				return nil, fmt.Errorf("--egress-allow %q: write it as a range, such as 10.1.0.0/16", c)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// EventsPath is the file of the Events store.
func (s *Serve) EventsPath() string {
	if s.Store != "" {
		if filepath.IsAbs(s.Store) {
			return s.Store
		}
		return filepath.Join(s.DataDir, s.Store)
	}
	return filepath.Join(s.DataDir, "events.duckdb")
}

// CatalogPath is the file of the Catalog.
func (s *Serve) CatalogPath() string { return filepath.Join(s.DataDir, "catalog.sqlite") }

// LogDir is where the embedded log is kept.
func (s *Serve) LogDir() string { return filepath.Join(s.DataDir, "log") }

// ReportsDir is where reports are kept until they are downloaded.
func (s *Serve) ReportsDir() string { return filepath.Join(s.DataDir, "reports") }

// SecretsFromEnvironment reads the secrets.
func SecretsFromEnvironment() Secrets {
	return Secrets{BootstrapAPIKey: os.Getenv("PULSESTREAM_BOOTSTRAP_API_KEY")}
}
