package unpack

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// Inherit completes the tree root with what it needs from the trees below it,
// nearest first: without it a directory that the archive named only as a parent
// would hide its owner and mode in the merged view. It gives what it added; the Sums
// are those of the whole tree.
func Inherit(ctx context.Context, root *os.File, needs Needs, lower []*os.File) (Result, error) {
	u := newUnpacker(int(root.Fd()), Limits{Entries: math.MaxInt64})
	defer u.dirs.close()
	u.result.Sums, u.result.Xattrs = needs.Sums, true
	i := inheritance{u: u, own: newVeil(int(root.Fd()))}
	for _, l := range lower {
		i.lower = append(i.lower, newVeil(int(l.Fd())))
	}
	for _, l := range needs.Links {
		if err := context.Cause(ctx); err != nil {
			return Result{}, err
		}
		if err := i.link(l); err != nil {
			return Result{}, &EntryError{l.Name, fmt.Errorf("hard link to %.300q: %w", l.Target, err)}
		}
	}
	dirs := needs.Dirs
	for real := range u.implicit {
		dirs = append(dirs, real)
	}
	for _, real := range dirs {
		if err := context.Cause(ctx); err != nil {
			return Result{}, err
		}
		if err := i.dir(real); err != nil {
			return Result{}, &EntryError{real, err}
		}
	}
	return u.result, nil
}

// errHidden is for a path that a layer hides from those below it.
var errHidden = errors.New("hidden by a layer above")

type inheritance struct {
	u     *unpacker
	own   veil
	lower []veil
}

// dir copies the attributes of the directory that the layers below show at real.
func (i inheritance) dir(real string) error {
	from, err := i.find(real, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOENT || errors.Is(err, errHidden) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := i.u.dirs.get(real)
	if err != nil {
		return nil //nolint:nilerr // a later entry replaced the directory, so there is nothing to complete
	}
	return copyAttributes(from, to)
}

// link copies the target up from below, as overlay does when a lower file is
// linked, and links to the copy. The target may also be an earlier link.
func (i inheritance) link(l Link) error {
	if i.linkHere(l) == nil {
		return nil
	}
	found, err := i.find(l.Target, unix.O_PATH)
	if err != nil {
		return fmt.Errorf("neither this layer nor one below has it: %w", err)
	}
	defer unix.Close(found)
	from, err := openRegular(found)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if err := i.copyUp(from, l.Target); err != nil {
		return err
	}
	return i.linkHere(l)
}

// linkHere links to what this layer itself has.
func (i inheritance) linkHere(l Link) error {
	up, base := entry.Split(l.Name)
	dir, err := i.u.dirs.get(up)
	if err != nil {
		return err
	}
	return i.u.linkTo(place{dir, up, base}, l.Target)
}

// openRegular opens for reading what found names, if it is a regular file. To open
// a device that a layer made could already do something.
func openRegular(found int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(found, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return -1, errHidden
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, errors.New("the target in a lower layer is no regular file")
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(found), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func (i inheritance) copyUp(from int, target string) error {
	up, base := entry.Split(target)
	dir, real, err := i.u.dirs.parent(up)
	if err != nil {
		return err
	}
	to, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err == unix.EEXIST && !isWhiteout(dir, base) {
		return nil // an earlier link to the same target copied it
	}
	if err != nil {
		return fmt.Errorf("copy %s up: %w", place{dir, real, base}.real(), err)
	}
	source, copied := os.NewFile(uintptr(dup(from)), target), os.NewFile(uintptr(to), target)
	defer source.Close()
	defer copied.Close()
	sum := crc32.New(castagnoli)
	n, err := io.Copy(io.MultiWriter(copied, sum), source)
	if err == nil {
		err = i.u.sum(to, sum.Sum32())
	}
	if err != nil {
		return err
	}
	i.u.count(n)
	if err := copyAttributes(from, to); err != nil {
		return err
	}
	return copied.Close()
}

// dup gives os.File a descriptor of its own; -1 makes its first use fail.
func dup(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return n
}

// find opens what the layers below show at real: the nearest one that has it,
// unless one above that hides it. This layer's own opaque directories hide too.
func (i inheritance) find(real string, flags uint64) (int, error) {
	if i.own.hides(real) {
		return -1, errHidden
	}
	up, _ := entry.Split(real)
	for _, layer := range i.lower {
		fd, err := openBeneath(layer.root, real, flags)
		if err == nil {
			return fd, nil
		}
		if err != unix.ENOENT && err != unix.ENOTDIR && err != unix.ELOOP && err != unix.ENXIO {
			return -1, err
		}
		if err != unix.ENOENT || layer.hides(up) {
			return -1, errHidden
		}
	}
	return -1, unix.ENOENT
}

// veil tells what a layer hides from those below it. It remembers the answers: a
// path of two thousand directories, each of which asks for all above it, would
// otherwise cost minutes.
type veil struct {
	root   int
	hidden map[string]bool // by real path
}

func newVeil(root int) veil { return veil{root, map[string]bool{"": isOpaque(root)}} }

// hides tells whether the layer has an opaque directory at real or on the way to it.
func (v veil) hides(real string) bool {
	var asked []string
	p, hidden := real, false
	for ; ; p, _ = entry.Split(p) {
		if known, ok := v.hidden[p]; ok {
			hidden = known
			break
		}
		asked = append(asked, p)
		fd, err := openBeneath(v.root, p, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		hidden = isOpaque(fd)
		_ = unix.Close(fd)
		if hidden {
			break
		}
	}
	// What was asked lies at or below the path at which the answer was found.
	for _, p := range asked {
		v.hidden[p] = hidden
	}
	return hidden
}

// copyAttributes makes to's owner, mode, extended attributes and times those of from.
func copyAttributes(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	return setTimes(to, "", []unix.Timespec{st.Atim, st.Mtim})
}

func copyXattrs(from, to int) error {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(from, list)
	if err != nil || n == 0 {
		return nil //nolint:nilerr // a file system without attributes has none to copy
	}
	for _, name := range splitNames(list[:n]) {
		if !entry.Carried(name) {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(from, name, value)
		if err == nil {
			err = unix.Fsetxattr(to, name, value[:n], 0)
		}
		if err != nil {
			return fmt.Errorf("xattr %s: %w", name, err)
		}
	}
	return nil
}

func splitNames(list []byte) (names []string) {
	start := 0
	for i, c := range list {
		if c == 0 {
			names = append(names, string(list[start:i]))
			start = i + 1
		}
	}
	return names
}
