package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// peakMemory is the most memory that the server's process has ever had, in bytes.
func (s *server) peakMemory() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.cmd.Process.Pid))
	if err != nil {
		s.t.Skipf("there is no /proc to read the server's memory from: %v", err)
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil || !found {
		s.t.Fatalf("no VmHWM in %s: %v", status, err)
	}
	return kilobytes << 10
}

// repeat fills a body of just under 16 MiB.
func repeat(b []byte) []byte { return bytes.Repeat(b, (16<<20-1)/len(b)) }

// zstdFrame is a frame by hand (RFC 8878): its header behind the magic number, and n blocks of 128 KiB of one byte.
func zstdFrame(header []byte, n int) []byte {
	frame := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, header...)
	for i := range n {
		block := uint32(1<<1 | 128<<10<<3) // run-length encoded
		if i == n-1 {
			block |= 1 // the last
		}
		frame = append(frame, byte(block), byte(block>>8), byte(block>>16), ' ')
	}
	return frame
}

// TestBombsAreRefusedWithinBounds sends bodies that become up to half a terabyte, many at a time.
func TestBombsAreRefusedWithinBounds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	blank := bytes.Repeat([]byte(" "), 15<<20)
	terabyte := binary.LittleEndian.AppendUint64([]byte{0xe0}, 1<<40) // one segment, so all of it is the window
	bombs := map[string]struct {
		encoding string
		body     []byte
		status   int
	}{
		"gzip: members of 15 MiB":                  {"gzip", repeat(gzipped(t, blank)), 413},
		"gzip: two members that are over together": {"gzip", append(gzipped(t, blank), gzipped(t, blank)...), 413},
		"gzip: 800 000 empty members":              {"gzip", repeat(gzipped(t, nil)), 400},
		"gzip: large members and junk":             {"gzip", append(gzipped(t, blank), "junk"...), 400},
		"zstd: frames of 15 MiB":                   {"zstd", repeat(zstdCompressed(t, blank)), 413},
		"zstd: empty frames":                       {"zstd", repeat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}), 400},
		"zstd: half a terabyte of one byte":        {"zstd", zstdFrame([]byte{0x00, 13 << 3}, 4<<20-64), 413}, // a window of 8 MiB
		"zstd: a window of 2 TiB":                  {"zstd", zstdFrame([]byte{0x00, 31 << 3}, 1), 413},
		"zstd: a window of 16 MiB":                 {"zstd", zstdFrame([]byte{0x00, 14 << 3}, 1), 413},
		"zstd: a frame that says 1 TiB":            {"zstd", zstdFrame(terabyte, 1), 413},
		"zstd: frames to be skipped":               {"zstd", repeat([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}), 400},
		"zstd: a dictionary":                       {"zstd", zstdFrame([]byte{0x03, 13 << 3, 1, 2, 3, 4}, 1), 400},
	}
	s.send(client.Event{Type: "before"})
	before := s.peakMemory()
	const atATime, ofEach = 8, 2
	var all sync.WaitGroup
	turn := make(chan struct{}, atATime)
	began := time.Now()
	for name, bomb := range bombs {
		for range ofEach {
			turn <- struct{}{}
			all.Go(func() {
				defer func() { <-turn }()
				var r *client.Response
				var began time.Time
				err := poll(t.Context(), time.Minute, func() (err error) {
					began = time.Now()
					r, err = s.Exchange(t.Context(), "POST", "/v1/events", header("Content-Type", "application/json", "Content-Encoding", bomb.encoding), bomb.body)
					if err == nil && r.Status == http.StatusServiceUnavailable { // too many large bodies at a time
						err = fmt.Errorf("%d %s", r.Status, r.Body)
					}
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if p := wantProblem(t, r, bomb.status); p.Detail == "" || r.Status != bomb.status {
					t.Errorf("%s: nothing is said of what is wrong: %s", name, clip(r.Body))
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			})
		}
	}
	all.Wait()
	after := s.peakMemory()
	t.Logf("%d bombs in %s: %d MiB before, %d MiB at the peak", ofEach*len(bombs), time.Since(began), before>>20, after>>20)
	// Each has at most 16 MiB inflated, as much again while that grows, and a window of 8 MiB; as much is garbage before it is collected.
	if grown := (after - before) >> 20; grown > 2*atATime*(16+16+8) {
		t.Errorf("the server grew by %d MiB", grown)
	}
	if r := s.exchange("GET", "/readyz", nil, nil); r.Status != http.StatusOK {
		t.Errorf("afterwards: %d %s", r.Status, r.Body)
	}
	s.send(client.Event{Type: "after"})
	s.waitForEvents(client.EventQuery{}, 2)
	s.wantNoErrors()
}

// TestBracketsWithoutEndAreRefusedEverywhere nests 100 000 levels wherever something is parsed.
func TestBracketsWithoutEndAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const n = 100_000
	nested := func(open, inner, end string) string { return strings.Repeat(open, n) + inner + strings.Repeat(end, n) }
	texts := map[string]string{
		"arrays": nested("[", "", "]"), "objects": nested(`{"a":`, "1", "}"), "both": nested(`[{"a":`, "1", "}]"), "arrays without end": nested("[", "", ""),
		"objects without end": nested(`{"a":`, "", ""), "in a list": "[1," + nested("[", "", "]") + "]",
	}
	json := header("Content-Type", "application/json")
	check := func(what string, r *client.Response, statuses ...int) {
		t.Helper()
		for _, status := range statuses {
			if r.Status == status {
				wantProblem(t, r, status)
				return
			}
		}
		t.Errorf("%s: %d %s", what, r.Status, clip(r.Body))
	}
	for name, text := range texts {
		for _, media := range []string{"application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"} {
			check(name+" as "+media, s.exchange("POST", "/v1/events", header("Content-Type", media), []byte(text)), 400, 422)
			check(name+" as data in "+media, s.exchange("POST", "/v1/events", header("Content-Type", media), []byte(`{"type":"deep","data":`+text+`}`)), 400, 422)
		}
		check(name+" in binary mode", s.exchange("POST", "/v1/events", header("Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Type", "deep", "Ce-Id", "1", "Ce-Source", "s"), []byte(text)), 422)
		for _, path := range []string{"PUT /v1/metrics/deep", "PUT /v1/rules/deep", "PUT /v1/channels/deep", "PUT /v1/sources/deep"} {
			method, path, _ := strings.Cut(path, " ")
			check(name+" to "+path, s.exchange(method, path, json, []byte(text)), 400, 413, 422)
			check(name+" in a member to "+path, s.exchange(method, path, json, []byte(`{"config":`+text+`,"filter":`+text+`,"where":`+text+`}`)), 400, 413, 422)
		}
	}
	for name, text := range map[string]string{
		"parentheses": nested("(", "true", ")"), "lists": nested("[", "1", "]"), "maps": nested("{1:", "1", "}"), "nots": strings.Repeat("!", n) + "true", "negations": strings.Repeat("-", n) + "1 == 1",
		"ands": strings.Repeat("true && ", n) + "true", "ternaries": strings.Repeat("true ? true : ", n) + "true", "indexes": "data" + strings.Repeat("[0]", n) + " == 1",
		"members": "data" + strings.Repeat(".a", n) + " == 1", "calls": nested("size(", "type", ")"), "a sum": strings.Repeat("1+", n) + "1 == 1", "parentheses without end": nested("(", "", ""),
	} {
		for _, field := range []string{"filter", "value"} {
			began := time.Now()
			check(name+" as "+field, s.exchange("PUT", "/v1/metrics/deep", json, []byte(fmt.Sprintf(`{%q:%q}`, field, text))), 413, 422)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s as %s took %s", name, field, took)
			}
		}
	}
	for _, query := range []string{"where=type:" + strings.Repeat("(", 50_000), "where=" + strings.Repeat("type:", 10_000), "group_by=" + strings.Repeat("(", 50_000), "group_by=" + strings.Repeat(",", 50_000), "where=" + strings.Repeat("[", 50_000)} {
		if r := s.exchange("GET", "/v1/metrics/events/query?"+query, nil, nil); r.Status != http.StatusOK && r.Status != http.StatusRequestHeaderFieldsTooLarge {
			check(clip([]byte(query))[:20], r, 422)
		}
	}
	v := s.view(t)
	for _, text := range []string{nested("[", "", "]")[:60<<10], `{"op":"subscribe","id":"a","where":` + strings.Repeat("[", 50_000), `{"op":"subscribe","id":"a","metric":"events","where":{"type":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}}`} {
		if err := v.live.Send(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if f, ok := v.next(10 * time.Second); !ok || f.Op != "error" {
			t.Errorf("%s is answered with %+v", text[:20], f)
		}
	}
	s.send(client.Event{Type: "after"})
	s.waitForEvents(client.EventQuery{}, 1)
	s.wantNoErrors()
}
