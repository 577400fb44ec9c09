// Package overlay keeps each layer as a directory and mounts stacks of them with
// the kernel's overlay file system.
//
// It works on every kernel and file system that overlay works on. It does not
// use the host's mount table, and it makes no mount that outlives the descriptor
// it returns.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// treeName is the directory of a layer's content within the layer's directory.
const treeName = "tree"

// Driver is the overlay format. Its zero value is not ready: use New.
type Driver struct {
	api mountAPI
	// empty is a directory that stays empty: overlay without an upper directory
	// wants at least two lower ones.
	empty string
	// attach says that a mount with other owners has to be attached somewhere.
	attach atomic.Bool
}

var _ layer.Driver = (*Driver)(nil)

// New finds out how this kernel mounts overlay. scratch is a directory for the
// driver's own use.
func New(scratch string) (*Driver, error) {
	d := &Driver{empty: filepath.Join(scratch, "empty")}
	if err := os.MkdirAll(d.empty, 0o755); err != nil {
		return nil, err
	}
	api, err := probe(scratch)
	d.api = api
	return d, err
}

// Name implements layer.Driver.
func (d *Driver) Name() string { return "overlay" }

// API tells how mounts are made: "lower fds", "lower paths" or "classic".
func (d *Driver) API() string { return d.api.name }

// Write implements layer.Driver.
func (d *Driver) Write(ctx context.Context, dir string, archive io.Reader, limits unpack.Limits) (unpack.Result, error) {
	tree := filepath.Join(dir, treeName)
	if err := os.Mkdir(tree, 0o755); err != nil {
		return unpack.Result{}, err
	}
	// Mkdir's mode lost what the umask took.
	if err := os.Chmod(tree, 0o755); err != nil {
		return unpack.Result{}, err
	}
	root, err := openTree(dir)
	if err != nil {
		return unpack.Result{}, err
	}
	defer root.Close()
	r, err := unpack.Tree(ctx, root, archive, limits)
	if err == nil && r.Needs.None() { // else it is not complete
		err = writeSums(dir, r)
	}
	return r, err
}

// Inherit implements layer.Driver.
func (d *Driver) Inherit(ctx context.Context, dir string, needs unpack.Needs, lower []string) (unpack.Result, error) {
	root, err := openTree(dir)
	if err != nil {
		return unpack.Result{}, err
	}
	defer root.Close()
	var trees []*os.File
	defer func() {
		for _, t := range trees {
			t.Close()
		}
	}()
	for _, l := range lower {
		t, err := openTree(l)
		if err != nil {
			return unpack.Result{}, err
		}
		trees = append(trees, t)
	}
	r, err := unpack.Inherit(ctx, root, needs, trees)
	if err == nil {
		err = writeSums(dir, r)
	}
	return r, err
}

func openTree(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, treeName), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// Sync implements layer.Driver. One syncfs is cheaper than an fsync for each of a
// layer's thousands of files, and since Linux 5.8 it reports write errors.
func (d *Driver) Sync(dirs []string) error {
	if len(dirs) == 0 {
		return nil
	}
	f, err := os.Open(dirs[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dirs[0], Err: err}
	}
	return nil
}

// Joins implements layer.Driver: the kernel joins the directories.
func (d *Driver) Joins() bool { return false }

// Join implements layer.Driver.
func (d *Driver) Join(context.Context, string, []string) error { return nil }

// Drop implements layer.Driver: nothing is kept between two mounts.
func (d *Driver) Drop(string) {}

// Close implements layer.Driver.
func (d *Driver) Close() error { return nil }

// Mount implements layer.Driver.
func (d *Driver) Mount(s layer.Stack) (*os.File, error) {
	trees := make([]string, 0, len(s.Layers)+2)
	for i, l := range s.Layers {
		// Overlay refuses a directory that is there twice (ELOOP). All that the lower one
		// shows or hides, the upper one does too.
		if slices.Contains(s.Layers[:i], l) {
			continue
		}
		tree := filepath.Join(l, treeName)
		trees = append(trees, tree)
		// Overlay looks for the mark everywhere but at a layer's root.
		if unpack.IsOpaque(tree) {
			break
		}
	}
	return d.Over(trees, s)
}

// Over mounts overlay over directories, topmost first, which take the place of the
// stack's layers: in other formats they are where the layers are mounted.
func (d *Driver) Over(trees []string, s layer.Stack) (*os.File, error) {
	o := options{upper: s.Upper, work: s.Work, label: s.Label}
	if s.Upper == "" {
		o.lower = append(o.lower, s.Root)
	}
	o.lower = append(o.lower, trees...)
	if s.Base != "" {
		o.lower = append(o.lower, s.Base)
	}
	if len(o.lower) < 2 {
		o.lower = append(o.lower, d.empty)
	}
	mount := d.api.mount
	if s.Owners != nil {
		mount = func(o options) (*os.File, error) { return d.mountMapped(o, s.Owners) }
	}
	f, err := mount(o)
	if s.Upper != "" && errors.Is(err, unix.EINVAL) && forgetVolatile(s.Work) {
		f, err = mount(o)
	}
	if err != nil {
		return nil, fmt.Errorf("mount overlay of %d directories: %w", len(o.lower), err)
	}
	return f, nil
}

// forgetVolatile removes the mark by which overlay refuses an upper directory
// whose last mount was volatile. It guards against a crash of the whole machine,
// after which our containers are gone anyway; a second mount after a failed start
// is fine.
func forgetVolatile(work string) bool {
	mark := filepath.Join(work, "work", "incompat", "volatile")
	if _, err := os.Lstat(mark); err != nil {
		return false
	}
	return os.RemoveAll(mark) == nil
}
