package portforward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/runtime/namespace"
)

// client is a stream: what it says comes from in, what it hears is in out.
type client struct {
	in       io.Reader
	out      bytes.Buffer
	finished bool // as a SPDY stream is that was reset
	closed   bool
}

func (c *client) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *client) Write(b []byte) (int, error) { return c.out.Write(b) }
func (c *client) IsFinished() bool            { return c.finished }
func (c *client) Close() error                { c.closed = true; return nil }

// server answers one connection after the other with a function.
func server(t *testing.T, answer func(*net.TCPConn)) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c.(*net.TCPConn))
			}()
		}
	}()
	return Target{Port: uint16(l.Addr().(*net.TCPAddr).Port)}
}

func TestForward(t *testing.T) {
	sent := strings.Repeat("0123456789", 100000)
	target := server(t, func(c *net.TCPConn) { // speaks when the client has ended
		said, _ := io.ReadAll(c)
		_, _ = c.Write(said)
	})
	c := &client{in: strings.NewReader(sent)}
	if err := target.Forward(t.Context(), c); err != nil || c.out.String() != sent || !c.closed {
		t.Errorf("%v, %d bytes, closed %v", err, c.out.Len(), c.closed)
	}
	// A server that reads nothing and has said all.
	target = server(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("bye")) })
	c = &client{in: strings.NewReader(strings.Repeat(sent, 10))}
	err := target.Forward(t.Context(), c)
	if c.out.String() != "bye" && err == nil {
		t.Errorf("%v, %q", err, &c.out)
	}
}

func TestReset(t *testing.T) {
	target := server(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	never, _ := io.Pipe()
	c := &client{in: never, finished: true}
	if err := target.Forward(t.Context(), c); err != nil {
		t.Errorf("a stream that was reset: %v", err)
	}
}

func TestContextEnds(t *testing.T) {
	target := server(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	never, _ := io.Pipe()
	why := errors.New("the pod has stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if err := target.Forward(ctx, &client{in: never}); !errors.Is(err, why) {
		t.Error(err)
	}
}

// TestNamespace: inside a network namespace nobody listens, whoever does outside.
func TestNamespace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ns")
	if err := namespace.Pin(dir, namespace.Spec{Net: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespace.Unpin(dir); err != nil {
			t.Error(err)
		}
	})
	target := server(t, func(*net.TCPConn) {})
	target.NetNS = namespace.Pins{Dir: dir}.Net()
	err := target.Forward(t.Context(), &client{in: strings.NewReader("")})
	for _, words := range []string{"connect to port ", "127.0.0.1:", "[::1]:", "connection refused"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the error lacks %q: %v", words, err)
		}
	}
	target.NetNS += ".gone"
	if err := target.Forward(t.Context(), &client{in: strings.NewReader("")}); err == nil || !strings.Contains(err.Error(), "network namespace") {
		t.Errorf("a namespace that is gone: %v", err)
	}
}
