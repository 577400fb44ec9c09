package unpack

import (
	"archive/tar"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// The names by which a layer's archive says what it hides (OCI image-spec,
// layer.md, "Whiteouts"), and what overlay wants to see for it
// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // aufs' own bookkeeping, which old images carry
	opaqueXattr    = "trusted.overlay.opaque"
)

// whiteout hides a lower layer's file, or all that a lower layer has in this
// directory. What this layer itself holds under the name stays visible.
func (u *unpacker) whiteout(at place, _ *tar.Header) error {
	if at.base == opaqueName {
		return unix.Fsetxattr(at.dir, opaqueXattr, []byte("y"), 0)
	}
	if strings.HasPrefix(at.base, aufsPrefix) {
		return nil
	}
	name := strings.TrimPrefix(at.base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return errors.New("whiteout of no name")
	}
	err := unix.Mknodat(at.dir, name, unix.S_IFCHR, 0)
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

// isOpaque tells whether an open directory hides what lies below it.
func isOpaque(fd int) bool {
	var value [2]byte
	n, err := unix.Fgetxattr(fd, opaqueXattr, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}
