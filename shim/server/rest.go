package server

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// A garbage collection leaves half a MiB of tables behind in Go's runtime that
// it never gives back: bitmaps of marks, and lists of spans for every size of
// object that was ever used. It is more than all else that a shim has of its
// own, so the shim works without garbage where work recurs (execs, messages,
// output), and collects only when it has that much to gain.
const (
	collectAbove = 1200 << 10 // private memory, in bytes
	collectAgain = 512 << 10  // growth over what a collection left
)

// rest is what an idle shim does once before it waits without end.
func (s *server) rest() {
	s.removeGroups()
	if s.buf != nil {
		_ = unix.Munmap(s.buf)
		s.buf = nil
	}
	if s.log != nil {
		s.log.Trim()
	}
	if private() > max(collectAbove, s.floor+collectAgain) {
		debug.FreeOSMemory()
		s.floor = private()
	}
}

// private is how much memory this process shares with no file, in bytes; 0 if
// that cannot be known.
func private() int {
	fd, err := unix.Open("/proc/self/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var text [128]byte
	n, err := unix.Read(fd, text[:])
	if err != nil {
		return 0
	}
	return parsePrivate(text[:n]) * os.Getpagesize()
}

// parsePrivate takes resident less shared pages out of "size resident shared
// ...".
func parsePrivate(text []byte) int {
	var field [3]int
	at := 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			field[at] = 10*field[at] + int(c-'0')
		case at == len(field)-1:
			return field[1] - field[2]
		default:
			at++
		}
	}
	return 0
}
