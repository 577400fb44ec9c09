package server

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// oomCounter counts the processes that the kernel killed for memory, by the
// line "oom_kill N" of a cgroup file (v1 memory.oom_control since Linux 4.13,
// v2 memory.events). It keeps the file open, so that no path is opened
// when the container is ending.
type oomCounter struct {
	fd   int
	base uint64
}

// open takes the count of now as the base. A missing file counts nothing.
func (o *oomCounter) open(path string) {
	if path == "" {
		return
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	o.fd = fd
	o.rebase()
}

func (o *oomCounter) rebase() { o.base = o.read() }

// grown reports whether a process was killed since the base.
func (o *oomCounter) grown() bool { return o.read() > o.base }

func (o *oomCounter) read() uint64 {
	if o.fd == noFile {
		return 0
	}
	buf := make([]byte, 1024)
	n, err := unix.Pread(o.fd, buf, 0)
	if err != nil {
		return 0
	}
	return parseOOM(buf[:n])
}

func parseOOM(text []byte) uint64 {
	for line := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 64)
			return n
		}
	}
	return 0
}
