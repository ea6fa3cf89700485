package quick_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/web/quick"
)

func mine(target []byte) bool { return bytes.HasPrefix(target, []byte("/mine")) }

// server is an http.Server behind a Listener. Its handler says in X-By who has read the request, and answers with what it brought.
type server struct {
	*quick.Listener
	http   *http.Server
	logged bytes.Buffer
	given  chan struct{} // has something for each connection that net/http was given
	hold   chan struct{} // if not nil, a request for /mine/held has its answer when it is closed
	held   chan struct{}
}

func (s *server) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		s.given <- struct{}{}
	}
	return c, err
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	by := "quick"
	if r.Context().Value(http.ServerContextKey) != nil {
		by = "net/http"
	}
	switch r.URL.Path {
	case "/mine/panic":
		panic("on purpose")
	case "/mine/abort":
		panic(http.ErrAbortHandler)
	case "/mine/held":
		s.held <- struct{}{}
		<-s.hold
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header()["X-By"] = []string{by}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Split", "no\r\nX-Evil: header")
	w.WriteHeader(http.StatusAccepted)
	w.WriteHeader(http.StatusTeapot) // too late
	_, _ = fmt.Fprintf(w, "%s %s of %s, %d bytes, key %q: %s", r.Method, r.RequestURI, r.Host, r.ContentLength, r.Header.Get("X-Key"), body)
}

func serve(t *testing.T, patience, idle time.Duration) *server {
	t.Helper()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{given: make(chan struct{}, 100), held: make(chan struct{}, 1), hold: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idle, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	s.Listener = quick.NewListener(inner, mine, s.http, slog.New(slog.NewTextHandler(&s.logged, nil)))
	s.Patience(patience)
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s) }()
	t.Cleanup(func() {
		if err := s.http.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// client is a connection, written to by hand.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (s *server) dial(t *testing.T) *client {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next answer, with its body.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r, string(body)
}

// by is who has read the next answer's request.
func (c *client) by() string {
	c.t.Helper()
	r, _ := c.answer()
	return r.Header.Get("X-By")
}

func (c *client) ends() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Errorf("the connection brought %q and %v, and should have ended", b, err)
	}
}

func TestAConnectionWithoutARequestIsKeptAsLongAsTheServerKeepsIt(t *testing.T) {
	c := serve(t, 10*time.Millisecond, 20*time.Millisecond).dial(t)
	c.send(small)
	if c.by() != "quick" {
		t.Error("a small request was not answered here")
	}
	c.ends()
}

const small = "POST /mine HTTP/1.1\r\nHost: example.org:80\r\nContent-Length: 5\r\nx-key: a \t\r\n\r\nhello"

func TestASmallRequestIsAnsweredAsNetHTTPDoes(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	c, other := s.dial(t), s.dial(t)
	c.send(small)
	other.send(strings.Replace(small, "x-key", "Connection: Keep-Alive\r\nx-key", 1))
	got, text := c.answer()
	want, theirs := other.answer()
	if got.Header.Get("X-By") != "quick" || want.Header.Get("X-By") != "net/http" {
		t.Fatalf("by %q and %q", got.Header.Get("X-By"), want.Header.Get("X-By"))
	}
	for _, h := range []http.Header{got.Header, want.Header} {
		h.Del("X-By")
		if _, err := http.ParseTime(h.Get("Date")); err != nil {
			t.Error(err)
		}
		h.Del("Date")
	}
	if text != theirs || got.Status != want.Status || got.ContentLength != want.ContentLength || got.Close != want.Close || !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
		t.Errorf("quick: %s %v %q\nnet/http: %s %v %q", got.Status, got.Header, text, want.Status, want.Header, theirs)
	}
	if text != `POST /mine of example.org:80, 5 bytes, key "a": hello` {
		t.Errorf("%q", text)
	}
}

func TestAConnectionBringsOneRequestAfterTheOther(t *testing.T) {
	c := serve(t, time.Minute, time.Minute).dial(t)
	for i := range 100 {
		body := strings.Repeat("x", i*163)
		request := fmt.Sprintf("POST /mine/%d HTTP/1.1\r\nHost: h\r\nX-Key: k%d\r\nContent-Length: %d\r\n\r\n%s", i%3, i%7, len(body), body)
		cut := i * 41 % len(request) // in two parts
		c.send(request[:cut])
		c.send(request[cut:])
		if r, text := c.answer(); r.Header.Get("X-By") != "quick" || text != fmt.Sprintf("POST /mine/%d of h, %d bytes, key %q: %s", i%3, len(body), fmt.Sprint("k", i%7), body) {
			t.Fatalf("%d: by %q: %q", i, r.Header.Get("X-By"), text)
		}
	}
	c.send(strings.Repeat(small, 50)) // without waiting for the answers
	for range 50 {
		if c.by() != "quick" {
			t.Fatal("not all of them")
		}
	}
}

func TestWhatIsNoSmallPlainRequestIsNetHTTPs(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	long := strings.Repeat("y", 17<<10)
	for name, request := range map[string]string{
		"another path":          strings.Replace(small, "/mine", "/other", 1),
		"another method":        strings.Replace(small, "POST", "PUT", 1),
		"an older version":      strings.Replace(small, "HTTP/1.1", "HTTP/1.0", 1),
		"in pieces":             "POST /mine HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"asking first":          strings.Replace(small, "x-key", "Expect: 100-continue\r\nx-key", 1),
		"the last one":          strings.Replace(small, "x-key", "Connection: close\r\nx-key", 1),
		"a large body":          fmt.Sprintf("POST /mine HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"a large head":          strings.Replace(small, "x-key", "X-Long: "+long[:5000]+"\r\nx-key", 1),
		"many fields":           strings.Replace(small, "x-key", strings.Repeat("a: b\r\n", 64)+"x-key", 1),
		"the length twice":      strings.Replace(small, "x-key", "Content-Length: 5\r\nx-key", 1),
		"compressed":            strings.Replace(small, "x-key", "Content-Encoding: gzip\r\nx-key", 1),
		"no length":             strings.Replace(small, "Content-Length: 5\r\n", "", 1),
		"letters of elsewhere":  strings.Replace(small, "a \t", "ä", 1),
		"a path with an escape": strings.Replace(small, "/mine", "/m%69ne", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			c.send(small)
			if c.by() != "quick" {
				t.Error("the one before")
			}
			c.send(request)
			r, _ := c.answer()
			if r.StatusCode == http.StatusContinue {
				r, _ = c.answer()
			}
			if r.Header.Get("X-By") != "net/http" {
				t.Errorf("%s by %q", r.Status, r.Header.Get("X-By"))
			}
			if r.Close {
				c.ends()
				return
			}
			c.send(strings.ReplaceAll(small, "hello", "after"))
			if r, text := c.answer(); r.Header.Get("X-By") != "net/http" || !strings.HasSuffix(text, "after") {
				t.Errorf("what came then: by %q: %s", r.Header.Get("X-By"), text)
			}
		})
	}
}

func TestWhatIsNoRequestIsRefusedByNetHTTP(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	for name, request := range map[string]string{
		"no host":          strings.Replace(small, "Host: example.org:80\r\n", "", 1),
		"two hosts":        strings.Replace(small, "x-key", "Host: b\r\nx-key", 1),
		"two lengths":      strings.Replace(small, "x-key", "Content-Length: 6\r\nx-key", 1),
		"a signed length":  strings.Replace(small, "Length: 5", "Length: +5", 1),
		"a space in a key": strings.Replace(small, "x-key:", "x-key :", 1),
		"a folded line":    strings.Replace(small, "x-key", " x-key", 1),
		"no name":          strings.Replace(small, "x-key", "", 1),
		"a bare return":    strings.Replace(small, "a \t", "a\rb", 1),
		"a zero":           strings.Replace(small, "a \t", "a\x00", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			c.send(small + request)
			if c.by() != "quick" {
				t.Error("the one before")
			}
			if r, _ := c.answer(); r.StatusCode != http.StatusBadRequest {
				t.Error(r.Status)
			}
			c.ends()
		})
	}
}

func TestWhatDoesNotComeWholeInAMomentIsLeftToNetHTTP(t *testing.T) {
	s := serve(t, time.Millisecond, time.Minute)
	c := s.dial(t) // and nothing
	<-s.given
	c.send(small)
	if c.by() != "net/http" {
		t.Error("a connection that said nothing at first")
	}
	for _, cut := range []int{1, 30, len(small) - 1} {
		c := s.dial(t)
		c.send(small[:cut])
		<-s.given
		c.send(small[cut:])
		if c.by() != "net/http" {
			t.Errorf("after %d bytes", cut)
		}
	}
}

func TestARequestThatDripsIsLeftToNetHTTP(t *testing.T) {
	s := serve(t, 50*time.Millisecond, time.Minute)
	c := s.dial(t)
	c.send(small)
	if c.by() != "quick" {
		t.Fatal("a request that comes at once")
	}
	for i := range len(small) {
		select {
		case <-s.given:
			c.send(small[i:])
			if c.by() != "net/http" {
				t.Error("a request that was handed over")
			}
			return
		case <-time.After(time.Millisecond): // much less than the patience
			c.send(small[i : i+1])
		}
	}
	c.send(small)
	t.Errorf("%d pieces came in time, for %s", len(small), c.by())
}

func TestEmptyLinesBehindABodyAreSkippedAsByNetHTTP(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	for _, by := range []string{"quick", "net/http"} {
		c := s.dial(t)
		if by == "net/http" {
			c.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
			c.answer()
		}
		for _, lines := range []string{"\r\n", "\r\n\r\n", "\n"} {
			c.send(small + lines)
			if got := c.by(); got != by {
				t.Errorf("by %q, not %q", got, by)
			}
		}
		c.send(small + "\r\n" + "GET /other HTTP/1.1\r\nHost: h\r\n\r\n" + small + "\r\n\r\n\r\n")
		for range 3 {
			if r, _ := c.answer(); r.StatusCode != http.StatusAccepted {
				t.Error(r.Status)
			}
		}
		if r, _ := c.answer(); r.StatusCode != http.StatusBadRequest { // more than net/http skips
			t.Error(r.Status)
		}
	}
	c := s.dial(t)
	c.send(small + "\r\n\r\n\r\n" + small)
	c.answer()
	if r, _ := c.answer(); r.StatusCode != http.StatusBadRequest {
		t.Error(r.Status)
	}
}

func TestAHandlerThatPanicsEndsItsConnectionOnly(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	other := s.dial(t)
	for _, path := range []string{"/mine/panic", "/mine/abort"} {
		c := s.dial(t)
		c.send(strings.Replace(small, "/mine", path, 1))
		c.ends()
	}
	other.send(small)
	if other.by() != "quick" {
		t.Error("another connection")
	}
	if err := s.Drain(t.Context()); err != nil { // so that all is logged
		t.Error(err)
	}
	if got := s.logged.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "on purpose") {
		t.Errorf("logged: %s", got)
	}
}

func TestAStopLetsRequestsHaveTheirAnswers(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	busy, idle := s.dial(t), s.dial(t)
	idle.send(small)
	if idle.by() != "quick" {
		t.Fatal("not here")
	}
	busy.send(strings.Replace(small, "/mine", "/mine/held", 1) + small)
	<-s.held
	stopped := make(chan error, 1)
	go func() {
		err := s.http.Shutdown(t.Context())
		stopped <- errors.Join(err, s.Drain(t.Context()))
	}()
	idle.ends()
	close(s.hold)
	if r, _ := busy.answer(); r.StatusCode != http.StatusAccepted || !r.Close {
		t.Errorf("%s, and the connection ends: %v", r.Status, r.Close)
	}
	busy.ends()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAStopWaitsForARequestWhoseHeadIsThere(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	c := s.dial(t)
	c.send(small[:len(small)-3])
	for s.Busy() == 0 {
		runtime.Gosched()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Drain(t.Context()) }()
	c.send(small[len(small)-3:])
	if r, _ := c.answer(); r.StatusCode != http.StatusAccepted || r.Header.Get("X-By") != "quick" {
		t.Error(r.Status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAStopLeavesWhatNetHTTPHasToIt(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	c := s.dial(t)
	c.send(strings.Replace(small, "/mine HTTP/1.1\r\n", "/mine/held HTTP/1.1\r\nConnection: Keep-Alive\r\n", 1))
	<-s.held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); err != nil {
		t.Error(err)
	}
	close(s.hold)
	if c.by() != "net/http" {
		t.Error("not by net/http")
	}
}

func TestAStopThatTakesTooLongCutsRequestsOff(t *testing.T) {
	s := serve(t, time.Minute, time.Minute)
	c := s.dial(t)
	c.send(strings.Replace(small, "/mine", "/mine/held", 1))
	<-s.held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.ends()
	close(s.hold)
}

// understood fails when a request that is read here is understood in another way than net/http does, or does not end where it does.
func understood(t *testing.T, b []byte) (here bool) {
	t.Helper()
	got, end, ok := quick.Head(b, func(target []byte) bool {
		return bytes.HasPrefix(target, []byte("/mine")) && !slices.ContainsFunc(target, func(c byte) bool { return c <= ' ' || c > '~' || c == '%' || c == '?' || c == '#' })
	})
	if !ok {
		return false
	}
	rest := bufio.NewReader(bytes.NewReader(b))
	want, err := http.ReadRequest(rest)
	if err != nil {
		t.Fatalf("%q: net/http does not take it: %v", b, err)
	}
	var read [3][]byte
	for i, r := range []io.Reader{want.Body, got.Body, rest} {
		if read[i], err = io.ReadAll(r); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
	}
	if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || got.Proto != want.Proto || got.ContentLength != want.ContentLength || got.URL.String() != want.URL.String() ||
		want.Close || len(want.TransferEncoding) > 0 || !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
		t.Errorf("%q: %+v\nnet/http: %+v", b, got, want)
	}
	if body, mine, left := read[0], read[1], read[2]; !bytes.Equal(mine, body) || !bytes.Equal(left, b[end:]) {
		t.Errorf("%q: the body is %q and then comes %q; net/http: %q and %q", b, mine, b[end:], body, left)
	}
	return true
}

func FuzzHead(f *testing.F) {
	for _, s := range []string{small, small + small, "POST /mine HTTP/1.1\r\nHost: [::1]:8080\r\nAuthorization: Bearer x\r\nAuthorization: Basic y\r\ncontent-length: 007\r\nContent-Type: application/json\r\nconnection: keep-alive\r\n\r\n{\"a\":1}",
		"POST /mine?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST /mine HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /mine HTTP/1.1\nHost: h\nContent-Length: 0\n\n", "GET /mine HTTP/1.1\r\nHost: h\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { understood(t, b) })
}

func TestMadeUpRequestsAreUnderstoodAsNetHTTPDoes(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	one := func(of ...string) string { return of[dice.IntN(len(of))] }
	mostly := func(usual string, rare ...string) string {
		if dice.IntN(10) > 0 {
			return usual
		}
		return one(rare...)
	}
	end := func() string { return mostly("\r\n", "\n", "\r", "\r\r\n", "\r\n\r\n", "") }
	here := 0
	for range 100_000 {
		r := mostly("POST", "post", "POST ", "GET") + " " + mostly("/mine", "/mine/x", "//mine", "http://h/mine", "*") + " " + mostly("HTTP/1.1", "HTTP/1.0", "HTTP/1.1 ", "HTTP/2") + end()
		r += mostly("Host: h", "host:h", "Host: h, h", "Host:", "Host: h/", "hosts: h") + end()
		r += mostly("content-length: 5", "Content-Length:5", "Content-Length: 5 ", "Content-Length: 05", "Content-Length: 4, 4", "Content-Length: 0x5", "Content-Length: -1", "Content-Length:", "a: b") + end()
		for range dice.IntN(4) {
			r += mostly(one("Connection: keep-alive", "A-b-C: d", "a_b: c", "a:", "X-A: a:b", "x-a:\tb\t", "Keep-Alive: timeout=5"), "Host: h2", "Content-Length: 5", "Transfer-Encoding: chunked", "transfer-encoding: identity", "Connection: close",
				"Connection: keep-alive, Upgrade", "Upgrade: websocket", "Expect: 100-continue", "Trailer: A", "Pragma: no-cache", " folded: x", "x : y", ": y", "no colon", "X-A: \x00", "x-a: ä", "x-a: b\rc", "\xe4: b") + end()
		}
		if understood(t, []byte(r+end()+mostly("hello", "hell", "hello"+small, ""))) {
			here++
		}
	}
	if here < 10_000 {
		t.Errorf("only %d were read here", here)
	}
}
