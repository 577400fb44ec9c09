package shim

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// messages are the readers' buffers. One is held for a single receive, so
// waiting clients have none.
var messages = sync.Pool{New: func() any { return new([proto.MaxReply]byte) }}

// read is the reader: until the connection breaks it hands out what comes.
func (c *Client) read() {
	raw, err := c.conn.SyscallConn()
	for err == nil {
		var inner error
		err = raw.Read(func(fd uintptr) bool {
			buf := messages.Get().(*[proto.MaxReply]byte) //nolint:forcetypeassert // it holds nothing else
			defer messages.Put(buf)
			n, files, err := proto.Receive(int(fd), buf[:])
			if err == unix.EAGAIN {
				return false
			}
			if err == nil {
				err = c.handle(buf[:n], files)
			}
			inner = err
			return true
		})
		if err == nil {
			err = inner
		}
	}
	_ = c.conn.Close()
	c.finish(err)
	if c.child != 0 {
		reapChild(c.child)
	}
}

// handle takes one message. An error ends the connection.
func (c *Client) handle(msg []byte, files []int) error {
	h, body, err := proto.Parse(msg)
	if err != nil {
		proto.CloseAll(files)
		return err
	}
	if h.Kind == proto.Event {
		proto.CloseAll(files)
		return c.event(h.Verb, body)
	}
	if h.ID == 0 {
		return failure(body) // a spare that could not prepare
	}
	a := answer{body: append([]byte(nil), body...), files: files}
	if h.Kind == proto.Failed {
		a.err = failure(body)
	}
	c.mu.Lock()
	if h.Kind == proto.Failed && h.Verb == proto.VerbStart {
		c.dir = "" // what the directory tells is not about this shim
	}
	ch := c.calls[h.ID]
	delete(c.calls, h.ID)
	c.mu.Unlock()
	if ch == nil {
		proto.CloseAll(files)
		if h.Verb == proto.VerbAttach && a.err == nil {
			c.unwanted(body)
		}
		return nil
	}
	ch <- a
	return nil
}

func failure(body []byte) error {
	var f proto.Failure
	if err := proto.Decode(body, &f); err != nil {
		return err
	}
	return asError(&f)
}

// event takes one event; those of a later version are ignored.
func (c *Client) event(v proto.Verb, body []byte) error {
	switch v {
	case proto.VerbHello:
		return c.onHello(body)
	case proto.VerbExited:
		var m proto.Exited
		if err := proto.Decode(body, &m); err != nil {
			return err
		}
		c.finishExit(exitOf(m.Exit))
	case proto.VerbExecExited:
		var m proto.ExecExited
		if err := proto.Decode(body, &m); err != nil {
			return err
		}
		c.mu.Lock()
		p := c.execs[string(m.ID)]
		delete(c.execs, string(m.ID))
		c.mu.Unlock()
		p.finish(m.Code, nil)
	case proto.VerbDetached:
		var m proto.Detached
		if err := proto.Decode(body, &m); err != nil {
			return err
		}
		c.onDetached(&m)
	}
	return nil
}

func (c *Client) onHello(body []byte) error {
	var m proto.Hello
	if err := proto.Decode(body, &m); err != nil || m.Version == 0 {
		return proto.ErrFormat
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shim.Version != 0 {
		return proto.ErrFormat
	}
	c.shim = m
	close(c.hello)
	return nil
}
