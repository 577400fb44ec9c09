package erofs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// layerFile is the file of a layer in its directory.
const layerFile = "layer.erofs"

// What one layer's tree may take in memory, which is the archive's choice: half a
// gigabyte of inodes, whatever the limit of entries, and names, links and attributes.
const (
	maxInodes = 4 << 20
	maxText   = 256 << 20
)

// writeLayer makes dir/layer.erofs from a layer's tar stream, which it reads to
// its end. The file holds the stream byte for byte from erofs.DataStart on, then
// what could not be used as it stands there, then the metadata. It is not synced.
//
// Result.Needs is empty: what is left to the layers below is marked in the file
// and settled by writeStack.
func writeLayer(ctx context.Context, dir string, archive io.Reader, limits unpack.Limits) (unpack.Result, error) {
	f, err := os.OpenFile(filepath.Join(dir, layerFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unpack.Result{}, err
	}
	w := layerWriter{dir: dir, f: f, tape: newTape(ctx, archive, f, erofs.DataStart)}
	w.entries = newEntries(limits, w.needSpill)
	defer func() { w.spill.close() }()
	err = w.read()
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = writeLayerSum(dir, f, w.tape.at)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return unpack.Result{}, err
	}
	return w.entries.result, nil
}

type layerWriter struct {
	dir     string
	f       *os.File
	tape    *tape
	entries *entries
	spill   *spill // nil until something needs it
}

func (w *layerWriter) needSpill() (s *spill, err error) {
	if w.spill == nil {
		w.spill, err = newSpill(w.dir)
	}
	return w.spill, err
}

// read takes in the whole stream.
func (w *layerWriter) read() error {
	// archive/tar skips bodies by Seek, so that nobody copies them.
	archive := tar.NewReader(w.tape)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = context.Cause(w.tape.ctx)
		}
		switch {
		case w.tape.bad != nil:
			return w.tape.bad
		case w.tape.ctx.Err() != nil:
			return context.Cause(w.tape.ctx)
		case err != nil:
			return fmt.Errorf("tar after %d entries: %w", w.entries.count, err)
		}
		if err := w.entries.add(h, archive, erofs.DataStart+w.tape.read); err != nil {
			return w.entryError(h.Name, err)
		}
	}
	return w.tape.rest()
}

// entryError blames an entry for an error, but for those that the disk gave.
func (w *layerWriter) entryError(name string, err error) error {
	path := (*os.PathError)(nil)
	if w.tape.bad != nil || errors.As(err, &path) {
		return err
	}
	switch {
	case errors.Is(err, erofs.ErrInodes): // one entry can ask for two thousand directories
		err = w.entries.limits.TooManyEntries()
	case errors.Is(err, erofs.ErrFull):
		err = fmt.Errorf("%w: %w", unpack.ErrLimit, err)
	}
	return &unpack.EntryError{Name: name, Err: err}
}

// finish writes all that comes behind the stream.
func (w *layerWriter) finish() error {
	if err := w.entries.lateLinks(); err != nil {
		return err
	}
	at := roundUp(w.tape.at, erofs.BlockSize)
	if w.spill != nil {
		at = roundUp(at, spillPiece)
		if err := w.spill.settle(w.entries.tree, w.f, at); err != nil {
			return err
		}
		at += w.spill.size
	}
	size, err := w.entries.tree.Write(w.f, roundUp(at, spillPiece), nil)
	if err != nil {
		return err
	}
	return w.f.Truncate(size)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
