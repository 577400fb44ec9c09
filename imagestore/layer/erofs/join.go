package erofs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// stackFile is the file of joined layers in its directory.
const stackFile = "stack.erofs"

// stackBounds are what the joined tree of one image may take in memory.
var stackBounds = erofs.Bounds{Inodes: 2 * maxInodes, Text: 2 * maxText}

// writeStack makes dir/stack.erofs, the metadata of the file system that layers'
// files make together. layers are their directories, topmost first; device n of
// the file system is the file of layers[n-1]. It is not synced. The same layers
// always give the same file.
//
// A hard link to what no lower layer has is an unpack.EntryError; a layer whose
// metadata is damaged is an error that is erofs.ErrFormat and names the layer.
func writeStack(ctx context.Context, dir string, layers []string) error {
	devices := make([]erofs.Device, len(layers))
	joined := erofs.NewJoined(stackBounds)
	for i := len(layers) - 1; i >= 0; i-- {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		blocks, err := applyLayer(joined, layers[i], uint16(i+1))
		if err != nil {
			return err
		}
		devices[i] = erofs.Device{Tag: filepath.Base(layers[i]), Blocks: blocks}
	}
	f, err := os.OpenFile(filepath.Join(dir, stackFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = joined.Tree.Write(f, erofs.DataStart, devices)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func applyLayer(joined *erofs.Joined, dir string, device uint16) (blocks uint32, err error) {
	f, err := os.Open(filepath.Join(dir, layerFile))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	m, err := erofs.Open(f, st.Size())
	if err == nil {
		err = joined.Apply(m, device)
	}
	if link := (*erofs.LinkError)(nil); errors.As(err, &link) {
		return 0, &unpack.EntryError{Name: link.Name, Err: err}
	}
	if err != nil {
		return 0, fmt.Errorf("layer %s: %w", filepath.Base(dir), err)
	}
	return m.Blocks(), nil
}
