// Package bus is the log that everything hangs on: events are acknowledged once it has them on disk, and every later stage
// can be rebuilt from it. It is NATS JetStream, embedded in the process, with an fsync for each message; this is the only
// package that imports NATS.
//
// Each partition is a stream of its own, so that partitions are synced, read and repaired independently.
//
// # What holds when the disk does not
//
// JetStream trusts its files: it cuts a stream off at the first damaged byte and gives the numbers behind it again, and after a failed write or sync it
// answers nobody until the process is started anew. So this package
//
//   - looks at the files before JetStream opens them, and mends them (inspect.go, mend.go, salvage.go);
//   - keeps outside of JetStream what the log has promised and what it is (mark.go, ledger.go);
//   - starts JetStream anew, inside the process, when it has failed and the disk is well again (heal.go);
//   - checks blocks that have become old in the background, and before they are read (scrub.go).
//
// What is lost is named: see Loss. A partition's sequence numbers never go back and are never given twice, whatever is lost, so positions
// in the log keep their order. Each loss begins a new incarnation; Resume says where a reader of an earlier one goes on.
//
// The folder has jetstream, which is the server's, guard, which is this package's, and damaged, copies of files as they were found.
package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// MaxPayload is the largest batch one log message takes, in bytes. It fits the default limit of a NATS cluster.
const MaxPayload = 1<<20 - 64<<10

const (
	metaIncarnation = "pulsestream.incarnation"
	metaPartitions  = "pulsestream.partitions"
	guardDir        = "guard"
	maxPartitions   = 1 << 14
	startTimeout    = 30 * time.Second
	requestTimeout  = 10 * time.Second
	appendTimeout   = 10 * time.Second
	catalogSubject  = "catalog.changed"
)

// DefaultRetention is a day longer than events are kept, so that the store can always be built anew from the log.
const DefaultRetention = 31 * 24 * time.Hour

// Errors of an open log.
var (
	// ErrUnavailable: the log takes no messages now. Healthy says why; it takes them again by itself when the cause is gone.
	ErrUnavailable = errors.New("the log takes no messages")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")
)

// Config says where the log is and how it is kept.
type Config struct {
	// Dir is where the embedded log keeps its files.
	Dir string
	// Partitions is the number a new log is made with; an existing one keeps its own.
	Partitions int
	// Begin is where each partition of a new log takes up the numbers; nil for a log that is not the continuation of another. An existing log
	// goes on as it is.
	Begin []Beginning
	// Retention is how long messages are kept; 0 is DefaultRetention.
	Retention time.Duration
	// Committed says how far the store has read a partition, "" when it has read nothing. It is asked whenever the log is opened: the log must not be
	// shorter. Nil is a log without a store.
	Committed func(ctx context.Context, partition int) (incarnation string, seq uint64, err error)
	// AppendTimeout bounds an Append, however long the disk takes; 0 is ten seconds.
	AppendTimeout time.Duration
	// VerifyAll checks every block before the log opens, rather than in the background.
	VerifyAll bool
	Log       *slog.Logger
}

// Bus is an open log.
type Bus struct {
	cfg      Config
	ledger   *ledger
	producer uint64
	parts    []*partition
	faults   chan fault
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex
	life     *life // nil while JetStream is not running
	down     error // why it is not
	closed   bool
	handlers map[int]func(tenant.ID)
	handler  int // the last key of handlers
}

// partition is what outlives a restart of JetStream.
type partition struct {
	index   int
	number  atomic.Uint64
	turn    chan struct{} // holds a token while an append is under way: the order of numbers is the order in the log
	since   atomic.Int64  // when the append under way began, Unix nanoseconds, 0 for none
	frame   []byte        // belongs to whoever has the turn
	sizes   sizes
	fresh   handover
	pending unverified

	mu   sync.Mutex
	mark *mark
}

// Open starts the embedded log, making what is missing and mending what is damaged. On a full disk it opens all the same, and takes messages as soon as
// there is room.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.Partitions <= 0 || cfg.Partitions > maxPartitions {
		return nil, fmt.Errorf("bus: Partitions must be between 1 and %d", maxPartitions)
	}
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.AppendTimeout <= 0 {
		cfg.AppendTimeout = appendTimeout
	}
	b := &Bus{cfg: cfg, faults: make(chan fault, 1), handlers: map[int]func(tenant.ID){}, down: ErrUnavailable}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	b.producer = binary.BigEndian.Uint64(seed[:])
	if err := b.identify(); err != nil {
		return nil, err
	}
	for p := range b.ledger.partitions() {
		b.parts = append(b.parts, &partition{index: p, turn: make(chan struct{}, 1)})
	}
	err := b.bring(ctx, fault{})
	if err != nil && !isFull(err) && !isFull(b.probe()) {
		b.Close()
		return nil, err
	}
	if err != nil {
		b.down = fmt.Errorf("%w: %w", ErrUnavailable, err)
		cfg.Log.Error("the log cannot be started on a full disk; it is started as soon as there is room", "error.message", err.Error())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.running.Go(func() {
		if err != nil {
			b.revive(background, fault{})
		}
		b.watch(background)
	})
	b.running.Go(func() { b.scrub(background) })
	return b, nil
}

func (b *Bus) guard() string { return filepath.Join(b.cfg.Dir, guardDir) }

// Partitions is the number of partitions, fixed when the log was made.
func (b *Bus) Partitions() int { return len(b.parts) }

// Losses are the messages that were ever found to be gone from this log, oldest first.
func (b *Bus) Losses() []Loss { return b.ledger.losses() }

// Repairs tell of damage by which nothing was lost, oldest first.
func (b *Bus) Repairs() []Repair { return b.ledger.repairs() }

// current is the running JetStream, or why there is none.
func (b *Bus) current() (*life, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if b.life == nil {
		return nil, b.down
	}
	return b.life, nil
}

// Append writes one message and returns its sequence number once it is on disk. When it fails the message may be in the log
// or not: nobody must be told that it was taken. It returns within Config.AppendTimeout, or earlier with ctx, whatever the disk does.
func (b *Bus) Append(ctx context.Context, p int, payload []byte) (uint64, error) {
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	part := b.parts[p]
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	if err := part.stuck(); err != nil {
		return 0, err
	}
	select {
	case part.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("append to partition %d of the log: the message before it is still being written: %w", p, ctx.Err())
	}
	l, err := b.current()
	if err != nil {
		<-part.turn
		return 0, err
	}
	number := part.number.Add(1)
	part.frame = appendFrame(part.frame[:0], p, b.producer, number, payload)
	part.since.Store(time.Now().UnixNano())
	if err := l.publish(p, part.frame); err != nil {
		b.failed(l, err)
		part.done()
		return 0, fmt.Errorf("append to partition %d of the log: %w", p, err)
	}
	select {
	case m := <-l.replies[p]:
		seq, err := b.appended(l, part, number, m, payload)
		part.done()
		if err != nil {
			return 0, fmt.Errorf("append to partition %d of the log: %w", p, err)
		}
		return seq, nil
	case <-l.ctx.Done():
		part.done()
		return 0, fmt.Errorf("append to partition %d of the log: %w", p, l.ctx.Err())
	case <-ctx.Done(): // a disk that hangs must not keep the caller
		go b.outlast(l, part, number)
		return 0, fmt.Errorf("append to partition %d of the log: the disk has not answered: %w", p, ctx.Err())
	}
}

// outlast waits for the answer to an append that nobody waits for any more. It has no other end than that of the life: what JetStream does with
// the message must not be confused with the next one.
func (b *Bus) outlast(l *life, part *partition, number uint64) {
	select {
	case m := <-l.replies[part.index]:
		_, _ = b.appended(l, part, number, m, nil)
	case <-l.ctx.Done():
	}
	part.done()
}

// done gives the turn to the next append.
func (part *partition) done() {
	part.since.Store(0)
	<-part.turn
}

// failed has a life ended in which an append failed.
func (b *Bus) failed(l *life, err error) {
	if l.ctx.Err() == nil {
		b.report(fault{life: l, reason: "an append failed: " + err.Error()})
	}
}

// stuckAfter is how long an append may take before those behind it are refused at once.
const stuckAfter = 5 * time.Second

// stuck says that the disk has not answered for some time.
func (part *partition) stuck() error {
	since := part.since.Load()
	if since == 0 {
		return nil
	}
	if d := time.Since(time.Unix(0, since)); d > stuckAfter {
		return fmt.Errorf("%w: the disk under partition %d has not answered for %s", ErrUnavailable, part.index, d.Round(time.Second))
	}
	return nil
}

// appended notes the answer to an append. Payload is nil when it is not ours any more.
func (b *Bus) appended(l *life, part *partition, number uint64, answer *nats.Msg, payload []byte) (uint64, error) {
	seq, err := ack(answer)
	if err != nil {
		b.failed(l, err)
		return 0, err
	}
	if payload != nil {
		part.fresh.offer(l, seq, number, payload)
	}
	part.sizes.add(seq, uint64(recordHeader+len(subjectName(part.index))+len(part.frame)+recordHash))
	if err := part.acknowledged(seq, number); err != nil {
		// The message is on disk; only the promise about it could not be written down.
		b.cfg.Log.Warn("the high-water mark could not be written", "pulsestream.partition", part.index, "error.message", err.Error())
	}
	return seq, nil
}

func (part *partition) acknowledged(seq, number uint64) error {
	part.mu.Lock()
	m := part.mark
	part.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.acknowledged(seq, number)
}

// Healthy says why the log cannot take messages, or nil.
func (b *Bus) Healthy() error {
	l, err := b.current()
	if err != nil {
		return err
	}
	if err := l.healthy(); err != nil {
		return err
	}
	for _, part := range b.parts {
		if err := part.stuck(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the log. What was acknowledged is on disk.
func (b *Bus) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	b.mu.Unlock()
	if b.stop != nil {
		b.stop()
		b.running.Wait()
	}
	b.mu.Lock()
	l := b.life
	b.life = nil
	b.mu.Unlock()
	b.end(l, true)
}
