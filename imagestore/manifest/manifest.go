package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/reference"
)

// Bounds of what a registry may send.
const (
	MaxBytes       = 4 << 20 // of a manifest or an index (CVE-2020-1702)
	MaxConfigBytes = 4 << 20
	MaxLayers      = 450     // overlay takes 500 lower directories
	MaxEntries     = 10_000  // of an index
	MaxDepth       = 3       // of indexes in indexes
	maxLayerSize   = 1 << 40 // of a blob
)

// Media types of Docker schema 2 and of what we refuse by name.
const (
	DockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig     = "application/vnd.docker.container.image.v1+json"
	dockerSchema1    = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Sig = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Accept is what a registry is told that we read.
var Accept = []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, DockerManifest, DockerList}

// Document is one parsed document: exactly one field is set.
type Document struct {
	Manifest *ocispec.Manifest
	Index    *ocispec.Index
}

// shape holds the fields by which the kinds of documents differ.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        json.RawMessage `json:"layers"`
	Config        json.RawMessage `json:"config"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// Parse reads body, which a registry sent as contentType. A document that could
// be read in two ways is refused (CVE-2021-41190).
func Parse(body []byte, contentType string) (Document, error) {
	if len(body) > MaxBytes {
		return Document{}, fmt.Errorf("manifest of %d bytes is larger than %d", len(body), MaxBytes)
	}
	var s shape
	if err := decode(body, manifestMembers, &s); err != nil {
		return Document{}, fmt.Errorf("manifest: %w", err)
	}
	kind, err := s.kind(contentType)
	if err != nil {
		return Document{}, err
	}
	switch kind {
	case ocispec.MediaTypeImageIndex, DockerList:
		var index ocispec.Index
		if err := json.Unmarshal(body, &index); err != nil {
			return Document{}, fmt.Errorf("index: %w", err)
		}
		return Document{Index: &index}, checkIndex(&index)
	default:
		var m ocispec.Manifest
		if err := json.Unmarshal(body, &m); err != nil {
			return Document{}, fmt.Errorf("manifest: %w", err)
		}
		return Document{Manifest: &m}, checkManifest(&m)
	}
}

// kind tells the document's media type, from its own field, the header and its
// fields, which must agree.
func (s shape) kind(contentType string) (string, error) {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.TrimSpace(contentType)
	if s.FSLayers != nil || contentType == dockerSchema1 || contentType == dockerSchema1Sig || s.SchemaVersion == 1 {
		return "", errors.New("docker schema 1 manifests are not supported: push the image again with a current tool")
	}
	isIndex, isManifest := s.Manifests != nil, s.Layers != nil || s.Config != nil
	if isIndex && isManifest {
		return "", errors.New("ambiguous manifest: it has both \"manifests\" and \"layers\" or \"config\"")
	}
	kind := s.MediaType
	if known(contentType) {
		if kind != "" && kind != contentType {
			return "", fmt.Errorf("ambiguous manifest: it says %q and the registry says %q", kind, contentType)
		}
		kind = contentType
	}
	switch {
	case kind == "" && isIndex:
		kind = ocispec.MediaTypeImageIndex
	case kind == "" && isManifest:
		kind = ocispec.MediaTypeImageManifest
	case !known(kind):
		return "", fmt.Errorf("manifest of media type %q is not an image", kind)
	}
	if index := kind == ocispec.MediaTypeImageIndex || kind == DockerList; index && isManifest || !index && isIndex {
		return "", fmt.Errorf("ambiguous manifest: it says %q and has the fields of another kind", kind)
	}
	return kind, nil
}

func known(mediaType string) bool {
	for _, a := range Accept {
		if a == mediaType {
			return true
		}
	}
	return false
}

// decode reads a document that means the same to every reader.
func decode(body []byte, members map[string]string, into any) error {
	if err := unambiguous(body, members); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func checkIndex(index *ocispec.Index) error {
	if len(index.Manifests) == 0 || len(index.Manifests) > MaxEntries {
		return fmt.Errorf("index with %d manifests", len(index.Manifests))
	}
	for i, d := range index.Manifests {
		if err := checkDescriptor(d, MaxBytes); err != nil {
			return fmt.Errorf("manifests[%d]: %w", i, err)
		}
	}
	return nil
}

func checkManifest(m *ocispec.Manifest) error {
	if err := checkDescriptor(m.Config, MaxConfigBytes); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if m.ArtifactType != "" || m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfig && m.Config.MediaType != "" {
		kind := m.ArtifactType
		if kind == "" {
			kind = m.Config.MediaType
		}
		return fmt.Errorf("%w of type %q, which can neither run nor be mounted", ErrArtifact, kind)
	}
	if len(m.Layers) > MaxLayers {
		return fmt.Errorf("manifest with %d layers, at most %d can be mounted", len(m.Layers), MaxLayers)
	}
	for i, d := range m.Layers {
		if err := checkDescriptor(d, maxLayerSize); err != nil {
			return fmt.Errorf("layers[%d]: %w", i, err)
		}
		if strings.HasSuffix(d.MediaType, "+encrypted") {
			return fmt.Errorf("layers[%d]: encrypted layers are not supported", i)
		}
		if !strings.Contains(d.MediaType, ".tar") && !strings.Contains(d.MediaType, "layer.v1") {
			return fmt.Errorf("layers[%d]: %w: media type %q is not a file tree", i, ErrArtifact, d.MediaType)
		}
	}
	return nil
}

// ErrArtifact is for a manifest that describes something else than an image.
var ErrArtifact = errors.New("an artifact, not an image")

// maxAnnotations is how many bytes of annotations are kept: they are told with
// every list of images.
const maxAnnotations = 4 << 10

// Annotations gives those of a manifest; nil when they are longer than 4 KiB.
func Annotations(m *ocispec.Manifest) map[string]string {
	size := 0
	for k, v := range m.Annotations {
		size += len(k) + len(v)
	}
	if size == 0 || size > maxAnnotations {
		return nil
	}
	return m.Annotations
}

// checkDescriptor refuses digests that are no digests (CVE-2024-3727) and sizes
// that are negative or beyond the bound.
func checkDescriptor(d ocispec.Descriptor, most int64) error {
	if err := reference.ValidateDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > most {
		return fmt.Errorf("%s: size %d is not between 0 and %d", d.Digest, d.Size, most)
	}
	return nil
}

// Verify compares body with the digest it should have.
func Verify(body []byte, want digest.Digest) error {
	if got := want.Algorithm().FromBytes(body); got != want {
		return fmt.Errorf("digest is %s, not %s", got, want)
	}
	return nil
}
