package imagestore

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/erofs"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
)

// The layer formats, by the names that rows and the configuration use.
const (
	FormatOverlay = layer.FormatOverlay // a directory for each layer
	FormatErofs   = erofs.Name          // an EROFS file for each layer
)

// Format is the layer format of new images.
type Format struct {
	Name   string `json:"format"`
	Reason string `json:"reason"` // why this one, for people
}

// formats are the layer formats that this kernel and file system have, all at the
// same time: each image is mounted in the one that it was pulled in.
type formats struct {
	drivers map[string]layer.Driver
	chosen  Format
	why     error // of EROFS not being there
}

// openFormats opens the drivers and chooses the format of new images.
func openFormats(want, scratch string) (formats, error) {
	f := formats{drivers: map[string]layer.Driver{}}
	directories, err := overlay.New(scratch)
	if err != nil {
		return f, err
	}
	f.drivers[FormatOverlay] = directories
	// Also where it is not chosen: images may be there that were pulled in it.
	files, why := erofs.New(scratch, directories)
	if f.why = why; why == nil {
		f.drivers[FormatErofs] = files
	}
	switch {
	case fault.KindOf(why) == NoSpace:
		// That says nothing of the kernel, and the store knows how to make room.
		return f, errors.Join(why, f.close())
	case want == "" && why == nil:
		f.chosen = Format{FormatErofs, "auto: tried at start, EROFS is mounted from plain files, and overlay over it"}
	case want == "":
		f.chosen = Format{FormatOverlay, "auto: " + why.Error()}
	case want == FormatErofs && why != nil:
		return f, errors.Join(why, f.close())
	case want == FormatErofs, want == FormatOverlay:
		f.chosen = Format{want, "configured"}
	default:
		return f, errors.Join(fmt.Errorf("layer format %q is not known", want), f.close())
	}
	return f, nil
}

// sync syncs finished layers, those of one format together.
func (f formats) sync(all []*finished) error {
	dirs := map[string][]string{}
	for _, l := range all {
		dirs[l.meta.Format] = append(dirs[l.meta.Format], l.dir)
	}
	for format, list := range dirs {
		if err := f.drivers[format].Sync(list); err != nil {
			return err
		}
	}
	return nil
}

func (f formats) close() error {
	var errs error
	for _, d := range f.drivers {
		errs = errors.Join(errs, d.Close())
	}
	return errs
}

// Format tells the layer format of new images, and why it is that one.
func (s *Store) Format() Format { return s.formats.chosen }

// tellUnusable reports the images that are as if they were not there, because their
// format cannot be mounted here any more.
func (s *Store) tellUnusable() {
	for id, row := range s.db.Snapshot().Images {
		if s.formats.drivers[row.Format] == nil && !row.Removed {
			s.cfg.Report(fmt.Sprintf("image %s cannot be used until it is pulled again: this node cannot mount its layer format %s", id, row.Format))
		}
	}
}

// CheckFormat says whether images of a layer format can be mounted on this node.
func (s *Store) CheckFormat(name string) error {
	switch {
	case s.formats.drivers[name] != nil:
		return nil
	case name == FormatErofs:
		return fmt.Errorf("layer format %s: this node cannot mount it: %w", name, s.formats.why)
	}
	return fmt.Errorf("layer format %q is not known", name)
}

// formatOf gives the driver for a pull of an image: one that is here keeps its
// format, because containers may stand on it, unless it cannot be mounted here.
func (s *Store) formatOf(image digest.Digest, want string) layer.Driver {
	if row := s.db.Snapshot().Images[image]; row != nil {
		if d := s.formats.drivers[row.Format]; d != nil {
			return d
		}
	}
	if d := s.formats.drivers[want]; d != nil {
		return d
	}
	return s.formats.drivers[s.formats.chosen.Name]
}
