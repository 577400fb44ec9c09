package program

import (
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The hooks that package syscall itself calls around a fork. The Go source
// keeps them linkable (go.dev/issue/67401). BeforeFork blocks all signals and
// makes any growth of the stack fatal; AfterFork undoes both. What
// AfterForkInChild does with 65 calls, CLONE_CLEAR_SIGHAND (Linux 5.5) and one
// call of the program do.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// The bracket of a system call that may take long, linkable as well: between
// them the thread is not waited for, neither by the garbage collector nor by
// other goroutines.

//go:linkname enterSyscall runtime.entersyscall
func enterSyscall()

//go:linkname exitSyscall runtime.exitsyscall
func exitSyscall()

// vfork is clone3 for a child that walks im on its parent's stack and memory
// while the parent waits for its execve or end.
//
//go:noescape
func vfork(args *cloneArgs, size uintptr, im *image) (pid, errno uintptr)

// rawOp is an Op as the child reads it: no slices, no pointers that the
// garbage collector would have to know.
type rawOp struct {
	nr     uintptr
	arg    [6]uintptr
	reg    [6]uint8 // not 0: the argument is this register
	out    uint8
	unless uint8
	on     [2]struct{ errno, skip uint16 }
	skipOK uint16
}

// cloneArgs is struct clone_args up to cgroup (Linux 5.7).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// message is what the child writes on the error pipe.
type message struct{ index, errno uint32 }

// image is all that the child and clone3 touch, as numbers that the garbage
// collector does not see. It must live on the heap, which does not move, and
// so must all that the arguments point at: both are reachable from a Program.
type image struct {
	args  cloneArgs
	pidfd int32

	ops    []rawOp
	regs   [registers]uintptr
	msg    message
	second int

	// What arguments point at and the program does not hold. None of it is
	// appended to once something points at it.
	text    []byte
	texts   []unsafe.Pointer
	filters []unix.SockFprog
}

// fork makes the child. It returns when the child has executed its program or
// has ended.
//
// With CLONE_VFORK and CLONE_VM nothing of this process's memory is copied,
// neither by the kernel at once nor page by page by who writes first, which is
// some 0.3 ms and 100 KiB of a small process. The child is a process all the
// same, and single-threaded, so that it may change its user namespace, which
// no thread of a Go process can. It must not touch what Go's runtime has, and
// nobody may trace it: its memory is ours. It is as non-dumpable as we are, but
// where fs.suid_dumpable is 1, a change of its user would make it dumpable;
// there it gets a copy.
//
//go:norace
func (p *Program) fork(c Clone, errfd int) (Child, unix.Errno) {
	im := p.lower()
	im.regs[errPipe] = uintptr(errfd)
	im.second = p.second
	im.args = cloneArgs{
		flags:      c.Flags | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd:      uint64(uintptr(unsafe.Pointer(&im.pidfd))),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if !c.Copy {
		im.args.flags |= unix.CLONE_VM | unix.CLONE_VFORK
	}
	if c.tid != nil {
		im.args.flags |= unix.CLONE_CHILD_SETTID
		im.args.childTID = uint64(uintptr(unsafe.Pointer(c.tid)))
	}
	if c.Cgroup != NoCgroup {
		im.args.flags |= unix.CLONE_INTO_CGROUP
		im.args.cgroup = uint64(c.Cgroup)
	}
	pid, e := im.clone()
	runtime.KeepAlive(p)
	if e != 0 {
		return Child{}, unix.Errno(e)
	}
	return Child{PID: int(pid), PIDFD: int(im.pidfd)}, 0
}

// clone calls vfork. Between the brackets nothing may grow the stack, so that
// all that is called there is marked nosplit.
//
//go:noinline
//go:norace
func (im *image) clone() (pid, e uintptr) {
	enterSyscall()
	beforeFork()
	pid, e = vfork(&im.args, unsafe.Sizeof(im.args), im)
	afterFork()
	exitSyscall()
	return pid, e
}

// walk runs in the child and never returns.
//
//go:nosplit
//go:norace
func walk(im *image) { //nolint:unused // vfork calls it
	regs := &im.regs
	second := im.second
	for i := 0; i < len(im.ops); i++ {
		if second > 0 && i >= second {
			second = 0
			// A copy of the memory: who traces the second process must not
			// get at ours. Not clone3, which many filters know nothing of.
			pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if e != 0 {
				im.msg = message{index: uint32(i), errno: uint32(e)}
				break
			}
			if pid != 0 {
				im.msg = message{index: secondMark, errno: uint32(pid)}
				break
			}
		}
		o := &im.ops[i]
		if regs[o.unless%registers] != 0 {
			continue
		}
		// Copied, because a write to the list would cost a page fault.
		arg := o.arg
		for k := range o.reg {
			if r := o.reg[k] % registers; r != 0 {
				arg[k] = regs[r]
			}
		}
		r, _, e := syscall.RawSyscall6(o.nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5])
		if e == unix.EAGAIN && o.nr == unix.SYS_OPENAT2 {
			i-- // raced with a rename or mount somewhere: see package inroot
			continue
		}
		if e == 0 {
			if o.out != 0 {
				regs[o.out%registers] = r
			}
			i += int(o.skipOK)
			continue
		}
		skip := -1
		for k := range o.on {
			if o.on[k].errno == uint16(e) {
				skip = int(o.on[k].skip)
			}
		}
		if skip < 0 {
			im.msg = message{index: uint32(i), errno: uint32(e)}
			break
		}
		i += skip
	}
	syscall.RawSyscall(unix.SYS_WRITE, regs[errPipe], uintptr(unsafe.Pointer(&im.msg)), unsafe.Sizeof(im.msg))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 128, 0, 0)
	}
}

// reset forgets the last program, but keeps the memory.
func (im *image) reset() {
	clear(im.texts)
	clear(im.filters)
	if cap(im.text) > maxKept {
		im.text, im.texts = nil, nil
	}
	im.args, im.pidfd, im.msg, im.regs = cloneArgs{}, 0, message{}, [registers]uintptr{}
	im.ops, im.text, im.texts, im.filters = im.ops[:0], im.text[:0], im.texts[:0], im.filters[:0]
}

// reserve makes room for all that value will append.
func (im *image) reserve(p *Program) {
	text, texts, filters := 0, 0, 0
	for _, list := range p.lists {
		texts += len(list) + 1
		for _, s := range list {
			text += len(s) + 1
		}
	}
	for i := range p.ops {
		for k := range p.ops[i].Args {
			if p.ops[i].Args[k].kind == filter {
				filters++
			}
		}
	}
	im.text = slices.Grow(im.text[:0], text+1)
	im.texts = slices.Grow(im.texts[:0], texts)
	im.filters = slices.Grow(im.filters[:0], filters)
	im.ops = slices.Grow(im.ops[:0], len(p.ops))[:len(p.ops)]
}

// lower makes the image, in the memory of the program's builder, which is on
// the heap.
func (p *Program) lower() *image {
	im := &p.from.image
	im.reserve(p)
	for i := range p.ops {
		o, r := &p.ops[i], &im.ops[i]
		*r = rawOp{nr: o.Call.Nr, out: uint8(o.Out), unless: uint8(o.Unless), skipOK: o.SkipOK}
		for k, s := range o.On {
			r.on[k].errno, r.on[k].skip = s.Errno, s.N
		}
		for k := range o.Args {
			r.arg[k], r.reg[k] = im.value(p, &o.Args[k])
		}
	}
	return im
}

func (im *image) value(p *Program, a *Arg) (value uintptr, reg uint8) {
	switch a.kind {
	case register:
		return 0, uint8(a.reg)
	case buffer:
		return uintptr(unsafe.Pointer(a.at)), 0
	case vector:
		return im.vector(p.lists[a.num]), 0
	case filter:
		im.filters = append(im.filters, unix.SockFprog{
			Len:    uint16(a.num / filterSize),
			Filter: (*unix.SockFilter)(unsafe.Pointer(a.at)),
		})
		return uintptr(unsafe.Pointer(&im.filters[len(im.filters)-1])), 0
	}
	return uintptr(a.num), 0
}

// vector copies the strings behind one another and returns the array of
// pointers to them that execve takes.
func (im *image) vector(list []string) uintptr {
	first := len(im.texts)
	for _, s := range list {
		im.texts = append(im.texts, unsafe.Add(unsafe.Pointer(unsafe.SliceData(im.text)), len(im.text)))
		im.text = append(append(im.text, s...), 0)
	}
	im.texts = append(im.texts, nil)
	return uintptr(unsafe.Pointer(&im.texts[first]))
}
