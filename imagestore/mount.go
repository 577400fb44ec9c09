package imagestore

import (
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// MountRW gives container id's root as a detached mount, which ends with the last
// descriptor or mount namespace that has it.
func (s *Store) MountRW(id string) (*os.File, error) { return s.MountRWAs(id, nil, "") }

// MountRWAs is MountRW with other owners (nil are those on the disk), and with an
// SELinux label that all of its files have ("" is each file's own).
func (s *Store) MountRWAs(id string, as *Owners, label string) (*os.File, error) {
	images, err := s.leased(id)
	if err != nil {
		return nil, err
	}
	if root, ok := s.spares.mounted.LoadAndDelete(id); ok {
		f := root.(*os.File) //nolint:forcetypeassert // *os.File only
		if as == nil && label == "" {
			return f, nil
		}
		_ = f.Close()
	}
	f, err := s.remount(s.path("rw", id), images[0], as, label)
	if err != nil {
		return nil, fmt.Errorf("root of %s: %w", id, err)
	}
	return f, nil
}

// MountImage gives the image that ref names, read-only, as a detached mount. It is
// for who holds a lease on the image: what is removed without one is deleted also
// where it is mounted.
func (s *Store) MountImage(ref string) (*os.File, error) {
	image, release, err := s.Lease(ref)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.mountReadOnly(digest.Digest(image.ID), nil, "")
}

// MountVolume gives an image, or the directory or file at subPath in it, read-only,
// as a detached mount, for the container id that leases the image, also when that
// has been removed since. A sub path that is not there is ErrSubPath.
func (s *Store) MountVolume(id, imageID, subPath string) (*os.File, error) {
	return s.MountVolumeAs(id, Volume{Image: imageID, SubPath: subPath})
}

// Volume is an image as a container wants it.
type Volume struct {
	Image   string  // its id
	SubPath string  // what of it; "" is all
	Owners  *Owners // other than the image's; nil are those
	Label   string  // the SELinux label of all files; "" is none
}

// MountVolumeAs is MountVolume with other owners and a label.
func (s *Store) MountVolumeAs(id string, v Volume) (*os.File, error) {
	images, err := s.leased(id)
	if err != nil {
		return nil, err
	}
	image := digest.Digest(v.Image)
	if !slices.Contains(images, image) {
		return nil, fmt.Errorf("image %s: not leased by %s: %w", v.Image, id, ErrNotFound)
	}
	root, err := s.mountReadOnly(image, v.Owners, v.Label)
	if err != nil || v.SubPath == "" {
		return root, err
	}
	defer root.Close()
	return subMount(root, v.SubPath)
}

// mountReadOnly mounts an image that someone leases.
func (s *Store) mountReadOnly(image digest.Digest, as *Owners, label string) (*os.File, error) {
	root, err := s.rootDir(rootOf(s.db.Snapshot(), image))
	if err != nil {
		return nil, fmt.Errorf("root of image %s: %w", image, err)
	}
	return s.mount(image, layer.Stack{Root: root, Owners: s.owners(as), Label: label})
}

// rootDir gives an empty directory with a root's owner and mode, for read-only
// mounts: the merged root takes both from the topmost layer, which need not have
// an entry for it. There are few different ones, and they are kept.
func (s *Store) rootDir(a unpack.Attributes) (string, error) {
	name := fmt.Sprintf("%o-%d-%d", a.Mode, a.UID, a.GID)
	dir := s.path("roots", name)
	if _, ok := s.roots.Load(name); ok {
		return dir, nil
	}
	made, err := os.MkdirTemp(s.path("tmp"), "root-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := makeRoot(made+"/"+name, a); err != nil {
		return "", err
	}
	// An empty directory may be renamed over an empty one, so two callers and an
	// earlier life of the store do no harm. os.Rename would refuse it.
	if err := unix.Rename(made+"/"+name, dir); err != nil {
		return "", fmt.Errorf("rename to %s: %w", dir, err)
	}
	s.roots.Store(name, true)
	return dir, nil
}
