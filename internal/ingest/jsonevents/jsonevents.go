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

// Reader reads bodies, one after the other, with the same memory.
type Reader struct {
	// Parser is what events are parsed with; they are used no more when it is reset.
	Parser *event.Parser
	found  []found
}

// found is a value of the body: an event, or what is wrong with it.
type found struct {
	event   event.Event
	problem *event.Problem
}

// Parse reads a whole body. It returns an *event.SyntaxError when the body is not JSON of the form at all; before it does,
// nothing is given to the sink. Strict demands of each event what CloudEvents demands.
func Parse(body []byte, form Form, strict bool, sink event.Sink) error {
	r := Reader{Parser: new(event.Parser)}
	return r.Read(body, form, strict, sink)
}

// Read is Parse.
func (r *Reader) Read(body []byte, form Form, strict bool, sink event.Sink) error {
	r.found = r.found[:0]
	defer func() { clear(r.found) }() // what they are views of is not ours
	begin := event.Space(body, 0)
	array := begin < len(body) && body[begin] == '['
	err := r.all(body, begin, array, strict)
	if err != nil {
		return err
	}
	if array && form == One || !array && (form == Array || body[begin] != '{') {
		return &event.SyntaxError{Offset: begin, Reason: "expected " + wants(form)}
	}
	for i := range r.found {
		if f := &r.found[i]; f.problem != nil {
			err = sink.Reject(f.problem)
		} else {
			err = sink.Event(f.event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// all finds the elements of an array, or the one value that is none, checking all of the body.
func (r *Reader) all(body []byte, i int, array, strict bool) (err error) {
	if !array {
		if i, err = r.next(body, i, strict); err != nil {
			return err
		}
		return finish(body, i)
	}
	if i = event.Space(body, i+1); i < len(body) && body[i] == ']' {
		return finish(body, i+1)
	}
	for {
		if i, err = r.next(body, i, strict); err != nil {
			return err
		}
		i = event.Space(body, i)
		switch {
		case len(r.found) > event.MaxPerRequest: // the sink will refuse them; the rest need not be known
			return nil
		case i < len(body) && body[i] == ',':
			i++
		case i < len(body) && body[i] == ']':
			return finish(body, i+1)
		default:
			return &event.SyntaxError{Offset: i, Reason: "expected a comma or the end of the array"}
		}
	}
}

func (r *Reader) next(body []byte, i int, strict bool) (end int, err error) {
	ev, end, problem, err := r.Parser.Next(body, i, strict)
	r.found = append(r.found, found{ev, problem})
	return end, err
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
