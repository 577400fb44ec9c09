package shim

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxShimLog is the size beyond which the shims' log is emptied.
const maxShimLog = 1 << 20

// environment is all that a shim gets: settings for a small Go runtime. One
// processor, because the loop is one goroutine; GOGC so that the heap, which
// is collected at 4 MiB by default, is collected at 1; no buffers for profiles,
// which each thread has; nothing that a container could inherit.
var environment = []string{"GOMAXPROCS=1", "GOGC=25", "GOTRACEBACK=single", "GODEBUG=profstackdepth=0"}

// helloTime bounds the time from a spawn or a connect to the shim's hello.
const helloTime = 10 * time.Second

// spawn makes a shim and waits until it is ready for work.
func (l *Launcher) spawn(ctx context.Context) (*Client, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("spawn shim: socketpair: %w", err)
	}
	pid, err := l.fork(pair[1])
	_ = unix.Close(pair[1])
	if err != nil {
		_ = unix.Close(pair[0])
		return nil, fmt.Errorf("spawn shim %s: %w", l.cfg.Binary, err)
	}
	c := newClient("", os.NewFile(uintptr(pair[0]), "shim"), pid)
	if err := c.greeted(ctx); err != nil {
		select {
		case <-c.Done(): // then it may have been waited for, and the number be another's
		default:
			_ = unix.Kill(pid, unix.SIGKILL) // it has no children yet
		}
		_ = c.Close()
		return nil, fmt.Errorf("spawn shim %s: %w", l.cfg.Binary, err)
	}
	return c, nil
}

// keepDescriptors marks all that this process has open for itself alone: what its
// parent has left open in it (the lock of a script, a pipe to a supervisor) is not
// for the shims, which would hold it as long as their containers run.
func keepDescriptors() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		}
	}
}

// fork runs the program with socket as descriptor 3, in a session of its own
// so that no signal to the daemon's group reaches it.
func (l *Launcher) fork(socket int) (int, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	stderr := null
	if l.cfg.LogPath != "" {
		if stderr, err = openShimLog(l.cfg.LogPath); err != nil {
			return 0, err
		}
		defer stderr.Close()
	}
	argv := []string{"varve-shim"}
	if l.cfg.OOMScoreAdj != nil {
		argv = append(argv, strconv.Itoa(*l.cfg.OOMScoreAdj))
	}
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", l.program.Fd()), argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   environment,
		Files: []uintptr{null.Fd(), null.Fd(), stderr.Fd(), uintptr(socket)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	runtime.KeepAlive(stderr)
	runtime.KeepAlive(l.program)
	return pid, err
}

func openShimLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.Size() > maxShimLog {
		_ = f.Truncate(0)
	}
	return f, nil
}

// reapChild waits for a shim that is this process's child, without holding a
// thread for it: a pidfd can wait in the poller.
func reapChild(pid int) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		// Linux before 5.10 knows no such flag: a thread must wait.
		go func() { _, _ = unix.Wait4(pid, nil, 0, nil) }()
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		return unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED, nil) != unix.EAGAIN
	})
}
