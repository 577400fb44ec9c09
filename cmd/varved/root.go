package main

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// errChroot says what is wrong with a root directory and what to do.
var errChroot = errors.New("is not the root of varved's mount namespace (a chroot): " +
	"containers and execs come back from other namespaces to that one, so start varved there, or in a mount namespace of its own with pivot_root")

// checkRoot refuses a changed root directory. Whoever enters a mount namespace
// is put at its root by the kernel, so that a varved in a chroot would work on
// the host's files after it had been in a container's. This does just that, on
// a thread of its own, with our own namespace, and looks where it has come to:
// no table tells a chroot into a mount point from a pivot_root.
func checkRoot() error {
	done := make(chan error, 1)
	go reenter(done)
	if err := <-done; err != nil {
		return fmt.Errorf("root directory: %w", err)
	}
	return nil
}

func reenter(done chan error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread must not change. While it is held here,
		// another goroutine gets another one.
		begun := make(chan struct{})
		go func() { close(begun); reenter(done) }()
		<-begun
		runtime.UnlockOSThread()
		return
	}
	done <- func() error {
		before, err := rootMount()
		if err != nil {
			return err
		}
		ns, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /proc/self/ns/mnt: %w", err)
		}
		defer unix.Close(ns)
		// A thread that shares its root with others cannot enter a mount namespace.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mount namespace: %w", err)
		}
		after, err := rootMount()
		if err == nil && before != after {
			err = errChroot
		}
		return err
	}()
}

// place is a directory: a mount and an inode of it.
type place struct{ mount, inode uint64 }

func rootMount() (place, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_INO|unix.STATX_MNT_ID, &st); err != nil {
		return place{}, fmt.Errorf("statx: %w", err)
	}
	return place{st.Mnt_id, st.Ino}, nil
}
