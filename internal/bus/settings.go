package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pulsestream/pulsestream/internal/event"
)

// What is made in a cluster, which may serve others too.
const (
	prefix   = "pulsestream."
	replicas = 3
	// serversSubject asks every server how it is set. Who may ask is up to the cluster's configuration: by default only the system account.
	serversSubject = "$SYS.REQ.SERVER.PING.VARZ"
	serversWait    = 500 * time.Millisecond
	// serversPatience bounds the wait for those that have not answered.
	serversPatience = 3 * time.Second
	// oldestServer is the first version whose sync_interval: always has no holes that are known.
	oldestServer = "2.15.2"
	// headRoom is what a message takes beside the payload of its frame.
	headRoom = frameHeader + 256
	// maxSkew is how far a server's clock may be off: messages become too old by it.
	maxSkew = time.Minute
)

func clusterStream(p int) string  { return fmt.Sprintf("PULSESTREAM_%d", p) }
func clusterSubject(p int) string { return fmt.Sprintf("%sevents.%d", prefix, p) }

// nothing is a batch without events.
func nothing() []byte { return event.BeginBatch(nil) }

// Errors of a start that everybody can put right.
var (
	errNoJetStream = errors.New("the NATS servers in --bus have no JetStream for this account: add jetstream { store_dir: …, sync_interval: always } to their configuration, and jetstream: enabled to the account")
	errNoCluster   = fmt.Errorf("the NATS servers in --bus cannot keep %d replicas of the log: it needs a JetStream cluster of at least %d servers that see each other", replicas, replicas)
)

// connect connects to any of the servers.
func connect(cfg *ClusterConfig) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("pulsestream"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 100*time.Millisecond),
		nats.Timeout(2 * time.Second), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				cfg.Log.Warn("the connection to a NATS server has ended; another one is tried", "error.message", err.Error())
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			cfg.Log.Info("connected to a NATS server again", "server.address", c.ConnectedAddr())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			cfg.Log.Warn("NATS", "error.message", err.Error())
		}),
	}
	if cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Certificate != "" {
		opts = append(opts, nats.ClientCert(cfg.Certificate, cfg.Key))
	}
	deadline := time.Now().Add(clusterStart)
	for {
		conn, err := nats.Connect(cfg.Servers, opts...)
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
			return nil, fmt.Errorf("the NATS servers in --bus refuse the user: give user and password in the address, or --bus-creds FILE")
		case !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout) || time.Now().After(deadline):
			return nil, fmt.Errorf("no NATS server in --bus (%s) can be reached: %w", hosts(cfg.Servers), err)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// hosts are the servers' addresses without credentials.
func hosts(servers string) string {
	var out []string
	for s := range strings.SplitSeq(servers, ",") {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil {
			out = append(out, u.Host)
		}
	}
	return strings.Join(out, ", ")
}

// Synced is what is known of when servers write to disk.
type Synced struct {
	Servers int // that have said that they sync each message before they acknowledge it
	Unknown bool
}

func (s Synced) String() string {
	if s.Unknown {
		return "unknown"
	}
	return "always"
}

// serverInfo is what a server says of itself.
type serverInfo struct {
	Server struct {
		Name    string `json:"name"`
		Version string `json:"ver"`
	} `json:"server"`
	Data struct {
		MaxPayload int64     `json:"max_payload"`
		Now        time.Time `json:"now"`
		JetStream  struct {
			Config *struct {
				SyncAlways   bool          `json:"sync_always"`
				SyncInterval time.Duration `json:"sync_interval"`
			} `json:"config"`
		} `json:"jetstream"`
	} `json:"data"`
}

// checkServers looks at every server that says how it is set, and else at the one that is connected.
func (c *Cluster) checkServers(ctx context.Context) (Synced, error) {
	if err := checkVersion(c.conn.ConnectedServerName(), c.conn.ConnectedServerVersion()); err != nil {
		return Synced{}, err
	}
	if err := checkPayload(c.conn.ConnectedServerName(), c.conn.MaxPayload()); err != nil {
		return Synced{}, err
	}
	servers, err := c.askServers(ctx)
	if err != nil {
		return Synced{}, err
	}
	found := Synced{Unknown: len(servers) == 0}
	for i := range servers {
		if err := checkServer(&servers[i], time.Now()); err != nil {
			return Synced{}, err
		}
		if servers[i].Data.JetStream.Config != nil {
			found.Servers++
		}
	}
	if !found.Unknown && found.Servers == 0 {
		return found, errNoJetStream
	}
	if found.Unknown {
		c.cfg.Log.Warn("the NATS servers do not tell this account how they are set: make sure that each has jetstream { sync_interval: always }, or a power cut loses acknowledged events; " +
			"to have it checked, export the service " + serversSubject + " from the system account and import it here")
	}
	return found, nil
}

// askServers asks all servers how they are set, again for a while when not all of a cluster have answered: they may be starting too. There are none in
// what it returns where nobody may ask.
func (c *Cluster) askServers(ctx context.Context) ([]serverInfo, error) {
	deadline := time.Now().Add(serversPatience)
	for {
		servers, forbidden, err := c.askServersOnce(ctx)
		if err != nil || forbidden || len(servers) >= replicas || time.Now().After(deadline) || ctx.Err() != nil {
			return servers, err
		}
	}
}

// askServersOnce also says whether it is certain that nobody listens to such a question.
func (c *Cluster) askServersOnce(ctx context.Context) (servers []serverInfo, forbidden bool, err error) {
	sub, err := c.conn.SubscribeSync(c.conn.NewInbox())
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.conn.PublishRequest(serversSubject, sub.Subject, nil); err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, serversWait)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		var s serverInfo
		if err != nil || json.Unmarshal(m.Data, &s) != nil || s.Server.Name == "" {
			return servers, errors.Is(err, nats.ErrNoResponders), nil // nobody answers any more
		}
		servers = append(servers, s)
	}
}

// checkServer says what is wrong with a server's settings.
func checkServer(s *serverInfo, now time.Time) error {
	name := s.Server.Name
	if err := checkVersion(name, s.Server.Version); err != nil {
		return err
	}
	if err := checkPayload(name, s.Data.MaxPayload); err != nil {
		return err
	}
	if d := s.Data.Now.Sub(now).Abs(); !s.Data.Now.IsZero() && d > maxSkew {
		return fmt.Errorf("the clock of the NATS server %s is %s off: synchronize the machines' clocks", name, d.Round(time.Second))
	}
	if js := s.Data.JetStream.Config; js != nil && !js.SyncAlways {
		return fmt.Errorf("the NATS server %s writes to disk only every %s (jetstream sync_interval), so a power cut would lose acknowledged events: set sync_interval: always in its jetstream block and restart it",
			name, js.SyncInterval)
	}
	return nil
}

func checkVersion(name, version string) error {
	var have, need [3]int
	n, _ := fmt.Sscanf(version, "%d.%d.%d", &have[0], &have[1], &have[2])
	if _, err := fmt.Sscanf(oldestServer, "%d.%d.%d", &need[0], &need[1], &need[2]); err != nil {
		return err
	}
	if n < len(have) {
		return fmt.Errorf("the NATS server %s says it is of version %q: it has to be %s or newer", name, version, oldestServer)
	}
	for i := range need {
		if have[i] != need[i] {
			if have[i] > need[i] {
				break
			}
			return fmt.Errorf("the NATS server %s is of version %s, which can lose acknowledged messages: update it to %s or newer", name, version, oldestServer)
		}
	}
	return nil
}

func checkPayload(name string, most int64) error {
	if need := int64(MaxPayload + headRoom); most < need {
		return fmt.Errorf("the NATS server %s takes messages of at most %d bytes (max_payload): set it to at least %d", name, most, need)
	}
	return nil
}

// checkStream says what of a stream's settings would lose acknowledged messages.
func checkStream(info *jetstream.StreamInfo, retention time.Duration, now time.Time) error {
	s := &info.Config
	wrong := ""
	switch {
	case s.Replicas < replicas:
		wrong = fmt.Sprintf("keeps %d replicas of the log, so the loss of one server could lose acknowledged events: nats stream edit %s --replicas=%d", s.Replicas, s.Name, replicas)
	case s.Storage != jetstream.FileStorage:
		wrong = "is kept in memory: delete it and have PulseStream make it"
	case s.PersistMode == jetstream.AsyncPersistMode:
		wrong = "acknowledges before it writes (persist mode async): delete it and have PulseStream make it"
	case s.NoAck:
		wrong = "acknowledges nothing (no_ack): nats stream edit " + s.Name + " --ack"
	case s.Retention != jetstream.LimitsPolicy:
		wrong = "removes messages once they are read (its retention is " + s.Retention.String() + "): delete it and have PulseStream make it"
	case s.MaxAge > 0 && s.MaxAge < retention:
		wrong = fmt.Sprintf("keeps messages for %s only: nats stream edit %s --max-age=%s", s.MaxAge, s.Name, retention)
	case s.MaxMsgs > 0:
		wrong = fmt.Sprintf("keeps %d messages only (max_msgs): nats stream edit %s --max-msgs=-1", s.MaxMsgs, s.Name)
	case s.MaxBytes > 0:
		wrong = fmt.Sprintf("keeps %d bytes only (max_bytes): nats stream edit %s --max-bytes=-1", s.MaxBytes, s.Name)
	case s.MaxMsgsPerSubject > 0:
		wrong = fmt.Sprintf("keeps %d messages of a subject only: nats stream edit %s --max-msgs-per-subject=-1", s.MaxMsgsPerSubject, s.Name)
	case s.MaxMsgSize > 0 && int(s.MaxMsgSize) < MaxPayload+headRoom:
		wrong = fmt.Sprintf("takes messages of at most %d bytes (max_msg_size): nats stream edit %s --max-msg-size=-1", s.MaxMsgSize, s.Name)
	case s.Sealed || s.Mirror != nil:
		wrong = "takes no messages: it is sealed, or a mirror"
	case s.Metadata[metaIncarnation] == "":
		wrong = "was not made by PulseStream: delete it if nobody needs it"
	}
	if wrong != "" {
		return fmt.Errorf("the NATS stream %s %s", s.Name, wrong)
	}
	if d := info.TimeStamp.Sub(now).Abs(); !info.TimeStamp.IsZero() && d > maxSkew {
		return fmt.Errorf("the clock of the NATS server that leads the stream %s is %s off: synchronize the machines' clocks", s.Name, d.Round(time.Second))
	}
	return nil
}
