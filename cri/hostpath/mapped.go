package hostpath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/runtime/idmap"
)

// Mapped gives a path of the host, with all that is mounted below it, as a
// detached mount whose files have the owners that the volume asks for. A file
// system that does not answer is an error after the limit, and one that cannot
// show other owners is named.
func (c *Checker) Mapped(ctx context.Context, v plan.Volume, spaces *idmap.Spaces) (*os.File, error) {
	ns, err := spaces.Get(v.UIDs, v.GIDs)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", v.Field, v.HostPath, err)
	}
	// The look may outlast this call and the caller's namespaces.
	if ns, err = dup(ns); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", v.Field, v.HostPath, err)
	}
	var got handover
	err = c.look(ctx, func() plan.Source { return plan.Source{Field: v.Field, Path: v.HostPath} }, func() error {
		defer ns.Close()
		f, err := mapped(v.HostPath, ns)
		got.give(f)
		return err
	})
	switch {
	case err == nil:
		return got.take(), nil
	case errors.Is(err, errBusy):
		ns.Close()
	default:
		got.drop()
	}
	if errors.Is(err, idmap.ErrUnsupported) || errors.Is(err, unix.ENOENT) {
		return nil, invalid(v.Field, "%s: %v", v.HostPath, err)
	}
	return nil, fmt.Errorf("%s: %s: %w", v.Field, v.HostPath, err)
}

// handover is a file that a look has made, until somebody takes it or nobody wants
// it any more.
type handover struct {
	mu      sync.Mutex
	file    *os.File
	dropped bool
}

func (h *handover) give(f *os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped && f != nil {
		f.Close()
		return
	}
	h.file = f
}

func (h *handover) take() *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.file
}

func (h *handover) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = true
	if h.file != nil {
		h.file.Close()
		h.file = nil
	}
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// mapped clones the mounts from a path on down; a symbolic link is followed.
func mapped(path string, ns *os.File) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := idmap.Mount(f, ns, true); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
