package proto

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// inbox is what recvmsg fills beside the message. Its oob has room for the
// control message of MaxFiles files: 16 bytes of header and 4 for each.
type inbox struct {
	header unix.Msghdr
	vector unix.Iovec
	oob    [16 + 4*MaxFiles]byte
}

// receive is recvmsg without the address and the garbage that the wrapper of
// x/sys makes.
func (in *inbox) receive(fd int, buf []byte) (n int, oob []byte, flags int, err error) {
	in.vector.Base = unsafe.SliceData(buf)
	in.vector.SetLen(len(buf))
	in.header = unix.Msghdr{Iov: &in.vector, Control: &in.oob[0]}
	in.header.SetIovlen(1)
	in.header.SetControllen(len(in.oob))
	r, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.header)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	in.vector.Base, in.header.Iov = nil, nil
	if e != 0 {
		return 0, nil, 0, e
	}
	return int(r), in.oob[:in.header.Controllen], int(in.header.Flags), nil
}
