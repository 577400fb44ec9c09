package server

import (
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// stdin is the container's standard input: a pipe, or the terminal's master
// side. Attachments feed it.
type stdin struct {
	s        *server
	fd       int
	once     bool // closes when the first attachment's input ends
	terminal bool // fd is the pump's, too: the pump closes it
	waits    bool // to be told when there is room
}

// ready is for the pipe only: it has room again, or no reader any more.
func (in *stdin) ready(events uint32) {
	if events&unix.EPOLLERR != 0 {
		in.close()
		return
	}
	in.resume()
}

// write writes what fits and returns the rest. Input that nobody will read
// is dropped.
func (in *stdin) write(b []byte) []byte {
	for len(b) > 0 && in.fd != noFile {
		n, err := unix.Write(in.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return b
		case err != nil:
			in.close()
			return nil
		default:
			b = b[n:]
		}
	}
	return nil
}

// wait asks to be told when there is room.
func (in *stdin) wait() {
	if in.waits || in.fd == noFile {
		return
	}
	in.waits = true
	if in.terminal {
		in.s.poll.change(in.fd, unix.EPOLLIN|unix.EPOLLOUT)
		return
	}
	if in.s.poll.add(in.fd, unix.EPOLLOUT, in) != nil {
		in.close()
	}
}

// resume lets the attachments write what they hold.
func (in *stdin) resume() {
	if !in.waits {
		return
	}
	in.waits = false
	if in.terminal {
		in.s.poll.change(in.fd, unix.EPOLLIN)
	} else {
		in.s.poll.remove(in.fd)
	}
	for _, a := range in.s.attachments {
		a.feedRest()
	}
}

// close ends the input. A terminal has no end of its own.
func (in *stdin) close() {
	if in.terminal || in.fd == noFile {
		return
	}
	in.s.poll.remove(in.fd)
	closeFile(&in.fd)
	in.closed()
}

// closed says that the descriptor is gone.
func (in *stdin) closed() {
	in.fd, in.waits = noFile, false
	for _, a := range in.s.attachments {
		a.feedRest()
	}
}

func (s *server) serveCloseStdin(*conn, *request) (proto.Body, error) {
	if s.stdin == nil {
		return nil, nil
	}
	if s.stdin.terminal {
		return nil, proto.Refuse(proto.CodeInvalid, "a terminal's input has no end")
	}
	s.stdin.close()
	return nil, nil
}
