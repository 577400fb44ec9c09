package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const childEnv = "VARVE_SECCOMP_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(confined())
	}
	os.Exit(m.Run())
}

// confined installs a filter on its own thread and tries what it forbids.
func confined() int {
	runtime.LockOSThread()
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"mkdirat"}, Action: specs.ActErrno},
		{Names: []string{"unlinkat"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(unix.ENOSYS))},
		{Names: []string{"dup3"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(unix.E2BIG)),
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: 700, Op: specs.OpGreaterEqual}, {Index: 2, Value: unix.O_CLOEXEC, ValueTwo: unix.O_CLOEXEC, Op: specs.OpMaskedEqual}}},
	}}
	prog, flags, err := Compile(p, runtime.GOARCH)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := install(prog, flags); err != nil {
		fmt.Println("install:", err)
		return 1
	}
	for name, c := range map[string]struct{ got, want error }{
		"mkdirat":         {unix.Mkdirat(unix.AT_FDCWD, "/no/such", 0), unix.EPERM},
		"unlinkat":        {unix.Unlinkat(unix.AT_FDCWD, "/no/such", 0), unix.ENOSYS},
		"dup3 cloexec":    {unix.Dup3(1, 701, unix.O_CLOEXEC), unix.E2BIG},
		"dup3 no cloexec": {unix.Dup3(1, 701, 0), nil},
		"dup3 low":        {unix.Dup3(1, 699, unix.O_CLOEXEC), nil},
	} {
		if c.got != c.want {
			fmt.Printf("%s: %v, want %v\n", name, c.got, c.want)
			return 1
		}
	}
	return 0
}

// install puts the filter on the calling thread.
func install(prog []byte, flags uint32) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := unix.SockFprog{Len: uint16(len(prog) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(prog)
	if e != 0 {
		return e
	}
	return nil
}

func TestOnTheKernel(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestDefaultOnTheKernel lets the kernel's own checker look at the largest
// program there is, on a thread that ends with the test.
func TestDefaultOnTheKernel(t *testing.T) {
	p, err := Default(specWith())
	if err != nil {
		t.Fatal(err)
	}
	prog, flags, err := Compile(p, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct{ install, unshare error }
	done := make(chan answer)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		var a answer
		if a.install = install(prog, flags); a.install == nil {
			a.unshare = unix.Unshare(unix.CLONE_NEWNET)
		}
		done <- a
	}()
	if a := <-done; a.install != nil || a.unshare != unix.EPERM {
		t.Errorf("install: %v, unshare: %v", a.install, a.unshare)
	}
}
