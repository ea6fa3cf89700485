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
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit/redis"
)

// Serve is the settings of a server. The tags are kong's: each field is a flag, a variable and a key of the YAML file.
type Serve struct {
	DataDir        string   `help:"Where everything is kept." default:"./pulsestream-data" type:"path" placeholder:"DIR"`
	Listen         string   `help:"Address to listen on." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	TLSCert        string   `help:"A file with the certificate that the server shows, its chain behind it: it then speaks HTTPS only. A renewed one is taken up by itself. With --tls-key." name:"tls-cert" type:"path" placeholder:"FILE"`
	TLSKey         string   `help:"A file with its key." name:"tls-key" type:"path" placeholder:"FILE"`
	Roles          []string `help:"What this process does: all, or some of ingest, worker, api." default:"all"`
	Store          string   `help:"The store of events: a DuckDB file in the data directory when missing; of events and settings, as postgres://USER:PASSWORD@HOST/DATABASE." placeholder:"URL"`
	Bus            string   `help:"The log: embedded when missing, else the servers of a NATS cluster, such as nats://HOST:4222,nats://HOST2:4222." placeholder:"URL"`
	BusCreds       string   `help:"A file with the credentials for NATS, where they are not in --bus." type:"path" placeholder:"FILE"`
	BusCA          string   `help:"A file with the certificates of authorities that NATS servers are trusted by; the system's when missing." name:"bus-ca" type:"path" placeholder:"FILE"`
	BusCert        string   `help:"A file with the certificate that is shown to NATS servers; with --bus-key." type:"path" placeholder:"FILE"`
	BusKey         string   `help:"A file with its key." type:"path" placeholder:"FILE"`
	Redis          string   `help:"Where rate limits are counted that several processes share, such as redis://HOST:6379: in process when missing." placeholder:"URL"`
	RateLimit      float64  `help:"Events a second that each tenant may send on average; 0 is no limit." default:"0" placeholder:"EVENTS_PER_SECOND"`
	EgressAllow    []string `help:"A range of private addresses that outgoing requests may reach all the same; repeatable." placeholder:"CIDR"`
	TrustedProxies []string `help:"A range of addresses of proxies whose X-Forwarded-For says who has sent a request; repeatable." name:"trusted-proxies" placeholder:"CIDR"`
	PublicURL      string   `help:"How the server is reached from outside, for the addresses it shows; the request's host when missing." placeholder:"URL"`
	BillingURL     string   `help:"Where usage of hours that are over is sent as CloudEvents, signed with the secret in PULSESTREAM_BILLING_SECRET." placeholder:"URL"`
	SecretsKey     string   `help:"A file with the master key that secrets in the catalog are encrypted under: 32 random bytes as base64 or hex; older keys on further lines. Its value can be in PULSESTREAM_SECRETS_KEY instead. A server alone makes its own when missing." type:"path" placeholder:"FILE" env:"PULSESTREAM_SECRETS_KEY_FILE"`
	SecretsKMS     string   `help:"A key of AWS KMS in its place, such as awskms:///KEY?region=eu-central-1; --secrets-key then only opens what it has encrypted before." name:"secrets-kms" placeholder:"URL"`
	LogFormat      string   `help:"json (Elastic Common Schema) or text." enum:"json,text" default:"json"`
	LogLevel       string   `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	Partitions     int      `help:"Partitions of a new log; an existing one keeps its own. 0: of a server alone one for each two processors, of a fleet four." hidden:""`
}

// How many partitions a new log has when nobody says. A partition has a worker, which keeps a processor busy with some 350 000 events/s; to receive as many and write
// them to the log keeps most of another one busy. More partitions only make the messages of the log smaller, and an fsync dearer for each event.
const (
	mostPartitions  = 256
	mostAlone       = 16
	fleetPartitions = 4
)

// NewPartitions is how many partitions a new log has, on a machine with so many processors.
func (s *Serve) NewPartitions(processors int) int {
	switch {
	case s.Partitions > 0:
		return s.Partitions
	case !s.Fleet():
		return max(1, min(processors/2, mostAlone))
	}
	return fleetPartitions
}

// Secrets come from variables only, so that they stand in no process list and no file.
type Secrets struct {
	// BootstrapAPIKey is the first administrator key of an empty store; one is made when it is empty.
	BootstrapAPIKey string
	// BillingSecret signs what is sent to BillingURL: whsec_ and the base64 of 24 to 64 bytes, by Standard Webhooks.
	BillingSecret string
	// SecretsKey is the master key, or several, that secrets in the catalog are encrypted under.
	SecretsKey string
}

// SecretsKeyVariable has the master key itself.
const SecretsKeyVariable = "PULSESTREAM_SECRETS_KEY" //nolint:gosec // its name

// Timeouts that no operator needs to set.
const (
	ShutdownTimeout = 20 * time.Second
)

// Check says all that is wrong, in words that tell what to do. It is not called Validate, which the command line's library would call itself and take what it
// says for a flag that is not known.
func (s *Serve) Check() error {
	var errs []error
	if s.DataDir == "" {
		errs = append(errs, errors.New("--data-dir is empty: name a directory"))
	}
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--listen %q: write it as HOST:PORT, such as 127.0.0.1:8080", s.Listen))
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert and --tls-key belong together: give both, or neither"))
	}
	if _, err := s.Egress(); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.Proxies(); err != nil {
		errs = append(errs, err)
	}
	if s.RateLimit < 0 {
		errs = append(errs, errors.New("--rate-limit cannot be negative"))
	}
	if s.Partitions < 0 || s.Partitions > mostPartitions {
		errs = append(errs, errors.New("--partitions must be 1 to 256, or 0 for as many as fit"))
	}
	if s.PublicURL != "" {
		if u, err := url.Parse(s.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("--public-url %q: write it as https://HOST", s.PublicURL))
		}
	}
	if s.BillingURL != "" {
		if u, err := url.Parse(s.BillingURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, errors.New("--billing-url: write it as https://HOST/PATH"))
		}
	}
	return errors.Join(append(errs, s.fleet()...)...)
}

// Roles of a process.
const (
	RoleIngest = "ingest"
	RoleWorker = "worker"
	RoleAPI    = "api"
)

// Fleet says that this is a process of a fleet, which keeps what it has in PostgreSQL and NATS.
func (s *Serve) Fleet() bool { return s.Bus != "" }

// Does says whether the process has a role.
func (s *Serve) Does(role string) bool {
	return slices.Contains(s.Roles, role) || slices.Contains(s.Roles, "all")
}

// fleet says what is wrong with the settings of a fleet.
func (s *Serve) fleet() []error {
	var errs []error
	for _, r := range s.Roles {
		if !slices.Contains([]string{"all", RoleIngest, RoleWorker, RoleAPI}, r) {
			return append(errs, fmt.Errorf("--roles %s: there is no such role: give all, or some of ingest, worker, api", r))
		}
	}
	postgres := strings.HasPrefix(s.Store, "postgres://") || strings.HasPrefix(s.Store, "postgresql://")
	switch {
	case len(s.Roles) == 0:
		errs = append(errs, errors.New("--roles is empty: leave it out, or give some of ingest, worker, api"))
	case !postgres && strings.Contains(s.Store, "://"):
		errs = append(errs, fmt.Errorf("--store %s: write it as postgres://USER:PASSWORD@HOST/DATABASE, or name a file", redact(s.Store)))
	case s.Bus != "" && !postgres:
		errs = append(errs, errors.New("--bus is for several processes, which need a store that they share: give --store postgres://… too"))
	case s.Bus == "" && postgres:
		errs = append(errs, errors.New("--store postgres://… is for several processes, which need a log that they share: give --bus nats://… too"))
	case s.Bus == "" && !s.all():
		errs = append(errs, fmt.Errorf("--roles %s: a process that does not do all needs others beside it, and with them --store postgres://… and --bus nats://…", strings.Join(s.Roles, ",")))
	}
	if s.Bus != "" {
		errs = append(errs, s.bus()...)
	}
	if s.Redis != "" {
		if err := redis.Check(s.Redis); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (s *Serve) all() bool { return s.Does(RoleIngest) && s.Does(RoleWorker) && s.Does(RoleAPI) }

// bus says what is wrong with the addresses of NATS servers, and without the passwords in them.
func (s *Serve) bus() []error {
	var errs []error
	for server := range strings.SplitSeq(s.Bus, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			errs = append(errs, fmt.Errorf("--bus %s: write each server as nats://USER:PASSWORD@HOST:4222 or tls://…, with commas between them", redact(server)))
		}
	}
	if (s.BusCert == "") != (s.BusKey == "") {
		errs = append(errs, errors.New("--bus-cert and --bus-key belong together: give both, or neither"))
	}
	for _, f := range []struct{ flag, path string }{{"--bus-creds", s.BusCreds}, {"--bus-ca", s.BusCA}, {"--bus-cert", s.BusCert}, {"--bus-key", s.BusKey}} {
		if _, err := os.Stat(f.path); f.path != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.flag, err))
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
func (s *Serve) Egress() ([]netip.Prefix, error) { return ranges("--egress-allow", s.EgressAllow) }

// Proxies is TrustedProxies, read.
func (s *Serve) Proxies() ([]netip.Prefix, error) {
	return ranges("--trusted-proxies", s.TrustedProxies)
}

func ranges(flag string, all []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(all))
	for _, c := range all {
		p, err := netip.ParsePrefix(strings.TrimSpace(c))
		if err != nil {
			a, aerr := netip.ParseAddr(strings.TrimSpace(c))
			if aerr != nil {
				return nil, fmt.Errorf("%s %q: write it as a range, such as 10.1.0.0/16", flag, c)
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
	return Secrets{BootstrapAPIKey: os.Getenv("PULSESTREAM_BOOTSTRAP_API_KEY"), BillingSecret: os.Getenv("PULSESTREAM_BILLING_SECRET"), SecretsKey: os.Getenv(SecretsKeyVariable)}
}
