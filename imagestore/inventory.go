package imagestore

import (
	"cmp"
	"os"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/progress"
)

// Begin announces a pull whose progress the caller wants to follow; it is given
// to Pull, which must be called.
func (s *Store) Begin(ref string, platform *ocispec.Platform) *progress.Pull {
	name := ""
	if platform != nil {
		name = strings.TrimSuffix(platform.OS+"/"+platform.Architecture+"/"+platform.Variant, "/")
	}
	return s.pulls.Begin(ref, name)
}

// Pulls is the progress of all pulls.
func (s *Store) Pulls() *progress.Pulls { return s.pulls }

// blobs lists the layers' blobs for the progress.
func (p *pull) blobs() []progress.Blob {
	blobs := make([]progress.Blob, len(p.manifest.Layers))
	for i, d := range p.manifest.Layers {
		blobs[i] = progress.Blob{Digest: d.Digest.String(), Size: d.Size}
	}
	return blobs
}

// Layer is a layer of the store and who has it. It is a snapshot that the caller
// shares with others: read it, do not change it.
type Layer struct {
	*layer.Metadata
	Images []string // ids, sorted; of those that were removed but are in use as well
}

// Layers lists the layers, parents before their children.
func (s *Store) Layers() []Layer {
	snapshot := s.db.Snapshot()
	users := map[layer.Key][]string{}
	for id, row := range snapshot.Images {
		for _, key := range row.Keys() {
			users[key] = append(users[key], id.String())
		}
	}
	depth := map[layer.Key]int{}
	all := make([]Layer, 0, len(snapshot.Layers))
	for key, m := range snapshot.Layers {
		slices.Sort(users[key])
		all = append(all, Layer{m, users[key]})
		for at := m; at != nil && depth[key] < len(snapshot.Layers); at = snapshot.Layers[layer.Key{Chain: at.Parent, Format: at.Format}] {
			depth[key]++
		}
	}
	slices.SortFunc(all, func(a, b Layer) int {
		return cmp.Or(cmp.Compare(depth[a.Key()], depth[b.Key()]), strings.Compare(a.Key().String(), b.Key().String()))
	})
	return all
}

// LayersOf lists an image's layers, lowest first, each with all images that have
// its content, also under another parent.
func (s *Store) LayersOf(image *Image) []Layer {
	users, found := map[string][]string{}, map[string]Layer{}
	for _, l := range s.Layers() {
		users[l.Tree] = append(users[l.Tree], l.Images...)
		if l.Format == image.Format {
			found[l.ID.String()] = l
		}
	}
	list := make([]Layer, 0, len(image.Layers))
	for _, id := range image.Layers {
		if l, ok := found[id]; ok {
			slices.Sort(users[l.Tree])
			list = append(list, Layer{l.Metadata, slices.Compact(users[l.Tree])})
		}
	}
	return list
}

// Orphans names what lies in the store's directories and belongs to no row and no
// lease: "layers/TREE", "stacks/NAME" and "rw/ID". There should never be any; Open
// removes what a crash left. What is only in use for a moment (tmp/, spare/,
// trash/) has no rows and is not looked at.
func (s *Store) Orphans() ([]string, error) {
	layers, err := s.orphanLayers()
	if err != nil {
		return nil, err
	}
	rw, err := s.orphanRW()
	return append(layers, rw...), err
}

func (s *Store) orphanLayers() (orphans []string, err error) {
	// Under the lock a directory and its row come and go together.
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[string]bool{}
	for name := range s.stacksWantedLocked() {
		known["stacks/"+name] = true
	}
	for tree := range s.db.Snapshot().Retired {
		known["layers/"+tree] = true
	}
	for key, l := range s.db.Snapshot().Layers {
		known["layers/"+l.Tree] = true
		// That of a pull that failed is kept as long as its layers.
		known["stacks/"+stackName([]layer.Key{key})] = true
	}
	for _, dir := range []string{"layers", "stacks"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			return orphans, err
		}
		for _, e := range entries {
			if name := dir + "/" + e.Name(); !known[name] {
				orphans = append(orphans, name)
			}
		}
	}
	return orphans, nil
}

// orphanRW looks without a lock: a lease is there before its directory, and longer.
// So what has no lease and is still there has no owner.
func (s *Store) orphanRW() (orphans []string, err error) {
	entries, err := os.ReadDir(s.path("rw"))
	for _, e := range entries {
		s.leaseMu.Lock()
		l := s.leases[strings.TrimPrefix(e.Name(), newPrefix)]
		s.leaseMu.Unlock()
		if l != nil {
			continue
		}
		if _, err := os.Lstat(s.path("rw", e.Name())); err == nil {
			orphans = append(orphans, "rw/"+e.Name())
		}
	}
	return orphans, err
}

// TrashPending is how many removed things wait for their space to be freed.
func (s *Store) TrashPending() int { return s.trash.Pending() }
