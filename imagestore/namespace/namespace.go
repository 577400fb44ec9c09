// Package namespace runs functions in mount namespaces that last no longer than
// they do, for what older kernels only do with mounts that are attached somewhere.
//
// It keeps no namespace, and nothing that is mounted in one is seen outside; what
// the function took out of it as a descriptor stays.
package namespace

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs fn on a thread of its own, in a private copy of the mount namespace.
func Do(fn func() (*os.File, error)) (f *os.File, err error) {
	done := make(chan struct{})
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and its namespace is what /proc shows of the
			// whole process. While it is held here, another thread gets the work.
			defer runtime.UnlockOSThread()
			go run()
			<-done
			return
		}
		// The thread is never unlocked, so that it ends with its namespace.
		defer close(done)
		if err = enter(); err == nil {
			f, err = fn()
		}
	}
	go run()
	<-done
	return f, err
}

func enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("make mounts private", err)
	}
	return nil
}
