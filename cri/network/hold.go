package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// hold takes the pod's lock, which every plugin that is run for the pod inherits
// as an open file. A plugin outlives a killed daemon: the next one's DEL must
// not run beside the ADD that it undoes, or it finds nothing to undo yet.
func (n *Network) hold(ctx context.Context, id string) (context.Context, *os.File, error) {
	f, err := os.OpenFile(filepath.Join(n.state, "locks", id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("network lock of pod %s: %w", id, err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return context.WithValue(ctx, heldKey{}, f), f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			select {
			case <-ctx.Done():
				err = fmt.Errorf("a plugin of an earlier call still runs: %w", context.Cause(ctx))
			case <-time.After(5 * time.Millisecond):
				continue
			}
		}
		_ = f.Close()
		return nil, nil, fmt.Errorf("network lock of pod %s: %w", id, err)
	}
}

// heldKey is the context's key of the lock that plugins inherit.
type heldKey struct{}

// inherited is what a plugin gets as descriptor 3.
func inherited(ctx context.Context) []*os.File {
	if f, ok := ctx.Value(heldKey{}).(*os.File); ok {
		return []*os.File{f}
	}
	return nil
}

// dropLock removes the lock file of a pod that owes nothing any more.
func (n *Network) dropLock(id string) error {
	err := os.Remove(filepath.Join(n.state, "locks", id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network lock of pod %s: remove: %w", id, err)
	}
	return nil
}
