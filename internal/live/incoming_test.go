package live

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// sent is a frame as a client sends it: the first byte, and the payload under a mask.
func sent(first byte, payload string) []byte {
	b := []byte{first, 0x80 | byte(min(len(payload), 126))}
	if len(payload) >= 126 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	mask := [4]byte{1, 2, 3, 200}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

const final = 0x80

// received is what comes out of bytes that arrive in pieces of a size, with what it ends with.
func received(b []byte, size int) (got string, err error) {
	var in incoming
	for piece := range slicesOf(bytes.Clone(b), size) {
		err = in.take(piece, func(opcode byte, payload []byte) error {
			got += fmt.Sprintf("%x:%s ", opcode, payload)
			return nil
		})
		if err != nil {
			break
		}
	}
	if err == nil && !in.open && len(in.part) == 0 && (in.part != nil || in.message != nil) {
		err = errors.New("something is kept of what is complete")
	}
	return got, err
}

// slicesOf are the pieces of b, each in memory of its own.
func slicesOf(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(bytes.Clone(b[:n])) {
				return
			}
			b = b[n:]
		}
	}
}

func TestMessagesArePutTogetherHoweverTheyArrive(t *testing.T) {
	long := strings.Repeat("long ", 100)
	stream := bytes.Join([][]byte{
		sent(final|opText, "one"), sent(final|opPing, "are you there"),
		sent(opText, "in "), sent(opContinue, "three "), sent(final|opPong, ""), sent(final|opContinue, "parts"),
		sent(final|opBinary, long), sent(final|opText, ""),
	}, nil)
	want := "1:one 9:are you there a: 1:in three parts 1:" + long + " 1: "
	for _, size := range []int{1, 2, 7, 100, len(stream)} {
		if got, err := received(stream, size); got != want || err != nil {
			t.Errorf("in pieces of %d: %q, %v", size, got, err)
		}
	}
}

func TestWhatAClientMayNotSendEndsItsConnectionWithACode(t *testing.T) {
	for name, c := range map[string]struct {
		send []byte
		code websocket.StatusCode
	}{
		"no mask":                             {[]byte{final | opText, 1, 'x'}, websocket.StatusProtocolError},
		"an extension":                        {sent(final|0x40|opText, "x"), websocket.StatusProtocolError},
		"an unknown frame":                    {sent(final|0x3, "x"), websocket.StatusProtocolError},
		"an unknown control frame":            {sent(final|0xb, "x"), websocket.StatusProtocolError},
		"a ping in two frames":                {sent(opPing, "x"), websocket.StatusProtocolError},
		"a long ping":                         {sent(final|opPing, strings.Repeat("x", 126)), websocket.StatusProtocolError},
		"the end of nothing":                  {sent(final|opContinue, "x"), websocket.StatusProtocolError},
		"a message in another":                {append(sent(opText, "x"), sent(final|opText, "y")...), websocket.StatusProtocolError},
		"a message that will be too big":      {binary.BigEndian.AppendUint64([]byte{final | opText, 0xff}, maxRequestBytes+1), websocket.StatusMessageTooBig},
		"a length that is no length":          {binary.BigEndian.AppendUint64([]byte{final | opText, 0xff}, 1<<63), websocket.StatusMessageTooBig},
		"a message too big in several frames": {bytes.Join([][]byte{sent(opText, strings.Repeat("x", 60_000)), sent(final|opContinue, strings.Repeat("x", 60_000))}, nil), websocket.StatusMessageTooBig},
	} {
		_, err := received(c.send, len(c.send))
		var f *farewell
		if !errors.As(err, &f) || f.code != c.code || f.reason == "" || len(f.frame()) > 127 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFarewellIsAnsweredWithItsCode(t *testing.T) {
	for payload, want := range map[string]websocket.StatusCode{
		"": 0, "\x03\xe8": websocket.StatusNormalClosure, "\x03\xe9bye": websocket.StatusGoingAway, "\x0f\xa0": 4000,
		"\x03": websocket.StatusProtocolError, "\x03\xed": websocket.StatusProtocolError, "\x00\x01": websocket.StatusProtocolError, "\x03\xe8\xff": websocket.StatusProtocolError,
	} {
		var f *farewell
		if err := answerTo([]byte(payload)); !errors.As(err, &f) || f.code != want {
			t.Errorf("%q: %v, want %d", payload, err, want)
		}
	}
}
