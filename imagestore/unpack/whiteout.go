package unpack

import (
	"archive/tar"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// opaqueXattr is what overlay wants to see on a directory that hides what is below
// it (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
const opaqueXattr = "trusted.overlay.opaque"

// whiteout hides a lower layer's file, or all that a lower layer has in this
// directory. What this layer itself holds under the name stays visible.
func (u *unpacker) whiteout(at place, _ *tar.Header) error {
	hides, name, err := entry.Hides(at.base)
	switch {
	case err != nil:
		return err
	case hides == entry.Content:
		return unix.Fsetxattr(at.dir, opaqueXattr, []byte("y"), 0)
	case hides == entry.Ignored:
		return nil
	}
	err = unix.Mknodat(at.dir, name, unix.S_IFCHR, 0)
	switch err {
	case nil:
		u.result.Inodes++
		return nil
	case unix.EEXIST:
		return opaqueIfDir(at.dir, name)
	}
	return err
}

// opaqueIfDir makes a directory of this layer opaque; a file hides what is below
// it anyway.
func opaqueIfDir(parent int, name string) error {
	fd, err := openBeneath(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0)
}

// isWhiteout tells whether name is a whiteout in overlay's form.
func isWhiteout(parent int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// IsOpaque tells whether a directory of a layer hides what lies below it.
func IsOpaque(dir string) bool {
	var value [2]byte
	n, err := unix.Lgetxattr(dir, opaqueXattr, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// isOpaque tells whether an open directory hides what lies below it.
func isOpaque(fd int) bool {
	var value [2]byte
	n, err := unix.Fgetxattr(fd, opaqueXattr, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}
