package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// PartitionStats is what a partition's log holds.
type PartitionStats struct {
	Partition   int
	Incarnation string
	Messages    uint64
	Bytes       uint64 // on disk
	First, Last uint64 // sequence numbers
	// Oldest is when the first message was written, zero when there is none.
	Oldest time.Time
}

// Stats gives the state of every partition.
func (b *Bus) Stats(ctx context.Context) ([]PartitionStats, error) {
	l, err := b.current()
	if err != nil {
		return nil, err
	}
	out := make([]PartitionStats, 0, len(b.parts))
	for p := range b.parts {
		s, err := l.js.Stream(ctx, streamName(p))
		if err != nil {
			return nil, fmt.Errorf("look at partition %d of the log: %w", p, err)
		}
		state := s.CachedInfo().State
		out = append(out, PartitionStats{Partition: p, Incarnation: b.ledger.part(p).Incarnation, Messages: state.Msgs, Bytes: state.Bytes,
			First: state.FirstSeq, Last: state.LastSeq, Oldest: state.FirstTime})
	}
	return out, nil
}

// Pending says how much a reader that has read up to after has still to read. It asks nobody, so it may be called for each request. Messages is
// exact but for those that stand for lost ones; bytes is right to within a mebibyte, or an eighth of the block after is in.
func (b *Bus) Pending(p int, after uint64) (messages, bytes uint64) {
	return b.parts[p].sizes.behind(after)
}

// sizes knows how many bytes there are up to which message, roughly.
type sizes struct {
	mu    sync.Mutex
	steps []step // by number
	end   step   // the last message
	ears  []chan struct{}
}

// last is the number of the last message that is in the log.
func (s *sizes) last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end.seq
}

// listen has something put into a channel whenever a message is added, if there is room.
func (s *sizes) listen(ear chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ears = append(s.ears, ear)
}

// leave ends it.
func (s *sizes) leave(ear chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ears = slices.DeleteFunc(s.ears, func(c chan struct{}) bool { return c == ear })
}

// step says that all messages up to seq have total bytes.
type step struct{ seq, total uint64 }

const (
	stepBytes = 1 << 20 // a step is kept for each so many bytes
	maxSteps  = 1 << 16 // beyond, every other one is forgotten
)

func (s *sizes) set(blocks []block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps, s.end = s.steps[:0], step{}
	for _, b := range blocks {
		if len(s.steps) == 0 {
			s.end = step{seq: max(b.from, 1) - 1}
			s.steps = append(s.steps, s.end)
		}
		s.end = step{seq: max(b.last, s.end.seq), total: s.end.total + b.bytes}
		s.steps = append(s.steps, s.end)
	}
	s.thin()
}

func (s *sizes) add(seq, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.end.seq {
		return
	}
	if len(s.steps) == 0 {
		s.steps = append(s.steps, step{seq: seq - 1})
	}
	s.end = step{seq: seq, total: s.end.total + bytes}
	for _, ear := range s.ears {
		select {
		case ear <- struct{}{}:
		default:
		}
	}
	if s.end.total-s.steps[len(s.steps)-1].total >= stepBytes {
		s.steps = append(s.steps, s.end)
		s.thin()
	}
}

// grown notes that the log goes from behind first to last now, in messages of so many bytes.
func (s *sizes) grown(first, last, each uint64) {
	s.mu.Lock()
	if len(s.steps) == 0 && last > first {
		s.end = step{seq: first}
		s.steps = append(s.steps, s.end)
	}
	before := s.end.seq
	s.mu.Unlock()
	if last > before {
		s.add(last, each*(last-before))
	}
}

// thin keeps the list bounded.
func (s *sizes) thin() {
	for len(s.steps) > maxSteps {
		kept := s.steps[:0]
		for i, x := range s.steps {
			if i%2 == 0 {
				kept = append(kept, x)
			}
		}
		s.steps = kept
	}
}

func (s *sizes) behind(after uint64) (messages, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.steps) == 0 || after >= s.end.seq {
		return 0, 0
	}
	after = max(after, s.steps[0].seq)
	i, _ := slices.BinarySearchFunc(s.steps, after, func(x step, seq uint64) int {
		if x.seq <= seq {
			return -1
		}
		return 1
	})
	low, high := s.steps[i-1], s.end
	if i < len(s.steps) {
		high = s.steps[i]
	}
	part := float64(after-low.seq) / float64(high.seq-low.seq)
	return s.end.seq - after, s.end.total - low.total - uint64(part*float64(high.total-low.total))
}
