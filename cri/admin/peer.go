package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection: the user that connected, or
// why it could not be told.
type peer struct {
	uid uint32
	err error
}

// peerOf asks the kernel. Who connected counts, not who has the descriptor now.
func peerOf(c net.Conn) peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{err: errors.New("the connection is not a unix socket's")}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var p peer
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			p.err = fmt.Errorf("read the peer's credentials: %w", err)
			return
		}
		p.uid = cred.Uid
	})
	return peer{p.uid, errors.Join(p.err, err)}
}

// peerError refuses a peer.
type peerError struct{ err error }

func (e *peerError) Error() string { return "admin socket: " + e.err.Error() }
func (e *peerError) Unwrap() error { return e.err }

// admit lets root in, and the user that varved is.
func admit(ctx context.Context) error {
	p, ok := ctx.Value(peerKey{}).(peer)
	switch {
	case !ok:
		return &peerError{errors.New("the peer is not known")}
	case p.err != nil:
		return &peerError{p.err}
	case p.uid != 0 && int(p.uid) != os.Geteuid():
		return &peerError{fmt.Errorf("user %d is not root", p.uid)}
	}
	return nil
}
