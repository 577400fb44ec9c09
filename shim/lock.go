package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// held reports whether a shim holds the directory. It asks for the owner of
// the lock and never takes it, so it cannot disturb a shim that starts.
func held(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, proto.LockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err = control(f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock) })
	if err != nil {
		return false, fmt.Errorf("query lock %s: %w", f.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// control calls f with the file's descriptor. Unlike Fd it leaves the mode of
// the file alone.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// connect connects to the socket in the directory. The name goes through
// /proc/self/fd, because a socket's path may have 108 bytes only.
func connect(dir string) (*os.File, error) {
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(d)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	name := "/proc/self/fd/" + strconv.Itoa(d) + "/" + proto.SocketFile
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, proto.SocketFile)), nil
}

// dialPause is the time between attempts to reach a shim that holds the lock
// but does not listen: it is beginning or ending.
const dialPause = 2 * time.Millisecond

// reach connects to the shim that holds dir.
func reach(ctx context.Context, dir string) (*os.File, error) {
	for {
		f, cause := connect(dir)
		if cause == nil {
			return f, nil
		}
		busy, err := held(dir)
		if err != nil {
			return nil, err
		}
		if !busy {
			return nil, fmt.Errorf("%s: %w", dir, ErrGone)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to shim of %s: %w: %w", dir, cause, context.Cause(ctx))
		case <-time.After(dialPause):
		}
	}
}
