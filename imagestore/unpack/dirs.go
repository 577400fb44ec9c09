package unpack

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// cachedDirs is how many directories of one layer are kept open: archives are
// written depth first, so a few parents serve nearly all entries.
const cachedDirs = 48

// maxLinks is the kernel's own bound of symbolic links in one path.
const maxLinks = 40

// ErrDangling is for a parent that leads nowhere.
var ErrDangling = errors.New("a parent is a symbolic link to nothing in this layer")

// dirs opens directories below root by their real path ("" is the root itself).
type dirs struct {
	root  int
	open  map[string]*dir
	clock uint64
	// made is told of each directory that was missing and was made.
	made func(real string) error
}

type dir struct {
	fd   int
	used uint64
}

func newDirs(root int, made func(string) error) *dirs {
	return &dirs{root: root, open: map[string]*dir{}, made: made}
}

func (d *dirs) close() {
	for _, e := range d.open {
		_ = unix.Close(e.fd)
	}
	clear(d.open)
}

// put adds an open directory to the cache, which owns fd from then on.
func (d *dirs) put(real string, fd int) {
	if len(d.open) >= cachedDirs {
		d.evict()
	}
	d.clock++
	d.open[real] = &dir{fd, d.clock}
}

func (d *dirs) evict() {
	oldest, at := "", ^uint64(0)
	for p, e := range d.open {
		if e.used < at {
			oldest, at = p, e.used
		}
	}
	_ = unix.Close(d.open[oldest].fd)
	delete(d.open, oldest)
}

// get opens the directory at a real path; fails with ELOOP or ENOTDIR when a
// component is no directory.
func (d *dirs) get(real string) (int, error) {
	if real == "" {
		return d.root, nil
	}
	if e, ok := d.open[real]; ok {
		d.clock++
		e.used = d.clock
		return e.fd, nil
	}
	fd, err := openBeneath(d.root, real, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	d.put(real, fd)
	return fd, nil
}

// openBeneath opens p below root without following any symbolic link.
func openBeneath(root int, p string, flags uint64) (int, error) {
	how := &unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(root, p, how)
		// A rename anywhere on the system makes the kernel give up with EAGAIN.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// parent opens the directory that the archive calls p, following the layer's own
// symbolic links inside the layer and making what is missing, and gives its real
// path.
func (d *dirs) parent(p string) (fd int, real string, err error) {
	fd, err = d.get(p)
	if err == nil {
		return fd, p, nil
	}
	switch err {
	case unix.ENOENT:
		return d.make(p)
	case unix.ELOOP, unix.ENOTDIR:
		return d.throughLinks(p)
	}
	return -1, "", err
}

// make makes the directory p and its missing parents.
func (d *dirs) make(p string) (int, string, error) {
	up, base := entry.Split(p)
	fd, real, err := d.parent(up)
	if err != nil {
		return -1, "", err
	}
	real = path.Join(real, base)
	if err := unix.Mkdirat(fd, base, 0o755); err != nil && err != unix.EEXIST {
		return -1, "", err
	}
	made, err := d.get(real)
	if err != nil {
		return -1, "", err
	}
	if err := plain(made); err != nil {
		return -1, "", err
	}
	if err := d.made(real); err != nil {
		return -1, "", err
	}
	return made, real, nil
}

// plain gives a directory that nobody described its owner and mode, because the
// process's umask took its share of the mode at first, and a setgid parent gave its
// group.
func plain(fd int) error {
	if err := unix.Fchown(fd, 0, 0); err != nil {
		return err
	}
	return unix.Fchmod(fd, 0o755)
}

// throughLinks opens p when some of its components are no directories: symbolic
// links are followed inside the layer, and a whiteout gives way to a directory
// that hides what lies below it in other layers.
func (d *dirs) throughLinks(p string) (int, string, error) {
	real, linked, err := d.resolve(p)
	if err != nil {
		return -1, "", err
	}
	fd, err := d.get(real)
	switch {
	case err == nil:
		return fd, real, nil
	case err == unix.ENOENT && linked:
		if link, err := d.isLink(p); err != nil || link {
			return -1, "", errors.Join(ErrDangling, err)
		}
		return d.make(p)
	case err == unix.ENOTDIR && d.overWhiteout(real):
		return d.parent(real)
	}
	return -1, "", fmt.Errorf("parent %q: %w", p, err)
}

// overWhiteout replaces the first component of real that is a whiteout by an
// opaque directory, and tells whether there was one.
func (d *dirs) overWhiteout(real string) bool {
	for i := 0; i <= len(real); i++ {
		if i < len(real) && real[i] != '/' {
			continue
		}
		up, base := entry.Split(real[:i])
		fd, err := d.get(up)
		if err != nil {
			return false
		}
		if isWhiteout(fd, base) {
			return d.opaqueDir(fd, base) == nil
		}
	}
	return false
}

// opaqueDir puts an opaque directory in a whiteout's place.
func (d *dirs) opaqueDir(parent int, base string) error {
	if err := unix.Unlinkat(parent, base, 0); err != nil {
		return err
	}
	if err := unix.Mkdirat(parent, base, 0o755); err != nil {
		return err
	}
	fd, err := openBeneath(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := plain(fd); err != nil {
		return err
	}
	return unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0)
}

// isLink tells whether the last component of p, whose parents are resolved, is a
// symbolic link.
func (d *dirs) isLink(p string) (bool, error) {
	up, base := entry.Split(p)
	real, _, err := d.resolve(up)
	if err != nil {
		return false, err
	}
	_, err = readlink(d.root, path.Join(real, base))
	return err == nil, nil
}

// resolve gives the real path of p: no component of the result is a symbolic
// link that exists.
func (d *dirs) resolve(p string) (real string, linked bool, err error) {
	rest := strings.Split(p, "/")
	links := 0
	for len(rest) > 0 {
		component := rest[0]
		rest = rest[1:]
		switch component {
		case "", ".":
			continue
		case "..":
			if real == "" {
				return "", true, entry.ErrClimbs
			}
			real, _ = entry.Split(real)
			continue
		}
		next := path.Join(real, component)
		target, err := readlink(d.root, next)
		if err != nil {
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", true, unix.ELOOP
		}
		linked = true
		if strings.HasPrefix(target, "/") {
			real = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, linked, nil
}

// readlink reads the symbolic link at a real path, without following any.
func readlink(root int, real string) (string, error) {
	fd, err := openBeneath(root, real, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// forget closes the directories at and below a real path that was removed.
func (d *dirs) forget(real string) {
	for p, e := range d.open {
		if entry.Below(p, real) {
			_ = unix.Close(e.fd)
			delete(d.open, p)
		}
	}
}
