package erofs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// Name is the format's name.
const Name = "erofs"

// Driver is the erofs format. Its zero value is not ready: use New.
type Driver struct {
	over   *overlay.Driver
	kept   mounts
	keeper *keeper // nil where overlay takes detached mounts
}

var _ layer.Driver = (*Driver)(nil)

// New proves that this kernel can mount the format on scratch's file system, where
// it leaves a few small files for the next time. over is what it mounts on top.
func New(scratch string, over *overlay.Driver) (*Driver, error) {
	d := &Driver{over: over}
	err := d.probe(scratch)
	if err == nil {
		return d, nil
	}
	if kept, e := newKept(scratch, over); e == nil {
		return kept, nil
	}
	return nil, fmt.Errorf("erofs in %s: %w", scratch, err)
}

// newKept is New with mounts that are attached in a namespace of their own.
func newKept(scratch string, over *overlay.Driver) (*Driver, error) {
	k, err := newKeeper(filepath.Join(scratch, "kept-erofs"))
	if err != nil {
		return nil, err
	}
	d := &Driver{over: over, keeper: k, kept: mounts{release: k.detach}}
	if err := d.probe(scratch); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	over.Attach()
	return d, nil
}

// onThread runs what has to do with mounts where they can be mounted over.
func (d *Driver) onThread(fn func()) {
	if d.keeper == nil {
		fn()
		return
	}
	d.keeper.do(fn)
}

// Name implements layer.Driver.
func (d *Driver) Name() string { return Name }

// Write implements layer.Driver.
func (d *Driver) Write(ctx context.Context, dir string, archive io.Reader, limits unpack.Limits) (unpack.Result, error) {
	return writeLayer(ctx, dir, archive, limits)
}

// Inherit implements layer.Driver. What a layer needs from below stays a mark in
// its file, which Join resolves.
func (d *Driver) Inherit(context.Context, string, unpack.Needs, []string) (unpack.Result, error) {
	return unpack.Result{}, nil
}

// Sync implements layer.Driver: a layer is few files, and they are on their way to
// the disk already, so all are waited for at the same time.
func (d *Driver) Sync(dirs []string) error {
	errs := make([]error, len(dirs))
	var wg sync.WaitGroup
	for i, dir := range dirs {
		wg.Go(func() { errs[i] = syncTree(dir) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// syncTree syncs a directory's files, then the directory itself.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fsync(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return fsync(dir)
}

func fsync(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Joins implements layer.Driver.
func (d *Driver) Joins() bool { return true }

// Join implements layer.Driver.
func (d *Driver) Join(ctx context.Context, dir string, layers []string) error {
	if err := writeStack(ctx, dir, layers); err != nil {
		return err
	}
	if err := writeSum(dir); err != nil {
		return err
	}
	return syncTree(dir)
}

// Mount implements layer.Driver. The layers of a stack are one EROFS mount, which
// all mounts of the stack share, and with it what of the files is in memory.
func (d *Driver) Mount(s layer.Stack) (f *os.File, err error) {
	d.onThread(func() { f, err = d.mount(s) })
	return f, err
}

func (d *Driver) mount(s layer.Stack) (*os.File, error) {
	m, err := d.kept.take(s.Joined, func() (*os.File, error) {
		f, err := mountStack(s.Joined, s.Layers)
		if err == nil && d.keeper != nil {
			return d.keeper.attach(f)
		}
		return f, err
	})
	if err != nil {
		return nil, err
	}
	defer d.kept.giveBack(m)
	if s.Owners != nil {
		mapped, err := overlay.Mapped(m.file, s.Owners.Namespace)
		if err != nil {
			return nil, err
		}
		defer mapped.Close()
		return d.over.Over([]string{fdPath(int(mapped.Fd()))}, s)
	}
	return d.over.Over([]string{fdPath(int(m.file.Fd()))}, s)
}

// Drop implements layer.Driver.
func (d *Driver) Drop(joined string) { d.onThread(func() { d.kept.drop(joined) }) }

// Close implements layer.Driver.
func (d *Driver) Close() error {
	d.onThread(d.kept.dropAll)
	if d.keeper != nil {
		d.keeper.close()
	}
	return nil
}
