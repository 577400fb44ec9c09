package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"

	"github.com/varve-cri/varve/runtime/idmap"
	"golang.org/x/sys/unix"
)

// Spec says which namespaces a pod gets of its own and what is set in them.
type Spec struct {
	Net, IPC, UTS bool
	// User is the pod's user namespace, which owns the others; nil leaves the pod in
	// that of the host.
	User *User
	// Hostname is set in the new UTS namespace; it needs UTS.
	Hostname string
	// Sysctls are written in the new namespaces; CheckSysctl says which are allowed.
	Sysctls map[string]string

	net *os.File // a network namespace to pin instead of a new one
}

// User is how the ids in a user namespace map to the host's.
type User struct{ UIDs, GIDs []idmap.Range }

// root is what user 0 of the namespace is to the host.
func (u *User) root() uint32 {
	for _, r := range u.UIDs {
		if r.Inside == 0 {
			return r.Outside
		}
	}
	return 0
}

// kind is one type of namespace.
type kind struct {
	name string
	flag int
	want func(Spec) bool
}

var kinds = []kind{
	{"net", unix.CLONE_NEWNET, func(s Spec) bool { return s.Net }},
	{"ipc", unix.CLONE_NEWIPC, func(s Spec) bool { return s.IPC }},
	{"uts", unix.CLONE_NEWUTS, func(s Spec) bool { return s.UTS }},
	{"user", unix.CLONE_NEWUSER, func(s Spec) bool { return s.User != nil }},
}

// Pins is a directory with pinned namespaces: the files net, ipc, uts and user.
type Pins struct{ Dir string }

// Net returns the path of the pinned network namespace.
func (p Pins) Net() string { return p.Dir + "/net" }

// maxHostname is the kernel's __NEW_UTS_LEN.
const maxHostname = 64

// check finds what cannot be done before anything is done.
func (s Spec) check() error {
	if s.Hostname != "" && !s.UTS {
		return errors.New("hostname: the pod has no UTS namespace of its own")
	}
	if len(s.Hostname) > maxHostname {
		return fmt.Errorf("hostname %q: longer than %d bytes", s.Hostname, maxHostname)
	}
	for key, value := range s.Sysctls {
		if err := CheckSysctl(key, value, s); err != nil {
			return err
		}
	}
	return nil
}

// Pin makes the namespaces that s asks for and pins them in dir, which it makes
// with mode 0700 (the directory above must exist; dir must not hold pins
// already). The loopback device of a new network namespace is up. On an error
// nothing is left.
func Pin(dir string, s Spec) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("pin namespaces: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pin namespaces: %w", err)
	}
	var made []string
	for _, k := range kinds {
		if !k.want(s) {
			continue
		}
		file := dir + "/" + k.name
		// O_EXCL: a mount over another pod's pin would hide it for ever.
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDONLY|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return undo(fmt.Errorf("pin namespaces: %w", err), dir, made)
		}
		f.Close()
		made = append(made, file)
	}
	if err := onThread(func() error { return makeHere(dir, s) }); err != nil {
		return undo(fmt.Errorf("pin namespaces in %s: %w", dir, err), dir, made)
	}
	return nil
}

// undo lets go of the pins that a failed Pin made. The directory stays if it
// holds what others put there.
func undo(cause error, dir string, made []string) error {
	errs := []error{cause}
	for _, file := range made {
		errs = append(errs, release(file))
	}
	_ = os.Remove(dir)
	return errors.Join(errs...)
}

// onThread runs f on a thread that ends afterwards and is not the process's
// first: that one would show the new namespaces in /proc/PID, and Go cannot
// end it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	var start func()
	start = func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		// The first thread is clean, so it may go back; while it is held here, the
		// other goroutine gets another one.
		started := make(chan struct{})
		go func() { close(started); start() }()
		<-started
		runtime.UnlockOSThread()
	}
	go start()
	return <-done
}

// makeHere makes the namespaces for the calling thread and pins them.
func makeHere(dir string, s Spec) error {
	flags := 0
	for _, k := range kinds {
		if k.want(s) {
			flags |= k.flag
		}
	}
	if flags == 0 {
		return nil
	}
	from := "/proc/thread-self/ns/"
	if s.User == nil {
		if err := enter(flags, s); err != nil {
			return err
		}
	} else {
		// Only a process of its own can be in a new user namespace, and make others
		// that belong to it.
		child, err := idmap.Hold(s.User.UIDs, s.User.GIDs, uint64(flags&^unix.CLONE_NEWUSER))
		if err != nil {
			return err
		}
		defer child.Release()
		from = "/proc/" + strconv.Itoa(child.PID()) + "/ns/"
		if err := follow(from, flags, s); err != nil {
			return err
		}
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fmt.Errorf("set hostname %q: %w", s.Hostname, err)
		}
	}
	if err := setSysctls(s); err != nil {
		return err
	}
	for _, k := range kinds {
		if !k.want(s) {
			continue
		}
		if err := unix.Mount(from+k.name, dir+"/"+k.name, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind " + k.name + " namespace to", Path: dir + "/" + k.name, Err: err}
		}
	}
	return nil
}

// enter makes the namespaces of flags for the calling thread.
func enter(flags int, s Spec) error {
	if s.net != nil {
		flags &^= unix.CLONE_NEWNET
		if err := unix.Setns(int(s.net.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if !s.Net || s.net != nil {
		return nil
	}
	return loopback()
}

func loopback() error {
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// follow takes the calling thread into the namespaces of another process, all but
// its user namespace, to set up what is in them with the host's rights.
func follow(dir string, flags int, s Spec) error {
	for _, k := range kinds {
		if flags&k.flag == 0 || k.flag == unix.CLONE_NEWUSER {
			continue
		}
		fd, err := unix.Open(dir+k.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: dir + k.name, Err: err}
		}
		err = unix.Setns(fd, k.flag)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("setns %s: %w", k.name, err)
		}
	}
	if !s.Net {
		return nil
	}
	return loopback()
}

// raiseLoopback sets IFF_UP on lo in the thread's network namespace, without
// which 127.0.0.1 does not answer.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
