package idmap

import (
	"fmt"

	"github.com/varve-cri/varve/runtime/internal/thread"
)

// As runs fn on a thread of its own, whose files belong to this user and group,
// with all capabilities that the process has. On a mount with a mapping nothing can
// be made by who is not in it, and the host's root is not.
func As(uid, gid uint32, fn func() error) error {
	done := make(chan error, 1)
	thread.Go(func() {
		if err := Become(uid, gid); err != nil {
			done <- err
			return
		}
		done <- fn()
	})
	return <-done
}

// Become is As for a thread that its caller has locked and throws away.
func Become(uid, gid uint32) error {
	if err := thread.Become(uid, gid); err != nil {
		return fmt.Errorf("become user %d, group %d: %w", uid, gid, err)
	}
	return nil
}
