//go:build linux

package perf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// What a client of the live part understands of WebSocket: it is no part of what is measured, so it does as little as it can.
const (
	opText = 0x1
	opPing = 0x9
	opPong = 0xa
)

const joinLimit = time.Minute

// join opens a live connection, subscribes to a metric and reads its snapshot. Early is what came behind that.
func join(ctx context.Context, address, key, metric string) (fd int, early []byte, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(joinLimit)); err != nil {
		return 0, nil, err
	}
	subscribe, err := json.Marshal(struct {
		Op string `json:"op"`
		client.Subscription
	}{"subscribe", client.Subscription{ID: "a", Metric: metric, Agg: "last", Step: "1s", Since: "10s"}})
	if err != nil {
		return 0, nil, err
	}
	if _, err := fmt.Fprintf(c, "GET /v1/live HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIGJlbmNobWFyayBhcw==\r\n\r\n", address, key); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return 0, nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	if _, err := c.Write(masked(opText, subscribe)); err != nil {
		return 0, nil, err
	}
	var got []byte
	for {
		opcode, payload, rest, ok := cutFrame(got)
		if !ok {
			b, err := r.ReadByte()
			if err != nil {
				return 0, nil, err
			}
			more, _ := r.Peek(r.Buffered()) // it is in memory
			_, _ = r.Discard(len(more))
			got = append(append(got, b), more...)
			continue
		}
		if opcode != opText || !bytes.HasPrefix(payload, []byte(`{"id":"a","op":"snapshot",`)) {
			return 0, nil, fmt.Errorf("the first frame is %s", payload)
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return 0, nil, errors.New("this is no TCP")
		}
		fd, err := handOver(tcp)
		return fd, bytes.Clone(rest), err
	}
}

// masked makes a frame as clients send it; the mask changes nothing.
func masked(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode, 0x80 | 126}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload))) //nolint:gosec // far shorter
	if len(payload) < 126 {
		b = append(b[:1], 0x80|byte(len(payload))) //nolint:gosec // it is below 126
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// cutFrame takes the first frame off what a server has sent; without ok it is not complete yet.
func cutFrame(b []byte) (opcode byte, payload, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, b, false
	}
	head, n := 2, uint64(b[1])
	switch {
	case n == 126 && len(b) >= 4:
		head, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		head, n = 10, binary.BigEndian.Uint64(b[2:])
	case n > 125:
		return 0, nil, b, false
	}
	if uint64(len(b)-head) < n { //nolint:gosec // a length is not negative
		return 0, nil, b, false
	}
	end := head + int(n) //nolint:gosec // it is no more than there is
	return b[0] & 0xf, b[head:end], b[end:], true
}

// values finds the values of all points of a frame, which are whole numbers; others are none.
func values(payload []byte, found func(value int)) {
	begin := []byte(`"points":[`)
	for {
		at := bytes.Index(payload, begin)
		if at < 0 {
			return
		}
		payload = payload[at+len(begin):]
		for len(payload) > 0 && (payload[0] == '[' || payload[0] == ',') {
			end := bytes.IndexByte(payload, ']')
			if end < 0 {
				return
			}
			point := payload[:end]
			if v, err := strconv.Atoi(string(point[bytes.LastIndexByte(point, ',')+1:])); err == nil {
				found(v)
			}
			payload = payload[end+1:]
		}
	}
}
