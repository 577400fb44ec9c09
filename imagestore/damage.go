package imagestore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/reference"
)

// A layer that is not what was written is marked in its row. The next Pull of an
// image that has it fetches this one layer again, into a directory of its own: that
// the rows lead there from then on is one transaction, so new mounts see the whole
// old layer or the whole new one. The old directory is retired: it stays for the
// containers that have it mounted, and goes with the last of them.

// Damage is one damaged layer.
type Damage struct {
	Layer  layer.Key
	Images []string // the images that have it, by tags, else digests, else ids; sorted
	layer.Damaged
}

// Damaged lists the layers that are damaged and have not been fetched again yet.
func (s *Store) Damaged() []Damage {
	of := s.db.Snapshot()
	var all []Damage
	for key, l := range of.Layers {
		if l.Damaged != nil {
			all = append(all, Damage{Layer: key, Images: namesOf(of, key), Damaged: *l.Damaged})
		}
	}
	slices.SortFunc(all, func(a, b Damage) int { return strings.Compare(a.Layer.String(), b.Layer.String()) })
	return all
}

// namesOf gives names of the images that have a layer.
func namesOf(of *index.Snapshot, key layer.Key) (names []string) {
	for id, row := range of.Images {
		if !slices.Contains(row.Keys(), key) {
			continue
		}
		var tags, digests []string
		for name, image := range of.Names {
			switch {
			case image != id:
			case reference.IsDigested(name):
				digests = append(digests, name)
			default:
				tags = append(tags, name)
			}
		}
		switch {
		case len(tags) > 0:
			names = append(names, tags...)
		case len(digests) > 0:
			names = append(names, digests...)
		default:
			names = append(names, id.String())
		}
	}
	slices.Sort(names)
	return names
}

// setDamaged marks the rows of all layers in a directory, or takes the mark away
// when problem is nil.
func (s *Store) setDamaged(tree string, problem *layer.Damaged) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Update(func(c *index.Change) error {
		var errs error
		for _, l := range c.Layers {
			if l.Tree == tree {
				marked := *l
				marked.Damaged = problem
				errs = errors.Join(errs, c.PutLayer(&marked))
			}
		}
		return errs
	})
}

// baseTree is the name of a directory without what a replacement adds to it.
func baseTree(tree string) string {
	base, _, _ := strings.Cut(tree, "+")
	return base
}

// freshTree gives the directory for a layer's content: that of the same content
// where it is there and good, else one that nothing has.
func freshTree(of *index.Snapshot, base string) string {
	taken := map[string]bool{}
	for _, l := range of.Layers {
		if baseTree(l.Tree) == base {
			if l.Damaged == nil {
				return l.Tree
			}
			taken[l.Tree] = true
		}
	}
	tree := base
	for n := 2; ; n++ {
		if _, retired := of.Retired[tree]; !retired && !taken[tree] {
			return tree
		}
		tree = fmt.Sprintf("%s+%d", base, n)
	}
}

// replaceDamaged leads the rows of damaged layers with the new one's content to it,
// and retires their directories.
func (s *Store) replaceDamaged(c *index.Change, m *layer.Metadata) error {
	retired := map[string][]layer.Key{}
	var errs error
	for key, l := range c.Layers {
		if l.Damaged == nil || baseTree(l.Tree) != baseTree(m.Tree) {
			continue
		}
		retired[l.Tree] = append(retired[l.Tree], key)
		healed := *l
		healed.Tree, healed.Damaged = m.Tree, nil
		errs = errors.Join(errs, c.PutLayer(&healed))
	}
	for tree, keys := range retired {
		errs = errors.Join(errs, c.PutRetired(tree, s.containersOn(&c.Snapshot, keys)))
	}
	return errs
}

// containersOn lists the containers that may have one of the layers mounted.
func (s *Store) containersOn(of *index.Snapshot, keys []layer.Key) []string {
	images := imagesWith(of, func(k layer.Key) bool { return slices.Contains(keys, k) })
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	ids := []string{}
	for id, l := range s.leases {
		if slices.ContainsFunc(l.images, func(i digest.Digest) bool { return slices.Contains(images, i) }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// imagesWith lists the images of which a layer is meant.
func imagesWith(of *index.Snapshot, meant func(layer.Key) bool) (images []digest.Digest) {
	for id, row := range of.Images {
		if slices.ContainsFunc(row.Keys(), meant) {
			images = append(images, id)
		}
	}
	return images
}

// replacedLocked forgets what was made of layers that have been replaced.
func (s *Store) replacedLocked(all []*finished) {
	of := s.db.Snapshot()
	if len(of.Retired) == 0 {
		return
	}
	trees := map[string]bool{}
	for _, f := range all {
		trees[baseTree(f.meta.Tree)] = f.err == nil
	}
	for _, id := range imagesWith(of, func(k layer.Key) bool { l := of.Layers[k]; return l != nil && trees[baseTree(l.Tree)] }) {
		row := of.Images[id]
		stack := s.path("stacks", stackName(row.Keys()))
		if d := s.formats.drivers[row.Format]; d != nil && d.Joins() {
			// It may have been joined from what was damaged; the next mount misses it.
			d.Drop(stack)
			s.trash.Put(stack)
		}
		s.spares.drop(id)
		s.users.Delete(id)
	}
	// A container that took its lease since the list was made may have mounted by the
	// rows from before; by now it is known.
	if err := s.relistRetired(of, trees); err != nil {
		s.cfg.Report(fmt.Sprintf("note who has damaged layers mounted: %v", err))
	}
	s.retireLater()
}

// relistRetired adds to the lists of containers who came since.
func (s *Store) relistRetired(of *index.Snapshot, trees map[string]bool) error {
	lists := map[string][]string{}
	for tree, listed := range of.Retired {
		if !trees[baseTree(tree)] {
			continue
		}
		all := append([]string{}, listed...)
		for key, l := range of.Layers {
			if baseTree(l.Tree) == baseTree(tree) {
				all = append(all, s.containersOn(of, []layer.Key{key})...)
			}
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) > len(listed) {
			lists[tree] = all
		}
	}
	if len(lists) == 0 {
		return nil
	}
	return s.db.Update(func(c *index.Change) error {
		var errs error
		for tree, all := range lists {
			errs = errors.Join(errs, c.PutRetired(tree, all))
		}
		return errs
	})
}

// retireLater frees retired directories if there are any.
func (s *Store) retireLater() {
	if len(s.db.Snapshot().Retired) > 0 {
		s.inBackground(s.freeRetired)
	}
}

// freeRetired removes the retired directories that no container has mounted.
func (s *Store) freeRetired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.db.Snapshot()
	for tree, containers := range of.Retired {
		if s.retiredInUse(of, tree, containers) {
			continue
		}
		s.at("free retired")
		if err := s.shrink(func(c *index.Change) error { return c.DeleteRetired(tree) }); err != nil {
			s.cfg.Report(fmt.Sprintf("free the damaged layer %s: %v", tree, err))
			continue
		}
		s.trash.Put(s.path("layers", tree))
	}
}

// retiredInUse tells whether a container of the list is still there, or someone
// reads an image with that layer at the moment.
func (s *Store) retiredInUse(of *index.Snapshot, tree string, containers []string) bool {
	images := imagesWith(of, func(k layer.Key) bool { l := of.Layers[k]; return l != nil && baseTree(l.Tree) == baseTree(tree) })
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	leased := map[digest.Digest]int{}
	for id, l := range s.leases {
		if slices.Contains(containers, id) {
			return true
		}
		for _, image := range l.images {
			leased[image]++
		}
	}
	return slices.ContainsFunc(images, func(i digest.Digest) bool { return s.uses[i] > leased[i] })
}
