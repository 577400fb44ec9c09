package imagestore

import (
	"errors"
	"os"
	"path/filepath"
)

// baseName is the directory that lies below the lowest layer of every
// container's root (never of an image that is mounted by itself).
const baseName = "base"

// What Kubernetes mounts something over in every container. Few images have
// all of it, and to make a missing one costs the start of a container a copy
// of /etc to its layer and a file there, 0.15 ms each. Whatever an image has
// at these paths hides what is here.
var (
	baseDirs  = []string{"dev", "etc", "proc", "sys"}
	baseFiles = []string{"etc/hostname", "etc/hosts", "etc/resolv.conf"}
)

// makeBase makes the directory, or completes it. Its modes do not depend on
// the umask, because containers see them.
func makeBase(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, d := range append([]string{"."}, baseDirs...) {
		path := filepath.Join(root, d)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	for _, name := range baseFiles {
		f, err := os.OpenFile(filepath.Join(root, name), os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
