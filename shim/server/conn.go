package server

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// conn is one client.
type conn struct {
	s  *server
	fd int
}

func (s *server) addConn(fd int) (*conn, error) {
	c := &conn{s: s, fd: fd}
	if err := s.poll.add(fd, unix.EPOLLIN, c); err != nil {
		return nil, err
	}
	s.conns[c] = struct{}{}
	return c, nil
}

// ready takes one message; more of them make the next round.
func (c *conn) ready(uint32) {
	buf := c.s.buffer()
	n, files, err := c.s.room.Receive(c.fd, buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil {
		c.close()
		return
	}
	h, body, err := proto.Parse(buf[:n])
	if err != nil || h.Kind != proto.Request || int(h.Files) != len(files) {
		proto.CloseAll(files)
		c.close()
		return
	}
	c.s.request = request{Head: h, room: &c.s.room, body: body, files: files}
	c.s.serve(c, &c.s.request)
}

// close forgets the client. What it started beside the container ends with
// it; a spare whose launcher is gone ends, too.
func (c *conn) close() {
	s := c.s
	if c.fd == noFile {
		return
	}
	s.poll.remove(c.fd)
	closeFile(&c.fd)
	delete(s.conns, c)
	for _, e := range s.execs {
		if e.owner == c {
			e.owner = nil
			e.kill()
		}
	}
	for _, a := range s.attachments {
		if a.owner == c {
			a.owner = nil
			a.end("client is gone")
		}
	}
	if c == s.start && s.phase == waiting {
		s.space.Close()
		s.phase = done
	}
}

// send sends one message. A client that does not read is cut off: it finds the
// exit record when it looks.
func (c *conn) send(h proto.Head, body proto.Body, files ...int) {
	if c == nil || c.fd == noFile {
		return
	}
	h.Files = uint16(len(files))
	if err := proto.Send(c.fd, c.s.room.Append(h, body), files...); err != nil {
		c.close()
	}
}

func (c *conn) hello() {
	c.send(proto.Head{Kind: proto.Event, Verb: proto.VerbHello},
		&proto.Hello{Version: proto.Version, PID: uint32(os.Getpid())})
}

func (c *conn) reply(h proto.Head, body proto.Body, files ...int) {
	c.send(proto.Head{Kind: proto.Reply, Verb: h.Verb, ID: h.ID}, body, files...)
}

func (c *conn) fail(h proto.Head, f *proto.Failure) {
	c.send(proto.Head{Kind: proto.Failed, Verb: h.Verb, ID: h.ID}, f)
}

// announce sends an event to every client.
func (s *server) announce(v proto.Verb, body proto.Body) {
	for c := range s.conns {
		c.send(proto.Head{Kind: proto.Event, Verb: v}, body)
	}
}
