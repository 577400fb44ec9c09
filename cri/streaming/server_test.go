package streaming

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/session"
	"github.com/varve-cri/varve/e2e/streamclient"
)

// fake is a Runtime whose commands are functions.
type fake struct {
	run   func(context.Context, session.Streams) error
	ended chan error // what ended each of them
}

func (f *fake) StreamExec(ctx context.Context, _ *runtimeapi.ExecRequest, s session.Streams) error {
	err := f.run(ctx, s)
	f.ended <- err
	return err
}

func (f *fake) StreamAttach(ctx context.Context, _ *runtimeapi.AttachRequest, s session.Streams) error {
	return f.StreamExec(ctx, nil, s)
}

func (f *fake) StreamPort(_ context.Context, _ string, port int32, stream io.ReadWriteCloser) error {
	_, err := fmt.Fprintf(stream, "port %d", port)
	return err
}

// untilGone waits for the client's end and reads nothing.
func untilGone(ctx context.Context, _ session.Streams) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func serving(t *testing.T, cfg Config, run func(context.Context, session.Streams) error) (*Server, *fake) {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Hour
	}
	if cfg.CreationTimeout == 0 {
		cfg.CreationTimeout = time.Minute
	}
	f := &fake{run, make(chan error, 10)}
	s, err := New(cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, f
}

func (f *fake) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.ended:
		return err
	case <-time.After(5 * time.Minute): // some megabytes may have to go through it first
		t.Fatal("the session does not end")
		return nil
	}
}

func execURL(t *testing.T, s *Server, req *runtimeapi.ExecRequest) string {
	t.Helper()
	answer, err := s.Exec(req)
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetUrl()
}

var outOnly = &runtimeapi.ExecRequest{Stdout: true}

func TestTokens(t *testing.T) {
	s, _ := serving(t, Config{}, func(context.Context, session.Streams) error { return nil })
	get := func(url string) int {
		answer, err := http.Get(url) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	url := execURL(t, s, outOnly)
	if code := get(strings.Replace(url, "/exec/", "/attach/", 1)); code != http.StatusNotFound {
		t.Errorf("a token of another kind: %d", code)
	}
	if code := get(url); code != http.StatusForbidden && code != http.StatusBadRequest {
		t.Errorf("a client without protocol: %d", code)
	}
	if code := get(url); code != http.StatusNotFound {
		t.Errorf("a token that is used: %d", code)
	}
	if code := get(s.url("exec", "x")); code != http.StatusNotFound {
		t.Errorf("a token that nobody gave out: %d", code)
	}
	answer, err := http.Head(execURL(t, s, outOnly)) //nolint:noctx // a test's
	if err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %v, %v", answer, err)
	}
	answer.Body.Close()

	token, err := s.tickets.issue("exec", time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "an unused token is forgotten", func() bool { return s.tickets.take("exec", token) == nil })
	for s.tickets.len() < maxTokens {
		execURL(t, s, outOnly)
	}
	if _, err := s.Exec(outOnly); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one token too many: %v", err)
	}
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this did not happen in time: %s", what)
		}
	}
}

func TestBadRequests(t *testing.T) {
	s, _ := serving(t, Config{}, nil)
	_, tty := s.Exec(&runtimeapi.ExecRequest{Tty: true, Stdout: true, Stderr: true})
	_, none := s.Attach(&runtimeapi.AttachRequest{})
	_, port := s.PortForward(&runtimeapi.PortForwardRequest{Port: []int32{80, 65536}})
	for want, err := range map[string]error{"stderr": tty, "stdin, stdout, stderr": none, "port": port} {
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(bad.Field, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestClientGone: the session ends with its client, also when nobody reads what
// the client has sent.
func TestClientGone(t *testing.T) {
	for _, via := range streamclient.All {
		s, f := serving(t, Config{}, untilGone)
		for _, sent := range []int{0, 64 << 10} {
			ctx, cancel := context.WithCancel(t.Context())
			in, typed := io.Pipe()
			o := remotecommand.StreamOptions{Stdin: in, Stdout: io.Discard}
			url := execURL(t, s, &runtimeapi.ExecRequest{Stdin: true, Stdout: true})
			go func() { _ = via.Run(ctx, url, o) }()
			_, _ = typed.Write(make([]byte, sent))
			eventually(t, "the client is there", func() bool { return s.hangups.len() == 1 })
			time.Sleep(200 * time.Millisecond) // so that the session has begun, mostly
			cancel()
			if sent == 0 {
				_ = typed.Close()
			}
			if err := f.wait(t); !errors.Is(err, errGone) && !errors.Is(err, context.Canceled) { // the latter if it was quicker than the upgrade
				t.Errorf("%s, %d bytes unread: %v", via, sent, err)
			}
			_ = typed.Close()
			eventually(t, "the connection is forgotten", func() bool { return s.hangups.len() == 0 })
		}
	}
}

// TestClientGoneAtOnce: clients that go while their connections are only
// begun, which is noticed on another goroutine.
func TestClientGoneAtOnce(t *testing.T) {
	s, _ := serving(t, Config{IdleTimeout: time.Millisecond}, untilGone)
	for range 200 {
		c, err := net.Dial("tcp", s.base.Host) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, "the connections are forgotten", func() bool {
		s.patrol.mu.Lock()
		defer s.patrol.mu.Unlock()
		return s.hangups.len() == 0 && len(s.patrol.conns) == 0
	})
}

// TestWritesAfterTheEnd: a SPDY stream whose reply could not be written makes
// everybody who writes to it wait for that reply, for ever: goroutines of
// port-forwards. So no write fails any more, but the first that would ends what runs
// for the connection.
func TestWritesAfterTheEnd(t *testing.T) {
	s, _ := serving(t, Config{}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for what, end := range map[string]func(*conn){
		"aborted": func(c *conn) { c.abort(errGone) }, "closed": func(c *conn) { _ = c.Close() }, "broken": func(c *conn) { _ = c.CloseWrite() },
	} {
		client, err := net.Dial("tcp", l.Addr().String()) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := &conn{TCPConn: accepted.(*net.TCPConn), s: s}
		ctx := s.begin(t.Context(), c)
		end(c)
		for range 2 {
			if n, err := c.Write([]byte("last words")); n != 10 || err != nil || context.Cause(ctx) == nil {
				t.Errorf("%s: %d bytes, %v, and the context has %v", what, n, err, context.Cause(ctx))
			}
		}
		client.Close()
	}
	eventually(t, "the connections are forgotten", func() bool { return s.hangups.len() == 0 })
}

// open makes a bare connection that has asked for SPDY.
func open(t *testing.T, address string) net.Conn {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", u.Path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestStreamsNotOpened: a client that opens none of its streams is sent away.
func TestStreamsNotOpened(t *testing.T) {
	s, _ := serving(t, Config{CreationTimeout: 50 * time.Millisecond}, untilGone)
	if _, err := io.Copy(io.Discard, open(t, execURL(t, s, outOnly))); err != nil {
		t.Errorf("the connection stays: %v", err)
	}
	eventually(t, "the connection is forgotten", func() bool { return s.hangups.len() == 0 })
}

func TestIdle(t *testing.T) {
	s, f := serving(t, Config{IdleTimeout: 300 * time.Millisecond}, untilGone)
	c := open(t, execURL(t, s, outOnly))
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Logf("the connection ended with %v", err)
	} else if err != nil {
		t.Error("an idle connection stays")
	}
	_ = f
	eventually(t, "the connection is forgotten", func() bool { return s.hangups.len() == 0 })
}

// TestFailedSessionOfStalledClient: our last words to a client that does not read
// are given up.
func TestFailedSessionOfStalledClient(t *testing.T) {
	s, f := serving(t, Config{}, func(_ context.Context, st session.Streams) error {
		go func() { // fills whatever is between us
			for {
				if _, err := st.Out.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}()
		time.Sleep(300 * time.Millisecond)
		return errors.New("it failed")
	})
	for _, via := range streamclient.All {
		stall := make(chan struct{})
		url := execURL(t, s, outOnly)
		ended := make(chan error, 1)
		go func() { ended <- via.Run(t.Context(), url, remotecommand.StreamOptions{Stdout: stalled(stall)}) }()
		if err := f.wait(t); err == nil {
			t.Error("no error")
		}
		eventually(t, "the connection is ended", func() bool { return s.hangups.len() == 0 })
		close(stall)
		<-ended
	}
}

type stalled chan struct{}

func (s stalled) Write(b []byte) (int, error) {
	<-s
	return len(b), nil
}

// certificate makes one for 127.0.0.1 that is its own authority, and writes it.
func certificate(t *testing.T, dir, name string) (cert, key string, pool *x509.CertPool, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<40))
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	parsed, _ := x509.ParseCertificate(der)
	pool.AddCert(parsed)
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key, pool, pair
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool, _ := certificate(t, dir, "server")
	ca, _, _, mine := certificate(t, dir, "client")
	s, _ := serving(t, Config{CertFile: cert, KeyFile: key, ClientCAFile: ca}, func(_ context.Context, st session.Streams) error {
		_, err := io.WriteString(st.Out, "hello")
		return err
	})
	ask := func(pool *x509.CertPool, own ...tls.Certificate) error {
		u, err := url.Parse(execURL(t, s, outOnly))
		if err != nil || u.Scheme != "https" {
			t.Fatalf("%v, %v", u, err)
		}
		c, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: pool, Certificates: own, MinVersion: tls.VersionTLS12})
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /exec/none HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("answer %s", answer.Status)
		}
		return nil
	}
	if err := ask(pool, mine); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := ask(pool); err == nil {
		t.Error("a client without certificate was let in")
	}
	_, _, newer, _ := certificate(t, dir, "server")
	if err := ask(newer, mine); err != nil {
		t.Errorf("a new certificate does not count at once: %v", err)
	}
	for what, cfg := range map[string]Config{
		"certificate": {CertFile: cert, KeyFile: cert}, "holds no certificate": {CertFile: cert, KeyFile: key, ClientCAFile: key},
	} {
		cfg.Address = "127.0.0.1:0"
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The streams themselves, through TLS.
	s, _ = serving(t, Config{CertFile: cert, KeyFile: key}, func(_ context.Context, st session.Streams) error {
		_, err := io.Copy(st.Out, st.In)
		return err
	})
	for _, via := range streamclient.All {
		var out strings.Builder
		o := remotecommand.StreamOptions{Stdin: strings.NewReader("echo"), Stdout: &out}
		err := via.Run(t.Context(), execURL(t, s, &runtimeapi.ExecRequest{Stdin: true, Stdout: true}), o)
		if err != nil || out.String() != "echo" {
			t.Errorf("%s: %q, %v", via, &out, err)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	s, _ := serving(t, Config{}, nil)
	if _, err := New(Config{Address: s.base.Host}, nil); err == nil || !strings.Contains(err.Error(), "streaming address") {
		t.Error(err)
	}
	for address, want := range map[string]string{"0.0.0.0:0": "http://127.0.0.1:", "[::]:0": "http://[::1]:", "[::1]:0": "http://[::1]:"} {
		s, _ := serving(t, Config{Address: address}, nil)
		if got := s.url("exec", "x"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", address, got)
		}
	}
}
