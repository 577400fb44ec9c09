package imagestore

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/trash"
)

// spares are read-write layers that wait for a container of their image, with
// the root mounted. To make one costs eight inodes, most of them overlay's own,
// and on ext4 an inode costs up to a tenth of a millisecond while those that
// were deleted in the last minute are passed over: that is done here, after a
// container has been made and before the next one is.
//
// A spare has no lease. It goes with its image, when no container of that image
// has been made for some time, and with the store; a crash leaves a directory
// in spare/, which Open removes.
type spares struct {
	s    *Store
	want int // of each image

	mu     sync.Mutex
	images map[digest.Digest]*spareSet
	closed bool
	serial int
	last   time.Time // when one was asked for
	wake   chan struct{}
	ended  chan struct{}

	// going are the discards of aged spares.
	going sync.WaitGroup
	// mounted are the roots of containers that were spares, until they are
	// asked for; by container id.
	mounted sync.Map
}

// spareSet is the spares of one image.
type spareSet struct {
	ready []*spare
	used  time.Time // when a container was made of the image
	stuck bool      // making one has failed; the next container tries again
}

type spare struct {
	dir  string
	root *os.File
}

func (p *spare) discard(t *trash.Trash) {
	_ = p.root.Close() // the end of the mount
	t.Put(p.dir)
}

const (
	spareDir   = "spare"
	maxSpares  = 8                // images that have any
	spareLife  = 10 * time.Minute // without a container of the image
	spareQuiet = 20 * time.Millisecond
	spareBusy  = 5 * time.Millisecond
)

func newSpares(s *Store, want int) *spares {
	p := &spares{s: s, want: want, images: map[digest.Digest]*spareSet{}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go p.keep()
	return p
}

// take gives a spare of the image, or nil, and has another one made later.
func (p *spares) take(image digest.Digest) *spare {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.want <= 0 {
		return nil
	}
	p.last = time.Now()
	set := p.images[image]
	if set == nil {
		set = &spareSet{}
		p.images[image] = set
	}
	set.used, set.stuck = p.last, false
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if len(set.ready) == 0 {
		return nil
	}
	one := set.ready[0]
	set.ready = set.ready[1:]
	return one
}

// drop discards what waits for an image that goes.
func (p *spares) drop(image digest.Digest) {
	p.mu.Lock()
	set := p.images[image]
	delete(p.images, image)
	p.mu.Unlock()
	p.discard(set)
}

func (p *spares) discard(set *spareSet) {
	if set == nil {
		return
	}
	for _, one := range set.ready {
		one.discard(p.s.trash)
	}
}

// close discards all.
func (p *spares) close() {
	p.mu.Lock()
	p.closed = true
	all := p.images
	p.images = nil
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	<-p.ended
	p.going.Wait() // after the keeper, which begins them
	for _, set := range all {
		p.discard(set)
	}
	p.mounted.Range(func(id, root any) bool {
		_ = root.(*os.File).Close() //nolint:forcetypeassert // *os.File only
		return true
	})
}

// keep makes spares, one at a time, and ages them.
func (p *spares) keep() {
	defer close(p.ended)
	for {
		image, set, pause, ok := p.next()
		switch {
		case !ok:
			return
		case pause > 0:
			select {
			case <-p.wake:
			case <-time.After(pause):
			}
			continue
		}
		one, err := p.make(image)
		if !p.add(image, set, one, err) {
			one.discard(p.s.trash)
		}
	}
}

// next says for which image, and for which of its sets, a spare is to be made now,
// or for how long nothing is to be done.
func (p *spares) next() (image digest.Digest, set *spareSet, pause time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", nil, 0, false
	}
	p.ageLocked()
	least := p.want
	for id, s := range p.images {
		if len(s.ready) < least && !s.stuck {
			image, set, least = id, s, len(s.ready)
		}
	}
	if image == "" {
		return "", nil, spareLife, true
	}
	// A start under way has the processors, but an empty pool helps nobody.
	wait := spareQuiet
	if least <= p.want/2 {
		wait = spareBusy
	}
	return image, set, max(0, wait-time.Since(p.last)), true
}

// ageLocked discards the spares of images that are not used any more.
func (p *spares) ageLocked() {
	for len(p.images) > 0 {
		var oldest digest.Digest
		for id, set := range p.images {
			if oldest == "" || set.used.Before(p.images[oldest].used) {
				oldest = id
			}
		}
		if len(p.images) <= maxSpares && time.Since(p.images[oldest].used) < spareLife {
			return
		}
		set := p.images[oldest]
		delete(p.images, oldest)
		p.going.Go(func() { p.discard(set) }) // not under the lock
	}
}

// make makes the directory of a read-write layer, all but its lease, and mounts
// it.
func (p *spares) make(image digest.Digest) (*spare, error) {
	p.mu.Lock()
	p.serial++
	one := &spare{dir: p.s.path(spareDir, strconv.Itoa(p.serial))}
	p.mu.Unlock()
	err := p.s.makeTree(one.dir, image)
	if err == nil {
		one.root, err = p.s.mountUpper(one.dir, image, nil, "")
	}
	if err != nil {
		p.s.trash.Put(one.dir)
		return nil, err
	}
	p.s.at("spare mounted")
	return one, nil
}

// add files a new spare in the set that it was made for; false is that nobody wants
// it any more. When the set has been dropped meanwhile, what the spare was mounted
// from is going, also if the image came back and has a set again.
func (p *spares) add(image digest.Digest, set *spareSet, one *spare, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		set.stuck = true
		return true
	}
	if p.images[image] != set || p.closed {
		return false
	}
	set.ready = append(set.ready, one)
	return true
}

// mountUpper mounts the root of the read-write layer in dir.
func (s *Store) mountUpper(dir string, image digest.Digest, as *Owners, label string) (*os.File, error) {
	return s.mount(image, layer.Stack{
		Base: s.path(baseName), Upper: filepath.Join(dir, upperName), Work: filepath.Join(dir, workName), Owners: s.owners(as), Label: label,
	})
}

// remount mounts the root of a layer in rw/. One that was a spare of a store
// that crashed has been mounted before, and overlay refuses a second mount of
// what it has not synced; but nothing has been written to it.
func (s *Store) remount(dir string, image digest.Digest, as *Owners, label string) (*os.File, error) {
	work := filepath.Join(dir, workName)
	if _, err := os.Lstat(filepath.Join(work, "work", "incompat")); err == nil {
		if err := s.renew(work); err != nil {
			return nil, err
		}
	}
	return s.mountUpper(dir, image, as, label)
}

// renew puts an empty directory in the place of another, which a crash in the
// middle does not take away.
func (s *Store) renew(dir string) error {
	fresh, err := os.MkdirTemp(s.path("tmp"), "renewed-")
	if err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	s.trash.Put(fresh)
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: fresh, New: dir, Err: err}
	}
	return nil
}
