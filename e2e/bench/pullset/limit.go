package pullset

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// Limit does what no pull can leave out: it reads each layer's file, inflates
// it, takes both digests, writes one plain file for each layer and syncs it, two
// layers at a time. It unpacks nothing and asks no network. The files are gone
// when it returns; their removal is not in the time.
func (m *Image) Limit(dir string) (time.Duration, error) {
	scratch, err := os.MkdirTemp(dir, "limit-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	begin := time.Now()
	var group errgroup.Group
	group.SetLimit(2)
	for i, layer := range m.Layers {
		group.Go(func() error { return layer.inflate(filepath.Join(scratch, fmt.Sprint(i))) })
	}
	err = group.Wait()
	return time.Since(begin), err
}

func (l Layer) inflate(file string) error {
	in, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	packed, plain := sha256.New(), sha256.New()
	source := io.TeeReader(in, packed)
	gz, err := gzip.NewReader(source)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(out, plain)}, struct{ io.Reader }{gz}, make([]byte, 1<<18)); err != nil {
		return err
	}
	if digest.NewDigest(digest.SHA256, packed) != l.Digest || digest.NewDigest(digest.SHA256, plain) != l.DiffID {
		return fmt.Errorf("%s is damaged: remove its directory", l.File)
	}
	return out.Sync()
}
