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
	Shared  uint64        // of Size, what other images have as well
	Config  ocispec.Image // what the image's maker set
	Layers  []string      // chain ids, lowest first
	Format  string        // of the layers
	Pinned  bool
	Pulled  time.Time
	// Damaged is what is wrong with one of the layers; the next Pull fetches that
	// layer again.
	Damaged string
	// Annotations are the manifest's; nil when they are longer than 4 KiB.
	Annotations map[string]string
}

// Unique is what the removal of the image alone would free.
func (i *Image) Unique() uint64 { return i.Size - i.Shared }

// view is the images of one snapshot, as callers see them.
type view struct {
	of     *index.Snapshot
	pins   *sources // that Pinned is by
	images []Image  // by id
	byID   map[digest.Digest]int
}

// now gives the view of the newest snapshot; only the first reader after a change
// pays for making it.
func (s *Store) now() *view {
	of := s.db.Snapshot()
	pins := s.sources.Load()
	if v := s.view.Load(); v != nil && v.of == of && v.pins == pins {
		return v
	}
	v := &view{of: of, pins: pins, byID: map[digest.Digest]int{}}
	names := map[digest.Digest][]string{}
	for name, id := range of.Names {
		names[id] = append(names[id], name)
	}
	users := usersOf(of)
	for id, row := range of.Images {
		// Of a format that cannot be mounted here no container can be made: such an
		// image must be pulled again.
		if !row.Removed && s.formats.drivers[row.Format] != nil {
			v.images = append(v.images, s.image(of, row, names[id], users))
		}
	}
	slices.SortFunc(v.images, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	for i := range v.images {
		v.byID[digest.Digest(v.images[i].ID)] = i
	}
	s.view.Store(v)
	return v
}

// usersOf counts the images that have each directory of layers and each stack.
func usersOf(of *index.Snapshot) map[string]int {
	users := map[string]int{}
	for _, row := range of.Images {
		keys := row.Keys()
		users[stackUser(keys)]++
		for _, key := range keys {
			if l := of.Layers[key]; l != nil {
				users[l.Tree]++
			}
		}
	}
	return users
}

// stackUser is the name of a stack where directories of layers have names, too.
func stackUser(keys []layer.Key) string { return "stack " + stackName(keys) }

func (s *Store) image(of *index.Snapshot, row *index.Image, names []string, users map[string]int) Image {
	image := Image{
		ID: row.ID.String(), Config: row.Config, Pulled: row.Pulled, Format: row.Format, Annotations: row.Annotations,
		Size: uint64(row.ConfigSize) + row.StackBytes,
	}
	if users[stackUser(row.Keys())] > 1 {
		image.Shared += row.StackBytes
	}
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
			if users[l.Tree] > 1 {
				image.Shared += l.Bytes
			}
		}
	}
	image.Pinned = s.pinned(image)
	return image
}

// pinned tells whether the configuration pins an image by one of its names or ids.
func (s *Store) pinned(image Image) bool {
	for _, pattern := range s.sources.Load().pinned {
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
