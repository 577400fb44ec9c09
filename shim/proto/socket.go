package proto

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

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

// Receive is Room.Receive in a room of its own.
func Receive(fd int, buf []byte) (n int, files []int, err error) {
	return new(Room).Receive(fd, buf)
}

// rights appends the files of control messages.
func rights(files []int, oob []byte) ([]int, error) {
	for len(oob) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return files, ErrFormat
		}
		oob = rest
		if header.Level != unix.SOL_SOCKET || header.Type != unix.SCM_RIGHTS {
			continue // credentials or the like: nothing that must be closed
		}
		for ; len(data) >= 4; data = data[4:] {
			files = append(files, int(int32(binary.NativeEndian.Uint32(data))))
		}
	}
	return files, nil
}

// CloseAll closes received files that nobody wants.
func CloseAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}
