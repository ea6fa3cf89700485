package report

import (
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// CSV is RFC 4180: a header, commas, lines that end in CRLF, quotes doubled.
//
// Programs that show tables take a cell that begins with = + - or @ for a formula, and events hold what strangers have sent. So a text that begins
// with one of these, with a tab or a line break, or with an apostrophe gets an apostrophe before it: whoever wants the text back takes one leading
// apostrophe away, from any cell that has one. Data and extensions are JSON, which begins with none of these but the minus of a number,
// and are always as they were sent. Whoever wants bytes takes Parquet.

// dangerous begins a text that is not written as it is.
func dangerous(s string) bool {
	if s == "" {
		return false
	}
	switch s[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n', '\'':
		return true
	}
	for _, wide := range [...]string{"＝", "＋", "－", "＠"} {
		if strings.HasPrefix(s, wide) {
			return true
		}
	}
	return false
}

// appendText appends a cell of somebody's text.
func appendText(b []byte, s string) []byte {
	if !dangerous(s) {
		if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, ',') < 0 && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, ';') < 0 && strings.IndexByte(s, '\t') < 0 {
			return append(b, s...)
		}
		b = append(b, '"')
	} else {
		b = append(b, '"', '\'')
	}
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return append(append(b, s...), '"')
		}
		b = append(append(b, s[:i+1]...), '"')
		s = s[i+1:]
	}
}

// appendDocument appends a cell of JSON; nothing for what is not there.
func appendDocument(b, doc []byte) []byte {
	if doc == nil {
		return b
	}
	b = append(b, '"')
	for {
		i := bytes.IndexByte(doc, '"')
		if i < 0 {
			return append(append(b, doc...), '"')
		}
		b = append(append(b, doc[:i+1]...), '"')
		doc = doc[i+1:]
	}
}

func appendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339Nano) }

func appendHeader(b []byte, names []string) []byte {
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, n)
	}
	return append(b, '\r', '\n')
}

// csvEvents writes events line by line.
type csvEvents struct {
	w io.Writer
	b []byte
}

func newCSVEvents(w io.Writer) *csvEvents {
	return &csvEvents{w: w, b: appendHeader(nil, eventHeader())}
}

// csvBuffer is how much is gathered before it is written.
const csvBuffer = 256 << 10

func (c *csvEvents) add(events []event.Stored, release func()) error {
	defer release()
	for i := range events {
		ev := &events[i]
		b := append(appendText(c.b, ev.ID), ',')
		b = append(appendText(b, ev.Source), ',')
		b = append(appendText(b, ev.Type), ',')
		b = append(appendText(b, ev.Subject), ',')
		b = append(appendTime(b, ev.Time), ',')
		b = append(appendTime(b, ev.Received), ',')
		b = append(appendDocument(b, ev.Data), ',')
		c.b = append(appendDocument(b, ev.Extensions), '\r', '\n')
		if len(c.b) >= csvBuffer {
			if err := c.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *csvEvents) close() error {
	_, err := c.w.Write(c.b)
	c.b = c.b[:0]
	return err
}
