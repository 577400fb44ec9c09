package erofs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// What the probe's lowest layer holds.
const (
	probeFile = "probe"
	probeText = "erofs from a plain file, with a second one as its device\n"
)

// probe does once what every container will need: a stack of two layers, EROFS from
// plain files on this file system, overlay on top of the detached mount, and a read.
// The stack stays in scratch, so that a full disk does not change the answer.
func (d *Driver) probe(scratch string) error {
	dir := filepath.Join(scratch, "probe-erofs")
	if err := d.tryStack(dir, nil); err == nil {
		return nil
	}
	if err := errors.Join(os.RemoveAll(dir), makeProbe(dir)); err != nil {
		return err
	}
	return d.tryStack(dir, nil)
}

// TryOwners implements layer.Driver.
func (d *Driver) TryOwners(dir string, o *layer.Owners) error {
	dir, err := os.MkdirTemp(dir, "probe-owners-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := makeProbe(dir); err != nil {
		return err
	}
	return d.tryStack(dir, o)
}

func makeProbe(dir string) error {
	layers := probeLayers(dir)
	for i, l := range layers {
		if err := os.MkdirAll(l, 0o700); err != nil {
			return err
		}
		archive, err := probeArchive(i)
		if err != nil {
			return err
		}
		if _, err := writeLayer(context.Background(), l, archive, unpack.Limits{Bytes: 1 << 20, Entries: 16}); err != nil {
			return err
		}
	}
	for _, name := range []string{"stack", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	joined := filepath.Join(dir, "stack")
	return errors.Join(writeStack(context.Background(), joined, layers), writeSum(joined))
}

// probeLayers are two layers' directories, topmost first.
func probeLayers(dir string) []string {
	return []string{filepath.Join(dir, "top"), filepath.Join(dir, "bottom")}
}

// probeArchive is the tar of layer i: the file is in the lowest, so that it is read
// from the stack's last device.
func probeArchive(i int) (*bytes.Buffer, error) {
	name, text := "other", "other\n"
	if i == len(probeLayers(""))-1 {
		name, text = probeFile, probeText
	}
	b := &bytes.Buffer{}
	w := tar.NewWriter(b)
	err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
	if err != nil {
		return nil, err
	}
	_, err = w.Write([]byte(text))
	return b, errors.Join(err, w.Close())
}

func (d *Driver) tryStack(dir string, o *layer.Owners) error {
	joined := filepath.Join(dir, "stack")
	defer d.Drop(joined)
	root, err := d.Mount(layer.Stack{Layers: probeLayers(dir), Joined: joined, Root: filepath.Join(dir, "root"), Owners: o})
	if err != nil {
		return err
	}
	defer root.Close()
	fd, err := unix.Openat(int(root.Fd()), probeFile, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a file through overlay: %w", err)
	}
	f := os.NewFile(uintptr(fd), probeFile)
	defer f.Close()
	got := make([]byte, len(probeText)+1)
	n, err := f.Read(got)
	if err == nil && o != nil {
		err = overlay.Shown(f, o)
	}
	if err == nil && string(got[:n]) != probeText {
		err = fmt.Errorf("read %q through overlay", got[:n])
	}
	return err
}
