package erofs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// keeper is a thread with a mount namespace of its own, where EROFS mounts are
// attached. Before Linux 6.15 overlay takes as a layer only a mount of the
// namespace that its caller is in, and no detached one; in the host's table the
// mounts would be for everyone to see, and to hold up.
type keeper struct {
	dir    string
	serial int // of the mount points; the thread's own
	work   chan func()
	ended  chan struct{}
}

// newKeeper starts the thread; dir is for its mount points.
func newKeeper(dir string) (*keeper, error) {
	// What a keeper before left are empty directories: its mounts ended with it.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	k := &keeper{dir: dir, work: make(chan func()), ended: make(chan struct{})}
	begun := make(chan error, 1)
	go k.run(begun)
	if err := <-begun; err != nil {
		return nil, fmt.Errorf("mount namespace of its own: %w", err)
	}
	return k, nil
}

func (k *keeper) run(begun chan error) {
	// Never unlocked: the thread, and with it the namespace, ends with the goroutine.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread must not change. While it is held here, another
		// goroutine gets another one.
		next := make(chan struct{})
		go func() { close(next); k.run(begun) }()
		<-next
		runtime.UnlockOSThread()
		return
	}
	defer close(k.ended)
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		// What is unmounted on the host must go here too, or it would stay busy.
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if begun <- err; err != nil {
		return
	}
	for fn := range k.work {
		fn()
	}
}

// do runs fn on the thread and waits for it. It must not be called there.
func (k *keeper) do(fn func()) {
	done := make(chan struct{})
	k.work <- func() { defer close(done); fn() }
	<-done
}

// close ends the thread, and all mounts with it. Nothing may come after it.
func (k *keeper) close() {
	close(k.work)
	<-k.ended
}

// attach makes a detached mount one of the namespace. It runs on the thread.
func (k *keeper) attach(f *os.File) (*os.File, error) {
	defer f.Close()
	k.serial++
	at := filepath.Join(k.dir, strconv.Itoa(k.serial))
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, err
	}
	if err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("attach at %s: %w", at, err)
	}
	fd, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	return os.NewFile(uintptr(fd), at), nil
}

// detach undoes attach. It runs on the thread. Overlay mounts over it go on.
func (k *keeper) detach(f *os.File) {
	_ = f.Close()
	_ = unix.Unmount(f.Name(), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	_ = os.Remove(f.Name())
}
