package program

import "golang.org/x/sys/unix"

// Held is a process that does nothing but keep its namespaces.
type Held struct {
	child   Child
	release int
}

// Hold makes a process in new namespaces (CLONE_NEW*), which waits until it is
// released, or until its maker ends. It is a process and not a thread for what
// no thread of a Go process can do: to be in a new user namespace.
func Hold(flags uint64) (*Held, error) {
	var wait [2]int
	if err := unix.Pipe2(wait[:], unix.O_CLOEXEC); err != nil {
		return nil, &Failure{Step: "open pipe", Errno: errno(err)}
	}
	defer unix.Close(wait[0])
	b := newBuilder(4)
	b.on("wait", "")
	// Nothing else stays open: another one's end of a pipe would keep that process
	// waiting for this one.
	b.call(unix.SYS_DUP3, "dup3", fd(wait[0], "wait"), num(0), num(0))
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(1), name(1<<32-1, "~0"), num(0))
	b.call(unix.SYS_READ, "read", num(0), b.words(plain, 8), num(1))
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(0))
	p := b.program()
	defer b.release()
	// A copy of the memory, because the maker goes on while the child lives.
	child, e := p.fork(Clone{Flags: flags, Cgroup: NoCgroup, Copy: true}, wait[0])
	if e != 0 {
		unix.Close(wait[1])
		return nil, &Failure{Step: "clone", Object: flagText(flags, namespaceFlags), Errno: e}
	}
	return &Held{child: child, release: wait[1]}, nil
}

// PID is the process's number, which is its own until Release.
func (h *Held) PID() int { return h.child.PID }

// Release ends the process and returns when it has gone. Its namespaces live on
// where somebody has them open.
func (h *Held) Release() {
	// A process that was forked at the wrong moment may have the pipe's end, too.
	_ = unix.PidfdSendSignal(h.child.PIDFD, unix.SIGKILL, nil, 0)
	unix.Close(h.release)
	reap(h.child)
}
