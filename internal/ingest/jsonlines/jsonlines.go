// Package jsonlines reads application/x-ndjson: one JSON event a line.
package jsonlines

import (
	"bytes"

	"github.com/pulsestream/pulsestream/internal/event"
)

// Parse reads a whole body. Blank lines don't count; a line that is not an event is rejected and the next one is read.
func Parse(body []byte, sink event.Sink) error { return Read(new(event.Parser), body, sink) }

// Read is Parse with a parser that was used before. The events are used no more when it is reset.
func Read(parser *event.Parser, body []byte, sink event.Sink) error {
	for len(body) > 0 {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		if len(line) == 0 || line[0] != '{' && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		ev, problem := parser.Parse(line, false)
		var err error
		if problem != nil {
			err = sink.Reject(problem)
		} else {
			err = sink.Event(ev)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
