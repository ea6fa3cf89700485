// Package jsonevents reads application/json, a JSON event or an array of them, and CloudEvents' JSON formats, which are
// the same but stricter.
package jsonevents

import (
	"fmt"

	"github.com/pulsestream/pulsestream/internal/event"
)

// Form says which bodies are allowed.
type Form int

// The forms of a body.
const (
	OneOrArray Form = iota // application/json
	One                    // application/cloudevents+json
	Array                  // application/cloudevents-batch+json
)

// Parse reads a whole body. It returns an *event.SyntaxError when the body is not JSON of the form at all; before it does,
// nothing is given to the sink. Strict demands of each event what CloudEvents demands.
func Parse(body []byte, form Form, strict bool, sink event.Sink) error {
	var scan event.Scanner
	end, err := scan.Value(body, 0)
	if err != nil {
		return err
	}
	if rest := event.Space(body, end); rest != len(body) {
		return &event.SyntaxError{Offset: rest, Reason: "text behind the end"}
	}
	i := event.Space(body, 0)
	var parser event.Parser
	switch {
	case body[i] == '{' && form != Array:
		return one(&parser, body[i:end], strict, sink)
	case body[i] != '[' || form == One:
		return &event.SyntaxError{Offset: i, Reason: fmt.Sprintf("expected %s", wants(form))}
	}
	for i++; ; {
		if i = event.Space(body, i); body[i] == ']' {
			return nil
		}
		if body[i] == ',' {
			i = event.Space(body, i+1)
		}
		if end, err = scan.Value(body, i); err != nil { // not reached: the whole was scanned
			return err
		}
		if err := one(&parser, body[i:end], strict, sink); err != nil {
			return err
		}
		i = end
	}
}

func wants(f Form) string {
	switch f {
	case One:
		return "a JSON object: one event"
	case Array:
		return "a JSON array of events"
	case OneOrArray:
	}
	return "a JSON object or an array of objects"
}

func one(parser *event.Parser, raw []byte, strict bool, sink event.Sink) error {
	ev, problem := parser.Parse(raw, strict)
	if problem != nil {
		return sink.Reject(problem)
	}
	return sink.Event(ev)
}
