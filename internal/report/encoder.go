package report

import (
	"fmt"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/pulsestream/pulsestream/internal/contain"
	"github.com/pulsestream/pulsestream/internal/event"
)

// encoder writes some of the columns of events: what it is given, one after the other, in a goroutine that is there as long as there is any.
type encoder struct {
	from, to int // columns
	values   [valuesRows]parquet.Value

	mu      sync.Mutex
	queue   []work
	running bool
	err     error // the first; what comes after it is only released
	undone  sync.WaitGroup
}

// work is events to encode, or the end of a row group.
type work struct {
	columns []*parquet.ColumnWriter
	events  []event.Stored
	end     bool
	release func()
}

// valuesRows is how many events a column is given at a time: their values stay in the processor's cache.
const valuesRows = 512

func (e *encoder) put(w work) {
	e.undone.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, w)
	if !e.running {
		e.running = true
		go e.run()
	}
}

// failed is what has gone wrong so far.
func (e *encoder) failed() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// wait waits until all is done.
func (e *encoder) wait() error {
	e.undone.Wait()
	return e.failed()
}

func (e *encoder) run() {
	for {
		w, failed, ok := e.next()
		if !ok {
			return
		}
		if !failed {
			e.fail(e.do(w))
		}
		w.release()
		e.undone.Done()
	}
}

// next is what is to be done, which a failure before it has made needless.
func (e *encoder) next() (w work, failed, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running = len(e.queue) > 0; !e.running {
		return work{}, false, false
	}
	w = e.queue[0]
	e.queue = slices.Delete(e.queue, 0, 1)
	return w, e.err != nil, true
}

func (e *encoder) fail(err error) {
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.err = err
	}
}

func (e *encoder) do(w work) (err error) {
	defer contain.Panic(&err)
	for part := range slices.Chunk(w.events, valuesRows) {
		for c := e.from; c < e.to; c++ {
			if err := e.fill(c, part); err != nil {
				return err
			}
			if _, err := w.columns[c].WriteRowValues(e.values[:len(part)]); err != nil {
				return fmt.Errorf("encode: %w", err)
			}
		}
	}
	if !w.end {
		return nil
	}
	for c := e.from; c < e.to; c++ { // what is left is compressed here, and not by one column after the other
		if err := w.columns[c].Flush(); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	return nil
}

// fill makes the values of one column.
func (e *encoder) fill(column int, events []event.Stored) error {
	for i := range events {
		ev, v := &events[i], &e.values[i]
		switch column {
		case colID:
			*v = textValue(ev.ID)
		case colSource:
			*v = textValue(ev.Source)
		case colType:
			*v = textValue(ev.Type)
		case colSubject:
			*v = textValue(ev.Subject)
		case colData:
			*v = optional(ev.Data)
		case colExtensions:
			*v = optional(ev.Extensions)
		case colTime, colReceived:
			at := ev.Time
			if column == colReceived {
				at = ev.Received
			}
			ns := at.UnixNano()
			if !nanoseconds(at, ns) {
				return errTime
			}
			*v = parquet.Int64Value(ns)
		}
	}
	return nil
}
