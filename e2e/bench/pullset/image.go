package pullset

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Image is a made image: its documents, and its layers as files.
type Image struct {
	Name     string
	Manifest []byte
	Config   []byte
	Layers   []Layer
}

// Layer is one layer of an image.
type Layer struct {
	File   string // gzip
	Digest digest.Digest
	DiffID digest.Digest
	Size   int64 // of the file
	Bytes  int64 // of the tar archive
}

// Make returns the image of a spec, from the cache if it was made before.
func Make(s Spec) (*Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "varve-bench", fmt.Sprintf("%s-%d", strings.ReplaceAll(s.Name, "/", "-"), version))
	layers, err := load(dir)
	if errors.Is(err, os.ErrNotExist) {
		layers, err = s.generate(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s in %s: %w", s.Name, dir, err)
	}
	for i := range layers {
		layers[i].File = filepath.Join(dir, layers[i].File)
	}
	return assemble(s.Name, layers)
}

const index = "layers.json"

func load(dir string) ([]Layer, error) {
	body, err := os.ReadFile(filepath.Join(dir, index))
	if err != nil {
		return nil, err
	}
	var layers []Layer
	return layers, json.Unmarshal(body, &layers)
}

// generate writes the layers into a directory beside dir, which then gets its name.
func (s Spec) generate(dir string) ([]Layer, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	half, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(half)
	layers := make([]Layer, len(s.Layers))
	pool := s.pool()
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := range layers {
		group.Go(func() (err error) {
			layers[i], err = s.compress(half, i, pool)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(layers)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(half, index), body, 0o644); err != nil {
		return nil, err
	}
	if err := os.Chmod(half, 0o755); err != nil {
		return nil, err
	}
	return layers, os.Rename(half, dir)
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (s Spec) compress(dir string, i int, pool []byte) (Layer, error) {
	l := Layer{File: fmt.Sprintf("%02d.tar.gz", i)}
	f, err := os.Create(filepath.Join(dir, l.File))
	if err != nil {
		return l, err
	}
	defer f.Close()
	packed, plain := sha256.New(), sha256.New()
	var size, bytes counter
	out := bufio.NewWriterSize(io.MultiWriter(f, packed, &size), 1<<18)
	gz := gzip.NewWriter(out)
	if err := s.write(io.MultiWriter(gz, plain, &bytes), i, pool); err != nil {
		return l, err
	}
	if err := errors.Join(gz.Close(), out.Flush(), f.Close()); err != nil {
		return l, err
	}
	l.Digest, l.DiffID = digest.NewDigest(digest.SHA256, packed), digest.NewDigest(digest.SHA256, plain)
	l.Size, l.Bytes = int64(size), int64(bytes)
	return l, nil
}

// assemble writes the documents of an image.
func assemble(name string, layers []Layer) (*Image, error) {
	config := ocispec.Image{Platform: ocispec.Platform{Architecture: runtime.GOARCH, OS: "linux"}}
	config.Config.Cmd = []string{"/none"}
	config.RootFS.Type = "layers"
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		config.History = append(config.History, ocispec.History{CreatedBy: "pullset"})
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: l.Digest, Size: l.Size})
	}
	configBody, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(configBody), Size: int64(len(configBody))}
	body, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	return &Image{Name: name, Manifest: body, Config: configBody, Layers: layers}, nil
}
