package imagestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
)

// batch gathers finished layers, so that those which end while a sync is under
// way share the next one: a sync costs the same for one layer and for ten.
type batch struct {
	mu      sync.Mutex
	waiting []*finished
	leading bool
}

// finished is one layer that only needs to be committed.
type finished struct {
	dir  string // in tmp/
	meta *layer.Metadata
	err  error
	done chan struct{}
}

// commit makes a finished layer the store's: synced, in its place, with its row, in
// the order that the package's comment gives.
func (s *Store) commit(dir string, meta *layer.Metadata) error {
	f := &finished{dir: dir, meta: meta, done: make(chan struct{})}
	s.batch.mu.Lock()
	s.batch.waiting = append(s.batch.waiting, f)
	lead := !s.batch.leading
	s.batch.leading = true
	s.batch.mu.Unlock()
	if lead {
		s.inBackgroundAlways(s.commitBatches)
	}
	<-f.done
	return f.err
}

// inBackgroundAlways is for work that others wait for, also while closing.
func (s *Store) inBackgroundAlways(fn func()) {
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		fn()
	}()
}

func (s *Store) commitBatches() {
	for {
		s.batch.mu.Lock()
		all := s.batch.waiting
		s.batch.waiting = nil
		if len(all) == 0 {
			s.batch.leading = false
			s.batch.mu.Unlock()
			return
		}
		s.batch.mu.Unlock()
		s.commitAll(all)
		for _, f := range all {
			close(f.done)
		}
	}
}

func (s *Store) commitAll(all []*finished) {
	s.at("sync layers")
	if err := s.formats.sync(all); err != nil {
		failAll(all, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		s.at("rename layer")
		f.err = s.settle(f)
	}
	s.at("sync directory")
	if err := syncDir(s.path("layers")); err != nil {
		s.unsettleLocked(all)
		failAll(all, err)
		return
	}
	s.at("write rows")
	err := s.db.Update(func(c *index.Change) error {
		var errs error
		for _, f := range all {
			if f.err == nil {
				errs = errors.Join(errs, s.replaceDamaged(c, f.meta), c.PutLayer(f.meta))
			}
		}
		return errs
	})
	if err != nil {
		s.unsettleLocked(all)
		failAll(all, fmt.Errorf("write layer rows: %w", err))
	}
	s.at("rows written")
	s.replacedLocked(all)
	for _, f := range all {
		if f.err == nil && !f.meta.Measured {
			s.measureLater(f.meta.Tree)
		}
	}
}

// settle moves a synced layer to its place. The same content that another chain
// brought first stays, and ours goes.
func (s *Store) settle(f *finished) error {
	to := s.path("layers", f.meta.Tree)
	if s.treeKnown(f.meta.Tree) {
		s.trash.Put(f.dir)
		return nil
	}
	// A directory without a row is what an earlier commit left when its row failed.
	if _, err := os.Lstat(to); err == nil {
		s.trash.Put(to)
	}
	return os.Rename(f.dir, to)
}

// unsettleLocked takes layers back whose rows could not be written.
func (s *Store) unsettleLocked(all []*finished) {
	for _, f := range all {
		if f.err == nil && !s.treeKnown(f.meta.Tree) {
			s.trash.Put(s.path("layers", f.meta.Tree))
		}
	}
}

// treeKnown tells whether a row names the directory.
func (s *Store) treeKnown(tree string) bool {
	for _, l := range s.db.Snapshot().Layers {
		if l.Tree == tree {
			return true
		}
	}
	return false
}

func failAll(all []*finished, err error) {
	for _, f := range all {
		f.err = errors.Join(f.err, err)
	}
}

// syncDir makes renames in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil {
		return &os.PathError{Op: "fsync", Path: filepath.Base(dir), Err: err}
	}
	return nil
}
