package imagestore

import (
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// A read-write layer is the directory rw/ID with
//
//	image      a symbolic link whose text is the image's id: the lease
//	volume-N   the same for the Nth image that the container mounts as a volume
//	upper      what the container writes
//	work       overlay's own
//
// It appears by rename, whole, so that no reader meets half of it. Nothing is
// synced: a container does not outlive the machine.
const (
	leaseName = "image"
	upperName = "upper"
	workName  = "work"
	newPrefix = ".new-"
)

// validID is what may be a directory's name.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// lease is one read-write layer's hold on its image and on those of its volumes.
type lease struct {
	images []digest.Digest // the root's, then the volumes'
	made   chan struct{}   // closed when the directory is there, or err says why not
	err    error
	ended  chan struct{} // nil until a removal begins; closed when it is done
}

// CreateRW makes container id's read-write layer on an image, which it leases
// together with the images that MountVolume is going to be asked for: their layers
// stay until RemoveRW, also when the images are removed, and over restarts. Doing
// it again for the same images is no error.
func (s *Store) CreateRW(id, imageID string, volumes ...string) error {
	return s.createRW(id, imageID, volumes, s.spares.take)
}

// CreateBareRW is CreateRW for who is going to ask for a mount with other owners or
// a label: none of those that wait mounted is like that.
func (s *Store) CreateBareRW(id, imageID string, volumes ...string) error {
	return s.createRW(id, imageID, volumes, func(digest.Digest) *spare { return nil })
}

func (s *Store) createRW(id, imageID string, volumes []string, waiting func(digest.Digest) *spare) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("read-write layer %q: the id is not a name", id)
	}
	l, mine, err := s.take(id, append([]string{imageID}, volumes...))
	if err != nil {
		return fmt.Errorf("read-write layer %s on image %q: %w", id, imageID, err)
	}
	if !mine {
		<-l.made
		return l.err
	}
	if l.err = s.makeRW(id, l.images, waiting); l.err != nil {
		l.err = s.named("read-write layer "+id, l.err)
		s.giveBack(id)
	}
	close(l.made)
	return l.err
}

// makeRW makes the directory: seven system calls, none of which waits for the
// disk, and one for each volume. Of a spare it takes two.
func (s *Store) makeRW(id string, images []digest.Digest, waiting func(digest.Digest) *spare) error {
	one := waiting(images[0])
	dir := s.path("rw", newPrefix+id)
	if one != nil {
		dir = one.dir
	} else if err := s.makeTree(dir, images[0]); err != nil {
		s.trash.Put(dir)
		return err
	}
	err := writeLeases(dir, images)
	if err == nil {
		err = os.Rename(dir, s.path("rw", id))
	}
	switch {
	case err == nil && one != nil:
		s.spares.mounted.Store(id, one.root)
	case err != nil && one != nil:
		one.discard(s.trash)
	case err != nil:
		s.trash.Put(dir)
	}
	return err
}

// makeTree makes a read-write layer's directory without its lease.
func (s *Store) makeTree(dir string, image digest.Digest) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := makeRoot(dir+"/"+upperName, rootOf(s.db.Snapshot(), image)); err != nil {
		return err
	}
	return os.Mkdir(dir+"/"+workName, 0o700)
}

// makeRoot makes a directory that is the root of a merged view.
func makeRoot(dir string, a unpack.Attributes) error {
	if err := unix.Mkdir(dir, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	if a.UID != 0 || a.GID != 0 {
		if err := os.Lchown(dir, a.UID, a.GID); err != nil {
			return err
		}
	}
	if err := unix.Chmod(dir, a.Mode); err != nil {
		return &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
}

// rootOf gives the attributes of an image's root: those of the topmost layer that
// says something of it.
func rootOf(of *index.Snapshot, image digest.Digest) unpack.Attributes {
	row := of.Images[image]
	if row != nil {
		for _, id := range slices.Backward(row.Keys()) {
			if l := of.Layers[id]; l != nil && l.Root != nil {
				return *l.Root
			}
		}
	}
	return unpack.Attributes{Mode: 0o755}
}

// RemoveRW removes container id's read-write layer and gives the lease back. The
// space is freed in the background. A layer that is not there is no error.
func (s *Store) RemoveRW(id string) error {
	if !validID.MatchString(id) {
		return nil
	}
	l, mine := s.end(id)
	if l == nil {
		return nil
	}
	if !mine {
		<-l.ended
		return nil
	}
	defer close(l.ended)
	if <-l.made; l.err != nil {
		return nil // it was never there, and its maker gave the lease back
	}
	if root, ok := s.spares.mounted.LoadAndDelete(id); ok {
		_ = root.(*os.File).Close() //nolint:forcetypeassert // *os.File only
	}
	s.trash.Put(s.path("rw", id))
	s.giveBack(id)
	return nil
}

// ListRW gives the ids of all read-write layers, sorted.
func (s *Store) ListRW() []string {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	ids := make([]string, 0, len(s.leases))
	for id := range s.leases {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
