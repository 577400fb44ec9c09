package imagestore

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/stream"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// The keys under which a node's configuration has the limits, for messages.
const (
	layerBytesKey   = "images.maxLayerBytes"
	layerEntriesKey = "images.maxLayerEntries"
	imageBytesKey   = "images.maxImageBytes"
)

// withKey adds to the error of a layer that is too large by which key the limit
// is set.
func withKey(err error) error {
	limit := (*unpack.LimitError)(nil)
	switch {
	case errors.As(err, &limit) && limit.What == "entries":
		return fmt.Errorf("%w (limit: %s)", err, layerEntriesKey)
	case errors.As(err, &limit), errors.Is(err, stream.ErrTooLarge) && !errors.Is(err, errImageTooLarge):
		return fmt.Errorf("%w (limit: %s)", err, layerBytesKey)
	}
	return err
}

// errImageTooLarge is for layers that are too large together.
var errImageTooLarge = fmt.Errorf("the image is %w", stream.ErrTooLarge)

// total adds up what one image's layers unpack to, also while they do: many layers
// at a time could otherwise fill the disk before the first of them ends.
type total struct {
	most int64

	mu     sync.Mutex
	layers []int64 // bytes by layer, so far
	sum    int64
}

func newTotal(most int64, layers int) *total {
	return &total{most: most, layers: make([]int64, layers)}
}

// atLeast notes that layer i has n bytes or more.
func (t *total) atLeast(i int, n int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > t.layers[i] {
		t.sum += n - t.layers[i]
		t.layers[i] = n
	}
	if t.sum > t.most {
		return fmt.Errorf("all layers: more than %d bytes: %w (limit: %s)", t.most, errImageTooLarge, imageBytesKey)
	}
	return nil
}

// counting gives layer i's bytes on to r's reader and counts them.
func (t *total) counting(i int, r io.Reader) io.Reader { return &countedLayer{r: r, t: t, i: i} }

type countedLayer struct {
	r io.Reader
	t *total
	i int
	n int64
}

func (c *countedLayer) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if over := c.t.atLeast(c.i, c.n); over != nil {
		return 0, over
	}
	return n, err
}

// present counts a layer that is there, whoever brought it.
func (p *pull) present(i int, m *layer.Metadata) error {
	err := p.total.atLeast(i, max(m.TarSize, int64(m.Bytes)))
	return fault.WrapOrNil(Invalid, "unpack layer "+p.manifest.Layers[i].Digest.String(), err)
}

// checkBlobs refuses an image whose blobs alone are too large, before any is fetched.
func (p *pull) checkBlobs() error {
	blobs := newTotal(p.store.cfg.MaxImageBytes, len(p.manifest.Layers))
	for i, d := range p.manifest.Layers {
		if err := blobs.atLeast(i, d.Size); err != nil {
			return fault.New(Invalid, "read manifest "+p.digest.String(), err)
		}
	}
	return nil
}
