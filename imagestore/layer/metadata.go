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

// FormatOverlay is the format of every row that says none: it was the only one.
const FormatOverlay = "overlay"

// Key is what a layer's row is found by. An image that was pulled in one format
// depends on no layer of another.
type Key struct {
	Chain  digest.Digest
	Format string
}

// Keys gives the keys of a chain of layers in one format.
func Keys(chains []digest.Digest, format string) []Key {
	keys := make([]Key, len(chains))
	for i, c := range chains {
		keys[i] = Key{c, format}
	}
	return keys
}

// String is the key in the database. Overlay's is the chain id alone, as it was
// when there was no other format.
func (k Key) String() string {
	if k.Format == FormatOverlay {
		return k.Chain.String()
	}
	return k.Chain.String() + " " + k.Format
}

// Metadata is what is known of one layer. The database has it in its row; the
// same text lies beside the content, so that people and repairs can read what a
// directory is without the database.
type Metadata struct {
	ID        digest.Digest `json:"id"` // chain id: this diff and all below it
	Parent    digest.Digest `json:"parent,omitempty"`
	Diff      digest.Digest `json:"diffID"`
	Tree      string        `json:"tree"` // the directory's name
	Format    string        `json:"format"`
	Blob      digest.Digest `json:"blob"`
	BlobSize  int64         `json:"blobSize"`
	MediaType string        `json:"mediaType"`
	TarSize   int64         `json:"tarSize"`
	Bytes     uint64        `json:"bytes"`  // on disk
	Inodes    uint64        `json:"inodes"` // on disk
	// Measured tells that Bytes and Inodes are what the file system says; else they
	// were counted while the layer was unpacked.
	Measured bool               `json:"measured,omitempty"`
	Root     *unpack.Attributes `json:"root,omitempty"`
	History  *ocispec.History   `json:"history,omitempty"`
	Made     time.Time          `json:"made"`
	Damaged  *Damaged           `json:"damaged,omitempty"` // only in the row
}

// Damaged says that a layer is not any more what was written.
type Damaged struct {
	Problem string    `json:"problem"`
	Found   time.Time `json:"found"`
}

// Key is what the layer's row is found by.
func (m *Metadata) Key() Key { return Key{m.ID, m.Format} }

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
