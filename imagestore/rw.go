package imagestore

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/reference"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// A read-write layer is the directory rw/ID with
//
//	image   a symbolic link whose text is the image's id: the lease
//	upper   what the container writes
//	work    overlay's own
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

// lease is one read-write layer's hold on its image.
type lease struct {
	image digest.Digest
	made  chan struct{} // closed when the directory is there, or err says why not
	err   error
	ended chan struct{} // nil until a removal begins; closed when it is done
}

// CreateRW makes container id's read-write layer on an image, which it leases: the
// image's layers stay until RemoveRW, also when the image is removed. Doing it
// again for the same image is no error.
func (s *Store) CreateRW(id, imageID string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("read-write layer %q: the id is not a name", id)
	}
	l, mine, err := s.take(id, imageID)
	if err != nil {
		return fmt.Errorf("read-write layer %s on image %q: %w", id, imageID, err)
	}
	if !mine {
		<-l.made
		return l.err
	}
	if l.err = s.makeRW(id, l.image); l.err != nil {
		l.err = fmt.Errorf("read-write layer %s: %w", id, l.err)
		s.giveBack(id)
	}
	close(l.made)
	return l.err
}

// take finds the image and leases it in one step, so that no removal can come in
// between; mine tells that the caller must make the directory.
func (s *Store) take(id, imageID string) (l *lease, mine bool, err error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	v := s.now()
	i, ok := v.find(imageID)
	var image digest.Digest
	if ok {
		image = digest.Digest(v.images[i].ID)
	}
	if l := s.leases[id]; l != nil {
		if l.ended == nil && l.image == image || l.ended == nil && l.image.String() == imageID {
			return l, false, nil
		}
		return nil, false, fmt.Errorf("the id belongs to image %s: %w", l.image, ErrInUse)
	}
	if !ok || s.gone[image] {
		return nil, false, ErrNotFound
	}
	l = &lease{image: image, made: make(chan struct{})}
	s.leases[id] = l
	s.uses[image]++
	return l, true, nil
}

// giveBack ends a lease, and frees the image when it waited for that.
func (s *Store) giveBack(id string) {
	s.leaseMu.Lock()
	l := s.leases[id]
	if l == nil {
		s.leaseMu.Unlock()
		return
	}
	delete(s.leases, id)
	s.uses[l.image]--
	last := s.uses[l.image] == 0
	if last {
		delete(s.uses, l.image)
	}
	reap := last && s.gone[l.image]
	s.leaseMu.Unlock()
	if reap {
		s.inBackground(func() { s.reap(l.image) })
	}
}

// makeRW makes the directory: seven system calls, none of which waits for the disk.
func (s *Store) makeRW(id string, image digest.Digest) error {
	root := rootOf(s.db.Snapshot(), image)
	dir := s.path("rw", newPrefix+id)
	steps := []func() error{
		func() error { return os.Mkdir(dir, 0o700) },
		func() error { return os.Symlink(image.String(), dir+"/"+leaseName) },
		func() error { return makeRoot(dir+"/"+upperName, root) },
		func() error { return os.Mkdir(dir+"/"+workName, 0o700) },
		func() error { return os.Rename(dir, s.path("rw", id)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			s.trash.put(dir)
			return err
		}
	}
	return nil
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
	s.trash.put(s.path("rw", id))
	s.giveBack(id)
	return nil
}

// end marks a lease as ending; mine tells that the caller must do it.
func (s *Store) end(id string) (l *lease, mine bool) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	l = s.leases[id]
	if l == nil || l.ended != nil {
		return l, false
	}
	l.ended = make(chan struct{})
	return l, true
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

// leased gives the image of a read-write layer that is there.
func (s *Store) leased(id string) (digest.Digest, error) {
	s.leaseMu.Lock()
	l := s.leases[id]
	s.leaseMu.Unlock()
	if l == nil {
		return "", fmt.Errorf("read-write layer %q: %w", id, ErrNotFound)
	}
	<-l.made
	return l.image, l.err
}

// recoverLeases reads the leases back from their links; what is not whole goes.
func (s *Store) recoverLeases() error {
	entries, err := os.ReadDir(s.path("rw"))
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	close(ready)
	for _, e := range entries {
		image, err := s.readLease(e.Name())
		if err != nil {
			s.trash.put(s.path("rw", e.Name()))
			if !strings.HasPrefix(e.Name(), newPrefix) {
				s.cfg.Report(fmt.Sprintf("read-write layer %s is dropped: %v", e.Name(), err))
			}
			continue
		}
		s.leases[e.Name()] = &lease{image: image, made: ready}
		s.uses[image]++
	}
	return nil
}

func (s *Store) readLease(id string) (digest.Digest, error) {
	if !validID.MatchString(id) {
		return "", fmt.Errorf("%q is not an id", id)
	}
	text, err := os.Readlink(s.path("rw", id, leaseName))
	if err != nil {
		return "", err
	}
	for _, d := range []string{upperName, workName} {
		if _, err := os.Lstat(s.path("rw", id, d)); err != nil {
			return "", err
		}
	}
	return digest.Digest(text), reference.ValidateDigest(digest.Digest(text))
}
