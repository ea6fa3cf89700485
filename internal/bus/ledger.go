package bus

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Loss names messages that were in the log and are gone.
type Loss struct {
	Partition int `json:"partition"`
	// Incarnation is the one that the messages were acknowledged in.
	Incarnation string `json:"incarnation"`
	// FromSeq to ToSeq are their sequence numbers; 0 where it is not known where the loss begins or ends. These numbers are not given again.
	FromSeq uint64 `json:"from_seq"`
	ToSeq   uint64 `json:"to_seq"`
	// Number is the producer's number of the first one, 0 when it is not known.
	Number uint64 `json:"number,omitempty"`
	Reason string `json:"reason"`
	// Stored is how far the store had read the log when the loss was found: what is lost up to there is in the store all the same.
	Stored uint64 `json:"stored,omitempty"`
	// SetAside is a copy of the file as it was found, "" when there was none to copy.
	SetAside string    `json:"set_aside,omitempty"`
	At       time.Time `json:"at"`
}

// Repair tells of damage by which nothing was lost.
type Repair struct {
	Partition int       `json:"partition"`
	File      string    `json:"file"`
	Reason    string    `json:"reason"`
	SetAside  string    `json:"set_aside,omitempty"`
	At        time.Time `json:"at"`
}

// maxFindings bounds each list of findings; the oldest go.
const maxFindings = 1000

// findings is what was ever found to be wrong with the log.
type findings struct {
	Losses  []Loss   `json:"losses"`
	Repairs []Repair `json:"repairs"`
}

// identity is what makes the log this log. It is kept beside the log, since what JetStream knows of it can be damaged as well.
type identity struct {
	Partitions []partitionIdentity `json:"partitions"`
}

type partitionIdentity struct {
	// Incarnation is the present life of the partition's numbers.
	Incarnation string `json:"incarnation"`
	// Past are the incarnations before it, oldest first.
	Past []past `json:"past,omitempty"`
	// Meta is a copy of JetStream's description of the stream.
	Meta []byte `json:"meta,omitempty"`
}

// past is an incarnation that ended because messages were lost. Numbers go on behind its last one, so what is at or below that has the same
// number in every later incarnation.
type past struct {
	Incarnation string    `json:"incarnation"`
	Last        uint64    `json:"last"`
	At          time.Time `json:"at"`
}

func newIncarnation() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// knows says whether numbers of an incarnation, up to seq, mean the same in the present one.
func (p *partitionIdentity) knows(incarnation string, seq uint64) bool {
	if incarnation == p.Incarnation {
		return true
	}
	i := slices.IndexFunc(p.Past, func(x past) bool { return x.Incarnation == incarnation })
	return i >= 0 && seq <= p.Past[i].Last
}

// mint begins a new incarnation behind last.
func (p *partitionIdentity) mint(last uint64, now time.Time) {
	if p.Incarnation != "" {
		p.Past = append(p.Past, past{p.Incarnation, last, now})
	}
	p.Incarnation = newIncarnation()
}

// ledger keeps identity and findings on disk, in files of their own, each twice.
type ledger struct {
	dir string

	mu       sync.Mutex
	identity identity
	saved    []byte // the identity as it is on disk
	findings findings
}

func (l *ledger) identityPath() string { return filepath.Join(l.dir, "identity.json") }
func (l *ledger) findingsPath() string { return filepath.Join(l.dir, "losses.json") }

// openLedger reads what there is. Found is false for a log that is new, or whose identity was lost.
func openLedger(dir string, now time.Time) (l *ledger, found bool, err error) {
	if err := makeDir(dir); err != nil {
		return nil, false, fmt.Errorf("make the folder %s: %w", dir, err)
	}
	l = &ledger{dir: dir}
	var mended []Repair
	note := func(names []string) {
		for _, name := range names {
			mended = append(mended, Repair{Partition: -1, File: name, Reason: "it was not what was written; it is written anew from its copy", At: now})
		}
	}
	_, damaged, err := loadTwice(l.findingsPath(), &l.findings)
	if err != nil {
		return nil, false, fmt.Errorf("read the list of losses: %w", err)
	}
	note(damaged)
	found, damaged, err = loadTwice(l.identityPath(), &l.identity)
	if err != nil {
		return nil, false, fmt.Errorf("read the identity of the log: %w", err)
	}
	note(damaged)
	if found && len(damaged) == 0 {
		if l.saved, err = json.Marshal(l.identity); err != nil {
			return nil, false, err
		}
	}
	if found && len(damaged) > 0 {
		if err := l.saveIdentity(); err != nil {
			return nil, false, err
		}
	}
	return l, found, l.note(nil, mended)
}

// note adds to the findings. A loss that is known already (a start was broken off before it had mended it) is not told twice.
func (l *ledger) note(losses []Loss, repairs []Repair) error {
	if len(losses)+len(repairs) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range losses {
		if !slices.ContainsFunc(l.findings.Losses, func(y Loss) bool {
			return x.Partition == y.Partition && x.FromSeq == y.FromSeq && x.ToSeq == y.ToSeq
		}) {
			l.findings.Losses = append(l.findings.Losses, x)
		}
	}
	l.findings.Repairs = append(l.findings.Repairs, repairs...)
	l.findings.Losses = l.findings.Losses[max(0, len(l.findings.Losses)-maxFindings):]
	l.findings.Repairs = l.findings.Repairs[max(0, len(l.findings.Repairs)-maxFindings):]
	if err := saveTwice(l.findingsPath(), l.findings); err != nil {
		return fmt.Errorf("write the list of losses: %w", err)
	}
	return nil
}

// saveIdentity writes the identity if it has changed.
func (l *ledger) saveIdentity() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(l.identity)
	if err != nil || bytes.Equal(b, l.saved) {
		return err
	}
	if err := saveTwice(l.identityPath(), l.identity); err != nil {
		return fmt.Errorf("write the identity of the log: %w", err)
	}
	l.saved = b
	return nil
}

// part is a copy of a partition's identity.
func (l *ledger) part(p int) partitionIdentity {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.identity.Partitions[p]
	x.Past = slices.Clone(x.Past)
	return x
}

func (l *ledger) setPart(p int, x partitionIdentity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.identity.Partitions[p] = x
}

func (l *ledger) partitions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.identity.Partitions)
}

func (l *ledger) losses() []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.findings.Losses)
}

func (l *ledger) repairs() []Repair {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.findings.Repairs)
}
