package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/config"
)

// lockPatience is for the daemon before us: one that was killed keeps its files
// until the last of its threads has come out of the kernel.
const lockPatience = 5 * time.Second

// lockState takes the state directory for this process: two daemons on one
// would adopt each other's containers. The kernel gives it back when we die.
func lockState(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	path := filepath.Join(dir, "varved.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(lockPatience); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("state directory %s: another varved uses it", dir)
		}
		return nil, fmt.Errorf("state directory %s: lock: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// listenAdmin makes the operator's socket; nil when there is to be none.
func listenAdmin(cfg *config.Config) (net.Listener, error) {
	if !*cfg.Admin.Enabled {
		return nil, nil
	}
	return listen(cfg.Admin.Socket)
}

// listen makes the socket with mode 0600, and removes the one that a daemon
// before us left.
func listen(path string) (net.Listener, error) {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// A path may be longer than the 107 bytes that fit into an address: it is
	// bound by way of the directory's descriptor.
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	defer unix.Close(d)
	address := fmt.Sprintf("/proc/self/fd/%d/%s", d, name)
	if err := removeStale(address, path); err != nil {
		return nil, err
	}
	old := unix.Umask(0o177) // nothing else runs yet
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // its address is not its path
	return l, nil
}

func removeStale(address, path string) error {
	st, err := os.Lstat(address)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("socket %s: is there and is no socket", path)
	}
	if c, err := net.DialTimeout("unix", address, time.Second); err == nil { //nolint:noctx // it is bounded, and nothing can be cancelled yet
		_ = c.Close()
		return fmt.Errorf("socket %s: another program serves it", path)
	}
	if err := os.Remove(address); err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	return nil
}
