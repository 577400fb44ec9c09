package erofs

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/layer"
)

// layerSumName is the file beside a layer that has the checksum of what varve added
// to the layer's tar stream. The stream's own is the diff id.
const layerSumName = "layer.sum"

// layerSum is against a bad disk, as stackSum is.
type layerSum struct {
	Size   int64  `json:"size"`   // of layer.erofs
	TarEnd int64  `json:"tarEnd"` // where the stream, which begins at erofs.DataStart, ends
	CRC32C uint32 `json:"crc32c"` // of what is before and behind the stream
}

// writeLayerSum sums up a layer's file that was just written.
func writeLayerSum(dir string, f *os.File, tarEnd int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := crc32.New(castagnoli)
	for _, part := range [][2]int64{{0, erofs.DataStart}, {tarEnd, info.Size()}} {
		if _, err := io.Copy(h, io.NewSectionReader(f, part[0], part[1]-part[0])); err != nil {
			return err
		}
	}
	b, err := json.Marshal(layerSum{info.Size(), tarEnd, h.Sum32()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, layerSumName), append(b, '\n'), 0o600)
}

// Check implements layer.Driver: one read of the layer's file from front to back.
func (d *Driver) Check(dir string, m *layer.Metadata, wait layer.Wait) error {
	b, err := os.ReadFile(filepath.Join(dir, layerSumName))
	if os.IsNotExist(err) {
		if _, err := os.Lstat(filepath.Join(dir, layerFile)); err == nil {
			return layer.ErrNoSums
		}
	}
	if err != nil {
		return layer.Damage(err)
	}
	var want layerSum
	if err := json.Unmarshal(b, &want); err != nil {
		return fmt.Errorf("%w: %s: %w", layer.ErrDamaged, layerSumName, err)
	}
	root, err := os.Open(dir)
	if err != nil {
		return layer.Damage(err)
	}
	defer root.Close()
	reader, err := layer.NewRereader(wait)
	if err != nil {
		return err
	}
	defer reader.Close()
	return layer.Damage(compare(reader, int(root.Fd()), want, m.Diff))
}

// compare reads the file and says which part of it is not what it was.
func compare(reader *layer.Rereader, dir int, want layerSum, diff digest.Digest) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, layerFile, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: layerFile, Err: err}
	}
	if st.Size != want.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", layer.ErrDamaged, layerFile, st.Size, want.Size)
	}
	at, ours, archive := int64(0), crc32.New(castagnoli), diff.Algorithm().Hash()
	err := reader.Read(dir, layerFile, st.Size, func(b []byte) {
		for len(b) > 0 {
			to, end := io.Writer(ours), want.Size
			switch {
			case at < erofs.DataStart:
				end = erofs.DataStart
			case at < want.TarEnd:
				to, end = archive, want.TarEnd
			}
			n := min(end-at, int64(len(b)))
			_, _ = to.Write(b[:n])
			at, b = at+n, b[n:]
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", layerFile, err)
	case digest.NewDigest(diff.Algorithm(), archive) != diff:
		return fmt.Errorf("%w: the files in %s", layer.ErrDamaged, layerFile)
	case ours.Sum32() != want.CRC32C:
		return fmt.Errorf("%w: the directories in %s", layer.ErrDamaged, layerFile)
	}
	return nil
}
