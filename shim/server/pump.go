package server

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/shim/crilog"
	"github.com/varve-cri/varve/shim/proto"
)

// pump carries one output of the container to the log and to those who are
// attached to it.
type pump struct {
	s      *server
	fd     int
	stream *crilog.Stream
	index  int // 0 is stdout (or the terminal), 1 stderr
}

// lastRead bounds what is read at the deadline from an output that does not
// end: more than a pipe can hold of what was written before.
const lastRead = 1 << 20

// makeStreams makes the pipes. The container's ends are in io.
func (s *server) makeStreams(io *container.Stdio, m *proto.Start) error {
	var err error
	if m.Stdin {
		var w int
		if io.In, w, err = pipe(false); err != nil {
			return err
		}
		s.stdin = &stdin{s: s, fd: w, once: m.StdinOnce}
	}
	for i, out := range []**os.File{&io.Out, &io.Err} {
		var r int
		if *out, r, err = pipe(true); err != nil {
			return err
		}
		if err := s.addPump(r, i); err != nil {
			return err
		}
	}
	return nil
}

// pipe makes a pipe for the container: the file is its end, write or read, and
// the number the shim's, which does not block.
func pipe(out bool) (*os.File, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, noFile, err
	}
	theirs, ours := p[0], p[1]
	if out {
		theirs, ours = p[1], p[0]
	}
	if err := unix.SetNonblock(ours, true); err != nil {
		proto.CloseAll(p[:])
		return nil, noFile, err
	}
	return os.NewFile(uintptr(theirs), "pipe"), ours, nil
}

func (s *server) addPump(fd, index int) error {
	name := [2]string{"stdout", "stderr"}[index]
	p := &pump{s: s, fd: fd, stream: s.log.Stream(name), index: index}
	if err := s.poll.add(fd, unix.EPOLLIN, p); err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.pumps = append(s.pumps, p)
	return nil
}

// takeConsole makes the terminal the container's output and, if asked for,
// its input.
func (s *server) takeConsole(f *os.File, m *proto.Start) error {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	if err := s.addPump(fd, 0); err != nil {
		return err
	}
	s.console = fd
	if m.Stdin {
		s.stdin = &stdin{s: s, fd: fd, terminal: true}
	}
	return nil
}

// ready takes one buffer full, so that no stream keeps others waiting. A
// terminal is told here, too, that it has room for input.
func (p *pump) ready(events uint32) {
	if events&unix.EPOLLOUT != 0 && p.s.stdin != nil {
		p.s.stdin.resume()
	}
	p.read()
}

// read reports whether there may be more.
func (p *pump) read() (n int, more bool) {
	if p.fd == noFile {
		return 0, false
	}
	buf := p.s.buffer()
	n, err := unix.Read(p.fd, buf)
	switch {
	case err == unix.EINTR:
		return 0, true
	case err == unix.EAGAIN:
		return 0, false
	case err != nil || n == 0: // a terminal without other side says EIO
		p.end()
		return 0, false
	}
	p.stream.Write(buf[:n])
	for _, a := range p.s.attachments {
		a.output(p.index, buf[:n])
	}
	return n, true
}

// drain reads what there is, at most limit bytes.
func (p *pump) drain(limit int) {
	for limit > 0 {
		n, more := p.read()
		if !more {
			return
		}
		limit -= n
	}
}

// end ends the stream's log and forgets the output.
func (p *pump) end() {
	if p.fd == noFile {
		return
	}
	p.stream.End()
	p.s.poll.remove(p.fd)
	if p.fd == p.s.console {
		p.s.console = noFile
		if p.s.stdin != nil {
			p.s.stdin.closed()
		}
	}
	closeFile(&p.fd)
}
