// Package jsonevents reads application/json, a JSON event or an array of them, and CloudEvents' JSON formats, which are
// the same but stricter.
package jsonevents

import (
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
	values, array, err := split(body)
	if err != nil {
		return err
	}
	single := len(values) == 1 && !array && body[values[0].start] == '{'
	if array && form == One || !array && (form == Array || !single) {
		return &event.SyntaxError{Offset: event.Space(body, 0), Reason: "expected " + wants(form)}
	}
	var parser event.Parser
	for _, v := range values {
		ev, problem := parser.Scanned(body[v.start:v.end], v.depth, strict)
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

// value is where a JSON value stands, and how deep it is nested.
type value struct{ start, end, depth int }

// split finds the elements of an array, or the one value that is none, checking all of the body.
func split(body []byte) (values []value, array bool, err error) {
	var scan event.Scanner
	next := func(i int) (int, error) {
		i = event.Space(body, i)
		end, err := scan.Value(body, i)
		values = append(values, value{i, end, scan.Depth})
		return end, err
	}
	i := event.Space(body, 0)
	if array = i < len(body) && body[i] == '['; !array {
		if i, err = next(i); err != nil {
			return nil, false, err
		}
		return values, false, finish(body, i)
	}
	if i = event.Space(body, i+1); i < len(body) && body[i] == ']' {
		return nil, true, finish(body, i+1)
	}
	for {
		if i, err = next(i); err != nil {
			return nil, true, err
		}
		i = event.Space(body, i)
		switch {
		case len(values) > event.MaxPerRequest: // the sink will refuse them; the rest need not be known
			return values, true, nil
		case i < len(body) && body[i] == ',':
			i++
		case i < len(body) && body[i] == ']':
			return values, true, finish(body, i+1)
		default:
			return nil, true, &event.SyntaxError{Offset: i, Reason: "expected a comma or the end of the array"}
		}
	}
}

func finish(body []byte, i int) error {
	if i = event.Space(body, i); i != len(body) {
		return &event.SyntaxError{Offset: i, Reason: "text behind the end"}
	}
	return nil
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
