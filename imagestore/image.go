package imagestore

import (
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what the store says of one image. It is a snapshot that the caller
// shares with others: read it, do not change it.
type Image struct {
	ID      string        // digest of the config, "sha256:…"
	Tags    []string      // "docker.io/library/busybox:1.37", sorted
	Digests []string      // "docker.io/library/busybox@sha256:…", sorted
	Size    uint64        // bytes of the layers on disk, and of the config
	Config  ocispec.Image // what the image's maker set
	Layers  []string      // chain ids, lowest first
	Pinned  bool
	Pulled  time.Time
}

// Usage is what the image store takes of its file system.
type Usage struct {
	Bytes      uint64
	Inodes     uint64
	Mountpoint string // a directory on that file system
}
