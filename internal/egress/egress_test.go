package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

func TestServerOnLoopbackIsReachedOnlyWhenAllowed(t *testing.T) {
	hits := new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
		_, err := get(t, New(nil).HTTPClient(5*time.Second), "http://"+host+":"+port+"/")
		var r *Refused
		if !errors.As(err, &r) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if hits.Load() != 0 {
		t.Fatal("a refused request arrived")
	}
	resp, err := get(t, New(loopback()).HTTPClient(5*time.Second), srv.URL)
	if err != nil || resp.StatusCode != http.StatusOK || hits.Load() != 1 {
		t.Fatalf("allowed request: %v, %d hits", err, hits.Load())
	}
}

func TestRefusalNamesTheHostAskedFor(t *testing.T) {
	_, err := New(nil).DialContext(t.Context(), "tcp", "localhost:80")
	var r *Refused
	if !errors.As(err, &r) || r.Host != "localhost" || !r.Addr.IsLoopback() {
		t.Fatalf("%#v", err)
	}
	if _, err = New(nil).Dialer().DialContext(t.Context(), "tcp", "127.0.0.1:80"); !errors.As(err, &r) {
		t.Fatalf("by the plain dialer: %v", err)
	}
}

func TestOnlyTCPIsDialled(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := New(loopback())
	var r *Refused
	if _, err := g.DialContext(t.Context(), "unix", socket); !errors.As(err, &r) {
		t.Errorf("unix: %v", err)
	}
	if _, err := g.DialContext(t.Context(), "udp", "127.0.0.1:53"); !errors.As(err, &r) {
		t.Errorf("udp: %v", err)
	}
	if _, err := g.Dialer().DialContext(t.Context(), "unix", socket); !errors.As(err, &r) {
		t.Errorf("unix by the plain dialer: %v", err)
	}
}

// A name server that says something else each time: public first, then loopback. The guard looks at what is dialled, so it
// does not matter what was said when the address was entered.
func TestNameThatIsReboundIsRefused(t *testing.T) {
	hits := new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	queries := new(atomic.Int32)
	g := New(nil)
	g.resolver = nameServer(t, func() [4]byte {
		if queries.Add(1) == 1 {
			return [4]byte{93, 184, 215, 14}
		}
		return [4]byte{127, 0, 0, 1}
	})
	first, err := g.resolver.LookupNetIP(t.Context(), "ip4", "rebind.example.org.")
	if err != nil || g.Check(first[0]) != nil {
		t.Fatalf("the first answer is public: %v %v", first, err)
	}
	_, err = get(t, g.HTTPClient(5*time.Second), "http://rebind.example.org.:"+port)
	var r *Refused
	if !errors.As(err, &r) || hits.Load() != 0 {
		t.Fatalf("%v, %d hits", err, hits.Load())
	}
	if !strings.Contains(r.Error(), "rebind.example.org") || !strings.Contains(r.Error(), "--egress-allow 127.0.0.1/32") {
		t.Error(r)
	}
}

// nameServer starts a DNS server that answers each A query with answer's address and knows nothing else.
func nameServer(t *testing.T, answer func() [4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5 // the root label, type and class
			kind := binary.BigEndian.Uint16(buf[end-4:])
			reply := append([]byte{}, buf[:end]...)
			copy(reply[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}) // an answer without records
			if kind == 1 {
				a := answer()
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, a[0], a[1], a[2], a[3])
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestRedirectIsNotFollowedAndSaysSo(t *testing.T) {
	hits := new(atomic.Int32)
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(target.URL+"/x", status))
		_, err := get(t, New(loopback()).HTTPClient(5*time.Second), srv.URL)
		var r *Redirected
		if !errors.As(err, &r) || r.Status != status || r.Location != target.URL+"/x" || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
	}
	if hits.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	hits := new(atomic.Int32)
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	g := New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	g.resolver = nameServer(t, func() [4]byte { return [4]byte{127, 0, 0, 2} })
	if _, err := get(t, g.HTTPClient(5*time.Second), "http://behind-a-proxy.example.org.:9"); err == nil || hits.Load() != 0 {
		t.Fatalf("%v, the proxy was asked %d times", err, hits.Load())
	}
}

func TestResponseBodyIsBounded(t *testing.T) {
	for size, want := range map[int]error{0: nil, MaxResponseBytes: nil, MaxResponseBytes + 1: ErrTooLarge, 3 * MaxResponseBytes: ErrTooLarge} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }))
		resp, err := get(t, New(loopback()).HTTPClient(5*time.Second), srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if !errors.Is(err, want) || n != int64(min(size, MaxResponseBytes)) {
			t.Errorf("%d bytes: read %d, %v", size, n, err)
		}
		srv.Close()
	}
}

func TestOldTLSAndUnknownCertificatesAreRefused(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} // what is to be refused
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	if _, err := get(t, New(loopback()).WithRootCAs(roots).HTTPClient(5*time.Second), srv.URL); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	good := httptest.NewTLSServer(http.NotFoundHandler())
	defer good.Close()
	var unknown x509.UnknownAuthorityError
	if _, err := get(t, New(loopback()).HTTPClient(5*time.Second), good.URL); !errors.As(err, &unknown) {
		t.Errorf("unknown authority: %v", err)
	}
	if _, err := get(t, New(loopback()).WithRootCAs(roots).HTTPClient(5*time.Second), good.URL); err != nil {
		t.Errorf("trusted: %v", err)
	}
}

func TestRequestEndsAtItsTimeout(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	start := time.Now()
	_, err := get(t, New(loopback()).HTTPClient(50*time.Millisecond), srv.URL)
	var n net.Error
	if !errors.As(err, &n) || !n.Timeout() || time.Since(start) > 5*time.Second {
		t.Fatalf("%v after %s", err, time.Since(start))
	}
}
