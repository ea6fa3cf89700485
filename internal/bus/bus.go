// Package bus is the log that everything hangs on: events are acknowledged once it has them on disk, and every later stage
// can be rebuilt from it. It is NATS JetStream, embedded in the process, with an fsync for each message; this is the only
// package that imports NATS.
//
// Each partition is a stream of its own, so that partitions are synced, read and repaired independently.
package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// MaxPayload is the largest batch one log message takes, in bytes. It fits the default limit of a NATS cluster.
const MaxPayload = 1<<20 - 64<<10

const (
	metaIncarnation = "pulsestream.incarnation"
	metaPartitions  = "pulsestream.partitions"
	startTimeout    = 30 * time.Second
	requestTimeout  = 10 * time.Second
	catalogSubject  = "catalog.changed"
)

// Config says where the log is and how it is kept.
type Config struct {
	// Dir is where the embedded log keeps its files.
	Dir string
	// Partitions is the number a new log is made with; an existing one keeps its own.
	Partitions int
	// Retention is how long messages are kept; 0 keeps them for 7 days.
	Retention time.Duration
	Log       *slog.Logger
}

// Bus is an open log.
type Bus struct {
	cfg      Config
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	producer uint64
	parts    []*partition
}

type partition struct {
	subject     string
	stream      string
	incarnation string
	mu          sync.Mutex // one append at a time: the order of numbers is the order in the log
	frame       []byte
	number      atomic.Uint64
}

// Open starts the embedded log, making what is missing.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.Partitions <= 0 {
		return nil, errors.New("bus: Partitions must be at least 1")
	}
	if cfg.Retention <= 0 {
		cfg.Retention = 7 * 24 * time.Hour
	}
	b := &Bus{cfg: cfg}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	b.producer = binary.BigEndian.Uint64(seed[:])
	if err := b.start(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) start(ctx context.Context) error {
	opts := &server.Options{
		ServerName: "pulsestream", DontListen: true, NoSigs: true, JetStream: true, StoreDir: b.cfg.Dir,
		SyncAlways: true, DisableJetStreamBanner: true, NoSystemAccount: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 50, // the disk is the limit; nearness to it is watched elsewhere
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("start the embedded log: %w", err)
	}
	srv.SetLoggerV2(logger{b.cfg.Log}, false, false, false)
	b.server = srv
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		return fmt.Errorf("the embedded log in %s was not ready within %s: is another process using the directory?", b.cfg.Dir, startTimeout)
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return fmt.Errorf("connect to the embedded log: %w", err)
	}
	b.js, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("connect to the embedded log: %w", err)
	}
	return b.openStreams(ctx)
}

// openStreams opens partition 0, which knows how many there are, and then the others.
func (b *Bus) openStreams(ctx context.Context) error {
	first, err := b.openStream(ctx, 0, b.cfg.Partitions)
	if err != nil {
		return err
	}
	info, err := b.js.Stream(ctx, first.stream)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	n, err := strconv.Atoi(info.CachedInfo().Config.Metadata[metaPartitions])
	if err != nil || n < 1 {
		return fmt.Errorf("the log in %s does not say how many partitions it has: it was not made by this program", b.cfg.Dir)
	}
	b.parts = []*partition{first}
	for p := 1; p < n; p++ {
		part, err := b.openStream(ctx, p, n)
		if err != nil {
			return err
		}
		b.parts = append(b.parts, part)
	}
	return nil
}

func (b *Bus) openStream(ctx context.Context, p, partitions int) (*partition, error) {
	part := &partition{subject: "events." + strconv.Itoa(p), stream: "EVENTS_" + strconv.Itoa(p)}
	s, err := b.js.Stream(ctx, part.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		s, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: part.stream, Subjects: []string{part.subject}, Storage: jetstream.FileStorage,
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxAge: b.cfg.Retention,
			MaxMsgs: -1, MaxBytes: -1, Replicas: 1, Duplicates: time.Second, DenyDelete: true, DenyPurge: true,
			Metadata: map[string]string{metaIncarnation: hex.EncodeToString(id[:]), metaPartitions: strconv.Itoa(partitions)},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open partition %d of the log: %w", p, err)
	}
	part.incarnation = s.CachedInfo().Config.Metadata[metaIncarnation]
	if part.incarnation == "" {
		return nil, fmt.Errorf("partition %d of the log in %s has no incarnation: it was not made by this program", p, b.cfg.Dir)
	}
	return part, nil
}

// Partitions is the number of partitions, fixed when the log was made.
func (b *Bus) Partitions() int { return len(b.parts) }

// Append writes one message and returns its sequence number once it is on disk. When it fails the message may be in the log
// or not: nobody must be told that it was taken.
func (b *Bus) Append(ctx context.Context, p int, payload []byte) (uint64, error) {
	part := b.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.frame = appendFrame(part.frame[:0], b.producer, part.number.Add(1), payload)
	ack, err := b.js.Publish(ctx, part.subject, part.frame)
	if err != nil {
		return 0, fmt.Errorf("append to partition %d of the log: %w", p, err)
	}
	return ack.Sequence, nil
}

// Tail says which incarnation a partition's log is in, and the first and last sequence numbers it holds.
func (b *Bus) Tail(ctx context.Context, p int) (incarnation string, first, last uint64, err error) {
	part := b.parts[p]
	s, err := b.js.Stream(ctx, part.stream)
	if err != nil {
		return "", 0, 0, fmt.Errorf("look at partition %d of the log: %w", p, err)
	}
	st := s.CachedInfo().State
	return part.incarnation, st.FirstSeq, st.LastSeq, nil
}

// AnnounceCatalog tells every process that the catalog of a tenant has changed. It is a hint: it may be lost.
func (b *Bus) AnnounceCatalog(t tenant.ID) {
	if err := b.conn.Publish(catalogSubject, []byte(t)); err != nil {
		b.cfg.Log.Warn("catalog change not announced; processes will notice it by themselves within seconds", "tenant.id", string(t), "error.message", err.Error())
	}
}

// OnCatalogChange calls f, from one goroutine, for each announced change until stop is called.
func (b *Bus) OnCatalogChange(f func(tenant.ID)) (stop func(), err error) {
	sub, err := b.conn.Subscribe(catalogSubject, func(m *nats.Msg) { f(tenant.ID(m.Data)) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to changes of the catalog: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Healthy says why the log cannot take messages, or nil.
func (b *Bus) Healthy() error {
	if b.server == nil || !b.server.Running() || b.conn == nil || !b.conn.IsConnected() {
		return errors.New("the embedded log is not running")
	}
	if !b.server.JetStreamEnabled() {
		return errors.New("the embedded log has stopped taking messages: look for a full or failing disk")
	}
	return nil
}

// Close ends the log. What was acknowledged is on disk.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}
