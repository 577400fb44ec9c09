package proto

import (
	"io"

	"golang.org/x/sys/unix"
)

// oobSize is room for the control message of MaxFiles files.
var oobSize = unix.CmsgSpace(MaxFiles * 4)

// Send sends one message without waiting: EAGAIN says that the peer does not
// read.
func Send(fd int, msg []byte, files ...int) error {
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	for {
		_, err := unix.SendmsgN(fd, msg, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive receives one message without waiting. The files are the caller's,
// close-on-exec. A peer that has gone is io.EOF; a message that is too long or
// whose files did not fit is ErrFormat, and its files are closed.
func Receive(fd int, buf []byte) (n int, files []int, err error) {
	oob := make([]byte, oobSize)
	var oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err == unix.ECONNRESET:
		return 0, nil, io.EOF
	case err != nil:
		return 0, nil, err
	}
	files, err = rights(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = ErrFormat
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		CloseAll(files)
		return 0, nil, err
	}
	return n, files, nil
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, ErrFormat
	}
	var files []int
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // credentials or the like: nothing that must be closed
		}
		files = append(files, fds...)
	}
	return files, nil
}

// CloseAll closes received files that nobody wants.
func CloseAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}
