package testregistry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const pusherHeader = "X-Testregistry-Push"

// Push stores img as repository:tag, for example "team/app:1". Faults of the
// repository do not apply.
func (r *Registry) Push(ref string, img v1.Image) error {
	repository, tag, ok := strings.Cut(ref, ":")
	if !ok {
		return fmt.Errorf("push %s: no tag", ref)
	}
	if err := r.pushBlobs(repository, img); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return r.pushManifest(repository, tag, img)
}

// PushIndex stores the images and an index of them as repository:tag.
func (r *Registry) PushIndex(ref string, index v1.ImageIndex) error {
	repository, tag, _ := strings.Cut(ref, ":")
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			return err
		}
		if err := r.Push(repository+":"+m.Digest.Hex, img); err != nil {
			return err
		}
	}
	return r.pushManifest(repository, tag, index)
}

// PushManifest stores raw bytes as a manifest, for documents that no library
// would write.
func (r *Registry) PushManifest(repository, reference, mediaType string, body []byte) error {
	return r.send(http.MethodPut, fmt.Sprintf("/v2/%s/manifests/%s", repository, reference), mediaType, bytes.NewReader(body))
}

// PushBlob stores bytes under a digest, "sha256:...", which must be theirs.
func (r *Registry) PushBlob(repository, digest string, body io.Reader) error {
	return r.send(http.MethodPost, fmt.Sprintf("/v2/%s/blobs/uploads/?digest=%s", repository, digest), "application/octet-stream", body)
}

func (r *Registry) pushBlobs(repository string, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		err = r.PushBlob(repository, digest.String(), content)
		content.Close()
		if err != nil {
			return err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	digest, err := img.ConfigName()
	if err != nil {
		return err
	}
	return r.PushBlob(repository, digest.String(), bytes.NewReader(config))
}

// document is what images and indexes have in common.
type document interface {
	MediaType() (types.MediaType, error)
	RawManifest() ([]byte, error)
}

func (r *Registry) pushManifest(repository, tag string, doc document) error {
	body, err := doc.RawManifest()
	if err != nil {
		return err
	}
	mediaType, err := doc.MediaType()
	if err != nil {
		return err
	}
	return r.PushManifest(repository, tag, string(mediaType), body)
}

func (r *Registry) send(method, path, contentType string, body io.Reader) error {
	req, err := http.NewRequest(method, r.URL()+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set(pusherHeader, "1")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, said)
	}
	return nil
}
