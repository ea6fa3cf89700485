package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// link is a connection to a server, the embedded one or one of a cluster's.
type link struct {
	conn *nats.Conn
	js   jetstream.JetStream
	ctx  context.Context // ends with it
}

// life is one run of the embedded server. When JetStream fails, one life ends and another begins.
type life struct {
	link
	server *server.Server
	end    context.CancelFunc
	// Each partition has an address for the answers to its appends, of which one is under way at a time.
	inboxes []string
	replies []chan *nats.Msg
}

// identify finds out which log this is: from its identity, or for one that has none from JetStream's files, or makes a new one.
func (b *Bus) identify() error {
	now := time.Now()
	l, found, err := openLedger(b.guard(), now)
	if err != nil {
		return err
	}
	b.ledger = l
	if found && l.partitions() > 0 {
		return nil
	}
	n := b.cfg.Partitions
	for p := 0; p < n; p++ {
		raw, info, err := readMeta(streamDir(b.cfg.Dir, p), streamName(p))
		id := partitionIdentity{Incarnation: info.Metadata[metaIncarnation], Meta: raw}
		if kept, e := strconv.Atoi(info.Metadata[metaPartitions]); err == nil && e == nil && kept > 0 && kept <= maxPartitions {
			n = kept
		}
		if err != nil || id.Incarnation == "" {
			id = b.cfg.beginning(p).identity(now)
		}
		if _, err := os.Stat(streamDir(b.cfg.Dir, n)); p == n-1 && err == nil && id.Meta == nil {
			n++ // the first description is gone, but there are more streams
		}
		l.identity.Partitions = append(l.identity.Partitions, id)
	}
	return l.saveIdentity()
}

// bring looks at the files and starts a life.
func (b *Bus) bring(ctx context.Context, f fault) error {
	in := &inspector{dir: b.cfg.Dir, guard: b.guard(), ledger: b.ledger, committed: b.cfg.Committed, retention: b.cfg.Retention, now: time.Now(),
		log: b.cfg.Log, distrust: f.life != nil, suspects: f.suspects, all: b.cfg.VerifyAll}
	var found []*inspection
	for p := range b.parts {
		x, err := in.partition(ctx, p)
		if err != nil {
			return err
		}
		found = append(found, x)
	}
	l, err := b.begin(ctx)
	if err != nil {
		return err
	}
	for p, x := range found {
		if err := b.openPartition(ctx, l, b.parts[p], x); err != nil {
			b.end(l, false)
			return err
		}
	}
	if err := b.ledger.saveIdentity(); err != nil {
		b.end(l, false)
		return err
	}
	b.mu.Lock()
	b.life, b.down = l, nil
	b.mu.Unlock()
	return nil
}

// begin starts the embedded server and connects to it.
func (b *Bus) begin(ctx context.Context) (*life, error) {
	opts := &server.Options{
		ServerName: "pulsestream", DontListen: true, NoSigs: true, JetStream: true, StoreDir: b.cfg.Dir,
		SyncAlways: true, DisableJetStreamBanner: true, NoSystemAccount: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 50, // the disk is the limit; nearness to it is watched elsewhere
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start the embedded log: %w", err)
	}
	l := &life{server: srv}
	l.ctx, l.end = context.WithCancel(context.WithoutCancel(ctx))
	srv.SetLoggerV2(logger{b.cfg.Log, func(text string) { b.report(fault{life: l, reason: text}) }}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		l.close()
		return nil, fmt.Errorf("the embedded log in %s was not ready within %s: is another process using the directory, or is the disk full?", b.cfg.Dir, startTimeout)
	}
	l.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err == nil {
		l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(requestTimeout))
	}
	if err == nil {
		_, err = l.conn.Subscribe(catalogSubject, b.heard)
	}
	for range b.parts {
		inbox, replies := nats.NewInbox(), make(chan *nats.Msg, 1)
		l.inboxes, l.replies = append(l.inboxes, inbox), append(l.replies, replies)
		if err == nil {
			_, err = l.conn.ChanSubscribe(inbox, replies)
		}
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connect to the embedded log: %w", err)
	}
	return l, nil
}

// openPartition opens a stream, or makes it, and compares it with what the files were found to hold.
func (b *Bus) openPartition(ctx context.Context, l *life, part *partition, x *inspection) error {
	p := part.index
	id := b.ledger.part(p)
	want := jetstream.StreamConfig{
		Name: streamName(p), Subjects: []string{subjectName(p)}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxAge: b.cfg.Retention,
		MaxMsgs: -1, MaxBytes: -1, Replicas: 1, Duplicates: 100 * time.Millisecond, DenyDelete: true, DenyPurge: true,
		Metadata: map[string]string{metaIncarnation: id.Incarnation, metaPartitions: strconv.Itoa(len(b.parts))},
	}
	s, err := l.js.Stream(ctx, want.Name)
	last := x.last()
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if g := b.cfg.beginning(p); x.fresh && g.Seq > 0 {
			want.FirstSeq, last = g.Seq+1, g.Seq
		}
		s, err = l.js.CreateStream(ctx, want)
	case err == nil && s.CachedInfo().Config.MaxAge != want.MaxAge:
		s, err = l.js.UpdateStream(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("open partition %d of the log: %w", p, err)
	}
	state := s.CachedInfo().State
	if state.LastSeq != last {
		return fmt.Errorf("partition %d of the log ends with message %d in its files, but the embedded server says %d: keep a copy of %s and report this",
			p, last, state.LastSeq, b.cfg.Dir)
	}
	raw, _, err := readMeta(streamDir(b.cfg.Dir, p), streamName(p))
	if err != nil {
		return fmt.Errorf("open partition %d of the log: %w", p, err)
	}
	id.Meta = raw
	b.ledger.setPart(p, id)
	at := position{incarnation: id.Incarnation, first: max(state.FirstSeq, 1), last: state.LastSeq, number: x.mark.number}
	m, err := openMark(markPath(b.guard(), p), x.generation, at)
	if err != nil {
		return err
	}
	part.mu.Lock()
	part.mark = m
	part.mu.Unlock()
	part.sizes.set(x.blocks)
	part.pending.set(x.unverified())
	return nil
}

// publish sends a frame to a partition. The answer comes to its replies.
func (l *life) publish(p int, frame []byte) error {
	return l.conn.PublishRequest(subjectName(p), l.inboxes[p], frame)
}

// ack is the number that JetStream has given a message, or why it has not.
func ack(m *nats.Msg) (uint64, error) {
	if seq, ok := usualAck(m.Data); ok {
		return seq, nil
	}
	if len(m.Data) == 0 {
		return 0, fmt.Errorf("the server answered %q", m.Header.Get("Status"))
	}
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("the server answered %q: %w", m.Data, err)
	}
	if ack.Error != nil {
		return 0, errors.New(ack.Error.Description)
	}
	if ack.Seq == 0 {
		return 0, fmt.Errorf("the server answered %q", m.Data)
	}
	return ack.Seq, nil
}

// usualAck reads {"stream":"…","seq":…}, which is what JetStream nearly always answers.
func usualAck(b []byte) (seq uint64, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"stream":"`))
	if !ok {
		return 0, false
	}
	_, rest, ok = bytes.Cut(rest, []byte(`","seq":`))
	if !ok || len(rest) < 2 || len(rest) > 20 || rest[len(rest)-1] != '}' {
		return 0, false
	}
	for _, c := range rest[:len(rest)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		seq = 10*seq + uint64(c-'0')
	}
	return seq, seq > 0
}

func (l *life) healthy() error {
	if !l.server.Running() || !l.conn.IsConnected() || !l.server.JetStreamEnabled() {
		return fmt.Errorf("%w: the embedded server has stopped; look for a full or failing disk", ErrUnavailable)
	}
	return nil
}

// close ends the life. It waits for the server, which waits for the disk.
func (l *life) close() {
	l.end()
	if l.conn != nil {
		l.conn.Close()
	}
	l.server.Shutdown()
	l.server.WaitForShutdown()
}

// end closes a life and writes down where each partition stands.
func (b *Bus) end(l *life, clean bool) {
	var states []position
	if l != nil && clean {
		for p := range b.parts {
			state, err := l.state(p)
			clean = clean && err == nil
			states = append(states, state)
		}
	}
	if l != nil {
		l.close()
	}
	for p, part := range b.parts {
		part.mu.Lock()
		m := part.mark
		part.mark = nil
		part.mu.Unlock()
		if m == nil {
			continue
		}
		var at position
		if clean && l != nil {
			at = states[p]
			if err := syncFile(filepath.Join(streamDir(b.cfg.Dir, p), "msgs", indexFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
				b.cfg.Log.Warn("the index of the log's blocks could not be synced; the next start may read them all", "error.message", err.Error())
			}
		}
		if err := m.close(at.first, at.last, clean && l != nil); err != nil {
			b.cfg.Log.Warn("the high-water mark could not be written", "pulsestream.partition", p, "error.message", err.Error())
		}
	}
}

// state asks where a partition stands.
func (l *life) state(p int) (position, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), 2*time.Second)
	defer cancel()
	s, err := l.js.Stream(ctx, streamName(p))
	if err != nil {
		return position{}, err
	}
	info := s.CachedInfo()
	return position{incarnation: info.Config.Metadata[metaIncarnation], first: info.State.FirstSeq, last: info.State.LastSeq}, nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
