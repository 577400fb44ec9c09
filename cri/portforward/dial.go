package portforward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/namespace"
)

// dialTime bounds one attempt: on loopback only a server that does not accept
// lets a client wait.
const dialTime = 30 * time.Second

// loopbacks are tried in this order.
var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// dial connects to the port. The error names it and why each address refused.
func (t Target) dial(ctx context.Context) (*net.TCPConn, error) {
	var failures []error
	for _, ip := range loopbacks {
		to := netip.AddrPortFrom(ip, t.Port)
		c, err := t.dialOne(ctx, to)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failures = append(failures, fmt.Errorf("%s: %w", to, err))
	}
	return nil, fmt.Errorf("connect to port %d: %w", t.Port, errors.Join(failures...))
}

func (t Target) dialOne(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	f, err := t.socket(to)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bounded, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	stop := context.AfterFunc(bounded, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := connect(f, to); err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil //nolint:forcetypeassert // of a TCP socket
}

// socket makes a socket in the pod's network namespace.
func (t Target) socket(to netip.AddrPort) (*os.File, error) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd := -1
	open := func() error {
		var err error
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		return os.NewSyscallError("socket", err)
	}
	var err error
	if t.NetNS == "" {
		err = open()
	} else {
		err = namespace.InNet(t.NetNS, open)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// connect waits in the poller. That may wake us without reason, so that only a
// peer's name is the proof of a connection.
func connect(f *os.File, to netip.AddrPort) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	begun := false
	err = raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			result = unix.Connect(int(fd), sockaddr(to))
		} else {
			result = progress(int(fd))
		}
		return result != unix.EINPROGRESS
	})
	if err != nil { // the deadline
		return os.ErrDeadlineExceeded
	}
	return os.NewSyscallError("connect", result)
}

func progress(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return unix.Errno(code)
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return unix.EINPROGRESS
	}
	return nil
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}
