package program

import (
	"encoding/binary"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Held is a process that does nothing but keep its namespaces.
type Held struct {
	pid   int
	wait  int           // the process ends when this is closed
	ended chan struct{} // closed when the process has gone or was never there
	errno unix.Errno    // why it was never there; when ended is closed
}

// Hold makes a process in new namespaces (CLONE_NEW*), which waits until it is
// released, or until its maker ends. It is a process and not a thread for what
// no thread of a Go process can do: to be in a new user namespace. It shares the
// maker's memory, of which a copy would cost milliseconds in a daemon, on a thread
// that is suspended meanwhile.
func Hold(flags uint64) (*Held, error) {
	if err := guard(); err != nil {
		return nil, &Failure{Step: "set non-dumpable", Errno: errno(err)}
	}
	var wait, begun [2]int
	if err := unix.Pipe2(wait[:], unix.O_CLOEXEC); err != nil {
		return nil, &Failure{Step: "open pipe", Errno: errno(err)}
	}
	if err := unix.Pipe2(begun[:], unix.O_CLOEXEC); err != nil {
		unix.Close(wait[0])
		unix.Close(wait[1])
		return nil, &Failure{Step: "open pipe", Errno: errno(err)}
	}
	h := &Held{ended: make(chan struct{}), wait: wait[1]}
	go h.run(flags, wait[0], begun[1])
	var tid [4]byte
	n, err := unix.Read(begun[0], tid[:])
	for err == unix.EINTR {
		n, err = unix.Read(begun[0], tid[:])
	}
	unix.Close(begun[0])
	if n == len(tid) {
		h.pid = int(binary.NativeEndian.Uint32(tid[:]))
		return h, nil
	}
	unix.Close(h.wait)
	<-h.ended
	if h.errno == 0 {
		h.errno = unix.EIO // it has ended by itself
	}
	return nil, &Failure{Step: "clone", Object: flagText(flags, namespaceFlags), Errno: h.errno}
}

// guard keeps everybody out of the memory that a held process shares. It belongs
// to the same user as its new namespace, so that any process of that user in sight,
// which a container with the host's PIDs may have, has all rights over it, and could
// trace it. What is not dumpable needs rights over the host.
var guard = sync.OnceValue(func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) })

// run makes the process and returns when it has gone. It closes what the process
// has read from and written to.
func (h *Held) run(flags uint64, wait, begun int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := newBuilder(5)
	defer b.release()
	tid := b.bytes(4)
	b.on("wait", "")
	b.call(unix.SYS_WRITE, "write", fd(begun, "begun"), opaque(tid, "TID"), num(4))
	// Nothing else stays open: another one's end of a pipe would keep that process
	// waiting for this one.
	b.call(unix.SYS_DUP3, "dup3", fd(wait, "wait"), num(0), num(0))
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(1), name(1<<32-1, "~0"), num(0))
	b.call(unix.SYS_READ, "read", num(0), b.words(plain, 8), num(1))
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(0))
	child, e := b.program().fork(Clone{Flags: flags, Cgroup: NoCgroup, tid: &tid[0]}, wait)
	unix.Close(wait)
	unix.Close(begun)
	if e == 0 {
		reap(child)
	}
	h.errno = e
	close(h.ended)
}

// PID is the process's number, which is its own until Release.
func (h *Held) PID() int { return h.pid }

// Release ends the process and returns when it has gone. Its namespaces live on
// where somebody has them open.
func (h *Held) Release() {
	// A process that was forked at the wrong moment may have the pipe's end, too.
	_ = unix.Kill(h.pid, unix.SIGKILL)
	unix.Close(h.wait)
	<-h.ended
}
