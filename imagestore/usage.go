package imagestore

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
)

// What things weigh is what the file system says of their blocks and inodes, but
// nobody who asks waits for a walk. A layer is weighed once, because it does not
// change: at once where it is a few files, in the background where it is many, and
// until then it weighs what was counted while it was unpacked. A container is
// weighed again in the background when somebody asks and the last time is a while
// ago.

const (
	lightInodes  = 16               // a layer with more is weighed in the background
	containerAge = 10 * time.Second // what a container weighs may be that old
)

// scale is who weighs.
type scale struct {
	mu      sync.Mutex
	waiting map[string]bool // directories of layers
	busy    bool

	containers sync.Map // id to weight
	round      sync.Mutex
}

type weight struct {
	bytes, inodes uint64
	at            time.Time
}

// Usage is what images, or containers, take of the store's file system.
type Usage struct {
	Bytes      uint64
	Inodes     uint64
	Mountpoint string // a directory on that file system
}

// Usage is what images take of the disk. Layers that images share count once.
func (s *Store) Usage() (Usage, error) {
	u := Usage{Mountpoint: s.cfg.Root}
	snapshot := s.db.Snapshot()
	live, counted := map[layer.Key]bool{}, map[string]bool{}
	for _, row := range snapshot.Images {
		// An image that only waits for its last container is gone for the kubelet.
		keys := row.Keys()
		for _, k := range keys {
			live[k] = live[k] || !row.Removed
		}
		if stack := stackUser(keys); !row.Removed && row.StackBytes > 0 && !counted[stack] {
			counted[stack] = true
			u.Bytes += row.StackBytes
			u.Inodes += 3 // the directory, the stack and its checksum
		}
	}
	for key, l := range snapshot.Layers {
		if used, known := live[key]; known && !used || counted[l.Tree] {
			continue
		}
		counted[l.Tree] = true
		u.Bytes += l.Bytes
		u.Inodes += l.Inodes
	}
	return u, nil
}

// ContainersUsage is what containers' read-write layers take of the disk, as they
// were last weighed. One that never was counts nothing until the background has
// come to it.
func (s *Store) ContainersUsage() Usage {
	u := Usage{Mountpoint: s.cfg.Root}
	stale := false
	for _, id := range s.ListRW() {
		kept, ok := s.scale.containers.Load(id)
		w, _ := kept.(weight)
		stale = stale || !ok || time.Since(w.at) > containerAge
		u.Bytes += w.bytes
		u.Inodes += w.inodes
	}
	// Who finds the lock taken is served by the round that runs.
	if stale && s.scale.round.TryLock() {
		if !s.inBackground(func() { s.weighContainers() }) {
			s.scale.round.Unlock()
		}
	}
	return u
}

func (s *Store) weighContainers() {
	defer s.scale.round.Unlock()
	for _, id := range s.ListRW() {
		kept, _ := s.scale.containers.Load(id)
		if w, _ := kept.(weight); time.Since(w.at) <= containerAge {
			continue
		}
		if s.quit.Err() != nil {
			return
		}
		_, _, _ = s.UsageRW(id) // one that is being removed needs no weight
	}
}

// ownBytes is what a directory, or a small file, takes.
const ownBytes = 4096

// weigh weighs a finished layer that is only a few files; its metadata comes after.
func weigh(dir string, m *layer.Metadata) {
	u, err := usageOf(dir, lightInodes)
	if err == nil && u.inodes <= lightInodes {
		m.Bytes, m.Inodes, m.Measured = u.bytes+2*ownBytes, u.inodes+2, true
	}
}

// measureLater has a layer's directory weighed in the background.
func (s *Store) measureLater(tree string) {
	s.scale.mu.Lock()
	defer s.scale.mu.Unlock()
	if s.scale.waiting == nil {
		s.scale.waiting = map[string]bool{}
	}
	s.scale.waiting[tree] = true
	if !s.scale.busy {
		s.scale.busy = s.inBackground(s.measure)
	}
}

// measure weighs the directories that wait, one after the other.
func (s *Store) measure() {
	for s.quit.Err() == nil {
		s.scale.mu.Lock()
		trees := slices.Collect(maps.Keys(s.scale.waiting))
		clear(s.scale.waiting)
		if s.scale.busy = len(trees) > 0; !s.scale.busy {
			s.scale.mu.Unlock()
			return
		}
		s.scale.mu.Unlock()
		weighed := map[string]usage{}
		for _, tree := range trees {
			if u, err := usageOf(s.path("layers", tree), math.MaxUint64); err == nil && s.quit.Err() == nil {
				weighed[tree] = u
			}
		}
		if len(weighed) == 0 {
			continue
		}
		if err := s.noteWeights(weighed); err != nil && s.quit.Err() == nil {
			s.cfg.Report(fmt.Sprintf("note what layers weigh: %v", err))
		}
	}
}

// noteWeights writes the rows of layers that are still there.
func (s *Store) noteWeights(weighed map[string]usage) error {
	return s.db.Update(func(c *index.Change) error {
		for _, l := range c.Layers {
			u, ok := weighed[l.Tree]
			if !ok || l.Measured {
				continue
			}
			m := *l
			m.Bytes, m.Inodes, m.Measured = u.bytes+ownBytes, u.inodes+1, true
			if err := c.PutLayer(&m); err != nil {
				return err
			}
		}
		return nil
	})
}
