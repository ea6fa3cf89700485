// Package cloudevents reads CloudEvents in HTTP's binary mode: the attributes are ce-… headers and the body is the data.
// The structured modes are JSON and are read by package jsonevents.
package cloudevents

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
)

// IsBinary says whether a request is a CloudEvent in binary mode.
func IsBinary(h http.Header) bool { return h.Get("Ce-Specversion") != "" || h.Get("Ce-Type") != "" }

// Parse reads one event. It is put into CloudEvents' JSON form and read as that, so that every rule is stated once.
func Parse(h http.Header, body []byte, sink event.Sink) error {
	if len(body) > event.MaxBytes {
		return sink.Reject(&event.Problem{Code: event.CodeTooLarge, Detail: "an event has at most " + strconv.Itoa(event.MaxBytes) + " bytes"})
	}
	names := make([]string, 0, len(h))
	for name, values := range h {
		attr, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		if len(values) != 1 || attr == "" || attr == "data" || attr == "data_base64" || attr == "datacontenttype" {
			return sink.Reject(&event.Problem{Code: event.CodeAttribute, Detail: "the header " + strconv.Quote(name) + " must be there once and name an attribute; data goes into the body and its type into Content-Type"})
		}
		names = append(names, name)
	}
	slices.Sort(names)
	raw := []byte{'{'}
	for _, name := range names {
		text, err := url.PathUnescape(h.Get(name)) // CloudEvents' HTTP binding: percent-encoded
		if err != nil || !utf8.ValidString(text) {
			return sink.Reject(&event.Problem{Code: event.CodeAttribute, Detail: "the header " + strconv.Quote(name) + " is not percent-encoded UTF-8"})
		}
		raw = append(event.AppendQuoted(raw, strings.ToLower(name)[len("ce-"):]), ':')
		raw = append(event.AppendQuoted(raw, text), ',')
	}
	raw, problem := appendData(raw, h.Get("Content-Type"), body)
	if problem != nil {
		return sink.Reject(problem)
	}
	raw[len(raw)-1] = '}' // there is a comma: binary mode has at least one ce- header
	var parser event.Parser
	ev, problem := parser.Parse(raw, true)
	if problem != nil {
		return sink.Reject(problem)
	}
	return sink.Event(ev)
}

// appendData adds the members for a body: data for JSON and text, data_base64 for anything else, each with a comma
// behind it.
func appendData(raw []byte, contentType string, body []byte) ([]byte, *event.Problem) {
	if contentType != "" {
		raw = append(event.AppendQuoted(append(raw, `"datacontenttype":`...), contentType), ',')
	}
	if len(body) == 0 {
		return raw, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "" || err == nil && (media == "application/json" || strings.HasSuffix(media, "+json")):
		var scan event.Scanner
		end, err := scan.Value(body, 0)
		if err == nil && event.Space(body, end) != len(body) {
			err = &event.SyntaxError{Offset: end, Reason: "text behind the end"}
		}
		if err != nil {
			return nil, &event.Problem{Code: event.CodeData, Detail: "the body is to be JSON: " + err.Error()}
		}
		raw = append(append(raw, `"data":`...), body...)
	case err == nil && strings.HasPrefix(media, "text/") && utf8.Valid(body):
		raw = event.AppendQuoted(append(raw, `"data":`...), string(body))
	default:
		raw = append(raw, `"data_base64":"`...)
		raw = append(base64.StdEncoding.AppendEncode(raw, body), '"')
	}
	return append(raw, ','), nil
}
