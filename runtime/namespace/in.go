package namespace

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// InNet calls do on a thread of its own that has entered the network namespace
// pinned at path. Sockets that do makes belong to it for as long as they live.
// Goroutines that do starts run elsewhere.
func InNet(path string, do func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer f.Close()
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return do()
	})
}
