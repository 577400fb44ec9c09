package streaming

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// diag asks this machine's kernel about its sockets: sock_diag(7), which needs
// no privilege. A question is about one connection, and is a look into a hash table.
type diag struct{ fd int }

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	// The answer is there when the question is sent; this is for what we do not know.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	return &diag{fd}, nil
}

func (d *diag) close() { _ = unix.Close(d.fd) }

// The states of a socket that still sends, the end last, for a process that
// has closed it (include/net/tcp_states.h).
const (
	tcpFinWait1 = 4
	tcpLastAck  = 9
	tcpClosing  = 11
)

// abandoned says whether the socket at local, connected to remote, belongs to
// no process any more and still has something to send. What is not known is not
// abandoned: the socket may be another machine's.
func (d *diag) abandoned(local, remote netip.AddrPort) bool {
	if err := unix.Sendto(d.fd, question(local, remote), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false
	}
	var answer [512]byte
	n, _, err := unix.Recvfrom(d.fd, answer[:], 0)
	if err != nil {
		return false
	}
	state, inode, ok := parse(answer[:n])
	if !ok || inode != 0 {
		return false // 0 is a socket without a file
	}
	return state == tcpFinWait1 || state == tcpLastAck || state == tcpClosing
}

// The sizes of struct nlmsghdr, inet_diag_req_v2 and inet_diag_msg.
const (
	headerSize   = 16
	questionSize = headerSize + 56
	answerSize   = headerSize + 72
)

// question is a request for one TCP socket (struct inet_diag_req_v2 in
// include/uapi/linux/inet_diag.h).
func question(local, remote netip.AddrPort) []byte {
	b := make([]byte, questionSize)
	n := binary.NativeEndian
	n.PutUint32(b[0:], questionSize)
	n.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	n.PutUint16(b[6:], unix.NLM_F_REQUEST)
	src, dst := local.Addr().Unmap(), remote.Addr().Unmap()
	b[16], b[17] = unix.AF_INET6, unix.IPPROTO_TCP
	if src.Is4() {
		b[16] = unix.AF_INET
	}
	n.PutUint32(b[20:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(b[24:], local.Port())
	binary.BigEndian.PutUint16(b[26:], remote.Port())
	copy(b[28:44], src.AsSlice())
	copy(b[44:60], dst.AsSlice())
	n.PutUint64(b[64:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return b
}

// parse reads the answer (struct inet_diag_msg).
func parse(b []byte) (state byte, inode uint32, ok bool) {
	if len(b) < answerSize || binary.NativeEndian.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, 0, false // NLMSG_ERROR: ENOENT, when there is no such socket here
	}
	return b[headerSize+1], binary.NativeEndian.Uint32(b[headerSize+68:]), true
}
