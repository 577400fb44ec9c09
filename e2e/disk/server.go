package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// serverEnv makes a test's binary, started again, the recorder's server.
const serverEnv = "VARVE_TEST_DISK_SERVER"

func init() {
	if os.Getenv(serverEnv) == "" {
		return
	}
	s := &server{dev: 3, content: 4, log: 5}
	if err := s.serve(); err != nil {
		fmt.Fprintln(os.Stderr, "disk server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// server answers for one file. One thread does it all, so that the log's order is
// the order in which the kernel was answered.
type server struct {
	dev, content, log int
	size              int64
}

func (s *server) serve() error {
	var st unix.Stat_t
	if err := unix.Fstat(s.content, &st); err != nil {
		return err
	}
	s.size = st.Size
	buf := make([]byte, headerIn+writeIn+maxWrite+pageSize)
	for {
		n, err := unix.Read(s.dev, buf)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN, err == unix.ENOENT: // ENOENT: the request was taken back
			continue
		case err == unix.ENODEV, err == unix.ECONNABORTED: // unmounted; the second, while a request was on its way
			return nil
		case err != nil:
			return os.NewSyscallError("read", err)
		case n < headerIn:
			return fmt.Errorf("request of %d bytes", n)
		}
		if err := s.answer(parse(buf[:n])); err != nil {
			return err
		}
	}
}

func (s *server) answer(q request) error {
	if q.op == opForget || q.op == opForgets || q.op == opIntr {
		return nil // these have no answer
	}
	body, err := s.do(q)
	errno := unix.Errno(0)
	if err != nil && !errors.As(err, &errno) {
		errno = unix.EIO
	}
	_, err = unix.Write(s.dev, reply(q.unique, int(errno), body))
	if err == unix.ENOENT { // the caller has gone
		err = nil
	}
	return os.NewSyscallError("write", err)
}

func (s *server) do(q request) ([]byte, error) {
	switch q.op {
	case opInit:
		return initOut(), nil
	case opLookup:
		if q.node != rootNode || string(bytes.TrimRight(q.body, "\x00")) != fileName {
			return nil, unix.ENOENT
		}
		return entryOut(fileNode, s.size), nil
	case opGetattr, opSetattr:
		return attrOut(q.node, s.size), nil
	case opOpen:
		return make([]byte, 16), nil
	case opRead:
		b := make([]byte, le.Uint32(q.body[16:]))
		n, err := unix.Pread(s.content, b, int64(le.Uint64(q.body[8:])))
		return b[:max(n, 0)], err
	case opWrite:
		return s.write(int64(le.Uint64(q.body[8:])), q.body[writeIn:])
	case opFsync:
		return nil, s.note(record{kind: flushed}, nil)
	case opRelease, opFlush, opDestroy:
		return nil, nil
	}
	return nil, unix.ENOSYS
}

func (s *server) write(at int64, b []byte) ([]byte, error) {
	if at+int64(len(b)) > s.size {
		return nil, unix.EFBIG
	}
	if _, err := unix.Pwrite(s.content, b, at); err != nil {
		return nil, err
	}
	out := make([]byte, 8)
	le.PutUint32(out, uint32(len(b)))
	return out, s.note(record{kind: written, at: at, size: len(b)}, b)
}

// note appends to the log before the kernel has its answer.
func (s *server) note(r record, b []byte) error {
	whole := append(r.header(), b...)
	n, err := unix.Write(s.log, whole)
	if err == nil && n != len(whole) {
		err = unix.EIO
	}
	return err
}
