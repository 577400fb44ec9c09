package streaming

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errGone = errors.New("client has closed the connection")
	errIdle = errors.New("connection was idle for too long")
)

// lingerTime bounds what a connection may still take after its end: the last
// words to a client that does not read, and the wait for the client's own end.
const lingerTime = 5 * time.Second

// conn is one client's connection.
type conn struct {
	*net.TCPConn
	s      *Server
	outer  net.Conn // what net/http has: this, or TLS on top of it
	cancel context.CancelCauseFunc
	watch  atomic.Uint32
	moved  atomic.Int64 // when the last bytes did, nanoseconds since 1970
	idle   *time.Timer
	once   sync.Once

	hurried atomic.Bool
}

// listener makes them.
type listener struct {
	*net.TCPListener
	s *Server
}

// Accept waits for the next client.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &conn{TCPConn: c, s: l.s}, nil
}

// connKey is where a request's context has its *conn.
type connKey struct{}

// connOf finds the connection of a request.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// begin gives a connection its context, which ends when the client goes.
func (s *Server) begin(ctx context.Context, outer net.Conn) context.Context {
	inner := outer
	if t, ok := outer.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	c, ok := inner.(*conn)
	if !ok {
		return ctx
	}
	c.outer = outer
	ctx, c.cancel = context.WithCancelCause(ctx)
	c.moved.Store(time.Now().UnixNano())
	// All three may end the connection at any moment from here on, on another goroutine.
	c.idle = time.AfterFunc(1<<62, c.checkIdle)
	s.patrol.add(c)
	c.idle.Reset(s.cfg.IdleTimeout)
	n, err := s.hangups.watch(c.TCPConn, func() { c.abort(errGone) })
	c.watch.Store(n)
	if err != nil {
		c.abort(err)
	}
	if ctx.Err() != nil { // who ended it may not have known the number
		s.hangups.forget(n)
	}
	return context.WithValue(ctx, connKey{}, c)
}

// Read and Write note that something moves. A write that fails ends the connection
// and is taken for done, as all that come after it: a SPDY stream whose reply was
// not written makes whoever writes to it later wait for that reply, for ever.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
	}
	if err != nil {
		c.abort(err)
	}
	return len(b), nil
}

func (c *conn) checkIdle() {
	left := c.s.cfg.IdleTimeout - time.Since(time.Unix(0, c.moved.Load()))
	if left <= 0 {
		c.abort(errIdle)
		return
	}
	c.idle.Reset(left)
}

// abort ends the connection at once, and what runs for it.
func (c *conn) abort(why error) {
	c.once.Do(func() {
		c.end(why)
		_ = c.TCPConn.Close()
	})
}

func (c *conn) end(why error) {
	c.cancel(why)
	c.idle.Stop()
	c.s.hangups.forget(c.watch.Load())
	c.s.patrol.remove(c)
}

// Close ends the connection so that the client gets all that was written. A
// socket that is closed with input unread resets the connection, and a reset
// overtakes the data: so what still comes is read, for a moment.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.end(errGone)
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		go func() {
			_, _ = io.Copy(io.Discard, c.TCPConn)
			_ = c.TCPConn.Close()
		}()
	})
	return nil
}

// hurry bounds what is still written to a client that may not read any more.
func (c *conn) hurry() {
	c.hurried.Store(true)
	_ = c.TCPConn.SetWriteDeadline(time.Now().Add(lingerTime))
}

// SetDeadline and SetWriteDeadline leave the bound of hurry alone: a WebSocket
// sets a new deadline with each message.
func (c *conn) SetDeadline(t time.Time) error {
	if c.hurried.Load() {
		return c.SetReadDeadline(t)
	}
	return c.TCPConn.SetDeadline(t)
}

// SetWriteDeadline is like SetDeadline.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.hurried.Load() {
		return nil
	}
	return c.TCPConn.SetWriteDeadline(t)
}
