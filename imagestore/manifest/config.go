package manifest

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/reference"
)

// ParseConfig reads an image's config and checks it against the number of layers
// that the manifest has.
func ParseConfig(body []byte, layers int) (ocispec.Image, error) {
	var c ocispec.Image
	if len(body) > MaxConfigBytes {
		return c, fmt.Errorf("config of %d bytes is larger than %d", len(body), MaxConfigBytes)
	}
	if err := decode(body, configMembers, &c); err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	if c.RootFS.Type != "layers" {
		return c, fmt.Errorf("config: rootfs of type %q, want \"layers\"", c.RootFS.Type)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return c, fmt.Errorf("config: rootfs has %d diff ids and the manifest %d layers", len(c.RootFS.DiffIDs), layers)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := reference.ValidateDigest(d); err != nil {
			return c, fmt.Errorf("config: rootfs.diff_ids[%d]: %w", i, err)
		}
	}
	return c, nil
}

// ChainIDs are the identities of an image's layers, lowest first: a layer is its
// own diff and all that lie below it.
func ChainIDs(diffs []digest.Digest) []digest.Digest {
	return identity.ChainIDs(append([]digest.Digest(nil), diffs...))
}

// Histories gives each layer the history entry that made it; nil where the
// history does not match the layers.
func Histories(c ocispec.Image) []*ocispec.History {
	made := make([]*ocispec.History, 0, len(c.RootFS.DiffIDs))
	for i := range c.History {
		if !c.History[i].EmptyLayer {
			made = append(made, &c.History[i])
		}
	}
	if len(made) != len(c.RootFS.DiffIDs) {
		return make([]*ocispec.History, len(c.RootFS.DiffIDs))
	}
	return made
}

// ErrPlatform is for an image that has nothing for this platform.
var ErrPlatform = errors.New("no image for the platform")
