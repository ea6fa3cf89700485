package source

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// MaxRequestBytes is how much of a webhook's body is worth reading: an event's limit, thrice, because a form escapes a
// byte as three. What is longer cannot become an event; Receive holds the event itself to event.MaxBytes.
const MaxRequestBytes = 3*event.MaxBytes + 1024

// Mapping says where the attributes of a vendor's event stand. Of several fields the first that holds a string counts.
type Mapping struct {
	ID   []Field
	Type []Field
	// Time holds Unix seconds or RFC 3339; where there is none, the time of receipt is taken.
	Time []Field
	// Subject may be missing.
	Subject []Field
	// FormField is the field that holds the JSON when the vendor sends a form instead; empty when it never does.
	FormField string
}

// Receive verifies a webhook and returns its events, of which a vendor's retry makes the same ones again. The error is a
// *Refusal, unless the vendor's scheme itself is wrong. Events may share body's memory.
func Receive(v *Vendor, secrets []string, header http.Header, body []byte, now time.Time) ([]event.Event, error) {
	if err := v.Scheme.Verify(Delivery{Header: header, Body: body}, secrets, now); err != nil {
		return nil, err
	}
	data, r := v.Mapping.document(header, body)
	if r != nil {
		return nil, r
	}
	ev, r := v.Mapping.event(header, data, now)
	if r != nil {
		return nil, r
	}
	return []event.Event{ev}, nil
}

// document finds the JSON object in a body and checks all of it.
func (m *Mapping) document(header http.Header, body []byte) ([]byte, *Refusal) {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err == nil && kind == "application/x-www-form-urlencoded" && m.FormField != "" {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form[m.FormField]) != 1 {
			return nil, &Refusal{ErrMalformed, event.CodeMalformed, "the form must hold the field " + m.FormField + " once, with JSON in it"}
		}
		body = []byte(form.Get(m.FormField))
	}
	if len(body) > event.MaxBytes {
		return nil, &Refusal{ErrTooLarge, event.CodeTooLarge, "an event has at most " + strconv.Itoa(event.MaxBytes) +
			" bytes, this one has " + strconv.Itoa(len(body)) + ": have the vendor send less, or fewer kinds of events"}
	}
	var scan event.Scanner
	end, err := scan.Value(body, 0)
	if err != nil {
		return nil, &Refusal{ErrMalformed, event.CodeMalformed, err.Error()}
	}
	if rest := event.Space(body, end); rest != len(body) {
		return nil, &Refusal{ErrMalformed, event.CodeMalformed, (&event.SyntaxError{Offset: rest, Reason: "text behind the object"}).Error()}
	}
	start := event.Space(body, 0)
	if body[start] != '{' {
		return nil, &Refusal{ErrMalformed, event.CodeNotAnObject, "the body must be a JSON object"}
	}
	if scan.Depth > event.MaxDepth {
		return nil, &Refusal{ErrInvalid, event.CodeTooDeep, "the body is nested " + strconv.Itoa(scan.Depth) + " levels deep, at most " +
			strconv.Itoa(event.MaxDepth) + " are taken"}
	}
	return body[start:end], nil
}

func (m *Mapping) event(header http.Header, data []byte, now time.Time) (event.Event, *Refusal) {
	ev := event.Event{Data: data, Identified: true}
	var r *Refusal
	if ev.ID, r = required("id", CodeMissingID, m.ID, header, data); r != nil {
		return ev, r
	}
	if ev.Type, r = required("type", CodeMissingType, m.Type, header, data); r != nil {
		return ev, r
	}
	if ev.Time, r = m.time(header, data, now); r != nil {
		return ev, r
	}
	// The subject is a convenience: one that cannot be used is left out, and the event still counts.
	for _, f := range m.Subject {
		if s, ok := text(f, header, data); ok && s != "" && event.CheckAttribute("subject", s) == nil {
			ev.Subject = s
			break
		}
	}
	return ev, nil
}

func required(name, code string, fields []Field, header http.Header, data []byte) (string, *Refusal) {
	for _, f := range fields {
		s, ok := text(f, header, data)
		if !ok || s == "" {
			continue
		}
		if p := event.CheckAttribute(name, s); p != nil {
			return "", &Refusal{ErrInvalid, p.Code, p.Detail}
		}
		return s, nil
	}
	places := make([]string, 0, len(fields))
	for _, f := range fields {
		places = append(places, f.String())
	}
	return "", &Refusal{ErrInvalid, code, "the webhook has no " + name + ": it should be a string in " + strings.Join(places, " or ")}
}

func (m *Mapping) time(header http.Header, data []byte, now time.Time) (time.Time, *Refusal) {
	for _, f := range m.Time {
		raw := value(f, header, data)
		if raw == nil {
			continue
		}
		if t, ok := readTime(raw); ok {
			return t, nil
		}
		return time.Time{}, &Refusal{ErrInvalid, event.CodeTime, f.String() + " must be Unix seconds or RFC 3339"}
	}
	return now.UTC(), nil
}

// lastSecond is the end of the year 9999, beyond which RFC 3339 cannot write a time.
const lastSecond = 253402300799

// readTime reads Unix seconds (a JSON number, or digits in a string) or RFC 3339 (a JSON string).
func readTime(raw []byte) (time.Time, bool) {
	s := string(raw)
	if raw[0] == '"' {
		var ok bool
		if s, ok = event.Unquote(raw); !ok {
			return time.Time{}, false
		}
		if t, ok := event.ParseTime(s); ok {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > lastSecond {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// value is the JSON of a field, or nil when it is missing or null.
func value(f Field, header http.Header, data []byte) []byte {
	if f.Header != "" {
		// A header that is there twice says nothing: which of them was meant?
		if all := header.Values(f.Header); len(all) == 1 {
			return event.AppendQuoted(nil, all[0])
		}
		return nil
	}
	var scan event.Scanner
	for name := range strings.SplitSeq(f.Path, ".") {
		if data = member(&scan, data, name); data == nil {
			return nil
		}
	}
	if string(data) == "null" {
		return nil
	}
	return data
}

// text is the string in a field; false when there is none.
func text(f Field, header http.Header, data []byte) (string, bool) {
	raw := value(f, header, data)
	if raw == nil || raw[0] != '"' {
		return "", false
	}
	return event.Unquote(raw)
}

// member finds a member of an object that a Scanner has accepted; of several of one name, the first.
func member(scan *event.Scanner, object []byte, name string) []byte {
	if object[0] != '{' {
		return nil
	}
	for i := 1; ; {
		if i = event.Space(object, i); object[i] == '}' {
			return nil
		}
		if object[i] == ',' {
			i = event.Space(object, i+1)
		}
		nameEnd, _ := event.String(object, i)
		found, ok := event.Unquote(object[i:nameEnd])
		i = event.Space(object, event.Space(object, nameEnd)+1) // behind the colon
		end, _ := scan.Value(object, i)
		if ok && found == name {
			return object[i:end]
		}
		i = end
	}
}
