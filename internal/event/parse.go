package event

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
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
//
// It copies next to nothing: an event's texts and slices are views of what was parsed, and of memory of the parser's own where an event is
// not shown as it was sent (escapes, extensions). So the bytes that were parsed must not change as long as the event is used. The parser's
// own memory is not used again before Reset.
type Parser struct {
	scan Scanner
	own  []byte // what events have of the parser's memory, one behind the other
	// Of the event in hand: which attributes it has had, its extensions as one JSON object without its end, and what is wrong with it.
	seen    attributes
	ext     []byte
	problem *Problem
}

// Reset says that the events so far are used no more.
func (p *Parser) Reset() {
	const most = 1 << 20
	if p.own = p.own[:0]; cap(p.own) > most {
		p.own = nil
	}
	p.seen.forget()
}

// Parse reads one JSON object. Strict demands what CloudEvents' JSON format demands (specversion, id and source). Time is zero when the sender
// gave none.
func (p *Parser) Parse(raw []byte, strict bool) (Event, *Problem) {
	if len(raw) > MaxBytes { // before anything is read of it
		return Event{}, tooLarge(len(raw))
	}
	ev, end, pr, err := p.Next(raw, 0, strict)
	if err != nil {
		return Event{}, problem(CodeMalformed, err.Error())
	}
	if rest := Space(raw, end); rest != len(raw) {
		return Event{}, problem(CodeMalformed, (&SyntaxError{Offset: rest, Reason: "text behind the event"}).Error())
	}
	return ev, pr
}

// Next reads the one value that begins at b[i:], and returns the index just behind it as well. The error is a SyntaxError; whatever else is
// wrong with an event is its Problem.
func (p *Parser) Next(b []byte, i int, strict bool) (ev Event, end int, pr *Problem, err error) {
	i = Space(b, i)
	p.problem = nil
	var depth int
	if i < len(b) && b[i] == '{' {
		end, depth, err = p.object(&ev, b, i+1, strict)
	} else {
		p.problem = problem(CodeNotAnObject, "an event is a JSON object")
		end, err = p.scan.Value(b, i)
		depth = p.scan.Depth
	}
	switch {
	case err != nil:
		return ev, end, nil, err
	case end-i > MaxBytes:
		return ev, end, tooLarge(end - i), nil
	case depth > MaxDepth+1: // The event itself is one level; its data may have MaxDepth.
		return ev, end, problem(CodeTooDeep, "data is nested "+strconv.Itoa(depth-1)+" levels deep, at most "+strconv.Itoa(MaxDepth)+" are taken"), nil
	}
	return ev, end, p.problem, nil
}

func tooLarge(n int) *Problem {
	return problem(CodeTooLarge, "an event has at most "+strconv.Itoa(MaxBytes)+" bytes, this one has "+strconv.Itoa(n))
}

// object reads an object from just behind its brace. Each byte is looked at once. It goes on when the event cannot be taken: that it is not JSON
// at all counts for more.
func (p *Parser) object(ev *Event, raw []byte, i int, strict bool) (end, depth int, err error) {
	p.seen.begin()
	p.ext = p.ext[:0]
	depth = 1
	if i = Space(raw, i); i < len(raw) && raw[i] == '}' {
		p.finish(ev, strict)
		return i + 1, depth, nil
	}
	for {
		if i >= len(raw) || raw[i] != '"' {
			i, err = bad(i, "expected a member name in double quotes")
			return i, depth, err
		}
		m := member{start: i}
		if i, m.plainName, err = text(raw, i); err != nil {
			return i, depth, err
		}
		m.name = raw[m.start:i]
		if i, err = colon(raw, i); err != nil {
			return i, depth, err
		}
		if i = Space(raw, i); i < len(raw) && raw[i] == '"' {
			m.start = i
			i, m.plainValue, err = text(raw, i)
		} else {
			m.start = i
			i, err = p.scan.Value(raw, i)
			depth = max(depth, p.scan.Depth+1)
		}
		if err != nil {
			return i, depth, err
		}
		if m.value = raw[m.start:i]; p.problem == nil {
			p.problem = p.member(ev, &m)
		}
		if i = Space(raw, i); i < len(raw) && raw[i] == ',' {
			i = Space(raw, i+1)
			continue
		}
		switch {
		case i >= len(raw):
			i, err = bad(i, "the text ends inside an object or array")
			return i, depth, err
		case raw[i] != '}':
			i, err = bad(i, "expected a comma or the end of the object or array")
			return i, depth, err
		}
		p.finish(ev, strict)
		return i + 1, depth, nil
	}
}

// finish is what is left when all members were read.
func (p *Parser) finish(ev *Event, strict bool) {
	if p.problem != nil {
		return
	}
	if len(p.ext) > 0 {
		start := len(p.own)
		p.own = append(append(p.own, p.ext...), '}')
		ev.Extensions = p.own[start:len(p.own):len(p.own)]
	}
	p.problem = complete(ev, strict, p.seen.has(attrSpecVersion))
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

// member is one member of an event: its name and its value, as they stand there.
type member struct {
	name, value           []byte
	plainName, plainValue bool // strings without escapes
	start                 int
}

func (p *Parser) member(ev *Event, m *member) *Problem {
	name, ok := p.text(m.name, m.plainName)
	if !ok {
		return problem(CodeAttribute, "an attribute's name is not Unicode text")
	}
	a := attributeOf(name)
	if p.seen.add(a, name) {
		return problem(CodeAttribute, "the attribute "+strconv.Quote(string(name))+" is given twice")
	}
	switch {
	case a == attrData:
		ev.Data = m.value
		return nil
	case string(m.value) == "null" || a == attrReceivedAt:
		return nil // CloudEvents: null is absence. received_at is ours to say, so an exported event can be sent again.
	case a != attrExtension:
		return p.attribute(ev, a, m)
	}
	if m.value[0] == '{' || m.value[0] == '[' {
		return problem(CodeAttribute, "the extension attribute "+strconv.Quote(string(name))+" must be a string, number or boolean: put structure under data")
	}
	if len(name) == 0 || len(name) > MaxAttrBytes || len(m.value) > MaxAttrBytes*8 {
		return problem(CodeAttribute, "an extension attribute's name has 1 to 1024 bytes and its value at most 8192")
	}
	p.extension(name, m)
	return nil
}

// text is what a string says, a view of it if it is plain.
func (p *Parser) text(quoted []byte, plain bool) (text []byte, ok bool) {
	if plain {
		return quoted[1 : len(quoted)-1], true
	}
	start := len(p.own)
	p.own, ok = appendUnquoted(p.own, quoted)
	return p.own[start:len(p.own):len(p.own)], ok
}

func (p *Parser) extension(name []byte, m *member) {
	if len(p.ext) == 0 {
		p.ext = append(p.ext, '{')
	} else {
		p.ext = append(p.ext, ',')
	}
	if m.plainName {
		p.ext = append(p.ext, m.name...)
	} else {
		p.ext = AppendQuoted(p.ext, view(name))
	}
	p.ext = append(append(p.ext, ':'), m.value...)
}

// attribute sets one of CloudEvents' own attributes.
func (p *Parser) attribute(ev *Event, a attribute, m *member) *Problem {
	text, ok := []byte(nil), m.value[0] == '"'
	if ok {
		text, ok = p.text(m.value, m.plainValue)
	}
	if !ok {
		return problem(a.code(), a.name()+" must be a string")
	}
	switch a {
	case attrTime:
		if ev.Time, ok = ParseTime(view(text)); !ok {
			return problem(CodeTime, "time must be RFC 3339 with an offset, such as 2026-01-31T12:00:00Z")
		}
		return nil
	case attrSpecVersion:
		if string(text) != "1.0" {
			return problem(CodeSpecVersion, "only specversion \"1.0\" is known")
		}
		return nil
	case attrDataBase64:
		if _, err := base64.StdEncoding.DecodeString(view(text)); err != nil {
			return problem(CodeData, "data_base64 is not base64")
		}
		p.extension([]byte("data_base64"), m)
		return nil
	}
	// A string without escapes, which the scanner has accepted, is UTF-8 and has no control characters.
	if !m.plainValue || len(text) == 0 || len(text) > MaxAttrBytes {
		if pr := CheckAttribute(a.name(), view(text)); pr != nil {
			return pr
		}
	}
	switch a {
	case attrID:
		ev.ID, ev.Identified = view(text), true
	case attrSource:
		ev.Source = view(text)
	case attrType:
		ev.Type = view(text)
	case attrSubject:
		ev.Subject = view(text)
	}
	return nil
}

// view is b as a string that shares its memory: b must not change as long as the string is used.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // what the parser and the decoder read says so in their comments
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
