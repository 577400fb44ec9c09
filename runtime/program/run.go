package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// filterSize is sizeof(struct sock_filter).
const filterSize = 8

// Program is a list of calls; the last one executes another program.
type Program struct {
	ops   []Op
	lists [][]string // of the arguments that are arrays of strings
	from  *builder   // whose memory all of it is

	second int // the call with which a second process goes on; 0 when there is none
}

// Ops returns the calls.
func (p *Program) Ops() []Op { return p.ops }

// Failure is the call of a program that failed.
type Failure struct {
	Op           int
	Step, Object string
	Errno        unix.Errno
}

// Error returns "step object: cause".
func (f *Failure) Error() string {
	return strings.TrimRight(f.Step+" "+f.Object, " ") + ": " + f.Errno.Error()
}

// Unwrap returns the errno.
func (f *Failure) Unwrap() error { return f.Errno }

// Child is a process that runs what the program executed. PIDFD is -1 for a
// second process that has exited already and was waited for by somebody else.
type Child struct{ PID, PIDFD int }

// NoCgroup is the Cgroup of a Clone that leaves the child in its parent's.
const NoCgroup = -1

// Clone says how the child is made.
type Clone struct {
	Flags  uint64 // CLONE_NEW*
	Cgroup int    // a cgroup v2 directory for CLONE_INTO_CGROUP; -1 is none
	Copy   bool   // the child gets a copy of the memory instead of sharing it until its execve

	tid *byte // four bytes that the kernel sets to the child's process id before it runs
}

// Run makes a child that walks the program, and returns when the child has
// executed its last call, or with a *Failure when any of them failed. Then
// the child is dead and reaped. Run must be called on a locked thread, whose
// namespaces the child gets. The program is over when it returns.
func (p *Program) Run(c Clone) (Child, error) {
	defer p.from.release()
	if err := p.check(); err != nil {
		return Child{}, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return Child{}, &Failure{Step: "open error pipe", Errno: errno(err)}
	}
	defer unix.Close(pipe[0])
	w, err := above(pipe[1], firstFree)
	if err != nil {
		return Child{}, &Failure{Step: "open error pipe", Errno: errno(err)}
	}
	child, e := p.fork(c, w)
	_ = unix.Close(w)
	if e != 0 {
		return Child{}, &Failure{Step: "clone", Errno: e}
	}
	index, second, e := report(pipe[0])
	if e == 0 && p.second == 0 {
		return child, nil
	}
	reap(child)
	if e == 0 {
		return adopt(second)
	}
	if second != 0 {
		reapPID(second)
	}
	if index < 0 || index >= len(p.ops) {
		return Child{}, &Failure{Step: "read error pipe", Errno: e}
	}
	if p.second != 0 && index == p.second {
		// Not setsid, which a new process always may, but the clone before it. Without
		// no_new_privs a filter is in force by then, and may know nothing of clone.
		return Child{}, &Failure{Op: index, Step: "fork", Object: "in the PID namespace", Errno: e}
	}
	return Child{}, &Failure{Op: index, Step: p.ops[index].Step, Object: p.ops[index].Object, Errno: e}
}

// Warm does everything of Run that has no effect outside of this process's
// memory.
func (p *Program) Warm() {
	defer p.from.release()
	_ = p.check()
	p.lower()
}

// report waits for the child's execve, which closes the pipe, or for the
// eight bytes that the child writes when a call failed. A first process writes
// eight as well, to tell of the second, which runs beside it: what that one has to
// tell may come first, so all is read that there is.
func report(fd int) (index, second int, e unix.Errno) {
	var buf [8]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return -1, second, errno(err)
		case n == 0:
			return index, second, e
		case n < len(buf):
			return -1, second, unix.EIO
		}
		at, value := binary.NativeEndian.Uint32(buf[:]), binary.NativeEndian.Uint32(buf[4:])
		if at == secondMark {
			second = int(value)
		} else {
			index, e = int(at), unix.Errno(value)
		}
	}
}

// secondMark is what a message has in the place of the failed call's index
// when it tells the process id of the second process.
const secondMark = 1<<32 - 1

// adopt returns the second process, which is this process's child as the first
// was.
func adopt(pid int) (Child, error) {
	if pid <= 0 {
		return Child{}, &Failure{Step: "read error pipe", Errno: unix.EIO}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return Child{PID: pid, PIDFD: -1}, nil
	}
	if err != nil {
		return Child{}, &Failure{Step: "open process", Errno: errno(err)}
	}
	// Who else may wait may have done so, and the number be another's by now.
	err = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	if err == unix.ECHILD {
		_ = unix.Close(fd)
		fd = -1
	}
	return Child{PID: pid, PIDFD: fd}, nil
}

// Reap waits for the child's end and takes it away.
func (c Child) Reap() {
	if c.PIDFD >= 0 {
		reap(c)
	}
}

// reap takes a failed child away. That somebody else's wait was quicker
// (ECHILD) is as good.
func reap(c Child) {
	for {
		err := unix.Waitid(unix.P_PIDFD, c.PIDFD, nil, unix.WEXITED, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = unix.Close(c.PIDFD)
}

// reapPID is reap of a process of which there is only the number, which nobody else
// waits for.
func reapPID(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != unix.EINTR {
			return
		}
	}
}

// above moves fd to low or higher: the numbers below are those that the
// child fills for the program that it executes.
func above(fd, low int) (int, error) {
	if fd >= low {
		return fd, nil
	}
	defer unix.Close(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, low)
}

// check refuses what the kernel would silently cut short: text with a zero
// byte in it.
func (p *Program) check() error {
	for i := range p.ops {
		o := &p.ops[i]
		for _, a := range o.Args {
			if p.cut(a) {
				return &Failure{Op: i, Step: o.Step, Object: o.Object, Errno: unix.EINVAL}
			}
		}
	}
	return nil
}

func (p *Program) cut(a Arg) bool {
	if a.kind == vector {
		for _, s := range p.lists[a.num] {
			if strings.IndexByte(s, 0) >= 0 {
				return true
			}
		}
	}
	return a.kind == buffer && a.form == cString && bytes.IndexByte(a.bytes(), 0) != int(a.num)-1
}

func errno(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}
