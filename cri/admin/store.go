package admin

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/imagestore"
)

// chosen gives the image that the query names, or all.
func (s *Server) chosen(r *http.Request) ([]imagestore.Image, error) {
	q := r.URL.Query()
	ref := q.Get("ref")
	switch {
	case !q.Has("ref"):
		return s.Store.List(), nil
	case ref == "":
		return nil, &fault.InvalidError{Field: "query.ref", Problem: "names no image"}
	}
	image, err := s.Store.Get(ref)
	return []imagestore.Image{image}, err
}

func (s *Server) getImages(w http.ResponseWriter, r *http.Request) error {
	chosen, err := s.chosen(r)
	if err != nil {
		return err
	}
	all := wire.Images{Images: []wire.Image{}}
	for _, i := range chosen {
		all.Images = append(all.Images, wire.Image{
			ID: i.ID, Tags: list(i.Tags), Digests: list(i.Digests), Size: i.Size, Unique: i.Unique(), Layers: list(i.Layers),
			Platform: strings.TrimSuffix(i.Config.OS+"/"+i.Config.Architecture+"/"+i.Config.Variant, "/"),
			Pinned:   i.Pinned, Created: i.Config.Created, Pulled: i.Pulled,
		})
	}
	return s.reply(w, all)
}

// list makes JSON say "[]" and not "null".
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (s *Server) getLayers(w http.ResponseWriter, r *http.Request) error {
	all := wire.Layers{Layers: []wire.Layer{}}
	id := ""
	if r.URL.Query().Has("ref") {
		chosen, err := s.chosen(r)
		if err != nil {
			return err
		}
		id = chosen[0].ID
	}
	for _, l := range s.Store.Layers() {
		if id == "" || slices.Contains(l.Images, id) {
			all.Layers = append(all.Layers, layer(l))
		}
	}
	return s.reply(w, all)
}

func layer(l imagestore.Layer) wire.Layer {
	out := wire.Layer{
		ID: l.ID.String(), Parent: l.Parent.String(), Diff: l.Diff.String(), Blob: l.Blob.String(), MediaType: l.MediaType,
		Format: l.Format, Tree: l.Tree, BlobSize: l.BlobSize, TarSize: l.TarSize, Size: l.Bytes, Inodes: l.Inodes,
		Images: list(l.Images), Made: l.Made,
	}
	if h := l.History; h != nil {
		out.Step = &wire.Step{Created: h.Created, CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment}
	}
	return out
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) error {
	if !r.URL.Query().Has("ref") {
		return &fault.InvalidError{Field: "query.ref", Problem: "is missing"}
	}
	chosen, err := s.chosen(r)
	if err != nil {
		return err
	}
	image := chosen[0]
	sizes := map[string]uint64{}
	for _, l := range s.Store.Layers() {
		if slices.Contains(l.Images, image.ID) {
			sizes[l.ID.String()] = l.Bytes
		}
	}
	h := wire.History{ID: image.ID, Steps: []wire.Step{}}
	layers := image.Layers
	for _, step := range image.Config.History {
		made := wire.Step{Created: step.Created, CreatedBy: step.CreatedBy, Author: step.Author, Comment: step.Comment}
		if !step.EmptyLayer && len(layers) > 0 {
			made.Layer, layers = layers[0], layers[1:]
			made.Size = sizes[made.Layer]
		}
		h.Steps = append(h.Steps, made)
	}
	for _, id := range layers { // an image need not tell its history, or all of it
		h.Steps = append(h.Steps, wire.Step{Layer: id, Size: sizes[id]})
	}
	return s.reply(w, h)
}

func (s *Server) getStore(w http.ResponseWriter, _ *http.Request) error {
	usage, err := s.Store.Usage()
	if err != nil {
		return err
	}
	orphans, err := s.Store.Orphans()
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(usage.Mountpoint, &fs); err != nil {
		return err
	}
	damaged := []wire.Damage{}
	for _, d := range s.Store.Damaged() {
		damaged = append(damaged, wire.Damage{
			Layer: d.Layer.Chain.String(), Format: d.Layer.Format, Images: list(d.Images), Problem: d.Problem, Found: d.Found,
		})
	}
	format := s.Store.Format()
	return s.reply(w, wire.Store{
		Root: usage.Mountpoint, Format: format.Name, FormatReason: format.Reason,
		Images: len(s.Store.List()), Layers: len(s.Store.Layers()), Containers: len(s.Store.ListRW()),
		Bytes: usage.Bytes, Inodes: usage.Inodes, TrashPending: s.Store.TrashPending(),
		Free: fs.Bavail * uint64(fs.Bsize), Total: fs.Blocks * uint64(fs.Bsize), Orphans: list(orphans), Damaged: damaged,
	})
}
