package imagestore

import (
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
)

// recover brings files and rows to agree again after a crash. It runs before
// anyone else can use the store.
func (s *Store) recover() error {
	if err := s.emptyTemporary(); err != nil {
		return err
	}
	if err := s.matchLayers(); err != nil {
		return err
	}
	if err := s.recoverLeases(); err != nil {
		return err
	}
	for id, row := range s.db.Snapshot().Images {
		if row.Removed {
			s.reap(id)
		}
	}
	s.freeRetired()
	for _, l := range s.db.Snapshot().Layers {
		if !l.Measured {
			s.measureLater(l.Tree)
		}
	}
	s.mu.Lock() // the timer of loose layers may run already
	defer s.mu.Unlock()
	return s.sweepLocked("", s.cfg.LooseLayers)
}

// emptyTemporary throws away what was being made, and goes on with what was being
// deleted.
func (s *Store) emptyTemporary() error {
	left, err := os.ReadDir(s.path("trash"))
	if err != nil {
		return err
	}
	for _, e := range left {
		s.trash.Enqueue(s.path("trash", e.Name()))
	}
	for _, dir := range []string{"tmp", spareDir} {
		if left, err = os.ReadDir(s.path(dir)); err != nil {
			return err
		}
		for _, e := range left {
			s.trash.Put(s.path(dir, e.Name()))
		}
	}
	return nil
}

// matchLayers drops rows without a directory, with the images that need them, and
// directories without a row.
func (s *Store) matchLayers() error {
	entries, err := os.ReadDir(s.path("layers"))
	if err != nil {
		return err
	}
	there, named := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = e.IsDir()
	}
	snapshot := s.db.Snapshot()
	var lost []layer.Key
	for key, l := range snapshot.Layers {
		named[l.Tree] = true
		if !there[l.Tree] {
			lost = append(lost, key)
			s.cfg.Report(fmt.Sprintf("layer %s: its directory %q is gone", key, l.Tree))
		}
	}
	for name := range there {
		if _, retired := snapshot.Retired[name]; !named[name] && !retired {
			s.trash.Put(s.path("layers", name))
		}
	}
	return s.dropLost(lost)
}

// dropLost deletes the rows of lost layers and of images with a layer that has no
// row; the next pull brings them back.
func (s *Store) dropLost(lost []layer.Key) error {
	broken := s.broken(lost)
	if len(lost) == 0 && len(broken) == 0 {
		return nil
	}
	return s.db.Update(func(c *index.Change) error {
		for _, key := range lost {
			if err := c.DeleteLayer(key); err != nil {
				return err
			}
		}
		for name, id := range c.Names {
			if !slices.Contains(broken, id) {
				continue
			}
			s.cfg.Report(fmt.Sprintf("image %s is dropped: a layer of it is lost", name))
			if err := c.DeleteName(name); err != nil {
				return err
			}
		}
		for _, id := range broken {
			if err := c.DeleteImage(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// broken lists the images of which a layer is lost or has no row.
func (s *Store) broken(lost []layer.Key) (ids []digest.Digest) {
	snapshot := s.db.Snapshot()
	for id, row := range snapshot.Images {
		bad := slices.ContainsFunc(row.Keys(), func(l layer.Key) bool {
			return snapshot.Layers[l] == nil || slices.Contains(lost, l)
		})
		if bad {
			ids = append(ids, id)
		}
	}
	return ids
}
