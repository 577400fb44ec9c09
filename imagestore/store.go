package imagestore

import (
	"context"
	"errors"
	"os"
)

var errUnfinished = errors.New("imagestore: only the API is there yet")

// Store keeps images. All its methods may be called at the same time.
type Store struct{}

// Open opens the store below cfg.Root, makes it when it is not there, and
// removes what a crash left half-made.
func Open(cfg Config) (*Store, error) { return nil, errUnfinished }

// Close ends all transfers and background work.
func (s *Store) Close() error { return errUnfinished }

// Pull brings the image that ref names; the error is a *PullError.
func (s *Store) Pull(ctx context.Context, ref string, opt PullOptions) (Image, error) {
	return Image{}, errUnfinished
}

// Get finds an image by name, name@digest, id or unique prefix of an id.
func (s *Store) Get(ref string) (Image, error) { return Image{}, errUnfinished }

// List gives all images.
func (s *Store) List() []Image { return nil }

// Remove takes the image that ref names out of the store, with all its names.
func (s *Store) Remove(ctx context.Context, ref string) error { return errUnfinished }

// Usage is what images take of the disk.
func (s *Store) Usage() (Usage, error) { return Usage{}, errUnfinished }

// CreateRW makes container id's read-write layer and leases the image.
func (s *Store) CreateRW(id, imageID string) error { return errUnfinished }

// MountRW gives container id's root as a detached mount.
func (s *Store) MountRW(id string) (*os.File, error) { return nil, errUnfinished }

// RemoveRW removes container id's read-write layer and gives the lease back.
func (s *Store) RemoveRW(id string) error { return errUnfinished }

// UsageRW is what container id has written.
func (s *Store) UsageRW(id string) (bytes, inodes uint64, err error) { return 0, 0, errUnfinished }

// ListRW gives the ids of all read-write layers.
func (s *Store) ListRW() []string { return nil }

// MountImage gives the image, read-only, as a detached mount.
func (s *Store) MountImage(imageID string) (*os.File, error) { return nil, errUnfinished }

// Users gives the image's /etc/passwd and /etc/group; nil when it has none.
func (s *Store) Users(imageID string) (passwd, group []byte, err error) {
	return nil, nil, errUnfinished
}
