package seccomp

//go:generate go run ./internal/gen

import (
	"fmt"
	"maps"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The AUDIT_ARCH_* tokens by which the kernel tells which table a system call
// number belongs to (include/uapi/linux/audit.h).
const (
	auditX8664   = 0xc000003e
	auditI386    = 0x40000003
	auditAarch64 = 0xc00000b7
	auditARM     = 0x40000028
)

// x32Bit is set in the numbers of x32 calls, which share the token of x86_64.
const x32Bit = 0x40000000

// arch is one table of system calls that a kernel offers.
type arch struct {
	name    specs.Arch
	token   uint32
	numbers map[string]uint32
	narrow  bool              // arguments are 32 bits wide
	muxed   map[string]muxing // calls that may also be made through a multiplexer
}

// muxing says which multiplexer makes a call, and what its first argument is then.
type muxing struct {
	call string
	arg  uint64
}

// machine is what one kind of machine can run: its own architecture first.
type machine []*arch

// machines by Go's names. They are built when first asked for.
var machines = sync.OnceValue(func() map[string]machine {
	amd64 := &arch{name: specs.ArchX86_64, token: auditX8664, numbers: numbersX8664}
	x32 := &arch{name: specs.ArchX32, token: auditX8664, numbers: x32Numbers()}
	x86 := &arch{name: specs.ArchX86, token: auditI386, numbers: numbersI386, narrow: true, muxed: i386Muxed()}
	arm := &arch{name: specs.ArchARM, token: auditARM, numbers: armNumbers(), narrow: true}
	arm64 := &arch{name: specs.ArchAARCH64, token: auditAarch64, numbers: numbersAarch64}
	return map[string]machine{
		"amd64": {amd64, x86, x32},
		"arm64": {arm64, arm},
	}
})

// knownArches are the names that the OCI specification allows. One that is
// known but that this machine cannot run is no error: profiles list many.
var knownArches = map[specs.Arch]bool{
	specs.ArchX86: true, specs.ArchX86_64: true, specs.ArchX32: true, specs.ArchARM: true, specs.ArchAARCH64: true,
	specs.ArchMIPS: true, specs.ArchMIPS64: true, specs.ArchMIPS64N32: true, specs.ArchMIPSEL: true,
	specs.ArchMIPSEL64: true, specs.ArchMIPSEL64N32: true, specs.ArchPPC: true, specs.ArchPPC64: true,
	specs.ArchPPC64LE: true, specs.ArchS390: true, specs.ArchS390X: true, specs.ArchPARISC: true,
	specs.ArchPARISC64: true, specs.ArchRISCV64: true, specs.ArchLOONGARCH64: true, specs.ArchM68K: true,
	specs.ArchSH: true, specs.ArchSHEB: true,
}

// arches returns the architectures of a machine that a profile's list admits.
// The machine's own is always among them, as with libseccomp.
func arches(list []specs.Arch, goarch string) ([]*arch, error) {
	m, ok := machines()[goarch]
	if !ok {
		return nil, fmt.Errorf("architecture %q: no system call table", goarch)
	}
	listed := make(map[specs.Arch]bool, len(list))
	for i, name := range list {
		if !knownArches[name] {
			return nil, fmt.Errorf("architectures[%d]: %q is not an architecture", i, name)
		}
		listed[name] = true
	}
	admitted := []*arch{m[0]}
	for _, a := range m[1:] {
		if listed[a.name] {
			admitted = append(admitted, a)
		}
	}
	return admitted, nil
}

// x32Numbers derives the x32 table from the x86_64 one: the same numbers with
// a bit set, but for the calls whose structures differ, which have numbers of
// their own from 512 on (arch/x86/entry/syscalls/syscall_64.tbl).
func x32Numbers() map[string]uint32 {
	own := []string{
		"rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg", "execve", "ptrace",
		"rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "timer_create", "mq_notify", "kexec_load",
		"waitid", "set_robust_list", "get_robust_list", "vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo",
		"recvmmsg", "sendmmsg", "process_vm_readv", "process_vm_writev", "setsockopt", "getsockopt", "io_setup",
		"io_submit", "execveat", "preadv2", "pwritev2",
	}
	numbers := make(map[string]uint32, len(numbersX8664))
	for name, n := range numbersX8664 {
		numbers[name] = n | x32Bit
	}
	for i, name := range own {
		numbers[name] = uint32(512+i) | x32Bit
	}
	return numbers
}

// armNumbers adds the calls that ARM keeps outside the common range
// (arch/arm/include/uapi/asm/unistd.h), which x/sys does not list.
func armNumbers() map[string]uint32 {
	numbers := maps.Clone(numbersArmEABI)
	for i, name := range []string{"breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"} {
		numbers[name] = 0x0f0000 + uint32(i) + 1
	}
	return numbers
}

// i386Muxed lists what socketcall(2) and ipc(2) can do. A filter cannot see
// the arguments that they pass in memory.
func i386Muxed() map[string]muxing {
	muxed := make(map[string]muxing)
	for i, name := range []string{
		"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
		"sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	} {
		muxed[name] = muxing{"socketcall", uint64(i) + 1}
	}
	for name, n := range map[string]uint64{
		"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
		"shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
	} {
		muxed[name] = muxing{"ipc", n}
	}
	return muxed
}
