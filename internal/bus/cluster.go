package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClusterConfig says where a cluster's log is.
type ClusterConfig struct {
	// Servers are the addresses, with credentials if they have any, separated by commas: nats://user:password@host:4222 or tls://….
	Servers string
	// Credentials is a file of credentials (.creds), CA one of the authorities to trust, Certificate and Key those to show; empty for none.
	Credentials, CA, Certificate, Key string
	// Partitions is the number that a new log is made with; an existing one keeps its own.
	Partitions int
	// Retention is how long a new log keeps messages, and an existing one has to; 0 is DefaultRetention.
	Retention time.Duration
	// Committed says how far the store has read a partition, "" when it has read nothing. The log must not be shorter.
	Committed func(ctx context.Context, partition int) (incarnation string, seq uint64, err error)
	// AppendTimeout bounds an Append; 0 is ten seconds.
	AppendTimeout time.Duration
	Log           *slog.Logger
}

// Cluster is the log of a fleet: a NATS JetStream cluster that keeps each message on the disks of most of its servers before it is
// acknowledged. Any number of processes append and read.
//
// The cluster's servers mend their files from each other, so nothing here looks at files. What remains of the embedded log's care is: the settings of
// servers and streams are checked at the start (settings.go), each message is a frame with a checksum, an incarnation tells a log from another one of
// the same name, and a partition that ends before what was already read from it, or acknowledged, is an alarm (shorter).
type Cluster struct {
	link
	cfg      ClusterConfig
	end      context.CancelFunc
	producer uint64
	parts    []*remote
	synced   Synced
	running  sync.WaitGroup

	mu      sync.Mutex
	failure error // why the log takes no messages for good: it has lost some
}

// remote is a partition of a cluster's log.
type remote struct {
	index       int
	incarnation string
	turn        chan struct{} // holds a token while an append of this process is under way
	number      uint64        // of this process's last append; belongs to whoever has the turn, as frame and acked do
	frame       []byte
	acked       uint64
	high        atomic.Uint64 // the highest message known to have been there
	first       atomic.Uint64
	seen        atomic.Int64 // when the cluster last said where the partition stands, Unix nanoseconds
	sizes       sizes
	gone, short int // how many times in a row it was not found, or found to be shorter than it was; belongs to the watch
}

const (
	// clusterWatch is how often a cluster is asked where the log stands, and clusterSilence how long it may fail to say before appends are refused at once.
	clusterWatch   = time.Second
	clusterSilence = 5 * time.Second
	// clusterStart is how long a start waits for a cluster, whose servers may be starting too.
	clusterStart = 30 * time.Second
	// attempt bounds one attempt of an append: then it is sent again.
	attempt      = 2 * time.Second
	attemptPause = 50 * time.Millisecond
	// duplicates is how long JetStream remembers which messages it has, so that one that is sent again is not taken twice.
	duplicates = 2 * time.Minute
	// shorterFor is how many looks in a row have to find a partition shorter than it was: a server that has just become its leader may need a moment.
	shorterFor = 10
	// goneFor is how many have to find no stream: servers that have just chosen a leader may not know all streams yet.
	goneFor = 3
)

// OpenCluster connects to a cluster's log, making it when there is none. It refuses one whose settings would lose acknowledged messages.
func OpenCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	if cfg.Partitions <= 0 || cfg.Partitions > maxPartitions {
		return nil, fmt.Errorf("bus: Partitions must be between 1 and %d", maxPartitions)
	}
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.AppendTimeout <= 0 {
		cfg.AppendTimeout = appendTimeout
	}
	c := &Cluster{cfg: cfg}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	c.producer = binary.BigEndian.Uint64(seed[:])
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.running.Go(func() { c.watch(c.ctx) })
	return c, nil
}

func (c *Cluster) open(ctx context.Context) (err error) {
	if c.conn, err = connect(&c.cfg); err != nil {
		return err
	}
	if c.js, err = jetstream.New(c.conn, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()
	if c.synced, err = c.checkServers(ctx); err != nil {
		return err
	}
	return c.openStreams(ctx)
}

// openStreams opens each partition's stream, or makes it. The first one's description says how many there are.
func (c *Cluster) openStreams(ctx context.Context) error {
	n := c.cfg.Partitions
	for p := 0; p < n; p++ {
		s, err := c.openStream(ctx, p, n)
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		kept, err := strconv.Atoi(info.Config.Metadata[metaPartitions])
		if err != nil || kept <= 0 || kept > maxPartitions || p > 0 && kept != n {
			return fmt.Errorf("the NATS stream %s is not one of PulseStream's, or of another log: its metadata say %q partitions; delete it if nobody needs it", clusterStream(p),
				info.Config.Metadata[metaPartitions])
		}
		n = kept
		part := &remote{index: p, incarnation: info.Config.Metadata[metaIncarnation], turn: make(chan struct{}, 1)}
		if err := c.checkLength(ctx, part, s); err != nil {
			return err
		}
		part.saw(&info.State)
		c.parts = append(c.parts, part)
	}
	return nil
}

// openStream opens a stream or makes it. Servers that have just been started need a moment until they can.
func (c *Cluster) openStream(ctx context.Context, p, partitions int) (s jetstream.Stream, err error) {
	want := jetstream.StreamConfig{
		Name: clusterStream(p), Subjects: []string{clusterSubject(p)}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxAge: c.cfg.Retention,
		MaxMsgs: -1, MaxBytes: -1, Replicas: replicas, Duplicates: duplicates, DenyDelete: true, DenyPurge: true,
		Metadata: map[string]string{metaIncarnation: newIncarnation(), metaPartitions: strconv.Itoa(partitions)},
	}
	for {
		if s, err = c.tryStream(ctx, want); err == nil {
			info := s.CachedInfo()
			return s, checkStream(info, c.cfg.Retention, time.Now())
		}
		waited := pause(ctx, 200*time.Millisecond)
		if why := hopeless(ctx, err); why != nil {
			return nil, why
		}
		if !waited {
			return nil, fmt.Errorf("the NATS cluster in --bus does not open partition %d of the log: %w: look whether its servers see each other", p, err)
		}
	}
}

// tryStream opens a stream or makes it, once.
func (c *Cluster) tryStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*attempt) // servers that choose a leader at this moment may not answer at all
	defer cancel()
	s, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = c.js.CreateStream(ctx, want) // in use: another process has made it meanwhile
	}
	return s, err
}

// hopeless says why trying again is no use, or nil.
func hopeless(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return errNoJetStream
	case errors.As(err, &api) && api.ErrorCode == errCodeReplicasUnsupported:
		return errNoCluster
	case errors.Is(err, nats.ErrNoResponders) && ctx.Err() != nil:
		return errNoJetStream
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("the user in --bus may not make streams in NATS (%w): give it the permissions that docs/operations.md lists", err)
	case errors.As(err, &api) && api.ErrorCode == errCodeNoPeers && ctx.Err() != nil:
		return errNoCluster
	}
	return nil
}

// errors of JetStream's API that the client library has no names for.
const (
	errCodeReplicasUnsupported = 10074
	errCodeNoPeers             = 10005
)

// checkLength makes sure that a partition has what the store has read of it.
func (c *Cluster) checkLength(ctx context.Context, part *remote, s jetstream.Stream) error {
	if c.cfg.Committed == nil {
		return nil
	}
	incarnation, seq, err := c.cfg.Committed(ctx, part.index)
	if err != nil || incarnation == "" {
		return err
	}
	if incarnation != part.incarnation {
		return fmt.Errorf("partition %d: %w (message %d of incarnation %s; this is %s): name the servers in --bus that have it, or use an empty database",
			part.index, ErrForeign, seq, incarnation, part.incarnation)
	}
	for tries := 0; ; tries++ {
		last := s.CachedInfo().State.LastSeq
		if last >= seq {
			return nil
		}
		if tries == shorterFor || !pause(ctx, 300*time.Millisecond) {
			return c.shorter(part, last, seq)
		}
		if _, err := s.Info(ctx); err != nil {
			return fmt.Errorf("look at partition %d of the log: %w", part.index, err)
		}
	}
}

// shorter is the alarm of a partition that ends with last although it has had the message seq.
func (c *Cluster) shorter(part *remote, last, seq uint64) error {
	return fmt.Errorf("%w: partition %d ends with message %d, but had %d: the NATS servers have lost acknowledged messages; put their data back, or start with an empty log and an empty database",
		ErrShorter, part.index, last, seq)
}

// Partitions is the number of partitions, fixed when the log was made.
func (c *Cluster) Partitions() int { return len(c.parts) }

// Losses are none that can be named: servers mend their files from each other.
func (c *Cluster) Losses() []Loss { return nil }

// Repairs are the servers' own affair.
func (c *Cluster) Repairs() []Repair { return nil }

// Synced says what is known of when the servers write to disk.
func (c *Cluster) Synced() Synced { return c.synced }

// Knows says whether the number seq of an incarnation means the same message in this log.
func (c *Cluster) Knows(p int, incarnation string, _ uint64) bool {
	return incarnation == c.parts[p].incarnation
}

// Pending says how much a reader that has read up to after has still to read, roughly, as of the last second.
func (c *Cluster) Pending(p int, after uint64) (messages, bytes uint64) {
	return c.parts[p].sizes.behind(after)
}

// up says why no partition takes messages, or nil.
func (c *Cluster) up() error {
	c.mu.Lock()
	failure := c.failure
	c.mu.Unlock()
	switch {
	case failure != nil:
		return failure
	case c.ctx.Err() != nil:
		return ErrClosed
	case !c.conn.IsConnected():
		return fmt.Errorf("%w: no NATS server can be reached", ErrUnavailable)
	}
	return nil
}

// Healthy says why the log cannot take messages, or nil.
func (c *Cluster) Healthy() error {
	if err := c.up(); err != nil {
		return err
	}
	for _, part := range c.parts {
		if err := part.silent(); err != nil {
			return err
		}
	}
	return nil
}

// silent says that the cluster has not spoken of a partition for some time: nobody leads it.
func (part *remote) silent() error {
	if d := time.Since(time.Unix(0, part.seen.Load())); d > clusterSilence {
		return fmt.Errorf("%w: the NATS cluster has not said for %s where partition %d stands", ErrUnavailable, d.Round(time.Second), part.index)
	}
	return nil
}

// saw notes where a partition stands.
func (part *remote) saw(state *jetstream.StreamState) {
	part.seen.Store(time.Now().UnixNano())
	part.first.Store(state.FirstSeq)
	size := state.Bytes / max(state.Msgs, 1)
	part.sizes.grown(max(state.FirstSeq, 1)-1, state.LastSeq, size)
	part.reached(state.LastSeq)
}

// reached notes that a message is in the log.
func (part *remote) reached(seq uint64) {
	for {
		high := part.high.Load()
		if seq <= high || part.high.CompareAndSwap(high, seq) {
			return
		}
	}
}

// watch asks where the log stands until ctx ends.
func (c *Cluster) watch(ctx context.Context) {
	ticker := time.NewTicker(clusterWatch)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var looks sync.WaitGroup // one of which nobody knows must not keep the others waiting
		for _, part := range c.parts {
			looks.Go(func() { c.look(ctx, part) })
		}
		looks.Wait()
	}
}

func (c *Cluster) look(ctx context.Context, part *remote) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	high := part.high.Load()
	s, err := c.js.Stream(ctx, clusterStream(part.index))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if part.gone++; part.gone < goneFor {
			return
		}
		c.fail(fmt.Errorf("the NATS stream %s is gone: put it back, or start with an empty log and an empty database", clusterStream(part.index)))
		return
	}
	if err != nil {
		return
	}
	part.gone = 0
	info := s.CachedInfo()
	if info.Config.Metadata[metaIncarnation] != part.incarnation {
		c.fail(fmt.Errorf("partition %d: %w: the NATS stream was made anew", part.index, ErrForeign))
		return
	}
	part.saw(&info.State)
	if info.State.LastSeq >= high {
		part.short = 0
	} else if part.short++; part.short >= shorterFor {
		c.fail(c.shorter(part, info.State.LastSeq, high))
	}
}

// fail has the log take no messages any more: what is said of it is an alarm that somebody has to act on.
func (c *Cluster) fail(err error) {
	c.mu.Lock()
	known := c.failure != nil
	if !known {
		c.failure = err
	}
	c.mu.Unlock()
	if !known {
		c.cfg.Log.Error("the log takes no messages any more", "error.message", err.Error())
	}
}

// Close ends the connection. What was acknowledged is on the servers' disks.
func (c *Cluster) Close() {
	c.link.close(c.end)
	c.running.Wait()
}

func (l *link) close(end context.CancelFunc) {
	end()
	if l.conn != nil {
		_ = l.conn.FlushTimeout(time.Second) // what was told to other processes
		l.conn.Close()
	}
}

// pause waits, and says whether ctx is still good.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
