package layer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// metadataName is the file beside a layer's content.
const metadataName = "layer.json"

// Metadata is what is known of one layer. The database has it in its row; the
// same text lies beside the content, so that people and repairs can read what a
// directory is without the database.
type Metadata struct {
	ID        digest.Digest      `json:"id"` // chain id: this diff and all below it
	Parent    digest.Digest      `json:"parent,omitempty"`
	Diff      digest.Digest      `json:"diffID"`
	Tree      string             `json:"tree"` // the directory's name
	Format    string             `json:"format"`
	Blob      digest.Digest      `json:"blob"`
	BlobSize  int64              `json:"blobSize"`
	MediaType string             `json:"mediaType"`
	TarSize   int64              `json:"tarSize"`
	Bytes     uint64             `json:"bytes"`  // on disk
	Inodes    uint64             `json:"inodes"` // on disk
	Root      *unpack.Attributes `json:"root,omitempty"`
	History   *ocispec.History   `json:"history,omitempty"`
	Made      time.Time          `json:"made"`
}

// Save writes the metadata into the layer's directory. It does not sync: the
// commit syncs the directory as a whole.
func (m *Metadata) Save(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, metadataName), append(b, '\n'), 0o600)
}

// Load reads the metadata of a layer's directory.
func Load(dir string) (Metadata, error) {
	var m Metadata
	b, err := os.ReadFile(filepath.Join(dir, metadataName))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}
