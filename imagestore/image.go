package imagestore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/reference"
)

// Image is what the store says of one image. It is a snapshot that the caller
// shares with others: read it, do not change it.
type Image struct {
	ID      string        // digest of the config, "sha256:…"
	Tags    []string      // "docker.io/library/busybox:1.37", sorted
	Digests []string      // "docker.io/library/busybox@sha256:…", sorted
	Size    uint64        // bytes of the layers on disk, and of the config
	Config  ocispec.Image // what the image's maker set
	Layers  []string      // chain ids, lowest first
	Pinned  bool
	Pulled  time.Time
	// Damaged is what is wrong with one of the layers; the next Pull fetches that
	// layer again.
	Damaged string
}

// Usage is what the image store takes of its file system.
type Usage struct {
	Bytes      uint64
	Inodes     uint64
	Mountpoint string // a directory on that file system
}

// view is the images of one snapshot, as callers see them.
type view struct {
	of     *index.Snapshot
	images []Image // by id
	byID   map[digest.Digest]int
}

// now gives the view of the newest snapshot; only the first reader after a change
// pays for making it.
func (s *Store) now() *view {
	of := s.db.Snapshot()
	if v := s.view.Load(); v != nil && v.of == of {
		return v
	}
	v := &view{of: of, byID: map[digest.Digest]int{}}
	names := map[digest.Digest][]string{}
	for name, id := range of.Names {
		names[id] = append(names[id], name)
	}
	for id, row := range of.Images {
		// Of a format that cannot be mounted here no container can be made: such an
		// image must be pulled again.
		if !row.Removed && s.formats.drivers[row.Format] != nil {
			v.images = append(v.images, s.image(of, row, names[id]))
		}
	}
	slices.SortFunc(v.images, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	for i := range v.images {
		v.byID[digest.Digest(v.images[i].ID)] = i
	}
	s.view.Store(v)
	return v
}

func (s *Store) image(of *index.Snapshot, row *index.Image, names []string) Image {
	image := Image{ID: row.ID.String(), Config: row.Config, Pulled: row.Pulled, Size: uint64(row.ConfigSize) + row.StackBytes}
	slices.Sort(names)
	for _, n := range names {
		if reference.IsDigested(n) {
			image.Digests = append(image.Digests, n)
		} else {
			image.Tags = append(image.Tags, n)
		}
	}
	for _, key := range row.Keys() {
		image.Layers = append(image.Layers, key.Chain.String())
		if l := of.Layers[key]; l != nil {
			image.Size += l.Bytes
			if l.Damaged != nil && image.Damaged == "" {
				image.Damaged = fmt.Sprintf("layer %s: %s", l.ID, l.Damaged.Problem)
			}
		}
	}
	image.Pinned = s.pinned(image)
	return image
}

// pinned tells whether the configuration pins an image by one of its names or ids.
func (s *Store) pinned(image Image) bool {
	for _, pattern := range s.cfg.Pinned {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			if slices.ContainsFunc(image.Tags, func(t string) bool { return strings.HasPrefix(t, prefix) }) {
				return true
			}
			continue
		}
		if pattern == image.ID {
			return true
		}
		if r, err := reference.Parse(pattern); err == nil && (slices.Contains(image.Tags, r.String()) || slices.Contains(image.Digests, r.String())) {
			return true
		}
	}
	return false
}

// List gives all images, by id.
func (s *Store) List() []Image { return slices.Clone(s.now().images) }

// Get finds an image by name, name@digest, id or unique prefix of an id.
func (s *Store) Get(ref string) (Image, error) {
	v := s.now()
	if i, ok := v.find(ref); ok {
		return v.images[i], nil
	}
	return Image{}, fmt.Errorf("image %q: %w", ref, ErrNotFound)
}

func (v *view) find(ref string) (int, bool) {
	id := digest.Digest(ref)
	if !strings.Contains(ref, ":") && len(ref) == 64 {
		id = digest.NewDigestFromEncoded(digest.SHA256, ref)
	}
	if i, ok := v.byID[id]; ok {
		return i, true
	}
	if r, err := reference.Parse(ref); err == nil {
		i, ok := v.byID[v.of.Names[r.String()]]
		if ok {
			return i, true
		}
	}
	return v.prefixed(strings.TrimPrefix(ref, "sha256:"))
}

// prefixed finds the one image whose id begins with hex digits; fewer than four
// are no id.
func (v *view) prefixed(hex string) (int, bool) {
	if len(hex) < 4 || strings.Trim(hex, "0123456789abcdef") != "" {
		return 0, false
	}
	from, _ := slices.BinarySearchFunc(v.images, "sha256:"+hex, func(i Image, id string) int { return strings.Compare(i.ID, id) })
	match := func(i int) bool { return i < len(v.images) && strings.HasPrefix(v.images[i].ID, "sha256:"+hex) }
	return from, match(from) && !match(from+1)
}

// Usage is what images take of the disk, from what was counted when they were
// unpacked. Layers that images share count once.
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
		if stack := "stack " + stackName(keys); !row.Removed && !counted[stack] {
			counted[stack] = true
			u.Bytes += row.StackBytes
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
