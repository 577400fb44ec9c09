// Package thread runs functions on operating system threads that may be
// changed for good (namespaces, directory, umask) because nothing else ever
// runs on them.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Go runs f on a thread that is thrown away when f returns: it is never
// unlocked, so the Go scheduler ends it with the goroutine. It is never the
// process's main thread, because that one cannot end, and would show f's
// namespaces as those of the whole process in /proc/PID.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		// As long as this goroutine holds the main thread, another
		// cannot get it.
		begun := make(chan struct{})
		Go(func() {
			close(begun)
			f()
		})
		<-begun
		runtime.UnlockOSThread()
	}()
}
