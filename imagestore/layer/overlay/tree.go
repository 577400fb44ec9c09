package overlay

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// node is what a layer's tree has at a path. Times are not among it: nothing
// depends on them, and a copy of the store may change them.
type node struct {
	path     string // "" is the root
	mode     uint32 // with the type
	uid, gid uint32
	size     int64  // of a regular file
	sum      uint32 // of a file's content or a symbolic link's target; a device's number
	xattrs   uint32 // checksum of those that a layer may carry and of overlay's own
}

// walker goes through a tree depth first, names in order.
type walker struct {
	root  int
	sum   func(at place, st *unix.Stat_t) (uint32, error) // of a regular file's content
	visit func(node) error
	// plain says that no file has extended attributes, so that none is asked for them.
	plain bool
}

// place is a directory entry: an open directory and a name in it.
type place struct {
	dir  int
	name string
	path string
}

// walk opens each directory by its path below the root, so that it holds one open
// however deep the tree is, and follows no link.
func (w *walker) walk(path string) error {
	d, err := openBeneath(w.root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	names, err := w.directory(d, path)
	d.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.walk(name); err != nil {
			return err
		}
	}
	return nil
}

// directory visits a directory and what it holds, and gives the paths of its
// subdirectories.
func (w *walker) directory(d *os.File, path string) (below []string, err error) {
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if path == "" {
		if _, err := w.entry(place{int(d.Fd()), ".", ""}); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		at := place{int(d.Fd()), name, strings.TrimPrefix(path+"/"+name, "/")}
		isDir, err := w.entry(at)
		if err != nil {
			return nil, err
		}
		if isDir {
			below = append(below, at.path)
		}
	}
	return below, nil
}

// entry visits one entry and tells whether it is a directory.
func (w *walker) entry(at place) (isDir bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, &os.PathError{Op: "stat", Path: at.path, Err: err}
	}
	n := node{path: at.path, mode: st.Mode, uid: st.Uid, gid: st.Gid}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.size = st.Size
		n.sum, err = w.sum(at, &st)
	case unix.S_IFLNK:
		var target [unix.PathMax]byte
		var length int
		length, err = unix.Readlinkat(at.dir, at.name, target[:])
		n.sum = crc32.Checksum(target[:max(length, 0)], castagnoli)
	case unix.S_IFCHR, unix.S_IFBLK:
		n.sum = crc32.Checksum(binary.LittleEndian.AppendUint64(nil, st.Rdev), castagnoli)
	case unix.S_IFDIR:
		isDir = true
	}
	if err == nil && (isDir || st.Mode&unix.S_IFMT == unix.S_IFREG && !w.plain) {
		n.xattrs, err = xattrSum(at)
	}
	if err != nil {
		return false, &os.PathError{Op: "read", Path: at.path, Err: err}
	}
	return isDir, w.visit(n)
}

// xattrSum is the checksum of an entry's extended attributes, 0 without any.
func xattrSum(at place) (uint32, error) {
	// The path is that of a descriptor, and its last component is not followed.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", at.dir, at.name)
	var short [256]byte
	list := short[:]
	n, err := unix.Llistxattr(path, list)
	if err == unix.ERANGE {
		list = make([]byte, 64<<10) // XATTR_LIST_MAX
		n, err = unix.Llistxattr(path, list)
	}
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	sum := uint32(0)
	for _, name := range names {
		if !entry.Carried(name) && !strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return 0, fmt.Errorf("xattr %s: %w", name, err)
		}
		sum = crc32.Update(sum, castagnoli, []byte(name+"\x00"))
		sum = crc32.Update(sum, castagnoli, value[:n])
	}
	return sum, nil
}

// openBeneath opens a path below a directory, through no symbolic link. An empty
// path is the directory itself.
func openBeneath(root int, path string, flags uint64) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	name := path
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(root, name, how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR, unix.EAGAIN: // a rename elsewhere made the kernel unsure
		default:
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
