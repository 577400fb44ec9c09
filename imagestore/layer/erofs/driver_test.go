package erofs

import (
	"testing"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
)

func opened(scratch string) (*Driver, error) {
	over, err := overlay.New(scratch)
	if err != nil {
		return nil, err
	}
	return New(scratch, over)
}

func TestDriver(t *testing.T) {
	layertest.Run(t, func(scratch string) (layer.Driver, error) { return opened(scratch) })
}

func TestHostileLayers(t *testing.T) {
	layertest.RunHostile(t, func(scratch string) (layer.Driver, error) { return opened(scratch) })
}
