package event

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Problem says why an event cannot be taken: a stable code for programs and a sentence for people.
type Problem struct {
	Code   string
	Detail string
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

func problem(code, detail string) *Problem { return &Problem{Code: code, Detail: detail} }

// Codes of Problem; they are part of the public contract.
const (
	CodeMalformed    = "malformed"
	CodeTooLarge     = "too_large"
	CodeTooDeep      = "too_deep"
	CodeNotAnObject  = "not_an_object"
	CodeInvalidID    = "invalid_id"
	CodeSource       = "invalid_source"
	CodeMissingType  = "missing_type"
	CodeType         = "invalid_type"
	CodeSubject      = "invalid_subject"
	CodeTime         = "invalid_time"
	CodeTimeRange    = "time_out_of_range"
	CodeAttribute    = "invalid_attribute"
	CodeData         = "invalid_data"
	CodeSpecVersion  = "invalid_specversion"
	CodeTooManyInOne = "too_many_events"
)

// Sink takes what a wire format's parser finds in a body, in order. An error ends the parsing and is returned as it is.
type Sink interface {
	Event(ev Event) error
	Reject(p *Problem) error
}

// Parser turns the JSON form of one event into an Event. The zero value is ready; reuse it for speed, not from several
// goroutines at once.
type Parser struct {
	scan Scanner
	ext  []byte
	seen map[string]struct{}
}

// Parse reads one JSON object. Strict demands what CloudEvents' JSON format demands (specversion, id and source). The
// event's byte slices are views of raw or fresh; Time is zero when the sender gave none.
func (p *Parser) Parse(raw []byte, strict bool) (Event, *Problem) {
	if len(raw) > MaxBytes { // before anything is read of it
		return p.Scanned(raw, 0, strict)
	}
	end, err := p.scan.Value(raw, 0)
	if err != nil {
		return Event{}, problem(CodeMalformed, err.Error())
	}
	if rest := Space(raw, end); rest != len(raw) {
		return Event{}, problem(CodeMalformed, (&SyntaxError{Offset: rest, Reason: "text behind the event"}).Error())
	}
	return p.Scanned(raw, p.scan.Depth, strict)
}

// Scanned is Parse for a value that a Scanner has accepted, with the depth that it found.
func (p *Parser) Scanned(raw []byte, depth int, strict bool) (Event, *Problem) {
	if len(raw) > MaxBytes {
		return Event{}, problem(CodeTooLarge, "an event has at most "+strconv.Itoa(MaxBytes)+" bytes, this one has "+strconv.Itoa(len(raw)))
	}
	// The event itself is one level; its data may have MaxDepth.
	if depth > MaxDepth+1 {
		return Event{}, problem(CodeTooDeep, "data is nested "+strconv.Itoa(depth-1)+" levels deep, at most "+strconv.Itoa(MaxDepth)+" are taken")
	}
	i := Space(raw, 0)
	if raw[i] != '{' {
		return Event{}, problem(CodeNotAnObject, "an event is a JSON object")
	}
	return p.members(raw, i+1, strict)
}

// members reads the members of an object that Scanner has accepted, from just behind its brace.
func (p *Parser) members(raw []byte, i int, strict bool) (Event, *Problem) {
	var ev Event
	p.ext = p.ext[:0]
	clear(p.seen)
	if p.seen == nil {
		p.seen = make(map[string]struct{}, 8)
	}
	specVersion := false
	for {
		if i = Space(raw, i); raw[i] == '}' {
			break
		}
		if raw[i] == ',' {
			i = Space(raw, i+1)
		}
		nameEnd, _ := String(raw, i)
		name, ok := Unquote(raw[i:nameEnd])
		i = Space(raw, Space(raw, nameEnd)+1) // behind the colon
		end, _ := p.scan.Value(raw, i)
		value := raw[i:end]
		i = end
		if !ok {
			return ev, problem(CodeAttribute, "an attribute's name is not Unicode text")
		}
		if _, twice := p.seen[name]; twice {
			return ev, problem(CodeAttribute, "the attribute "+strconv.Quote(name)+" is given twice")
		}
		p.seen[name] = struct{}{}
		if name == "specversion" {
			specVersion = true
		}
		if pr := p.member(&ev, name, value); pr != nil {
			return ev, pr
		}
	}
	if len(p.ext) > 0 {
		ev.Extensions = append(append(make([]byte, 0, len(p.ext)+1), p.ext...), '}')
	}
	return ev, complete(&ev, strict, specVersion)
}

func complete(ev *Event, strict, specVersion bool) *Problem {
	switch {
	case ev.Type == "":
		return problem(CodeMissingType, "an event needs a type, such as \"order.paid\"")
	case strict && !specVersion:
		return problem(CodeSpecVersion, "a CloudEvent needs specversion \"1.0\"")
	case strict && ev.ID == "":
		return problem(CodeInvalidID, "a CloudEvent needs an id")
	case strict && ev.Source == "":
		return problem(CodeSource, "a CloudEvent needs a source")
	}
	return nil
}

func (p *Parser) member(ev *Event, name string, value []byte) *Problem {
	if name == "data" {
		ev.Data = value
		return nil
	}
	if string(value) == "null" || name == "received_at" {
		return nil // CloudEvents: null is absence. received_at is ours to say, so an exported event can be sent again.
	}
	switch name {
	case "id", "source", "type", "subject", "time", "specversion", "data_base64":
		text, ok := "", value[0] == '"'
		if ok {
			text, ok = Unquote(value)
		}
		if !ok {
			return problem(codeOf(name), name+" must be a string")
		}
		return p.attribute(ev, name, text, value)
	}
	if value[0] == '{' || value[0] == '[' {
		return problem(CodeAttribute, "the extension attribute "+strconv.Quote(name)+" must be a string, number or boolean: put structure under data")
	}
	if name == "" || len(name) > MaxAttrBytes || len(value) > MaxAttrBytes*8 {
		return problem(CodeAttribute, "an extension attribute's name has 1 to 1024 bytes and its value at most 8192")
	}
	p.extension(name, value)
	return nil
}

func (p *Parser) extension(name string, value []byte) {
	if len(p.ext) == 0 {
		p.ext = append(p.ext, '{')
	} else {
		p.ext = append(p.ext, ',')
	}
	p.ext = append(AppendQuoted(p.ext, name), ':')
	p.ext = append(p.ext, value...)
}

func codeOf(name string) string {
	if name == "data_base64" {
		return CodeData
	}
	return "invalid_" + name
}

// attribute sets one of CloudEvents' own attributes.
func (p *Parser) attribute(ev *Event, name, text string, raw []byte) *Problem {
	switch name {
	case "time":
		t, ok := ParseTime(text)
		if !ok {
			return problem(CodeTime, "time must be RFC 3339 with an offset, such as 2026-01-31T12:00:00Z")
		}
		ev.Time = t
		return nil
	case "specversion":
		if text != "1.0" {
			return problem(CodeSpecVersion, "only specversion \"1.0\" is known")
		}
		return nil
	case "data_base64":
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			return problem(CodeData, "data_base64 is not base64")
		}
		p.extension(name, raw)
		return nil
	}
	if pr := CheckAttribute(name, text); pr != nil {
		return pr
	}
	switch name {
	case "id":
		ev.ID, ev.Identified = text, true
	case "source":
		ev.Source = text
	case "type":
		ev.Type = text
	case "subject":
		ev.Subject = text
	}
	return nil
}

// CheckAttribute says what is wrong with the text of id, source, type or subject, or nil.
func CheckAttribute(name, text string) *Problem {
	switch {
	case text == "" && name == "type":
		return problem(CodeMissingType, "an event needs a type, such as \"order.paid\"")
	case text == "" && name != "subject":
		return problem("invalid_"+name, name+" must not be empty: leave it out to have it made")
	case len(text) > MaxAttrBytes:
		return problem("invalid_"+name, name+" has at most "+strconv.Itoa(MaxAttrBytes)+" bytes")
	case strings.IndexByte(text, 0) >= 0:
		return problem("invalid_"+name, name+" must not contain the character U+0000")
	case !utf8.ValidString(text):
		return problem("invalid_"+name, name+" is not UTF-8")
	}
	return nil
}

// CheckTime says whether an event of time t may be taken at now under a retention.
func CheckTime(t, now time.Time, retention time.Duration) *Problem {
	switch {
	case t.After(now.Add(MaxEarly)):
		return problem(CodeTimeRange, "time is more than "+MaxEarly.String()+" ahead of this server's clock")
	case t.Before(now.Add(-retention)):
		return problem(CodeTimeRange, "time is older than the "+strconv.Itoa(int(retention/(24*time.Hour)))+" days for which events are kept")
	}
	return nil
}

// AppendJSON appends the event as the public contract shows it.
func AppendJSON(dst []byte, ev *Event) []byte {
	dst = AppendQuoted(append(dst, `{"id":`...), ev.ID)
	dst = AppendQuoted(append(dst, `,"source":`...), ev.Source)
	dst = AppendQuoted(append(dst, `,"type":`...), ev.Type)
	if ev.Subject != "" {
		dst = AppendQuoted(append(dst, `,"subject":`...), ev.Subject)
	}
	dst = append(ev.Time.UTC().AppendFormat(append(dst, `,"time":"`...), time.RFC3339Nano), '"')
	if ev.Data != nil {
		dst = append(append(dst, `,"data":`...), ev.Data...)
	}
	if n := len(ev.Extensions); n > 2 {
		dst = append(append(dst, ','), ev.Extensions[1:n-1]...)
	}
	if !ev.Received.IsZero() {
		dst = append(ev.Received.UTC().AppendFormat(append(dst, `,"received_at":"`...), time.RFC3339Nano), '"')
	}
	return append(dst, '}')
}

// MarshalJSON is AppendJSON for encoding/json.
func (e Event) MarshalJSON() ([]byte, error) { return AppendJSON(nil, &e), nil }
