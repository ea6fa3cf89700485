package live

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// farewell is why a connection ends, as a close frame says it. Its code is 0 when there is nothing to say.
type farewell struct {
	code   websocket.StatusCode
	reason string
}

func (f *farewell) Error() string { return f.reason }

func violation(reason string) error {
	return &farewell{websocket.StatusProtocolError, reason}
}

// frame writes the farewell as it is on the wire. The reason is of our own, and short.
func (f *farewell) frame() []byte {
	if f.code == 0 {
		return appendHeader(nil, opClose, 0)
	}
	b := appendHeader(nil, opClose, 2+len(f.reason))
	return append(binary.BigEndian.AppendUint16(b, uint16(f.code)), f.reason...) //nolint:gosec // codes have four digits
}

// answerTo is what is said to a client that says farewell: the same.
func answerTo(payload []byte) error {
	if len(payload) == 0 {
		return &farewell{}
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return violation("a close frame begins with a code of two bytes, and its reason is UTF-8")
	}
	code := binary.BigEndian.Uint16(payload)
	if code < 1000 || code >= 5000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 {
		return violation("that code may not be in a close frame")
	}
	return &farewell{code: websocket.StatusCode(code)}
}

// incoming puts together what a client sends. As long as nothing is incomplete it keeps nothing: most clients ask once, and listen.
type incoming struct {
	part    []byte // of a frame
	message []byte // of a message in several frames
	open    bool   // there is such a message
}

// take reads b, which it may change, and hands on each message (as opText), ping, pong and close in it.
func (in *incoming) take(b []byte, hand func(opcode byte, payload []byte) error) error {
	if len(in.part) > 0 {
		b, in.part = append(in.part, b...), nil
	}
	for len(b) > 0 {
		f, n, err := cutFrame(b)
		if err != nil {
			return err
		}
		if n == 0 {
			in.part = append(make([]byte, 0, len(b)), b...)
			return nil
		}
		b = b[n:]
		opcode, payload, whole, err := in.add(f)
		if err != nil {
			return err
		}
		if !whole {
			continue
		}
		if err := hand(opcode, payload); err != nil {
			return err
		}
	}
	return nil
}

// add takes a frame; whole says that a message or control frame is complete.
func (in *incoming) add(f clientFrame) (opcode byte, payload []byte, whole bool, err error) {
	switch {
	case f.opcode >= opClose:
		return f.opcode, f.payload, true, nil
	case f.opcode == opContinue && !in.open:
		return 0, nil, false, violation("there is no message to continue")
	case f.opcode != opContinue && in.open:
		return 0, nil, false, violation("the message before is not complete")
	case f.final && !in.open:
		return opText, f.payload, true, nil
	case len(in.message)+len(f.payload) > maxRequestBytes:
		return 0, nil, false, tooBig()
	}
	in.message, in.open = append(in.message, f.payload...), true
	if !f.final {
		return 0, nil, false, nil
	}
	payload = in.message
	in.message, in.open = nil, false
	return opText, payload, true, nil
}

// clientFrame is a frame without its mask.
type clientFrame struct {
	opcode  byte
	final   bool
	payload []byte
}

// cutFrame reads the first frame of b, and takes its mask off in place; n is 0 as long as it is not complete.
func cutFrame(b []byte) (f clientFrame, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	f.opcode, f.final = b[0]&0xf, b[0]&0x80 != 0
	length, head := uint64(b[1]&0x7f), 2
	switch {
	case b[0]&0x70 != 0 || f.opcode > opBinary && f.opcode < opClose || f.opcode > opPong:
		return f, 0, violation("there are no extensions")
	case b[1]&0x80 == 0:
		return f, 0, violation("a client masks its frames")
	case f.opcode >= opClose && (!f.final || length > 125):
		return f, 0, violation("control frames are short and whole")
	case length == 126:
		if head = 4; len(b) < head {
			return f, 0, nil
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127:
		if head = 10; len(b) < head {
			return f, 0, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxRequestBytes {
		return f, 0, tooBig()
	}
	n = head + 4 + int(length)
	if len(b) < n {
		return f, 0, nil
	}
	mask := b[head : head+4]
	f.payload = b[head+4 : n]
	for i := range f.payload {
		f.payload[i] ^= mask[i&3]
	}
	return f, n, nil
}

func tooBig() error {
	return &farewell{websocket.StatusMessageTooBig, "a request is too big"}
}

var errGone = errors.New("the client has gone")
