package server

import (
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

const (
	// maxBehind is how far an attached reader may fall behind before it is
	// let go. The log never waits for one.
	maxBehind = 1 << 20
	// maxBehindAll is the same for all of them together: it is the shim's memory.
	maxBehindAll = 8 << 20
	// feedSize is how much input is taken at a time: what a pipe takes whole
	// or not at all.
	feedSize = 4096
)

// attachment is a client's share in the container's streams.
type attachment struct {
	s     *server
	id    uint32
	owner *conn
	in    feed
	outs  [2]sink
}

// feed is the client's input. While the container does not take what was
// read, it is not watched: a hang-up would be told again and again.
type feed struct {
	a       *attachment
	fd      int
	watched bool
	rest    []byte
}

// sink is one of the client's outputs.
type sink struct {
	a    *attachment
	fd   int
	rest []byte // not written yet
}

func (s *server) serveAttach(c *conn, r *request) (proto.Body, error) {
	var m proto.Attach
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	want := [3]bool{m.In, m.Out, m.Err}
	n := 0
	for _, w := range want {
		if w {
			n++
		}
	}
	switch {
	case s.phase != running:
		return nil, errExited
	case n != len(r.files) || n == 0:
		return nil, proto.Refuse(proto.CodeInvalid, "wrong number of files")
	case len(s.attachments) >= maxAttach:
		return nil, proto.Refuse(proto.CodeInvalid, "too many attachments")
	case m.In && s.stdin == nil:
		return nil, proto.Refuse(proto.CodeInvalid, "container has no stdin")
	}
	s.lastAttach++
	a := &attachment{s: s, id: s.lastAttach, owner: c}
	a.in = feed{a: a, fd: noFile}
	a.outs = [2]sink{{a: a, fd: noFile}, {a: a, fd: noFile}}
	s.attachments[a.id] = a
	if err := a.open(want, r); err != nil {
		a.owner = nil // the failure says it
		a.end("")
		return nil, step("attach", "", err)
	}
	return &proto.Attached{ID: a.id}, nil
}

func (a *attachment) open(want [3]bool, r *request) error {
	if want[0] {
		a.in.fd = r.take()
		if err := unix.SetNonblock(a.in.fd, true); err != nil {
			return err
		}
		if err := a.in.watch(); err != nil {
			return err
		}
	}
	for i := range a.outs {
		if !want[i+1] {
			continue
		}
		o := &a.outs[i]
		o.fd = r.take()
		if err := unix.SetNonblock(o.fd, true); err != nil {
			return err
		}
		if err := a.s.poll.add(o.fd, 0, o); err != nil { // told when the reader goes
			return err
		}
	}
	return nil
}

func (s *server) serveDetach(_ *conn, r *request) (proto.Body, error) {
	var m proto.Detach
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	a := s.attachments[m.ID]
	if a == nil {
		return nil, proto.Refuse(proto.CodeNotFound, "attachment not found")
	}
	a.end(proto.ReasonDetached)
	return nil, nil
}

// end ends the attachment and tells its owner.
func (a *attachment) end(reason string) {
	if _, ok := a.s.attachments[a.id]; !ok {
		return
	}
	delete(a.s.attachments, a.id)
	for i := range a.outs {
		a.outs[i].close()
	}
	a.in.end()
	a.owner.send(proto.Head{Kind: proto.Event, Verb: proto.VerbDetached}, &proto.Detached{ID: a.id, Reason: reason})
}

// watch begins to watch the input again.
func (f *feed) watch() error {
	if f.watched {
		return nil
	}
	err := f.a.s.poll.add(f.fd, unix.EPOLLIN, f)
	f.watched = err == nil
	return err
}

func (f *feed) unwatch() {
	if f.watched {
		f.a.s.poll.remove(f.fd)
		f.watched = false
	}
}

func (f *feed) ready(uint32) {
	buf := f.a.s.buffer()[:feedSize]
	n, err := unix.Read(f.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n == 0:
		f.end()
	default:
		f.push(buf[:n])
	}
}

// push writes b to the container or keeps the rest until there is room.
func (f *feed) push(b []byte) {
	in := f.a.s.stdin
	rest := in.write(b)
	if len(rest) == 0 {
		f.rest = nil
		if f.watch() != nil {
			f.end()
		}
		return
	}
	f.rest = append([]byte(nil), rest...)
	f.unwatch()
	in.wait()
}

// feedRest tries again to write what the container did not take.
func (a *attachment) feedRest() {
	if len(a.in.rest) > 0 {
		a.in.push(a.in.rest)
	}
}

// end takes the end of the input.
func (f *feed) end() {
	if f.fd == noFile {
		return
	}
	f.unwatch()
	closeFile(&f.fd)
	f.rest = nil
	if in := f.a.s.stdin; in != nil && in.once {
		in.close()
	}
}

// output takes what the container wrote.
func (a *attachment) output(index int, b []byte) {
	o := &a.outs[index]
	if o.fd == noFile {
		return
	}
	if len(o.rest) > 0 {
		o.keep(b)
		return
	}
	o.push(b)
}

func (o *sink) push(b []byte) {
	for len(b) > 0 {
		n, err := unix.Write(o.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			o.rest = nil
			o.keep(b)
			return
		case err != nil:
			o.a.end("reader is gone")
			return
		default:
			b = b[n:]
		}
	}
	if o.rest != nil {
		o.rest = nil
		o.a.s.poll.change(o.fd, 0)
	}
}

func (o *sink) keep(b []byte) {
	if len(o.rest)+len(b) > maxBehind || o.a.s.behind()+len(b) > maxBehindAll {
		o.a.end(proto.ReasonSlow)
		return
	}
	if o.rest == nil {
		o.a.s.poll.change(o.fd, unix.EPOLLOUT)
	}
	o.rest = append(o.rest, b...)
}

// behind is how much is kept for all attached readers.
func (s *server) behind() (n int) {
	for _, a := range s.attachments {
		n += len(a.outs[0].rest) + len(a.outs[1].rest)
	}
	return n
}

func (o *sink) ready(events uint32) {
	if events&unix.EPOLLERR != 0 {
		o.a.end("reader is gone")
		return
	}
	o.push(o.rest)
}

func (o *sink) close() {
	if o.fd != noFile {
		o.a.s.poll.remove(o.fd)
		closeFile(&o.fd)
	}
	o.rest = nil
}
