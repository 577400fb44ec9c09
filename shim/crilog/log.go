package crilog

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMaxLine is the longest content of one record unless Open is told
// otherwise: what the kubelet and its tools expect.
const DefaultMaxLine = 16 << 10

// batch is the size of the buffer that one write takes to the file.
const batch = 64 << 10

// headSize is the longest part of a record before its content.
const headSize = len(stampLayout) + len(" stdout F ")

const stampLayout = "2006-01-02T15:04:05.000000000Z"

// Log is an open log file. One with an empty path discards everything.
type Log struct {
	path    string
	fd      int
	maxLine int
	out     []byte // records that are not in the file yet; empty between calls
	torn    bool   // the file ends within a record
	now     func() time.Time
	write   func(fd int, b []byte) (int, error)

	// Errors counts failed writes, Lost the bytes of records that they had.
	Errors, Lost uint64
}

// Trusted is between the two parts of a log's path: what is before it is as it is,
// a symbolic link in what is after it is refused. A pod that may write to the
// host's log directories could otherwise have its log written anywhere.
const Trusted = "/./"

// Open opens or makes the log file, with mode 0640. maxLine bounds the content
// of a record; 0 is DefaultMaxLine.
func Open(path string, maxLine int) (*Log, error) {
	if maxLine <= 0 {
		maxLine = DefaultMaxLine
	}
	l := &Log{path: path, fd: -1, maxLine: maxLine, now: time.Now, write: unix.Write}
	if path == "" {
		return l, nil
	}
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	l.fd = fd
	return l, nil
}

// open refuses what is not a regular file. O_NONBLOCK keeps a pipe at the path
// from stopping the shim; regular files do not know it.
func open(path string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := resolve(path, flags, 0o640)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return -1, unix.EINVAL
	}
	return fd, nil
}

// resolve opens a path whose first part may be trusted, by openat2 (Linux 5.6).
func resolve(path string, flags int, mode uint32) (int, error) {
	top, below, ok := strings.Cut(path, Trusted)
	if !ok {
		return unix.Open(path, flags, mode)
	}
	dir, err := unix.Open(top+"/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat2(dir, below, &unix.OpenHow{
		Flags: uint64(flags), Mode: uint64(mode), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// Reopen goes over to a new file at the log's path. On an error there is no
// new file, and the old one stays in use. Lines that have begun end in the new
// file.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	if l.fd < 0 {
		return unix.EBADF
	}
	fd, err := open(l.path)
	if err != nil {
		return err
	}
	_ = unix.Close(l.fd)
	l.fd, l.torn = fd, false
	return nil
}

// Close closes the file. The streams must have been ended.
func (l *Log) Close() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
	}
	l.fd = -1
	l.Trim()
}

// Trim gives the buffer's memory back until the next write.
func (l *Log) Trim() {
	if l.out != nil {
		_ = unix.Munmap(l.out[:cap(l.out)])
		l.out = nil
	}
}

// record adds one record to the batch. Its content is a, then b.
func (l *Log) record(head []byte, tag byte, a, b []byte) {
	need := headSize + len(a) + len(b) + 1
	if len(l.out)+need > cap(l.out) {
		l.flush()
	}
	if cap(l.out) < need && !l.grow(need) {
		l.Errors++
		l.Lost += uint64(need)
		return
	}
	l.out = append(l.out, head...)
	l.out = append(l.out, tag, ' ')
	l.out = append(l.out, a...)
	l.out = append(l.out, b...)
	l.out = append(l.out, '\n')
}

// grow maps the buffer: outside the heap, so that Trim really gives it back.
func (l *Log) grow(need int) bool {
	l.Trim()
	out, err := unix.Mmap(-1, 0, max(batch, need), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	l.out = out[:0]
	return true
}

// flush writes the batch.
func (l *Log) flush() {
	if len(l.out) == 0 {
		return
	}
	if l.torn && l.all([]byte{'\n'}) == 0 {
		l.torn = false
	}
	if left := l.all(l.out); left > 0 {
		l.Errors++
		l.Lost += uint64(left)
		if at := len(l.out) - left; at > 0 {
			l.torn = l.out[at-1] != '\n'
		}
	}
	l.out = l.out[:0]
}

// all writes b and returns how many bytes could not be written.
func (l *Log) all(b []byte) int {
	for len(b) > 0 {
		n, err := l.write(l.fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil || n <= 0:
			return len(b)
		default:
			b = b[n:]
		}
	}
	return 0
}

// Path is where the log is; empty when it discards.
func (l *Log) Path() string { return l.path }
