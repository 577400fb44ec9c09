package server

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// takeLock takes the lock of the directory: an open file description lock,
// which others can ask about without taking it, and which ends with the shim.
func (s *server) takeLock() error {
	fd, err := unix.Openat(s.dir, proto.LockFile, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.lock = fd
	return nil
}

// listener accepts clients.
type listener struct{ s *server }

// bind makes the socket in the directory. The name goes through /proc/self/fd,
// because a socket's path may have 108 bytes only.
func (s *server) bind() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.listen = fd
	// The socket file gets the mode of the descriptor, so that there is no
	// moment at which it is open to others.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return err
	}
	if err := unix.Unlinkat(s.dir, proto.SocketFile, 0); err != nil && err != unix.ENOENT {
		return err
	}
	name := "/proc/self/fd/" + strconv.Itoa(s.dir) + "/" + proto.SocketFile
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return err
	}
	if err := unix.Listen(fd, maxConns); err != nil {
		return err
	}
	return s.poll.add(fd, unix.EPOLLIN, listener{s})
}

func (l listener) ready(uint32) {
	fd, _, err := unix.Accept4(l.s.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(cred.Uid) != unix.Geteuid() || len(l.s.conns) >= maxConns {
		_ = unix.Close(fd)
		return
	}
	c, err := l.s.addConn(fd)
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	c.hello()
}
