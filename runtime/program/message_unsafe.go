package program

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileMessage is the struct msghdr of a message of one byte with one descriptor. What
// it points at is part of the same object.
func fileMessage(n int) Arg {
	m := &struct {
		head    unix.Msghdr
		text    unix.Iovec
		control unix.Cmsghdr
		fd      int32
		_       int32 // a control message fills whole words
		one     byte
	}{fd: int32(n)}
	m.text.Base = &m.one
	m.text.SetLen(1)
	m.control.Level, m.control.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	m.control.SetLen(unix.CmsgLen(4))
	m.head.Iov, m.head.Control = &m.text, (*byte)(unsafe.Pointer(&m.control))
	m.head.SetIovlen(1)
	m.head.SetControllen(unix.CmsgSpace(4))
	return opaque(unsafe.Slice((*byte)(unsafe.Pointer(m)), unsafe.Sizeof(*m)), "{descriptor "+strconv.Itoa(n)+"}")
}
