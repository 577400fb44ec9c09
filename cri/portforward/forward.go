package portforward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// Target is a port of a pod.
type Target struct {
	NetNS string // path of the pod's network namespace; empty is the node's own
	Port  uint16
}

// errReset says that the client wants no more of the connection.
var errReset = errors.New("client has reset the stream")

// Forward joins the stream with the port until both directions have ended. Each
// may end before the other. When the context ends, which says that the client or
// the pod has gone, the connection ends with it.
func (t Target) Forward(ctx context.Context, stream io.ReadWriteCloser) error {
	c, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	up, down := make(chan error, 1), make(chan error, 1)
	go func() { up <- send(c, stream) }()
	go func() { down <- receive(stream, c) }()
	for up != nil || down != nil {
		var err error
		select {
		case err = <-up:
			up = nil
		case err = <-down:
			down = nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if errors.Is(err, errReset) {
			return nil // the client knows
		}
		if err != nil {
			return fmt.Errorf("port %d: %w", t.Port, err)
		}
	}
	return nil
}

// send copies what the client says. A server that takes no more of it may
// still be speaking; the rest is dropped then, because on one connection with
// the client the streams wait for each other.
func send(c *net.TCPConn, stream io.Reader) error {
	if _, err := io.Copy(c, onlyReader{stream}); err != nil {
		_, _ = io.Copy(io.Discard, stream)
	}
	if reset(stream) {
		return errReset
	}
	_ = c.CloseWrite()
	return nil
}

// onlyReader hides what else a stream can do.
type onlyReader struct{ io.Reader }

// receive copies what the server says and passes its end on.
func receive(stream io.WriteCloser, c *net.TCPConn) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			if reset(stream) {
				return errReset
			}
			if _, werr := stream.Write(buf[:n]); werr != nil {
				return errReset
			}
		}
		if errors.Is(err, io.EOF) {
			_ = stream.Close()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// reset says whether the client has given the stream up altogether: before we
// have closed our side of a SPDY stream, nothing else finishes it.
func reset(stream any) bool {
	s, ok := stream.(interface{ IsFinished() bool })
	return ok && s.IsFinished()
}
