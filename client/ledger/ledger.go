// Package ledger is a sender's own record of what it sent and what it was told. It is kept away from the server whose memory it
// is to check: `pulsestream verify --ledger FILE` compares it with what is stored.
//
// The file is lines of JSON, so that any program can write one. A line says what is about to be sent, before it is; a later
// one says how that ended:
//
//	{"request":7,"sent":[{"id":"o-1","source":"shop","type":"order.paid"},{"source":"shop","type":"click","subject":"m-42"}]}
//	{"request":7,"outcome":"acknowledged","status":202,"rejected":[1]}
//
// An event is told by its source and id. One that is sent without an id, so that the server makes it, is told by its source
// and subject, which then has to be unique.
package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Outcome is how a request ended, as far as its sender knows.
type Outcome string

// The outcomes. Only an answer that says so makes a request acknowledged or refused: after a lost connection, a timeout or a 5xx
// nobody knows, and the events may be stored or not.
const (
	Acknowledged Outcome = "acknowledged"
	Refused      Outcome = "refused"
	Unknown      Outcome = "unknown"
)

// Event is what is remembered of an event.
type Event struct {
	ID      string    `json:"id,omitempty"` // empty: made by the server
	Source  string    `json:"source"`
	Type    string    `json:"type,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	// Data is a fingerprint of the event's data, see Fingerprint; empty when it is not to be compared.
	Data string `json:"data,omitempty"`
}

// Key is what an event is told by: ID, or Subject when there is no id.
type Key struct{ Source, ID, Subject string }

// Key is what the event is told by.
func (e *Event) Key() Key {
	if e.ID != "" {
		return Key{Source: e.Source, ID: e.ID}
	}
	return Key{Source: e.Source, Subject: e.Subject}
}

// Record is an event with all that its sender was told about it.
type Record struct {
	Event
	Sent         int // how often
	Acknowledged int
	Refused      int
}

// Ledger is a ledger in memory and, when it was made with a file, on disk. It may be used from any goroutine.
type Ledger struct {
	mu      sync.Mutex
	file    io.WriteCloser // nil: in memory only
	err     error          // of the first write that failed
	last    uint64         // number of the last request
	open    map[uint64][]*Record
	records map[Key]*Record
	totals  Totals
}

// Totals counts events, each once.
type Totals struct {
	Sent         int `json:"sent"`
	Acknowledged int `json:"acknowledged"` // at least once
	Refused      int `json:"refused"`      // each time
	Unknown      int `json:"unknown"`      // neither
}

// line is a line of the file.
type line struct {
	Request  uint64  `json:"request"`
	Sent     []Event `json:"sent,omitempty"`
	Outcome  Outcome `json:"outcome,omitempty"`
	Status   int     `json:"status,omitempty"`
	Rejected []int   `json:"rejected,omitempty"`
	// At is for people who look for what went wrong when.
	At time.Time `json:"at,omitzero"`
}

// New is an empty ledger in memory.
func New() *Ledger {
	return &Ledger{open: map[uint64][]*Record{}, records: map[Key]*Record{}}
}

// Create is an empty ledger that is kept in a file too, which must not exist yet.
func Create(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the ledger: %w", err)
	}
	l := New()
	l.file = f
	return l, nil
}

// Read reads a ledger. A last line that was cut off is no error: its request has not been sent, or its end is unknown.
func Read(r io.Reader) (*Ledger, error) {
	l := New()
	lines := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		var in line
		if err := json.Unmarshal(text, &in); err != nil {
			return nil, fmt.Errorf("line %d of the ledger cannot be read: %w", n, err)
		}
		l.last = max(l.last, in.Request)
		l.sent(in.Request, in.Sent)
		if in.Outcome != "" {
			if err := l.answered(in.Request, in.Outcome, in.Rejected); err != nil {
				return nil, fmt.Errorf("line %d of the ledger: %w", n, err)
			}
		}
	}
}

// Sending notes events that are about to be sent in one request, and gives the request a number for Answered.
func (l *Ledger) Sending(events []Event) (request uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.write(line{Request: l.last, Sent: events})
	l.sent(l.last, events)
	return l.last
}

// Answered notes how a request ended. Rejected are the indexes of its events that were not taken although the request was.
func (l *Ledger) Answered(request uint64, o Outcome, status int, rejected []int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(line{Request: request, Outcome: o, Status: status, Rejected: rejected})
	return l.answered(request, o, rejected)
}

func (l *Ledger) write(out line) {
	if l.file == nil || l.err != nil {
		return
	}
	out.At = time.Now().UTC()
	b, err := json.Marshal(out)
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
	}
	l.err = err
}

func (l *Ledger) sent(request uint64, events []Event) {
	for i := range events {
		k := events[i].Key()
		r := l.records[k]
		if r == nil {
			r = &Record{Event: events[i]}
			l.records[k] = r
			l.totals.Sent++
			l.totals.Unknown++
		}
		l.totals.move(r, func() { r.Sent++ })
		l.open[request] = append(l.open[request], r)
	}
}

func (l *Ledger) answered(request uint64, o Outcome, rejected []int) error {
	records, ok := l.open[request]
	if !ok {
		return fmt.Errorf("request %d was answered before it was sent, or twice", request)
	}
	delete(l.open, request)
	not := map[int]bool{}
	for _, i := range rejected {
		not[i] = true
	}
	for i, r := range records {
		l.totals.move(r, func() {
			switch {
			case o == Refused, o == Acknowledged && not[i]:
				r.Refused++
			case o == Acknowledged:
				r.Acknowledged++
			}
		})
	}
	return nil
}

// Outcome is how the sending of the event ended: acknowledged when it was even once, refused when it was each time.
func (r *Record) Outcome() Outcome {
	switch {
	case r.Acknowledged > 0:
		return Acknowledged
	case r.Sent > 0 && r.Refused == r.Sent:
		return Refused
	}
	return Unknown
}

// move changes a record and keeps the totals right.
func (t *Totals) move(r *Record, change func()) {
	count := func(by int) {
		switch r.Outcome() {
		case Acknowledged:
			t.Acknowledged += by
		case Refused:
			t.Refused += by
		case Unknown:
			t.Unknown += by
		}
	}
	count(-1)
	change()
	count(1)
}

// Totals counts what is in the ledger.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}

// Find returns a copy of the record of an event that is stored with this source, id and subject.
func (l *Ledger) Find(source, id, subject string) (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[Key{Source: source, ID: id}]
	if !ok {
		r, ok = l.records[Key{Source: source, Subject: subject}]
	}
	if !ok {
		return Record{}, false
	}
	return *r, true
}

// Records returns copies of all records, in no order.
func (l *Ledger) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Record, 0, len(l.records))
	for _, r := range l.records {
		all = append(all, *r)
	}
	return all
}

// Close closes the file, and says whether all of the ledger is in it.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.err
	}
	err := errors.Join(l.err, l.file.Close())
	l.file = nil
	return err
}
