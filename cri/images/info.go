package images

import (
	"encoding/json"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore"
)

// imageInfo is what the verbose status tells beside the CRI's own fields.
type imageInfo struct {
	ImageSpec   ocispec.Image     `json:"imageSpec"` // the config
	Names       []string          `json:"names"`     // tags and digests
	Annotations map[string]string `json:"annotations,omitempty"`
	Format      string            `json:"format"` // of the layers on disk
	Pulled      time.Time         `json:"pulled"`
	Pinned      bool              `json:"pinned"`
	Damaged     string            `json:"damaged,omitempty"` // what is wrong with a layer
	Bytes       imageBytes        `json:"bytes"`
	Layers      []layerInfo       `json:"layers"` // lowest first
}

// imageBytes are on the disk: shared with other images, and unique, which is what
// the removal of the image frees.
type imageBytes struct {
	Total  uint64 `json:"total"`
	Shared uint64 `json:"shared"`
	Unique uint64 `json:"unique"`
}

type layerInfo struct {
	ID          string           `json:"id"` // chain id
	DiffID      string           `json:"diffID"`
	Blob        string           `json:"blob"`
	MediaType   string           `json:"mediaType"`
	BlobBytes   int64            `json:"blobBytes"`
	TarBytes    int64            `json:"tarBytes"`
	Bytes       uint64           `json:"bytes"`
	Inodes      uint64           `json:"inodes"`
	OtherImages int              `json:"otherImages"` // that have it, too
	History     *ocispec.History `json:"history,omitempty"`
}

// info is the verbose part of a status: one JSON object under the key "info",
// as those of pods and containers are, because crictl shows objects as such
// and everything else as text.
func info(img *imagestore.Image, layers []imagestore.Layer) (map[string]string, error) {
	told := imageInfo{
		ImageSpec: img.Config, Names: append(append([]string{}, img.Tags...), img.Digests...), Annotations: img.Annotations,
		Format: img.Format, Pulled: img.Pulled, Pinned: img.Pinned, Damaged: img.Damaged, Layers: []layerInfo{},
		Bytes: imageBytes{Total: img.Size, Shared: img.Shared, Unique: img.Unique()},
	}
	for _, l := range layers {
		told.Layers = append(told.Layers, layerInfo{
			ID: l.ID.String(), DiffID: l.Diff.String(), Blob: l.Blob.String(), MediaType: l.MediaType, BlobBytes: l.BlobSize,
			TarBytes: l.TarSize, Bytes: l.Bytes, Inodes: l.Inodes, OtherImages: max(0, len(l.Images)-1), History: l.History,
		})
	}
	b, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("image %s: info: %w", img.ID, err)
	}
	return map[string]string{"info": string(b)}, nil
}
