package imagestore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
)

// sweepRetry is when a sweep that failed, as on a full disk, is tried again.
const sweepRetry = 30 * time.Second

// hold keeps layers from being collected while a pull relies on them.
func (s *Store) hold(layers []layer.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range layers {
		s.holds[k]++
	}
}

// release gives the holds back. Layers that the pull leaves without an image are
// kept for the next try, for a while.
func (s *Store) release(layers []layer.Key) {
	s.mu.Lock()
	for _, k := range layers {
		if s.holds[k]--; s.holds[k] == 0 {
			delete(s.holds, k)
		}
	}
	s.waitForLooseLocked()
	s.mu.Unlock()
}

// waitForLooseLocked sets the timer by which layers without an image go in time. A
// timer that runs is left alone, or a node that pulls often would never sweep.
func (s *Store) waitForLooseLocked() {
	if !s.looseDue && len(s.looseLocked("", 0)) > 0 {
		s.sweepInLocked(max(0, s.cfg.LooseLayers))
	}
}

func (s *Store) sweepInLocked(wait time.Duration) {
	if !s.looseDue {
		s.looseDue = true
		s.looseTimer.Reset(wait)
	}
}

// watchLoose is for who ends work on a layer that all callers may have left: the
// last of them could not know that a layer would come of it.
func (s *Store) watchLoose(ctx context.Context) {
	if ctx.Err() == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitForLooseLocked()
}

// Remove takes the image that ref names out of the store, with all its names.
// When it returns no reader sees the image; its space is freed in the background,
// or when the last container that uses it is removed. An image that is not there
// is no error.
func (s *Store) Remove(ctx context.Context, ref string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	id, err := s.forget(ref)
	if err != nil {
		return s.named(fmt.Sprintf("remove image %q", ref), err)
	}
	if id != "" {
		s.spares.drop(id)
		s.inBackground(func() { s.reap(id) })
	}
	return nil
}

// forget deletes the names and marks the row, which stays until reap.
func (s *Store) forget(ref string) (digest.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.now()
	i, ok := v.find(ref)
	if !ok {
		return "", nil
	}
	id := digest.Digest(v.images[i].ID)
	s.at("forget image")
	err := s.shrink(func(c *index.Change) error {
		for _, name := range slices.Concat(v.images[i].Tags, v.images[i].Digests) {
			if err := c.DeleteName(name); err != nil {
				return err
			}
		}
		row := *c.Images[id]
		row.Removed = true
		return c.PutImage(&row)
	})
	return id, err
}

// reap frees a removed image that no container uses any more.
func (s *Store) reap(id digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reapLocked(id)
}

func (s *Store) reapLocked(id digest.Digest) {
	row := s.db.Snapshot().Images[id]
	s.leaseMu.Lock()
	used := s.uses[id] > 0
	s.leaseMu.Unlock()
	// A pull that brought the image back made the row a living one again.
	if used || row == nil || !row.Removed {
		return
	}
	s.spares.drop(id) // those made of the last containers, since the image was removed
	s.at("reap image")
	if err := s.sweepLocked(id, s.cfg.LooseLayers); err != nil {
		s.cfg.Report(fmt.Sprintf("free image %s: %v", id, err))
		return
	}
	s.users.Delete(id)
}

// sweepLoose frees layers that have had no image for long enough, and what an
// earlier try could not free.
func (s *Store) sweepLoose() {
	s.inBackground(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.looseDue = false
		for id, row := range s.db.Snapshot().Images {
			if row.Removed {
				s.reapLocked(id)
			}
		}
		if err := s.sweepLocked("", s.cfg.LooseLayers); err != nil {
			s.cfg.Report(fmt.Sprintf("free layers without an image: %v", err))
		}
	})
}

// looseLocked lists the layers that no image but the dead one has and no pull
// holds: those of the dead image now, the others when they are older than age.
func (s *Store) looseLocked(dead digest.Digest, age time.Duration) []layer.Key {
	snapshot := s.db.Snapshot()
	used, now := map[layer.Key]bool{}, map[layer.Key]bool{}
	for id, row := range snapshot.Images {
		for _, l := range row.Keys() {
			if id == dead {
				now[l] = true
			} else {
				used[l] = true
			}
		}
	}
	var loose []layer.Key
	for key, l := range snapshot.Layers {
		if used[key] || s.holds[key] > 0 {
			continue
		}
		// A clock that went back makes a layer old, not immortal.
		if since := s.cfg.now().Sub(l.Made); now[key] || since >= age || since < 0 {
			loose = append(loose, key)
		}
	}
	return loose
}

// sweepLocked deletes the rows of the dead image, if there is one, and of loose
// layers in one transaction, so that no reader counts layers that only lost their
// image; then it moves away the stacks and the directories that no row names any
// more. A crash in between leaves them without rows, and Open removes them.
func (s *Store) sweepLocked(dead digest.Digest, age time.Duration) (err error) {
	defer func() {
		if err != nil {
			s.sweepInLocked(sweepRetry)
		}
		s.waitForLooseLocked()
	}()
	loose := s.looseLocked(dead, age)
	if len(loose) == 0 && dead == "" {
		s.sweepStacksLocked()
		return nil
	}
	trees := map[string]bool{}
	err = s.shrink(func(c *index.Change) error {
		if err := c.DeleteImage(dead); err != nil {
			return err
		}
		for _, key := range loose {
			trees[c.Layers[key].Tree] = true
			if err := c.DeleteLayer(key); err != nil {
				return err
			}
		}
		for _, l := range c.Layers {
			delete(trees, l.Tree)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.sweepStacksLocked()
	s.at("discard layers")
	for tree := range trees {
		s.trash.Put(s.path("layers", tree))
	}
	return nil
}
