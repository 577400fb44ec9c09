package imagestore

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/fault"
)

// inside is how every path of a container or an image is opened: below the
// directory, through no symbolic link of another tree.
func inside(root int, path string, flags, resolve uint64) (*os.File, error) {
	if flags&unix.O_PATH == 0 { // with which openat2 takes neither
		flags |= unix.O_NONBLOCK | unix.O_NOCTTY
	}
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV}
	for {
		fd, err := unix.Openat2(root, path, how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EAGAIN, unix.EINTR: // a rename elsewhere made the kernel unsure
		default:
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// UsageRW is what container id has written: bytes on the disk, and inodes. It
// walks the container's own files, which change and vanish meanwhile, and follows
// no symbolic link.
func (s *Store) UsageRW(id string) (bytes, inodes uint64, err error) {
	if _, err := s.leased(id); err != nil {
		return 0, 0, err
	}
	u, err := usageOf(s.path("rw", id, upperName), math.MaxUint64)
	if err != nil {
		return 0, 0, err
	}
	s.scale.containers.Store(id, weight{u.bytes, u.inodes, time.Now()})
	if _, err := s.leased(id); err != nil { // or it would stay for ever
		s.scale.containers.Delete(id)
	}
	return u.bytes, u.inodes, nil
}

// usageOf walks what is below a directory, until it has met more than most inodes.
func usageOf(dir string, most uint64) (usage, error) {
	u := usage{linked: map[uint64]bool{}}
	root, err := os.Open(dir)
	if err != nil {
		return u, err
	}
	defer root.Close()
	u.root = int(root.Fd())
	// One directory is open at a time: a container may nest them without end.
	for queue := []string{"."}; len(queue) > 0 && u.inodes <= most; {
		last := len(queue) - 1
		dir := queue[last]
		queue = append(queue[:last], u.directory(dir)...)
	}
	return u, nil
}

type usage struct {
	root          int
	bytes, inodes uint64
	linked        map[uint64]bool // inodes with several names that were counted
}

// directory counts one directory's entries and gives its subdirectories. What
// cannot be read has gone meanwhile.
func (u *usage) directory(path string) (below []string) {
	f, err := inside(u.root, path, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(256)
		for _, name := range names {
			if u.entry(int(f.Fd()), name) {
				below = append(below, path+"/"+name)
			}
		}
		if err != nil {
			return below
		}
	}
}

// entry counts one entry and tells whether it is a directory.
func (u *usage) entry(dir int, name string) bool {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 && !isDir {
		if u.linked[st.Ino] {
			return false
		}
		u.linked[st.Ino] = true
	}
	u.inodes++
	u.bytes += uint64(st.Blocks) * 512
	return isDir
}

// maxAccountBytes bounds an image's passwd and group files, which may be made to
// eat memory (CVE-2025-4437, CVE-2026-47262).
const maxAccountBytes = 4 << 20

// accounts are an image's passwd and group files, read once.
type accounts struct {
	once          sync.Once
	passwd, group []byte
	err           error
}

// Users gives the image's /etc/passwd and /etc/group; nil for one that it does
// not have. An image that was removed has them as long as a container uses it. The
// bytes are shared: read them, do not change them.
func (s *Store) Users(imageID string) (passwd, group []byte, err error) {
	id, release, err := s.use(imageID)
	if err != nil {
		return nil, nil, fmt.Errorf("image %q: %w", imageID, err)
	}
	defer release()
	kept, _ := s.users.LoadOrStore(id, &accounts{})
	a, ok := kept.(*accounts)
	if !ok {
		return nil, nil, fmt.Errorf("image %s: accounts of type %T", id, kept)
	}
	a.once.Do(func() { a.passwd, a.group, a.err = s.readAccounts(id) })
	if a.err != nil {
		// What failed once may go well the next time.
		s.users.CompareAndDelete(id, kept)
	}
	return a.passwd, a.group, a.err
}

func (s *Store) readAccounts(id digest.Digest) (passwd, group []byte, err error) {
	root, err := s.mountReadOnly(id, nil, "")
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	step := "read users of image " + id.String()
	if passwd, err = readAccount(root, "etc/passwd"); err != nil {
		return nil, nil, fault.New(Invalid, step, err)
	}
	if group, err = readAccount(root, "etc/group"); err != nil {
		return nil, nil, fault.New(Invalid, step, err)
	}
	return passwd, group, nil
}

// readAccount reads one small regular file of the image, resolved in its root.
// What it is is asked before it is opened: opening alone can do something when
// the image has made it a device (of a watchdog, of a tape).
func readAccount(root *os.File, path string) ([]byte, error) {
	found, err := inside(int(root.Fd()), path, unix.O_PATH, unix.RESOLVE_IN_ROOT)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer found.Close()
	info, err := found.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("/%s is not a regular file", path)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", found.Fd()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxAccountBytes {
		return nil, fmt.Errorf("/%s has %d bytes, more than %d", path, info.Size(), maxAccountBytes)
	}
	return io.ReadAll(io.LimitReader(f, maxAccountBytes))
}
