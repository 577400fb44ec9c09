package imagestore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/reference"
)

// An image whose lease is held keeps its layers, also when it is removed
// meanwhile. Leases are counted in Store.uses. Under leaseMu the image is found in
// the newest snapshot and counted; and under leaseMu reap, which comes after the
// snapshot that shows the removal, looks for a count. So one of the two sees the
// other, and there is no second record of what is removed that could disagree with
// the snapshot. A container's lease is on the disk, in its read-write layer; all
// others end with the process.

// volumePrefix begins the names of the links by which a container's read-write
// layer leases the images of its volumes.
const volumePrefix = "volume-"

// Lease finds an image as Get does, and keeps its layers until release is called,
// once or more often.
func (s *Store) Lease(ref string) (image Image, release func(), err error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	v := s.now()
	i, ok := v.find(ref)
	if !ok {
		return Image{}, nil, fmt.Errorf("image %q: %w", ref, ErrNotFound)
	}
	return v.images[i], s.countLocked(digest.Digest(v.images[i].ID)), nil
}

// use is Lease for the store's own short reads: it also finds, by its id, an image
// that was removed and is leased by another.
func (s *Store) use(ref string) (id digest.Digest, release func(), err error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	id = digest.Digest(ref)
	v := s.now()
	if i, ok := v.find(ref); ok {
		id = digest.Digest(v.images[i].ID)
	}
	if row := v.of.Images[id]; row == nil || row.Removed && s.uses[id] == 0 {
		return "", nil, ErrNotFound
	}
	return id, s.countLocked(id), nil
}

func (s *Store) countLocked(image digest.Digest) (release func()) {
	s.uses[image]++
	return sync.OnceFunc(func() {
		s.leaseMu.Lock()
		free := s.uncountLocked(image)
		s.leaseMu.Unlock()
		s.reapLater(free)
		s.retireLater()
	})
}

// uncountLocked ends one use of each image, and gives those that waited for that to
// be freed.
func (s *Store) uncountLocked(images ...digest.Digest) (free []digest.Digest) {
	for _, image := range images {
		if s.uses[image]--; s.uses[image] > 0 {
			continue
		}
		delete(s.uses, image)
		if row := s.db.Snapshot().Images[image]; row != nil && row.Removed {
			free = append(free, image)
		}
	}
	return free
}

func (s *Store) reapLater(images []digest.Digest) {
	for _, image := range images {
		s.inBackground(func() { s.reap(image) })
	}
}

// take finds the images and leases them in one step, so that no removal can come
// in between; mine tells that the caller must make the directory.
func (s *Store) take(id string, refs []string) (l *lease, mine bool, err error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	images, err := s.findLocked(refs)
	if l := s.leases[id]; l != nil {
		if l.ended == nil && slices.Equal(l.images, images) {
			return l, false, nil
		}
		return nil, false, fmt.Errorf("the id belongs to image %s: %w", l.images[0], ErrInUse)
	}
	if err != nil {
		return nil, false, err
	}
	for _, image := range images {
		s.uses[image]++
	}
	l = &lease{images: images, made: make(chan struct{})}
	s.leases[id] = l
	return l, true, nil
}

// findLocked gives the ids of images. One that is not there is an error, and its
// reference is given as it is: it may be the id of an image that was removed.
func (s *Store) findLocked(refs []string) (images []digest.Digest, err error) {
	v := s.now()
	for _, ref := range refs {
		i, ok := v.find(ref)
		image := digest.Digest(ref)
		if ok {
			image = digest.Digest(v.images[i].ID)
		}
		if !ok && err == nil {
			err = fmt.Errorf("%q: %w", ref, ErrNotFound)
		}
		images = append(images, image)
	}
	return images, err
}

// giveBack ends a container's lease, and frees the images that waited for that.
func (s *Store) giveBack(id string) {
	s.leaseMu.Lock()
	var free []digest.Digest
	if l := s.leases[id]; l != nil {
		delete(s.leases, id)
		s.scale.containers.Delete(id)
		free = s.uncountLocked(l.images...)
	}
	s.leaseMu.Unlock()
	s.reapLater(free)
	s.retireLater()
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

// leased gives the images of a read-write layer that is there.
func (s *Store) leased(id string) ([]digest.Digest, error) {
	s.leaseMu.Lock()
	l := s.leases[id]
	s.leaseMu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("read-write layer %q: %w", id, ErrNotFound)
	}
	<-l.made
	return l.images, l.err
}

// ImageOf gives the image of container id, also when it was removed since: it has
// no names then.
func (s *Store) ImageOf(id string) (Image, error) {
	images, err := s.leased(id)
	if err != nil {
		return Image{}, err
	}
	v := s.now()
	if i, ok := v.byID[images[0]]; ok {
		return v.images[i], nil
	}
	row := v.of.Images[images[0]]
	if row == nil {
		return Image{}, fmt.Errorf("image %s of %s: %w", images[0], id, ErrNotFound)
	}
	return s.image(v.of, row, nil, usersOf(v.of)), nil
}

// writeLeases makes the links by which a read-write layer leases its images.
func writeLeases(dir string, images []digest.Digest) error {
	for i, image := range images {
		if err := os.Symlink(image.String(), dir+"/"+linkName(i)); err != nil {
			return err
		}
	}
	return nil
}

func linkName(i int) string {
	if i == 0 {
		return leaseName
	}
	return volumePrefix + strconv.Itoa(i-1)
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
		images, err := s.readLeases(e.Name())
		if err != nil {
			s.trash.Put(s.path("rw", e.Name()))
			if !strings.HasPrefix(e.Name(), newPrefix) {
				s.cfg.Report(fmt.Sprintf("read-write layer %s is dropped: %v", e.Name(), err))
			}
			continue
		}
		s.leases[e.Name()] = &lease{images: images, made: ready}
		for _, image := range images {
			s.uses[image]++
		}
	}
	return nil
}

func (s *Store) readLeases(id string) (images []digest.Digest, err error) {
	if !validID.MatchString(id) {
		return nil, fmt.Errorf("%q is not an id", id)
	}
	for _, d := range []string{upperName, workName} {
		if _, err := os.Lstat(s.path("rw", id, d)); err != nil {
			return nil, err
		}
	}
	for {
		text, err := os.Readlink(s.path("rw", id, linkName(len(images))))
		if len(images) > 0 && errors.Is(err, os.ErrNotExist) {
			return images, nil
		}
		if err == nil {
			err = reference.ValidateDigest(digest.Digest(text))
		}
		if err != nil {
			return nil, err
		}
		images = append(images, digest.Digest(text))
	}
}
