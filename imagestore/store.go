package imagestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/flight"
	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/scrub"
	"github.com/varve-cri/varve/imagestore/spool"
	"github.com/varve-cri/varve/imagestore/trash"
)

// reserveName is the directory of the reserve; see trash.
const reserveName = "reserve"

// Store keeps images. All its methods may be called at the same time.
type Store struct {
	cfg     Config
	db      *index.Index
	formats formats
	sources atomic.Pointer[sources]
	trash   *trash.Trash
	scrub   *scrub.Schedule
	spares  *spares
	view    atomic.Pointer[view] // of the newest snapshot that was asked for
	users   sync.Map             // image id to *accounts
	pulls   *progress.Pulls

	// layers and configs share transfers among pulls, joins the joining of stacks
	// among pulls and mounts; diffs keeps two pulls from
	// fetching the same diff for different chains; slots bound the unpacking.
	layers  flight.Group[*layer.Metadata]
	configs flight.Group[[]byte]
	joins   flight.Group[uint64]
	diffs   flight.Lock
	slots   chan struct{}
	batch   batch
	scale   scale

	// mu serializes what changes layers/ and the rows, so that a directory and its
	// row come and go together.
	mu sync.Mutex
	// checking is held during a check of all layers.
	checking sync.Mutex
	// holds counts, by layer, the pulls that rely on a layer; guarded by mu.
	holds map[layer.Key]int
	// looseDue tells that looseTimer runs; guarded by mu.
	looseDue bool

	// leaseMu guards the two maps below. No system call is made under it.
	leaseMu sync.Mutex
	leases  map[string]*lease     // by read-write layer id
	uses    map[digest.Digest]int // leases of each image

	// quit ends transfers and background work when the store is closed.
	quit       context.Context //nolint:containedctx // it is the store's own lifetime
	stop       context.CancelFunc
	background sync.WaitGroup
	closing    sync.RWMutex // held for reading while background grows, for writing to end that
	looseTimer *time.Timer
	spool      *spool.Spool
	spoolTimer *time.Timer
	roots      sync.Map // names of the directories in roots/ that are there
}

// Open opens the store below cfg.Root, makes it when it is not there, and
// removes what a crash left half-made.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if !filepath.IsAbs(cfg.Root) {
		return nil, fmt.Errorf("image store root %q is not absolute", cfg.Root)
	}
	s := &Store{
		cfg:    cfg,
		slots:  make(chan struct{}, cfg.ParallelLayers),
		holds:  map[layer.Key]int{},
		leases: map[string]*lease{},
		uses:   map[digest.Digest]int{},
		pulls:  progress.New(),
	}
	s.quit, s.stop = context.WithCancel(context.Background())
	err := s.open()
	if fault.KindOf(err) == NoSpace && trash.SpendReserve(s.path(reserveName)) {
		// A store that does not open on a full disk could never be cleaned up.
		err = s.open()
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("image store %s: %w", cfg.Root, s.withRoom(err))
	}
	return s, nil
}

func (s *Store) open() (err error) {
	for _, d := range []string{".", "layers", "stacks", "rw", "roots", "tmp", spareDir, "trash", "scratch", "spool"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return err
		}
		// Also where it was there before: below it are setuid programs (CVE-2021-41091).
		if err := os.Chmod(s.path(d), 0o700); err != nil {
			return err
		}
	}
	if err := makeBase(s.path(baseName)); err != nil {
		return err
	}
	spread(s.path("tmp"))
	if err := s.setSources(s.cfg); err != nil {
		return err
	}
	// The database's lock comes first: it keeps a second store away from the files.
	if s.db, err = index.Open(s.path("index.db"), s.cfg.Report); err != nil {
		return err
	}
	if s.spool, err = spool.Open(s.path("spool"), s.cfg.Spool, s.cfg.Report); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if s.formats, err = openFormats(s.cfg.Format, s.path("scratch")); err != nil {
		return errors.Join(err, s.db.Close())
	}
	s.tellUnusable()
	s.trash = trash.Open(s.path("trash"), s.path(reserveName), s.cfg.Report)
	s.spares = newSpares(s, s.cfg.Spares)
	s.spoolTimer = time.AfterFunc(time.Hour, s.sweepSpool)
	s.openScrub()
	s.looseTimer = time.AfterFunc(time.Hour, s.sweepLoose)
	s.looseTimer.Stop()
	if err := s.recover(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// Close ends all transfers and background work. Read-write layers and their
// leases stay: the next Open finds them.
func (s *Store) Close() error {
	s.closing.Lock()
	s.stop()
	s.closing.Unlock()
	s.looseTimer.Stop()
	s.spoolTimer.Stop()
	s.layers.Wait()
	s.configs.Wait()
	s.joins.Wait()
	s.scrub.Close()
	s.background.Wait()
	s.spares.close()
	s.trash.Close()
	s.sources.Load().client.Close()
	return errors.Join(s.formats.close(), s.db.Close())
}

func (s *Store) path(elements ...string) string {
	return filepath.Join(append([]string{s.cfg.Root}, elements...)...)
}

// at tells tests which step is about to be done.
func (s *Store) at(step string) {
	if s.cfg.hook != nil {
		s.cfg.hook(step)
	}
}

// inBackground runs fn unless the store is being closed, and tells whether it does.
func (s *Store) inBackground(fn func()) bool {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.quit.Err() != nil {
		return false
	}
	s.inBackgroundAlways(fn)
	return true
}
