package imagestore

import (
	"fmt"
	"os"

	"github.com/varve-cri/varve/imagestore/layer"
)

// Owners are whom a mounted root shows as the owners of its files, which on the
// disk have those of the image: a container's with a user namespace.
type Owners struct {
	// Namespace is a user namespace with the mapping. The mount keeps it.
	Namespace *os.File
	// UID and GID are what root is to the host.
	UID, GID uint32
}

func (s *Store) owners(as *Owners) *layer.Owners {
	if as == nil {
		return nil
	}
	return &layer.Owners{Namespace: as.Namespace, UID: as.UID, GID: as.GID, Dir: s.cfg.Root}
}

// TryOwners says why this kernel cannot mount roots with other owners where the
// store is; nil when it can. It mounts one of each format.
func (s *Store) TryOwners(as *Owners) error {
	for name, driver := range s.formats.drivers {
		if err := driver.TryOwners(s.path("tmp"), s.owners(as)); err != nil {
			return fmt.Errorf("layer format %s: %w", name, err)
		}
	}
	return nil
}
