package quick

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
)

// progress is how far a request is.
type progress int

const (
	begun progress = iota // it may become one for this package
	whole                 // it is one
	other                 // it is for net/http
)

const (
	method    = "POST "
	version   = " HTTP/1.1\r\n"
	mostLines = 64
)

// head is the head of a request, and what is kept of that before on the same connection: most are the same again.
type head struct {
	end    int // of the head in bytes, with its empty line; 0 while it is not known
	length int // of the body
	host   string
	target string
	url    url.URL
	lines  []line
	header http.Header
}

// line is a header field.
type line struct {
	name  string // as it came
	key   string // canonical
	value [1]string
}

// read looks at what there is of a request.
func (h *head) read(b []byte, mine func(target []byte) bool) progress {
	h.end, h.length = 0, 0
	if k := min(len(b), len(method)); string(b[:k]) != method[:k] {
		return other
	}
	stop := bytes.Index(b, []byte("\r\n\r\n"))
	if stop < 0 {
		if len(b) >= mostHead {
			return other
		}
		return begun
	}
	end := stop + 4
	if end > mostHead || !h.parse(b[:stop+2], mine) || h.length > MostBody {
		return other
	}
	h.end = end
	if len(b) < h.end+h.length {
		return begun
	}
	return whole
}

// parse reads a head of whole lines, and says whether it is one for this package.
func (h *head) parse(b []byte, mine func(target []byte) bool) bool {
	first := bytes.IndexByte(b, '\n') + 1
	if first < len(method)+len(version) || string(b[first-len(version):first]) != version {
		return false
	}
	target := b[len(method) : first-len(version)]
	if !mine(target) {
		return false
	}
	if string(target) != h.target {
		h.target = string(target)
		h.url = url.URL{Path: h.target}
	}
	return h.fields(b[first:])
}

// fields reads the header fields.
func (h *head) fields(b []byte) bool {
	if h.header == nil {
		h.header = http.Header{}
	}
	clear(h.header)
	h.host = ""
	length := -1
	for i := 0; len(b) > 0; i++ {
		end := bytes.IndexByte(b, '\n')
		if i == mostLines || end < 1 || b[end-1] != '\r' {
			return false
		}
		colon := bytes.IndexByte(b[:end], ':')
		if colon < 1 {
			return false
		}
		value := bytes.Trim(b[colon+1:end-1], " \t")
		l := h.line(i, b[:colon], value)
		if l == nil {
			return false
		}
		switch l.key {
		case "Host":
			if h.host != "" || !isHost(value) {
				return false
			}
			h.host = l.value[0]
			b = b[end+1:]
			continue
		case "Content-Length":
			if length >= 0 || !number(value, &length) {
				return false
			}
		case "Connection":
			if string(value) != "keep-alive" {
				return false
			}
		case "Transfer-Encoding", "Upgrade", "Expect", "Te", "Trailer", "Proxy-Connection", "Http2-Settings", "Pragma", "Content-Encoding":
			return false
		}
		if before, ok := h.header[l.key]; ok {
			h.header[l.key] = append(before, l.value[0])
		} else {
			h.header[l.key] = l.value[:1:1]
		}
		b = b[end+1:]
	}
	h.length = max(length, 0)
	return length >= 0 && h.host != ""
}

// line is the i-th field, taken over from the request before where it is the same; nil if there is something unusual about it.
func (h *head) line(i int, name, value []byte) *line {
	if i == len(h.lines) {
		h.lines = append(h.lines, line{})
	}
	l := &h.lines[i]
	if string(name) != l.name {
		if !isToken(name) {
			return nil
		}
		l.name = string(name)
		l.key = textproto.CanonicalMIMEHeaderKey(l.name)
	}
	if string(value) != l.value[0] {
		if !isPlain(value) {
			return nil
		}
		l.value[0] = string(value)
	}
	return l
}

// request sets r to the request, with a body.
func (h *head) request(r *http.Request, b *body, remote string) {
	*r = http.Request{Method: http.MethodPost, URL: &h.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h.header,
		Body: b, ContentLength: int64(h.length), Host: h.host, RequestURI: h.target, RemoteAddr: remote}
}

// isToken says whether b is a name of a header field as they usually are.
func isToken(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isPlain says whether b is of printable ASCII characters and tabs.
func isPlain(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// isHost says whether b is a name or an address, and maybe a port.
func isHost(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > ':') && c != '-' && c != '.' && c != '[' && c != ']' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// number reads a length.
func number(b []byte, n *int) bool {
	if len(b) == 0 || len(b) > 9 {
		return false
	}
	*n = 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		*n = *n*10 + int(c-'0')
	}
	return true
}

// body is the body of a request that is there already.
type body struct{ rest []byte }

func (b *body) Read(p []byte) (int, error) {
	n := copy(p, b.rest)
	if b.rest = b.rest[n:]; len(b.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (b *body) Close() error { return nil }
