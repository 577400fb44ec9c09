package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// root takes the attributes of the layer's root.
func (u *unpacker) root(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root of a layer must be a directory")
	}
	if err := setOpen(u.dirs.root, h); err != nil {
		return err
	}
	u.result.Root = &Attributes{Mode: entry.Mode(h), UID: h.Uid, GID: h.Gid}
	u.dirTimes[""] = timesOf(h)
	return nil
}

// directory makes a directory or gives an existing one new attributes.
func (u *unpacker) directory(at place, h *tar.Header) error {
	err := unix.Mkdirat(at.dir, at.base, 0o700)
	if err == nil {
		u.count(4096)
	}
	if err == unix.EEXIST {
		err = u.directoryOver(at)
	}
	if err != nil {
		return err
	}
	real := at.real()
	fd, err := u.dirs.get(real)
	if err != nil {
		return err
	}
	delete(u.implicit, real)
	if _, kept := u.dirTimes[real]; !kept {
		if err := u.keep(real); err != nil {
			return err
		}
	}
	u.dirTimes[real] = timesOf(h)
	return setOpen(fd, h)
}

// directoryOver makes room for a directory where the layer already has something:
// a directory stays, a whiteout becomes an opaque directory, the rest goes.
func (u *unpacker) directoryOver(at place) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at.dir, at.base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil
	case isWhiteout(at.dir, at.base):
		return u.dirs.opaqueDir(at.dir, at.base)
	}
	if err := u.remove(at); err != nil {
		return err
	}
	return unix.Mkdirat(at.dir, at.base, 0o700)
}

// file makes a regular file.
func (u *unpacker) file(at place, h *tar.Header) error {
	if h.Size < 0 || h.Size > u.limits.Bytes-u.written {
		return u.limits.TooManyBytes()
	}
	u.written += h.Size
	fd := -1
	err := u.create(at, func() (err error) {
		fd, err = unix.Openat(at.dir, at.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	n, crc, err := u.fill(fd, entry.Sparse(h))
	if err == nil && n != h.Size {
		err = fmt.Errorf("%d bytes of %d: %w", n, h.Size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = setOpen(fd, h)
	}
	if err == nil {
		err = setTimes(fd, "", timesOf(h))
	}
	if err == nil {
		err = u.sum(fd, crc)
	}
	if e := unix.Close(fd); err == nil {
		err = e
	}
	u.count(n)
	return err
}

// fill copies the entry's bytes to fd and gives their number and checksum. Blocks of
// zeros of a sparse file are skipped.
func (u *unpacker) fill(fd int, sparse bool) (n int64, crc uint32, err error) {
	hole := false
	for {
		m, rerr := u.content.Read(u.copy)
		if hole = sparse && m > 0 && isZero(u.copy[:m]); hole {
			_, err = unix.Seek(fd, int64(m), io.SeekCurrent)
		} else if m > 0 {
			err = writeAll(fd, u.copy[:m])
		}
		n += int64(m)
		crc = crc32.Update(crc, castagnoli, u.copy[:m])
		switch {
		case err != nil:
			return n, crc, fmt.Errorf("write: %w", err)
		case rerr == io.EOF && sparse:
			return n, crc, unix.Ftruncate(fd, n)
		case rerr == io.EOF:
			return n, crc, nil
		case rerr != nil:
			return n, crc, rerr
		}
	}
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// symlink makes a symbolic link. Its target is text: it is resolved by whoever
// follows it, in the container.
func (u *unpacker) symlink(at place, h *tar.Header) error {
	err := u.create(at, func() error { return unix.Symlinkat(h.Linkname, at.dir, at.base) })
	if err != nil {
		return err
	}
	u.count(0)
	if err := setLinkLike(at, h); err != nil {
		return err
	}
	return setTimes(at.dir, at.base, timesOf(h))
}

// device makes a device node or a fifo.
func (u *unpacker) device(at place, h *tar.Header) error {
	kind, number, err := entry.Device(h)
	if err != nil {
		return err
	}
	err = u.create(at, func() error { return unix.Mknodat(at.dir, at.base, kind|entry.Mode(h), int(number)) })
	if err != nil {
		return err
	}
	u.count(0)
	if err := setLinkLike(at, h); err != nil {
		return err
	}
	// The node was made by this call and is no link, so following is harmless here.
	if err := unix.Fchmodat(at.dir, at.base, entry.Mode(h), 0); err != nil {
		return fmt.Errorf("chmod to %#o: %w", entry.Mode(h), err)
	}
	return setTimes(at.dir, at.base, timesOf(h))
}

// create makes one thing; what the layer already has under that name gives way,
// because the last entry of a name wins.
func (u *unpacker) create(at place, do func() error) error {
	err := do()
	if err != unix.EEXIST {
		return err
	}
	if err := u.remove(at); err != nil {
		return err
	}
	return do()
}

// remove takes away what the layer has at a place, a directory with all below it.
func (u *unpacker) remove(at place) error {
	err := unix.Unlinkat(at.dir, at.base, 0)
	if err != unix.EISDIR {
		return err
	}
	real := at.real()
	u.dirs.forget(real)
	for p := range u.dirTimes {
		if entry.Below(p, real) {
			delete(u.dirTimes, p)
		}
	}
	for p := range u.implicit {
		if entry.Below(p, real) {
			delete(u.implicit, p)
		}
	}
	// The descriptor names the parent whatever its path is, and RemoveAll follows no
	// links below it.
	parent := "/proc/self/fd/" + strconv.Itoa(at.dir)
	return os.RemoveAll(filepath.Join(parent, at.base))
}
