package imagestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
)

// In a format that joins, stacks/NAME is what the driver made of all layers of an
// image: it appears by rename, whole and on the disk, before the image's row, and
// goes when no image has that topmost layer. It is made of the layers alone, so
// one that is lost or damaged is made again by the mount that misses it.

// stackName is the directory in stacks/ for layers, lowest first.
func stackName(keys []layer.Key) string {
	if len(keys) == 0 {
		return "none"
	}
	top := keys[len(keys)-1]
	return top.Format + "-" + top.Chain.Encoded()
}

// join makes the image's stack unless it is there, and gives its bytes on disk.
func (p *pull) join(ctx context.Context) (uint64, error) {
	if !p.driver.Joins() {
		return 0, nil
	}
	s := p.store
	dirs, err := s.layerDirs(s.db.Snapshot(), p.keys)
	if err != nil {
		return 0, err
	}
	return share(ctx, func() (uint64, bool, error) {
		return s.joins.Do(ctx, stackName(p.keys), func(ctx context.Context) (uint64, error) {
			if bytes := bytesIn(s.path("stacks", stackName(p.keys))); bytes > 0 {
				return bytes, nil
			}
			return s.makeStack(ctx, p.driver, p.keys, dirs)
		})
	})
}

// layerDirs gives the directories of layers, topmost first.
func (s *Store) layerDirs(of *index.Snapshot, keys []layer.Key) ([]string, error) {
	dirs := make([]string, 0, len(keys))
	for _, key := range slices.Backward(keys) {
		l := of.Layers[key]
		if l == nil {
			return nil, fmt.Errorf("layer %s: %w", key, ErrNotFound)
		}
		dirs = append(dirs, s.path("layers", l.Tree))
	}
	return dirs, nil
}

// makeStack joins layers (their directories topmost first) and puts the result in
// its place, where it takes that of a damaged one.
func (s *Store) makeStack(ctx context.Context, driver layer.Driver, keys []layer.Key, dirs []string) (uint64, error) {
	made, err := os.MkdirTemp(s.path("tmp"), "stack-")
	if err != nil {
		return 0, err
	}
	s.at("join layers")
	if err := driver.Join(ctx, made, dirs); err != nil {
		s.trash.Put(made)
		return 0, err
	}
	bytes := bytesIn(made)
	name := stackName(keys)
	s.mu.Lock()
	defer s.mu.Unlock()
	// A removal that came meanwhile has swept already.
	if !s.stacksWantedLocked()[name] {
		s.trash.Put(made)
		return 0, fmt.Errorf("stack %s: its image: %w", name, ErrNotFound)
	}
	if now, err := s.layerDirs(s.db.Snapshot(), keys); err != nil || !slices.Equal(now, dirs) {
		s.trash.Put(made)
		return 0, fmt.Errorf("stack %s: a layer of it was replaced: %w", name, errors.Join(layer.ErrNotJoined, err))
	}
	driver.Drop(s.path("stacks", name))
	s.trash.Put(s.path("stacks", name))
	s.at("rename stack")
	if err := os.Rename(made, s.path("stacks", name)); err != nil {
		s.trash.Put(made)
		return 0, err
	}
	s.at("sync stacks")
	return bytes, syncDir(s.path("stacks"))
}

// bytesIn is what a directory takes; 0 when it is not there, or empty.
func bytesIn(dir string) uint64 {
	u, err := usageOf(dir, math.MaxUint64)
	if err != nil || u.inodes == 0 {
		return 0
	}
	return u.bytes + ownBytes
}

// stacksWantedLocked gives the names of the stacks that an image or a pull needs.
func (s *Store) stacksWantedLocked() map[string]bool {
	wanted := map[string]bool{stackName(nil): true} // of images without layers: small, and there is one
	for _, row := range s.db.Snapshot().Images {
		wanted[stackName(row.Keys())] = true
	}
	for key := range s.holds {
		wanted[stackName([]layer.Key{key})] = true
	}
	return wanted
}

// sweepStacksLocked removes the stacks that nothing needs any more. What is
// mounted of them stays readable.
func (s *Store) sweepStacksLocked() {
	entries, err := os.ReadDir(s.path("stacks"))
	if err != nil {
		s.cfg.Report(fmt.Sprintf("list stacks: %v", err))
		return
	}
	if len(entries) == 0 {
		return
	}
	wanted := s.stacksWantedLocked()
	for _, e := range entries {
		if wanted[e.Name()] {
			continue
		}
		s.at("discard stack")
		for _, d := range s.formats.drivers {
			d.Drop(s.path("stacks", e.Name()))
		}
		s.trash.Put(s.path("stacks", e.Name()))
	}
}

// mount mounts an image's layers with what the caller puts on top of them. Images
// that only wait for their last container count too.
func (s *Store) mount(image digest.Digest, stack layer.Stack) (*os.File, error) {
	for {
		snapshot := s.db.Snapshot()
		row := snapshot.Images[image]
		if row == nil {
			return nil, fmt.Errorf("image %s: %w", image, ErrNotFound)
		}
		var err error
		if stack.Layers, err = s.layerDirs(snapshot, row.Keys()); err != nil {
			return nil, fmt.Errorf("image %s: %w", image, err)
		}
		f, err := s.mountRow(row, stack)
		now, lost := s.layerDirs(s.db.Snapshot(), row.Keys())
		if lost != nil || slices.Equal(now, stack.Layers) {
			return f, err
		}
		// A damaged layer was replaced meanwhile.
		if f != nil {
			f.Close()
		}
	}
}

func (s *Store) mountRow(row *index.Image, stack layer.Stack) (*os.File, error) {
	driver := s.formats.drivers[row.Format]
	if driver == nil {
		return nil, fmt.Errorf("image %s: its layer format %s cannot be mounted here", row.ID, row.Format)
	}
	keys := row.Keys()
	if driver.Joins() {
		stack.Joined = s.path("stacks", stackName(keys))
	}
	f, err := driver.Mount(stack)
	if errors.Is(err, layer.ErrNotJoined) {
		if err = s.rejoin(driver, keys, stack, err); err == nil {
			f, err = driver.Mount(stack)
		}
	}
	if stack.Joined != "" && !s.current(row, stack.Layers) {
		// The image was removed or a layer of it replaced meanwhile, and what the driver
		// kept with it: not what this mount made it keep.
		driver.Drop(stack.Joined)
	}
	return f, err
}

// current tells whether the image is still there, with its layers in these
// directories.
func (s *Store) current(row *index.Image, dirs []string) bool {
	of := s.db.Snapshot()
	now, err := s.layerDirs(of, row.Keys())
	return err == nil && of.Images[row.ID] != nil && slices.Equal(now, dirs)
}

// rejoin makes a lost or damaged stack again.
func (s *Store) rejoin(driver layer.Driver, keys []layer.Key, stack layer.Stack, why error) error {
	_, _, err := s.joins.Do(s.quit, filepath.Base(stack.Joined), func(ctx context.Context) (uint64, error) {
		s.cfg.Report(fmt.Sprintf("stack %s is made again: %v", filepath.Base(stack.Joined), why))
		return s.makeStack(ctx, driver, keys, stack.Layers)
	})
	return err
}
