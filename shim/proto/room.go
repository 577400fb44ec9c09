package proto

import (
	"io"

	"golang.org/x/sys/unix"
)

// Room is the memory of messages that are handled one after the other, so
// that they leave no garbage. The zero Room is ready for use; it must not be
// copied.
type Room struct {
	reader reader
	writer writer
	files  [MaxFiles]int
	inbox  inbox
}

// Append makes a message. It is good until the next one.
func (m *Room) Append(h Head, body Body) []byte {
	m.writer.buf = h.append(m.writer.buf[:0])
	if body != nil {
		body.code(&m.writer)
	}
	return m.writer.buf
}

// Decode reads a body. Byte slices in the result alias body.
func (m *Room) Decode(body []byte, into Body) error {
	m.reader = reader{buf: body}
	into.code(&m.reader)
	err := m.reader.err
	m.reader = reader{}
	return err
}

// Receive receives one message without waiting. The files are the caller's,
// close-on-exec; their list is good until the next message. A peer that has
// gone is io.EOF; a message that is too long or whose files did not fit is
// ErrFormat, and its files are closed.
func (m *Room) Receive(fd int, buf []byte) (n int, files []int, err error) {
	var oob []byte
	var flags int
	for {
		n, oob, flags, err = m.inbox.receive(fd, buf)
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
	files, err = rights(m.files[:0], oob)
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
