package program

import (
	"encoding/binary"
	"runtime"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Where the descriptors of a Procfs program are. The context is the lowest that is
// free.
const (
	contextFD = 0
	socketFD  = exeFD
)

// Procfs builds the program that opens a context for procfs of a PID namespace, pids,
// in which others are, and sends it to socket: what a kernel before Linux 6.17 does
// for a process of that namespace alone. Who traces the one that is in there for a
// moment gets nothing by it. It needs CAP_SYS_ADMIN, which is all the rights that it
// has, and a filter leaves it no call to use them for but fsopen, which only begins a
// mount; of descriptors it has the socket. Its process ends by itself.
func Procfs(pids, socket int) *Program {
	b := newBuilder(16)
	b.on("join namespace", "pid")
	b.call(unix.SYS_SETNS, "setns", fd(pids, "pids"), as(unix.CLONE_NEWPID, namespaceBits))
	b.on("close descriptors", "")
	b.dup(from(errPipe), errPipeFD, false).to(errPipe)
	b.dup(fd(socket, "socket"), socketFD, false)
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(socketFD+1), name(1<<32-1, "~0"))
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(0), num(errPipeFD-1))
	b.confine()
	b.on("open procfs", "")
	b.second = len(b.ops)
	b.call(unix.SYS_FSOPEN, "fsopen", b.str("proc"), name(unix.FSOPEN_CLOEXEC, "CLOEXEC"))
	b.call(unix.SYS_SENDMSG, "sendmsg", num(socketFD), fileMessage(contextFD), name(unix.MSG_NOSIGNAL, "NOSIGNAL"))
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(0))
	return b.program()
}

// confine takes away all rights but CAP_SYS_ADMIN and all calls but a few.
func (b *builder) confine() {
	const admin = 1 << unix.CAP_SYS_ADMIN
	b.capset(plan.Caps{Effective: admin, Permitted: admin})
	b.on("load seccomp filter", "")
	b.call(unix.SYS_SECCOMP, "seccomp", name(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"), num(0), bpf(confined()))
}

// confined makes the filter: clone for the second process, write and exit_group for
// telling of an error. Calls by another architecture's numbers are killed, too.
func confined() []byte {
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	calls := []uint32{unix.SYS_CLONE, unix.SYS_FSOPEN, unix.SYS_SENDMSG, unix.SYS_WRITE, unix.SYS_EXIT_GROUP}
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	prog := []unix.SockFilter{
		{Code: load, K: 4}, // seccomp_data.arch
		{Code: equal, K: arch, Jf: uint8(len(calls) + 1)},
		{Code: load, K: 0}, // seccomp_data.nr
	}
	for i, nr := range calls {
		prog = append(prog, unix.SockFilter{Code: equal, K: nr, Jt: uint8(len(calls) - i)})
	}
	prog = append(prog, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
	var text []byte
	for _, i := range prog {
		text = binary.NativeEndian.AppendUint16(text, i.Code)
		text = binary.NativeEndian.AppendUint32(append(text, i.Jt, i.Jf), i.K)
	}
	return text
}
